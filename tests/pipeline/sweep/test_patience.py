"""``--patience``: a searcher by hand, and real sweeps that end early or do not."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from ray.tune.search import Searcher

from analysis.ranking.winner import Expected
from pipeline.cli.main import main
from pipeline.home import Home
from pipeline.schedulers.patience import Patience
from pipeline.search.samplers import make_sampler
from pipeline.search.study import open_study
from pipeline.settings import SweepSettings
from pipeline.sweep import run
from pipeline.sweep.resume import resume_settings
from pipeline.sweep.run import run_sweep
from pipeline.tune_adapters.study_searcher import StudySearcher
from tests.support.pipeline.sweep import sweep, tiny_settings
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Searchers = Callable[..., StudySearcher]

pytestmark = pytest.mark.real_processes


def ended(distance: float, kimg: int = 10) -> dict[str, Any]:
    ends = {"interval/distance/low": distance - 1, "interval/distance/high": distance + 1}
    return {"kimg": kimg, "distance": distance, **ends}


@pytest.fixture
def searcher(tmp_path: Path) -> Searchers:
    """A searcher as a new driver would make it, over one study; trials have a budget of 10 kimg."""
    space = SweepSettings("dcgan", tmp_path, "s", image_size=16).resolve_space()

    def make(trials_worth: int, trials: int = 9, max_kimg: int = 10) -> StudySearcher:
        study = open_study(f"sqlite:///{tmp_path}/optuna.db", "s", ["minimize"], make_sampler("random", 0, space))
        patience = Patience(trials_worth * max_kimg, Expected)
        return StudySearcher(study, space, sweep="s", trials=trials, seed=0, max_kimg=max_kimg, patience=patience)

    return make


def train(searcher: StudySearcher, *distances: float) -> None:
    for place, distance in enumerate(distances):
        assert isinstance(searcher.suggest(f"t{place}"), dict)
        searcher.on_trial_complete(f"t{place}", ended(distance))


def test_running_trials_end_and_may_continue_the_search(searcher: Searchers) -> None:
    asked = searcher(2)
    train(asked, 50)
    for name in ("a", "b", "c"):
        assert isinstance(asked.suggest(name), dict)
    asked.on_trial_complete("a", ended(49.5))
    asked.on_trial_complete("b", ended(60))
    assert asked.suggest("d") is None  # c may still move the best
    asked.on_trial_complete("c", ended(48.5))
    assert isinstance(asked.suggest("d"), dict)
    asked.on_trial_complete("d", ended(60))
    train(asked, 60)
    assert asked.suggest("e") == Searcher.FINISHED
    assert (asked.pending, asked.unused) == (0, 3)


def test_a_restart_counts_what_is_recorded(searcher: Searchers) -> None:
    train(searcher(9), 50, 60, 49.5)
    assert searcher(2).pending == 0
    assert searcher(3).pending == 6
    train(searcher(3), 48.9)
    assert searcher(1).pending == 5


def test_a_trial_that_was_running_is_finished_first(searcher: Searchers) -> None:
    first = searcher(9)
    train(first, 50)
    first.suggest("a")
    train(first, 60)
    again = searcher(1)
    assert again.suggest("a")["number"] == 1  # type: ignore[index]
    assert again.suggest("b") is None
    again.on_trial_complete("a", ended(60))
    assert again.suggest("b") == Searcher.FINISHED


def test_an_extended_sweep_counts_anew(searcher: Searchers) -> None:
    train(searcher(2), 50, 60, 60)
    assert searcher(2).pending == 0
    train(searcher(2, trials=12), 60)
    assert searcher(2, trials=12).pending == 8
    train(searcher(2, trials=12), 49.5)
    assert searcher(2, trials=12).pending == 0  # the best of before counts


def test_a_continued_trial_counts_for_what_it_is_trained_further(searcher: Searchers) -> None:
    train(searcher(9, trials=2), 50, 60)
    further = searcher(1, trials=2, max_kimg=20)
    assert further.continue_best(10, 1) == ["s-00000", "s-00001"]
    assert further.suggest("a")["number"] == 0  # type: ignore[index]
    further.on_trial_complete("a", ended(49.5, kimg=20))
    assert further.patience is not None
    assert further.patience.used == 10
    assert isinstance(further.suggest("b"), dict)  # 10 of 20


def test_a_restart_that_judges_earlier_trials_waits_for_the_tag_classifier(
    tmp_path: Path, faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the floor of tag accuracies would lack the accuracy of a classifier that is trained beside the trials."""
    beside = []

    def stop(*_: Any, **options: Any) -> None:
        beside.append(options["beside"])
        raise UserError("enough")

    monkeypatch.setattr(run, "prepare", stop)

    def start(patience: int | None) -> None:
        with pytest.raises(UserError, match="enough"):
            run_sweep(tiny_settings(tmp_path, faces, "again", patience=patience))

    start(2)
    optuna.create_study(study_name="again", storage=Home.find(tmp_path).study).ask()
    start(None)
    start(2)
    assert beside == [True, True, False]


@pytest.mark.slow
def test_sweeps_end_when_nothing_moves(
    home_with_classifier: Path, faces: Path, local_ray: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two learning rates that train nothing: no trial is better than the recipe by more than its noise."""
    name, frozen = "patient", ("optimizer.generator_lr=1e-8", "optimizer.discriminator_lr=1e-8")
    fixed = tiny_settings(home_with_classifier, faces, name).fix
    settings = tiny_settings(
        home_with_classifier, faces, name, trials=7, max_kimg=1, eval_kimg=None, samples=64, scheduler="none",
        objectives="distance", sampler="random", patience=2, fix=(*fixed, *frozen), concurrent=1,
    )  # fmt: skip
    first = sweep(settings)
    done = len(first.runs())
    assert (first.status, done < 7) == ("complete", True)
    low = min(run.data.metrics["distance"] for run in first.runs())
    said = " ".join(first.printed.split())
    assert "patience: the best distance has not moved by more than its noise for the training of 2 trials" in said
    assert float(said.partition("a distance below ")[2].split(". ")[0]) < low + 1e-3
    assert first.runs("sweep")[0].data.tags["gansweep.status"] == "complete"

    again = sweep(resume_settings(name, home_with_classifier))
    assert len(again.runs()) == done
    assert "patience: the best distance has not moved" in again.printed
    assert main(["extend", name, "--trials", "1", "--home", str(home_with_classifier)]) == 0
    assert done < len(again.runs()) <= 8
    more = sweep(resume_settings(name, home_with_classifier, patience=1000))
    assert (more.status, len(more.runs())) == ("complete", 8)
    assert "patience:" not in more.printed


@pytest.mark.slow
def test_a_larger_patience_trains_all(home_with_classifier: Path, faces: Path, local_ray: None) -> None:
    settings = tiny_settings(
        home_with_classifier, faces, "restless", trials=3, max_kimg=1, eval_kimg=None, scheduler="none", patience=3
    )
    swept = sweep(dataclasses.replace(settings, sampler="random"))
    assert (swept.status, len(swept.runs())) == ("complete", 3)
    assert "patience:" not in swept.printed
