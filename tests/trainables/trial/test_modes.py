"""Modes of drawn images, as benchmarks.modes counts them."""

import numpy as np
import pytest
import torch

from benchmarks.modes import (
    count_digits,
    count_gaussians,
    draw_digits,
    draw_gaussians,
    train_classifier,
)


def as_images(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1


def draw(*places: tuple[float, float]) -> torch.Tensor:
    """Draw spots by hand: brightness falls as a Gaussian with the distance from the place."""
    y, x = np.mgrid[0:16, 0:16]
    spots = [np.exp(-((x - across) ** 2 + (y - down) ** 2) / (2 * 1.5**2)) for across, down in places]
    return torch.from_numpy(np.repeat(np.stack(spots)[:, None], 3, axis=1)) * 2 - 1


def test_gaussians_are_counted() -> None:
    pixels = draw_gaussians(250, np.random.default_rng(0))
    modes, share = count_gaussians(as_images(pixels))
    assert modes == 25
    assert share == pytest.approx(1 - np.exp(-8), abs=0.01)  # within four standard deviations in two dimensions
    one, between = draw((2.7, 12.3)), draw((3.9, 12.3))
    assert count_gaussians(one.expand(50, -1, -1, -1)) == (1, 1.0)
    assert count_gaussians(between.expand(50, -1, -1, -1)) == (0, 0.0)
    assert count_gaussians(torch.cat([one, between])) == (1, 0.5)
    assert count_gaussians(draw((2.7, 12.3), (2.7 + 0.4, 12.3), (2.7, 12.3 - 0.6)))[1] == pytest.approx(2 / 3)


def test_what_is_no_spot_is_in_no_mode() -> None:
    one = draw((7.5, 7.5))
    faint, blank = one / 2 - 0.5, torch.full_like(one, -1)
    two = torch.maximum(draw((2.7, 7.5)), draw((12.3, 7.5)))  # centred on the mode in the middle
    red = torch.cat([one[:, :1], blank[:, 1:]], dim=1)
    apart = torch.cat([one[:, :1], draw((8.5, 7.5))[:, 1:2], draw((6.5, 7.5))[:, 2:]], dim=1)
    too_bright = torch.cat([3 * one[:, :1], blank[:, 1:]], dim=1)
    assert count_gaussians(torch.cat([one, faint, blank, two, red, apart, too_bright, one]))[1] == 0.25


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
