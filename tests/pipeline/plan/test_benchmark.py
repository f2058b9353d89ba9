"""How the updates of a trial are timed, on a clock that they alone move."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import pipeline.plan.benchmark as measuring

PARAMS = {"system": "acgan", "training.batch_size": 50, "updates.discriminator_steps": 2}


class Loop:
    """Takes 7 s for each of the first updates of 100 images, and ``seconds`` for each later one."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.now = seconds, 1e6
        self.images_seen = self.updates = 0

    def train_until(self, images: int) -> None:
        while self.images_seen < images:
            self.now += self.seconds if self.updates >= measuring.WARM_UP else 7.0
            self.images_seen, self.updates = self.images_seen + 100, self.updates + 1


@pytest.mark.parametrize(
    ("seconds", "timed"),
    [(0.25, 6), (60.0, measuring.LEAST), (2.0**-10, measuring.MOST), (0.0, measuring.MOST)],  # 6 are 1.5 s
)
def test_an_update_is_the_mean_of_as_many_as_take_a_second_or_two(
    seconds: float, timed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = Loop(seconds)
    monkeypatch.setattr(measuring, "time", SimpleNamespace(perf_counter=lambda: loop.now))
    trial: Any = SimpleNamespace(loop=loop, config=SimpleNamespace(to_params=lambda: PARAMS))
    assert measuring._seconds_per_update(trial) == seconds
    assert loop.updates == measuring.WARM_UP + 1 + timed
