"""Whether a space and the data belong together: what is translated, and between what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainables.config import GanConfig
from trainables.errors import UsageError, UserError
from trainables.scoring.comparison import LEAST
from trainables.scoring.translation_task import EACH

if TYPE_CHECKING:
    from search_spaces.space import Space
    from trainables.data.dataset import TaggedImages
    from trainables.data.selection import Selection
    from trainables.scoring.translation_task import TranslationTask

_HOW = (
    'give --domain-a "GROUP=CLASS" --domain-b "GROUP=CLASS", --attributes with one attribute of two classes, or a '
    "folder with subfolders A and B"
)


def require_selection(space: Space, selection: Selection) -> None:
    """Refuse domains for systems that draw from noise.

    Raises:
        UsageError: such a system, with what may be given instead.
    """
    if selection.domain_a is not None and not _translates(space):
        raise UsageError(
            f"--domain-a and --domain-b are between what cyclegan and stargan translate, and {space.name} draws from "
            "noise; take one of those spaces, or leave them out"
        )


def require_extrapolation(space: Space, *, wanted: bool) -> None:
    """Refuse to extrapolate the distance of a translation, which is a mean over targets of few pictures each.

    Raises:
        UsageError: such a system.
    """
    if wanted and _translates(space):
        raise UsageError(
            f"--fid-infinity extrapolates the distance of one set of pictures, and that of {space.name} is a mean over "
            "targets; leave it out"
        )


def require_targets(space: Space, images: TaggedImages) -> None:
    """Refuse pictures whose tags the space cannot translate, or tags to change where nothing is translated.

    Raises:
        UsageError: the target groups do not fit the space.
        UserError: too few pictures of a domain.
    """
    places = images.target_places
    if not _translates(space):
        if len(places) < len(images.vocabulary.groups):
            raise UsageError(
                f"--attributes {','.join(images.targets)} names tags to change, and {space.name} draws from noise by "
                "all of them; take cyclegan or stargan, or leave it out"
            )
        return
    sizes = [images.vocabulary.sizes[place] for place in places]
    if GanConfig.from_params(space.recipe).system == "cyclegan" and sizes != [2]:
        groups = (images.vocabulary.groups[place] for place in places)
        found = " and ".join(f"{group.name} ({len(group.classes)} classes)" for group in groups)
        raise UsageError(f"{space.name} translates between two domains, and the data has {found} to translate; {_HOW}")
    for place in places if sizes == [2] else ():
        _require_enough(images, place)


def told_of_task(task: TranslationTask, samples: int) -> list[str]:
    """What to say of classes that the scores leave out, and where fewer pictures than ``samples`` are translated."""
    said = []
    if task.left_out:
        said.append(
            f"no translation to {', '.join(task.left_out)} is scored: {LEAST} pictures of a class with every tag, and "
            f"{EACH} of others, are needed"
        )
    if len(task.sources) < samples:
        said.append(
            f"scores translate {len(task.sources)} pictures instead of {samples}: no more can be asked for each class "
            "equally often without asking twice for the same"
        )
    return said


def _require_enough(images: TaggedImages, place: int) -> None:
    group = images.vocabulary.groups[place]
    counts = np.bincount(images.labels[: images.complete, place], minlength=2)
    for name, count in zip(group.classes, counts.tolist(), strict=True):
        if count < LEAST:
            raise UserError(
                f"{count} pictures of {name} {group.name} with every tag are too few to translate to and to score by; "
                f"{LEAST} are needed"
            )


def _translates(space: Space) -> bool:
    return GanConfig.from_params(space.recipe).translates
