"""A study in PostgreSQL that restarts between calls and in the middle of one."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import pytest
from optuna.trial import TrialState

from pipeline.search.samplers import make_sampler
from pipeline.search.study import open_study
from pipeline.settings import SweepSettings
from pipeline.tune_adapters.study_searcher import StudySearcher

if TYPE_CHECKING:
    from tests.support.servers.postgres import Postgres

pytestmark = [pytest.mark.slow, pytest.mark.real_processes]


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
    assert waiting.wait(300)
    postgres.start()
    thread.join(600)
    assert not thread.is_alive()
    assert "does not answer" in said[0]
    assert "answers again" in said[1]
    trials = optuna.load_study(study_name="s", storage=url).trials
    assert [(trial.number, trial.state, trial.values) for trial in trials] == [
        (number, TrialState.COMPLETE, [1.0, 0.5]) for number in range(3)
    ]


def test_a_searcher_survives_restarts_and_the_next_one_continues(postgres: Postgres) -> None:
    url = postgres.database("searched")
    space = SweepSettings("acgan", Path("d"), "s", image_size=16).resolve_space()

    def searcher() -> StudySearcher:
        study = open_study(url, "s", ["minimize", "maximize"], say=lambda text: None)
        study.sampler = make_sampler("nsga2", 0, space, known=len(study.trials))
        return StudySearcher(study, space, sweep="s", trials=30, seed=0, max_kimg=10)

    def finish(asked: StudySearcher, trial_id: str, distance: float) -> None:
        asked.on_trial_complete(trial_id, {"kimg": 10, "distance": distance, "tag_accuracy": 0.5})

    asked = searcher()
    issued = []
    for number in range(25):
        if number % 8 == 0:
            postgres.stop()
            postgres.start()
        issued.append(asked.suggest(str(number)))
        if number != 7:
            finish(asked, str(number), float(number))
    again = searcher()
    assert again.pending == 6
    assert again.suggest("x") == issued[7]
    finish(again, "x", 7.0)
    trials = optuna.load_study(study_name="s", storage=url).trials
    assert [(trial.number, trial.state, trial.values) for trial in trials] == [
        (number, TrialState.COMPLETE, [float(number), 0.5]) for number in range(25)
    ]
    assert [trial.user_attrs["params"] for trial in trials] == [config["params"] for config in issued]  # type: ignore[index]
