"""StarGAN's losses by hand, and what it is asked for."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.support.tiny import random_data, random_labels, same, tiny_translator
from trainables.data.tags import UNKNOWN
from trainables.systems.stargan import StarGan
from trainables.systems.system import Batch
from trainables.training.loop import TrainingData, TrainingLoop

SIZES = (3, 2, 4)
TARGETS = (0, 2)


def make(**changes) -> StarGan:
    torch.manual_seed(0)
    return StarGan(tiny_translator("stargan", **changes), SIZES, TARGETS)


def batch(count: int = 5) -> Batch:
    torch.manual_seed(1)
    labels, tags = (torch.from_numpy(random_labels(count, SIZES, seed)) for seed in (2, 3))
    return Batch(torch.rand(count, 3, 16, 16) * 2 - 1, labels, torch.empty(0), tags)


def cross_entropy(logits: list[Tensor], labels: Tensor) -> float:
    """Summed over the target groups, each a mean over the images whose tag is known."""
    total = 0.0
    for place, head in zip(TARGETS, logits, strict=True):
        scores, wanted = head.detach().double().numpy(), labels[:, place].numpy()
        rows = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(wanted)), wanted]
        total += rows[wanted != UNKNOWN].mean()
    return total


WEIGHTS = {
    "losses__adversarial": "lsgan", "losses__adversarial_weight": 2, "losses__tag_weight": 3, "losses__cycle_weight": 5,
}  # fmt: skip


@pytest.mark.parametrize("identity", [0.0, 7.0])
def test_the_generator_should_fool_be_classified_and_come_back(identity) -> None:
    system, given = make(**WEIGHTS, losses__identity_weight=identity), batch()
    loss = system.generator_loss(given)
    generator = system.generator
    translated = generator(given.images, given.tags)
    judged = system.discriminator(translated)
    adversarial = ((judged.realness.detach().double().numpy() - 1) ** 2).mean()
    tags = cross_entropy(judged.tags, given.tags)
    cycle = (generator(translated, given.labels) - given.images).abs().mean().item()
    expected = 2 * adversarial + 3 * tags + 5 * cycle
    if identity:
        same_again = (generator(given.images, given.labels) - given.images).abs().mean().item()
        assert loss.figures["g_identity_loss"].item() == pytest.approx(same_again, rel=1e-5)
        expected += 7 * same_again
    assert loss.figures["g_adversarial_loss"].item() == pytest.approx(adversarial, rel=1e-5)
    assert loss.figures["g_tag_loss"].item() == pytest.approx(tags, rel=1e-5)
    assert loss.figures["g_cycle_loss"].item() == pytest.approx(cycle, rel=1e-5)
    assert loss.total.item() == pytest.approx(expected, rel=1e-5)
    assert ("g_identity_loss" in loss.figures) is bool(identity)


@pytest.mark.parametrize("on_fakes", [False, True])
def test_the_discriminator_classifies_real_images(on_fakes) -> None:
    system, given = make(**WEIGHTS, losses__tag_loss_on_fakes=on_fakes), batch()
    real, fake = system.discriminator_losses(given)
    judged = system.discriminator(given.images)
    scores = judged.realness.detach().double().numpy()
    tags = cross_entropy(judged.tags, given.labels)
    assert real.figures["d_tag_loss_real"].item() == pytest.approx(tags, rel=1e-5)
    assert real.total.item() == pytest.approx(2 * ((scores - 1) ** 2).mean() + 3 * tags, rel=1e-5)
    judged = system.discriminator(system.generator(given.images, given.tags))
    scores = judged.realness.detach().double().numpy()
    expected = 2 * (scores**2).mean() + 3 * on_fakes * cross_entropy(judged.tags, given.tags)
    assert fake.total.item() == pytest.approx(expected, rel=1e-5)


def test_a_generator_that_changes_nothing_has_no_cycle_loss() -> None:
    class Same(nn.Module):
        def forward(self, images: Tensor, labels: Tensor) -> Tensor:
            return images

    system = make()
    system.generator = Same()
    assert system.generator_loss(batch()).figures["g_cycle_loss"].item() == 0


def test_wasserstein_objective_and_penalty() -> None:
    changes = {"losses__adversarial": "wgan", "losses__penalty": "wgan_gp", "losses__tag_weight": 0.0}
    system, given = make(**changes, updates__split_discriminator=False), batch()
    (loss,) = system.discriminator_losses(given)
    fake = system.generator(given.images, given.tags)
    difference = system.discriminator(fake).realness.mean() - system.discriminator(given.images).realness.mean()
    penalty = loss.figures["d_gradient_penalty"].item()
    assert penalty > 0
    assert loss.total.item() == pytest.approx(difference.item() + 10 * penalty, rel=1e-5)


def test_masked_tags_weigh_nothing() -> None:
    system, given = make(), batch()
    masked = Batch(given.images, torch.full_like(given.labels, UNKNOWN), given.noise, given.tags)
    real, _ = system.discriminator_losses(masked)
    assert real.figures["d_tag_loss_real"].item() == 0.0


def loop(seed: int = 0, domains: tuple[Tensor, ...] = (), **changes) -> TrainingLoop:
    torch.manual_seed(seed)
    data = random_data(masked=4)
    config = tiny_translator("stargan", updates__discriminator_steps=2, **changes)
    system = StarGan(config, (3, 2), (0, 1))
    return TrainingLoop(system, TrainingData(data.images, data.labels, data.tags, domains), config, budget=160)


def test_images_without_a_target_tag_are_not_drawn() -> None:
    training, unsorted = loop(domains=(torch.arange(4, 32),)), loop()
    seen = [torch.cat([one._draw_batch().labels for _ in range(20)]) for one in (training, unsorted)]
    assert seen[0].min() >= 0
    assert seen[1].min() == UNKNOWN


def test_saved_and_loaded_training_goes_on_bit_for_bit() -> None:
    whole = loop(optimizer__decay="linear")
    whole.train_until(80)
    state = copy.deepcopy(whole.state_dict())
    whole.train_until(160)
    other = loop(seed=9, optimizer__decay="linear")
    other.load_state_dict(state)
    other.train_until(160)
    assert same(other.state_dict(), whole.state_dict())


def test_the_generator_is_asked_for_tags_of_the_data_and_back_for_its_own() -> None:
    system, given, asked = make(), batch(), []
    system.generator.register_forward_pre_hook(lambda _, inputs: asked.append(inputs[1]))
    system.generator_loss(given)
    list(system.discriminator_losses(given))
    assert [torch.equal(one, given.labels) for one in asked] == [False, True, False]
    assert [torch.equal(one, given.tags) for one in asked] == [True, False, True]
