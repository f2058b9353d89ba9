"""The training loop: counts, averages, batches, divergence, and going on as if it had never stopped."""

import copy
import io
import itertools
import math

import pytest
import torch
from torch import nn

from search_spaces.registry import SPACES
from tests.support.tiny import PAIR, paint, random_data, random_labels, read_labels, same, tiny_config
from trainables.config import GanConfig
from trainables.data.tags import UNKNOWN, combinations
from trainables.systems.conditional import ConditionalGan
from trainables.systems.system import Batch, Loss
from trainables.training.loop import CHECK_EVERY, LOSS_LIMIT, Diverged, TrainingData, TrainingLoop
from trainables.training.optimizers import make_optimizer


class CountingSystem:
    """Networks of one weight with gradient 3 or 4; the figures count the calls."""

    def __init__(self) -> None:
        self.generator, self.discriminator = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        self.batches: list[Batch] = []
        self.codes: list[Batch] = []
        self.constrained = 0
        self.penalty_scale = 1
        self.scales: list[int] = []

    def constrain(self) -> None:
        self.constrained += 1

    def discriminator_losses(self, batch: Batch):
        self.batches.append(batch)
        self.scales.append(self.penalty_scale)
        yield Loss(4 * self.discriminator.weight.sum(), {"d_calls": torch.tensor(float(len(self.batches)))})

    def generator_loss(self, batch: Batch) -> Loss:
        self.codes.append(batch)
        return Loss(3 * self.generator.weight.sum(), {"g_calls": torch.tensor(float(len(self.codes)))})


def counting_loop(data: TrainingData | None = None, **changes) -> TrainingLoop:
    return TrainingLoop(CountingSystem(), data or random_data(), tiny_config(**changes))  # type: ignore[arg-type]


def real_loop(seed: int = 0, **changes) -> TrainingLoop:
    torch.manual_seed(seed)
    config = tiny_config(**changes)
    return TrainingLoop(ConditionalGan(config, PAIR.sizes), random_data(masked=4), config)


def weights(loop: TrainingLoop) -> dict:
    return {"generator": loop.generator.state_dict(), "discriminator": loop.discriminator.state_dict()}


@pytest.mark.parametrize(("d_steps", "g_steps"), [(1, 1), (3, 1), (1, 4), (2, 3)])
def test_the_update_ratio_is_kept_and_only_real_images_count(d_steps, g_steps) -> None:
    loop = counting_loop(updates__discriminator_steps=d_steps, updates__generator_steps=g_steps)
    loop.train_until(5 * d_steps * 8)  # five updates of batches of 8
    assert (loop.updates, loop.images_seen) == (5, 40 * d_steps)
    assert (len(loop.system.batches), len(loop.system.codes)) == (5 * d_steps, 5 * g_steps)
    assert loop.system.constrained == 5 * d_steps


def test_a_budget_between_two_updates_is_passed_by_less_than_one() -> None:
    loop = counting_loop()
    loop.train_until(17)
    assert loop.images_seen == 24
    loop.train_until(24)
    assert loop.images_seen == 24
    loop.train_until(25)
    assert loop.images_seen == 32


def test_figures_are_means_since_the_last_call() -> None:
    loop = counting_loop(updates__discriminator_steps=2, updates__generator_steps=3)
    figures = loop.train_until(48)  # three updates: six D and nine G calls
    assert figures["d_calls"] == pytest.approx((1 + 2 + 3 + 4 + 5 + 6) / 6)
    assert figures["g_calls"] == pytest.approx(5)
    assert figures["d_gradient_norm"] == pytest.approx(4)
    assert figures["g_gradient_norm"] == pytest.approx(3)
    assert figures["images_per_second"] > 0
    assert loop.train_until(64)["d_calls"] == pytest.approx((7 + 8) / 2)


def test_adam_takes_the_configured_rates() -> None:
    loop = counting_loop(optimizer__generator_lr=0.01, optimizer__discriminator_lr=0.002)
    before = loop.generator.weight.item(), loop.discriminator.weight.item()
    loop.train_until(8)  # Adam's first step is the rate itself, whatever the gradient
    assert before[0] - loop.generator.weight.item() == pytest.approx(0.01, rel=1e-3)
    assert before[1] - loop.discriminator.weight.item() == pytest.approx(0.002, rel=1e-3)
    assert loop.generator_optimizer.param_groups[0]["betas"] == (0.5, 0.999)


def test_batches_pair_images_with_their_own_labels_and_mask() -> None:
    tags = torch.from_numpy(random_labels(30))
    labels = tags.clone()
    labels[20:, 0] = UNKNOWN
    pixels = paint(tags).add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
    loop = counting_loop(TrainingData(pixels, labels, tags[:20]), training__batch_size=64)
    loop.train_until(128)
    for batch in loop.system.batches:
        shown, known = read_labels(batch.images), batch.labels != UNKNOWN
        assert torch.equal(shown[known], batch.labels[known])
        assert 0 < (~known[:, 0]).sum() < 64
        assert known[:, 1].all()
        assert batch.tags.min() >= 0
        assert batch.images.min() == -1.0
        assert batch.images.max() == 1.0
        assert (batch.images.shape, batch.noise.shape, batch.tags.shape) == ((64, 3, 16, 16), (64, 4), (64, 2))


def test_a_generator_that_compares_pairs_gets_fresh_images_with_their_own_tags() -> None:
    tags = torch.from_numpy(random_labels(30))
    pixels = paint(tags).add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
    changes = {"losses__adversarial": "relativistic", "losses__labels": "hard", "updates__split_discriminator": False}
    loop = counting_loop(TrainingData(pixels, tags, tags), **changes)
    loop.train_until(16)
    shown = [*loop.system.batches, *loop.system.codes]
    assert len(shown) == 4
    for batch in shown:
        assert torch.equal(read_labels(batch.images), batch.tags)
        assert torch.equal(batch.labels, batch.tags)
    assert not any(torch.equal(one.images, other.images) for one, other in itertools.combinations(shown, 2))


def test_a_lazy_penalty_counts_the_steps_of_the_discriminator() -> None:
    loop = counting_loop(losses__penalty="r1", losses__penalty_every=3, updates__discriminator_steps=2)
    loop.train_until(8 * 8)
    assert loop.system.scales == [3, 0, 0, 3, 0, 0, 3, 0]


def test_asked_tags_follow_the_proportions_of_the_data() -> None:
    data = random_data()
    tags = torch.tensor([[0, 0]] * 3 + [[2, 1]])
    loop = counting_loop(TrainingData(data.images, data.labels, tags), training__batch_size=512)
    loop.train_until(2048)
    asked = torch.cat([batch.tags for batch in (*loop.system.batches, *loop.system.codes)])
    assert {tuple(row) for row in asked.tolist()} == {(0, 0), (2, 1)}
    assert (asked[:, 0] == 0).double().mean().item() == pytest.approx(0.75, abs=0.03)  # 4,096 draws: error 0.7 %


def test_noise_is_standard_normal_and_fresh() -> None:
    torch.manual_seed(0)
    loop = counting_loop(training__batch_size=512)
    loop.train_until(1024)
    draws = [batch.noise for batch in (*loop.system.batches, *loop.system.codes)]
    assert torch.cat(draws).mean().item() == pytest.approx(0, abs=0.05)
    assert torch.cat(draws).std().item() == pytest.approx(1, abs=0.05)
    assert not any(torch.equal(a, b) for i, a in enumerate(draws) for b in draws[:i])


@pytest.mark.parametrize(("flip", "share"), [(False, 0.0), (True, 0.5)])
def test_half_of_the_images_are_mirrored(flip, share) -> None:
    images = torch.zeros(4, 16, 16, 3, dtype=torch.uint8)
    images[:, :, 8:] = 255  # the right half is white
    data = random_data(4)
    loop = counting_loop(TrainingData(images, data.labels, data.tags), training__flip=flip, training__batch_size=1000)
    torch.manual_seed(0)
    loop.train_until(1000)
    shown = loop.system.batches[0].images
    assert torch.equal(shown[..., 0], -shown[..., -1])  # each is whole, one way or the other
    assert (shown[:, 0, 0, 0] == 1).double().mean().item() == pytest.approx(share, abs=0.06)


def test_the_average_follows_the_recursion_and_warms_up() -> None:
    loop = real_loop(training__ema_decay=0.15)
    expected = {name: value.double() for name, value in copy.deepcopy(loop.generator).named_parameters()}
    for update, decay in enumerate([1 / 10, 0.15, 0.15], start=1):  # (1 + u) / (10 + u) is 2/11 already at u = 1
        loop.train_until(8 * update)
        now = dict(loop.generator.named_parameters())
        expected = {name: decay * old + (1 - decay) * now[name].double() for name, old in expected.items()}
        for name, value in loop.average.named_parameters():
            assert torch.allclose(value.double(), expected[name], atol=1e-6)
    assert not same(dict(loop.average.named_parameters()), dict(loop.generator.named_parameters()))


def test_the_warm_up_ends_late_for_a_slow_average() -> None:
    loop = counting_loop(training__ema_decay=0.999, optimizer__generator_lr=0.1)
    average = loop.generator.weight.item()
    for update, decay in enumerate([1 / 10, 2 / 11, 3 / 12, 4 / 13], start=1):
        loop.train_until(8 * update)
        average = decay * average + (1 - decay) * loop.generator.weight.item()
        assert loop.average.weight.item() == pytest.approx(average, abs=1e-6)


def test_without_an_average_the_generator_itself_is_used() -> None:
    loop = real_loop()
    assert loop.average is loop.generator


class PlantedSystem(CountingSystem):
    """Reports one planted value from the third call on."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def generator_loss(self, batch: Batch) -> Loss:
        loss = super().generator_loss(batch)
        value = self.value if len(self.codes) >= 3 else 1.0
        return Loss(loss.total, {"g_loss": torch.tensor(value)})


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (math.nan, "g_loss is nan after 0.2 kimg"),
        (math.inf, "g_loss is inf after 0.2 kimg"),
        (-math.inf, "g_loss is inf after 0.2 kimg"),
        (1.01 * LOSS_LIMIT, "g_loss exceeded 10000 after 0.2 kimg"),
        (-1.01 * LOSS_LIMIT, "g_loss exceeded 10000 after 0.2 kimg"),
    ],
)
def test_divergence_stops_training_at_the_next_look(value, says) -> None:
    loop = TrainingLoop(PlantedSystem(value), random_data(), tiny_config())  # type: ignore[arg-type]
    with pytest.raises(Diverged, match=says):
        loop.train_until(100_000)
    assert loop.updates == CHECK_EVERY


def test_divergence_shows_at_the_end_of_a_short_interval_too() -> None:
    loop = TrainingLoop(PlantedSystem(math.nan), random_data(), tiny_config())  # type: ignore[arg-type]
    loop.train_until(16)
    with pytest.raises(Diverged, match=r"g_loss is nan after 0\.0 kimg"):
        loop.train_until(24)


def test_large_losses_within_the_limit_are_no_divergence() -> None:
    loop = TrainingLoop(PlantedSystem(-LOSS_LIMIT), random_data(), tiny_config())  # type: ignore[arg-type]
    assert loop.train_until(24)["g_loss"] == pytest.approx((1 + 1 - LOSS_LIMIT) / 3)


def test_a_nan_weight_is_found() -> None:
    loop = real_loop()
    with torch.no_grad():
        next(loop.discriminator.parameters())[0, 0, 0, 0] = math.nan
    with pytest.raises(Diverged, match="is nan after"):
        loop.train_until(8)


def test_a_real_explosion_is_found() -> None:
    loop = real_loop()
    with torch.no_grad():
        loop.discriminator.head.realness.bias.fill_(-1e6)  # real images are called fake with all certainty
    with pytest.raises(Diverged, match="d_adversarial_loss_real exceeded 10000 after"):
        loop.train_until(8)


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_saved_and_loaded_training_goes_on_bit_for_bit(decay) -> None:
    changes = {"training__ema_decay": decay, "training__flip": True, "updates__generator_steps": 2}
    loop = real_loop(**changes)
    loop.train_until(80)
    file = io.BytesIO()
    torch.save(loop.state_dict(), file)
    loop.train_until(160)
    file.seek(0)
    other = real_loop(seed=9, **changes)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert (other.images_seen, other.updates) == (80, 10)
    assert not same(weights(other), weights(loop))
    other.train_until(160)
    assert same(other.state_dict(), loop.state_dict())


def test_looking_more_often_changes_nothing() -> None:
    one, many = real_loop(), real_loop()
    torch.manual_seed(3)
    one.train_until(80)
    torch.manual_seed(3)
    for images in (8, 20, 56, 80):
        many.train_until(images)
    assert same(one.state_dict(), many.state_dict())


def test_equal_seeds_give_equal_weights_and_others_do_not() -> None:
    trained = []
    for seed in (0, 0, 1):
        loop = real_loop(seed)
        loop.train_until(40)
        trained.append(loop)
    assert same(weights(trained[0]), weights(trained[1]))
    for first, second in zip(trained[0].generator.parameters(), trained[2].generator.parameters(), strict=True):
        assert not torch.equal(first, second)


def test_training_returns_networks_to_training_mode() -> None:
    loop = real_loop()
    loop.generator.eval()
    loop.discriminator.eval()
    loop.train_until(8)
    assert all(module.training for module in (*loop.generator.modules(), *loop.discriminator.modules()))
    assert all(parameter.requires_grad for parameter in loop.discriminator.parameters())


@pytest.mark.parametrize("budget", [80, None])
def test_linear_decay_halves_nothing_before_the_middle_and_ends_at_zero(budget) -> None:
    changes = {
        "optimizer__decay": "linear", "optimizer__generator_lr": 0.1, "optimizer__discriminator_lr": 0.4,
    }  # fmt: skip
    loop = TrainingLoop(CountingSystem(), random_data(), tiny_config(**changes), budget)  # type: ignore[arg-type]
    rates = []
    for images in range(8, 97, 8):
        loop.train_until(images)
        rates.append([o.param_groups[0]["lr"] for o in (loop.generator_optimizer, loop.discriminator_optimizer)])
    # Set before each update, at 0, 8, 16, ... of 80 images: 2 (1 - images / 80), at most 1.
    shares = [1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2, 0, 0] if budget else [1] * 12
    assert [rate[0] for rate in rates] == pytest.approx([0.1 * share for share in shares])
    assert [rate[1] for rate in rates] == pytest.approx([0.4 * share for share in shares])


def test_without_decay_the_rates_stay() -> None:
    loop = TrainingLoop(CountingSystem(), random_data(), tiny_config(), 16)  # type: ignore[arg-type]
    loop.train_until(40)
    assert loop.generator_optimizer.param_groups[0]["lr"] == 2e-4


@pytest.mark.parametrize(("name", "step"), [("rmsprop", 10.0), ("adam", 1.0)])
def test_the_optimizers_first_step_by_hand(name, step) -> None:
    """RMSprop divides by the root of 0.01 g^2, Adam by that of g^2, bias corrected: 10 and 1 learning rates."""
    changes = {"optimizer__name": name, "optimizer__generator_lr": 1e-3, "optimizer__discriminator_lr": 2e-3}
    loop = counting_loop(**changes)
    before = [float(network.weight) for network in (loop.generator, loop.discriminator)]
    loop.train_until(8)
    after = [float(network.weight) for network in (loop.generator, loop.discriminator)]
    assert after == pytest.approx([before[0] - step * 1e-3, before[1] - step * 2e-3], abs=1e-6)


def test_adam_in_channels_last_follows_its_recursion_through_a_checkpoint() -> None:
    """Fused Adam reads memory in order, so that weights, gradients and moments must share theirs."""
    torch.manual_seed(0)
    config = tiny_config(optimizer__beta2=0.9).optimizer
    network = nn.Conv2d(5, 6, 3).to(memory_format=torch.channels_last)
    optimizer = make_optimizer(config, network, 0.1)
    expected = {name: value.detach().double().clone() for name, value in network.named_parameters()}
    first, second = ({name: torch.zeros_like(value) for name, value in expected.items()} for _ in range(2))
    for step in range(1, 6):
        network.zero_grad(set_to_none=True)
        network(torch.randn(4, 5, 8, 8).to(memory_format=torch.channels_last)).square().mean().backward()
        for name, value in network.named_parameters():
            gradient = value.grad.double()
            first[name] = 0.5 * first[name] + 0.5 * gradient
            second[name] = 0.9 * second[name] + 0.1 * gradient**2
            expected[name] -= 0.1 * first[name] / (1 - 0.5**step) / ((second[name] / (1 - 0.9**step)).sqrt() + 1e-8)
        optimizer.step()
        if step == 3:
            file = io.BytesIO()
            torch.save(optimizer.state_dict(), file)
            file.seek(0)
            optimizer = make_optimizer(config, network, 0.1)
            optimizer.load_state_dict(torch.load(file, weights_only=True))
    for name, value in network.named_parameters():
        assert torch.allclose(value.double(), expected[name], atol=1e-5)


@pytest.mark.parametrize("degrees", [0.0, 5.0])
def test_real_images_are_turned_before_they_are_judged(degrees) -> None:
    labels = torch.from_numpy(random_labels(64))
    ramp = torch.arange(16, dtype=torch.uint8).mul(16).view(1, 1, 16, 1).expand(64, 16, 16, 3).contiguous()
    loop = counting_loop(TrainingData(ramp, labels, labels), training__rotate=degrees)
    loop.train_until(64)
    slopes = torch.cat([
        (batch.images[:, 0, 5:12] - batch.images[:, 0, 4:11])[:, :, 4:12].mean(dim=(1, 2))
        for batch in loop.system.batches
    ])  # fmt: skip
    angles = torch.rad2deg(torch.atan2(slopes, torch.tensor(16 / 127.5)))
    assert angles.abs().max() <= degrees + 0.5
    assert (angles.std() > 1.5) == (degrees > 0)  # of U[-5, 5] it is 2.9


RECIPES = (
    "acgan", "srresnet_acgan", "matching_wgan", "cdcgan", "dcgan", "combo_dcgan", "wgan_gp", "lightgan", "r3gan",
)  # fmt: skip
SMALL = {
    "image_size": 16, "generator.width": 2, "generator.noise_dim": 4, "generator.blocks": 1, "discriminator.width": 2,
    "training.batch_size": 8,
}  # fmt: skip


def recipe_loop(name: str, seed: int = 0, **changes) -> TrainingLoop:
    torch.manual_seed(seed)
    changed = {key.replace("__", "."): value for key, value in changes.items()}
    config = GanConfig.from_params({**SPACES[name].recipe, **SMALL, **changed})
    data = random_data()
    pairs = combinations(data.tags.numpy()) if config.tags.encoding == "pairs" else ()
    return TrainingLoop(ConditionalGan(config, PAIR.sizes, pairs), data, config, budget=400)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_goes_on_bit_for_bit_after_a_stop(name) -> None:
    changes = {} if name == "r3gan" else {"training__ema_decay": 0.9, "optimizer__decay": "linear"}
    loop = recipe_loop(name, **changes)
    loop.train_until(24)
    file = io.BytesIO()
    torch.save(loop.state_dict(), file)
    loop.train_until(56)
    file.seek(0)
    other = recipe_loop(name, seed=9, **changes)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert not same(weights(other), weights(loop))
    other.train_until(56)
    assert same(other.state_dict(), loop.state_dict())


@pytest.mark.parametrize("name", RECIPES)
def test_one_step_of_every_recipe_is_finite_and_reaches_every_weight(name) -> None:
    loop = recipe_loop(name)
    before = [parameter.clone() for parameter in loop.generator.parameters()]
    # r3gan's blocks start as the identity: the weights inside learn from the second step on.
    figures = loop.train_until(16 if name == "r3gan" else 8)
    assert all(math.isfinite(value) for value in figures.values())
    assert figures["g_gradient_norm"] > 0
    assert figures["d_gradient_norm"] > 0
    stuck = [old.shape for old, new in zip(before, loop.generator.parameters(), strict=True) if torch.equal(old, new)]
    assert not stuck
