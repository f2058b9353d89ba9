"""What ``benchmarks.steps`` says of the limits of a device."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import steps
from benchmarks.limits import CONVOLUTION, FLOPS, MATRIX, OUTSIDE, SLOW_PRODUCTS, large_products, largest_losses
from search_spaces.registry import SPACES
from trainables.config import GanConfig
from trainables.systems.conditional import ConditionalGan
from trainables.training.loop import TrainingLoop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainables.systems.system import Batch, Loss


def test_operations_of_the_large_products_are_those_that_torch_counts() -> None:
    for name, call in large_products().items():
        with FlopCounterMode(display=False) as counter:
            call()
        assert counter.get_total_flops() == FLOPS[name]


def test_losses_are_shares_of_the_time_by_operation() -> None:
    left, right = torch.randn(2, 600, 600)
    for ideal in (0.0, 0.6):
        losses = largest_losses(lambda: torch.mm(left, right), ideal, steps=3, count=1)
        assert losses == {SLOW_PRODUCTS: pytest.approx(1 - ideal, abs=0.1)}
    many = torch.rand(4_000_000)
    losses = largest_losses(lambda: (many.digamma(), many.lgamma()), 0.0, steps=1, count=2)
    assert set(losses) == {"digamma", "lgamma"}
    assert sum(losses.values()) == pytest.approx(1.0, abs=0.2)


def test_what_no_operation_takes_is_outside_operations() -> None:
    calls: list[int] = []

    def step() -> None:
        calls.append(1)
        time.sleep(0.05 if len(calls) > 2 else 0.5)  # the first two only allocate
        torch.ones(2) + 1

    losses = largest_losses(step, 0.0, steps=2, count=1)
    assert losses == {OUTSIDE: pytest.approx(1.0, abs=0.1)}
    assert len(calls) == 4


@pytest.mark.parametrize("every", [1, 4])
def test_a_rate_counts_every_image_of_an_update(every: int) -> None:
    tiny = {"image_size": 16, "generator.width": 8, "discriminator.width": 8, "training.batch_size": 4,
            "updates.discriminator_steps": 3, "losses.penalty": "r1", "losses.penalty_every": every}  # fmt: skip
    config = GanConfig.from_params({**SPACES["dcgan"].recipe, **tiny})
    data = steps.random_data(config, "cpu")
    loop = TrainingLoop(steps.make_system(config, data), data, config)
    loop.train_until(1)
    assert loop.images_seen == 12
    seconds = {steps.OURS: 2.0, MATRIX: 1.0, CONVOLUTION: 0.5}
    limits = steps.find_limits(config, data, seconds)
    rate = limits["flops_per_image"] * 12 / 2
    assert limits["flops_per_second"] == pytest.approx(rate)
    assert limits["share_of"][MATRIX] == pytest.approx(rate / FLOPS[MATRIX])
    assert limits["share_of"][CONVOLUTION] == pytest.approx(rate / FLOPS[CONVOLUTION] / 2)
    assert len(limits["losses"]) == 3
    line = steps.describe_limits({"flops_per_image": 2e6, "flops_per_second": 3.5e9, "losses": {"copy_": 0.25},
                                  "share_of": {MATRIX: 0.5, CONVOLUTION: 0.4}})  # fmt: skip
    assert all(word in line for word in ("2 Mflop", "3.5 Gflop/s", "50% of the matrix", "40% of the conv", "copy_ 25%"))


def test_the_straightforward_step_takes_penalties_as_often_as_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = {"image_size": 16, "generator.width": 8, "discriminator.width": 8, "training.batch_size": 4}
    config = GanConfig.from_params({**SPACES["lightgan"].recipe, **tiny, "losses.penalty_every": 3})
    scales: list[int] = []
    losses = ConditionalGan.discriminator_losses

    def noted(system: ConditionalGan, batch: Batch) -> Iterator[Loss]:
        scales.append(system.penalty_scale)
        return iter(losses(system, batch))

    monkeypatch.setattr(ConditionalGan, "discriminator_losses", noted)
    step = steps.plain_step(config, steps.random_data(config, "cpu"))
    steps.repeat(step, 7)()
    assert scales == [3, 0, 0, 3, 0, 0, 3]
