"""A sweep's settings, parsed once into the parts that the rooms below it take."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.cluster.precision import choose_precision
from pipeline.home import Home
from pipeline.schedulers.evaluation_schedule import resolve_budget
from pipeline.search.warm_start import resolve_prior
from pipeline.sweep.initial import fix_structure
from trainables.scoring.extractors.registry import ExtractorChoice
from trainables.trial.failure_detection import parse_rules

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.resources import ResourceRequest
    from pipeline.schedulers.evaluation_schedule import Budget
    from pipeline.search.warm_start import Prior
    from pipeline.settings import SweepSettings
    from search_spaces.space import Space
    from trainables.config import Channels, Fit, PixelPlace, Precision
    from trainables.data.selection import Selection
    from trainables.storage.storage import Storage
    from trainables.trial.initial_weights import InitialWeights


@dataclass(frozen=True)
class DataSource:
    """The images to train on."""

    folder: Path
    image_size: int
    """Pixels along each side."""
    selection: Selection
    max_bad_share: float
    """Largest share of unreadable or unmatched images, 0 to 1."""
    fit: Fit
    """How images become square."""
    channels: Channels
    """3 for RGB, 1 for grey."""


@dataclass(frozen=True)
class ScoringSettings:
    """How trials are scored."""

    extractor: ExtractorChoice
    cascade: Path | None
    """OpenCV cascade of the face rate."""
    samples: int
    """Generated images of a final score."""
    infinity: bool
    """Also extrapolate the distance to infinitely many images."""
    mmd: bool
    """Also score by the kernel of CMMD."""
    seed: int


@dataclass(frozen=True)
class TrialSettings:
    """How each trial is trained, apart from its budget and its resources."""

    precision: Precision
    checkpoint_seconds: float
    failure_rules: tuple[str, ...]
    """Early failures that end a trial."""
    pixels: PixelPlace
    """Where trials take their batches from."""
    initial: InitialWeights | None = None
    """Weights that trials start from; ``None``: random ones."""


@dataclass(frozen=True)
class Places:
    """Where a sweep runs, and where it keeps its files and databases."""

    home: Home
    folder: Path
    """Folder of the sweep in the home."""
    storage: Storage
    """Where the trials keep their files."""
    tracking: str | None
    """MLflow tracking URI; ``None``: the home's database."""
    study: str
    """Optuna storage URL."""
    address: str | None
    """Ray cluster; ``None``: this machine."""

    @property
    def artifacts(self) -> Path | None:
        """Folder of MLflow's artifacts; ``None`` where the tracking server decides."""
        return self.home.artifacts(self.folder.name) if self.tracking is None else None


@dataclass(frozen=True)
class ResolvedSweep:
    """The settings of a sweep after parsing; ``Prepared`` adds the results of loading the data and of placement."""

    settings: SweepSettings
    """As given, with what weights to start from fix and the chosen precision; they are saved with the sweep."""
    name: str
    space: Space
    data: DataSource
    scoring: ScoringSettings
    training: TrialSettings
    budget: Budget
    request: ResourceRequest
    places: Places
    prior: Prior | None = None
    """What the search knows from earlier sweeps; ``None``: nothing."""
    precision_note: str = ""
    """A line on the precision, if the settings left it open."""


def resolve_sweep(settings: SweepSettings) -> ResolvedSweep:
    """Parse the settings of a sweep.

    Raises:
        UsageError: a space or a change to it that does not exist, or weights to start from that do not fit it, or
            earlier sweeps that do not exist or have nothing in common with it.
        UserError: weights to start from or earlier sweeps that cannot be used.
    """
    home = Home.find(settings.home)
    settings, initial = fix_structure(settings, home)
    space = settings.resolve_space()
    precision, precision_note = choose_precision(settings, space)
    settings = dataclasses.replace(settings, precision=precision)
    extractor = ExtractorChoice(settings.extractor, settings.weights, settings.resize, settings.extractor_precision)
    return ResolvedSweep(
        settings=settings,
        name=settings.name,
        space=space,
        data=DataSource(
            settings.data,
            settings.image_size,
            settings.selection(),
            settings.max_bad_share,
            settings.fit,
            settings.channels,
        ),
        scoring=ScoringSettings(
            extractor, settings.cascade, settings.samples, settings.fid_infinity, settings.mmd, settings.seed
        ),
        training=TrialSettings(
            precision,
            settings.checkpoint_seconds,
            parse_rules(settings.end_hopeless),
            settings.pixels,
            initial,
        ),
        budget=resolve_budget(settings),
        request=settings.resource_request(),
        places=Places(
            home=home,
            folder=home.sweep(settings.name),
            storage=home.storage(settings.name, settings.storage),
            tracking=settings.tracking,
            study=settings.study or home.study,
            address=settings.address,
        ),
        prior=resolve_prior(settings, space, home),
        precision_note=precision_note,
    )
