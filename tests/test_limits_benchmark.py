"""What ``benchmarks.steps`` says of the limits of a device."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import steps
from benchmarks.limits import CONVOLUTION, FLOPS, MATRIX, SLOW_PRODUCTS, large_products, largest_losses
from search_spaces.registry import SPACES
from trainables.config import GanConfig


def test_operations_of_the_large_products_are_those_that_torch_counts() -> None:
    for name, call in large_products("cpu").items():
        with FlopCounterMode(display=False) as counter:
            call()
        assert counter.get_total_flops() == FLOPS[name]


def test_losses_are_shares_of_the_time_by_operation() -> None:
    left, right = torch.randn(2, 400, 400)
    for ideal in (0.0, 0.6):
        losses = largest_losses(lambda: torch.mm(left, right), ideal, count=1)
        assert losses == {SLOW_PRODUCTS: pytest.approx(1 - ideal, abs=0.05)}
    many = torch.rand(4_000_000)
    losses = largest_losses(lambda: (many.digamma(), many.lgamma()), 0.0, count=2)
    assert set(losses) == {"digamma", "lgamma"}
    assert sum(losses.values()) == pytest.approx(1.0, abs=0.2)


def test_a_rate_counts_every_image_of_an_update() -> None:
    tiny = {"image_size": 16, "generator.width": 8, "discriminator.width": 8, "training.batch_size": 4}
    config = GanConfig.from_params({**SPACES["dcgan"].recipe, **tiny, "updates.discriminator_steps": 3})
    data, images = steps.random_data(config, "cpu"), 4 * 3
    seconds = {steps.OURS: 2.0, MATRIX: 1.0, CONVOLUTION: 0.5}
    limits = steps.find_limits(config, data, seconds, "cpu")
    rate = limits["flops_per_image"] * images / 2
    assert limits["flops_per_second"] == pytest.approx(rate)
    assert limits["share_of"][MATRIX] == pytest.approx(rate / FLOPS[MATRIX])
    assert limits["share_of"][CONVOLUTION] == pytest.approx(rate / FLOPS[CONVOLUTION] / 2)
    assert len(limits["losses"]) == 3
    line = steps.describe_limits({"flops_per_image": 2e6, "flops_per_second": 3.5e9, "losses": {"copy_": 0.25},
                                  "share_of": {MATRIX: 0.5, CONVOLUTION: 0.4}})  # fmt: skip
    assert all(word in line for word in ("2 Mflop", "3.5 Gflop/s", "50% of the matrix", "40% of the conv", "copy_ 25%"))
