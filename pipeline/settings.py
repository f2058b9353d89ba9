"""One settings object: the command line, the saved ``sweep.json`` and the API at once."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import tyro

from analysis.mlflow_reader.connect import redact_uri
from pipeline.resources import ResourceRequest
from pipeline.setting_values import describe_type, format_pair, matches_type, option_name, parse_pairs
from search_spaces.registry import find_space
from trainables.config import Channels, Fit, PixelPlace  # noqa: TC001 - read by get_type_hints
from trainables.errors import UsageError, UserError, shortened
from trainables.storage.storage import storage_location
from trainables.trial.failure_detection import parse_rules

if TYPE_CHECKING:
    from pipeline.resources import Resources
    from search_spaces.space import Space
    from trainables.config import Value
    from trainables.data.selection import Selection

RepeatableOption = Annotated[tuple[str, ...], tyro.conf.UseAppendAction]

Sampler = Literal["tpe", "random", "qmc", "grid", "gp", "nsga2", "cmaes", "prior"]
SamplerChoice = Literal["auto", "tpe", "random", "qmc", "grid", "gp", "nsga2", "cmaes", "prior"]
Scheduler = Literal["asha", "mo-asha", "hyperband", "median", "pbt", "none"]
PrecisionChoice = Literal["auto", "float32", "bf16"]
SchedulerChoice = Literal["auto", "asha", "mo-asha", "hyperband", "median", "pbt", "none"]
BudgetUnit = Literal["kimg", "flops", "seconds"]
Objectives = Literal["auto", "distance", "distance,tag_accuracy"]

RESUME_OVERRIDES = (
    "home", "tracking", "study", "address", "concurrent", "cpus_per_trial", "gpus_per_trial", "time_limit",
    "total_kimg", "patience", "data", "checkpoint_seconds", "adopt", "fuse", "pixels", "min_tag_accuracy",
)  # fmt: skip
"""Settings that may differ between two starts of a sweep: where and how fast it runs and which trial wins, not what it
computes."""

AUTO_PLACEMENT = ("concurrent", "gpus_per_trial", "fuse")
"""Settings that placement decides from the machines if they are not given."""

MOST_FUSED = 64
PATHS = ("data", "home", "weights", "cascade", "init_from")


@dataclass(frozen=True)
class SweepSettings:
    """Search the space of a system for the best generator of a folder of tagged images."""

    space: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SPACE")]
    """A system's space (`gansweep spaces` lists them), or module:NAME of your own."""
    data: Path
    """Folder of tagged images."""
    name: str
    """Name of the sweep."""
    trials: int = 20
    """Configurations to try; the first is always the baseline recipe."""
    image_size: int = 64
    """Pixels along each side."""
    fit: Fit = "crop"
    """How images that are not square become so: crop (their centre square), pad (with white) or stretch."""
    channels: Channels = 3
    """3 trains on RGB images, 1 on grey ones; images of the other kind are converted."""
    max_kimg: int = 100
    """Budget of one trial, in thousands of real images seen (by the recipe, with --budget flops or seconds)."""
    budget: BudgetUnit = "kimg"
    """What is equal for all trials: kimg (real images seen), flops (the floating-point operations of the recipe at
    --max-kimg) or seconds (those of the recipe's training, timed where each trial starts; for equal nodes). With the
    latter two, expensive networks see fewer images and cheap ones more, and --eval-kimg, --total-kimg and the rungs are
    kimg of the recipe."""
    eval_kimg: int | None = None
    """Thousands of images between two evaluations; default: evaluate at the scheduler's rungs and at the end."""
    concurrent: int | None = None
    """Trials at once (with --fuse K: K times as many); default: as many as the cores and GPUs hold."""
    cpus_per_trial: int = 1
    """Cores, and training threads, of each trial."""
    gpus_per_trial: str = "auto"
    """GPUs of each trial, or a share of one; auto measures how many trials one GPU's memory holds."""
    fuse: str = "off"
    """Train this many trials (2 to 64) of equal structure as one batched program, in one process with the cores and
    GPUs of one trial; off: one process per trial; auto, experimental: up to 8 per GPU if all trials have equal
    structure and neither --concurrent nor --gpus-per-trial is given, else off. Fusing was not measured on a GPU."""
    pixels: PixelPlace = "auto"
    """Where trials take their batches from; the results are the same. device: all pixels are one tensor on the training
    device; memory: host memory; disk: the memory-mapped cache, which workers open by path, for data larger than
    memory; auto: disk for data above a quarter of the free memory, else device if they take at most a quarter of a
    GPU's memory."""
    max_trial_seconds: float | None = None
    """Stop a trial that has trained for longer than this."""
    sampler: SamplerChoice = "auto"
    """How configurations are suggested: auto (prior with --like, else tpe), tpe (density estimates), random, qmc
    (quasi-random), grid (every choice, three values of a range), gp (Gaussian process), nsga2 (evolution), cmaes (one
    objective, ranges without conditions), prior (around the recipe, then around the best trials and by density
    estimates)."""
    prior_confidence: float = 0.5
    """How closely --sampler prior first keeps to the recipe, 0 to 1: 0 spreads choices evenly."""
    like: str | None = None
    """Earlier sweeps of the same home or tracking server (several with commas), around whose best configurations
    --sampler prior searches first."""
    scheduler: SchedulerChoice = "auto"
    """How poor trials are stopped early: auto (mo-asha if the search has two objectives, else asha), asha (the best
    third continues at each rung, by distance), mo-asha (by distance and tag accuracy), hyperband (asha with later first
    rungs for some trials), median (stop above the median of the others), none; or pbt: no trial is stopped, the worst
    quarter at each rung copies the networks of the best quarter and perturbs its values."""
    objectives: Objectives = "auto"
    """What the search optimizes: distance, or distance and tag accuracy; auto: both, but distance alone if the system
    takes no tags, or if the tag classifier is no better than chance on held-out real images."""
    end_hopeless: str = "collapse,won"
    """Early failures to end as failed: collapse (all generated images, or all of the same tags, are alike), won (the
    discriminator's loss stays at its minimum); none."""
    extractor: str = "efficientnet"
    """Feature network: efficientnet (works offline), efficientnet-128, efficientnet-224, inception (standard FID),
    dinov2 (FD-DINOv2), dinov2-base, focus (a ViT-S/14, extra of that name) or an ONNX file (input: float32 RGB images
    (n, 3, h, w) in [0, 255], any n; output: float32 features (n, d))."""
    weights: Path | None = None
    """Weights file of the extractor."""
    resize: str | None = None
    """Resize of the inception extractor: tf1 (the original's; the default), pytorch or clean."""
    extractor_precision: Literal["float32", "bf16"] = "float32"
    """Arithmetic of the extractor; bf16 is faster, and its distances do not compare with those of float32."""
    cascade: Path | None = None
    """OpenCV cascade file: also score finished trials by the share of images on which it finds a face (face_rate)."""
    fid_infinity: bool = False
    """Also extrapolate the distance of finished trials to infinitely many images (Chong and Forsyth 2020), as
    fid_infinity or fd_<extractor>_infinity; some seconds a trial."""
    mmd: bool = False
    """Also score finished trials by CMMD's kernel (Jayasumana et al. 2024) in the extractor's feature space."""
    precision: PrecisionChoice = "float32"
    """Arithmetic of the networks in training: bf16 (forward passes in bfloat16) is faster and a little less exact;
    auto: bf16 on processors with AMX for systems for which it was measured to pay, else float32. Images are drawn and
    scored in float32."""
    samples: int = 2048
    """Generated images that a trial is scored on at its end."""
    rung_samples: int = 512
    """Generated images of earlier scores; only distances over equally many images are compared."""
    min_tag_accuracy: float | None = None
    """Least tag accuracy of the winner, 0 to 1; 0: the lowest distance wins. Default: 0.8 of the smaller of the tag
    classifier's accuracy on held-out real images and the best trial's tag accuracy."""
    time_limit: str | None = None
    """Stop the whole sweep after this time: 90s, 30m, 2h."""
    total_kimg: int | None = None
    """Hard cap on the training of all trials together, in thousands of real images seen: a new trial starts only if the
    remaining budget covers it and everything running. Give a larger total to continue."""
    patience: int | None = None
    """Start no new trial once neither the front nor the winner has moved by more than its sampling noise for the
    training of this many whole trials."""
    set: RepeatableOption = ()
    """k=v: another default for the recipe; the dimension keeps varying. May be repeated."""
    fix: RepeatableOption = ()
    """k=v: a fixed value; the dimension leaves the space. May be repeated."""
    range: RepeatableOption = ()
    """k=lo:hi: another range of a dimension. May be repeated."""
    choices: RepeatableOption = ()
    """k=a,b: other choices of a dimension. May be repeated."""
    init_from: Path | None = None
    """Export whose weights every trial starts from (fine-tuning); its system, image size and networks are fixed."""
    domain_a: str | None = None
    """GROUP=CLASS, several with commas: translate between images of these tags ..."""
    domain_b: str | None = None
    """... and of these; the other images are left out."""
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
    """Where trials keep checkpoints and images: a folder that all nodes share, or s3://bucket/prefix; default: the
    home."""
    checkpoint_seconds: int = 300
    """Seconds between checkpoints of a trial; every evaluation also writes one."""
    address: str | None = None
    """Ray cluster to run on: auto (that of this machine) or HOST:PORT; default: start Ray on this machine."""
    adopt: bool = False
    """Take over a sweep that another home started on the same tracking server or study and no longer runs."""
    seed: int = 0
    """Seed of suggestions, training and scoring noise."""
    budgets: Annotated[tuple[int, ...], tyro.conf.Suppress] = ()
    """Earlier values of max_kimg of an extended sweep, ascending."""

    def __post_init__(self) -> None:
        self._convert_values()
        self._require_types()
        if self.sampler == "auto":
            object.__setattr__(self, "sampler", "prior" if self.like else "tpe")
        if self.like is not None and self.sampler != "prior":
            raise UsageError(f"--sampler is {self.sampler}; --like needs prior: omit --sampler, or --like")
        for name, low, high in (
            ("trials", 1, 1_000_000), ("max_kimg", 1, 10_000_000), ("eval_kimg", 1, self.max_kimg),
            ("concurrent", 1, 100_000), ("cpus_per_trial", 1, 1024), ("samples", 16, 1_000_000),
            ("rung_samples", 16, 1_000_000),
            ("max_bad_share", 0, 1), ("max_trial_seconds", 1, 10_000_000), ("seed", 0, 2**31 - 1),
            ("checkpoint_seconds", 1, 86_400), ("min_tag_accuracy", 0, 1), ("prior_confidence", 0, 1),
            ("total_kimg", self.max_kimg, 10**12), ("patience", 1, 1_000_000),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UsageError(f"{option_name(name)} is {value}; allowed: {low} to {high}")
        if self.prior_confidence != SweepSettings.prior_confidence and self.sampler != "prior":
            raise UsageError(
                f"--prior-confidence is {self.prior_confidence:g} and --sampler {self.sampler}, which does not use it; "
                "add --sampler prior, or omit --prior-confidence"
            )
        self.resource_request()
        self.time_limit_seconds()
        self.selection()
        parse_rules(self.end_hopeless)
        require_address(self.address)

    def _convert_values(self) -> None:
        """Turn the values that Python callers write into those of the command line, and resolve paths."""
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(SweepSettings)}
        converted = {name: _convert(name, value) for name, value in given.items()}
        # A relative path means another folder to a worker, and to a resume from another directory.
        if isinstance(storage := converted["storage"], str):
            converted["storage"] = storage_location(storage)
        for name in ("weights", "cascade", "init_from"):
            if isinstance(path := converted[name], Path):
                converted[name] = path.resolve()
        if isinstance(self.extractor, str) and Path(self.extractor).suffix:  # a file; names of extractors have none
            converted["extractor"] = str(Path(self.extractor).resolve())
        for name, value in converted.items():
            object.__setattr__(self, name, value)

    def _require_types(self) -> None:
        for name, kind in _field_types().items():
            value = getattr(self, name)
            if not matches_type(value, kind):
                raise UsageError(f"{option_name(name)} is {shortened(value)}; {describe_type(kind)}")

    def selection(self) -> Selection:
        """Parse ``domain_a``, ``domain_b`` and ``attributes``: the part of the data to train on."""
        from trainables.data.selection import Selection  # imports NumPy and Pillow, which --help does not need

        return Selection(self.domain_a, self.domain_b, self.attributes)

    def resource_request(self) -> ResourceRequest:
        """Parse ``trials``, ``concurrent``, ``cpus_per_trial``, ``gpus_per_trial`` and ``fuse``."""
        return ResourceRequest(self.trials, self.cpus_per_trial, self._gpus(), self._fused(), self.concurrent)

    def _gpus(self) -> float | None:
        if self.gpus_per_trial == "auto":
            return None
        try:
            share = float(self.gpus_per_trial)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 64:
            raise UsageError(f"--gpus-per-trial is {self.gpus_per_trial!r}; allowed: auto, or 0 to 64")
        return share

    def _fused(self) -> int | None:
        if self.fuse in ("auto", "off"):
            return None if self.fuse == "auto" else 1
        if not (self.fuse.isdecimal() and len(self.fuse) < 3 and 2 <= int(self.fuse) <= MOST_FUSED):
            raise UsageError(f"--fuse is {shortened(self.fuse)}; allowed: auto, off, or 2 to {MOST_FUSED}")
        return int(self.fuse)

    def with_resources(self, resources: Resources) -> SweepSettings:
        """Return these settings with the placement that was decided, as they are saved."""
        return dataclasses.replace(
            self,
            concurrent=resources.capacity,
            gpus_per_trial=f"{resources.gpus:g}",
            fuse=str(resources.fused) if resources.fused > 1 else "off",
        )

    def time_limit_seconds(self) -> float | None:
        """Parse ``time_limit``; ``None`` for no limit."""
        if self.time_limit is None:
            return None
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", self.time_limit.strip())
        if not match or float(match[1]) <= 0:
            raise UsageError(f"--time-limit is {self.time_limit!r}; expected for instance 90s, 30m or 2h")
        return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]

    def resolve_space(self) -> Space:
        """Build the space after ``--set``, ``--fix``, ``--range`` and ``--choices``, at the sweep's image size."""
        space = find_space(self.space).without("image_size", self.image_size).without("channels", self.channels)
        for name, value in parse_pairs("range", self.range):
            low, colon, high = value.partition(":")
            if not colon:
                raise UsageError(f"--range {name}={value}; expected for instance --range {name}=1e-4:1e-3")
            space = space.with_range(name, low, high)
        for name, value in parse_pairs("choices", self.choices):
            space = space.with_choices(name, [part.strip() for part in value.split(",")])
        for name, value in parse_pairs("fix", self.fix):
            space = space.without(name, value)
        for name, value in parse_pairs("set", self.set):
            space = space.with_default(name, value)
        return space

    def clamped_defaults(self, space: Space) -> dict[str, Value]:
        """Return the recipe's own values that ``--range`` or ``--choices`` moved into the space, by parameter."""
        names = [name for option in ("range", "choices") for name, _ in parse_pairs(option, getattr(self, option))]
        own, asked = find_space(self.space).recipe, dict(parse_pairs("set", self.set))
        return {name: own[name] for name in names if space.recipe[name] != own[name] and name not in asked}

    def public(self) -> dict[str, Any]:
        """Return the settings as they are shown and stored: without passwords, and with the worker slots in use."""
        hidden = {name: redact_uri(value) for name in ("tracking", "study") if (value := getattr(self, name))}
        return {**self.to_json(), **hidden, "concurrent": self.resource_request().use_cores().slots}

    def to_json(self) -> dict[str, Any]:
        """Return plain values that ``from_json`` reads back."""
        plain = dataclasses.asdict(self)
        return {name: str(value) if isinstance(value, Path) else value for name, value in plain.items()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> SweepSettings:
        """Read what ``to_json`` wrote.

        Raises:
            UserError: an unknown setting or a value of another type, from another version or an edit by hand.
        """
        if not isinstance(data, dict):
            raise UserError(f"saved settings are a {type(data).__name__}; a JSON object is needed")
        kinds = _field_types()
        for name, value in data.items():
            if name in kinds and not matches_type(value, kinds[name]):
                raise UserError(f"saved settings do not fit this version: {name} is {shortened(value)}")
        paths = {name: Path(data[name]) for name in PATHS if data.get(name) is not None}
        lists = {name: tuple(data.get(name, ())) for name in ("set", "fix", "range", "choices", "budgets")}
        # Earlier versions accepted a confidence beside samplers that have none.
        unused = {"prior_confidence": cls.prior_confidence} if data.get("sampler") != "prior" else {}
        try:
            return cls(**{**data, **paths, **lists, **unused})
        except (TypeError, ValueError) as error:
            raise UserError(f"saved settings do not fit this version: {error}") from error

    @classmethod
    def from_file(cls, path: Path) -> SweepSettings:
        """Read a saved ``sweep.json``."""
        try:
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"cannot read settings {path}: {error}") from error


def _convert(name: str, value: Any) -> Any:
    """Turn a text into a path, a number into a text, and a dictionary into texts, where the setting is one of those."""
    if isinstance(value, str) and name in PATHS:
        return Path(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and name in ("gpus_per_trial", "fuse"):
        return f"{value:g}"
    if name == "storage" and isinstance(value, Path):
        return str(value)
    if name in ("set", "fix", "range", "choices"):
        if isinstance(value, Mapping):
            return tuple(format_pair(name, parameter, one) for parameter, one in value.items())
        return tuple(value) if isinstance(value, list) else value
    return value


@functools.cache
def _field_types() -> dict[str, Any]:
    """Types of the settings by name, without what they tell the command line."""
    kinds = get_type_hints(SweepSettings)
    return {field.name: kinds[field.name] for field in dataclasses.fields(SweepSettings)}


def require_address(address: str | None) -> None:
    """Refuse a text that cannot be the address of a Ray cluster."""
    if address is None or address == "auto":
        return
    match = re.fullmatch(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]):(\d{1,5})", address)
    if not match or not 1 <= int(match[1]) <= 65535:
        raise UsageError(
            f"--address is {address!r}; allowed: auto, or HOST:PORT of the head, e.g. 10.0.0.1:6379; the command runs "
            "on a node of the cluster"
        )
