"""Sample grids of translations of fixed images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from trainables.data.tags import UNKNOWN
from trainables.data.tensors import as_tensor, in_range, to_uint8
from trainables.visuals.image_grid import grid
from trainables.visuals.panels import COLUMNS, ROWS

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
    """Draw the sample grid of a translating system; equal seeds show the same images.

    CycleGAN: a column per image, with rows for the image, its translation to the other domain, the translation back,
    and the translation to its own domain; first for images of A, then of B. StarGAN: a row per image, with the image
    followed by its translation to every class of every target group.
    """
    random = np.random.default_rng(seed)
    draw = _cycles if config.system == "cyclegan" else _targets
    return draw(images, translate, random, device)


def _cycles(images: TaggedImages, translate: Translate, random: np.random.Generator, device: str) -> Image.Image:
    place = images.target_places[0]
    labels = images.labels[: images.complete]
    domains = [np.flatnonzero(labels[:, place] == label) for label in range(2)]
    columns = min(COLUMNS, *map(len, domains))
    rows: list[Tensor] = []
    names: list[str] = []
    for label, domain in enumerate(domains):
        chosen = random.choice(domain, columns, replace=False)
        sources, known = in_range(images, chosen, device), as_tensor(labels[chosen]).to(device)
        requested = known.clone()
        requested[:, place] = 1 - label
        translated = translate(sources, requested)
        rows += [sources, translated, translate(translated, known), translate(sources, known)]
        first, second = (images.vocabulary.groups[place].classes[index] for index in (label, 1 - label))
        names += [first, f"to {second}", f"back to {first}", "to itself"]
    return _sheet(rows, columns, names)


def _targets(images: TaggedImages, translate: Translate, random: np.random.Generator, device: str) -> Image.Image:
    rows = min(ROWS, images.complete)
    chosen = random.choice(images.complete, rows, replace=False)
    sources, labels = in_range(images, chosen, device), images.labels[chosen]
    columns, headings = [sources], ["source"]
    for place in images.target_places:
        group = images.vocabulary.groups[place]
        for label, name in enumerate(group.classes):
            requested = labels.copy()
            requested[:, place] = label
            columns.append(translate(sources, as_tensor(requested).to(device)))
            headings.append(f"{name}\n{group.name}")
    shown = np.full_like(labels, UNKNOWN)
    shown[:, list(images.target_places)] = labels[:, list(images.target_places)]
    names = [images.vocabulary.describe(row) for row in shown.tolist()]
    return _sheet([torch.stack(columns, dim=1).flatten(0, 1)], len(columns), names, headings)


def _sheet(rows: Iterable[Tensor], columns: int, names: Sequence[str], headings: Sequence[str] = ()) -> Image.Image:
    pixels = to_uint8(torch.cat(list(rows))).permute(0, 2, 3, 1).cpu().numpy()
    return grid(pixels, columns, names, scale=max(1, 64 // pixels.shape[1]), headings=headings)
