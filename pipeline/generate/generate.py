"""Draw images with an exported generator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.bundle.bundle import SEEDS
from pipeline.bundle.requests import drawing_labels, require_tags
from pipeline.generate.image_output import ImageOutput, Style
from trainables.data.tag_files.readers import read_prompts
from trainables.data.tags import UNKNOWN
from trainables.errors import UsageError
from trainables.visuals.image_grid import grid, save_image
from trainables.visuals.panels import Panel, make_panel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from pipeline.bundle.bundle import Bundle

    Progress = Callable[[int, int], None]

MOST = 100_000
"""Maximum number of images per call."""
AT_ONCE = 256
"""Number of images held in memory while a folder is written."""
_PLAIN = Style()


@dataclass(frozen=True)
class Drawn:
    """Result of ``generate_images``: what was drawn, and where it was written."""

    output: Path
    tags: tuple[str, ...]
    missing: tuple[str, ...]
    """Groups without a requested tag, whose tags were drawn from the data's distribution."""

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict."""
        return {
            "output": str(self.output),
            "pictures": len(self.tags),
            "tags": self.tags,
            "drawn_from_data": self.missing,
        }

    def summary(self) -> str:
        """Format as one or two lines."""
        count = len(self.tags)
        text = f"drew {count} image{'s' * (count != 1)} to {self.output}"
        if self.missing:
            text += f"\nno {' and no '.join(self.missing)} asked for: drawn from the data's distribution"
        return text


def generate_images(
    bundle: Bundle,
    request: str | Path | None,
    *,
    count: int,
    seed: int,
    output: Path,
    style: Style = _PLAIN,
    progress: Progress | None = None,
) -> Drawn:
    """Draw ``count`` images for tag text, or for each line of a prompts file, to a sample grid or a folder.

    ``request`` is ``None`` for a generator that takes no tags, and required for any other. ``progress`` is called with
    (images drawn, images in all).

    Raises:
        UsageError: unknown tags, or a count, seed or style out of range.
        UserError: an output that cannot be written.
    """
    require_numbers(count, seed)
    target = ImageOutput.check(output, style)
    vocabulary, conditional = bundle.vocabulary, bundle.config.conditional
    prompts = _prompts(bundle, request)
    if len(prompts) * count > MOST:
        raise UsageError(f"{len(prompts)} prompts of {count} images; at most {MOST} images in one call")
    columns = count if len(prompts) > 1 else round(count**0.5 + 0.49)
    if not target.is_folder:
        target.require_sheet(len(prompts) * count, columns, bundle.config.image_size)
    seeds = [(seed + row) % SEEDS for row in range(len(prompts))]
    labels = np.concatenate(
        [bundle.complete(wanted, count, own) for (_, wanted), own in zip(prompts, seeds, strict=True)]
    )
    described = tuple(vocabulary.describe(row.tolist()) if conditional else "" for row in labels)
    parts = _drawing(bundle, labels, seed, style, progress)
    if target.is_folder:
        target.write_folder(parts, described, vocabulary if conditional else None)
    else:
        names = _row_names(described, count) if len(prompts) > 1 else ()
        target.write_sheet(np.concatenate(list(parts)), columns, names)
    missing = {
        name
        for _, wanted in prompts
        for name, label in zip(vocabulary.names, wanted, strict=True)
        if conditional and label == UNKNOWN
    }
    return Drawn(output, described, tuple(name for name in vocabulary.names if name in missing))


def draw_panel(bundle: Bundle, name: str, seed: int, output: Path, style: Style = _PLAIN) -> Panel:
    """Draw one of ``trainables.visuals.panels``: ``noise``, a tag group's, or ``grid``.

    Combinations that the generator does not know are left white.

    Raises:
        UsageError: no such panel, a seed or style out of range, an output that is not an image file.
        UserError: an output that cannot be written.
    """
    require_numbers(1, seed)
    labels = np.repeat(bundle.combinations, bundle.counts, axis=0)
    panel = make_panel(name, bundle.vocabulary, labels, conditional=bundle.config.conditional)
    target = ImageOutput.check(output, style)
    if target.is_folder:
        raise UsageError(f"-o is {output}; a panel is one image: a name that ends in .png or .webp")
    size = bundle.config.image_size
    target.require_sheet(len(panel.labels), panel.columns, size)
    known = np.array([not bundle.pairs or tuple(row) in bundle.pairs for row in panel.labels.tolist()])
    pixels = np.full((len(known), size, size, bundle.config.channels), 255, dtype=np.uint8)
    if known.any():
        pixels[known] = bundle.draw(panel.labels[known], seed, panel.noises[known], style.truncation)
    target.write_sheet(pixels, panel.columns, panel.rows)
    return panel


def draw_samples(bundle: Bundle, output: Path) -> None:
    """Draw 64 uncurated images of seed 0 with tags from the data's distribution."""
    labels = bundle.complete((UNKNOWN,) * len(bundle.vocabulary.groups), 64, seed=0)
    save_image(grid(bundle.draw(labels, seed=0), 8, scale=max(1, 64 // bundle.config.image_size)), output)


def require_numbers(count: int, seed: int) -> None:
    """Refuse a count or seed out of range."""
    if not 1 <= count <= MOST:
        raise UsageError(f"-n is {count}; allowed: 1 to {MOST}")
    if not 0 <= seed < SEEDS:
        raise UsageError(f"--seed is {seed}; allowed: 0 to {SEEDS - 1}")


def _prompts(bundle: Bundle, request: str | Path | None) -> list[tuple[str, tuple[int, ...]]]:
    if isinstance(request, Path):
        require_tags(bundle, request)
        return read_prompts(request, bundle.vocabulary)
    return [("", drawing_labels(bundle, request))]


def _drawing(
    bundle: Bundle, labels: NDArray[np.int64], seed: int, style: Style, progress: Progress | None
) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(labels), AT_ONCE):
        part = labels[start : start + AT_ONCE]
        yield bundle.draw(part, seed, np.arange(start, start + len(part)), style.truncation)
        if progress:
            progress(start + len(part), len(labels))


def _row_names(described: tuple[str, ...], count: int) -> list[str]:
    """Return the tags of each row of ``count`` images, if all images of the row share them."""
    rows = [described[start : start + count] for start in range(0, len(described), count)]
    return [row[0] if len(set(row)) == 1 else "" for row in rows]
