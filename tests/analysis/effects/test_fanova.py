"""fANOVA and PED-ANOVA against Optuna's evaluators, and in closed form."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator

from analysis.effects.fanova import variance_shares
from analysis.effects.ped_anova import divergence, grid_cells, mark_best

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

TRIALS, CHOICES = 90, ("x", "y", "z", "w")
# Sorted by name, as Optuna sorts them: the forests are the same then.
SPACE: dict[str, BaseDistribution] = {
    "choice": CategoricalDistribution(CHOICES),
    "deep": FloatDistribution(0, 1),
    "lr": FloatDistribution(-12, -8),
    "nothing": CategoricalDistribution(("a", "b")),
    "steps": IntDistribution(1, 4),
}


@pytest.fixture(scope="module")
def trials() -> tuple[list[dict[str, Any]], np.ndarray]:
    rng = np.random.default_rng(3)
    rows = [
        {
            "choice": str(rng.choice(CHOICES)),
            "deep": float(rng.uniform(0, 1)),
            "lr": float(rng.uniform(-12, -8)),
            "nothing": str(rng.choice(["a", "b"])),
            "steps": int(rng.integers(1, 5)),
        }
        for _ in range(TRIALS)
    ]
    effects = [
        (row["lr"] + 10) ** 2 + 2 * (row["choice"] == "x") + (row["choice"] == "w") * row["steps"] for row in rows
    ]
    return rows, np.array(effects) + rng.normal(0, 0.2, TRIALS)


@pytest.fixture(scope="module")
def study(trials: tuple[list[dict[str, Any]], np.ndarray]) -> optuna.Study:
    study = optuna.create_study()
    rows = zip(*trials, strict=True)
    study.add_trials([optuna.trial.create_trial(params=row, distributions=SPACE, value=float(y)) for row, y in rows])
    return study


@pytest.mark.parametrize(("trees", "depth", "seed"), [(1, 3, 0), (16, 8, 7)])
def test_shares_of_the_variance_are_those_of_optuna(
    trials: tuple[list[dict[str, Any]], np.ndarray], study: optuna.Study, trees: int, depth: int, seed: int
) -> None:
    rows, values = trials
    columns: list[list[float]] = []
    dimensions, bounds = [], []
    for name, distribution in SPACE.items():
        if isinstance(distribution, CategoricalDistribution):
            added = [[float(row[name] == choice) for row in rows] for choice in distribution.choices]
            bounds += [(0.0, 1.0)] * len(added)
        else:
            added = [[float(row[name]) for row in rows]]
            bounds += [(float(distribution.low), float(distribution.high))]  # type: ignore[attr-defined]
        dimensions.append(range(len(columns), len(columns) + len(added)))
        columns += added
    table = np.array(columns).T
    found = variance_shares(table, values, np.array(bounds), dimensions, trees=trees, depth=depth, seed=seed)
    theirs = FanovaImportanceEvaluator(n_trees=trees, max_depth=depth, seed=seed).evaluate(study, list(SPACE))
    assert found == pytest.approx([theirs[name] for name in SPACE], abs=1e-12)
    assert found[0] > 0.1


def test_shares_in_closed_form() -> None:
    """The first column is split at 1 of 4, the second in the middle: 8 beyond 1, and 4 more in the second half. Means
    0 and 8 on a quarter and three quarters vary by 64 * 3/16 = 12, means 4 apart on two halves by 4; nothing else."""
    columns = np.array([[a, b, c] for a in (0.5, 1.5) for b in (0.25, 0.75) for c in (0.0, 1.0)] * 25)
    values = 8.0 * (columns[:, 0] > 1) + 4.0 * (columns[:, 1] > 0.5)
    bounds = np.array([[0.0, 4.0], [0.0, 1.0], [0.0, 1.0]])
    shares = variance_shares(columns, values, bounds, [[0], [1], [2]], trees=8, depth=4, seed=0)
    assert shares == pytest.approx([12 / 16, 4 / 16, 0], abs=1e-12)
    none = variance_shares(columns, np.ones(200), bounds, [[0], [1], [2]], trees=2, depth=4, seed=0)
    assert none.tolist() == [0, 0, 0]


@pytest.mark.parametrize("share", [0.1, 0.25])
def test_divergences_are_those_of_optuna(
    trials: tuple[list[dict[str, Any]], np.ndarray], study: optuna.Study, share: float
) -> None:
    rows, values = trials
    best = mark_best(values, share)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an experimental class
        theirs = PedAnovaImportanceEvaluator(target_quantile=share).evaluate(study, list(SPACE))
    for name, distribution in SPACE.items():
        if isinstance(distribution, CategoricalDistribution):
            cells = np.array([distribution.choices.index(row[name]) for row in rows])
            found = divergence(cells, len(distribution.choices), best, ordered=False)
        else:
            low, high = float(distribution.low), float(distribution.high)  # type: ignore[attr-defined]
            whole = high - low + 1 if isinstance(distribution, IntDistribution) else None
            grid, count = grid_cells(np.array([float(row[name]) for row in rows]), low, high, whole)
            assert count == (4 if whole else 50)
            found = divergence(grid, count, best, ordered=True)
        assert found * best.mean() ** 2 == pytest.approx(theirs[name], rel=1e-6), name


def test_the_best_are_the_lowest_with_those_equal_to_the_last() -> None:
    values = np.array([3.0, 1.0, 2.0, 2.0, 5.0])
    assert mark_best(values, 0.2).tolist() == [False, True, False, False, False]
    assert mark_best(values, 0.4).tolist() == [False, True, True, True, False]


def test_divergence_of_choices_in_closed_form() -> None:
    """Of x, x, y, y the best is an x. Kernels: of a choice that occurs with k others 1 + 1/(k + 1) to 1/(k + 1)."""
    everywhere = (2 * np.array([4, 1]) / 5 + 2 * np.array([1, 4]) / 5 + np.array([0.5, 0.5])) / 5
    top = (np.array([1.5, 0.5]) / 2 + np.array([0.5, 0.5])) / 2
    best = np.array([True, False, False, False])
    found = divergence(np.array([0, 0, 1, 1]), 2, best, ordered=False)
    assert found == pytest.approx((everywhere * (top / everywhere - 1) ** 2).sum(), rel=1e-9)
    assert found == pytest.approx(0.0625, rel=1e-9)


def test_numbers_in_the_middle_go_to_the_lower_cell() -> None:
    assert grid_cells(np.array([1.0, 1.5, 4.0]), 1, 4, 4)[0].tolist() == [0, 0, 3]
    assert grid_cells(np.array([27.0]), 0, 98, 99)[0].tolist() == [13]  # 13.5 steps of 2
    assert grid_cells(np.array([-1.0, 9.0]), 0, 1, 2)[0].tolist() == [0, 1]  # outside the range
