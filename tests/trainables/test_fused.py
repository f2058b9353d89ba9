"""Trials trained as one: each has the numbers it has alone, whatever its neighbours do."""

import pytest
import torch

from tests.support.recipes import RECIPES, recipe_loop
from trainables.fused import FusedLoop
from trainables.loop import TrainingLoop
from trainables.streams import Stream

SCALARS = [
    {"optimizer__generator_lr": 1e-4, "losses__tag_weight": 0.5, "losses__adversarial_weight": 2.0},
    {"optimizer__discriminator_lr": 5e-4, "optimizer__beta1": 0.3, "losses__penalty_weight": 3.0},
    {"optimizer__beta2": 0.9, "training__ema_decay": 0.9, "optimizer__decay": "linear", "training__flip": True},
]
"""What fused trials may differ in, one set for each of three."""


@pytest.fixture(autouse=True)
def float64():
    """So that what differs beyond rounding shows."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def loops_of(name: str, changes: list[dict], **more) -> list[tuple[TrainingLoop, Stream]]:
    """A loop of each set of changes, on a seed of its own, with the stream that its networks have begun."""
    made = []
    for seed, own in enumerate(changes):
        loop = recipe_loop(name, seed, **{**own, **more})
        made.append((loop, Stream(loop.device)))
    return made


def alone(pairs: list[tuple[TrainingLoop, Stream]], images: int) -> list[dict]:
    figures = []
    for loop, stream in pairs:
        with stream.active():
            figures.append(loop.train_until(images))
    return figures


def together(pairs: list[tuple[TrainingLoop, Stream]], images: int, **more) -> list:
    loops, streams = zip(*pairs, strict=True)
    return FusedLoop(loops, streams).train_until(images, **more)


def states(loop: TrainingLoop) -> list[torch.Tensor]:
    """All that training changes, moments of the optimisers and running statistics among it."""
    networks = [*loop.generator.state_dict().values(), *loop.discriminator.state_dict().values()]
    networks += loop.average.state_dict().values()
    for optimizer in (loop.generator_optimizer, loop.discriminator_optimizer):
        networks += [value for one in optimizer.state_dict()["state"].values() for value in one.values()]
    return networks


def largest_difference(one: TrainingLoop, other: TrainingLoop) -> float:
    return max((a.double() - b.double()).abs().max().item() for a, b in zip(states(one), states(other), strict=True))


def require_equal(fused, single, figures_fused, figures_single) -> None:
    for (one, stream), (other, own) in zip(fused, single, strict=True):
        assert largest_difference(one, other) < 1e-8
        assert (one.images, one.updates) == (other.images, other.updates)
        with stream.active():
            drawn = torch.rand(4)
        with own.active():
            assert torch.equal(drawn, torch.rand(4))
    for one, other in zip(figures_fused, figures_single, strict=True):
        assert one.keys() == other.keys()
        for name in one.keys() - {"images_per_second"}:
            assert one[name] == pytest.approx(other[name], abs=1e-6, rel=1e-6), name


@pytest.mark.parametrize("name", RECIPES)
def test_every_system_has_the_numbers_it_has_alone(name) -> None:
    fused, single = (loops_of(name, SCALARS) for _ in range(2))
    images = 80 * fused[0][0].config.updates.discriminator_steps  # ten updates
    require_equal(fused, single, together(fused, images), alone(single, images))
    assert largest_difference(fused[0][0], fused[1][0]) > 1e-3
