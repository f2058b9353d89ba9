"""CycleGAN's losses by hand, its two domains, its pools, and training that goes on as if it had never stopped."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.support.tiny import random_data, same, tiny_translator
from trainables.errors import UsageError
from trainables.systems.cyclegan import CycleGan
from trainables.systems.system import Batch
from trainables.training.loop import TrainingData, TrainingLoop

SIZES = (3, 2)
EYES = 1


class Scale(nn.Module):
    """A translator that multiplies."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, images: Tensor) -> Tensor:
        return self.factor * images


def make(**changes) -> CycleGan:
    torch.manual_seed(0)
    return CycleGan(tiny_translator(**changes), SIZES, (EYES,))


def scaled(to_b: float, to_a: float, **changes) -> CycleGan:
    system = make(**changes)
    system.generator.a_to_b, system.generator.b_to_a = Scale(to_b), Scale(to_a)
    return system


def batch(count: int = 3) -> Batch:
    """``count`` images of A, then of B."""
    torch.manual_seed(1)
    empty = torch.empty(0)
    return Batch(torch.rand(2 * count, 3, 16, 16) * 2 - 1, empty, empty, empty)


def two_domains() -> TrainingData:
    """16 images of A and 12 of B."""
    data = random_data()
    return TrainingData(
        data.images, data.labels, data.tags,
        tuple((data.labels[:, EYES] == label).nonzero()[4 * label :, 0] for label in range(2)),
    )  # fmt: skip


def loop(seed: int = 0, **changes) -> TrainingLoop:
    torch.manual_seed(seed)
    config = tiny_translator(**changes)
    return TrainingLoop(CycleGan(config, SIZES, (EYES,)), two_domains(), config, budget=160)


def realness(system: CycleGan, domain: int, images: Tensor) -> np.ndarray:
    return system.discriminator[domain](images).realness.detach().double().numpy()


def test_the_cycle_of_identical_networks_costs_nothing() -> None:
    figures = scaled(1.0, 1.0, losses__identity_weight=5).generator_loss(batch()).figures
    assert figures["g_cycle_loss"].item() == figures["g_identity_loss"].item() == 0


def test_cycle_and_identity_by_hand() -> None:
    given = batch()
    a, b = (part.abs().mean().item() for part in given.images.chunk(2))
    system = scaled(2.0, 0.25, losses__identity_weight=5, losses__cycle_weight=3, losses__adversarial_weight=2)
    loss = system.generator_loss(given)
    cycle = (a + b) / 4  # there and back is half the image
    identity = (1.0 * b + 0.75 * a) / 2
    assert loss.figures["g_cycle_loss"].item() == pytest.approx(cycle, rel=1e-5)
    assert loss.figures["g_identity_loss"].item() == pytest.approx(identity, rel=1e-5)
    adversarial = loss.figures["g_adversarial_loss"].item()
    assert loss.total.item() == pytest.approx(2 * adversarial + 3 * cycle + 5 * identity, rel=1e-5)
    assert loss.figures["g_loss"].item() == loss.total.item()


def test_without_weight_there_is_no_identity_loss() -> None:
    system = make()
    calls = []
    system.generator.a_to_b.register_forward_hook(lambda *_: calls.append(1))
    assert "g_identity_loss" not in system.generator_loss(batch()).figures
    assert len(calls) == 2  # there, and back from B


def log1p_exp(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, x)


@pytest.mark.parametrize(
    ("kind", "wants_real", "wants_fake"),
    [
        ("lsgan", lambda s: ((s - 1) ** 2).mean(), lambda s: (s**2).mean()),
        ("bce", lambda s: log1p_exp(-s).mean(), lambda s: log1p_exp(s).mean()),
    ],
)
def test_adversarial_losses_by_hand_over_every_patch(kind, wants_real, wants_fake) -> None:
    system, given = scaled(0.5, -0.5, losses__adversarial=kind, losses__adversarial_weight=2), batch()
    a, b = given.images.chunk(2)
    to_a, to_b = -0.5 * b, 0.5 * a
    loss = system.generator_loss(given)
    expected = (wants_real(realness(system, 0, to_a)) + wants_real(realness(system, 1, to_b))) / 2
    assert loss.figures["g_adversarial_loss"].item() == pytest.approx(expected, rel=1e-5)
    real, fake = system.discriminator_losses(given)
    expected = (wants_real(realness(system, 0, a)) + wants_real(realness(system, 1, b))) / 2
    assert real.total.item() == pytest.approx(2 * expected, rel=1e-5)
    assert real.figures["d_adversarial_loss_real"].item() == pytest.approx(expected, rel=1e-5)
    expected = (wants_fake(realness(system, 0, to_a)) + wants_fake(realness(system, 1, to_b))) / 2
    assert fake.total.item() == pytest.approx(2 * expected, rel=1e-5)


def test_a_critics_penalty_is_of_its_mean_score() -> None:
    """A discriminator that is replaced by a fixed sum of pixels has a known slope."""

    class Sum(nn.Module):
        def forward(self, images: Tensor):
            total = images.sum(dim=(1, 2, 3))
            return type("J", (), {"realness": torch.stack([3 * total, total], dim=1)[:, :, None]})

    changes = {"losses__adversarial": "wgan", "losses__penalty": "wgan_gp", "losses__penalty_weight": 7.0}
    system, given = make(**changes), batch()
    system.discriminator = nn.ModuleList([Sum(), Sum()])
    real, _ = system.discriminator_losses(given)
    slope = 2 * (3 * 16 * 16) ** 0.5  # the mean score is twice the sum
    assert real.figures["d_gradient_penalty"].item() == pytest.approx((slope - 1) ** 2, rel=1e-4)
    expected = -2 * given.images.sum(dim=(1, 2, 3)).mean().item() + 7 * (slope - 1) ** 2
    assert real.total.item() == pytest.approx(expected, rel=1e-4)


def test_split_takes_two_losses_and_joint_their_sum_in_one() -> None:
    split = list(make(updates__split_discriminator=True).discriminator_losses(batch()))
    joint = list(make(updates__split_discriminator=False).discriminator_losses(batch()))
    assert (len(split), len(joint)) == (2, 1)
    assert joint[0].total.item() == pytest.approx(sum(loss.total.item() for loss in split), rel=1e-6)


def test_discriminators_see_the_pool_and_generators_what_is_new(monkeypatch) -> None:
    system, given = make(training__pool_size=2), batch()
    seen: list[list[Tensor]] = [[], []]
    for domain, network in enumerate(system.discriminator):
        network.register_forward_pre_hook(lambda _, inputs, domain=domain: seen[domain].append(inputs[0].detach()))
    old = [torch.full((3, 3, 16, 16), value) for value in (0.25, 0.75)]
    for pool, images in zip(system.pools, old, strict=True):
        monkeypatch.setattr(pool, "exchange", lambda new, images=images: images)
    list(system.discriminator_losses(given))
    system.generator_loss(given)
    for domain, (real, fake, ours) in enumerate(seen):
        assert torch.equal(real, given.images.chunk(2)[domain])
        assert torch.equal(fake, old[domain])
        assert not torch.equal(ours, old[domain])


def test_images_on_their_way_to_a_are_made_of_b() -> None:
    system, given = scaled(2.0, 0.25, training__pool_size=50), batch()
    list(system.discriminator_losses(given))
    a, b = given.images.chunk(2)
    assert torch.equal(system.pools[0].images, 0.25 * b)
    assert torch.equal(system.pools[1].images, 2.0 * a)


@pytest.mark.parametrize(
    ("sizes", "targets", "says"),
    [((12, 11), (0, 1), "2, of 12 and 11 classes"), ((3, 2), (0,), "1, of 3 classes"), ((2, 2), (0, 1), "2, of 2 and")],
)
def test_it_needs_one_group_of_two_classes(sizes, targets, says) -> None:
    with pytest.raises(UsageError, match=f"two classes of one tag group; .* change {says}.*--domain-a and --domain-b"):
        CycleGan(tiny_translator(), sizes, targets)


def test_each_domain_is_drawn_from_its_own_images_in_equal_numbers() -> None:
    training, seen = loop(), []
    for name in ("discriminator_losses", "generator_loss"):
        setattr(training.system, name, _recording(getattr(training.system, name), seen))
    training.train_until(2 * 16)
    assert len(seen) == 4  # two updates, each with a batch for either network
    for given in seen:
        assert given.images.shape == (16, 3, 16, 16)
        assert given.labels[:, EYES].tolist() == [0] * 8 + [1] * 8
    assert training.images_seen == 32
    assert [len(domain) for domain in training.data.domains] == [16, 12]


def _recording(ordinary: Callable[[Batch], Any], seen: list[Batch]) -> Callable[[Batch], Any]:
    def record(given: Batch) -> Any:
        seen.append(given)
        return ordinary(given)

    return record


@pytest.mark.parametrize("learner", ["generator", "discriminator"])
def test_a_step_changes_its_own_network_alone(learner) -> None:
    training = loop(losses__identity_weight=1)
    other = "discriminator" if learner == "generator" else "generator"
    getattr(training, f"{other}_optimizer").step = lambda: None
    before = {name: [p.clone() for p in getattr(training, name).parameters()] for name in (learner, other)}
    training.train_until(5 * 16)
    changed = {
        name: [not torch.equal(old, new) for old, new in zip(values, getattr(training, name).parameters(), strict=True)]
        for name, values in before.items()
    }
    assert not any(changed[other])
    assert all(changed[learner])


def test_figures_are_those_of_the_other_systems_and_two_more() -> None:
    figures = loop(losses__identity_weight=1).train_until(160)
    assert all(np.isfinite(value) for value in figures.values())
    assert set(figures) == {
        "d_adversarial_loss_real", "d_adversarial_loss_fake", "d_score_real", "d_score_fake", "d_loss_real",
        "d_loss_fake", "d_at_floor_real", "d_at_floor_fake", "d_sign_real", "g_adversarial_loss", "g_cycle_loss",
        "g_identity_loss", "g_loss", "d_gradient_norm", "g_gradient_norm", "images_per_second",
    }  # fmt: skip


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_saved_and_loaded_training_goes_on_bit_for_bit_with_its_pool(decay) -> None:
    changes = {
        "training__pool_size": 12, "training__ema_decay": decay, "optimizer__decay": "linear",
        "losses__identity_weight": 1.0, "updates__generator_steps": 2,
    }  # fmt: skip
    whole = loop(**changes)
    whole.train_until(80)
    file = io.BytesIO()
    torch.save(whole.state_dict(), file)
    whole.train_until(160)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert [len(images) for images in state["system"]["pools"]] == [12, 12]
    other = loop(seed=9, **changes)
    other.load_state_dict(state)
    other.train_until(160)
    assert same(other.state_dict(), whole.state_dict())
    empty = loop(seed=9, **changes)
    empty.load_state_dict({**state, "system": {"pools": [None, None]}})
    empty.train_until(160)
    assert not same(empty.state_dict(), whole.state_dict())


def test_it_learns_to_move_from_dark_to_light() -> None:
    """Domains of plain dark and plain light images: each direction must end in the other's brightness."""
    torch.manual_seed(0)
    greys = torch.cat([torch.randint(20, 60, (32,)), torch.randint(190, 230, (32,))])
    pixels = greys[:, None, None, None].expand(-1, 16, 16, 3).to(torch.uint8)
    labels = torch.zeros(64, 2, dtype=torch.int64)
    labels[32:, EYES] = 1
    data = TrainingData(pixels, labels, labels, (torch.arange(32), torch.arange(32, 64)))
    config = tiny_translator(generator__width=4, discriminator__width=4, generator__norm="none",
                             discriminator__norm="none", optimizer__generator_lr=2e-3,
                             optimizer__discriminator_lr=2e-3, generator__init="lecun",
                             discriminator__init="lecun", losses__cycle_weight=1.0)  # fmt: skip
    training = TrainingLoop(CycleGan(config, SIZES, (EYES,)), data, config)
    training.train_until(2400)
    images = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        translated = training.generator.eval()(images, 1 - labels)
    assert translated[:32].mean().item() == pytest.approx(images[32:].mean().item(), abs=0.25)
    assert translated[32:].mean().item() == pytest.approx(images[:32].mean().item(), abs=0.25)
