"""What trials are scored with: the tag classifier and the reference of real images, both kept in the home's cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.formatting import score
from analysis.ranking.tag_classifier_check import check_tag_classifier, describe_accuracy
from pipeline.console import show_stage
from pipeline.search.study import takes_tags
from pipeline.sweep.data_checks import translation_warnings
from trainables.config import GanConfig
from trainables.data.duplicates import find_duplicates
from trainables.scoring.metrics.face_rate import CascadeFile
from trainables.scoring.scorer import features_file, make_scorer
from trainables.scoring.tag_classifier.classifier import cached_tag_classifier, tag_classifier_file
from trainables.scoring.tag_classifier.linear_probe import linear_probe

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from numpy.typing import NDArray
    from rich.console import Console

    from pipeline.sweep.resolve import ResolvedSweep, ScoringSettings
    from search_spaces.space import Space
    from trainables.data.dataset import TaggedImages
    from trainables.scoring.scorer import Floor, Scorer
    from trainables.scoring.tag_classifier.classifier import TagClassifier

    ShowStage = Callable[[Console, str], AbstractContextManager[Callable[[str], None]]]

FEW = 2000
"""Images whose features take a few seconds, not longer than to start another process."""


@dataclass(frozen=True)
class Scoring:
    """The scorer of a sweep, and the scores of real images.

    Attributes:
        scorer: with the tag classifier, unless the space is unconditional.
        floor: scores of real images.
    """

    scorer: Scorer
    floor: Floor


def prepare_scoring(
    sweep: ResolvedSweep, images: TaggedImages, console: Console, stage: ShowStage = show_stage
) -> Scoring:
    """Train the tag classifier and measure the reference, or read them from the cache.

    Args:
        sweep: the resolved settings.
        images: the data.
        console: for progress.
        stage: shows each stage.

    Raises:
        UserError: data or extractor that cannot be used.
    """
    cache = sweep.places.home.cache
    with stage(console, f"near-duplicates among {images.complete} images"):
        groups = near_duplicates(sweep, images)
    tag_classifier = None
    if takes_tags(sweep.space):
        with stage(console, "tag classifier, trained on real images only") as update:
            tag_classifier = _classify_tags(images, groups, cache, update)
    with stage(console, f"reference of {images.complete} real images by {sweep.scoring.extractor.name}"):
        scorer, floor = sweep_scorer(sweep.scoring, sweep.space, images, tag_classifier, groups, cache)
    return Scoring(scorer, floor)


def is_cached(sweep: ResolvedSweep, images: TaggedImages) -> bool:
    """Return whether the cache has what takes long: the tag classifier, and the features of many real images."""
    cache, files = sweep.places.home.cache, []
    if takes_tags(sweep.space):
        files.append(tag_classifier_file(cache, images.fingerprint, images.size, images.vocabulary))
    if images.complete > FEW:
        files.append(features_file(images, sweep.scoring.extractor.open(), cache))
    return all(path.exists() for path in files)


def beats_chance(sweep: ResolvedSweep, images: TaggedImages) -> bool:
    """Return whether a linear model tells the tags better than chance, which a tag classifier then does, too."""
    complete, data = slice(0, images.complete), images
    report = linear_probe(
        data.pixels[complete], data.labels[complete], data.vocabulary,
        near_duplicates(sweep, images),
    )  # fmt: skip
    check = check_tag_classifier({**describe_tags(images, None), "judge": report})
    return check is not None and not check.at_chance


def near_duplicates(sweep: ResolvedSweep, images: TaggedImages) -> NDArray[np.int64]:
    """Return the group of near-duplicates of each complete image, ``(images.complete,)``."""
    cache = sweep.places.home.cache
    return find_duplicates(images, images.complete, padded=sweep.data.fit == "pad", cache=cache).groups


def sweep_scorer(
    scoring: ScoringSettings,
    space: Space,
    images: TaggedImages,
    tag_classifier: TagClassifier | None,
    groups: NDArray[np.int64],
    cache: Path,
) -> tuple[Scorer, Floor]:
    """Make the scorer of a sweep, and score real images with it.

    Args:
        scoring: extractor, samples and optional scores.
        space: searched space; whether it translates decides what is scored.
        images: the data.
        tag_classifier: ``None`` if the space is unconditional.
        groups: group of near-duplicates of each complete image, ``(images.complete,)``.
        cache: folder of cached statistics.
    """
    return make_scorer(
        images,
        tag_classifier,
        extractor=scoring.extractor,
        samples=scoring.samples,
        seed=scoring.seed,
        cache=cache,
        groups=groups,
        translates=GanConfig.from_params(space.recipe).translates,
        cascade=read_cascade(scoring),
        infinity=scoring.infinity,
        mmd=scoring.mmd,
    )


def read_cascade(scoring: ScoringSettings) -> CascadeFile | None:
    """Read the cascade of the face rate, if there is one."""
    return CascadeFile.read(scoring.cascade) if scoring.cascade else None


def _classify_tags(
    images: TaggedImages, groups: NDArray[np.int64], cache: Path, update: Callable[[str], None]
) -> TagClassifier:
    complete = slice(0, images.complete)
    return cached_tag_classifier(
        cache,
        images.fingerprint,
        images.pixels[complete],
        images.labels[complete],
        images.vocabulary,
        groups=groups,
        progress=lambda share, text: update(f"tag classifier: {share:.0%} {text}"),
    )


def print_scoring(scoring: Scoring, images: TaggedImages, samples: int, console: Console) -> None:
    """Print the accuracy of the tag classifier, the floor, and what makes scores rough.

    Args:
        scoring: what to describe.
        images: the data.
        samples: images that a final score is to take.
        console: where to print.
    """
    scorer, floor, classifier = scoring.scorer, scoring.floor, scoring.scorer.tag_classifier
    lines = []
    if classifier is not None:
        shares = describe_accuracy(classifier.report.accuracy)
        lines.append(f"accuracy on {classifier.report.held_out} held-out real images: {shares}")
        check = check_tag_classifier(describe_tags(images, classifier))
        if check and check.warning:
            lines.append(f"WARNING: {check.warning}")
    lines.append(floor_message(floor, scorer.fingerprint.score))
    warnings = translation_warnings(scorer.task, samples) if scorer.task else []
    lines += filter(None, (floor.warning, *warnings))
    for line in lines:
        console.print(f"  {line}", soft_wrap=True)


def floor_message(floor: Floor, name: str) -> str:
    """Format the distance between two halves of the real images, with as many digits as scores have."""
    return f"real against real at {floor.samples} images: distance {score(name, floor.scores[name])}"


def describe_tags(images: TaggedImages, tag_classifier: TagClassifier | None) -> dict[str, Any]:
    """Count classes and combinations of tags, beside the report of the tag classifier."""
    return {
        "counts": {
            group.name: dict(zip(group.classes, images.counts(group.name).tolist(), strict=True))
            for group in images.vocabulary.groups
        },
        "combinations": _combinations(images),
        "judge": tag_classifier.report.to_json() if tag_classifier else {},
    }


def _combinations(images: TaggedImages) -> list[dict[str, Any]]:
    """Count the tag combinations of the complete images, the distribution that generators are conditioned on."""
    rows, counts = np.unique(images.labels[: images.complete], axis=0, return_counts=True)
    return [{"labels": row.tolist(), "count": int(count)} for row, count in zip(rows, counts, strict=True)]
