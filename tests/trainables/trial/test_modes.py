"""Modes of drawn images, as benchmarks.modes counts them."""

import numpy as np
import pytest
import torch

from benchmarks.modes import (
    CENTRES,
    count_colours,
    count_digits,
    draw_colours,
    draw_digits,
    train_classifier,
)


def as_images(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1


def test_colours_are_counted() -> None:
    pixels = draw_colours(250, np.random.default_rng(0))
    modes, share = count_colours(as_images(pixels))
    assert modes == 25
    assert share == pytest.approx(1 - np.exp(-8), abs=0.01)  # within four standard deviations in two dimensions
    one = as_images(pixels[:1]).expand(50, -1, -1, -1)
    assert count_colours(one) == (1, 1.0)
    between = torch.full((50, 3, 16, 16), (CENTRES[0, 0] + 20) / 127.5 - 1)
    assert count_colours(between) == (0, 0.0)
    assert count_colours(torch.cat([one, between])) == (1, 0.5)


def test_digits_differ() -> None:
    drawn = draw_digits(np.arange(10), np.random.default_rng(0)).reshape(10, -1).astype(float)
    distances = np.linalg.norm(drawn[:, None] - drawn, axis=2)
    assert (distances[~np.eye(10, dtype=bool)] > 300).all()


@pytest.mark.slow
def test_stacked_digits_are_counted() -> None:
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    classifier, accuracy = train_classifier(random)
    assert accuracy > 0.98
    labels = random.integers(10, size=(300, 3))
    stacked = np.stack([draw_digits(labels[:, place], random) for place in range(3)], axis=3)
    modes, _ = count_digits(as_images(stacked), classifier)
    assert modes == pytest.approx(len({tuple(row) for row in labels.tolist()}), rel=0.03)
