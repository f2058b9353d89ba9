"""Figures of learning curves of trials that a scheduler stopped, at a point that all of them reached."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from analysis.claim_checks.claims import Contrast, ScoreContrast
from analysis.claim_checks.estimator import ClaimEstimator
from tests.support.sweeps import make_sweep

if TYPE_CHECKING:
    from collections.abc import Callable

    from analysis.mlflow_reader.sweep import Sweep

LABELS = {"name": "losses.labels", "kind": "choice", "choices": ["hard", "noisy"], "default": "hard"}
HAIR, EYES = "kimg_to_half_hair", "kimg_to_half_eyes"
PART = Contrast("losses.labels", ("noisy",), ("hard",), HAIR, "less")
REAL = 0.9


@pytest.fixture
def stopped_sweep(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[float]], Sweep]:
    """Build 48 trials, noisy and hard by turns, whose accuracy on hair reaches half of REAL at the given kimg.

    Of 48 trials 32 stop at 20 kimg of the recipe, and no two have seen equally many images.
    """

    def build(crossings: list[float]) -> Sweep:
        rows: list[dict[str, Any]] = [
            {
                "params.losses.labels": "noisy" if i % 2 else "hard", "kimg": 7.0 + i, "scores.tag_accuracy_hair": 0.5,
                "metrics.cost_kimg": 20.0 if i < 32 else 80.0, "scores.tag_accuracy_eyes": 0.0,
                "metrics.training/d_loss": 1.0,
            }
            for i in range(48)
        ]  # fmt: skip
        sweep = make_sweep(
            rows, space={"dimensions": [LABELS]}, data={"judge": {"accuracy": {"hair": REAL, "eyes": REAL}}}
        )
        table = pd.DataFrame(
            [
                {
                    "key": key, "kimg": kimg, "samples": 500.0, "tag_accuracy_eyes": 0.0,
                    "training/d_loss": 1.0 + kimg % 3 if kimg > 4 else math.nan,
                    "tag_accuracy_hair": REAL / 2 * kimg / crossings[i],
                }
                for i, key in enumerate(sweep.trials["key"])
                for kimg in range(4, 21 if i < 32 else 81, 4)
            ]
        )  # fmt: skip
        for module in ("effects.curve_figures", "claim_checks.estimator"):
            monkeypatch.setattr(f"analysis.{module}.learning_curves", lambda sweep, names: table)
        return sweep

    return build


def test_figures_compare_all_trials_where_they_all_are(stopped_sweep: Callable[[list[float]], Sweep]) -> None:
    # Noisy labels are as fast as hard ones, but not among those that a scheduler let continue.
    crossings = [10.0 + i // 2 % 8 for i in range(32)] + [18.0, 6.0] * 7 + [100.0, 9.0]
    found = ClaimEstimator(stopped_sweep(crossings), [HAIR]).contrast(PART)
    assert found is not None
    assert (found.trials, found.arms, found.kimg, found.unit) == (48, (24, 24), 20, "ratio")
    logs = np.log([min(one, 20.0) for one in crossings])  # the one at 100 is not there yet
    assert found.estimate == pytest.approx(np.exp(logs[1::2].mean() - logs[::2].mean()))


def test_what_no_run_reached_was_not_measured(stopped_sweep: Callable[[list[float]], Sweep]) -> None:
    never = ClaimEstimator(stopped_sweep([500.0] * 48), [HAIR, EYES])
    assert never.contrast(PART) is None
    assert never.explain_shortage(PART).endswith("; 48 of 48 runs never reached the level of kimg_to_half_hair")
    both = ScoreContrast(HAIR, EYES, "less", "end")
    assert never.score_contrast(both) is None
    assert "48 of 48 runs never reached the level of kimg_to_half_eyes" in never.explain_shortage(both)
    some = ClaimEstimator(stopped_sweep([10.0] * 6 + [500.0] * 42), [HAIR, EYES])
    found = some.score_contrast(both)
    assert found is not None
    assert (found.trials, found.kimg, found.estimate) == (6, 20, pytest.approx(10 / 20))


def test_survivors_alone_do_not_stand_for_all(stopped_sweep: Callable[[list[float]], Sweep]) -> None:
    """The 32 stopped trials logged four losses, one too few for an oscillation; 16 of 48 are not half of them."""
    estimator = ClaimEstimator(stopped_sweep([10.0] * 48), [HAIR, "loss_oscillation"])
    assert estimator.point("loss_oscillation", "end") is None
    assert estimator.explain_shortage(Contrast("losses.labels", ("noisy",), ("hard",), "loss_oscillation", "more")) == (
        "at most 16 trials scored at one point; 12 are needed, and at least half of those scored"
    )
