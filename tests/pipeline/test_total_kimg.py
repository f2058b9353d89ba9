"""``--total-kimg``: what all trials together may be trained for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from ray.tune.search import Searcher

from pipeline.budget import room_for_a_trial
from pipeline.cli import main
from pipeline.samplers import make_sampler
from pipeline.settings import PRIVATE, SweepSettings
from pipeline.study import StudySearcher, objectives, open_study
from tests.pipeline.conftest import sweep, tiny_settings

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
def test_room_is_what_ended_trials_used_and_running_ones_may_use(
    finished: float, running: int, total: int | None, room: bool
) -> None:
    assert room_for_a_trial(finished, running, 10, total) is room


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


def test_trials_that_fail_before_a_score_use_nothing(searcher: Searchers) -> None:
    asked = searcher(10)
    for place in range(3):
        assert isinstance(asked.suggest(f"t{place}"), dict)
        asked.on_trial_complete(f"t{place}", None, error=True)
    assert asked.pending == 6


def test_another_start_counts_what_has_been_used_and_a_larger_total_goes_on(searcher: Searchers) -> None:
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
def test_trials_that_go_on_count_once(searcher: Searchers, total: int, go_on: int, workers: int) -> None:
    """Ten of 100 kimg that go on to 200 need 2000 in all, of which 1000 are used; each of them 100 more."""
    first = searcher(None, trials=10, max_kimg=100)
    for place in range(10):
        first.suggest(f"t{place}")
        first.on_trial_complete(f"t{place}", ended(100))
    further = searcher(total, trials=10, max_kimg=200)
    assert len(further.go_on(100, 1)) == 10
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


def test_one_that_goes_on_and_whose_driver_died_counts_once_too(searcher: Searchers) -> None:
    first = searcher(None, trials=2, max_kimg=100)
    for place in range(2):
        first.suggest(f"t{place}")
        first.on_trial_complete(f"t{place}", ended(100))
    further = searcher(400, trials=2, max_kimg=200)
    further.go_on(100, 1)
    further.suggest("again")
    after = searcher(400, trials=2, max_kimg=200)  # the driver died: 200 for the one that ran, 200 for the other
    after.go_on(100, 1)
    assert isinstance(after.suggest("a"), dict)
    assert isinstance(after.suggest("b"), dict)


def test_less_than_one_trial_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = f"run acgan --data {tmp_path} --name n --max-kimg 50 --total-kimg 49".split()
    assert main(words) == 2
    assert "--total-kimg is 49; allowed: 50 to" in capsys.readouterr().err


def test_it_may_differ_between_two_starts_of_a_sweep() -> None:
    assert "total_kimg" in PRIVATE


@pytest.mark.usefixtures("local_ray")
@pytest.mark.slow
def test_a_sweep_ends_complete_when_its_total_is_used(judged_home: Path, faces: Path) -> None:
    settings = tiny_settings(judged_home, faces, "total", total_kimg=5, scheduler="none", concurrent=2)
    found = sweep(settings)
    assert found.status == "complete"
    assert "--total-kimg 5 is used: 4 of the 6 trials do not begin" in " ".join(found.printed.split())
    kimg = [run.data.metrics["kimg"] for run in found.runs()]
    assert kimg == [2.0, 2.0]
