"""Draw images between two noises, two tags, or both."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.bundle.requests import require_tags
from pipeline.generate.generate import AT_ONCE, MOST, require_numbers
from pipeline.generate.image_output import ImageOutput, Style
from trainables.data.tags import UNKNOWN
from trainables.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pipeline.bundle.bundle import Bundle

_PLAIN = Style()
_SEED = re.compile(r"\s*-?[0-9]{1,18}\s*")


@dataclass(frozen=True)
class Interpolation:
    """The two ends of an interpolation; they are equal in what does not change."""

    output: Path
    images: int
    seeds: tuple[int, int]
    tags: tuple[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict."""
        return {
            "output": str(self.output),
            "pictures": self.images,
            "seeds": self.seeds,
            **({"tags": self.tags} if self.tags[0] else {}),
        }

    def summary(self) -> str:
        """Format as one line."""
        ways = [
            f"{one[0]!r} to {one[1]!r}" if name == "tags" else f"seed {one[0]} to seed {one[1]}"
            for name, one in (("seeds", self.seeds), ("tags", self.tags))
            if one[0] != one[1]
        ]
        return f"drew {self.images} images to {self.output}: {' and '.join(ways)}"


def draw_between(
    bundle: Bundle,
    request: str | None,
    towards: Sequence[str],
    *,
    count: int,
    seed: int,
    output: Path,
    style: Style = _PLAIN,
) -> Interpolation:
    """Draw ``count`` images from one end to the other: a strip, or a square if both noise and tags change.

    Noise is interpolated spherically (Shoemake 1985; White 2016), so that every point is as likely as the ends; tags
    are interpolated linearly in the network's tag embedding.

    Args:
        bundle: the export, in torch where tags change.
        request: tags at the start; the same throughout unless ``towards`` names others.
        towards: another seed (a whole number), other tags, or one of each.
        count: images from end to end, both included.
        seed: of the noise at the start, and of tags that ``request`` leaves out.
        output: a sample grid (noise varies from left to right, tags from top to bottom) or a folder.
        style: how images are drawn and written.

    Raises:
        UsageError: equal ends, unknown tags, tags for a generator without tags, numbers out of range.
        UserError: an output that cannot be written.
    """
    require_numbers(count, seed)
    require_tags(bundle, request)
    other_seed, other_text = _ends(bundle, towards)
    if count < 2:
        raise UsageError(f"-n is {count}; from one end to the other there are 2 images or more")
    rows, columns = (count if other_text is not None else 1), (count if other_seed is not None else 1)
    if rows * columns > MOST:
        raise UsageError(f"-n is {count}, a square of {rows * columns} images; at most {MOST} in one call")
    target = ImageOutput.check(output, style)
    first, last = _labels(bundle, request, other_text, seed)
    noises = bundle.noise([0], seed, style.truncation)
    if other_seed is not None:
        require_numbers(1, other_seed)
        if other_seed == seed:
            raise UsageError(f"--interpolate {other_seed} is the --seed itself; nothing lies between")
        noises = slerp(noises[0], bundle.noise([0], other_seed, style.truncation)[0], count)
    if not target.is_folder:
        target.require_sheet(rows * columns, columns if columns > 1 else rows, bundle.config.image_size)
    parts = _drawing(bundle, noises, (first, last), rows)
    texts = tuple(bundle.vocabulary.describe(end.tolist()) if request is not None else "" for end in (first, last))
    if target.is_folder:
        target.write_folder(parts, [""] * (rows * columns), None)
    else:
        names = [texts[0], *[""] * (rows - 2), texts[1]] if rows > 1 and columns > 1 else []
        target.write_sheet(np.concatenate(list(parts)), columns if columns > 1 else rows, names)
    return Interpolation(
        output, rows * columns, (seed, seed if other_seed is None else other_seed), (texts[0], texts[1])
    )


def _drawing(
    bundle: Bundle, noises: NDArray[np.float32], ends: tuple[NDArray[np.int64], NDArray[np.int64]], rows: int
) -> Iterator[NDArray[np.uint8]]:
    """Yield ``rows`` rows of images, one per noise, from the labels of one end to those of the other."""
    shares, columns = np.linspace(0, 1, rows, dtype=np.float32), len(noises)
    for start in range(0, rows * columns, AT_ONCE):
        places = np.arange(start, min(start + AT_ONCE, rows * columns))
        noise = noises[places % columns]
        starts, lasts = (np.tile(end, (len(places), 1)) for end in ends)
        if rows == 1:
            yield bundle.images(noise, starts)
        else:
            yield bundle.blend(noise, starts, lasts, shares[places // columns])


def slerp(first: NDArray[np.float32], last: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Interpolate spherically: ``count`` vectors from first to last, both included, at equal angles."""
    cosine = np.dot(first, last) / (np.linalg.norm(first) * np.linalg.norm(last))
    angle = float(np.arccos(np.clip(cosine, -1.0, 1.0)))
    shares = np.linspace(0.0, 1.0, count)[:, None]
    if np.sin(angle) < 1e-6:  # collinear vectors: the great circle is degenerate or not unique
        return ((1 - shares) * first + shares * last).astype(np.float32)
    turned = (np.sin((1 - shares) * angle) * first + np.sin(shares * angle) * last) / np.sin(angle)
    path: NDArray[np.float32] = turned.astype(np.float32)
    return path


def _ends(bundle: Bundle, towards: Sequence[str]) -> tuple[int | None, str | None]:
    seeds = [int(word) for word in towards if _SEED.fullmatch(word)]
    texts = [word for word in towards if not _SEED.fullmatch(word)]
    if not towards or len(seeds) > 1 or len(texts) > 1:
        raise UsageError(
            f"--interpolate {' '.join(map(repr, towards))}; give another seed, other tags, or one of each: "
            f'--interpolate 5 "{bundle.vocabulary.example(1)}"'
        )
    return (seeds[0] if seeds else None), (texts[0] if texts else None)


def _labels(
    bundle: Bundle, request: str | None, other: str | None, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return labels ``(groups,)`` of both ends; groups that the second does not name are as in the first."""
    vocabulary = bundle.vocabulary
    if other is not None and request is None:
        raise UsageError(
            f"--interpolate {other!r}: this {bundle.config.system} generator takes no tags; give another seed"
        )
    wanted = vocabulary.parse(request) if request is not None else (UNKNOWN,) * len(vocabulary.groups)
    first = bundle.complete(wanted, 1, seed)[0]
    if other is None:
        return first, first
    asked = np.array(vocabulary.parse(other))
    last = np.where(asked == UNKNOWN, first, asked)
    if (first == last).all():
        raise UsageError(f"--interpolate {other!r} are the tags at the start; nothing lies between")
    return first, last
