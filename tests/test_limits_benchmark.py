"""What ``benchmarks.steps`` says of the limits of a device."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import limits, steps
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


class Profile:
    """A profile of a step of 5 s by hand: 3 s in products, 0.5 and 1 s in other operations, the rest in none."""

    def __init__(self, **options: object) -> None: ...

    def __enter__(self) -> Profile:
        return self

    def __exit__(self, *error: object) -> None: ...

    def key_averages(self) -> list[SimpleNamespace]:
        seconds = {"aten::mm": 1.0, "aten::mkldnn_convolution": 2.0, "aten::copy_": 0.5, "aten::sigmoid": 1.0}
        return [SimpleNamespace(key=key, self_cpu_time_total=1e6 * taken) for key, taken in seconds.items()]


def test_losses_are_shares_of_the_time_by_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The counted operations would take half of the step, its products take 3 of 5 s."""
    calls: list[int] = []
    clock = iter([100.0, 105.0])
    monkeypatch.setattr(limits, "profile", Profile)
    monkeypatch.setattr(limits.time, "perf_counter", lambda: next(clock))
    losses = largest_losses(lambda: calls.append(1), 0.5, steps=4, count=5)
    assert losses == pytest.approx({"sigmoid": 0.2, OUTSIDE: 0.1, SLOW_PRODUCTS: 0.1, "copy_": 0.1})
    assert next(iter(losses)) == "sigmoid"
    assert len(calls) == 8  # the first four only allocate


def test_a_real_profile_names_the_operations() -> None:
    left, right = torch.randn(2, 300, 300)
    losses = largest_losses(lambda: (torch.mm(left, right), left.digamma()), 0.0, steps=1, count=99)
    assert {SLOW_PRODUCTS, "digamma", OUTSIDE} <= set(losses)
    assert sum(losses.values()) == pytest.approx(1)


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
    found = steps.find_limits(config, data, seconds)
    rate = found["flops_per_image"] * 12 / 2
    assert found["flops_per_second"] == pytest.approx(rate)
    assert found["share_of"][MATRIX] == pytest.approx(rate / FLOPS[MATRIX])
    assert found["share_of"][CONVOLUTION] == pytest.approx(rate / FLOPS[CONVOLUTION] / 2)
    assert len(found["losses"]) == 3
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
