"""What a searcher that proposes from memory leaves in the database, read back through Optuna alone."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest
import sqlalchemy
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError

from pipeline.mirror import Mirror
from pipeline.patient import PatientStorage
from pipeline.samplers import make_sampler
from pipeline.settings import SweepSettings
from pipeline.study import StudySearcher, open_study
from pipeline.whole import store_at_once

if TYPE_CHECKING:
    from collections.abc import Iterator

    from search_spaces.space import Space

FULL = {"kimg": 10, "distance": 12.5, "tag_accuracy": 0.75}
WAYS = ("minimize", "maximize")


@pytest.fixture
def space() -> Space:
    return SweepSettings("acgan", Path("d"), "s", image_size=16).resolve_space()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/optuna.db"


def searcher(url: str, space: Space, sampler: str = "random", trials: int = 9) -> StudySearcher:
    study = open_study(url, "s", WAYS, say=lambda text: None)
    study.sampler = make_sampler(sampler, 0, space, known=len(study.trials))
    return StudySearcher(study, space, sweep="s", trials=trials, seed=0, max_kimg=10)


def recorded(url: str) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="s", storage=url).trials


def ask(asked: StudySearcher, trial_id: str) -> dict[str, Any]:
    config = asked.suggest(trial_id)
    assert isinstance(config, dict)
    return config


@contextlib.contextmanager
def connection_events(study: optuna.Study, event: str, call: Any) -> Iterator[None]:
    """Have SQLAlchemy call something at ``commit`` or what else there is."""
    storage = study._storage
    assert isinstance(storage, PatientStorage)
    assert storage.database is not None
    sqlalchemy.event.listen(storage.database.engine, event, call)
    try:
        yield
    finally:
        sqlalchemy.event.remove(storage.database.engine, event, call)


@pytest.mark.parametrize("sampler", ["random", "tpe", "qmc", "grid", "nsga2"])
def test_a_trial_costs_two_commits(url: str, space: Space, sampler: str) -> None:
    asked = searcher(url, space, sampler)
    commits: list[Any] = []
    with connection_events(asked.study, "commit", commits.append):
        for name in "abcd":
            ask(asked, name)
        assert len(commits) == 4
        for name in "abcd":
            asked.on_trial_complete(name, FULL)
        assert len(commits) == 8


def test_a_running_trial_is_seen_whole_by_everyone(url: str, space: Space) -> None:
    config = ask(searcher(url, space), "a")
    (trial,) = recorded(url)
    assert trial.state == TrialState.RUNNING
    assert trial.user_attrs == {"params": config["params"]}
    assert trial.params == {name: config["params"][name] for name in space.active_defaults()}
    assert set(trial.distributions) == set(trial.params)
    assert trial.datetime_start is not None
    assert trial.datetime_complete is None


def test_what_was_not_committed_never_happened(url: str, space: Space) -> None:
    asked = searcher(url, space, "qmc")
    ask(asked, "a")
    issued = ask(asked, "b")
    drawn = asked._draw(asked._proposing.ask())  # and the driver is killed before it is written
    assert len(recorded(url)) == 2
    again = searcher(url, space, "qmc")
    assert again.pending == 9
    assert ask(again, "x")["number"] == 0
    assert ask(again, "y") == issued
    third = ask(again, "z")
    # The place in the sequence went with the trial: the point is neither lost nor taken twice.
    assert (third["number"], third["params"]) == (2, drawn)


class Cut:
    """Cuts the connection before or after a commit, as often as it is told to."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, *given: Any) -> None:
        if self.times:
            self.times -= 1
            raise OperationalError("commit", {}, Exception("server closed the connection"))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.patient.FIRST_WAIT", 0.0)


@pytest.mark.usefixtures("impatient")
def test_a_connection_that_is_cut_before_the_commit_loses_nothing(url: str, space: Space) -> None:
    asked, cut = searcher(url, space), Cut()
    with connection_events(asked.study, "commit", cut):
        for place, name in enumerate("abc"):
            cut.times = 2
            assert ask(asked, name)["number"] == place
        cut.times = 2
        asked.on_trial_complete("b", FULL)
    first, second, third = recorded(url)
    assert [trial.state for trial in (first, second, third)] == [
        TrialState.RUNNING, TrialState.COMPLETE, TrialState.RUNNING,
    ]  # fmt: skip
    assert second.values == [12.5, 0.75]


@pytest.mark.usefixtures("impatient")
def test_a_lost_answer_doubles_nothing(url: str, space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, cut = searcher(url, space), Cut()

    def stored(*given: Any) -> Any:
        answer = store_at_once(*given)
        with contextlib.suppress(OperationalError):
            cut()
            return answer
        raise optuna.exceptions.StorageInternalError("lost") from OperationalError("commit", {}, Exception("cut"))

    monkeypatch.setattr("pipeline.mirror.store_at_once", stored)
    for place, name in enumerate("abc"):
        cut.times = 1
        assert ask(asked, name)["number"] == place
    cut.times = 2
    asked.on_trial_complete("b", FULL)
    assert [trial.state.name for trial in recorded(url)] == ["RUNNING", "COMPLETE", "RUNNING"]
    assert recorded(url)[1].values == [12.5, 0.75]
    assert recorded(url)[1].user_attrs["kimg"] == 10


@pytest.mark.usefixtures("impatient")
def test_a_lost_answer_enqueues_nothing_twice(url: str, space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    lose, lost = [True], []

    def stored(*given: Any) -> Any:
        answer = store_at_once(*given)
        if lose:
            lost.append(lose.pop())
            raise optuna.exceptions.StorageInternalError("lost") from OperationalError("commit", {}, Exception("cut"))
        return answer

    monkeypatch.setattr("pipeline.mirror.store_at_once", stored)
    asked = searcher(url, space)
    assert [trial.state.name for trial in recorded(url)] == ["WAITING"]  # the recipe
    first, second = ask(asked, "a"), ask(asked, "b")
    assert ([first["number"], second["number"]], [first["recipe"], second["recipe"]]) == ([0, 1], [True, False])
    asked.on_trial_complete("a", FULL)
    lose.append(True)
    assert asked.go_on(10, 1) == ["s-00000"]
    states = [(trial.state.name, trial.user_attrs.get("continues")) for trial in recorded(url)]
    assert (states, len(lost)) == ([("COMPLETE", None), ("RUNNING", None), ("WAITING", 0)], 2)


def test_an_end_that_contradicts_another_is_refused(url: str, space: Space) -> None:
    asked = searcher(url, space)
    ask(asked, "a")
    optuna.load_study(study_name="s", storage=url).tell(0, state=TrialState.FAIL)
    with pytest.raises(UpdateFinishedTrialError, match="trial 0 has ended already, as FAIL"):
        asked.on_trial_complete("a", FULL)
    assert recorded(url)[0].values is None


def test_trials_from_elsewhere_keep_their_numbers(url: str, space: Space) -> None:
    asked = searcher(url, space)
    ask(asked, "a")
    optuna.load_study(study_name="s", storage=url).add_trial(optuna.create_trial(values=[1.0, 0.5]))
    third = ask(asked, "b")
    assert (third["number"], third["key"]) == (2, "s-00002")
    asked.on_trial_complete("a", FULL)
    asked.on_trial_complete("b", {**FULL, "distance": 2.5})
    assert [trial.values for trial in recorded(url)] == [[12.5, 0.75], [1.0, 0.5], [2.5, 0.75]]
    assert ask(asked, "c")["number"] == 3


def test_ids_that_a_sampler_remembers_are_those_of_the_database(url: str, space: Space) -> None:
    """NSGA-II keeps its parents by id; another study's trials come before ours, so that ids are not numbers."""
    other = optuna.create_study(storage=url, study_name="other")
    for _ in range(7):
        other.ask()
    asked = searcher(url, space, "nsga2", trials=60)
    for number in range(45):  # generations of 20
        ask(asked, str(number))
        asked.on_trial_complete(str(number), {**FULL, "distance": float(number % 13), "tag_accuracy": number / 50})
    stored = optuna.load_study(study_name="s", storage=url)
    attributes = stored._storage.get_study_system_attrs(stored._study_id)
    kept = {name: ids for name, ids in attributes.items() if "parent" in name}
    assert len(kept) == 2
    known = {trial._trial_id for trial in stored.trials}
    assert min(known) == 8
    for ids in kept.values():
        assert len(ids) == 20
        assert set(ids) <= known
    generations = [
        value for trial in stored.trials for name, value in trial.system_attrs.items() if name.endswith(":generation")
    ]
    assert generations == [0] * 20 + [1] * 20 + [2] * 4  # the recipe belongs to none


def test_memory_and_database_agree_on_every_trial(url: str, space: Space) -> None:
    asked = searcher(url, space, "tpe")
    results: list[dict[str, Any] | None] = [
        FULL,
        {"kimg": 4, "distance": 3.5, "tag_accuracy": 0.5},
        {"kimg": 1, "failure": "diverged"},
        None,
    ]
    for place, result in enumerate(results):
        ask(asked, str(place))
        asked.on_trial_complete(str(place), result, error=result is None)
    ask(asked, "running")
    fresh = Mirror(optuna.load_study(study_name="s", storage=url))
    for mine, theirs in zip(asked._mirror.get_all_trials(0), recorded(url), strict=True):
        assert mine == theirs
        assert mine == fresh.get_trial(theirs._trial_id)
