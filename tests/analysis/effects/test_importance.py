from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import stats

from analysis import schema
from analysis.effects import importance
from analysis.effects.dimensions import axes_of
from analysis.effects.failure_rates import failing_by_value
from analysis.effects.importance import METHODS, Importances, format_importances, importances
from analysis.importance import main
from tests.support.simulated import simulate
from tests.support.sweeps import make_sweep

if TYPE_CHECKING:
    from tests.support.sweeps import History


@pytest.fixture(scope="module")
def found() -> Importances:
    return importances(simulate(90, seed=1))


def test_what_matters_comes_first_and_beats_its_shadow(found: Importances) -> None:
    for method in ("fanova", "ped_anova"):
        rows = [row for row in found.rows if row.method == method]
        assert {rows[0].dimension, rows[1].dimension} & {"generator.width", "optimizer.lr"}
        nothing = next(row for row in rows if row.dimension == "training.flip")
        assert not nothing.above_chance
        assert all(0 <= row.low <= row.value <= row.high <= 1 for row in rows)
    width = next(row for row in found.rows if (row.dimension, row.method) == ("generator.width", "fanova"))
    assert width.above_chance


def test_conditional_dimensions_are_measured_where_they_are_active(found: Importances) -> None:
    trials = simulate(90, seed=1).trials
    penalised = (trials["params.losses.adversarial"] != "wgan").sum()
    counts = {row.dimension: row.trials for row in found.rows}
    assert (counts["generator.width"], counts["losses.penalty"]) == (90, penalised)
    weighted = ((trials["params.losses.adversarial"] != "wgan") & (trials["params.losses.penalty"] == "r1")).sum()
    assert weighted < importance.MINIMUM_TRIALS + 5
    assert ("losses.penalty_weight" in counts) == (weighted >= importance.MINIMUM_TRIALS)
    assert ("losses.penalty_weight" in found.reason) == (weighted < importance.MINIMUM_TRIALS)


def test_equal_seeds_give_equal_importances(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "BOOTSTRAPS", 2)
    sweep = simulate(40)
    shares: list[float] = []
    measured = importances(sweep, seed=3, progress=lambda done, total: shares.append(done / total))
    assert shares == sorted(set(shares))  # every step of every group once, to the end
    assert 0 < shares[0] < shares[-1] == 1
    assert measured.rows == importances(sweep, seed=3).rows
    assert importances(sweep, seed=3).rows != importances(sweep, seed=4).rows


def test_a_larger_score_is_better_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few trials are very accurate, all with noisy labels: only the best tenth shows it."""
    monkeypatch.setattr(importance, "BOOTSTRAPS", 5)
    rng = np.random.default_rng(0)
    rows = [
        {
            "scores.tag_accuracy": (0.9 if i % 8 == 0 else 0.3) + rng.normal(0, 0.01),
            "params.a": "x" if i % 8 == 0 else str(rng.choice(["x", "y"])),
            "params.b": str(rng.choice(["x", "y"])),
        }
        for i in range(80)
    ]
    dimensions = [{"name": name, "kind": "choice", "choices": ["x", "y"], "default": "x"} for name in "ab"]
    measured = importances(make_sweep(rows, space={"dimensions": dimensions}), "tag_accuracy")
    best = next(row for row in measured.rows if row.method == "ped_anova")
    assert (best.dimension, best.above_chance) == ("a", True)


def test_too_few_trials_give_none() -> None:
    few = importances(simulate(29))
    assert (few.rows, few.point) == ([], None)
    assert format_importances(few) == "distance: at most 29 trials compare; 30 are needed"
    assert few.to_json()["point"] is None


def test_where_no_dimension_varies_there_is_none() -> None:
    rows = [{"params.a": "x", "scores.distance": float(i)} for i in range(1, 41)]
    dimension = {"name": "a", "kind": "choice", "choices": ["x", "y"], "default": "x"}
    shares: list[float] = []
    found = importances(
        make_sweep(rows, space={"dimensions": [dimension]}), progress=lambda done, total: shares.append(done / total)
    )
    assert (found.rows, shares) == ([], [1.0])
    assert found.point is not None


def test_whole_numbers_on_a_logarithmic_scale_count_their_doublings() -> None:
    """Half of the doublings from 1 to 256 lie below 16: means 1 apart there vary by a quarter, all of it theirs."""
    rng = np.random.default_rng(0)
    rows = [
        {"params.n": int(n), "params.m": int(rng.integers(1, 9)), "scores.tag_accuracy": float(n > 16)}
        for n in rng.choice([1, 2, 8, 16, 32, 128, 256], 120)
    ]
    dimensions = [
        {"name": "m", "kind": "int", "low": 1, "high": 8, "log": True, "default": 1},
        {"name": "n", "kind": "int", "low": 1, "high": 256, "log": True, "default": 1},
    ]
    sweep = make_sweep(rows, space={"dimensions": dimensions})
    column = importance._column(axes_of(sweep)[1], sweep.trials)
    assert (column.low, column.high, column.count) == (0, 8, 9)  # log2(256) + 1
    assert set(column.encoded.ravel()) == {0, 1, 3, 4, 5, 7, 8}
    first = importances(sweep, "tag_accuracy").rows[0]
    assert (first.dimension, first.value) == ("n", pytest.approx(1))


def test_the_text_gives_each_method_with_what_it_answers(found: Importances) -> None:
    text = format_importances(found)
    for method, (_, answers) in METHODS.items():
        part = text.split(f"  {method}: {answers}, 90% of bootstrap samples\n")[1]
        row = next(row for row in found.rows if row.method == method)
        assert part.split()[:5] == [f"{row.value:.2f}", f"{row.low:.2f}", "to", f"{row.high:.2f}", row.dimension]


def test_scores_that_do_not_vary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "BOOTSTRAPS", 2)
    flat = importances(simulate(30, more=lambda params, rng: {"scores.distance": 5.0}))
    assert not any(row.above_chance for row in flat.rows if row.method == "fanova")


def test_failing_is_measured_by_value() -> None:
    def fate(params: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        crash = params["optimizer.lr"] > 4e-4 and rng.random() < 0.8
        return {"status": schema.FAILED if crash else schema.COMPLETE}

    sweep = simulate(120, more=fate)
    failing = failing_by_value(sweep)
    assert failing[0].dimension == "optimizer.lr"
    assert failing[0].separable
    assert [one.separable for one in failing[1:]] == [False] * (len(failing) - 1)
    top = failing[0].values[-1]
    assert top.failed == (sweep.trials["status"] == schema.FAILED).sum()
    assert (top.share, sum(value.trials for value in failing[0].values)) == (top.failed / top.trials, 120)
    interval = stats.binomtest(top.failed, top.trials).proportion_ci(method="wilson")
    assert (top.low, top.high) == (interval.low, interval.high)
    steps = next(one for one in failing if one.dimension == "updates.steps")
    assert [value.value for value in steps.values] == ["1", "2", "3", "4"]


def test_permutations_agree_with_chi_square() -> None:
    rows = [{"params.a": "x", "status": schema.FAILED if i < 12 else schema.COMPLETE} for i in range(40)]
    rows += [{"params.a": "y", "status": schema.FAILED if i < 4 else schema.COMPLETE} for i in range(40)]
    dimension = {"name": "a", "kind": "choice", "choices": ["x", "y"], "default": "x"}
    (one,) = failing_by_value(make_sweep(rows, space={"dimensions": [dimension]}))
    exact = stats.fisher_exact([[12, 28], [4, 36]]).pvalue
    assert one.p_value == pytest.approx(exact, abs=0.02)


def test_without_failures_nothing_is_separable() -> None:
    assert not any(one.separable for one in failing_by_value(simulate(40)))


def test_the_script_prints_text_and_json(history: History, logged: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([logged, "--home", str(history.home), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["importances"] == []
    assert main([logged, "--home", str(history.home)]) == 0
    assert "30 are needed" in capsys.readouterr().out
    assert main([logged, "--home", str(history.home), "--by", "distanc"]) == 2
    assert "did you mean 'distance'?" in capsys.readouterr().err
