"""Which series of results are beyond hope, and which only look bad for a while; then trials that are made so."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from search_spaces.registry import SPACES
from tests.support.tiny import cheap_context
from trainables.errors import UsageError
from trainables.losses.adversarial import LOSSES, gap
from trainables.scoring.extractors import registry
from trainables.scoring.extractors.registry import ExtractorChoice, open_extractor
from trainables.scoring.scorer import make_scorer
from trainables.storage.storage import Storage
from trainables.trial.context import Evaluation, TrialContext
from trainables.trial.failure_detection import early_failure, parse_rules
from trainables.trial.trial import Trial

BOTH = ("collapse", "won")
RUNGS = (11, 33)  # of a budget of 100


def series(name: str, values: dict[int, float], **more: float) -> list[dict]:
    return [{"kimg": kimg, name: value, **more} for kimg, value in values.items()]


def floors(values: dict[int, tuple[float, float]]) -> list[dict]:
    return [{"kimg": k, "d_at_floor_real": real, "d_at_floor_fake": fake} for k, (real, fake) in values.items()]


# Collapse --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["diversity", "tag_diversity"])
def test_images_that_are_all_alike_at_both_rungs_are_a_collapse(name: str) -> None:
    said = early_failure(series(name, {11: 0.004, 33: 0.0019}), 100, BOTH)
    assert said == f"collapsed: {name} 0.002 of that of real images, below 0.01 from 11 to 33 kimg"


@pytest.mark.parametrize(
    ("values", "budget"),
    [
        ({11: 0.0}, 100),  # one evaluation is none
        ({33: 0.0}, 100),
        ({11: 0.5, 33: 0.0}, 100),
        ({11: 0.0, 33: 0.01}, 100),  # a slow starter
        ({1: 0.0, 10: 0.0, 20: 0.0}, 100),  # 19 of 100 kimg
        ({10: 0.0, 20: 0.5, 31: 0.0, 41: 0.0}, 100),  # 10 kimg in a row
        ({33: 0.0, 100: 0.0}, 100),  # at the end its scores speak
        ({11: math.nan, 33: math.nan}, 100),
        ({}, 100),
    ],
)
def test_what_has_not_lasted_is_no_collapse(values: dict[int, float], budget: int) -> None:
    assert early_failure(series("tag_diversity", values), budget, BOTH) == ""


def test_a_collapse_lasts_a_fifth_of_the_budget_however_often_it_is_looked_at() -> None:
    values = {10: 0.5} | dict.fromkeys(range(20, 40), 0.009)
    assert early_failure(series("diversity", values), 100, BOTH) == ""
    assert "from 20 to 40 kimg" in early_failure(series("diversity", values | {40: 0.009}), 100, BOTH)


def test_one_image_per_tag_is_a_collapse_and_like_images_of_unlike_tags_alone_are_not() -> None:
    per_tag = [{"kimg": kimg, "diversity": 0.8, "tag_diversity": 0.0} for kimg in RUNGS]
    assert early_failure(per_tag, 100, BOTH).startswith("collapsed: tag_diversity")
    assert early_failure([{**one, "diversity": 0.001, "tag_diversity": 0.3} for one in per_tag], 100, BOTH) == ""


# Won -------------------------------------------------------------------------------------------------------------


def test_a_discriminator_that_lay_at_its_floor_between_the_rungs_has_won() -> None:
    said = early_failure(floors({11: (0.1, 0.2), 33: (0.9, 1.0)}), 100, BOTH)
    assert said == (
        "the discriminator has won: its loss was at its floor on 90% of the real and 100% of the generated batches "
        "from 11 to 33 kimg"
    )


@pytest.mark.parametrize(
    "values",
    [
        {11: (1.0, 1.0)},  # 11 of 100 kimg
        {11: (1.0, 1.0), 33: (0.89, 1.0)},
        {11: (1.0, 1.0), 33: (1.0, 0.89)},
        {11: (0.0, 0.0), 100: (1.0, 1.0)},
        {10: (1.0, 1.0), 25: (0.8, 0.8), 30: (1.0, 1.0)},  # (15 * 0.8 + 5) / 20 = 0.85
    ],
)
def test_a_discriminator_that_still_learns_has_not_won(values: dict[int, tuple[float, float]]) -> None:
    assert early_failure(floors(values), 100, BOTH) == ""


def test_shares_count_by_the_length_of_their_intervals() -> None:
    # (5 * 0.6 + 15 * 1) / 20 = 0.9, and the same shares the other way round: 0.7.
    assert early_failure(floors({10: (0.0, 0.0), 15: (0.6, 0.6), 30: (1.0, 1.0)}), 100, BOTH).endswith("10 to 30 kimg")
    assert early_failure(floors({10: (0.0, 0.0), 15: (1.0, 1.0), 30: (0.6, 0.6)}), 100, BOTH) == ""


def test_a_critic_has_no_floor() -> None:
    assert early_failure([{"kimg": 11, "d_loss": -9.0}, {"kimg": 33, "d_loss": -99.0}], 100, BOTH) == ""


# Choosing --------------------------------------------------------------------------------------------------------


def test_only_the_rules_asked_for_apply() -> None:
    both = [{"kimg": k, "diversity": 0.0, "d_at_floor_real": 1.0, "d_at_floor_fake": 1.0} for k in RUNGS]
    assert early_failure(both, 100, BOTH).startswith("collapsed")
    assert early_failure(both, 100, ("won",)).startswith("the discriminator has won")
    assert early_failure(both, 100, ()) == ""


def test_rules_are_read_from_one_word() -> None:
    assert parse_rules("collapse,won") == BOTH
    assert parse_rules(" won , won") == ("won",)
    assert parse_rules("none") == ()


@pytest.mark.parametrize("text", ["", "lost", "won,none", "collapse;won"])
def test_other_rules_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"allowed: none, or one or more of collapse,won"):
        parse_rules(text)


# The gap above the floor -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", ["hard", "soft", "noisy"])
@pytest.mark.parametrize("name", ["bce", "lsgan"])
@pytest.mark.parametrize("real", [True, False])
def test_the_gap_is_the_loss_above_its_least_over_many_draws_of_the_targets(name: str, labels: str, real: bool) -> None:
    torch.manual_seed(0)
    logits = torch.linspace(-12, 12, 2401)
    drawn = torch.stack([LOSSES[name](torch.full((40_000,), one), real=real, labels=labels) for one in logits[::20]])
    gaps = torch.stack([gap(name, one[None], real=real, labels=labels) for one in logits])
    assert gaps.min().item() == pytest.approx(0.0, abs=1e-3)
    torch.testing.assert_close(drawn - gaps[::20], (drawn - gaps[::20]).mean().expand(121), atol=0.06, rtol=0.01)


def test_gaps_by_hand() -> None:
    sure = torch.tensor([math.log(99.0)] * 2)  # a probability of 0.99
    assert gap("bce", sure, real=True).item() == pytest.approx(-math.log(0.99), rel=1e-4)
    assert gap("bce", -sure, real=False).item() == pytest.approx(-math.log(0.99), rel=1e-4)
    # KL of 0.9 from 0.99: 0.9 ln(0.9 / 0.99) + 0.1 ln(0.1 / 0.01)
    assert gap("bce", sure, real=True, labels="soft").item() == pytest.approx(0.14447, abs=1e-4)
    assert gap("lsgan", torch.tensor([1.0, 0.8]), real=True).item() == pytest.approx(0.02)
    assert gap("hinge", torch.tensor([1.5, 0.5]), real=True).item() == pytest.approx(0.25)
    assert gap("wgan", sure, real=True) is None


# Trials ----------------------------------------------------------------------------------------------------------

PARAMS = {"generator.width": 4, "generator.noise_dim": 8, "discriminator.width": 4, "training.batch_size": 50}
NO_STEPS = {"optimizer.generator_lr": 1e-8}


@pytest.fixture
def context(tmp_path: Path) -> Iterator[TrialContext]:
    """Rungs and end of a budget of 9 kimg."""
    points = (Evaluation(1, 32), Evaluation(3, 32), Evaluation(9, 64))
    with cheap_context(tmp_path / "cache", points, samples=64) as made:
        yield made


def make(context: TrialContext, folder: Path, **changes: object) -> Trial:
    return Trial(context, PARAMS | changes, 1, Storage(str(folder), in_place=True))


def paint_one_image(trial: Trial) -> None:
    with torch.no_grad():
        trial.loop.generator.body[-1].weight.zero_()


def test_a_generator_of_one_image_fails_at_its_second_rung_and_keeps_its_scores(context, tmp_path) -> None:
    trial = make(context, tmp_path, **NO_STEPS)
    paint_one_image(trial)
    first, second = trial.step(), trial.step()
    assert "failure" not in first
    assert (second["kimg"], second["done"]) == (3, True)
    assert second["failure"].startswith("collapsed: ")
    assert "from 1 to 3 kimg" in second["failure"]
    assert second["distance"] > 0
    again = make(context, tmp_path)
    assert again.load()
    assert again.step() == {**second, "train_seconds": 0.0, "score_seconds": 0.0}
    assert "failure" not in again.results[-1]


def test_it_goes_on_where_the_rule_is_switched_off(context, tmp_path) -> None:
    trial = make(replace(context, failure_rules=("won",)), tmp_path, **NO_STEPS)
    paint_one_image(trial)
    assert [trial.step().get("failure") for _ in range(3)] == [None] * 3
    assert trial.kimg == 9


@pytest.mark.parametrize("adversarial", ["bce", "hinge"])
def test_a_strong_discriminator_wins_against_a_generator_that_does_not_learn(context, tmp_path, adversarial) -> None:
    strong = {"optimizer.discriminator_lr": 2e-3, "losses.labels": "hard", "losses.adversarial": adversarial}
    budget = replace(context, evaluations=(Evaluation(7, 32), Evaluation(15, 32), Evaluation(40, 64)))
    trial = make(budget, tmp_path, **NO_STEPS, **strong, **{"discriminator.width": 16})
    results = [trial.step(), trial.step()]
    assert "failure" not in results[0]
    assert results[1]["failure"].startswith("the discriminator has won: ")
    assert results[1]["d_adversarial_loss_fake"] < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("system", ["acgan", "srresnet_acgan", "matching_wgan", "cdcgan", "combo_dcgan"])
def test_no_recipe_is_beyond_hope(context, tmp_path, monkeypatch, system) -> None:
    monkeypatch.setattr(registry, "open_extractor", open_extractor)
    images = context.images
    scores, _ = make_scorer(
        images, None, extractor=ExtractorChoice("efficientnet"), samples=64, seed=0, cache=tmp_path / "deep"
    )
    small = {"generator.width": 8, "discriminator.width": 8, "generator.blocks": 2, "training.batch_size": 32}
    trial = make(replace(context, scoring=scores), tmp_path / "trial", **{**SPACES[system].recipe, **small})
    assert [trial.step().get("failure") for _ in range(3)] == [None] * 3
