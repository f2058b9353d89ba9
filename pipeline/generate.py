"""Pictures from an exported generator."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from trainables.data.readers import read_prompts
from trainables.data.tags import UNKNOWN
from trainables.errors import UsageError, UserError
from trainables.panels import Panel, make_panel
from trainables.pictures import grid, save_png

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.bundle import Bundle

MOST = 100_000
"""Pictures in one call."""


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
        text = f"drew {len(self.tags)} pictures to {self.output}"
        if self.missing:
            text += f"\nno {' and no '.join(self.missing)} asked for: drawn from the data's distribution"
        return text


def generate_pictures(bundle: Bundle, request: str | Path | None, *, count: int, seed: int, output: Path) -> Drawn:
    """Draw ``count`` pictures for tag text, or for each line of a prompts file, to a grid or a folder.

    A generator that takes no tags is asked for none (``request`` None); any other must be.

    Raises:
        UsageError: unknown tags, or a count or seed out of range.
        UserError: an output that cannot be written.
    """
    if not 1 <= count <= MOST:
        raise UsageError(f"-n is {count}; allowed: 1 to {MOST}")
    if not 0 <= seed < 2**31:
        raise UsageError(f"--seed is {seed}; allowed: 0 to {2**31 - 1}")
    vocabulary, conditional = bundle.vocabulary, bundle.config.conditional
    prompts = _prompts(bundle, request)
    if len(prompts) * count > MOST:
        raise UsageError(f"{len(prompts)} prompts of {count} pictures; at most {MOST} pictures in one call")
    labels = np.concatenate([bundle.complete(wanted, count, seed + row) for row, (_, wanted) in enumerate(prompts)])
    pixels = bundle.draw(labels, seed)
    described = tuple(vocabulary.describe(row.tolist()) if conditional else "" for row in labels)
    missing = {
        name
        for _, wanted in prompts
        for name, label in zip(vocabulary.names, wanted, strict=True)
        if conditional and label == UNKNOWN
    }
    try:
        suffix = output.suffix.lower()
        if suffix in (".jpg", ".jpeg", ".webp", ".gif", ".bmp"):
            raise UsageError(f"-o is {output}; a grid is written as .png, and a name without suffix is a folder")
        if suffix == ".png":
            named = [text if len(set(described[row * count : (row + 1) * count])) == 1 else "" for row, text in
                     enumerate(described[::count])]  # fmt: skip
            _write_grid(pixels, output, count, named if len(prompts) > 1 else [])
        else:
            _write_folder(pixels, described, output)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error}") from error
    return Drawn(output, described, tuple(name for name in vocabulary.names if name in missing))


def draw_panel(bundle: Bundle, name: str, seed: int, output: Path) -> Panel:
    """Draw one of ``trainables.panels``: ``noise``, a tag group's, or ``grid``.

    Combinations that the generator does not know are left white.
    """
    panel = make_panel(name, bundle.vocabulary, np.repeat(bundle.combinations, bundle.counts, axis=0))
    known = np.array([not bundle.pairs or tuple(row) in bundle.pairs for row in panel.labels.tolist()])
    size = bundle.config.image_size
    pixels = np.full((len(known), size, size, 3), 255, dtype=np.uint8)
    if known.any():
        pixels[known] = bundle.draw(panel.labels[known], seed, panel.noises[known])
    rows = panel.rows if bundle.config.conditional else ()
    save_png(grid(pixels, panel.columns, rows, scale=max(1, 64 // size)), output)
    return panel


def _prompts(bundle: Bundle, request: str | Path | None) -> list[tuple[str, tuple[int, ...]]]:
    vocabulary = bundle.vocabulary
    if not bundle.config.conditional:
        if request is not None:
            raise UsageError(
                f"tags {str(request)!r} mean nothing to this {bundle.config.system} generator, which takes none; "
                "leave them out"
            )
        return [("", (UNKNOWN,) * len(vocabulary.groups))]
    if request is None:
        raise UsageError('no tags; give them, for instance "blue hair red eyes", or --prompts FILE, or --panel NAME')
    return read_prompts(request, vocabulary) if isinstance(request, Path) else [("", vocabulary.parse(request))]


def _write_grid(pixels: NDArray[np.uint8], output: Path, count: int, labels: list[str]) -> None:
    columns = count if labels else round(count**0.5 + 0.49)
    save_png(grid(pixels, columns, labels, scale=max(1, 96 // pixels.shape[1])), output)


def _write_folder(pixels: NDArray[np.uint8], described: tuple[str, ...], output: Path) -> None:
    for place, (picture, text) in enumerate(zip(pixels, described, strict=True)):
        name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
        stem = f"{place:05d}-{name}" if name else f"{place:05d}"
        save_png(Image.fromarray(np.ascontiguousarray(picture)), output / f"{stem}.png")
