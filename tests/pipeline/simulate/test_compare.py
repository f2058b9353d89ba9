"""Figures of simulated sweeps by hand, and what seeds decide."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from pipeline.simulate.compare import Plan, Spread, best, best_so_far, compare, kimg_to, to_json, warnings
from pipeline.simulate.plot import plot_comparison
from pipeline.simulate.simulator import FinishedTrial, SimulatedSweep
from pipeline.simulate.text import format_comparison
from tests.support.pipeline.curves import MAX, curve, recorded

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.simulate.recording import Recording


def course(*ends: tuple[str, float, float]) -> SimulatedSweep:
    """Status, distance and kimg used of each trial that ended."""
    ended = [
        FinishedTrial(n, status, MAX, float(n), used, {"distance": distance, "tag_accuracy": 0.1 * n})
        for n, (status, distance, used) in enumerate(ends)
    ]
    return SimulatedSweep(ended)


COURSE = course(
    ("stopped", 1.0, 10.0), ("complete", 9.0, 100.0), ("complete", 7.0, 200.0), ("failed", 2.0, 210.0),
    ("complete", 8.0, 300.0),
)  # fmt: skip


def ranked(count: int = 12) -> Recording:
    """Curves that never cross: rates from low to high are worse and worse; the recipe is in the middle."""
    rates = [1e-5 * 100 ** (n / (count - 1)) for n in range(count)]
    worth = [10.0 + n for n in range(count)]
    curves = [
        curve(f"r-{n}", (w + 60, w + 20, w), rate=rate, accuracies=(0.1, 0.2, 1 - w / 100))
        for n, (w, rate) in enumerate(zip(worth, rates, strict=True))
    ]
    middle = curves.pop(count // 2)
    return recorded([middle, *curves])


def test_only_complete_trials_count() -> None:
    assert best(COURSE) == 7.0
    assert best(COURSE, "tag_accuracy") == pytest.approx(0.4)
    assert best(course(("stopped", 1.0, 10.0))) == math.inf
    assert best(course(("stopped", 1.0, 10.0)), "tag_accuracy") == -math.inf


@pytest.mark.parametrize(("target", "kimg"), [(9.0, 100.0), (8.9, 200.0), (7.0, 200.0), (6.9, math.inf)])
def test_training_until_the_target(target: float, kimg: float) -> None:
    assert kimg_to(COURSE, target) == kimg


def test_the_best_so_far_is_a_staircase() -> None:
    at = np.array([0.0, 99.0, 100.0, 199.0, 200.0, 999.0])
    assert best_so_far(COURSE, at).tolist() == [math.inf, math.inf, 9.0, 9.0, 7.0, 7.0]


def test_spreads_are_quantiles_and_infinity_is_none_of_them_by_halves() -> None:
    assert Spread.of([1.0, 2.0, 3.0, 4.0, 5.0]) == Spread(3.0, 2.0, 4.0)
    assert Spread.of([1.0, 2.0, math.inf]) == Spread(2.0, 2.0, math.inf)
    assert Spread.of([1.0, math.inf]).median == math.inf
    assert Spread.of([1.0, math.inf, math.inf]).to_json() == {"median": None, "low": None, "high": None}


def test_an_accuracy_that_was_not_reached_is_never_made_up() -> None:
    assert Spread.of([-math.inf, 0.5]).median == -math.inf
    assert Spread.of([-math.inf, -math.inf, 0.5, 0.75]) == Spread(-math.inf, -math.inf, 0.5)


def test_one_of_the_nearest_is_measured_against_its_own_random_search() -> None:
    found = compare(ranked(), [("tpe", "none")], Plan(1, 4, 5, 0))
    told = [one["one_of_three_nearest"] for one in to_json(found, "s")["combinations"]]
    for result, figures in zip(found.results, told, strict=True):
        assert result.among is not None
        assert found.baseline.among is not None
        target = Spread.of([best(one) for one in found.baseline.among.courses]).median
        kimg = Spread.of([kimg_to(one, target) for one in result.among.courses])
        assert figures["kimg_to_target"] == kimg.to_json()


def test_with_as_much_training_as_all_trials_random_search_finds_the_best_recorded() -> None:
    found = compare(ranked(), [], Plan(1, 12, 3, 0))
    assert found.target == 10.0
    assert found.full_kimg == 12 * MAX
    (told,) = to_json(found, "s")["combinations"]
    assert told["regret"] == {"median": 0.0, "low": 0.0, "high": 0.0}
    assert told["slot_use"]["median"] == 1.0
    assert told["seconds"]["median"] == 12 * MAX  # a second per kimg, one worker


def test_where_curves_never_cross_asha_spares_training_and_loses_nothing() -> None:
    found = compare(ranked(), [("random", "asha")], Plan(1, 12, 10, 0))
    plain, asha = found.results
    assert asha.each(best).high == 10.0
    assert asha.each(lambda one: one.kimg).high < plain.each(lambda one: one.kimg).low
    assert all(len(one.ended) == 12 for one in asha.courses)  # there are no more recorded ones


def test_stopping_turns_the_same_training_into_more_trials() -> None:
    found = compare(ranked(40), [("random", "asha")], Plan(1, 10, 5, 0))
    plain, asha = found.results
    assert {len(one.ended) for one in plain.courses} == {10}
    assert all(len(one.ended) > 15 for one in asha.courses)
    assert all(one.kimg <= 10 * MAX for result in found.results for one in result.courses)


def test_the_front_is_reached_where_the_area_is() -> None:
    # Better distances come with better accuracies: the front is one trial, and both targets are the same trial's.
    found = compare(ranked(), [("tpe", "none")], Plan(1, 12, 3, 0))
    for result in found.results:
        assert found.kimg_to_area(result) == found.kimg_to_target(result)


def test_seeds_decide_everything() -> None:
    def told(seed: int) -> str:
        return json.dumps(to_json(compare(ranked(20), [("tpe", "mo-asha")], Plan(3, 6, 2, seed)), "s"))

    assert told(1) == told(1) != told(5)


def test_table_and_image(tmp_path: Path) -> None:
    found = compare(ranked(), [("tpe", "asha")], Plan(2, 6, 3, 0))
    text = format_comparison(found, "faces")
    assert "12 recorded curves of 90 kimg; 2 workers, 3 repeats" in text
    assert "540 kimg" in text
    assert [line.split()[:2] for line in text.splitlines()[4:6]] == [["random", "none"], ["tpe", "asha"]]
    assert all(f"warning: {warning}" in text for warning in warnings(found))
    plot_comparison(found, "faces", tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as image:
        colours = {color for _, color in image.convert("RGB").getcolors(2**24) or []}
    assert (0x00, 0x72, 0xB2) in colours  # the median of each search


def test_cells_name_no_quartile_that_was_not_reached() -> None:
    """Of four searches two reach the target: half did, but not three quarters."""
    found = compare(ranked(), [], Plan(1, 4, 4, 0))
    reach = [course(("complete", found.target, used)) for used in (100.0, 200.0)]
    miss = [course(("complete", found.target + 1, 300.0))]

    def cells(courses: list[SimulatedSweep]) -> list[str]:
        one = dataclasses.replace(found.baseline, courses=courses, scheduler="x", among=None)
        text = format_comparison(dataclasses.replace(found, results=(one,)), "s")
        (row,) = (line for line in text.splitlines() if line.startswith("random   x"))
        return [cell.strip() for cell in re.split(r"\s{2,}", row)][9:11]

    assert cells([*reach, *reach]) == ["4 of 4", "150 [100 to 200]"]
    assert cells([*reach, *reach, *miss * 2]) == ["4 of 6", "200 [from 200]"]
    assert cells([reach[0], *miss * 3]) == ["1 of 4", "-"]


@pytest.mark.parametrize(
    ("curves", "trials", "said"),
    [
        (40, 10, []),
        (39, 10, ["39 recorded curves are few"]),
        (40, 9, ["9 trials per search are few"]),
        (40, 20, []),
        (40, 21, ["searches of 21 trials use more than half of the 40"]),
        (12, 3, ["12 recorded curves", "3 trials per search"]),
    ],
)
def test_too_few_curves_and_trials_are_named(curves: int, trials: int, said: list[str]) -> None:
    found = compare(ranked(curves), [], Plan(1, trials, 1, 0))
    texts = warnings(found)
    assert len(texts) == len(said)
    assert all(text.startswith(start) for text, start in zip(texts, said, strict=True))
    assert to_json(found, "s")["warnings"] == texts
