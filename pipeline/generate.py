"""Pictures from an exported generator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.bundle import SEEDS
from pipeline.picture_files import Style, Target
from trainables.data.readers import read_prompts
from trainables.data.tags import UNKNOWN
from trainables.errors import UsageError
from trainables.panels import Panel, make_panel
from trainables.pictures import grid, save_picture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pipeline.bundle import Bundle

MOST = 100_000
"""Pictures in one call."""
AT_ONCE = 1024
"""Pictures held in memory on their way to a folder."""
_PLAIN = Style()


@dataclass(frozen=True)
class Drawn:
    """What was drawn and where it went."""

    output: Path
    tags: tuple[str, ...]
    missing: tuple[str, ...]
    """Groups whose tag was not asked for and drawn from the data's distribution."""

    def to_json(self) -> dict[str, Any]:
        """A plain dict."""
        return {
            "output": str(self.output),
            "pictures": len(self.tags),
            "tags": self.tags,
            "drawn_from_data": self.missing,
        }

    def summary(self) -> str:
        """One or two lines."""
        count = len(self.tags)
        text = f"drew {count} picture{'s' * (count != 1)} to {self.output}"
        if self.missing:
            text += f"\nno {' and no '.join(self.missing)} asked for: drawn from the data's distribution"
        return text


def generate_pictures(
    bundle: Bundle, request: str | Path | None, *, count: int, seed: int, output: Path, style: Style = _PLAIN
) -> Drawn:
    """Draw ``count`` pictures for tag text, or for each line of a prompts file, to a sheet or a folder.

    A generator that takes no tags is asked for none (``request`` None); any other must be.

    Raises:
        UsageError: unknown tags, or a count, seed or style out of range.
        UserError: an output that cannot be written.
    """
    require_numbers(count, seed)
    target = Target.check(output, style)
    vocabulary, conditional = bundle.vocabulary, bundle.config.conditional
    prompts = _prompts(bundle, request)
    if len(prompts) * count > MOST:
        raise UsageError(f"{len(prompts)} prompts of {count} pictures; at most {MOST} pictures in one call")
    columns = count if len(prompts) > 1 else round(count**0.5 + 0.49)
    if not target.is_folder:
        target.require_sheet(len(prompts) * count, columns, bundle.config.image_size)
    seeds = [(seed + row) % SEEDS for row in range(len(prompts))]
    labels = np.concatenate(
        [bundle.complete(wanted, count, own) for (_, wanted), own in zip(prompts, seeds, strict=True)]
    )
    described = tuple(vocabulary.describe(row.tolist()) if conditional else "" for row in labels)
    if target.is_folder:
        target.write_folder(_drawing(bundle, labels, seed, style), described, vocabulary if conditional else None)
    else:
        target.write_sheet(bundle.draw(labels, seed, truncation=style.truncation), columns,
                           _row_names(described, count) if len(prompts) > 1 else ())  # fmt: skip
    missing = {
        name
        for _, wanted in prompts
        for name, label in zip(vocabulary.names, wanted, strict=True)
        if conditional and label == UNKNOWN
    }
    return Drawn(output, described, tuple(name for name in vocabulary.names if name in missing))


def draw_panel(bundle: Bundle, name: str, seed: int, output: Path, style: Style = _PLAIN) -> Panel:
    """Draw one of ``trainables.panels``: ``noise``, a tag group's, or ``grid``.

    Combinations that the generator does not know are left white.

    Raises:
        UsageError: no such panel, a seed or style out of range, an output that is no picture.
        UserError: an output that cannot be written.
    """
    require_numbers(1, seed)
    panel = make_panel(name, bundle.vocabulary, np.repeat(bundle.combinations, bundle.counts, axis=0))
    target = Target.check(output, style)
    if target.is_folder:
        raise UsageError(f"-o is {output}; a panel is one picture: a name that ends in .png or .webp")
    size = bundle.config.image_size
    target.require_sheet(len(panel.labels), panel.columns, size)
    known = np.array([not bundle.pairs or tuple(row) in bundle.pairs for row in panel.labels.tolist()])
    pixels = np.full((len(known), size, size, 3), 255, dtype=np.uint8)
    if known.any():
        pixels[known] = bundle.draw(panel.labels[known], seed, panel.noises[known], style.truncation)
    target.write_sheet(pixels, panel.columns, panel.rows if bundle.config.conditional else ())
    return panel


def draw_samples(bundle: Bundle, output: Path) -> None:
    """Draw 64 pictures of seed 0 with the data's own tags, none of them picked out."""
    labels = bundle.complete((UNKNOWN,) * len(bundle.vocabulary.groups), 64, seed=0)
    save_picture(grid(bundle.draw(labels, seed=0), 8, scale=max(1, 64 // bundle.config.image_size)), output)


def require_numbers(count: int, seed: int) -> None:
    """Refuse a count or seed out of range."""
    if not 1 <= count <= MOST:
        raise UsageError(f"-n is {count}; allowed: 1 to {MOST}")
    if not 0 <= seed < SEEDS:
        raise UsageError(f"--seed is {seed}; allowed: 0 to {SEEDS - 1}")


def require_tags(bundle: Bundle, request: object) -> None:
    """Refuse tags for a generator that takes none, and no tags for one that takes some."""
    if bundle.config.conditional and request is None:
        raise UsageError('no tags; give them, for instance "blue hair red eyes", or --prompts FILE, or --panel NAME')
    if not bundle.config.conditional and request is not None:
        raise UsageError(
            f"tags {str(request)!r} mean nothing to this {bundle.config.system} generator, which takes none; "
            "leave them out"
        )


def _prompts(bundle: Bundle, request: str | Path | None) -> list[tuple[str, tuple[int, ...]]]:
    require_tags(bundle, request)
    if request is None:
        return [("", (UNKNOWN,) * len(bundle.vocabulary.groups))]
    if isinstance(request, Path):
        return read_prompts(request, bundle.vocabulary)
    return [("", bundle.vocabulary.parse(request))]


def _drawing(bundle: Bundle, labels: NDArray[np.int64], seed: int, style: Style) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(labels), AT_ONCE):
        part = labels[start : start + AT_ONCE]
        yield bundle.draw(part, seed, np.arange(start, start + len(part)), style.truncation)


def _row_names(described: tuple[str, ...], count: int) -> list[str]:
    """The tags of each row of ``count`` pictures, where they all have the same."""
    rows = [described[start : start + count] for start in range(0, len(described), count)]
    return [row[0] if len(set(row)) == 1 else "" for row in rows]
