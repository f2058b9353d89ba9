"""What is made once before the first trial: pictures, judge, reference and its floor."""

from __future__ import annotations

import contextlib
import dataclasses
import platform
import time
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis import schema
from analysis.cells import score
from pipeline.cluster import this_machine
from pipeline.placement import placed
from pipeline.preflight import SETTINGS_FILE, require_resources, require_same_sweep
from pipeline.progress import clock
from pipeline.study import objectives
from pipeline.targets import require_extrapolation, require_selection, require_targets, told_of_task
from trainables.config import GanConfig
from trainables.data.dataset import TaggedImages, load_folder
from trainables.data.defects import defects_by_kind
from trainables.data.duplicates import near_duplicate_groups
from trainables.scoring.faces import CascadeFile
from trainables.scoring.scorer import ExtractorChoice, make_scorer
from trainables.scoring.tagger import Judge, cached_judge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from rich.console import Console

    from pipeline.cluster import Node
    from pipeline.home import Home
    from pipeline.settings import SweepSettings
    from search_spaces.space import Space
    from trainables.scoring.scorer import Floor, Scorer
    from trainables.storage import Storage

VERSIONS = ("gansweep", "torch", "ray", "optuna", "mlflow", "numpy")
"""Packages whose versions ``data.json`` names."""


@dataclass(frozen=True)
class Prepared:
    """Everything that is fixed before the first trial."""

    settings: SweepSettings
    home: Home
    space: Space
    images: TaggedImages
    judge: Judge | None
    """None where the space is unconditional."""
    scorer: Scorer
    floor: Floor

    @property
    def storage(self) -> Storage:
        """Where the trials keep their files."""
        return self.home.storage(self.settings.name, self.settings.storage)


def prepare(
    settings: SweepSettings, home: Home, space: Space, console: Console, nodes: tuple[Node, ...] = ()
) -> Prepared:
    """Load the pictures, decide how many trials run at once, train or find the judge, measure the reference."""
    _extractor(settings).open()  # a mistake shows before the name is taken and the judge trained
    _cascade(settings)
    require_extrapolation(space, wanted=settings.fid_infinity)
    with _stage(console, f"pictures of {settings.data}"):
        images = load_pictures(settings, space, home.cache)
    for kind, names in defects_by_kind(images.defects).items():
        console.print(
            f"  {len(names)} {kind}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}", soft_wrap=True
        )
    given = settings
    settings, told = placed(settings, nodes or (this_machine(),), space, images)
    if told:
        console.print(f"  {told}", soft_wrap=True)
    require_resources(settings, images.pixels.nbytes, home.root, nodes if settings.address else ())
    if len(images.pixels) == images.complete:
        # Without partially tagged pictures the two choices would be the same configuration twice.
        space = space.without("training.extra_data", False)
    require_same_sweep(home.sweep(settings.name) / SETTINGS_FILE, settings, space, images, given)
    groups = near_duplicate_groups(images.pixels[: images.complete])
    judge = _judge(images, groups, home, console) if schema.TAG_ACCURACY in objectives(space) else None
    with _stage(console, f"reference of {images.complete} real pictures by {settings.extractor}"):
        scorer, floor = sweep_scorer(settings, space, images, judge, groups, home.cache)
    console.print(f"  {told_of_floor(floor, scorer.fingerprint.score)}", soft_wrap=True)
    told_of_scores = told_of_task(scorer.task, settings.samples) if scorer.task else []
    for warning in filter(None, (floor.warning, *told_of_scores)):
        console.print(f"  {warning}", soft_wrap=True)
    return Prepared(settings, home, space, images, judge, scorer, floor)


def told_of_floor(floor: Floor, name: str) -> str:
    """The distance of real pictures from real ones, with the digits that scores have beside it."""
    return f"real against real at {floor.samples} pictures: distance {score(name, floor.scores[name])}"


def load_pictures(settings: SweepSettings, space: Space, cache: Path) -> TaggedImages:
    """The part of the pictures that a sweep trains on.

    Raises:
        UsageError: a part that does not go with the space.
        UserError: pictures that cannot be read, or too few of them.
    """
    require_selection(space, settings.selection())
    images = load_folder(
        settings.data,
        settings.image_size,
        selection=settings.selection(),
        cache=cache,
        max_bad_share=settings.max_bad_share,
    )
    require_targets(space, images)
    return images


def sweep_scorer(
    settings: SweepSettings,
    space: Space,
    images: TaggedImages,
    judge: Judge | None,
    groups: NDArray[np.int64],
    cache: Path,
) -> tuple[Scorer, Floor]:
    """What a sweep scores its trials by, and what real pictures score; ``groups`` are of near-duplicates."""
    return make_scorer(
        images,
        judge,
        extractor=_extractor(settings),
        samples=settings.samples,
        seed=settings.seed,
        cache=cache,
        groups=groups,
        translates=GanConfig.from_params(space.recipe).translates,
        cascade=_cascade(settings),
        infinity=settings.fid_infinity,
    )


def _extractor(settings: SweepSettings) -> ExtractorChoice:
    return ExtractorChoice(settings.extractor, settings.weights, settings.resize, settings.extractor_precision)


def _cascade(settings: SweepSettings) -> CascadeFile | None:
    return CascadeFile.read(settings.cascade) if settings.cascade else None


def _judge(images: TaggedImages, groups: NDArray[np.int64], home: Home, console: Console) -> Judge:
    with _stage(console, "judge of the tags, from real pictures only") as update:
        complete = slice(0, images.complete)
        judge = cached_judge(
            home.cache,
            images.fingerprint,
            images.pixels[complete],
            images.labels[complete],
            images.vocabulary,
            groups=groups,
            progress=lambda share, text: update(f"judge: {share:.0%} {text}"),
        )
    shares = ", ".join(f"{name} {share:.1%}" for name, share in judge.report.accuracy.items() if share is not None)
    console.print(f"  right on {judge.report.held_out} held-out real pictures: {shares}", soft_wrap=True)
    return judge


def describe_data(prepared: Prepared) -> dict[str, Any]:
    """What ``data.json`` on the parent run says."""
    images, vocabulary = prepared.images, prepared.images.vocabulary
    return {
        "name": prepared.settings.data.resolve().name,
        "fingerprint": images.fingerprint,
        "pictures": len(images.pixels),
        "complete": images.complete,
        "partial": len(images.pixels) - images.complete,
        "image_size": images.size,
        "defects": defects_by_kind(images.defects),
        "counts": {
            group.name: dict(zip(group.classes, images.counts(group.name).tolist(), strict=True))
            for group in vocabulary.groups
        },
        "combinations": _combinations(images),
        "vocabulary": vocabulary.to_json(),
        "targets": [vocabulary.names[place] for place in images.target_places],
        "judge": prepared.judge.report.to_json() if prepared.judge else {},
        "floor": dataclasses.asdict(prepared.floor),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in VERSIONS},
    }


def _combinations(images: TaggedImages) -> list[dict[str, Any]]:
    """Every tag combination of the complete pictures with its count: the distribution generators are asked for."""
    rows, counts = np.unique(images.labels[: images.complete], axis=0, return_counts=True)
    return [{"labels": row.tolist(), "count": int(count)} for row, count in zip(rows, counts, strict=True)]


@contextlib.contextmanager
def _stage(console: Console, text: str) -> Iterator[Any]:
    """One line per stage, with a spinner while it lasts on a terminal."""
    began = time.monotonic()
    with console.status(text) as status:
        yield status.update
    console.print(f"{text}: {clock(time.monotonic() - began)}", soft_wrap=True)
