"""Options of the commands: one dataclass per command, whose docstrings are its help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from pipeline.settings import SweepSettings
from trainables.config import Channels, Fit

Output = Annotated[Path, tyro.conf.arg(aliases=["-o"])]
Number = Annotated[int, tyro.conf.arg(aliases=["-n"])]


@dataclass(frozen=True)
class DemoOptions:
    """Run everything once on synthetic faces: data, a small sweep, ranking, export and images, in a few minutes."""

    home: Path | None = None
    """Folder of all sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""


@dataclass(frozen=True)
class InspectOptions:
    """Report the contents of a folder of tagged images: counts, sizes, duplicates, defects."""

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER")]
    """The folder."""
    image_size: int = SweepSettings.image_size
    """Pixels along each side, as for `gansweep run`; the fingerprint is that of a sweep at this size."""
    fit: Fit = SweepSettings.fit
    """How images become square, as for `gansweep run`; the fingerprint depends on it."""
    channels: Channels = SweepSettings.channels
    """3 for RGB, 1 for grey, as for `gansweep run`; the fingerprint depends on it."""
    domain_a: str | None = None
    """As for `gansweep run`: report only the images of the two domains."""
    domain_b: str | None = None
    """The other domain, as for `gansweep run`."""
    attributes: str | None = None
    """As for `gansweep run`: report only these attributes."""
    max_bad_share: float = SweepSettings.max_bad_share
    """As for `gansweep run`: the largest share of unreadable or unmatched data at which one would start."""
    extractor: str = SweepSettings.extractor
    """As for `gansweep run`: refuse one whose weights cannot be had."""
    weights: Path | None = None
    """As for `gansweep run`: weights file of the extractor."""
    sheet: Path | None = None
    """Write an image with samples of every class to this file."""
    write_vocabulary: bool = False
    """Write the vocabulary that was found as vocabulary.json into the folder (beside an archive, as
    NAME.vocabulary.json), where it can be edited; from then on it decides."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class SynthOptions:
    """Draw a data set of tagged synthetic faces."""

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER")]
    """Folder to write; must not exist, or be empty."""
    count: Number = 2000
    """Number of faces with all tags."""
    partial: int = 0
    """Number of additional faces with one or both tags missing."""
    size: int = 64
    """Pixels along each side."""
    seed: int = 0
    """Equal seeds draw equal faces."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class DataOptions:
    """Inspect a folder of tagged images, or draw one."""

    action: (
        Annotated[InspectOptions, tyro.conf.subcommand("inspect")]
        | Annotated[SynthOptions, tyro.conf.subcommand("synth")]
    )


@dataclass(frozen=True)
class SpacesOptions:
    """List the search spaces, or describe one: baseline recipe, dimensions, conditions, claims and network sizes."""

    name: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="NAME")] = None
    """A space; default: list all."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class StatusOptions:
    """Report the progress of a sweep: trials by state and reason, the winner and the best scores so far."""

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
    """The sweep."""
    home: Path | None = None
    """Folder of all sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""
    tracking: str | None = None
    """MLflow tracking URI, if the sweep was not tracked in its home."""
    min_tag_accuracy: float | None = None
    """Least tag accuracy of the winner, 0 to 1, as for `gansweep rank`; 0: the lowest distance wins."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class ListOptions:
    """List the sweeps: name, system, status, trials, best distance, size on disk."""

    home: Path | None = None
    """Folder of all sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""
    tracking: str | None = None
    """MLflow tracking URI, if the sweeps were not tracked in the home."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class CleanOptions:
    """Remove files that are no longer needed: optimiser states of ended trials, weights of all but the best trials.

    With ``--all`` the whole sweep is removed: study, runs, trials and settings.
    """

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
    """The sweep."""
    keep: int = 10
    """Number of best trials whose weights stay, besides those of the baseline recipe and the Pareto front."""
    all: bool = False
    """Remove the whole sweep, after asking: its study, its MLflow experiment, its trials and its settings."""
    yes: bool = False
    """Do not ask before --all."""
    study: str | None = None
    """Optuna storage URL, if it has a password and --all is given; otherwise it is known."""
    dry_run: bool = False
    """Report what would be removed, and remove nothing."""
    home: Path | None = None
    """Folder of all sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""
    tracking: str | None = None
    """MLflow tracking URI, if the sweep was not tracked in its home."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class CompareOptions:
    """Compare the images of the best trials side by side through training, and choose between them blindly."""

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
    """The sweep."""
    top: int = 8
    """Trials to show: the winner, the Pareto front, then the next in the ranking; the recipe is added."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Write the page to this HTML file, without the choices, instead of serving it."""
    port: int = 0
    """Port on the loopback interface; 0 takes a free one."""
    open: bool = False
    """Open the page in the default browser."""
    home: Path | None = None
    """Folder of all sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""
    tracking: str | None = None
    """MLflow tracking URI, where the sweep was not tracked in its home."""


@dataclass(frozen=True)
class UiOptions:
    """Serve MLflow's pages on the home's database, on this machine only, and open those of a sweep."""

    name: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="NAME")] = None
    """The sweep to open: its runs sorted by distance; default: all experiments."""
    home: Path | None = None
    """Folder of all sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""
    port: int = 5000
    """Port on the loopback interface."""
    no_open: bool = False
    """Print the address only, and open no browser; as without a display."""


@dataclass(frozen=True)
class DoctorOptions:
    """Check what a sweep relies on: versions, devices, storage, tracking, Ray. Exit code 1 if a check fails."""

    storage: str | None = None
    """Folder or s3://bucket/prefix; default: the home."""
    tracking: str | None = None
    """MLflow tracking URI; default: the home's database."""
    study: str | None = None
    """Optuna storage URL; default: the home's database."""
    address: str | None = None
    """Ray cluster: auto or HOST:PORT; every node is checked. Default: start Ray on this machine."""
    home: Path | None = None
    """Folder of all sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class ExportOptions:
    """Write the winning generator, or that of another trial, as a self-contained folder."""

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
    """The sweep."""
    output: Output
    """Folder to write; must not exist, or be empty."""
    trial: str | None = None
    """Key of the trial; default: the winner, the lowest distance among the trials that follow their tags."""
    min_tag_accuracy: float | None = None
    """Least tag accuracy of the winner, 0 to 1, as for `gansweep rank`; 0: the lowest distance wins."""
    fp16: bool = False
    """Also write generator-fp16.onnx, half the size; the model card states its error."""
    register: str | None = None
    """Also register it in MLflow as a version of this model, with the alias candidate."""
    promote: bool = False
    """With --register: make it the champion if it is clearly better than the current one."""
    force: str | None = None
    """With --promote: make it the champion regardless; the reason given here is stored with the version."""
    home: Path | None = None
    """Folder of all sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""
    tracking: str | None = None
    """MLflow tracking URI, if the sweep was not tracked in its home."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class GenerateOptions:
    """Draw images from an exported generator."""

    bundle: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="BUNDLE")]
    """Folder that `gansweep export` wrote."""
    tags: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="TAGS")] = None
    """Tags such as "black cat"; a missing tag is drawn from the data's distribution."""
    prompts: Path | None = None
    """Instead of tags: a file with lines such as 1,black cat; each gives a row of images."""
    panel: str | None = None
    """Instead of tags: noise (same tags, other noise), a tag group such as colour (same noise, every class), or grid.
    The panel of a group called noise or grid is tag=noise or tag=grid."""
    interpolate: tuple[str, ...] = ()
    """Interpolate from --seed to another seed, from the tags to other tags, or both: 5 "white cat"."""
    count: Number = 16
    """Number of images, or of images per prompt."""
    seed: int = 0
    """Random seed; equal seeds give equal images."""
    truncation: float | None = None
    """Truncate the noise at this many standard deviations: fewer odd images, less variety."""
    format: Literal["png", "webp"] | None = None
    """Image format; default: by the suffix of -o, else png. webp is lossless."""
    upscale: int | None = None
    """Enlarge by this factor (Lanczos); default: small images on a sample grid are enlarged by repeating pixels."""
    backend: Literal["torch", "onnx", "onnx-fp16", "pt2"] = "torch"
    """What runs the generator: its weights in torch, or generator.onnx, generator-fp16.onnx or generator.pt2. The onnx
    backends do not import torch."""
    output: Output = Path("grid.png")
    """A .png or .webp file for a sample grid, or a folder for one file per image and a tag file for score --tags."""
    json: bool = False
    """Print the images' tags as one JSON object."""


@dataclass(frozen=True)
class TranslateOptions:
    """Translate images with an exported generator. Unreadable images are left out and give exit code 1."""

    bundle: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="BUNDLE")]
    """Folder that `gansweep export` wrote, from a cyclegan or stargan sweep."""
    images: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="IMAGE...")]
    """Image files of any size, and folders with images below them. Each image is cropped to its centre square."""
    output: Output
    """Folder to write; must not exist, or be empty. Relative paths are kept, with the suffix .png."""
    to: str | None = None
    """Target tags: a class of each tag group that the generator changes, such as "white cat"; with a single group the
    class alone. Required, because an export cannot detect the tags that an image already has."""
    grid: Path | None = None
    """Also write the first images, each above its translation, to this .png or .webp file."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class GalleryOptions:
    """Write a web page that draws from an exported generator in the browser; it needs no server."""

    bundle: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="BUNDLE")]
    """Folder that `gansweep export` wrote."""
    output: Output
    """Folder to write; must not exist, or be empty."""
    runtime: Path | None = None
    """npm's archive of onnxruntime-web, if npm or its registry cannot be reached."""
    home: Path | None = None
    """Folder whose cache holds the runtime; default: $GANSWEEP_HOME or ./gansweep-runs if it exists, else
    ~/.cache/gansweep."""
    json: bool = False
    """Print one JSON object."""
