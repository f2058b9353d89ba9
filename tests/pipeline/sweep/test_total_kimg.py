"""``--total-kimg``: what all trials together may be trained for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from ray.tune.search import Searcher

from pipeline.cli.main import main
from pipeline.schedulers.evaluation_schedule import fits_budget
from pipeline.search.samplers import make_sampler
from pipeline.search.study import objectives, open_study
from pipeline.settings import RESUME_OVERRIDES, SweepSettings
from pipeline.tune_adapters.study_searcher import StudySearcher

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Searchers = Callable[..., StudySearcher]


def ended(kimg: int) -> dict[str, Any]:
    return {"kimg": kimg, "distance": 12.5, "tag_accuracy": 0.75}


@pytest.fixture
def searcher(tmp_path: Path) -> Searchers:
    """A searcher as a new driver would make it, over one study; trials have a budget of 10 kimg."""
    space = SweepSettings("acgan", tmp_path, "s", image_size=16).resolve_space()

    def make(total: int | None, trials: int = 9, max_kimg: int = 10) -> StudySearcher:
        url = f"sqlite:///{tmp_path}/optuna.db"
        study = open_study(url, "s", objectives(space).values(), make_sampler("random", 0, space))
        return StudySearcher(study, space, sweep="s", trials=trials, seed=0, max_kimg=max_kimg, total_kimg=total)

    return make


@pytest.mark.parametrize(
    ("finished", "running", "total", "room"),
    [(0, 0, 10, True), (0, 0, 9, False), (5, 1, 25, True), (5, 1, 24, False), (30, 0, 40, True), (31, 0, 40, False),
     (1e9, 99, None, True)],
)  # fmt: skip
def test_used_budget_counts_ended_trials_and_reserves_running_ones(
    finished: float, running: int, total: int | None, room: bool
) -> None:
    assert fits_budget(finished, running, 10, total) is room


def test_a_trial_begins_where_its_whole_budget_fits(searcher: Searchers) -> None:
    asked = searcher(25)
    assert isinstance(asked.suggest("a"), dict)
    assert isinstance(asked.suggest("b"), dict)
    assert asked.suggest("c") is None  # 10 + 10 + 10 are more than 25; not now, since one may be stopped
    asked.on_trial_complete("a", ended(4))
    assert isinstance(asked.suggest("c"), dict)  # 4 + 10 + 10
    assert asked.suggest("d") is None
    asked.on_trial_complete("b", ended(10))
    assert asked.suggest("d") is None  # 4 + 10 + 10 + 10
    asked.on_trial_complete("c", ended(10))
    assert asked.suggest("d") == Searcher.FINISHED
    assert (asked.pending, asked.unused) == (0, 6)


def test_trials_with_a_cost_use_it_instead_of_their_kimg(searcher: Searchers) -> None:
    asked = searcher(20)
    asked.suggest("a")
    asked.on_trial_complete("a", {**ended(95), "cost_kimg": 4})  # 4 + 10 + ...
    assert isinstance(asked.suggest("b"), dict)
    assert asked.suggest("c") is None
    asked.on_trial_complete("b", {**ended(2), "cost_kimg": 6})
    assert isinstance(asked.suggest("c"), dict)  # 4 + 6 + 10
    asked.on_trial_complete("c", {**ended(2), "cost_kimg": 10})
    again = searcher(40, max_kimg=20)
    assert again.continue_best(10, 1) == ["s-00002"]  # the others did not complete 10


def test_trials_that_fail_before_a_score_use_nothing(searcher: Searchers) -> None:
    asked = searcher(10)
    for place in range(3):
        assert isinstance(asked.suggest(f"t{place}"), dict)
        asked.on_trial_complete(f"t{place}", None, error=True)
    assert asked.pending == 6


def test_a_restart_counts_used_budget_and_a_larger_total_continues(searcher: Searchers) -> None:
    first = searcher(20)
    first.suggest("a")
    first.suggest("b")
    first.on_trial_complete("a", ended(10))
    again = searcher(20)  # the driver died; b is issued again whatever the total is
    assert again.pending > 0
    assert again.suggest("b")["number"] == 1  # type: ignore[index]
    assert again.suggest("c") is None
    again.on_trial_complete("b", ended(10))
    assert again.suggest("c") == Searcher.FINISHED
    assert searcher(20).pending == 0
    assert searcher(29).pending == 0
    assert searcher(30).pending == 7
    assert searcher(None).pending == 7


@pytest.mark.parametrize(("total", "go_on"), [(2000, 10), (1999, 9), (1100, 1), (1099, 0)])
@pytest.mark.parametrize("workers", [1, 3, 10])
def test_continued_trials_count_once(searcher: Searchers, total: int, go_on: int, workers: int) -> None:
    """Ten trials of 100 kimg that continue to 200 need 2000 in total, of which 1000 are used: 100 more each."""
    first = searcher(None, trials=10, max_kimg=100)
    for place in range(10):
        first.suggest(f"t{place}")
        first.on_trial_complete(f"t{place}", ended(100))
    further = searcher(total, trials=10, max_kimg=200)
    assert len(further.continue_best(100, 1)) == 10
    running: list[str] = []
    begun = 0
    while True:
        asked = further.suggest(f"again{begun}") if len(running) < workers else None
        if isinstance(asked, dict):
            running.append(f"again{begun}")
            begun += 1
        elif running:
            further.on_trial_complete(running.pop(0), ended(200))
        else:
            break
    assert begun == go_on
    assert (further.pending, further.unused) == (0, 10 - go_on)


def test_a_continued_trial_of_a_dead_driver_counts_once(searcher: Searchers) -> None:
    first = searcher(None, trials=2, max_kimg=100)
    for place in range(2):
        first.suggest(f"t{place}")
        first.on_trial_complete(f"t{place}", ended(100))
    further = searcher(400, trials=2, max_kimg=200)
    further.continue_best(100, 1)
    further.suggest("again")
    after = searcher(400, trials=2, max_kimg=200)  # the driver died: 200 for the one that ran, 200 for the other
    after.continue_best(100, 1)
    assert isinstance(after.suggest("a"), dict)
    assert isinstance(after.suggest("b"), dict)


def test_less_than_one_trial_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = f"run acgan --data {tmp_path} --name n --max-kimg 50 --total-kimg 49".split()
    assert main(words) == 2
    assert "--total-kimg is 49; allowed: 50 to" in capsys.readouterr().err


def test_the_total_may_differ_when_a_sweep_is_resumed() -> None:
    assert "total_kimg" in RESUME_OVERRIDES
