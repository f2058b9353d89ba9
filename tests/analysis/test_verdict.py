from __future__ import annotations

from typing import Any

from analysis import schema
from analysis.rank import rank
from analysis.verdict import caveats, inseparable
from tests.support.sweeps import make_sweep


def trial(distance: float, half: float | None = None, **more: Any) -> dict[str, Any]:
    ends = {} if half is None else {"metrics.interval/distance/low": distance - half,
                                    "metrics.interval/distance/high": distance + half}  # fmt: skip
    return {"scores.distance": distance, "samples": 100.0, **ends, **more}


def labels(rows: list[dict[str, Any]], confirmed: bool = False) -> list[str]:
    return [one.label for one in caveats(rank(make_sweep(rows)), confirmed)]


def test_overlapping_intervals_do_not_separate() -> None:
    rows = [trial(10, 1), trial(12.5, 1), trial(11.5, 1), trial(11, 5, samples=50.0)]
    ranking = rank(make_sweep(rows))
    assert inseparable(ranking) == ["hand-00002"]  # 10.5 to 12.5 meets 9 to 11; 11.5 to 13.5 does not
    reasons = {one.label: one.reason for one in caveats(ranking, confirmed=True)}
    assert reasons["not separable"].endswith("overlaps that of hand-00002")


def test_without_an_interval_nothing_is_separable() -> None:
    assert inseparable(rank(make_sweep([trial(10), trial(12, 1)]))) is None
    assert "not separable" in labels([trial(10), trial(12)])


def test_enough_separate_confirmed_trials_have_no_caveat() -> None:
    rows = [trial(10.0 * number, 1) for number in range(1, 11)]
    assert labels(rows, confirmed=True) == []
    assert labels(rows[:9], confirmed=True) == ["too few trials"]
    assert labels(rows) == ["unconfirmed"]


def test_nothing_is_concluded_from_nothing() -> None:
    assert labels([]) == ["no winner"]
    assert labels([{"status": schema.FAILED}]) == ["no winner"]
    assert labels([trial(1, 1)]) == ["unconfirmed", "too few trials"]
