"""Effects of repeated runs: what failed, what has not ended, and budgets beside each other."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student
from scipy.stats import ttest_ind

from analysis.effects.comparison_point import ComparisonPoint
from analysis.effects.dimensions import Axis
from analysis.effects.effect import is_ratio
from analysis.effects.marginal import response_at
from analysis.effects.paired import ablation_effect, ablation_slope, at_early_point, confirmation_effect
from tests.support.sweeps import make_repeats, make_sweep

if TYPE_CHECKING:
    from collections.abc import Callable

    from analysis.effects.effect import Effect
    from analysis.mlflow_reader.sweep import Sweep

FLIP = "training.flip"
SPACE = {"dimensions": [{"name": FLIP, "kind": "choice", "choices": [True, False], "default": True}]}
WILSON = 1.959964**2
"""Square of the normal quantile."""


def runs(kind: str, statuses: dict[bool, str], budget: int = 40, **more: Any) -> list[dict[str, Any]]:
    """One run per letter and value: c complete, f failed at once, r running, i interrupted."""
    names = {"c": "complete", "f": "failed", "r": "running", "i": "interrupted"}
    return [
        {
            "kind": kind, "key": f"{kind}-{value}-{seed}-{budget}", "seed": seed, "budget": budget,
            "of": f"hand-{value:05d}" if kind == "confirmation" else "hand-00000", "status": names[letter],
            "kimg": math.nan if letter == "f" else float(budget), "samples": math.nan if letter == "f" else 1000.0,
            f"params.{FLIP}": value, "scores.distance": math.nan if letter == "f" else 10.0 + seed + value, **more,
        }
        for value, letters in statuses.items()
        for seed, letter in enumerate(letters)
    ]  # fmt: skip


def effect(repeats: list[dict[str, Any]], metric: str, how: Callable[..., Effect | None]) -> Effect | None:
    sweep: Sweep = make_sweep([{"key": "hand-00000"}, {"key": "hand-00001"}], space=SPACE)
    sweep = dataclasses.replace(sweep, repeats=make_repeats(repeats))
    axis = Axis(FLIP, (True, False), True)
    return how(sweep, axis, [axis], [True], [False], metric)


@pytest.mark.parametrize(("kind", "how"), [("confirmation", confirmation_effect), ("ablation", ablation_effect)])
def test_failed_runs_count_whenever_they_failed(kind: str, how: Callable[..., Effect | None]) -> None:
    found = effect(runs(kind, {True: "fff", False: "ccc"}), "failed", how)
    assert found is not None
    assert (found.evidence, found.estimate, found.arms, found.kimg) == (kind, 1.0, (3, 3), 40.0)
    # Wilson's interval of 3 of 3 begins at n / (n + z^2), that of 0 of 3 ends at z^2 / (n + z^2).
    assert found.low == pytest.approx(1 - math.hypot(*(WILSON / (3 + WILSON),) * 2), abs=1e-5)
    assert found.high == pytest.approx(1.0)


@pytest.mark.parametrize(("kind", "how"), [("confirmation", confirmation_effect), ("ablation", ablation_effect)])
def test_runs_that_have_not_ended_have_not_held(kind: str, how: Callable[..., Effect | None]) -> None:
    assert effect(runs(kind, {True: "fff", False: "cri"}), "failed", how) is None
    found = effect(runs(kind, {True: "ffff", False: "cccr"}), "failed", how)
    assert found is not None
    assert found.arms == ((4, 3) if kind == "confirmation" else (3, 3))


def test_pairs_are_of_one_budget_the_largest() -> None:
    short = runs("ablation", {True: "cccc", False: "cccc"}, 10)
    long = [{**run, "scores.distance": 5.0} for run in runs("ablation", {True: "ccc", False: "ccc"}, 40)]
    found = effect(short + long, "distance", ablation_effect)
    assert found is not None
    assert (found.trials, found.kimg, found.estimate) == (3, 40.0, 1.0)
    mixed = runs("ablation", {True: "fff"}, 10) + runs("ablation", {False: "ccc"}, 40)
    assert effect(mixed, "failed", ablation_effect) is None
    assert effect(short + long[:2], "distance", ablation_effect).kimg == 10.0  # type: ignore[union-attr]


@pytest.mark.parametrize(("kind", "how"), [("confirmation", confirmation_effect), ("ablation", ablation_effect)])
def test_runs_of_equal_operations_are_pairs_whatever_images_they_saw(
    kind: str, how: Callable[..., Effect | None]
) -> None:
    cost = {"metrics.cost_kimg": 40.0}
    cheap = runs(kind, {False: "ccc"}, **cost)
    dear = [{**run, "kimg": 3.5} for run in runs(kind, {True: "ccc"}, **cost)]
    found = effect(cheap + dear, "distance", how)
    assert found is not None
    assert (found.estimate, found.kimg) == (pytest.approx(1.3 ** (1 / 3)), 40.0)  # 11 / 10, 12 / 11 and 13 / 12
    images = [{name: value for name, value in run.items() if name not in cost} for run in cheap + dear]
    assert effect(images, "distance", how) is None


def test_every_run_of_a_confirmation_counts_once() -> None:
    """Values 3 and 4 share the runs of value 1; those of the smaller budget are left out."""
    axis = Axis(STEPS, low=1, high=4, whole=True)
    scores = {1: [0.30, 0.34, 0.32, 0.36], 3: [0.50, 0.62, 0.53], 4: [0.44, 0.40, 0.45]}
    rows = [
        {
            "kind": "confirmation", "key": f"{steps}-{seed}-{budget}", "seed": 10 * steps + seed, "budget": budget,
            "of": f"hand-{steps:05d}", f"params.{STEPS}": steps, "scores.tag_accuracy": score + (budget < 40),
        }
        for budget in (20, 40)
        for steps, values in scores.items()
        for seed, score in enumerate(values)
    ]  # fmt: skip
    sweep = dataclasses.replace(
        make_sweep([{"key": f"hand-{steps:05d}"} for steps in scores]), repeats=make_repeats(rows)
    )
    found = confirmation_effect(sweep, axis, [axis], [3, 4], [1], "tag_accuracy")
    assert found is not None
    assert (found.arms, found.trials, found.evidence) == ((6, 4), 10, "confirmation")
    assert found.estimate == pytest.approx((0.55 + 0.43) / 2 - 0.33)
    parts = [weight**2 * np.var(scores[steps], ddof=1) / len(scores[steps])
             for steps, weight in ((1, 1.0), (3, 0.5), (4, 0.5))]  # fmt: skip
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 3 + parts[1] ** 2 / 2 + parts[2] ** 2 / 2)
    half = student.ppf(0.975, freedom) * math.sqrt(sum(parts))
    assert (found.low, found.high) == pytest.approx((found.estimate - half, found.estimate + half))
    alone = confirmation_effect(sweep, axis, [axis], [3], [1], "tag_accuracy")
    assert alone is not None
    welch = ttest_ind(scores[3], scores[1], equal_var=False).confidence_interval(0.95)
    assert (alone.low, alone.high) == pytest.approx((welch.low, welch.high))


def test_equal_values_are_no_difference_whatever_their_rounding() -> None:
    axis = Axis(STEPS, low=1, high=4, whole=True)
    for value in (0.3, 0.7, 0.9):
        rows = [
            {"kind": "confirmation", "key": f"{steps}-{seed}", "seed": seed, "of": f"hand-{steps:05d}",
             f"params.{STEPS}": steps, "scores.tag_accuracy": value}
            for steps in (1, 2, 3, 4)
            for seed in range(5)
        ]  # fmt: skip
        sweep = dataclasses.replace(make_sweep([{"key": "hand-00001"}]), repeats=make_repeats(rows))
        found = confirmation_effect(sweep, axis, [axis], [2, 3, 4], [1], "tag_accuracy")
        assert found is not None
        assert (found.low, found.estimate, found.high, found.separable) == (0.0, 0.0, 0.0, False)


def test_confirmations_without_scatter_differ_exactly() -> None:
    found = effect(
        [{**run, "scores.distance": 8.0 if run[f"params.{FLIP}"] else 4.0}
         for run in runs("confirmation", {True: "ccc", False: "ccc"})],
        "distance",
        confirmation_effect,
    )  # fmt: skip
    assert found is not None
    assert (found.low, found.estimate, found.high, found.separable) == (*(pytest.approx(2.0),) * 3, True)


STEPS = "updates.generator_steps"


def stepped(scores: dict[int, list[float]], **more: Any) -> Sweep:
    """One ablation run per number of steps and seed."""
    rows = [
        {
            "kind": "ablation", "key": f"{steps}-{seed}", "seed": seed, "of": "hand-00000", f"params.{STEPS}": steps,
            "scores.tag_accuracy": score, "scores.distance": math.exp(score), **more,
        }
        for steps, values in scores.items()
        for seed, score in enumerate(values)
    ]  # fmt: skip
    return dataclasses.replace(make_sweep([{"key": "hand-00000"}]), repeats=make_repeats(rows))


def test_a_slope_of_pairs_counts_each_seed_once() -> None:
    axis = Axis(STEPS, low=1, high=4, whole=True)
    sweep = stepped({1: [0.1, 0.2, 0.3, 0.9], 3: [0.3, 0.4, 0.9]})
    found = ablation_slope(sweep, axis, [axis], "tag_accuracy")
    slopes = [0.1, 0.1, 0.3]  # half of the difference: two steps
    assert found is not None
    assert (found.evidence, found.value, found.arms) == ("ablation", "per unit", (3, 3))
    assert found.estimate == pytest.approx(np.mean(slopes))
    half = 4.302653 * np.std(slopes, ddof=1) / math.sqrt(3)  # t(2) from a table
    assert (found.low, found.high) == pytest.approx((found.estimate - half, found.estimate + half))
    three = ablation_slope(stepped({1: [0.0] * 3, 2: [0.1] * 3, 4: [0.5, 0.5, 0.8]}), axis, [axis], "tag_accuracy")
    assert three is not None
    assert three.trials == 3
    # Pairs 2-1, 4-1 and 4-2 of each seed.
    assert three.estimate == pytest.approx(np.mean([0.1, 0.5 / 3, 0.2, 0.1, 0.5 / 3, 0.2, 0.1, 0.8 / 3, 0.35]))
    doubling = Axis(STEPS, low=1, high=4, log=True)
    ratio = ablation_slope(stepped({1: [0.0] * 3, 4: [0.4, 0.5, 0.6]}), doubling, [doubling], "distance")
    assert ratio is not None
    assert (ratio.value, ratio.estimate) == ("per doubling", pytest.approx(math.exp(0.25)))
    assert ablation_slope(stepped({1: [0.0] * 3, 4: [0.4, 0.5]}), axis, [axis], "tag_accuracy") is None
    assert ablation_slope(stepped({1: [0.0] * 3}), axis, [axis], "failed") is None


def test_failures_along_a_number_are_those_above_its_lowest_value() -> None:
    axis = Axis(STEPS, low=1, high=4)
    held, broke = stepped({1: [0.1] * 3}), stepped({4: [0.1] * 3}, status="failed")
    sweep = dataclasses.replace(held, repeats=pd.concat([held.repeats, broke.repeats], ignore_index=True))
    found = ablation_slope(sweep, axis, [axis], "failed")
    assert found is not None
    assert (found.value, found.against, found.estimate) == ("4", "1", 1.0)


def test_early_scores_of_repeats_are_those_of_the_first_point_that_half_of_them_have() -> None:
    repeats = make_repeats(runs("ablation", {True: "ccc", False: "ccc"}))
    sweep = dataclasses.replace(
        make_sweep([{"key": "hand-00000"}, {"key": "hand-00001"}], space=SPACE), repeats=repeats
    )
    curves = pd.DataFrame(
        [
            {"key": key, "kimg": kimg, "samples": 512.0, "distance": 100.0 + at + (kimg == 10)}
            for at, key in enumerate(repeats["key"])
            for kimg in (5, 10, 30, 40)
            if kimg != 5 or at == 0  # too few at 5
        ]
    )
    early = at_early_point(sweep, curves, "distance")
    assert early.repeats["scores.distance"].tolist() == [101.0, 102, 103, 104, 105, 106]
    assert set(early.repeats["kimg"]) == {10.0}
    assert set(early.repeats["samples"]) == {512.0}
    axis = Axis(FLIP, (True, False), True)
    found = ablation_effect(early, axis, [axis], [True], [False], "distance")
    assert found is not None
    assert found.kimg == 10
    logs = [math.log(one / other) for one, other in ((101, 104), (102, 105), (103, 106))]
    assert found.estimate == pytest.approx(math.exp(np.mean(logs)))
    late = at_early_point(sweep, curves[curves["kimg"] > 20], "distance")  # nothing at half of the budget or before
    assert ablation_effect(late, axis, [axis], [True], [False], "distance") is None


def test_values_that_share_a_reference_count_once_a_seed() -> None:
    """Widths 2 and 4 against 1 on three seeds: three independent differences, not six."""
    scores = {1: [0.0, 0.1, 0.2], 2: [0.1, 0.3, 0.2], 4: [0.3, 0.1, 0.8]}
    axis = Axis(STEPS, low=1, high=4)
    found = ablation_effect(stepped(scores), axis, [axis], [2, 4], [1], "tag_accuracy")
    means = [(0.1 + 0.3) / 2, (0.2 + 0.0) / 2, (0.0 + 0.6) / 2]
    assert found is not None
    assert (found.trials, found.arms) == (3, (3, 3))
    assert found.estimate == pytest.approx(np.mean(means))
    assert found.high - found.estimate == pytest.approx(4.302653 * np.std(means, ddof=1) / math.sqrt(3))  # t(2)
    two = {steps: values[:2] for steps, values in scores.items()}  # four pairs of two seeds
    assert ablation_effect(stepped(two), axis, [axis], [2, 4], [1], "tag_accuracy") is None


def test_one_configuration_on_one_seed_is_one_run_whatever_it_is_of() -> None:
    """Ablations of the winner and of the recipe meet: the same two configurations on the same three seeds."""
    axis = Axis(STEPS, low=1, high=4)
    once = stepped({1: [0.1, 0.2, 0.3], 3: [0.3, 0.2, 0.9]})
    copies = once.repeats.assign(of="hand-00007", key=once.repeats["key"] + "-copy")
    lost = copies.assign(status="interrupted", **{"scores.tag_accuracy": math.nan})
    for again in (copies, lost):
        twice = dataclasses.replace(once, repeats=pd.concat([again, once.repeats], ignore_index=True))
        for metric in ("tag_accuracy", "failed"):
            for one, both in (
                [ablation_effect(each, axis, [axis], [3], [1], metric) for each in (once, twice)],
                [ablation_slope(each, axis, [axis], metric) for each in (once, twice)],
            ):
                assert one is not None
                assert one == both
                assert one.arms == (3, 3)
    split = once.repeats.assign(of=[f"hand-{steps:05d}" for steps in once.repeats[f"params.{STEPS}"]])
    apart = ablation_effect(dataclasses.replace(once, repeats=split), axis, [axis], [3], [1], "tag_accuracy")
    assert apart is not None
    assert apart.trials == 3


def test_a_few_later_runs_of_a_larger_budget_do_not_hide_a_slope() -> None:
    axis = Axis(STEPS, low=1, high=4)
    short, long = stepped({1: [0.0] * 6, 3: [0.2] * 6}), stepped({1: [0.0] * 2, 3: [0.8] * 2}, budget=80, kimg=80.0)
    later = long.repeats.assign(key=long.repeats["key"] + "-k80")
    sweep = dataclasses.replace(short, repeats=pd.concat([short.repeats, later], ignore_index=True))
    for found in (
        ablation_slope(sweep, axis, [axis], "tag_accuracy"),
        ablation_effect(sweep, axis, [axis], [3], [1], "tag_accuracy"),
    ):
        assert found is not None
        assert (found.trials, found.kimg) == (6, 40.0)


@pytest.mark.parametrize(("kind", "how"), [("confirmation", confirmation_effect), ("ablation", ablation_effect)])
def test_runs_that_never_reach_a_level_have_no_difference(kind: str, how: Callable[..., Effect | None]) -> None:
    figure = "kimg_to_recognisable"

    def measured(values: list[float], bounds: list[float]) -> list[dict[str, Any]]:
        rows = runs(kind, {True: "cccccc", False: "cccccc"})
        return [
            {**row, f"metrics.{figure}": value, f"bounds.{figure}": bound}
            for row, value, bound in zip(rows, values, bounds, strict=True)
        ]

    assert effect(measured([40.0] * 12, [1.0] * 12), figure, how) is None
    assert effect(measured([5.0] * 12, [-1.0] * 12), figure, how) is None  # all began beyond it
    reached = effect(measured([20.0] * 3 + [40.0] * 9, [0.0] * 3 + [1.0] * 9), figure, how)
    assert reached is not None
    if kind == "ablation":  # three pairs have one side at a bound, three have both
        assert (reached.trials, reached.estimate) == (3, pytest.approx(0.5))
        assert effect(measured([20.0] * 2 + [40.0] * 10, [0.0] * 2 + [1.0] * 10), figure, how) is None
    else:
        assert reached.estimate == pytest.approx(math.sqrt(0.5))


def test_positive_metrics_have_ratios_and_zeros_have_none() -> None:
    for name in ("distance", "fid", "grid_energy", "loss_oscillation", "kimg_to_half_hair"):
        assert is_ratio(name)
    for name in ("tag_accuracy", "saturated", "kid", "diversity"):
        assert not is_ratio(name)
    rows = runs("ablation", {True: "cccc", False: "cccc"})
    energies = [2.0, 4.0, 8.0, 0.0, 1.0, 2.0, 4.0, 8.0]
    found = effect(
        [{**row, "scores.grid_energy": value} for row, value in zip(rows, energies, strict=True)],
        "grid_energy", ablation_effect,
    )  # fmt: skip
    assert found is not None
    assert (found.unit, found.trials, found.estimate) == ("ratio", 3, pytest.approx(2))
    assert found.smallest_separable == math.inf  # all ratios are equal: nothing says what would have been seen
    assert found.to_json()["smallest_separable"] is None
    values = pd.Series({"hand-00000": 0.0, "hand-00001": math.e})
    response = response_at(make_sweep([{}, {}]), ComparisonPoint("grid_energy", 40, 500, values, 2))
    assert (response.unit, response.values.tolist()) == ("ratio", [1.0])
