"""What each command may be told: one dataclass of options per command, whose docstrings are its help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from pipeline.settings import Sampler, Scheduler, SweepSettings

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
