"""A study in PostgreSQL that restarts between calls and in the middle of one."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import optuna
import pytest
from optuna.trial import TrialState

from pipeline.study import open_study

if TYPE_CHECKING:
    from tests.services.conftest import Postgres

pytestmark = pytest.mark.slow


def test_a_study_outlasts_restarts_of_its_database(postgres: Postgres) -> None:
    said: list[str] = []
    waiting = threading.Event()

    def say(text: str) -> None:
        said.append(text)
        waiting.set()

    url = postgres.database("optuna")
    study = open_study(url, "s", ["minimize", "maximize"], say=say)

    def run() -> None:
        trial = study.ask()
        trial.suggest_float("lr", 1e-5, 1e-2, log=True)
        trial.set_user_attr("kimg", 3)
        study.tell(trial, [1.0, 0.5])

    run()
    postgres.stop()
    postgres.start()
    run()  # the old connection is dead
    assert said == []

    postgres.stop()
    thread = threading.Thread(target=run)
    thread.start()
    assert waiting.wait(60)
    postgres.start()
    thread.join(120)
    assert not thread.is_alive()
    assert "does not answer" in said[0]
    assert "answers again" in said[1]
    trials = optuna.load_study(study_name="s", storage=url).trials
    assert [(trial.number, trial.state, trial.values) for trial in trials] == [
        (number, TrialState.COMPLETE, [1.0, 0.5]) for number in range(3)
    ]
