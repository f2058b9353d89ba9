"""A changed system clock affects no measured or limited duration."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.tune_adapters.time_limit import TimeLimitStopper
from tests.support.tiny import cheap_context, evaluations
from trainables.storage.storage import Storage
from trainables.training import loop
from trainables.trial.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trainables.scoring.scorer import Scorer
    from trainables.trial.context import TrialContext

PARAMS = {"generator.width": 2, "generator.noise_dim": 4, "discriminator.width": 2, "training.batch_size": 100}
HOUR = 3600.0


class Clock:
    """Advances ten seconds at every update, and jumps at one of them."""

    def __init__(self, jump: float, at: int) -> None:
        self.now, self.jump, self.at = 7e6, jump, at

    def __call__(self) -> float:
        return self.now

    def tick(self, update: int) -> None:
        self.now += 10 + self.jump * (update == self.at)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrialContext]:
    """One interval of 40 updates, after every fifth of which the state may be saved."""
    limits = {"checkpoint_seconds": 100, "max_seconds": HOUR}
    with (
        pytest.MonkeyPatch.context() as patch,
        cheap_context(tmp_path_factory.mktemp("cache"), evaluations(4, 4), **limits) as made,
    ):
        patch.setattr(loop, "CHECK_EVERY", 5)
        yield made


def run(context: TrialContext, folder: Path, clock: Clock) -> tuple[dict[str, Any], list[int]]:
    """The result of a trial, and the updates at which it saved its state."""
    trial = Trial(context, PARAMS, 1, Storage(str(folder), in_place=True), clock)
    update, save, saves = trial.loop._update, trial.save, []

    def ticking(figures: Any) -> None:
        update(figures)
        clock.tick(trial.loop.updates)

    def counting() -> None:
        saves.append(trial.loop.updates)
        save()

    trial.loop._update = ticking  # type: ignore[method-assign]
    trial.save = counting  # type: ignore[method-assign]
    return trial.step(), saves


@pytest.mark.parametrize(
    ("jump", "seconds", "saves"),
    [
        (0.0, 400.0, [10, 20, 30, 40, 40]),
        # Back: the state is saved at the next look; the five updates since the last one count for nothing.
        (-HOUR, 350.0, [10, 15, 25, 35, 40]),
        # Forward: it counts as time, and saves once more.
        (HOUR, 400.0 + HOUR, [10, 15, 25, 35, 40]),
    ],
)
def test_a_trial_outlasts_a_jump(
    context: TrialContext, tmp_path: Path, jump: float, seconds: float, saves: list[int]
) -> None:
    result, saved = run(context, tmp_path, Clock(jump, at=12))
    assert saved == saves
    assert result["seconds"] == seconds
    assert result["score_seconds"] >= 0
    assert "stopped" not in result
    assert "failure" not in result


def test_training_counts_apart_from_saving_and_scoring(
    context: TrialContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, save, score = Clock(0.0, at=0), Trial.save, type(context.scorer).score

    def slow_save(self: Trial) -> None:
        clock.now += 3
        save(self)

    def slow_score(self: Any, *given: Any, **options: Any) -> Any:
        clock.now += 25
        return score(self, *given, **options)

    monkeypatch.setattr(Trial, "save", slow_save)
    monkeypatch.setattr(type(context.scorer), "score", slow_score)
    result, saves = run(context, tmp_path, clock)
    assert len(saves) == 5
    assert (result["train_seconds"], result["score_seconds"]) == (400.0, 25.0)


def test_waiting_for_the_scorer_is_no_time_of_the_trial(context: TrialContext, tmp_path: Path) -> None:
    clock, waits = Clock(0.0, at=0), list[float]()

    def wait() -> Scorer:
        clock.now += 7000
        waits.append(clock.now)
        return context.scorer

    result, _ = run(replace(context, scoring=wait, max_seconds=1000.0), tmp_path, clock)
    assert len(waits) == 1
    assert (result["train_seconds"], result["seconds"], result["score_seconds"]) == (400.0, 400.0, 0.0)


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of day jumps an hour forward, then two back, at every other look."""
    true, jumps = time.time, itertools.cycle((0.0, HOUR, -HOUR))
    monkeypatch.setattr(time, "time", lambda: true() + next(jumps))


def test_the_time_of_day_limits_no_trial(context: TrialContext, set_clock: None, tmp_path: Path) -> None:
    limited = replace(context, max_seconds=600.0)
    result = Trial(limited, PARAMS, 1, Storage(str(tmp_path), in_place=True)).step()
    assert (result["kimg"], result["done"]) == (4, True)
    assert 0 < result["seconds"] < 600


def test_the_time_of_day_ends_no_sweep(set_clock: None) -> None:
    deadline = TimeLimitStopper(600.0)
    assert not any(deadline.stop_all() for _ in range(20))


def test_a_sweep_ends_when_its_time_is_over() -> None:
    now = [7e6]
    limited, endless = TimeLimitStopper(60.0, lambda: now[0]), TimeLimitStopper(None, lambda: now[0])
    ends = []
    for now[0] in (7e6, 7e6 + 59, 7e6 + 60, math.inf):
        ends.append((limited.stop_all(), endless.stop_all(), limited("trial", {})))
    assert ends == [(False, False, False), (False, False, False), (True, False, False), (True, False, False)]
