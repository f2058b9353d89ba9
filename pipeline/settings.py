"""One settings object: the command line, the saved ``sweep.json`` and the API at once."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

import tyro

from analysis.connect import shown
from search_spaces.registry import find_space
from trainables.data.selection import Selection
from trainables.errors import UsageError, UserError, shortened
from trainables.hopeless import parse_rules
from trainables.precision import Precision
from trainables.storage import storage_location

if TYPE_CHECKING:
    from search_spaces.space import Space
    from trainables.config import Value

Repeated = Annotated[tuple[str, ...], tyro.conf.UseAppendAction]

Sampler = Literal["tpe", "random", "qmc", "grid", "gp", "nsga2", "cmaes"]
Scheduler = Literal["asha", "mo-asha", "hyperband", "median", "pbt", "none"]

PRIVATE = (
    "home", "tracking", "study", "address", "concurrent", "cpus_per_trial", "gpus_per_trial", "time_limit",
    "total_kimg", "data", "checkpoint_seconds", "adopt", "fuse",
)  # fmt: skip
"""Settings that may differ between two starts of one sweep: where and how fast, not what."""

PLACED = ("concurrent", "gpus_per_trial", "fuse")
"""Settings that follow from the machines where they are not given."""

MOST_FUSED = 64


@dataclass(frozen=True)
class SweepSettings:
    """Search the space of a system for the best generator of a folder of tagged pictures."""

    space: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SPACE")]
    """A system's space (`gansweep spaces` lists them), or module:NAME of your own."""
    data: Path
    """Folder of tagged pictures."""
    name: str
    """Name of the sweep."""
    trials: int = 20
    """How many configurations to try; the first is always the recipe."""
    image_size: int = 64
    """Pixels along each side."""
    max_kimg: int = 100
    """Budget of one trial, in thousands of real images seen."""
    eval_kimg: int | None = None
    """Score every so many thousand images; default: where a scheduler decides, and at the end."""
    concurrent: int | None = None
    """Trials at once (with --fuse K: K times as many); default: as many as the cores and GPUs allow."""
    cpus_per_trial: int = 1
    """Cores, and training threads, of each trial."""
    gpus_per_trial: str = "auto"
    """GPUs of each trial, or a share of one; auto measures how many trials one GPU's memory holds."""
    fuse: str = "auto"
    """Train so many trials (2 to 64) of equal structure as one batched program, in one process with the cores and GPUs
    of one trial; off: each by itself; auto: up to 8 on each GPU where all trials are of equal structure and neither
    --concurrent nor --gpus-per-trial is given, else off."""
    max_trial_seconds: float | None = None
    """Stop a trial that has trained for longer than this."""
    sampler: Sampler = "tpe"
    """How configurations are proposed: tpe (density estimates), random, qmc (spread evenly), grid (every choice, three
    values of a range), gp (Gaussian process), nsga2 (evolution), cmaes (one objective, ranges without conditions)."""
    scheduler: Scheduler = "asha"
    """How hopeless trials are stopped early: asha (best third at each rung, by distance), mo-asha (by distance and tag
    accuracy), hyperband (asha with some trials judged later or never), median (above the others' median),
    none; or pbt: all go on, the worst quarter at each rung from the best quarter's networks, with perturbed values."""
    end_hopeless: str = "collapse,won"
    """End trials beyond hope as failed: collapse (generated pictures are all alike, or those of the same tags are), won
    (the discriminator's loss has lain at its floor for long); none."""
    extractor: str = "efficientnet"
    """Feature network of the Frechet distance: efficientnet (comes with the package) or inception (standard FID)."""
    weights: Path | None = None
    """Weights file of the extractor."""
    resize: str | None = None
    """Resize of the inception extractor: tf1 (the original's; the default), pytorch or clean."""
    extractor_precision: Literal["float32", "bf16"] = "float32"
    """Arithmetic of the extractor; bf16 is faster, and its distances are another score."""
    cascade: Path | None = None
    """OpenCV cascade file: also score finished trials by the share of pictures on which it finds a face (face_rate)."""
    fid_infinity: bool = False
    """Also extrapolate the distance of finished trials to infinitely many pictures (Chong and Forsyth 2020), as
    fid_infinity or fd_<extractor>_infinity; some seconds a trial."""
    precision: Precision = "float32"
    """Arithmetic of the networks in training: bf16 (forward passes in bfloat16) is faster and a little less exact;
    pictures are drawn and scored in float32."""
    samples: int = 2048
    """Generated pictures that a trial is scored on at its end."""
    rung_samples: int = 512
    """Generated pictures of earlier scores; distances are never compared across numbers of pictures."""
    time_limit: str | None = None
    """Stop the whole sweep after this time: 90s, 30m, 2h."""
    total_kimg: int | None = None
    """Training of all trials together, in thousands of real images seen. It is not exceeded and cuts no trial off: one
    begins only where its whole budget and those of all that run fit in. A larger total later goes on."""
    set: Repeated = ()
    """k=v: another default for the recipe; the dimension keeps varying. May be repeated."""
    fix: Repeated = ()
    """k=v: a fixed value; the dimension leaves the space. May be repeated."""
    range: Repeated = ()
    """k=lo:hi: another range of a dimension. May be repeated."""
    choices: Repeated = ()
    """k=a,b: other choices of a dimension. May be repeated."""
    domain_a: str | None = None
    """GROUP=CLASS, several with commas: translate between pictures of these tags ..."""
    domain_b: str | None = None
    """... and of these; the other pictures are left out."""
    attributes: str | None = None
    """Names with commas: of an attribute list, those to use; of tag groups, those that a translation changes."""
    max_bad_share: float = 0.05
    """Refuse to start when more than this share of the data is unreadable or unmatched."""
    home: Path | None = None
    """Folder of all sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""
    tracking: str | None = None
    """MLflow tracking URI; default: a database in the home."""
    study: str | None = None
    """Optuna storage URL; default: a database in the home."""
    storage: str | None = None
    """Where trials keep checkpoints and pictures: a folder that all nodes share, or s3://bucket/prefix; default: the
    home."""
    checkpoint_seconds: int = 300
    """Save the state of a trial as often as this; it is saved at every evaluation besides."""
    address: str | None = None
    """Ray cluster to run on: auto (the one of this machine) or HOST:PORT; default: a Ray of its own on this machine."""
    adopt: bool = False
    """Take over a sweep that another home began on the same tracking server or study, and that it no longer runs."""
    seed: int = 0
    """Seed of proposals, training and scoring noise."""
    budgets: Annotated[tuple[int, ...], tyro.conf.Suppress] = ()
    """Earlier values of max_kimg of an extended sweep, ascending."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("trials", 1, 1_000_000), ("max_kimg", 1, 10_000_000), ("eval_kimg", 1, self.max_kimg),
            ("concurrent", 1, 100_000), ("cpus_per_trial", 1, 1024), ("samples", 16, 1_000_000),
            ("rung_samples", 16, 1_000_000),
            ("max_bad_share", 0, 1), ("max_trial_seconds", 1, 10_000_000), ("seed", 0, 2**31 - 1),
            ("checkpoint_seconds", 1, 86_400), ("total_kimg", self.max_kimg, 10**12),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UsageError(f"--{name.replace('_', '-')} is {value}; allowed: {low} to {high}")
        for name, allowed in (
            ("sampler", get_args(Sampler)), ("scheduler", get_args(Scheduler)), ("precision", get_args(Precision)),
        ):  # fmt: skip
            if getattr(self, name) not in allowed:
                raise UsageError(f"--{name} is {getattr(self, name)!r}; allowed: {', '.join(allowed)}")
        self.gpus()
        self.fused()
        self.seconds()
        self.selection()
        parse_rules(self.end_hopeless)
        require_address(self.address)
        # A relative path is another one for who stands elsewhere: a worker, or whoever resumes.
        if self.storage is not None:
            object.__setattr__(self, "storage", storage_location(self.storage))
        for name in ("weights", "cascade"):
            if (path := getattr(self, name)) is not None:
                object.__setattr__(self, name, path.resolve())
        if Path(self.extractor).suffix:  # the file of a network; names of extractors have none
            object.__setattr__(self, "extractor", str(Path(self.extractor).resolve()))

    def selection(self) -> Selection:
        """The part of the data that is trained on."""
        return Selection(self.domain_a, self.domain_b, self.attributes)

    def gpus(self) -> float | None:
        """GPUs per trial; ``None`` for auto."""
        if self.gpus_per_trial == "auto":
            return None
        try:
            share = float(self.gpus_per_trial)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 64:
            raise UsageError(f"--gpus-per-trial is {self.gpus_per_trial!r}; allowed: auto, or 0 to 64")
        return share

    def fused(self) -> int:
        """The most trials in one process; auto is 1 until it is known what the machines have."""
        if self.fuse in ("auto", "off"):
            return 1
        if not (self.fuse.isdecimal() and len(self.fuse) < 3 and 2 <= int(self.fuse) <= MOST_FUSED):
            raise UsageError(f"--fuse is {shortened(self.fuse)}; allowed: auto, off, or 2 to {MOST_FUSED}")
        return int(self.fuse)

    def seconds(self) -> float | None:
        """The time limit in seconds; ``None`` for none."""
        if self.time_limit is None:
            return None
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", self.time_limit.strip())
        if not match or float(match[1]) <= 0:
            raise UsageError(f"--time-limit is {self.time_limit!r}; expected for instance 90s, 30m or 2h")
        return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]

    def slots(self) -> int:
        """Trials at once, or with ``fuse`` processes that each train several."""
        processes = math.ceil(self.trials / self.fused())
        return min(processes, self.concurrent or max(1, usable_cores() // self.cpus_per_trial))

    def at_once(self) -> int:
        """Trials at once, those that share a process counted each."""
        return self.slots() * self.fused()

    def resolve_space(self) -> Space:
        """The space after ``--set``, ``--fix``, ``--range`` and ``--choices``, at the sweep's image size."""
        space = find_space(self.space).without("image_size", self.image_size)
        for name, value in _pairs("range", self.range):
            low, colon, high = value.partition(":")
            if not colon:
                raise UsageError(f"--range {name}={value}; expected for instance --range {name}=1e-4:1e-3")
            space = space.with_range(name, low, high)
        for name, value in _pairs("choices", self.choices):
            space = space.with_choices(name, [part.strip() for part in value.split(",")])
        for name, value in _pairs("fix", self.fix):
            space = space.without(name, value)
        for name, value in _pairs("set", self.set):
            space = space.with_default(name, value)
        return space

    def moved(self, space: Space) -> dict[str, Value]:
        """Values of the system's own recipe that ``--range`` or ``--choices`` have moved, by parameter."""
        names = [name for option in ("range", "choices") for name, _ in _pairs(option, getattr(self, option))]
        own, asked = find_space(self.space).recipe, dict(_pairs("set", self.set))
        return {name: own[name] for name in names if space.recipe[name] != own[name] and name not in asked}

    def public(self) -> dict[str, Any]:
        """The settings as they may be shown and stored: without passwords, with the slots they come to."""
        hidden = {name: shown(value) for name in ("tracking", "study") if (value := getattr(self, name))}
        return {**self.to_json(), **hidden, "concurrent": self.slots()}

    def to_json(self) -> dict[str, Any]:
        """What ``from_json`` reads back."""
        plain = dataclasses.asdict(self)
        return {name: str(value) if isinstance(value, Path) else value for name, value in plain.items()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> SweepSettings:
        """Read what ``to_json`` wrote.

        Raises:
            UserError: settings of another version, or altered by hand: an unknown one, or a value of another type.
        """
        if not isinstance(data, dict):
            raise UserError(f"saved settings are a {type(data).__name__}; a JSON object is needed")
        kinds = get_type_hints(cls)
        for name, value in data.items():
            if name in kinds and not _fits(value, kinds[name]):
                raise UserError(f"saved settings do not fit this version: {name} is {shortened(value)}")
        paths = {
            name: Path(data[name]) for name in ("data", "weights", "cascade", "home") if data.get(name) is not None
        }
        lists = {name: tuple(data.get(name, ())) for name in ("set", "fix", "range", "choices", "budgets")}
        try:
            return cls(**{**data, **paths, **lists})
        except (TypeError, ValueError) as error:
            raise UserError(f"saved settings do not fit this version: {error}") from error

    @classmethod
    def from_file(cls, path: Path) -> SweepSettings:
        """Read a saved ``sweep.json``."""
        try:
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"cannot read settings {path}: {error}") from error


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value read from JSON is of a setting's type."""
    inner = get_args(kind)
    if get_origin(kind) is Literal:
        return value in inner
    if get_origin(kind) is tuple:
        return isinstance(value, (list, tuple)) and all(_fits(one, inner[0]) for one in value)
    if inner:  # a union
        return any(_fits(value, one) for one in inner)
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, {float: (int, float), Path: (str, Path)}.get(kind, kind))


def require_address(address: str | None) -> None:
    """Refuse what cannot be the address of a Ray cluster."""
    if address is None or address == "auto":
        return
    match = re.fullmatch(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]):(\d{1,5})", address)
    if not match or not 1 <= int(match[1]) <= 65535:
        raise UsageError(
            f"--address is {address!r}; allowed: auto, or HOST:PORT of the head, e.g. 10.0.0.1:6379; the command runs "
            "on a node of the cluster"
        )


def usable_cores() -> int:
    """Cores that this process may use: its affinity, and the quota of the container it is in."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="utf-8").split()
        return min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or "max": no quota
        return cores


def _pairs(option: str, texts: tuple[str, ...]) -> list[tuple[str, str]]:
    pairs = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not value:
            raise UsageError(f"--{option} {text!r}; expected --{option} NAME=VALUE")
        if name.strip() == "image_size":
            raise UsageError(f"--{option} {text}: all trials of a sweep have one size; use --image-size")
        pairs.append((name.strip(), value.strip()))
    return pairs
