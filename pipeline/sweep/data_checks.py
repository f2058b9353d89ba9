"""Checks that a space and the data fit together: which tags are translated, and between which domains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainables.config import GanConfig
from trainables.data.defects import defects_by_kind
from trainables.errors import UsageError, UserError
from trainables.scoring.metrics.suite import MIN_IMAGES
from trainables.scoring.translation_task import MIN_PER_CLASS

if TYPE_CHECKING:
    from pathlib import Path

    from search_spaces.space import Space
    from trainables.data.dataset import TaggedImages
    from trainables.data.selection import Selection
    from trainables.scoring.translation_task import TranslationTask

_HOW = (
    'give --domain-a "GROUP=CLASS" --domain-b "GROUP=CLASS", --attributes with one attribute of two classes, or a '
    "folder with subfolders A and B"
)


def require_selection(space: Space, selection: Selection) -> None:
    """Refuse domains for systems that generate from noise.

    Raises:
        UsageError: such a system, and what to give instead.
    """
    if selection.domain_a is not None and not _translates(space):
        raise UsageError(
            f"--domain-a and --domain-b select what cyclegan and stargan translate, and {space.name} generates from "
            "noise; use one of those spaces, or omit both options"
        )


def require_one_set(space: Space, *, infinity: bool, mmd: bool) -> None:
    """Refuse scores of one set of images for a translation, whose distance is a mean over targets with few images each.

    Raises:
        UsageError: a system that translates.
    """
    for option, wanted in (("--fid-infinity", infinity), ("--mmd", mmd)):
        if wanted and _translates(space):
            raise UsageError(
                f"{option} compares one set of images with real ones, and the distance of {space.name} is a mean over "
                "targets; omit it"
            )


def untrainable_images(images: TaggedImages, folder: Path, *, conditional: bool = True) -> str | None:
    """Say why no sweep can train on these images of a folder, or ``None``; spaces without tags need no two classes."""
    refusal = too_few_images(images) or (single_classes(images) if conditional else None)
    return f"data folder {folder}: {refusal}" if refusal else None


def too_few_images(images: TaggedImages) -> str | None:
    """Say why there are too few images for any score, or ``None``; known before the tag classifier is trained."""
    if images.complete >= MIN_IMAGES:
        return None
    return f"{images.complete} images with every tag are too few to score against; {MIN_IMAGES} are needed"


def single_classes(images: TaggedImages) -> str | None:
    """Say that no group has two classes with images, or ``None``: there is nothing to tell apart."""
    labels = images.labels[: images.complete]
    if not len(labels) or (labels != labels[0]).any():
        return None
    return (
        f"all {len(labels)} images with every tag are {images.vocabulary.describe(labels[0].tolist())}, and tags need "
        "two classes of a group: label other images, or use a space without tags such as dcgan"
    )


def require_targets(space: Space, images: TaggedImages) -> None:
    """Refuse images whose tags the space cannot translate, and tags to change if nothing is translated.

    Raises:
        UsageError: the target groups do not fit the space.
        UserError: too few images of a domain.
    """
    places = images.target_places
    if not _translates(space):
        if len(places) < len(images.vocabulary.groups):
            raise UsageError(
                f"--attributes {','.join(images.targets)} names tags to change, and {space.name} generates from noise "
                "and all tags; use cyclegan or stargan, or omit it"
            )
        return
    sizes = [images.vocabulary.sizes[place] for place in places]
    if GanConfig.from_params(space.recipe).system == "cyclegan" and sizes != [2]:
        groups = (images.vocabulary.groups[place] for place in places)
        groups_text = " and ".join(f"{group.name} ({len(group.classes)} classes)" for group in groups)
        raise UsageError(
            f"{space.name} translates between two domains, and the data has {groups_text} to translate; {_HOW}"
        )
    if refusal := scarce_domain(images):
        raise UserError(refusal)


def scarce_domain(images: TaggedImages) -> str | None:
    """Say which of two domains to translate has too few images, or ``None``; ``None`` for other targets."""
    places = images.target_places
    if [images.vocabulary.sizes[place] for place in places] != [2]:
        return None
    group = images.vocabulary.groups[places[0]]
    counts = np.bincount(images.labels[: images.complete, places[0]], minlength=2)
    for name, count in zip(group.classes, counts.tolist(), strict=True):
        if count < MIN_IMAGES:
            return (
                f"{count} images of {name} {group.name} with every tag are too few to translate to and to score by; "
                f"{MIN_IMAGES} are needed"
            )
    return None


def unused_classes(images: TaggedImages) -> list[str]:
    """Name the classes that no image with every tag has, with their groups: generators never learn them."""
    labels, groups = images.labels[: images.complete], images.vocabulary.groups
    return [
        f"{name} {group.name}"
        for place, group in enumerate(groups)
        for label, name in enumerate(group.classes)
        if not (labels[:, place] == label).any()
    ]


def describe_images(images: TaggedImages) -> list[str]:
    """Lines on the images of a sweep: how many, of which groups, what was wrong with the data, what is not learnt."""
    groups = ", ".join(f"{group.name} ({len(group.classes)} classes)" for group in images.vocabulary.groups)
    lines = [f"{len(images)} images, {images.complete} with every tag; {groups}"]
    for kind, names in defects_by_kind(images.defects).items():
        lines.append(f"{len(names)} {kind}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}")
    if unused := unused_classes(images):
        shown = f"{', '.join(unused[:10])}{', ...' if len(unused) > 10 else ''}"
        lines.append(f"{len(unused)} classes without an image with every tag are not learnt: {shown}")
    return lines


def translation_warnings(task: TranslationTask, samples: int) -> list[str]:
    """Warn of classes that the scores leave out, and if fewer images than ``samples`` are translated."""
    warnings = []
    if task.left_out:
        warnings.append(
            f"no translation to {', '.join(task.left_out)} is scored: {MIN_IMAGES} images of a class with every tag, "
            f"and {MIN_PER_CLASS} of others, are needed"
        )
    if len(task.sources) < samples:
        warnings.append(
            f"scores translate {len(task.sources)} images instead of {samples}: more would translate an image to the "
            "same class twice"
        )
    return warnings


def _translates(space: Space) -> bool:
    return GanConfig.from_params(space.recipe).translates
