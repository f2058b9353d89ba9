"""Trials trained as one: each has the numbers it has alone, whatever its neighbours do."""

import copy
import io
import math

import pytest
import torch

from tests.support.recipes import RECIPES, recipe_config, recipe_loop
from tests.support.tiny import same
from trainables.fused.fused_loop import PER_TRIAL_PARAMS, FusedLoop, TrainingSegment, fusable
from trainables.fused.rng_streams import RngStream
from trainables.training.loop import Diverged, OutOfTime, TrainingLoop

pytestmark = pytest.mark.usefixtures("float64")

SCALARS = [
    {"optimizer__generator_lr": 1e-4, "losses__tag_weight": 0.5, "losses__adversarial_weight": 2.0},
    {"optimizer__discriminator_lr": 5e-4, "optimizer__beta1": 0.3, "losses__penalty_weight": 3.0},
    {"optimizer__beta2": 0.9, "training__ema_decay": 0.9, "optimizer__decay": "linear", "training__flip": True},
]
"""What fused trials may differ in, one set for each of three."""


def loops_of(name: str, changes: list[dict], **more) -> list[tuple[TrainingLoop, RngStream]]:
    """A loop of each set of changes, on a seed of its own, with the stream that its networks have begun."""
    made = []
    for seed, own in enumerate(changes):
        loop = recipe_loop(name, seed, **{**own, **more})
        made.append((loop, RngStream(loop.device)))
    return made


def alone(pairs: list[tuple[TrainingLoop, RngStream]], images: int) -> list[dict]:
    figures = []
    for loop, stream in pairs:
        with stream.active():
            figures.append(loop.train_until(images))
    return figures


def together(
    pairs: list[tuple[TrainingLoop, RngStream]], images: int, seconds=None, on_check=lambda place: None
) -> list:
    """The outcome of every loop, all of them trained to their ends."""
    courses = {
        place: TrainingSegment(
            loop, stream, images, seconds[place] if seconds else math.inf, lambda place=place: on_check(place)
        )
        for place, (loop, stream) in enumerate(pairs)
    }
    outcomes = {}
    while left := [place for place in courses if place not in outcomes]:
        ended = FusedLoop([courses[place] for place in left]).train()
        outcomes |= {left[at]: outcome for at, outcome in ended.items()}
    return [outcomes[place] for place in courses]


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
        assert (one.images_seen, one.updates) == (other.images_seen, other.updates)
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


TRICKS = {
    "dropout": ("dcgan", {"generator__dropout": 0.5}),
    "augmented": ("acgan", {"training__diff_augment": True}),
    "rotated": ("dcgan", {"training__rotate": 5.0, "losses__penalty": "dragan"}),
    "projection": ("cdcgan", {"discriminator__conditioning": "projection", "losses__wrong_tags": "data"}),
    "hinge and r1": ("dcgan", {"losses__adversarial": "hinge", "losses__penalty": "r1"}),
    "relativistic": (
        "cdcgan",
        {
            "losses__adversarial": "relativistic",
            "losses__wrong_tags": "none",
            "losses__penalty": "r1_r2",
            "losses__penalty_every": 3,
        },
    ),
    "conditional batch norm": (
        "lightgan",
        {"generator__norm": "conditional_batch", "generator__upsampling": "bilinear"},
    ),
    "noisy": ("dcgan", {"losses__labels": "noisy", "losses__adversarial": "lsgan"}),
    "norms": ("acgan", {"generator__norm": "instance", "discriminator__norm": "layer", "losses__labels": "hard"}),
    "oversize": ("acgan", {"generator__oversize": True, "generator__final_norm": True}),
    "ratio": ("dcgan", {"updates__discriminator_steps": 3, "updates__generator_steps": 2}),
    "clipped": ("wgan_gp", {"losses__penalty": "none", "losses__weight_clip": 0.01}),
    "convolution first": ("matching_wgan", {"generator__first_layer": "convolution"}),
}


@pytest.mark.parametrize("name", TRICKS)
def test_tricks_have_the_numbers_they_have_alone(name) -> None:
    system, more = TRICKS[name]
    fused, single = (loops_of(system, SCALARS[:2], **more) for _ in range(2))
    images = 32 * fused[0][0].config.updates.discriminator_steps
    require_equal(fused, single, together(fused, images), alone(single, images))


def test_each_trial_follows_its_own_schedules() -> None:
    """One has used a tenth of its budget of 400 images already."""
    fused, single = (loops_of("r3gan", [{}, {"losses__penalty_final_share": 0.5}]) for _ in range(2))
    for pairs in (fused, single):
        alone(pairs[1:], 40)
    require_equal(fused, single, together(fused, 120), alone(single, 120))


def test_masked_images_and_other_data_are_each_trials_own() -> None:
    fused, single = (loops_of("acgan", SCALARS[:2]) for _ in range(2))
    for pairs in (fused, single):
        loop = pairs[1][0]
        loop.data = type(loop.data)(loop.data.images.flip(0)[:20], loop.data.labels[:20], loop.data.tags[:5])
    require_equal(fused, single, together(fused, 80), alone(single, 80))


@pytest.mark.parametrize("name", RECIPES)
def test_float32_agrees_up_to_its_rounding(name) -> None:
    torch.set_default_dtype(torch.float32)
    more = {"generator__dropout": 0.3} if name == "dcgan" else {}
    fused, single = (loops_of(name, [{}, {}], **more) for _ in range(2))
    for mine, own in zip(together(fused, 8), alone(single, 8), strict=True):
        for figure in mine.keys() - {"images_per_second"}:
            assert mine[figure] == pytest.approx(own[figure], rel=1e-2, abs=1e-3), figure


def test_the_way_there_does_not_matter() -> None:
    """Intervals, looks, checkpoints in the middle, and neighbours that come and go."""
    single = loops_of("acgan", SCALARS)
    alone(single, 8 * 60)
    fused = loops_of("acgan", SCALARS)
    together(fused, 8 * 7)
    together(fused[1:], 8 * 31)
    together(fused[:2], 8 * 40)
    seen: list[int] = []
    together(fused, 8 * 60, on_check=seen.append)
    assert sorted(seen) == [0, 1, 2]  # each at its 50th update
    for (one, _), (other, _) in zip(fused, single, strict=True):
        assert largest_difference(one, other) < 1e-8


def test_a_trial_that_was_fused_goes_on_alone_from_its_checkpoint() -> None:
    fused, single = (loops_of("acgan", SCALARS[:2]) for _ in range(2))
    kept: dict[int, bytes] = {}

    def save(place: int) -> None:
        file = io.BytesIO()
        torch.save(fused[place][0].state_dict(), file)
        kept[place] = file.getvalue()

    together(fused, 8 * 30, on_check=save)
    alone(single, 8)
    file = io.BytesIO()
    torch.save(single[0][0].state_dict(), file)
    assert max(map(len, kept.values())) < 1.1 * len(file.getvalue())  # no trial stores its neighbours
    for place, (loop, _) in enumerate(fused):
        other, _ = loops_of("acgan", SCALARS[:2])[place]
        other.load_state_dict(torch.load(io.BytesIO(kept[place]), weights_only=True))  # its random state too
        assert other.updates == 25
        other.train_until(8 * 30)
        assert largest_difference(other, loop) < 1e-8


def test_what_follows_is_the_loops_own_memory() -> None:
    fused = loops_of("dcgan", SCALARS[:2])
    together(fused, 16)
    before = copy.deepcopy(states(fused[1][0]))
    alone(fused[:1], 32)
    assert same(before, states(fused[1][0]))
    for loop, _ in fused:
        for tensor in (*loop.generator.state_dict().values(), *loop.discriminator.state_dict().values()):
            assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()


@pytest.mark.parametrize("sick", [0, 2])
def test_one_that_diverges_leaves_and_the_others_go_on(sick) -> None:
    fused, single = (loops_of("dcgan", SCALARS) for _ in range(2))
    with torch.no_grad():
        next(fused[sick][0].generator.parameters()).fill_(math.nan)
    outcomes = together(fused, 8 * 30)
    assert isinstance(outcomes[sick], Diverged)
    assert "is nan after 0.2 kimg" in str(outcomes[sick])
    assert fused[sick][0].updates == 25
    with torch.no_grad():
        next(single[sick][0].generator.parameters()).fill_(math.nan)
    with pytest.raises(Diverged) as caught, single[sick][1].active():
        single[sick][0].train_until(8 * 30)
    assert str(caught.value).split(" is ")[1] == str(outcomes[sick]).split(" is ")[1]
    well = [place for place in range(3) if place != sick]
    figures = alone([single[place] for place in well], 8 * 30)
    require_equal([fused[at] for at in well], [single[at] for at in well], [outcomes[at] for at in well], figures)


def test_one_that_is_out_of_time_leaves() -> None:
    pairs = loops_of("dcgan", SCALARS[:2])
    slow, other = together(pairs, 8 * 60, seconds=[1e-9, math.inf])
    assert isinstance(slow, OutOfTime)
    assert str(slow) == "0.2 kimg trained"  # at the first look
    assert isinstance(other, dict)
    assert (pairs[0][0].updates, pairs[1][0].updates) == (25, 60)


def test_a_loop_that_is_there_already_is_not_trained() -> None:
    pairs = loops_of("dcgan", SCALARS[:2])
    alone(pairs[:1], 16)
    first = copy.deepcopy(states(pairs[0][0]))
    done, other = together(pairs, 16)
    assert same(first, states(pairs[0][0]))
    assert (pairs[0][0].images_seen, pairs[1][0].images_seen) == (16, 16)
    assert set(done) == {"images_per_second"}
    assert "g_loss" in other


def test_equal_figures_are_counted_once_each() -> None:
    pairs = loops_of("dcgan", [{}, {}])
    together(pairs, 8 * 20)
    for loop, _ in pairs:
        assert not loop._figures.state_dict()["sums"]  # end_interval has given them


@pytest.mark.parametrize("name", sorted(PER_TRIAL_PARAMS))
def test_scalars_may_differ(name) -> None:
    values = {
        "optimizer.name": "rmsprop", "optimizer.decay": "linear", "training.flip": True, "training.extra_data": True,
        "losses.penalty_decay": "cosine",
    }  # fmt: skip
    one = recipe_config("acgan")
    changed = recipe_config("acgan", **{name.replace(".", "__"): values.get(name, 0.25)})
    assert one != changed
    assert fusable(one, changed)


@pytest.mark.parametrize(
    "changes",
    [
        {"generator__width": 4}, {"training__batch_size": 16}, {"losses__labels": "hard"}, {"training__rotate": 5.0},
        {"updates__generator_steps": 2}, {"generator__embedding_noise": 0.05}, {"discriminator__norm_momentum": 0.1},
        {"losses__penalty": "r1"}, {"training__diff_augment": True}, {"training__augment_probability": 0.5},
        {"training__augment_schedule": "cosine"},
    ],
)  # fmt: skip
def test_structure_may_not_differ(changes) -> None:
    one, other = recipe_config("acgan"), recipe_config("acgan", **changes)
    assert not fusable(one, other)
    with pytest.raises(ValueError, match="differ in more than scalars"):
        FusedLoop([TrainingSegment(*pair, 8) for pair in loops_of("acgan", [{}, changes])])


def test_lazy_penalties_are_fused_where_they_come_at_the_same_step() -> None:
    changes = {"losses__penalty": "r1", "losses__penalty_every": 3}
    pairs = loops_of("dcgan", [{}, {}], **changes)
    alone(pairs[:1], 8 * 2)
    with pytest.raises(ValueError, match="trained as one"):
        FusedLoop([TrainingSegment(*pair, 80) for pair in pairs])
    alone(pairs[:1], 8 * 3)
    FusedLoop([TrainingSegment(*pair, 80) for pair in pairs])


def test_spectral_norm_is_not_fused() -> None:
    one = recipe_config("cdcgan", discriminator__spectral_norm=True)
    assert not fusable(one, one)


def test_srresnet_with_dropout_is_not_fused() -> None:
    one = recipe_config("srresnet_acgan")
    assert fusable(one, one)
    for name in ("generator__dropout", "discriminator__dropout"):
        other = recipe_config("srresnet_acgan", **{name: 0.1})
        assert not fusable(other, other)


def test_bf16_is_not_fused() -> None:
    pairs = loops_of("dcgan", [{}, {}], precision="bf16")
    with pytest.raises(ValueError, match="trained as one"):
        FusedLoop([TrainingSegment(*pair, 8) for pair in pairs])


def test_a_stream_is_left_as_if_nothing_had_been_drawn() -> None:
    torch.manual_seed(5)
    stream = RngStream(torch.device("cpu"))
    expected = torch.rand(4)
    torch.manual_seed(6)
    outside = torch.get_rng_state()
    with stream.active():
        first = torch.rand(2)
    assert torch.equal(torch.get_rng_state(), outside)
    with pytest.raises(TypeError), stream.active():
        torch.rand("two")
    assert torch.equal(torch.get_rng_state(), outside)
    with stream.active():
        assert torch.equal(torch.cat([first, torch.rand(2)]), expected)
