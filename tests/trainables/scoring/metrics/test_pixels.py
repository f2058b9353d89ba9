"""Grids and saturated values by closed forms, and by Fourier transforms and matrices as independent implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from trainables.scoring.metrics.pixels import (
    PixelCounter,
    PixelReference,
    grid_energies,
    pixel_estimates,
    saturated_shares,
)

ROWS, COLUMNS = np.mgrid[:52, :52]  # 48 without the borders


def images(*patterns: np.ndarray) -> torch.Tensor:
    """Grey patterns around 100 as images ``(n, 3, h, w)``."""
    stacked = np.stack([np.broadcast_to(pattern, pattern.shape) for pattern in patterns])
    return torch.from_numpy((100 + stacked).astype(np.uint8))[:, None].expand(-1, 3, -1, -1)


def energy(pattern: np.ndarray) -> float:
    return float(grid_energies(images(pattern))[0])


def test_energies_of_patterns_in_closed_form() -> None:
    assert energy(0 * ROWS) == 0
    assert energy(8 * (-1) ** (ROWS + COLUMNS)) == pytest.approx(64)  # a checkerboard
    assert energy(8 * (-1) ** ROWS) == pytest.approx(64)  # stripes of period 2
    assert energy(8 * (-1) ** (ROWS // 2)) == pytest.approx(64)  # of period 4
    assert energy(60 * (ROWS % 4 == 0) * (COLUMNS % 4 == 0)) == pytest.approx(60**2 * (1 / 16 - 1 / 256))
    assert energy(60 * (ROWS % 3 == 0)) == pytest.approx(0, abs=1e-6)  # of another period


@pytest.mark.parametrize("row", range(4, 12))
def test_an_edge_has_little_wherever_it_is(row: int) -> None:
    """Of a step its surroundings leave -1/8, -3/8, 3/8 and 1/8 in four rows of 48, one for each residue."""
    expected = 60**2 * (2 * (1 / 8) ** 2 + 2 * (3 / 8) ** 2) / 4 / 12**2
    assert expected == pytest.approx(5 / 4 * (60 / 48) ** 2)
    assert energy(60 * (row <= ROWS)) == pytest.approx(expected)
    assert energy(60 * (row <= COLUMNS)) == pytest.approx(expected)


def test_ramps_have_no_grid() -> None:
    for ramp in (5 * ROWS, 255 - 5 * COLUMNS, 2 * ROWS + 3 * COLUMNS):  # 0 to 255
        assert energy(ramp - 100) == pytest.approx(0, abs=1e-6)
    checks = 8 * (-1) ** (ROWS + COLUMNS)
    assert energy(checks + 2 * ROWS - 50) == pytest.approx(64)  # nor do they hide one


def test_the_smallest_images_have_eight_pixels_a_side() -> None:
    checks = images(8 * (-1) ** (ROWS + COLUMNS))
    assert float(grid_energies(checks[:, :, :8, :8])[0]) == pytest.approx(64)
    for height, width in ((7, 8), (8, 4)):
        assert grid_energies(checks[:, :, :height, :width]).isnan().all()


def surroundings(size: int) -> np.ndarray:
    """The rows ``(size - 4, size)`` of a centred mean over four pixels."""
    return sum(np.eye(size - 4, size, k) * weight / 8 for k, weight in enumerate((1, 2, 2, 2, 1)))


def residue_means(size: int) -> np.ndarray:
    """Means ``(4, size)`` over the positions with equal residue modulo 4."""
    return (np.arange(size) % 4 == np.arange(4)[:, None]) * 4 / size


def test_white_noise_has_about_its_share_of_the_frequencies() -> None:
    noise = torch.randint(0, 256, (4000, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    variance, means = (256**2 - 1) / 12, residue_means(28)
    pixels, around = means @ np.eye(28, 32, 2), means @ surroundings(32)
    linear = np.kron(pixels, pixels) - np.kron(around, around)  # the 16 means as a matrix of the pixels
    expected = variance * ((linear - linear.mean(axis=0)) ** 2).sum() / 16
    assert float(grid_energies(noise).mean()) == pytest.approx(expected, rel=0.02)
    assert expected == pytest.approx(15 * variance / 28**2, rel=0.1)


def test_the_energy_is_that_of_fifteen_fourier_coefficients() -> None:
    random = np.random.default_rng(0).integers(0, 256, (5, 3, 28, 44), dtype=np.uint8)
    rest = random[:, :, 2:-2, 2:-2] - surroundings(28) @ random @ surroundings(44).T
    power = np.abs(np.fft.fft2(rest) / (24 * 40)) ** 2
    quarters = power[:, :, ::6, ::10]
    expected = (quarters.sum(axis=(2, 3)) - quarters[:, :, 0, 0]).mean(axis=1)
    assert grid_energies(torch.from_numpy(random)).numpy() == pytest.approx(expected, rel=1e-4)
    wider = np.concatenate([random, np.full((5, 3, 28, 3), 255, np.uint8)], axis=3)
    assert grid_energies(torch.from_numpy(wider)).numpy() == pytest.approx(expected, rel=1e-4)


def test_saturated_values_lie_at_either_end() -> None:
    pixels = torch.full((2, 3, 4, 4), 128, dtype=torch.uint8)
    pixels[0, 0, 0, :3] = torch.tensor([0, 255, 254])
    pixels[1] = 255
    assert saturated_shares(pixels).tolist() == [2 / 48, 1.0]


def test_scores_are_relative_to_real_images_with_the_error_of_a_mean() -> None:
    counter = PixelCounter(PixelReference(grid_energy=32.0, saturated=0.1))
    checks = images(8 * (-1) ** (ROWS + COLUMNS), 0 * ROWS, 4 * (-1) ** ROWS)
    counter.add(checks[:2])
    counter.add(checks[2:])
    found = counter.estimates()
    assert found["grid_energy"].value == pytest.approx((64 + 0 + 16) / 3 / 32)
    assert found["grid_energy"].standard_error == pytest.approx(np.std([2, 0, 0.5], ddof=1) / math.sqrt(3))
    assert found["grid_energy"].interval()[0] == 0
    assert found["saturated"].value == 0
    assert PixelCounter(None).estimates() == {}


def test_without_a_grid_in_real_images_there_is_no_ratio() -> None:
    found = pixel_estimates(np.ones(5), np.zeros(5), PixelReference(0.0, 0.0))
    assert math.isnan(found["grid_energy"].value)
    assert found["saturated"].value == 0
