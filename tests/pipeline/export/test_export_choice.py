"""Which run an export takes, of sweeps put together by hand, and which panels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from analysis.ranking.filters import split_by_conditioning
from analysis.ranking.ranking import Ranking, rank
from pipeline.bundle.bundle import Bundle
from pipeline.export.export import _choose, _draw_panels, _fingerprint, _representative
from tests.support.sweeps import FINGERPRINT, make_repeats, make_sweep
from trainables.errors import UsageError, UserError

if TYPE_CHECKING:
    from pathlib import Path

LUCKY, GOOD = "hand-00000", "hand-00001"


def confirmed(budget: int, **measured: Any) -> Ranking:
    """A sweep of 40 kimg whose second trial is best on fresh seeds, by a confirmation of ``budget``."""
    rows: list[dict[str, Any]] = [
        {"key": key, "scores.distance": distance, "samples": 1000.0} for key, distance in ((LUCKY, 30.0), (GOOD, 42.0))
    ]
    repeats = [
        {"of": key, "seed": seed, "scores.distance": first + step, "budget": budget, "kimg": float(budget)}
        | {"fingerprint": json.dumps({**FINGERPRINT, **measured})}
        for key, first in ((LUCKY, 60.0), (GOOD, 40.0))
        for seed, step in enumerate((0.0, 1.0, 3.0))
    ]
    return rank(make_sweep(rows, repeats=make_repeats(repeats), settings={"max_kimg": 40}))


@pytest.mark.parametrize("budget", [40, 80])
def test_a_confirmation_of_the_sweeps_budget_or_more_gives_its_median_run(budget: int) -> None:
    ranking = confirmed(budget)
    run = _representative(ranking, _choose([ranking], None)[1])
    assert (run["key"], run["run"], run["scores"]["distance"]) == (GOOD, f"{GOOD}-c01", 41.0)
    assert (run["kimg"], run["budget"], run["confirmation"]["budget"]) == (budget, budget, budget)


def test_a_confirmation_of_a_smaller_budget_leaves_the_searchs_best_its_place() -> None:
    ranking = confirmed(39)
    run = _representative(ranking, _choose([ranking], None)[1])
    assert (run["key"], run["run"], run["scores"]["distance"], run["kimg"]) == (LUCKY, LUCKY, 30.0, 40.0)
    assert "confirmation" not in run


def test_the_fingerprint_is_that_of_the_run_and_another_than_the_searchs_is_refused() -> None:
    alike = confirmed(40)
    run = _representative(alike, _choose([alike], None)[1])
    assert _fingerprint(alike, run) == FINGERPRINT
    other = confirmed(40, samples=500)
    run = _representative(other, _choose([other], None)[1])
    with pytest.raises(UserError) as refused:
        _fingerprint(other, run)
    for part in (f"run {GOOD}-c01", "samples 500 and not 1000", f"--trial {GOOD}"):
        assert part in str(refused.value)
    assert _fingerprint(other, _choose([other], GOOD)[1]) == FINGERPRINT


def test_the_best_of_a_sweep_of_both_kinds_is_that_with_tags_as_rank_has_it() -> None:
    conditioning = "params.generator.conditioning"
    untagged = {"key": LUCKY, "scores.distance": 30.0, "samples": 1000.0, conditioning: "none"}
    tagged = {"key": GOOD, "scores.distance": 42.0, "samples": 1000.0, conditioning: "concat"}
    rankings = [rank(part) for part in split_by_conditioning(make_sweep([untagged, tagged]))]
    assert _choose(rankings, None)[1]["key"] == GOOD
    ranking, trial = _choose(rankings, LUCKY)
    assert (trial["key"], ranking.best) == (LUCKY, LUCKY)
    with pytest.raises(UsageError, match="has no trial 'hand-00009'"):
        _choose(rankings, "hand-00009")
    unscored = [
        rank(part) for part in split_by_conditioning(make_sweep([untagged, {**tagged, "scores.distance": None}]))
    ]
    with pytest.raises(UserError, match="has no scored trial with tags to export yet; --trial names another"):
        _choose(unscored, None)


def test_panels_too_large_for_an_image_are_left_out(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle.load(bundle_folder)
    # 98 px an image: 12 hair colours are 1176 px, 11 eye colours 1078.
    monkeypatch.setattr("pipeline.generate.image_output.LARGEST_SHEET", 1100)
    assert _draw_panels(bundle, tmp_path) == ["hair", "grid"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["eyes.png", "noise.png"]
