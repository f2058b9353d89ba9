"""Operations of training by hand, for the smallest networks, and against updates of the training loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from tests.support.tiny import random_data, tiny_config, tiny_translator
from trainables.systems.build import build_system
from trainables.training.flops import _FlopCounter, flops_per_image
from trainables.training.loop import TrainingLoop

WIDTH, NOISE = 2, 4
PLAIN: dict[str, Any] = {
    "system": "dcgan", "generator__architecture": "dcgan", "generator__conditioning": "none",
    "discriminator__architecture": "dcgan", "discriminator__conditioning": "none",
}  # fmt: skip
# Multiply-accumulates of a forward pass on one image of 16 px, by layer.
G = [NOISE * 2 * WIDTH * 4 * 4, 2 * WIDTH * WIDTH * 4 * 4 * 4 * 4, WIDTH * 3 * 4 * 4 * 8 * 8]
D = [3 * WIDTH * 4 * 4 * 8 * 8, WIDTH * 2 * WIDTH * 4 * 4 * 4 * 4, 2 * WIDTH * 4 * 4]
# The gradients of weights and of inputs take a forward pass each; those of noise and of images shown to the
# discriminator are not asked for, nor are those of its weights in the generator's step.
DISCRIMINATOR_STEP = sum(G) + 2 * (3 * sum(D) - D[0])
GENERATOR_STEP = 3 * sum(G) - G[0] + 2 * sum(D)


@pytest.mark.parametrize(("d_steps", "g_steps"), [(1, 1), (3, 1), (2, 5)])
def test_operations_of_a_dcgan_by_hand(d_steps: int, g_steps: int) -> None:
    steps = {"updates__discriminator_steps": d_steps, "updates__generator_steps": g_steps}
    config = tiny_config(**PLAIN, **steps)
    update = d_steps * DISCRIMINATOR_STEP + g_steps * GENERATOR_STEP
    assert flops_per_image(config, (3, 2)) == pytest.approx(2 * update / d_steps)


def test_learning_rates_and_batches_change_no_operations_and_widths_do() -> None:
    one = flops_per_image(tiny_config(), (3, 2))
    assert flops_per_image(tiny_config(optimizer__generator_lr=0.1, training__batch_size=32), (3, 2)) == one
    assert flops_per_image(tiny_config(discriminator__width=4), (3, 2)) > one


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_operations_of_grouped_convolutions_by_hand(groups: int, transposed: bool) -> None:
    images = torch.ones(3, 4, 6, 6, requires_grad=True)
    weights = torch.ones((4, 8 // groups, 2, 2) if transposed else (8, 4 // groups, 2, 2), requires_grad=True)
    convolve = F.conv_transpose2d if transposed else F.conv2d
    with _FlopCounter() as counter:
        convolve(images, weights, stride=2, groups=groups).sum().backward()
    places = 6 * 6 if transposed else 3 * 3
    assert counter.total == 3 * 2 * 3 * places * 4 * 8 // groups * 2 * 2  # output, both gradients


@pytest.mark.parametrize("every", [1, 4])
def test_lazy_penalties_count_by_the_share_of_steps_that_have_them(every: int) -> None:
    steps = {"updates__discriminator_steps": 2, "losses__penalty_every": every, "training__batch_size": 2}
    config = tiny_config(**PLAIN, losses__penalty="r1", **steps)
    loop = TrainingLoop(build_system(config, (3, 2)), random_data(), config)
    with _FlopCounter() as counter:
        loop.train_until(every * loop.images_per_update)
    assert flops_per_image(config, (3, 2)) == pytest.approx(counter.total / loop.images_seen)
    without = tiny_config(**PLAIN, updates__discriminator_steps=2)
    assert flops_per_image(config, (3, 2)) > flops_per_image(without, (3, 2))


@pytest.mark.parametrize("system", ["cyclegan", "stargan"])
def test_operations_of_systems_that_translate_are_those_of_their_updates(system: str) -> None:
    config = tiny_translator(system, training__batch_size=2)
    data = random_data()
    domains = 2 if system == "cyclegan" else 1
    data = type(data)(data.images, data.labels, data.tags, tuple(torch.arange(4) for _ in range(domains)))
    loop = TrainingLoop(build_system(config, (3, 2), (1,)), data, config)
    with _FlopCounter() as counter:
        loop.train_until(1)
    assert flops_per_image(config, (3, 2), (1,)) == pytest.approx(counter.total / loop.images_seen)


def test_counting_leaves_the_random_state() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    flops_per_image(tiny_config(generator__width=3), (3, 2))
    assert torch.equal(torch.rand(2), expected)
