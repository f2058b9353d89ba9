"""The command line: one dataclass of options per command, one line per error."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

import tyro

from analysis.claims import ClaimsOptions
from analysis.errors import AnalysisError
from analysis.rank import RankOptions
from analysis.report import ReportOptions
from pipeline.plan.options import PlanOptions
from pipeline.settings import Sampler, Scheduler, SweepSettings
from pipeline.termination import EXIT_CODE, Termination
from trainables.errors import UserError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Output = Annotated[Path, tyro.conf.arg(aliases=["-o"])]
Number = Annotated[int, tyro.conf.arg(aliases=["-n"])]


@dataclass(frozen=True)
class DemoOptions:
    """Drawn faces, judge, small sweep, ranking, exported winner, picture: all of it in a few minutes."""

    home: Path | None = None
    """Folder of all sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""


@dataclass(frozen=True)
class InspectOptions:
    """What is in a folder of tagged pictures: counts, sizes, duplicates, defects."""

    folder: tyro.conf.Positional[Path]
    """The folder."""
    image_size: int = SweepSettings.image_size
    """Of `gansweep run`: pixels along each side. The fingerprint is that of a sweep at this size."""
    domain_a: str | None = None
    """Of `gansweep run`: show only what it selects."""
    domain_b: str | None = None
    """The other domain."""
    attributes: str | None = None
    """Of `gansweep run`: show only what it selects."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class SynthOptions:
    """Draw a tagged data set of faces."""

    folder: tyro.conf.Positional[Path]
    """Where to write it; must not exist, or be empty."""
    count: Number = 2000
    """Fully tagged faces."""
    partial: int = 0
    """More faces, with a tag or both missing."""
    size: int = 64
    """Pixels along each side."""
    seed: int = 0
    """Equal seeds draw equal faces."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class DataOptions:
    """Inspect a folder of tagged pictures, or draw one."""

    action: (
        Annotated[InspectOptions, tyro.conf.subcommand("inspect")]
        | Annotated[SynthOptions, tyro.conf.subcommand("synth")]
    )


@dataclass(frozen=True)
class SpacesOptions:
    """The search spaces; of one, its recipe, dimensions, conditions, claims and network sizes."""

    name: tyro.conf.Positional[str | None] = None
    """A space; without it all are listed."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class ResumeOptions:
    """Go on with a sweep that was interrupted: what has ended stays, what was running continues."""

    name: tyro.conf.Positional[str]
    """The sweep."""
    home: Path | None = None
    """Folder of all sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""
    tracking: str | None = None
    """MLflow tracking URI; default: where the sweep was tracked."""
    study: str | None = None
    """Optuna storage URL; default: the sweep's."""
    data: Path | None = None
    """Folder of tagged pictures, where it has moved; its contents must be the same."""
    address: str | None = None
    """Ray cluster to run on: auto or HOST:PORT; default: as it was started."""
    concurrent: int | None = None
    """Trials at once; default: as it was started."""
    fuse: str | None = None
    """Trials of one program, as for run, which places all trials anew; default: as it was started."""
    time_limit: str | None = None
    """Stop the whole sweep after this time: 90s, 30m, 2h."""
    total_kimg: int | None = None
    """Training of all trials together, those that have ended with them; default: as it was started."""


@dataclass(frozen=True)
class ExtendOptions(ResumeOptions):
    """Make a finished sweep larger: more trials, or more training for the best."""

    concurrent: int | None = None
    """Trials at once; default: as it was started with, or as many as the cores and GPUs allow a sweep of its size."""
    trials: int = 0
    """Trials to add; the search knows all earlier ones."""
    max_kimg: int | None = None
    """A larger budget per trial: the best third of the complete trials go on to it from their checkpoints."""


@dataclass(frozen=True)
class RepeatOptions:
    """Where and how fast repeats of a sweep's configurations run."""

    name: tyro.conf.Positional[str]
    """The sweep."""
    seeds: int = 5
    """Runs of each configuration, on the same seeds. More later only adds what is missing."""
    max_kimg: int | None = None
    """Budget of each run, in thousands of real images seen; default: the sweep's."""
    home: Path | None = None
    """Folder of all sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""
    tracking: str | None = None
    """MLflow tracking URI; default: where the sweep was tracked."""
    data: Path | None = None
    """Folder of tagged pictures, where it has moved; its contents must be the same."""
    address: str | None = None
    """Ray cluster to run on: auto or HOST:PORT; default: as the sweep was started."""
    concurrent: int | None = None
    """Runs at once; default: as the sweep was started."""
    time_limit: str | None = None
    """Stop after this time: 90s, 30m, 2h; the same command goes on."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class ConfirmOptions(RepeatOptions):
    """Train the best configurations and the recipe again on fresh seeds, all of them to the end, and compare them."""

    top: int = 5
    """So many configurations, the best by search score; the recipe comes with them."""
    fuse: int | None = None
    """Train so many runs of equal structure as one batched program, in this process; it pays on a GPU that small
    networks leave idle. Default: each by itself."""


@dataclass(frozen=True)
class AblateOptions(RepeatOptions):
    """Take the winner's tricks away one at a time, and give them to the recipe one at a time, on the same seeds."""

    trial: str | None = None
    """Key of the trial; default: the best, that of a confirmation where there is one."""
    seeds: int = 3
    """Runs of each variant, on the same seeds. More later only adds what is missing."""
    mode: Literal["leave-one-out", "add-one", "both"] = "both"
    """leave-one-out: the winner without one trick; add-one: the recipe with one; both."""
    only: str | None = None
    """Dimensions to try, separated by commas; default: all in which the winner differs from the recipe."""


@dataclass(frozen=True)
class SimulateOptions:
    """Replay the recorded learning curves of a sweep without early stopping through other samplers and schedulers."""

    name: tyro.conf.Positional[str]
    """The sweep, run with --scheduler none."""
    workers: int = 256
    """Trials at once."""
    sampler: Annotated[tuple[Sampler, ...], tyro.conf.UseAppendAction] = ()
    """A sampler to compare; may be repeated. Default: random and tpe."""
    scheduler: Annotated[tuple[Scheduler, ...], tyro.conf.UseAppendAction] = ()
    """A scheduler to compare; may be repeated. Default: none, asha and mo-asha."""
    trials: int | None = None
    """Each search may train for what so many trials cost without stopping; default: a quarter of the recorded ones."""
    repeats: int = 20
    """Simulated sweeps of each, on different seeds."""
    seed: int = 0
    """The first of them; equal seeds give equal sweeps."""
    plot: Path | None = None
    """A .png file for the best distance so far against all training."""
    home: Path | None = None
    """Folder of all sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""
    tracking: str | None = None
    """MLflow tracking URI, where the sweep was not tracked in its home."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class StatusOptions:
    """How far a sweep is: trials by state and reason, best so far."""

    name: tyro.conf.Positional[str]
    """The sweep."""
    home: Path | None = None
    """Folder of all sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""
    tracking: str | None = None
    """MLflow tracking URI, where the sweep was not tracked in its home."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class CleanOptions:
    """Remove what nothing needs: optimiser states of ended trials, weights of trials far from the best."""

    name: tyro.conf.Positional[str]
    """The sweep."""
    keep: int = 10
    """Weights of so many best trials stay, besides the recipe's and the Pareto front's."""
    dry_run: bool = False
    """Only say what would go."""
    home: Path | None = None
    """Folder of all sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""
    tracking: str | None = None
    """MLflow tracking URI, where the sweep was not tracked in its home."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class UiOptions:
    """Open MLflow's pages on the home's database, on this machine only."""

    home: Path | None = None
    """Folder of all sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""
    port: int = 5000
    """Port on the loopback interface."""


@dataclass(frozen=True)
class DoctorOptions:
    """Try everything that a sweep relies on: versions, devices, storage, tracking, Ray. Exit code 1 if one fails."""

    storage: str | None = None
    """Folder or s3://bucket/prefix; default: the home."""
    tracking: str | None = None
    """MLflow tracking URI; default: the home's database."""
    study: str | None = None
    """Optuna storage URL; default: the home's database."""
    address: str | None = None
    """Ray cluster: auto or HOST:PORT; every node of it is tried. Default: start a Ray on this machine."""
    home: Path | None = None
    """Folder of all sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class ExportOptions:
    """Write the winning generator, or another trial's, as a folder that needs nothing else."""

    name: tyro.conf.Positional[str]
    """The sweep."""
    output: Output
    """Folder to write; must not exist, or be empty."""
    trial: str | None = None
    """Key of the trial; default: the best by distance."""
    fp16: bool = False
    """Also write generator-fp16.onnx, half the size; its error stands in the model card."""
    register: str | None = None
    """Also register it in MLflow as a version of this model, with the alias candidate."""
    promote: bool = False
    """With --register: make it the champion, if it is clearly better than the present one."""
    force: str | None = None
    """With --promote: make it the champion anyway, for this reason, which is kept with the version."""
    home: Path | None = None
    """Folder of all sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""
    tracking: str | None = None
    """MLflow tracking URI, where the sweep was not tracked in its home."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class GenerateOptions:
    """Draw pictures from an exported generator."""

    bundle: tyro.conf.Positional[Path]
    """Folder that `gansweep export` wrote."""
    tags: tyro.conf.Positional[str | None] = None
    """For instance "blue hair red eyes"; a missing tag is drawn from the data's distribution."""
    prompts: Path | None = None
    """Instead of tags: a file of lines like 1,blue hair red eyes; one row of pictures each."""
    panel: str | None = None
    """Instead of tags: noise (same tags, other noise), a tag group such as hair (same noise, every class), or grid."""
    interpolate: tuple[str, ...] = ()
    """From --seed to another seed, from the tags to other tags, or both: 5 "pink hair green eyes". -n pictures."""
    count: Number = 16
    """Pictures, or pictures per prompt."""
    seed: int = 0
    """Equal seeds draw equal pictures."""
    truncation: float | None = None
    """Noise beyond so many standard deviations is not drawn: fewer odd pictures, less variety."""
    format: Literal["png", "webp"] | None = None
    """Of the files; default: by -o, else png. webp is without loss."""
    upscale: int | None = None
    """Enlarge so many times, by Lanczos; default: small pictures on a sheet are made visible by repeating pixels."""
    output: Output = Path("grid.png")
    """A .png or .webp file for a sheet; or a folder for one file per picture, and their tags as score --tags reads."""
    json: bool = False
    """Print the pictures' tags as one JSON object."""


@dataclass(frozen=True)
class TranslateOptions:
    """Translate pictures with an exported generator. Exit code 1 if one of them is bad; the others are done."""

    bundle: tyro.conf.Positional[Path]
    """Folder that `gansweep export` wrote, of a cyclegan or stargan."""
    images: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="IMAGE...")]
    """Picture files of any size, and folders with pictures below them. Of each the centre square is taken."""
    output: Output
    """Folder to write; must not exist, or be empty. Names are as below the given folders, as .png."""
    to: str | None = None
    """What to make of them, a class of each tag group that the generator changes: "blonde hair"; of a single group the
    class alone will do. Always needed: nothing in an export sees what a picture shows."""
    grid: Path | None = None
    """Also write a .png or .webp sheet of the first pictures, each above its translation."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class GalleryOptions:
    """Write a web page that draws from an exported generator in the browser, without a server behind it."""

    bundle: tyro.conf.Positional[Path]
    """Folder that `gansweep export` wrote."""
    output: Output
    """Folder to write; must not exist, or be empty."""
    runtime: Path | None = None
    """npm's archive of onnxruntime-web, where npm or its registry cannot be reached."""
    home: Path | None = None
    """Its cache keeps the runtime; default: $GANSWEEP_HOME or ./gansweep-runs, else, where there is
    none, ~/.cache/gansweep."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class ScoreOptions:
    """How close a folder of drawn pictures is to a folder of real ones. No sweep is needed."""

    real: Path
    """Folder of real pictures."""
    fake: Path
    """Folder of drawn pictures."""
    extractor: str = "efficientnet"
    """Feature network: efficientnet, efficientnet-128, efficientnet-224, inception, or a network's file."""
    weights: Path | None = None
    """Weights of the extractor, where they are not those it comes with."""
    resize: str | None = None
    """How inception's pictures are resized: tf1 (the original FID), pytorch (pytorch-fid) or clean (clean-fid)."""
    precision: str = "float32"
    """Arithmetic of the extractor: float32, or bf16 (faster; another score)."""
    tags: bool = False
    """Also judge tags: both folders need a tag file, the fake one's says what was asked for."""
    confusions: Path | None = None
    """With --tags: a .png for the confusion matrices."""
    cascade: Path | None = None
    """Also count faces, found by this OpenCV cascade file."""
    fid_infinity: bool = False
    """Also extrapolate the distance to infinitely many pictures."""
    samples: int | None = None
    """Score so many of the drawn pictures, drawn by the seed; default: all."""
    seed: int = 0
    """Of everything random in the scores."""
    home: Path | None = None
    """Its cache keeps the real pictures' features and the judge; default: $GANSWEEP_HOME or ./gansweep-runs, where it
    exists."""
    json: bool = False
    """Print one JSON object."""


def _commands() -> dict[str, tuple[type, Callable[[Any], int]]]:
    from analysis.claims import run as claims
    from analysis.rank import run as rank
    from analysis.report import run as report
    from pipeline import commands

    return {
        "demo": (DemoOptions, commands.demo),
        "data": (DataOptions, commands.data),
        "spaces": (SpacesOptions, commands.spaces),
        "plan": (PlanOptions, commands.plan),
        "run": (SweepSettings, commands.run),
        "resume": (ResumeOptions, commands.resume),
        "extend": (ExtendOptions, commands.extend),
        "confirm": (ConfirmOptions, commands.confirm),
        "ablate": (AblateOptions, commands.ablate),
        "simulate": (SimulateOptions, commands.simulate),
        "status": (StatusOptions, commands.status),
        "clean": (CleanOptions, commands.clean),
        "ui": (UiOptions, commands.ui),
        "doctor": (DoctorOptions, commands.doctor),
        "rank": (RankOptions, rank),
        "claims": (ClaimsOptions, claims),
        "report": (ReportOptions, report),
        "export": (ExportOptions, commands.export),
        "generate": (GenerateOptions, commands.generate),
        "translate": (TranslateOptions, commands.translate),
        "gallery": (GalleryOptions, commands.gallery),
        "score": (ScoreOptions, commands.score),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        Exit code: 0 done, 1 failure, 2 wrong usage, 130 interrupted, 143 interrupted by SIGTERM.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if words == ["--version"]:
        from importlib.metadata import version

        print(f"gansweep {version('gansweep')}")
        return 0
    with Termination() as termination:
        code = _carry_out(words, debug=debug)
    return EXIT_CODE if termination.received and code == 130 else code


def _carry_out(words: list[str], *, debug: bool) -> int:
    try:
        commands = _commands()
        options = _parse(words, {name: kind for name, (kind, _) in commands.items()})
        return next(handler for kind, handler in commands.values() if type(options) is kind)(options)
    except (UserError, AnalysisError) as error:
        if debug:
            raise
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:
        return 1
    except Exception as error:
        if debug:
            raise
        return _fail(f"{type(error).__name__}: {error} (--debug shows where)", 1)


def _parse(words: list[str], kinds: dict[str, type]) -> Any:
    choices = tuple(Annotated[kind, tyro.conf.subcommand(name)] for name, kind in kinds.items())
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(  # type: ignore[call-overload] # a union of what a dict holds
                Union[choices],  # noqa: UP007
                args=words or ["--help"],
                prog="gansweep",
                description="Hyperparameter search for tag-conditional image GANs.",
                config=(
                    tyro.conf.FlagCreatePairsOff,
                    tyro.conf.OmitArgPrefixes,
                    tyro.conf.OmitSubcommandPrefixes,
                ),
            )
    except SystemExit as exit_:
        if exit_.code in (0, None):
            raise
        hint = nearest(words[0], kinds) if words[0] not in kinds else ""
        _fail(_one_line(complaint.getvalue()) + hint, 2)
        raise SystemExit(2) from None


def _one_line(boxed: str) -> str:
    """The message of a parser that answers in a titled box, as one line."""
    rows = [re.sub(r"[│╭╮╰╯─|]+", " ", row).strip() for row in boxed.splitlines()]
    rows = [row for row in rows if row and not set(row) <= set("- ")]
    text = " ".join(rows[1:] or rows)
    text = re.split(r"Argument helptext:|For full helptext", text)[0]
    text, _, near = text.partition("Perhaps you meant:")
    text += (
        "; did you mean " + " or ".join(dict.fromkeys(re.findall(r"--[a-z-]+", near.split(" in gansweep")[0])))
        if near
        else ""
    )
    if text.startswith("Missing from"):
        text = re.sub(r"(--[a-z-]+ [A-Z]+|\b[A-Z]{3,}) .*?(?=--|\b[A-Z]{3,}\b|$)", r"\1 ", text)
    return _NO_NUMBER.sub(_expected, " ".join(text.split())).rstrip(".") or "wrong usage"


_NO_NUMBER = re.compile(
    r"Error parsing (?P<option>\S+): (?:"
    r"invalid literal for (?P<int>int)\(\) with base 10: (?P<whole>.+)"
    r"|could not convert string to float: (?P<real>.+)"
    r"|no type matching \{None\} (?P<kind>INT|FLOAT) could be instantiated from \[(?P<optional>.+?)\]\. Got errors:.*)"
)
"""The parser's words for a value that is no number, where one must be given or may be."""


def _expected(found: re.Match[str]) -> str:
    value = found["whole"] or found["real"] or found["optional"]
    number = "a whole number" if found["int"] or found["kind"] == "INT" else "a number"
    return f"{found['option']} is {value}; expected {number}"


def _fail(message: str, code: int) -> int:
    print(f"gansweep: error: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    from pipeline import cli as itself  # commands ask for options of this module's own name

    sys.exit(itself.main())
