"""The synthetic data set: drawn anime faces with exactly known hair and eye colours.

The demo and the tests train on it, so that neither needs a download.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trainables.data.synthetic_hair import back_hair, fringe_outline, front_hair
from trainables.data.synthetic_parts import (
    Canvas,
    EyeShape,
    Tones,
    backdrop,
    body,
    brows,
    cheeks,
    eye,
    head,
    mouth,
)
from trainables.data.tags import REPORT_VOCABULARY, Vocabulary
from trainables.errors import UsageError, UserError
from trainables.storage.atomic import require_folder_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

SIZES = (16, 256)
"""Smallest and largest side of an image, in pixels."""


@dataclass(frozen=True)
class ColourRange:
    """A colour class: its centre in HSL (degrees, 0..1, 0..1) and the largest deviation of hue and lightness."""

    hue: float
    saturation: float
    lightness: float
    hue_spread: float = 6.0
    lightness_spread: float = 0.03

    def sample(self, rng: np.random.Generator) -> Tones:
        """Draw one shade of the class."""
        turn, fade, lift = rng.uniform((-1, 0.85, -1), (1, 1, 1))
        return Tones.of(
            self.hue + turn * self.hue_spread,
            self.saturation * fade,
            self.lightness + lift * self.lightness_spread,
        )


HAIR = {
    "orange": ColourRange(25, 0.92, 0.54, hue_spread=4),
    "white": ColourRange(225, 0.35, 0.94, lightness_spread=0.015),
    "aqua": ColourRange(176, 0.60, 0.62),
    "gray": ColourRange(220, 0.06, 0.57, hue_spread=20),
    "green": ColourRange(120, 0.50, 0.42, hue_spread=10),
    "red": ColourRange(355, 0.80, 0.42, hue_spread=4),
    "purple": ColourRange(274, 0.50, 0.50),
    "pink": ColourRange(338, 0.85, 0.78),
    "blue": ColourRange(219, 0.70, 0.50),
    "black": ColourRange(240, 0.16, 0.13, hue_spread=20),
    "brown": ColourRange(22, 0.45, 0.31, hue_spread=4),
    "blonde": ColourRange(48, 0.85, 0.70, hue_spread=4),
}
"""Hair colours by class name."""

EYES = {
    "gray": ColourRange(220, 0.06, 0.56, hue_spread=20),
    "black": ColourRange(270, 0.12, 0.10, hue_spread=30, lightness_spread=0.02),
    "orange": ColourRange(26, 0.98, 0.52, hue_spread=3),
    "pink": ColourRange(326, 0.85, 0.70),
    "yellow": ColourRange(53, 0.95, 0.54, hue_spread=3),
    "aqua": ColourRange(177, 0.80, 0.53),
    "purple": ColourRange(274, 0.62, 0.50),
    "green": ColourRange(122, 0.62, 0.40),
    "brown": ColourRange(21, 0.55, 0.29, hue_spread=4, lightness_spread=0.02),
    "red": ColourRange(356, 0.88, 0.44, hue_spread=4),
    "blue": ColourRange(219, 0.82, 0.52),
}
"""Eye colours by class name."""

SKIN = (ColourRange(24, 0.85, 0.91, 4, 0.02), ColourRange(22, 0.75, 0.86, 4, 0.03), ColourRange(22, 0.5, 0.70, 4, 0.04))
CLOTH = ColourRange(180, 0.65, 0.55, hue_spread=180, lightness_spread=0.3)
BACKGROUND = ColourRange(180, 0.45, 0.78, hue_spread=180, lightness_spread=0.18)


def sample_labels(count: int, seed: int, vocabulary: Vocabulary = REPORT_VOCABULARY) -> NDArray[np.int64]:
    """Draw labels (count, groups): every group independently, its first class twice as often as its last.

    The first rows do not depend on ``count``.

    Raises:
        UsageError: ``count`` below 1 or ``seed`` below 0.
    """
    _check_counts(count, seed)
    uniform = np.random.default_rng(seed).random((count, len(vocabulary.sizes)))
    labels = np.empty(uniform.shape, dtype=np.int64)
    for group, size in enumerate(vocabulary.sizes):
        weights = np.linspace(2, 1, size)
        edges = np.cumsum(weights / weights.sum())[:-1]
        labels[:, group] = np.searchsorted(edges, uniform[:, group], side="right")
    return labels


def draw_face(hair: int, eyes: int, rng: np.random.Generator, size: int) -> Image.Image:
    """Draw one RGB image of ``size`` x ``size`` pixels; the classes index ``REPORT_VOCABULARY``.

    Pose, shapes, shades, clothes and background are drawn from ``rng``, in an order that does not depend on the classes
    or the size: the same state of ``rng`` gives the same person in other colours.

    Raises:
        UsageError: a label outside its group, or a size outside 16..256.
    """
    _check_size(size)
    hair_tones, iris = _colour_range(HAIR, "hair", hair).sample(rng), _colour_range(EYES, "eyes", eyes).sample(rng)
    skin = SKIN[rng.choice(len(SKIN), p=(0.5, 0.38, 0.12))].sample(rng)
    cloth = CLOTH.sample(rng)
    first, second = BACKGROUND.sample(rng).base, BACKGROUND.sample(rng).base
    canvas = Canvas(size, (first, first, second, second))
    backdrop(canvas, rng)
    tilt, scale, right, down, turn = rng.uniform((-0.14, 0.94, -0.06, -0.04, -0.06), (0.14, 1.14, 0.06, 0.06, 0.06))
    canvas.pose(tilt, scale, (right, down))

    back_hair(canvas, hair_tones, rng)
    body(canvas, skin, cloth, rng)
    head(canvas, skin, rng)
    canvas.pose(tilt, scale, (right + turn, down))  # features off the head's centre: it looks aside
    fringe = fringe_outline(rng)
    canvas.fill(np.add(fringe, (0.0, 0.06)), skin.shade)
    cheeks(canvas, skin, rng)
    mouth(canvas, rng)
    shape = EyeShape.sample(rng)
    for side in (-1, 1):
        eye(canvas, iris, shape, side)
    front_hair(canvas, fringe, hair_tones, rng)
    brows(canvas, hair_tones, rng)
    return canvas.finish()


def draw_faces(labels: NDArray[np.int64], seed: int, size: int) -> NDArray[np.uint8]:
    """Draw labels (n, 2) as images (n, size, size, 3) of RGB in 0..255.

    Image i depends only on ``seed``, i and its labels, so a longer set begins with the images of a shorter one.

    Raises:
        UsageError: a label outside its group, a size outside 16..256, or a seed below 0.
    """
    _check_size(size)
    faces = np.empty((len(labels), size, size, 3), dtype=np.uint8)
    for index, (hair, eyes) in enumerate(labels.tolist()):
        faces[index] = np.asarray(draw_face(hair, eyes, np.random.default_rng((seed, index)), size))
    return faces


def write_folder(
    folder: Path,
    count: int,
    seed: int = 0,
    size: int = 64,
    partial: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write ``count`` fully and ``partial`` partly tagged images of ``size`` pixels in the reports' layout.

    ``faces/<id>.png`` for ids from 0; ``tags.csv`` without a header (``id,blue hair red eyes``) for the first
    ``count``; with ``partial`` also ``tags_partial.csv`` (``id,hair,eyes``: bare colours, one or both empty).
    ``progress`` is called with (images written, images in all).

    Raises:
        UserError: ``folder`` exists and is not empty, or cannot be written.
        UsageError: ``count`` below 1, ``partial`` or ``seed`` below 0, a size outside 16..256, or a name like a file's.
    """
    _check_counts(count, seed, partial)
    _check_size(size)
    require_folder_name(folder, "FOLDER")
    labels = sample_labels(count + partial, seed)
    try:
        if folder.exists() and any(folder.iterdir()):
            raise UserError(f"folder {folder} is not empty; name a new or an empty one")
        (folder / "faces").mkdir(parents=True)
        for index, (hair, eyes) in enumerate(labels.tolist()):
            face = draw_face(hair, eyes, np.random.default_rng((seed, index)), size)
            face.save(folder / "faces" / f"{index}.png")
            if progress:
                progress(index + 1, len(labels))
        _write_rows(folder / "tags.csv", enumerate(map(REPORT_VOCABULARY.describe, labels[:count].tolist())))
        if partial:
            _write_rows(folder / "tags_partial.csv", _partial_rows(labels, count, seed))
    except OSError as error:
        raise UserError(f"cannot write images to {folder}: {error}") from error


def _partial_rows(labels: NDArray[np.int64], start: int, seed: int) -> Iterator[tuple[object, ...]]:
    """Yield the header and the rows of images from ``start`` on, each with a hair tag, an eye tag, or neither."""
    yield "id", "hair", "eyes"
    rng = np.random.default_rng((seed, start))
    for index in range(start, len(labels)):
        named = [group.classes[k] for group, k in zip(REPORT_VOCABULARY.groups, labels[index], strict=True)]
        kept = rng.integers(3)
        yield index, *(name if group == kept else "" for group, name in enumerate(named))


def _write_rows(path: Path, rows: Iterable[Iterable[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _colour_range(palette: dict[str, ColourRange], group: str, label: int) -> ColourRange:
    classes = REPORT_VOCABULARY.groups[REPORT_VOCABULARY.index(group)].classes
    if not 0 <= label < len(classes):
        raise UsageError(f"cannot draw {group} label {label}; allowed are 0 to {len(classes) - 1}")
    return palette[classes[label]]


def _check_size(size: int) -> None:
    if not SIZES[0] <= size <= SIZES[1]:
        raise UsageError(f"cannot draw images of {size} pixels; allowed are {SIZES[0]} to {SIZES[1]}")


def _check_counts(count: int, seed: int, partial: int = 0) -> None:
    for name, value, least in (("count", count, 1), ("seed", seed, 0), ("partial", partial, 0)):
        if value < least:
            raise UsageError(f"cannot draw faces with {name} {value}; allowed is {least} or more")
