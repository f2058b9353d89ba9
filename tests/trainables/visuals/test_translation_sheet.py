"""Sheets of translations: painted images, and a translator that repaints what it is asked for."""

import dataclasses

import numpy as np
import torch
from torch import Tensor

from tests.support.tiny import PAIR, paint, painted_images, random_labels, read_labels, tiny_translator
from trainables.visuals.translation_sheet import draw_translations

SIDE = 66  # 16 px enlarged four times, and a gap


def repaint(images: Tensor, labels: Tensor) -> Tensor:
    return paint(labels)


def shown(sheet: np.ndarray, rows: int, columns: int, top: int = 0) -> np.ndarray:
    """Labels ``(rows, columns, groups)`` painted on the sheet."""
    drawn = sheet[top:, -columns * SIDE :].reshape(rows, SIDE, columns, SIDE, 3)[:, :64:4, :, :64:4]
    images = torch.from_numpy(drawn.transpose(0, 2, 4, 1, 3).copy()).flatten(0, 1).float() / 127.5 - 1
    return read_labels(images).view(rows, columns, 2).numpy()


def draw(system: str, *targets: str, seed: int = 0, labels: np.ndarray | None = None) -> np.ndarray:
    images = painted_images(random_labels(40) if labels is None else labels)
    images = dataclasses.replace(images, targets=targets)
    config = tiny_translator(system)
    return np.asarray(draw_translations(config, images, repaint, seed=seed, device="cpu"))


def test_cyclegans_columns_go_there_and_back_and_stay() -> None:
    labels = shown(draw("cyclegan", "eyes"), 8, 8)
    assert labels[:, :, 1].tolist() == [[eyes] * 8 for eyes in (0, 1, 0, 0, 1, 0, 1, 1)]
    for first in (0, 4):  # the hair is that of the source
        assert (labels[first : first + 4, :, 0] == labels[first, :, 0]).all()


def test_a_domain_of_few_images_has_few_columns() -> None:
    labels = np.array([[2, 0]] * 5 + [[0, 1]] * 4)
    drawn = shown(draw("cyclegan", "eyes", labels=labels), 8, 4)
    assert drawn[0].tolist() == [[2, 0]] * 4
    assert drawn[4].tolist() == [[0, 1]] * 4


def test_stargans_rows_are_a_source_and_every_class_of_every_target() -> None:
    labels = shown(draw("stargan"), 8, 1 + 3 + 2, top=25)
    for source, *translated in labels:
        hair, eyes = source
        assert [list(row) for row in translated] == [[0, eyes], [1, eyes], [2, eyes], [hair, 0], [hair, 1]]
    assert len({tuple(row) for row in labels[:, 0]}) > 2


def test_only_targets_are_asked_for() -> None:
    labels = shown(draw("stargan", "hair"), 8, 1 + 3, top=25)
    assert (labels[:, :, 1] == labels[:, :1, 1]).all()


def test_equal_seeds_show_the_same_images_and_others_do_not() -> None:
    first, second, other = (draw("stargan", seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_the_vocabulary_names_rows_and_columns() -> None:
    assert PAIR.describe((0, 1)) == "red hair light eyes"
    sheet = draw("stargan")
    margin = sheet.shape[1] - 6 * SIDE
    assert (sheet[25:, :margin] < 100).any()  # ink beside the rows
    assert (sheet[:25, margin:] < 100).any()  # and above the columns
