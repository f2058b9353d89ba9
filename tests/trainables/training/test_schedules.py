"""Schedules over the budget against closed forms, and their parts in the training loop."""

import copy
import math
import re

import pytest
import torch

from tests.support.tiny import same
from tests.trainables.training.test_loop import counting_loop, real_loop
from trainables.config import GanConfig
from trainables.data import augment
from trainables.errors import UsageError
from trainables.training.schedules import (
    average_decay,
    interpolate_cosine,
    learning_rate_share,
    scheduled_beta2,
    scheduled_config,
)

HALF = math.sqrt(0.5)
DONE = [0.0, 0.25, 0.5, 0.75, 1.0]
SCHEDULED = {
    "optimizer__decay": "cosine", "optimizer__final_share": 0.25, "optimizer__beta2": 0.9,
    "optimizer__beta2_final": 0.99, "losses__penalty": "r1", "losses__penalty_decay": "cosine",
    "training__diff_augment": True, "training__augment_schedule": "cosine", "training__augment_probability": 0.4,
    "training__ema_halflife": 1.0,
}  # fmt: skip


def config(**changes) -> GanConfig:
    return GanConfig.from_params({name.replace("__", "."): value for name, value in changes.items()})


def test_a_cosine_passes_its_ends_and_its_middle() -> None:
    values = [interpolate_cosine(8.0, 4.0, done) for done in DONE]
    assert values == pytest.approx([8, 6 + 2 * HALF, 6, 6 - 2 * HALF, 4])


@pytest.mark.parametrize(
    ("decay", "final", "shares"),
    [
        ("none", 0.5, [1, 1, 1, 1, 1]),
        ("linear", 0.0, [1, 1, 1, 0.5, 0]),
        ("linear", 0.2, [1, 1, 1, 0.6, 0.2]),
        ("cosine", 0.0, [1, 0.5 + HALF / 2, 0.5, 0.5 - HALF / 2, 0]),
        ("cosine", 0.25, [1, 0.625 + 0.375 * HALF, 0.625, 0.625 - 0.375 * HALF, 0.25]),
    ],
)
def test_shares_of_the_learning_rates(decay, final, shares) -> None:
    optimizer = config(optimizer__decay=decay, optimizer__final_share=final).optimizer
    assert [learning_rate_share(optimizer, done) for done in DONE] == pytest.approx(shares)


def test_beta2_moves_only_if_it_has_a_final_value() -> None:
    moving, kept = (config(optimizer__beta2=0.9, optimizer__beta2_final=final).optimizer for final in (0.99, 0.0))
    assert [scheduled_beta2(moving, done) for done in (0, 0.5, 1)] == pytest.approx([0.9, 0.945, 0.99])
    assert [scheduled_beta2(kept, done) for done in (0, 0.5, 1)] == [0.9] * 3


def test_the_penalty_falls_and_the_augmentation_grows() -> None:
    begun = config(
        losses__penalty="r1", losses__penalty_weight=20.0, losses__penalty_decay="cosine",
        training__augment_schedule="cosine", training__augment_probability=0.4,
    )  # fmt: skip
    before = copy.deepcopy(begun)
    made = [scheduled_config(begun, done) for done in (0, 0.5, 1)]
    assert [one.losses.penalty_weight for one in made] == pytest.approx([20, 11, 2])
    assert [one.training.augment_probability for one in made] == pytest.approx([0, 0.2, 0.4])
    assert begun == before
    assert scheduled_config(config(), 0.5) == config()


def test_the_half_life_grows_with_the_images_seen_up_to_its_limit() -> None:
    training = config(training__ema_halflife=2.0).training
    # 5% of 400 images is 20; of 100,000 it is 5,000, more than 2,000.
    assert average_decay(training, 3, 400, 10) == pytest.approx(0.5**0.5)
    assert average_decay(training, 3, 100_000, 2000) == pytest.approx(0.5)
    assert average_decay(training, 3, 100_000, 1000) == pytest.approx(HALF)


def test_a_loop_follows_the_schedules_from_its_first_update_to_the_end_of_the_budget() -> None:
    loop = real_loop(**SCHEDULED)
    loop.budget = 80
    weight = loop.config.losses.penalty_weight
    seen = []
    for images in range(8, 97, 8):
        loop.train_until(images)
        group = loop.discriminator_optimizer.param_groups[0]
        now = loop.system.config
        rate = group["lr"] / loop.config.optimizer.discriminator_lr
        seen.append((rate, group["betas"][1], now.losses.penalty_weight / weight, now.training.augment_probability))
    done = [min(1.0, update / 10) for update in range(12)]
    cosines = [(1 + math.cos(math.pi * share)) / 2 for share in done]
    expected = [(0.25 + 0.75 * c, 0.99 - 0.09 * c, 0.1 + 0.9 * c, 0.4 * (1 - c)) for c in cosines]
    assert seen == [pytest.approx(one) for one in expected]


ADAPTIVE = {
    "training__diff_augment": True, "training__augment_target": 0.6, "training__augment_kimg": 1.0,
    "training__augment_probability": 0.025, "training__batch_size": 10,
}  # fmt: skip
"""A batch of 10 of 1,000 images moves the probability by 0.01."""


def test_an_adaptive_augmentation_follows_the_signs_of_the_scores_of_real_images() -> None:
    loop = real_loop(**ADAPTIVE)
    loop._follow_schedules()
    seen = [float(loop.system.config.training.augment_probability)]
    for sign in (0.7, 0.9, 1.0, 0.6, 0.5, -1.0, 0.0, 0.61):
        loop._adapt_augmentation({"d_sign_real": torch.tensor(sign)})
        seen.append(round(float(loop.system.config.training.augment_probability), 6))
    # At the target it stays; 0.025 is its largest value, 0 its least.
    assert seen == [0.0, 0.01, 0.02, 0.025, 0.025, 0.015, 0.005, 0.0, 0.01]
    assert loop.config.training.augment_probability == 0.025


def test_without_a_target_the_probability_is_the_configured_one() -> None:
    loop = real_loop(training__diff_augment=True, training__augment_probability=0.3)
    loop.train_until(16)
    loop._adapt_augmentation({"d_sign_real": torch.tensor(1.0)})
    assert loop.system.config.training.augment_probability == 0.3


def test_a_loop_adapts_its_augmentation_and_resumes_it_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = augment.diff_augment
    monkeypatch.setattr(augment, "diff_augment", lambda images, p: seen.append(float(p)) or real(images, p))
    whole, first, second = (real_loop(seed, **ADAPTIVE) for seed in (0, 0, 9))
    torch.manual_seed(3)
    figures = whole.train_until(160)
    # From 0 in steps of 0.01, within 0 and 0.025.
    assert {round(200 * p) for p in seen} <= {0, 1, 2, 3, 4, 5}
    assert len(set(seen)) > 1
    assert 0 < figures["augment_probability"] <= 0.025
    torch.manual_seed(3)
    first.train_until(72)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    second.train_until(160)
    assert same(second.state_dict(), whole.state_dict())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"training__diff_augment": False}, "training.diff_augment false"),
        ({"training__augment_schedule": "cosine"}, "training.augment_schedule constant"),
        ({"losses__adversarial": "lsgan"}, "losses.adversarial 'lsgan'"),
    ],
)
def test_an_adaptive_augmentation_needs_scores_with_a_zero_and_no_other_schedule(changes, named) -> None:
    with pytest.raises(UsageError, match=r"training\.augment_target is 0\.6 with .*" + re.escape(named)):
        config(**{**ADAPTIVE, **changes})


def test_resumed_schedules_go_on_bit_for_bit() -> None:
    whole, first, second = (real_loop(seed, **SCHEDULED) for seed in (0, 0, 9))
    for loop in (whole, first, second):
        loop.budget = 160
    torch.manual_seed(3)
    whole.train_until(160)
    torch.manual_seed(3)
    first.train_until(72)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    second.train_until(160)
    assert same(second.state_dict(), whole.state_dict())
    assert second.system.config == whole.system.config != whole.config


def test_the_average_follows_its_half_life() -> None:
    loop = counting_loop(training__ema_halflife=0.001, optimizer__generator_lr=0.1)
    average = loop.generator.weight.item()
    for update in range(1, 5):
        loop.train_until(8 * update)
        decay = 0.5 ** (8 / min(1.0, 0.05 * 8 * update))
        average = decay * average + (1 - decay) * loop.generator.weight.item()
        assert loop.average.weight.item() == pytest.approx(average, rel=1e-5)
