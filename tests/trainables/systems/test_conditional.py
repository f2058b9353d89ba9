"""The system: what each network minimises, by hand, and that neither step reaches into the other network."""

import numpy as np
import pytest
import torch

from tests.support.tiny import PAIR, random_data, tiny_config
from trainables.data.tags import UNKNOWN
from trainables.losses.tags import wrong_tags
from trainables.systems.conditional import ConditionalGan
from trainables.systems.system import Batch
from trainables.training.loop import TrainingLoop


def make(**changes) -> ConditionalGan:
    torch.manual_seed(0)
    return ConditionalGan(
        tiny_config(generator__embedding_noise=0, **{"losses__labels": "hard", **changes}), PAIR.sizes
    )


def batch(count: int = 6) -> Batch:
    random = torch.Generator().manual_seed(1)
    labels = torch.stack([torch.randint(size, (count,), generator=random) for size in PAIR.sizes], 1)
    images = torch.rand(count, 3, 16, 16, generator=random) * 2 - 1
    return Batch(images, labels, torch.randn(count, 4, generator=random), labels.flip(0))


def log1p_exp(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(x))


def cross_entropy(logits: torch.Tensor, wanted: torch.Tensor) -> float:
    scores = logits.detach().double().numpy()
    return float(np.mean(np.log(np.exp(scores).sum(1)) - scores[np.arange(len(scores)), wanted.numpy()]))


def by_hand(system: ConditionalGan, images, tags, *, real: bool) -> tuple[float, float]:
    """Adversarial and tag loss in numpy from what the discriminator says."""
    realness, heads = system.discriminator(images, system.encode(tags))
    adversarial = log1p_exp((-1 if real else 1) * realness.detach().double().numpy()).mean()
    return float(adversarial), sum(cross_entropy(head, tags[:, place]) for place, head in enumerate(heads))


def names(loss) -> set[str]:
    return set(loss.figures)


def test_the_generator_wants_to_be_called_real_and_tagged_as_asked() -> None:
    system, given = make(losses__adversarial_weight=2, losses__tag_weight=3), batch()
    loss = system.generator_loss(given)
    adversarial, tags = by_hand(system, system.generator(given.noise, given.tags), given.tags, real=True)
    assert loss.figures["g_adversarial_loss"].item() == pytest.approx(adversarial, rel=1e-5)
    assert loss.figures["g_tag_loss"].item() == pytest.approx(tags, rel=1e-5)
    assert loss.total.item() == pytest.approx(2 * adversarial + 3 * tags, rel=1e-5)
    assert loss.figures["g_loss"].item() == loss.total.item()


@pytest.mark.parametrize("on_fakes", [False, True])
def test_the_discriminator_learns_real_from_fake_and_tags(on_fakes) -> None:
    system = make(losses__adversarial_weight=2, losses__tag_weight=3, losses__tag_loss_on_fakes=on_fakes)
    given = batch()
    real, fake = system.discriminator_losses(given)
    adversarial, tags = by_hand(system, given.images, given.labels, real=True)
    assert real.total.item() == pytest.approx(2 * adversarial + 3 * tags, rel=1e-5)
    fakes = system.generator(given.noise, given.tags)
    adversarial, tags = by_hand(system, fakes, given.tags, real=False)
    assert fake.total.item() == pytest.approx(2 * adversarial + 3 * tags * on_fakes, rel=1e-5)
    assert ("d_tag_loss_fake" in fake.figures) is on_fakes
    score = 1 / (1 + np.exp(-system.discriminator(given.images, system.encode(given.labels)).realness.detach().numpy()))
    assert real.figures["d_score_real"].item() == pytest.approx(score.mean(), rel=1e-5)


def test_split_takes_two_losses_and_joint_their_sum_in_one() -> None:
    given = batch()
    split = list(make(updates__split_discriminator=True).discriminator_losses(given))
    joint = list(make(updates__split_discriminator=False).discriminator_losses(given))
    assert (len(split), len(joint)) == (2, 1)
    assert joint[0].total.item() == pytest.approx(sum(loss.total.item() for loss in split), rel=1e-6)
    assert names(joint[0]) == names(split[0]) | names(split[1])
    assert names(split[0]).isdisjoint(names(split[1]))


def test_the_second_loss_sees_the_step_on_the_first() -> None:
    system, given = make(), batch()
    losses = system.discriminator_losses(given)
    next(losses)
    with torch.no_grad():
        system.discriminator.head.realness.weight.zero_()
        system.discriminator.head.realness.bias.fill_(-3.0)
    assert next(losses).figures["d_adversarial_loss_fake"].item() == pytest.approx(np.log1p(np.exp(-3)), rel=1e-5)


def test_soft_labels_are_for_the_discriminator_alone() -> None:
    system, given = make(losses__labels="soft"), batch()
    with torch.no_grad():
        system.discriminator.head.realness.weight.zero_()
        system.discriminator.head.realness.bias.fill_(4.0)
    real, _ = system.discriminator_losses(given)
    hard = np.log1p(np.exp(-4))
    assert system.generator_loss(given).figures["g_adversarial_loss"].item() == pytest.approx(hard, rel=1e-4)
    soft = real.figures["d_adversarial_loss_real"].item()  # log(1 + e^-4) + 4 (1 - target), target in [0.8, 1]
    assert hard + 0.01 < soft < hard + 4 * 0.2


def test_concatenation_has_no_tag_losses() -> None:
    system, given = make(discriminator__conditioning="concat", losses__tag_weight=5), batch()
    losses = [*system.discriminator_losses(given), system.generator_loss(given)]
    assert not [name for loss in losses for name in loss.figures if "tag" in name]
    realness = system.discriminator(given.images, system.encode(given.labels)).realness.detach().double().numpy()
    assert losses[0].total.item() == pytest.approx(log1p_exp(-realness).mean(), rel=1e-5)


def test_masked_tags_leave_the_discriminator_finite_and_weigh_nothing() -> None:
    system, given = make(), batch()
    masked = Batch(given.images, torch.full_like(given.labels, UNKNOWN), given.noise, given.tags)
    real, _ = system.discriminator_losses(masked)
    assert real.figures["d_tag_loss_real"].item() == 0.0
    assert real.total.item() == real.figures["d_adversarial_loss_real"].item()
    real.total.backward()
    assert all(head.weight.grad.eq(0).all() for head in system.discriminator.head.tags)


def test_discriminator_losses_give_the_generator_no_gradient() -> None:
    system = make()
    for loss in system.discriminator_losses(batch()):
        loss.total.backward()
    assert all(parameter.grad is None for parameter in system.generator.parameters())
    assert all(parameter.grad is not None for parameter in system.discriminator.parameters())


@pytest.mark.parametrize("conditioning", ["acgan", "concat"])
@pytest.mark.parametrize("learner", ["generator", "discriminator"])
def test_a_step_changes_its_own_network_alone(learner, conditioning) -> None:
    """With the other optimiser switched off, the other network's parameters stay bit for bit."""
    system = make(discriminator__conditioning=conditioning)
    loop = TrainingLoop(system, random_data(), system.config)
    other = "discriminator" if learner == "generator" else "generator"
    getattr(loop, f"{other}_optimizer").step = lambda: None
    before = {name: [p.clone() for p in getattr(loop, name).parameters()] for name in (learner, other)}
    loop.train_until(5 * 8)
    changed = {
        name: [not torch.equal(old, new) for old, new in zip(values, getattr(loop, name).parameters(), strict=True)]
        for name, values in before.items()
    }
    assert not any(changed[other])
    assert all(changed[learner])


@pytest.mark.parametrize("conditioning", ["acgan", "concat"])
@pytest.mark.parametrize("split", [True, False])
def test_every_figure_is_finite_on_real_data(conditioning, split) -> None:
    system = make(
        discriminator__conditioning=conditioning, updates__split_discriminator=split, losses__tag_loss_on_fakes=True
    )
    figures = TrainingLoop(system, random_data(masked=5), system.config).train_until(80)
    assert all(np.isfinite(value) for value in figures.values())
    expected = {
        "d_adversarial_loss_real", "d_adversarial_loss_fake", "d_score_real", "d_score_fake", "d_loss_real",
        "d_at_floor_real", "d_at_floor_fake", "d_sign_real",
        "d_loss_fake", "g_adversarial_loss", "g_loss", "d_gradient_norm", "g_gradient_norm", "images_per_second",
    }  # fmt: skip
    if conditioning == "acgan":
        expected |= {"d_tag_loss_real", "d_tag_loss_fake", "g_tag_loss"}
    assert set(figures) == expected


TOLD = {"generator__conditioning": "code", "discriminator__conditioning": "concat"}
UNTAGGED = {"generator__conditioning": "none", "discriminator__conditioning": "none"}


@pytest.mark.parametrize("share", [0.25, 1.0])
@pytest.mark.parametrize("split", [True, False])
def test_wrong_tags_take_their_share_of_what_should_be_called_fake(monkeypatch, share, split) -> None:
    system = make(
        **TOLD,
        losses__wrong_tags="balanced",
        losses__wrong_tag_weight=share,
        losses__adversarial_weight=2,
        updates__split_discriminator=split,
    )
    given, asked = batch(), []
    wrong = torch.stack([(given.labels[:, 0] + 1) % 3, given.labels[:, 1]], dim=1)

    def stand_in(labels, pool, sizes, how):
        asked.append((labels, pool, sizes, how))
        return wrong

    monkeypatch.setattr("trainables.systems.conditional.wrong_tags", stand_in)
    losses = list(system.discriminator_losses(given))
    right, _ = by_hand(system, given.images, given.labels, real=True)
    fake, _ = by_hand(system, system.generator(given.noise, given.tags), given.tags, real=False)
    mismatch, _ = by_hand(system, given.images, wrong, real=False)
    expected = [2 * right, 2 * ((1 - share) * fake + share * mismatch)]
    totals = [loss.total.item() for loss in losses]
    assert totals == pytest.approx(expected if split else [sum(expected)], rel=1e-5)
    assert losses[-1].figures["d_wrong_tag_loss"].item() == pytest.approx(mismatch, rel=1e-5)
    assert losses[-1].figures["d_loss_fake"].item() == pytest.approx(expected[1], rel=1e-5)
    assert asked == [(given.labels, given.tags, PAIR.sizes, "balanced")]


def test_cs_objective_is_the_reports() -> None:
    """D maximises D(real, right) - D(fake, right) / 2 - D(real, wrong) / 2; without the penalty, by hand."""
    system = make(
        **TOLD,
        losses__adversarial="wgan",
        losses__weight_clip=0.01,
        losses__wrong_tags="data",
        updates__split_discriminator=False,
    )
    given = batch()
    state = torch.get_rng_state()
    (loss,) = system.discriminator_losses(given)
    torch.set_rng_state(state)
    wrong = wrong_tags(given.labels, given.tags, PAIR.sizes, "data")

    def score(images, tags) -> float:
        return system.discriminator(images, system.encode(tags)).realness.mean().item()

    fake = system.generator(given.noise, given.tags)
    objective = score(given.images, given.labels) - 0.5 * score(fake, given.tags) - 0.5 * score(given.images, wrong)
    assert loss.total.item() == pytest.approx(-objective, abs=1e-6)
    assert system.generator_loss(given).total.item() == pytest.approx(-score(fake, given.tags), abs=1e-6)


@pytest.mark.parametrize("heads", [True, False])
def test_relativistic_networks_compare_each_image_with_its_pair(heads) -> None:
    conditioning = "acgan" if heads else "projection"
    system = make(
        losses__adversarial="relativistic", updates__split_discriminator=False, losses__adversarial_weight=2,
        losses__tag_weight=3, discriminator__conditioning=conditioning,
    )  # fmt: skip
    given = batch()
    given = Batch(given.images, given.labels, given.noise, given.labels)
    (loss,) = system.discriminator_losses(given)
    fakes = system.generator(given.noise, given.tags)
    real, heads_of_real = system.discriminator(given.images, system.encode(given.labels))
    fake, heads_of_fakes = system.discriminator(fakes, system.encode(given.tags))
    higher, lower = (score.detach().double().numpy() for score in (real, fake))
    tags = [
        sum(cross_entropy(head, given.tags[:, place]) for place, head in enumerate(logits))
        for logits in (heads_of_real, heads_of_fakes)
    ]
    assert loss.total.item() == pytest.approx(2 * log1p_exp(lower - higher).mean() + 3 * tags[0], rel=1e-5)
    assert loss.figures["d_loss"].item() == loss.total.item()
    assert loss.figures["d_score_real"].item() == pytest.approx(higher.mean(), rel=1e-5)
    assert loss.figures["d_at_floor_fake"].item() == 0
    ours = system.generator_loss(given)
    assert ours.total.item() == pytest.approx(2 * log1p_exp(higher - lower).mean() + 3 * tags[1], rel=1e-5)


@pytest.mark.parametrize("kind", ["wgan_gp", "dragan", "r1", "r1_r2"])
def test_a_penalty_joins_the_real_loss_with_its_weight(kind) -> None:
    given, totals = batch(), {}
    for weight in (0.0, 1.0, 10.0):
        torch.manual_seed(0)
        system = make(losses__penalty=kind, losses__penalty_weight=weight)
        torch.manual_seed(5)
        real, fake = system.discriminator_losses(given)
        totals[weight] = (real.total.item(), fake.total.item())
        penalty = real.figures["d_gradient_penalty"].item()
    assert penalty > 0
    for weight in (1.0, 10.0):
        assert totals[weight][0] - totals[0.0][0] == pytest.approx(weight * penalty, rel=1e-4)
        assert totals[weight][1] == totals[0.0][1]
    torch.manual_seed(0)
    system = make(losses__penalty=kind, losses__penalty_weight=1.0)
    for scale in (0, 8):
        torch.manual_seed(5)
        system.penalty_scale = scale
        total = next(iter(system.discriminator_losses(given))).total.item()
        assert total - totals[0.0][0] == pytest.approx(scale * penalty, rel=1e-4, abs=1e-6)


def seen_by_the_discriminator(system: ConditionalGan, given: Batch) -> list[torch.Tensor]:
    seen = []
    hook = system.discriminator.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    list(system.discriminator_losses(given))
    system.generator_loss(given)
    hook.remove()
    return seen


def test_a_sigmoid_system_works_on_images_in_zero_to_one() -> None:
    given = batch()
    real, fake, ours = seen_by_the_discriminator(make(generator__final_activation="sigmoid"), given)
    assert torch.allclose(real, given.images / 2 + 0.5)
    assert all(0 <= images.min() < images.max() <= 1 for images in (real, fake, ours))
    real, fake, ours = seen_by_the_discriminator(make(), given)
    assert torch.equal(real, given.images)
    assert min(images.min() for images in (fake, ours)) < 0


def test_real_and_fake_images_are_augmented_alike_and_for_both_networks(monkeypatch) -> None:
    monkeypatch.setattr("trainables.data.augment.diff_augment", lambda images, probability: images * 0 + 7)
    seen = seen_by_the_discriminator(make(training__diff_augment=True), batch())
    assert len(seen) == 3
    assert all(images.eq(7).all() for images in seen)
    assert not any(images.eq(7).any() for images in seen_by_the_discriminator(make(), batch()))


def test_weights_are_clipped_after_every_step_of_the_critic() -> None:
    changes = {"losses__adversarial": "wgan", "losses__weight_clip": 0.01, "optimizer__discriminator_lr": 0.1}
    system = make(**changes)
    loop = TrainingLoop(system, random_data(), system.config)
    loop.train_until(40)
    largest = {name: value.abs().max().item() for name, value in system.discriminator.named_parameters()}
    assert max(largest.values()) == pytest.approx(0.01)
    assert max(value.abs().max() for value in system.generator.parameters()) > 0.02
    free = make(losses__adversarial="hinge", optimizer__discriminator_lr=0.1)
    TrainingLoop(free, random_data(), free.config).train_until(40)
    assert max(value.abs().max() for value in free.discriminator.parameters()) > 0.02


def test_a_system_without_tags_heeds_no_labels_and_has_no_tag_figures() -> None:
    figures = []
    for moved in (0, 1):
        system, given = make(**UNTAGGED), batch()
        labels, tags = ((rows + moved) % torch.tensor(PAIR.sizes) for rows in (given.labels, given.tags))
        given = Batch(given.images, labels, given.noise, tags)
        torch.manual_seed(1)
        losses = [*system.discriminator_losses(given), system.generator_loss(given)]
        figures.append({name: value.item() for loss in losses for name, value in loss.figures.items()})
    assert figures[0] == figures[1]
    assert not [name for name in figures[0] if "tag" in name]
    told = [make(**TOLD).discriminator_losses(given) for given in (batch(), Batch(*_moved(batch())))]
    assert next(told[0]).total.item() != next(told[1]).total.item()


def _moved(given: Batch):
    return given.images, (given.labels + 1) % torch.tensor(PAIR.sizes), given.noise, given.tags


def test_a_multilabel_head_learns_by_the_multilabel_loss() -> None:
    given = batch()
    system = make(discriminator__conditioning="multilabel")
    real = next(iter(system.discriminator_losses(given)))
    heads = system.discriminator(given.images, system.encode(given.labels)).tags
    expected = 0.0
    for place, head in enumerate(heads):
        scores = head.detach().double().numpy()
        yes = np.eye(scores.shape[1])[given.labels[:, place].numpy()]
        expected += (log1p_exp(scores) - yes * scores).sum(axis=1).mean()
    assert real.figures["d_tag_loss_real"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("conditioning", ["map", "combo", "projection"])
@pytest.mark.parametrize("learner", ["generator", "discriminator"])
def test_other_heads_keep_their_steps_apart_too(learner, conditioning) -> None:
    test_a_step_changes_its_own_network_alone(learner, conditioning)
