"""What a searcher on a buffered study writes to the database, read back through Optuna alone."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import optuna
import pytest
import sqlalchemy
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError

from pipeline.search.buffered_storage import BufferedStorage
from pipeline.search.retrying_storage import RetryingStorage
from pipeline.search.samplers import make_sampler
from pipeline.search.study import open_study
from pipeline.settings import SweepSettings
from pipeline.tune_adapters.study_searcher import StudySearcher
from trainables.storage.retry import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeline.search.study import StoredStudy
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


def database(study: StoredStudy) -> RDBStorage:
    assert isinstance(study.storage, RetryingStorage)
    assert isinstance(study.storage.inner, RDBStorage)
    return study.storage.inner


@contextlib.contextmanager
def listening(target: Any, event: str, call: Callable[..., None]) -> Iterator[None]:
    """Have SQLAlchemy call something at an event of an engine or a session."""
    sqlalchemy.event.listen(target, event, call)
    try:
        yield
    finally:
        sqlalchemy.event.remove(target, event, call)


@contextlib.contextmanager
def counted_writes(study: StoredStudy) -> Iterator[list[str]]:
    """Collect the tables written to, one string per transaction that wrote."""
    writes: list[str] = []
    tables: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.startswith(("INSERT", "UPDATE")):
            tables.append(statement.split()[2 if statement.startswith("INSERT") else 1])

    def commit(connection: Any) -> None:
        if tables:
            writes.append(" ".join(sorted(set(tables))))
        tables.clear()

    engine = database(study).engine
    with listening(engine, "before_cursor_execute", note), listening(engine, "commit", commit):
        yield writes


@pytest.mark.parametrize(
    ("sampler", "more"), [("random", 0), ("tpe", 0), ("prior", 0), ("grid", 0), ("nsga2", 0), ("qmc", 1)]
)
def test_a_trial_takes_one_transaction_to_start_and_two_to_end(url: str, space: Space, sampler: str, more: int) -> None:
    """One more where the sampler counts its suggestions in the study; the enqueued recipe costs more, once a sweep."""
    asked = searcher(url, space, sampler)
    ask(asked, "recipe")
    with counted_writes(asked.study) as writes:
        for name in "abc":
            ask(asked, name)
        assert len(writes) == 3 * (1 + more)
        writes.clear()
        for name in "abc":
            asked.on_trial_complete(name, FULL)
        assert writes == ["trial_user_attributes", "trial_values trials"] * 3


def test_a_running_trial_is_stored_with_all_its_parameters(url: str, space: Space) -> None:
    config = ask(searcher(url, space), "a")
    (trial,) = recorded(url)
    assert trial.state == TrialState.RUNNING
    assert trial.user_attrs == {"params": config["params"]}
    assert trial.params == {name: config["params"][name] for name in space.active_defaults()}
    assert set(trial.distributions) == set(trial.params)
    assert trial.datetime_start is not None
    assert trial.datetime_complete is None


def test_uncommitted_changes_are_lost_with_the_process(url: str, space: Space) -> None:
    asked = searcher(url, space, "qmc")
    ask(asked, "a")
    issued = ask(asked, "b")
    drawn = asked._draw(asked._buffered.ask())  # and the driver is killed before it is written
    assert len(recorded(url)) == 2
    again = searcher(url, space, "qmc")
    assert again.pending == 9
    assert ask(again, "x")["number"] == 0
    assert ask(again, "y") == issued
    third = ask(again, "z")
    # The place in the sequence went with the trial: the point is neither lost nor taken twice.
    assert (third["number"], third["params"]) == (2, drawn)


def test_a_driver_killed_between_any_two_transactions_loses_no_trial(tmp_path: Path, space: Space) -> None:
    """Before each commit the database is copied, as a driver that is killed there would leave it."""
    file, copies = tmp_path / "s.db", list[Path]()
    asked = searcher(f"sqlite:///{file}", space, "qmc", trials=3)

    def copy_database(connection: Any) -> None:
        copies.append(file.with_name(f"{len(copies)}.db"))
        shutil.copyfile(file, copies[-1])

    with listening(database(asked.study).engine, "commit", copy_database):
        for name in "abc":
            ask(asked, name)
        for name in "cba":
            asked.on_trial_complete(name, FULL)
    assert len(copies) > 15
    for copy in (*copies[:3], *copies[-12:]):  # those between are one for each parameter of the recipe
        url = f"sqlite:///{copy}"
        again = searcher(url, space, "qmc", trials=3)
        for name in "xyz"[: again.pending]:
            ask(again, name)
            again.on_trial_complete(name, FULL)
        assert again.pending == 0
        stored = recorded(url)
        assert [(trial.number, trial.state, trial.values) for trial in stored] == [
            (number, TrialState.COMPLETE, [12.5, 0.75]) for number in range(3)
        ]
        assert stored[0].user_attrs["params"] == dict(space.recipe)
        assert set(stored[0].params) == set(space.active_defaults())
        for trial in stored:
            assert trial.params == {name: trial.user_attrs["params"][name] for name in trial.params}
        assert len({str(trial.params) for trial in stored}) == 3  # no point of the sequence comes twice


class Cut:
    """Cuts the connection at the next ``times`` events."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, *given: Any) -> None:
        if self.times:
            self.times -= 1
            raise OperationalError("commit", {}, Exception("server closed the connection"))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.search.retrying_storage.BACKOFF", Backoff(first=0.0))
    monkeypatch.setattr("random.random", lambda: 0.0)  # Optuna waits for so long between its own attempts


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("times", [2, 7])
def test_a_connection_that_is_cut_before_the_commit_loses_nothing(url: str, space: Space, times: int) -> None:
    """Optuna itself makes five attempts at a new trial."""
    asked, cut = searcher(url, space), Cut()
    with listening(database(asked.study).engine, "commit", cut):
        for place, name in enumerate("abc"):
            cut.times = times
            assert ask(asked, name)["number"] == place
        cut.times = times
        asked.on_trial_complete("b", FULL)
    first, second, third = recorded(url)
    assert [trial.state for trial in (first, second, third)] == [
        TrialState.RUNNING, TrialState.COMPLETE, TrialState.RUNNING,
    ]  # fmt: skip
    assert second.values == [12.5, 0.75]


class LostAnswers(RDBStorage):
    """A database whose calls take effect, but whose next answers are lost."""

    lose: ClassVar[list[str]] = []
    """Names of the calls."""

    def _answer(self, name: str, answer: Any) -> Any:
        if name in self.lose:
            self.lose.remove(name)
            raise optuna.exceptions.StorageInternalError("lost") from OperationalError("commit", {}, Exception("cut"))
        return answer

    def create_new_trial(self, *given: Any) -> int:
        if "twice" in self.lose:  # as Optuna's own second attempt does where the first one's answer was lost
            self.lose.remove("twice")
            super().create_new_trial(*given)
        return int(self._answer("create", super().create_new_trial(*given)))

    def set_trial_user_attr(self, *given: Any) -> None:
        self._answer("attribute", super().set_trial_user_attr(*given))

    def set_trial_state_values(self, *given: Any) -> bool:
        return bool(self._answer("state", super().set_trial_state_values(*given)))


@pytest.fixture
def lose(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr("pipeline.search.retrying_storage.RDBStorage", LostAnswers)
    monkeypatch.setattr(LostAnswers, "lose", [])
    return LostAnswers.lose


@pytest.mark.usefixtures("impatient")
def test_a_lost_answer_writes_nothing_twice(url: str, space: Space, lose: list[str]) -> None:
    lose.append("create")
    asked = searcher(url, space)
    assert [trial.state.name for trial in recorded(url)] == ["WAITING"]  # the recipe
    for place, name in enumerate("abc"):
        lose += ["create"] * (place > 0)
        assert ask(asked, name)["number"] == place
    lose += ["attribute", "state", "state"]
    asked.on_trial_complete("a", FULL)
    assert [trial.state.name for trial in recorded(url)] == ["COMPLETE", "RUNNING", "RUNNING"]
    assert recorded(url)[0].values == [12.5, 0.75]
    assert recorded(url)[0].user_attrs["outcome"]["kimg"] == 10
    lose.append("create")
    assert asked.continue_best(10, 1) == ["s-00000"]
    states = [(trial.state.name, trial.user_attrs.get("continues")) for trial in recorded(url)]
    assert states == [("COMPLETE", None), ("RUNNING", None), ("RUNNING", None), ("WAITING", 0)]
    assert lose == ["state"]


def test_a_row_that_optuna_writes_twice_is_discarded(url: str, space: Space, lose: list[str]) -> None:
    """Optuna repeats a transaction whose answer is lost; the copy ends as failed, and does not count as a trial."""
    asked = searcher(url, space, trials=4)
    ask(asked, "a")
    lose.append("twice")
    second = ask(asked, "b")
    assert (second["number"], second["key"]) == (1, "s-00001")
    asked.on_trial_complete("b", FULL)
    assert ask(asked, "c")["number"] == 3
    states = ["RUNNING", "COMPLETE", "FAIL", "RUNNING"]
    assert [trial.state.name for trial in recorded(url)] == states
    again = searcher(url, space, trials=4)
    assert again.pending == 3  # two that were running and the fourth of the sweep
    assert [key for key, _ in again.ended()] == ["s-00001"]


def test_an_end_that_contradicts_another_is_refused(url: str, space: Space) -> None:
    asked = searcher(url, space)
    ask(asked, "a")
    optuna.load_study(study_name="s", storage=url).tell(0, state=TrialState.FAIL)
    with pytest.raises(UpdateFinishedTrialError, match="0 has already finished"):
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


def test_a_queued_trial_keeps_its_place_after_one_from_elsewhere(url: str, space: Space) -> None:
    asked = searcher(url, space)
    optuna.load_study(study_name="s", storage=url).add_trial(optuna.create_trial(values=[1.0, 0.5]))
    storage = asked._storage
    queued = optuna.create_trial(state=TrialState.WAITING, user_attrs={"mine": True})
    number = storage.get_trial_number_from_id(storage.create_new_trial(storage.study_id, queued))
    assert [trial.number for trial in recorded(url) if "mine" in trial.user_attrs] == [number] == [2]


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
    storage = RDBStorage(url)
    attributes = storage.get_study_system_attrs(storage.get_study_id_from_name("s"))
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
    fresh = BufferedStorage(RDBStorage(url), "s")
    in_memory = asked._storage.get_all_trials(fresh.study_id)
    for mine, stored, read in zip(in_memory, recorded(url), fresh.get_all_trials(fresh.study_id), strict=True):
        assert mine.datetime_start is not None
        mine.datetime_start, mine.datetime_complete = stored.datetime_start, stored.datetime_complete  # to seconds
        assert mine == stored == read
        assert mine == fresh.get_trial(fresh.get_trial_id_from_study_id_trial_number(fresh.study_id, mine.number)) or (
            mine.state.is_finished()
        )
