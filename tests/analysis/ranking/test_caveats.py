from __future__ import annotations

from typing import Any

import pytest

from analysis import schema
from analysis.ranking.caveats import Caveat, caveats, inseparable
from analysis.ranking.ranking import rank
from analysis.ranking.table import format_table
from tests.support.sweeps import make_repeats, make_sweep


def trial(distance: float, half: float | None = None, **more: Any) -> dict[str, Any]:
    ends = {} if half is None else {"metrics.interval/distance/low": distance - half,
                                    "metrics.interval/distance/high": distance + half}  # fmt: skip
    return {"scores.distance": distance, "samples": 100.0, **ends, **more}


def labels(rows: list[dict[str, Any]]) -> list[str]:
    return [one.label for one in caveats(rank(make_sweep(rows)))]


def test_overlapping_intervals_do_not_separate() -> None:
    rows = [trial(10, 1), trial(12.5, 1), trial(11.5, 1), trial(11, 5, samples=50.0)]
    ranking = rank(make_sweep(rows))
    assert inseparable(ranking) == ["hand-00002"]  # 10.5 to 12.5 meets 9 to 11; 11.5 to 13.5 does not
    reasons = {one.label: one.reason for one in caveats(ranking)}
    assert reasons["not separable"].endswith("overlaps that of hand-00002")


def test_without_an_interval_nothing_is_separable() -> None:
    assert inseparable(rank(make_sweep([trial(10), trial(12, 1)]))) is None
    assert "not separable" in labels([trial(10), trial(12)])


def confirmed(*scores: tuple[float, ...], **more: Any) -> list[Caveat]:
    """Caveats of ten trials, the first of which ran again with these scores on seeds 1, 2, ..."""
    rows = [trial(10.0 * number, 1) for number in range(1, 11)]
    repeats = make_repeats([
        {"of": f"hand-{number:05d}", "seed": seed, "scores.distance": score, **more}
        for number, by_seed in enumerate(scores) for seed, score in enumerate(by_seed, 1)
    ])  # fmt: skip
    return caveats(rank(make_sweep(rows, repeats=repeats)))


def test_enough_separate_trials_are_only_unconfirmed() -> None:
    assert labels([trial(10.0 * number, 1) for number in range(1, 11)]) == ["unconfirmed"]


def test_a_confirmation_that_separates_leaves_nothing_open() -> None:
    assert confirmed((10, 11, 12), (20, 21, 22)) == []


def test_what_a_confirmation_leaves_open_takes_the_place_of_what_the_search_did() -> None:
    # Differences 5, -4, 2: the mean 1 is within the noise of seeds.
    (close,) = confirmed((10, 20, 15), (15, 16, 17))
    assert close.label == "not separable"
    assert close.reason.startswith("seeds do not separate the best from hand-00001 (paired t on 3 shared seeds")
    assert [one.label for one in confirmed((10,), (20,))] == ["not separable", "one seed"]


def test_a_confirmation_in_which_all_failed_confirms_nothing() -> None:
    rows = [trial(10.0 * number, 1) for number in range(1, 11)]
    failed = {"of": "hand-00000", "seed": 2, "status": schema.FAILED, "reason": "diverged"}
    repeats = make_repeats([{"of": "hand-00000", "seed": 1, "scores.distance": 9.0}, failed])
    found = caveats(rank(make_sweep(rows, repeats=repeats)))
    assert [one.label for one in found] == ["unconfirmed", "failed"]
    assert found[1].reason == "hand-00000 failed on 1 of its seeds and is not compared: diverged"


def test_nothing_is_concluded_from_nothing() -> None:
    assert labels([]) == ["no winner"]
    assert labels([{"status": schema.FAILED}]) == ["no winner"]
    assert labels([trial(1, 1)]) == ["unconfirmed", "too few trials"]


@pytest.mark.parametrize(
    ("scores", "named"),
    [
        ({"scores.saturated": 0.295, "scores.grid_energy": 0.1}, ("29.5% of its values", "1.8% of real")),
        ({"scores.saturated": 0.1, "scores.grid_energy": 2.93}, ("2.93 times",)),
        ({"scores.saturated": 0.3, "scores.grid_energy": 9.0}, ("30.0% of its values", "9 times")),
        ({"scores.saturated": 0.11, "scores.grid_energy": 1.9}, ()),
        ({"scores.grid_energy": float("nan")}, ()),
        ({}, ()),
    ],
)
def test_defects_that_real_images_do_not_have_are_named(scores: dict[str, float], named: tuple[str, ...]) -> None:
    """Of the winner alone: the second trial has both, whatever the first one has."""
    rows = [{**trial(10), **scores}, trial(20, **{"scores.saturated": 0.9, "scores.grid_energy": 50.0})]
    sweep = make_sweep(rows, data={"floor": {"scores": {"saturated": 0.018, "grid_energy": 1.0}}})
    reasons = [one.reason for one in caveats(rank(sweep)) if one.label == "visible defects"]
    assert rank(sweep).to_json()["visible_defects"] == (reasons[0] if named else None)
    assert bool(reasons) == bool(named)
    assert all(word in reasons[0] for word in named)
    assert all("gansweep compare hand" in reason for reason in reasons)
    assert ("visible defects" in format_table(rank(sweep), 200)) == bool(named)


def test_saturation_is_not_judged_where_that_of_real_images_is_unknown() -> None:
    assert "visible defects" not in labels([trial(10, **{"scores.saturated": 0.9})])
