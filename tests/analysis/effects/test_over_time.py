from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from analysis.effects.over_time import effects_over_time, turn
from analysis.errors import AnalysisUsageError
from tests.support.simulated import simulate

if TYPE_CHECKING:
    from analysis.mlflow_reader.sweep import Sweep

POINTS = (10, 40, 80)


def curves(sweep: Sweep, early: float, late: float, stopped: float = 0.0) -> pd.DataFrame:
    """Noisy labels multiply the distance by ``early`` at 10 kimg and by ``late`` from 40 on."""
    rng = np.random.default_rng(0)
    rows = []
    for row in sweep.trials.to_dict("records"):
        noisy = row["params.losses.labels"] == "noisy"
        for kimg in POINTS if rng.random() >= stopped else POINTS[:1]:
            factor = (early if kimg < 40 else late) if noisy else 1.0
            rows.append((row["key"], kimg, 500.0, 50 * kimg**-0.3 * factor * np.exp(rng.normal(0, 0.1))))
    return pd.DataFrame(rows, columns=["key", "kimg", "samples", "distance"])


def test_draws_sooner_but_ends_worse() -> None:
    sweep = simulate(80)
    labels = (["noisy"], ["hard"])
    found = turn(sweep, curves(sweep, 0.7, 1.3), "distance", "losses.labels", *labels)
    assert found is not None
    assert (found.early.kimg, found.late.kimg, found.reverses) == (10, 80, True)
    assert found.early.low < 0.7 < found.early.high < 1 < found.late.low < 1.3 < found.late.high
    steady = turn(sweep, curves(sweep, 0.7, 0.8), "distance", "losses.labels", *labels)
    vanishing = turn(sweep, curves(sweep, 0.7, 1.0), "distance", "losses.labels", *labels)
    assert steady is not None
    assert vanishing is not None
    assert (steady.reverses, vanishing.reverses) == (False, False)
    assert vanishing.to_json()["reverses"] is False


def test_both_ends_are_of_the_same_trials() -> None:
    sweep = simulate(80)
    table = curves(sweep, 0.7, 1.3, stopped=0.3)
    reached = table.loc[table["kimg"] == 80, "key"].nunique()
    assert reached < 80
    found = turn(sweep, table, "distance", "losses.labels", ["noisy"], ["hard"])
    assert found is not None
    assert found.early.trials == found.late.trials == reached


def test_what_cannot_be_compared_is_none() -> None:
    sweep = simulate(20)
    table = curves(sweep, 0.7, 1.3)
    with pytest.raises(AnalysisUsageError, match=r"'losses.labls' \(did you mean 'losses.labels'"):
        turn(sweep, table, "distance", "losses.labls")
    with pytest.raises(AnalysisUsageError, match=r"losses\.labels has no choice 'nosy'"):
        turn(sweep, table, "distance", "losses.labels", ["nosy"], ["hard"])
    with pytest.raises(AnalysisUsageError, match=r"optimizer\.lr has no choice 1"):
        turn(sweep, table, "distance", "optimizer.lr", [1])
    assert turn(sweep, table[table["kimg"] > 10], "distance", "optimizer.lr") is not None  # 40 and 80
    assert turn(sweep, table[table["kimg"] == 80], "distance", "optimizer.lr") is None


def test_every_comparison_of_the_space_along_training() -> None:
    sweep = simulate(80)
    found = effects_over_time(sweep, curves(sweep, 0.7, 1.3), "distance")
    labels = next(path for path in found if path[0].dimension == "losses.labels" and path[0].value == "noisy")
    assert [(effect.kimg, effect.samples) for effect in labels] == [(kimg, 500) for kimg in POINTS]
    assert [effect.estimate < 1 for effect in labels] == [True, False, False]
    assert [effect.against for effect in labels] == ["hard"] * 3
    assert [effect.separable for effect in labels] == [True] * 3
    rates = next(path for path in found if path[0].dimension == "optimizer.lr")
    assert {effect.value for effect in rates} == {"per doubling"}
    choices = [(path[0].dimension, path[0].value) for path in found]
    assert len(set(choices)) == len(choices)
    assert ("losses.labels", "hard") not in choices
    once = curves(sweep, 0.7, 1.3)
    assert effects_over_time(sweep, once[once["kimg"] == 80], "distance") == []
    # Fewer than half of the trials reached a second point.
    assert effects_over_time(sweep, curves(sweep, 0.7, 1.3, stopped=0.7), "distance") == []
