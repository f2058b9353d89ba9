"""Figures of learning curves by closed form, and added to the runs of a sweep that a real database holds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from analysis.effects.curve_figures import (
    FROM_THE_START,
    NOT_REACHED,
    WINDOW,
    add_curve_figures,
    figure_curves,
    first_crossings,
    oscillations,
)
from analysis.mlflow_reader.sweep import load
from tests.support.sweeps import make_sweep

if TYPE_CHECKING:
    from tests.support.sweeps import History

KIMG = np.arange(1, 2 * WINDOW + 1)


def oscillation(kimg: np.ndarray, loss: np.ndarray) -> float:
    """That of the whole run."""
    return float(oscillations(kimg, loss)[-1])


def test_constants_and_lines_do_not_oscillate() -> None:
    for loss in (0 * KIMG, 0 * KIMG + 7.0, 3.0 * KIMG - 40):
        assert oscillation(KIMG, loss) == pytest.approx(0, abs=1e-12)


def test_an_alternating_loss_in_closed_form() -> None:
    """Of m+a, m-a, m+a, ... the line is flat at m + a/5: squared residuals sum to a² (5 - 1/5), with three degrees."""
    mean, size = 3.0, 0.5
    loss = mean + size * (-1.0) ** np.arange(5)
    expected = size * math.sqrt((5 - 1 / 5) / 3) / (mean + size / 5)
    assert oscillation(KIMG[:5], loss) == pytest.approx(expected)
    assert oscillation(KIMG[:5], -loss) == pytest.approx(expected)
    assert oscillation(KIMG[:5], 10 * loss) == pytest.approx(expected)  # relative
    assert oscillation(KIMG[:5], loss + 2 * KIMG[:5]) == pytest.approx(
        expected * (mean + size / 5) / (mean + size / 5 + 6)  # a trend changes the magnitude alone
    )
    assert oscillation(3 * KIMG, np.r_[loss, 0 * loss + 1]) == pytest.approx(expected / 2)  # mean of two windows
    assert oscillation(np.arange(6), np.r_[1e9, loss]) == pytest.approx(expected)  # the remainder is left out
    assert math.isnan(oscillation(KIMG[:4], loss[:4]))
    running = oscillations(np.arange(6), np.r_[1.0, loss])
    assert np.isnan(running[:4]).all()
    assert running[4:] == pytest.approx([oscillation(KIMG[:5], np.r_[1.0, loss[:4]]), expected])


def test_a_slow_sine_oscillates_by_its_amplitude() -> None:
    """Four evaluations a period over a window of five: 0, a, 0, -a, 0 about its line of slope -a/5, intercept 0."""
    loss = 10 + np.array([0, 1, 0, -1, 0.0])
    residuals = np.array([0, 1, 0, -1, 0]) - np.array([2, 1, 0, -1, -2]) / 5
    assert oscillation(KIMG[:5], loss) == pytest.approx(math.sqrt((residuals**2).sum() / 3) / 10)


@pytest.mark.parametrize(
    ("values", "level", "rising", "expected", "bounds"),
    [
        ([10, 8, 4, 2], 5, False, [1, 2, 2.75, 2.75], [1, 1, 0, 0]),  # 3/4 of the way from 2 to 3
        ([10, 8, 4, 9], 5, False, [1, 2, 2.75, 2.75], [1, 1, 0, 0]),  # the first time counts
        ([10, 8, 7, 6], 5, False, [1, 2, 3, 4], [1, 1, 1, 1]),  # never: the end
        ([4, 8, 7, 6], 5, False, [1, 1, 1, 1], [-1, -1, -1, -1]),  # at once: the beginning
        ([0.1, 0.2, 0.4, 0.6], 0.5, True, [1, 2, 3, 3.5], [1, 1, 1, 0]),
    ],
)
def test_levels_are_crossed_on_straight_lines(
    values: list[float], level: float, rising: bool, expected: list[float], bounds: list[float]
) -> None:
    crossings, known = first_crossings([1, 2, 3, 4], values, level, rising=rising)
    assert crossings == pytest.approx(expected)
    assert known.tolist() == bounds
    assert (NOT_REACHED, FROM_THE_START) == (1, -1)


def logged(start: float, hair: float, noise: float) -> dict[str, Any]:
    kimg = [10, 20, 30, 40, 50]
    return {
        "distance": dict.fromkeys(kimg, 50.0),
        "kid": dict(zip(kimg, [start, start / 2, start / 4, start / 8, start / 16], strict=True)),
        "tag_accuracy_hair": {k: min(1.0, hair * k) for k in kimg},
        "tag_accuracy_eyes": {k: 0.01 * k for k in kimg},
        "training/d_loss_real": dict.fromkeys(kimg, 1.0),
        "training/d_loss_fake": {k: 2.0 + noise * (-1) ** (k // 10) for k in kimg},
        "samples": dict.fromkeys(kimg, 500),
    }


def test_trials_and_repeats_of_a_sweep_have_them(history: History) -> None:
    quick, slow = logged(16, 0.02, 0.0), logged(8, 0.005, 0.5)
    history.log_sweep("figures", [{"metrics": quick}, {"metrics": slow}])
    history.log_repeat("figures", {"metrics": slow}, key="figures-00000-a-recipe-00", of="figures-00000", seed=3)
    sweep = add_curve_figures(load("figures", home=history.home))
    first, second = (row for _, row in sweep.trials.iterrows())
    repeat = sweep.repeats.iloc[0]
    # KID begins at 16, 8 and 8, and its lowest value is 0.5: the level is 0.5 + (8 - 0.5) / 2.
    assert first["metrics.kimg_to_recognisable"] == pytest.approx(20 + 10 * (8 - 4.25) / (8 - 4))
    assert second["metrics.kimg_to_recognisable"] == pytest.approx(10 + 10 * (8 - 4.25) / (8 - 4))
    # Half of the tag classifier's 0.95 on hair and 0.9 on eyes.
    assert first["metrics.kimg_to_half_hair"] == pytest.approx(0.475 / 0.02)
    assert second["metrics.kimg_to_half_hair"] == 50  # never
    assert first["metrics.kimg_to_half_eyes"] == pytest.approx(45)
    assert first["metrics.loss_oscillation"] == 0
    mean = 3 - 0.5 / 5
    assert second["metrics.loss_oscillation"] == pytest.approx(0.5 * math.sqrt((5 - 1 / 5) / 3) / mean)
    for name in ("kimg_to_recognisable", "kimg_to_half_hair", "loss_oscillation"):
        assert repeat[f"metrics.{name}"] == second[f"metrics.{name}"]
    assert [row["bounds.kimg_to_half_hair"] for row in (first, second, repeat)] == [0, NOT_REACHED, NOT_REACHED]
    assert "bounds.loss_oscillation" not in sweep.trials
    running = figure_curves(sweep)
    assert running is not None
    of_first = running[running["key"] == first["key"]]
    assert of_first["kimg"].tolist() == [10, 20, 30, 40, 50]
    assert of_first["kimg_to_half_hair"].tolist() == pytest.approx([10, 20, 23.75, 23.75, 23.75])
    assert of_first["bounds.kimg_to_half_hair"].tolist() == [1, 1, 0, 0, 0]
    assert of_first["loss_oscillation"].isna().tolist() == [True] * 4 + [False]


def test_sweeps_without_these_metrics_stay_as_they_are() -> None:
    sweep = make_sweep([{"scores.distance": 1.0}])
    assert add_curve_figures(sweep).trials.equals(sweep.trials)
