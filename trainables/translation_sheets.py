"""Sheets that show what a generator makes of fixed pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from trainables.data.tags import UNKNOWN
from trainables.inputs import in_range
from trainables.panels import COLUMNS, ROWS
from trainables.pictures import as_tensor, grid, to_uint8

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from PIL import Image
    from torch import Tensor

    from trainables.config import GanConfig
    from trainables.data.dataset import TaggedImages

    Translate = Callable[[Tensor, Tensor], Tensor]


def draw_translations(
    config: GanConfig, images: TaggedImages, translate: Translate, *, seed: int, device: str
) -> Image.Image:
    """The sheet of a system that translates; equal seeds show the same pictures.

    CycleGAN: a column for each picture, and down it: the picture, the other domain's, back again, and its own domain's;
    first for pictures of A, then of B. StarGAN: a row for each picture, followed by every class of every target group.
    """
    random = np.random.default_rng(seed)
    draw = _cycles if config.system == "cyclegan" else _targets
    return draw(images, translate, random, device)


def _cycles(images: TaggedImages, translate: Translate, random: np.random.Generator, device: str) -> Image.Image:
    place = images.target_places[0]
    labels = images.labels[: images.complete]
    own = [np.flatnonzero(labels[:, place] == label) for label in range(2)]
    columns = min(COLUMNS, *map(len, own))
    rows: list[Tensor] = []
    names: list[str] = []
    for label, domain in enumerate(own):
        chosen = random.choice(domain, columns, replace=False)
        pictures, known = in_range(images, chosen, device), as_tensor(labels[chosen]).to(device)
        asked = known.clone()
        asked[:, place] = 1 - label
        there = translate(pictures, asked)
        rows += [pictures, there, translate(there, known), translate(pictures, known)]
        first, second = (images.vocabulary.groups[place].classes[one] for one in (label, 1 - label))
        names += [first, f"to {second}", f"back to {first}", "to itself"]
    return _sheet(rows, columns, names)


def _targets(images: TaggedImages, translate: Translate, random: np.random.Generator, device: str) -> Image.Image:
    rows = min(ROWS, images.complete)
    chosen = random.choice(images.complete, rows, replace=False)
    pictures, labels = in_range(images, chosen, device), images.labels[chosen]
    columns, headings = [pictures], ["source"]
    for place in images.target_places:
        group = images.vocabulary.groups[place]
        for label, name in enumerate(group.classes):
            asked = labels.copy()
            asked[:, place] = label
            columns.append(translate(pictures, as_tensor(asked).to(device)))
            headings.append(f"{name}\n{group.name}")
    shown = np.full_like(labels, UNKNOWN)
    shown[:, list(images.target_places)] = labels[:, list(images.target_places)]
    names = [images.vocabulary.describe(row) for row in shown.tolist()]
    return _sheet([torch.stack(columns, dim=1).flatten(0, 1)], len(columns), names, headings)


def _sheet(rows: Iterable[Tensor], columns: int, names: Sequence[str], headings: Sequence[str] = ()) -> Image.Image:
    pixels = to_uint8(torch.cat(list(rows))).permute(0, 2, 3, 1).cpu().numpy()
    return grid(pixels, columns, names, scale=max(1, 64 // pixels.shape[1]), headings=headings)
