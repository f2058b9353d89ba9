"""The configuration: translation to and from flat parameters, and everything it refuses."""

from typing import Any, Literal, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.registry import SPACES
from trainables.config import (
    TRANSLATING,
    GanConfig,
    GeneratorConfig,
    LossConfig,
    coerce,
    parameter_types,
    upsampling_steps,
)
from trainables.errors import UsageError

CHANGED = {
    "image_size": 32,
    "generator.width": 16,
    "generator.final_activation": "leaky_relu",
    "generator.oversize": True,
    "discriminator.conditioning": "concat",
    "losses.tag_weight": 2.5,
    "updates.generator_steps": 3,
    "optimizer.beta1": 0.0,
    "training.flip": True,
}


def another(name: str, value: Any) -> Any:
    """A different value that the parameter may take; the same one where it can take no other."""
    kind = parameter_types()[name]
    if get_origin(kind) is Literal:
        return next((choice for choice in get_args(kind) if choice != value), value)
    if kind is bool:
        return not value
    if kind is int:
        return 32 if name == "image_size" else value + 1
    return 0.5 * value + 0.1  # equal for 0.2 only, which no default is


def test_flat_parameters_survive_the_round_trip() -> None:
    config = GanConfig.from_params(CHANGED)
    assert config.to_params() == GanConfig().to_params() | CHANGED
    assert GanConfig.from_params(config.to_params()) == config
    assert (config.generator.width, config.updates.generator_steps, config.training.flip) == (16, 3, True)


def test_text_from_a_command_line_takes_the_parameters_type() -> None:
    text = {
        "generator.width": "16",
        "losses.tag_weight": "2.5",
        "optimizer.beta1": "0",
        "training.flip": "True",
        "generator.final_norm": "false",
        "generator.final_activation": "leaky_relu",
        "optimizer.generator_lr": "1e-4",
    }
    read = {name: GanConfig.from_params(text).to_params()[name] for name in text}
    assert list(read.values()) == [16, 2.5, 0.0, True, False, "leaky_relu", 1e-4]
    assert [type(value) for value in read.values()] == [int, float, float, bool, bool, str, float]


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("generator.widht", "generator.width"), ("tag_weight", "losses.tag_weight"), ("imagesize", "image_size")],
)
def test_an_unknown_name_is_refused_with_the_nearest(wrong, meant) -> None:
    with pytest.raises(UsageError, match=f"unknown parameter '{wrong}'; did you mean '{meant}'"):
        GanConfig.from_params({wrong: 1})


def test_a_name_near_none_points_to_the_list() -> None:
    with pytest.raises(UsageError, match="unknown parameter 'zzzz'; `gansweep spaces NAME`"):
        coerce("zzzz", 1)


def test_a_section_is_no_parameter() -> None:
    with pytest.raises(UsageError, match="unknown parameter 'generator'"):
        GanConfig.from_params({"generator": {"width": 16}})


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        (
            "generator.final_activation",
            "tahn",
            "is 'tahn'; allowed: tanh, leaky_relu, sigmoid, none; did you",
        ),
        (
            "discriminator.conditioning",
            None,
            "is None; allowed: acgan, multilabel, concat, map, combo, projection, none, domain",
        ),
        ("losses.labels", True, "is True; allowed: hard, soft, noisy"),
        ("training.flip", 1, "is 1; allowed: true, false"),
        ("training.flip", "yes", "is 'yes'; allowed: true, false"),
        ("training.flip", "", "is ''; allowed: true, false"),
        ("generator.width", 16.5, "is 16.5; a whole number is needed"),
        ("generator.width", "16.5", "is '16.5'; a whole number is needed"),
        ("generator.width", "", "is ''; a whole number is needed"),
        ("generator.width", True, "is True; a whole number is needed"),
        ("generator.width", None, "is None; a whole number is needed"),
        ("generator.width", float("inf"), "is inf; a whole number is needed"),
        ("generator.width", [16], "is .16.; a whole number is needed"),
        ("losses.tag_weight", "much", "is 'much'; a number is needed"),
        ("losses.tag_weight", False, "is False; a number is needed"),
        ("losses.tag_weight", float("nan"), "is nan; a number is needed"),
        ("losses.tag_weight", "nan", "is 'nan'; a number is needed"),
    ],
)
def test_a_value_of_another_type_is_refused(name, value, says) -> None:
    with pytest.raises(UsageError, match=f"^{name} {says}"):
        GanConfig.from_params({name: value})


@pytest.mark.parametrize(
    ("name", "low", "high", "below", "above"),
    [
        ("image_size", 16, 256, 14, 320),
        ("generator.width", 1, 1024, 0, 1025),
        ("generator.embedding_noise", 0.0, 10.0, -0.01, 10.01),
        ("generator.norm_momentum", 0.0, 1.0, -0.01, 1.01),
        ("losses.tag_weight", 0.0, 1000.0, -1, 1001),
        ("updates.discriminator_steps", 1, 100, 0, 101),
        ("optimizer.generator_lr", 1e-8, 1.0, 0, 1.01),
        ("optimizer.beta2", 0.0, 0.99999, -0.1, 1.0),
        ("training.batch_size", 2, 4096, 1, 4097),
        ("training.ema_decay", 0.0, 0.99999, -0.1, 1.0),
        ("training.ema_decay", 0.0, 0.99999, "-inf", "inf"),
    ],
)
def test_both_ends_of_a_range_are_allowed_and_nothing_beyond(name, low, high, below, above) -> None:
    for value in (low, high):
        assert GanConfig.from_params({name: value}).to_params()[name] == value
    for value in (below, above):
        with pytest.raises(UsageError, match=f"^{name} is .*; allowed: .* to "):
            GanConfig.from_params({name: value})


def test_sections_built_by_hand_are_checked_too() -> None:
    with pytest.raises(UsageError, match=r"generator\.width is 0; allowed: 1 to 1024"):
        GanConfig(generator=GeneratorConfig(width=0))
    with pytest.raises(UsageError, match=r"generator\.width is '64'; give it as 64"):
        GanConfig(generator=GeneratorConfig(width="64"))  # type: ignore[arg-type]


def test_no_adversarial_loss_is_no_gan() -> None:
    with pytest.raises(UsageError, match="adversarial_weight is 0"):
        GanConfig.from_params({"losses.adversarial_weight": 0})


@pytest.mark.parametrize(
    ("size", "base", "steps"),
    [(16, 4, 2), (20, 5, 2), (24, 6, 2), (28, 7, 2), (48, 6, 3), (64, 4, 4), (96, 6, 4), (112, 7, 4), (256, 4, 6)],
)
def test_a_size_is_a_small_base_doubled(size, base, steps) -> None:
    assert upsampling_steps(size) == (base, steps)


# The sizes are 16 20 24 28 | 32 40 48 56 | 64 80 96 112 | 128 160 192 224 | 256.
@pytest.mark.parametrize(
    ("size", "nearest", "next_nearest"), [(50, 48, 56), (60, 56, 64), (18, 16, 20), (100, 96, 112), (255, 256, 224)]
)
def test_an_impossible_size_is_refused_with_the_two_nearest(size, nearest, next_nearest) -> None:
    with pytest.raises(UsageError, match=f"image_size is {size}; .* nearest sizes are {nearest} and {next_nearest}$"):
        GanConfig(image_size=size)


def test_the_sizes_that_a_refusal_names_are_allowed() -> None:
    """17 lies between 16 and 20: 14 is as near as 20, but smaller than an image may be."""
    allowed, named = set(), set()
    for size in range(16, 257):
        try:
            GanConfig(image_size=size)
        except UsageError as refusal:
            words = str(refusal).split()
            named |= {int(words[-3]), int(words[-1])}
        else:
            allowed.add(size)
    assert named == allowed
    assert sorted(allowed) == [16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256]


def test_the_hash_names_the_configuration() -> None:
    assert GanConfig().hash() == GanConfig.from_params(GanConfig().to_params()).hash()
    assert len(GanConfig().hash()) == 12
    assert int(GanConfig().hash(), 16) >= 0


HASHES = {
    "acgan": "276bba95e4e4", "srresnet_acgan": "07fe406c13c7", "matching_wgan": "b00b398f2834",
    "cdcgan": "235dc5389979", "dcgan": "1771bb2712db", "combo_dcgan": "23a4f5f27489", "wgan_gp": "2aa7cd7b7f86",
    "cyclegan": "9800c21e644a", "stargan": "858ff57a6907",
}  # fmt: skip
"""As version 0.1.0 computed them."""


@pytest.mark.parametrize("name", HASHES)
def test_a_recipe_keeps_its_hash_when_parameters_are_added(name) -> None:
    assert GanConfig.from_params(SPACES[name].recipe).hash() == HASHES[name]


TOLD = {
    "generator.conditioning": "code", "discriminator.conditioning": "concat", "losses.labels": "hard",
    "losses.adversarial": "bce", "losses.penalty": "wgan_gp", "training.diff_augment": True,
}  # fmt: skip
"""A configuration from which each parameter can change on its own."""
CHANGES = {
    "generator.conditioning": "embedding",
    "discriminator.conditioning": "map",
    "losses.adversarial": "lsgan",
    "losses.penalty": "dragan",
    "losses.penalty_on_tags": True,
    "losses.wrong_tags": "data",
    "tags.encoding": "one_hot_none",
}


def test_the_hash_changes_with_any_value() -> None:
    params = GanConfig.from_params(TOLD).to_params()
    changed = {name: CHANGES.get(name, another(name, value)) for name, value in params.items()}
    assert all(value != params[name] for name, value in changed.items())
    assert set(changed) == set(parameter_types())
    hashes = {GanConfig.from_params(params | {name: value}).hash() for name, value in changed.items()}
    assert len(hashes | {GanConfig.from_params(params).hash()}) == len(changed) + 1


def test_equal_configurations_have_equal_hashes() -> None:
    whole, real = (GanConfig(losses=LossConfig(tag_weight=weight)) for weight in (2, 2.0))
    assert whole == real
    assert whole.hash() == real.hash()


@pytest.mark.parametrize("system", TRANSLATING)
def test_a_system_that_translates_has_its_own_parts_and_no_other(system) -> None:
    parts = {"system": system, "losses.labels": "hard", **TRANSLATING[system]}
    config = GanConfig.from_params(parts)
    assert config.translates
    assert config.conditional
    for name, wanted in TRANSLATING[system].items():
        with pytest.raises(UsageError, match=f"^{name} is '.*' with system '{system}'; use '{wanted}'$"):
            GanConfig.from_params(parts | {name: GanConfig().to_params()[name] if wanted != "acgan" else "concat"})
        if wanted not in ("code", "acgan"):
            with pytest.raises(UsageError, match=f"^{name} is '{wanted}' with .*it is for cyclegan and stargan$"):
                GanConfig.from_params({name: wanted})
    assert not GanConfig().translates


@pytest.mark.parametrize(
    ("system", "name", "value"),
    [
        ("cyclegan", "generator.noise_dim", 100),
        ("cyclegan", "generator.final_activation", "sigmoid"),
        ("cyclegan", "generator.oversize", True),
        ("cyclegan", "losses.tag_weight", 2.0),
        ("stargan", "tags.encoding", "one_hot_unknown"),
        ("stargan", "losses.wrong_tag_weight", 0.1),
        ("stargan", "training.pool_size", 50),
    ],
)
def test_what_means_nothing_to_a_translation_keeps_its_default(system, name, value) -> None:
    parts = {"system": system, "losses.labels": "hard", **TRANSLATING[system]}
    default = GanConfig().to_params()[name]
    with pytest.raises(UsageError, match=rf"^{name} is {value!r} with system '{system}'.* leave it at {default!r}$"):
        GanConfig.from_params(parts | {name: value})
    assert GanConfig.from_params(parts | {name: default}) == GanConfig.from_params(parts)


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.complex_numbers(), st.decimals(allow_nan=True), st.text(),
    st.binary(), st.lists(st.integers()), st.dictionaries(st.text(), st.integers()), st.fractions(),
    st.sampled_from(["tanh", "TRUE", "1e400", "-0", "0x10", "1_000", "inf", "hard"]),
)  # fmt: skip


@given(name=st.sampled_from(sorted(parameter_types())), value=ANYTHING)
def test_any_value_gives_the_type_or_a_usage_error(name, value) -> None:
    kind = parameter_types()[name]
    try:
        coerced = coerce(name, value)
    except UsageError:
        return  # any other error fails the test
    assert coerced in get_args(kind) if get_origin(kind) is Literal else type(coerced) is kind
    assert coerce(name, coerced) == coerced


def test_a_number_too_long_to_print_is_refused_like_any_other() -> None:
    for name in ("generator.width", "losses.labels", "training.flip"):
        with pytest.raises(UsageError, match=f"^{name} is "):
            coerce(name, 10**5000)


@given(name=st.text())
def test_any_other_name_is_a_usage_error(name) -> None:
    if name not in parameter_types():
        with pytest.raises(UsageError, match="unknown parameter"):
            coerce(name, 1)
