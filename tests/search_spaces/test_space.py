"""What may be done to a space, what is refused, and what it looks like as JSON."""

import json

import optuna
import pytest
from optuna.samplers import RandomSampler

from search_spaces.acgan import ACGAN
from search_spaces.registry import SPACES
from search_spaces.space import Dimension, Space
from trainables.errors import UsageError

SMALL = Space(
    "small",
    "one of each kind",
    {"generator.width": 16, "losses.adversarial_weight": 1, "updates.generator_steps": 2},
    (
        Dimension("discriminator.conditioning", "acgan", choices=("acgan", "concat"), claim="2"),
        Dimension("generator.width", 16, choices=(8, 16, 32), claim="1"),
        Dimension("losses.adversarial_weight", 1.0, low=0.25, high=4.0, log=True, claim="10"),
        Dimension("updates.generator_steps", 2, low=1, high=4, claim="9a"),
        Dimension(
            "losses.tag_weight", 1.0, low=0.5, high=2.0, when={"discriminator.conditioning": ("acgan",)}, claim="10"
        ),
    ),
)


class Fixed:
    """Stands in for an Optuna trial: gives what it is told and remembers what it was asked."""

    def __init__(self, **answers) -> None:
        self.answers = {name.replace("__", "."): value for name, value in answers.items()}
        self.asked: list[tuple] = []

    def suggest_int(self, name, low, high, *, log=False):
        self.asked.append((name, "int", low, high, log))
        return self.answers.get(name, low)

    def suggest_float(self, name, low, high, *, log=False):
        self.asked.append((name, "float", low, high, log))
        return self.answers.get(name, low)

    def suggest_categorical(self, name, choices):
        self.asked.append((name, "choice", tuple(choices)))
        return self.answers.get(name, choices[0])


def names(space: Space) -> list[str]:
    return [dimension.name for dimension in space.dimensions]


def test_each_kind_is_asked_for_in_its_own_way() -> None:
    trial = Fixed()
    params = SMALL.sample(trial)
    assert trial.asked == [
        ("discriminator.conditioning", "choice", ("acgan", "concat")),
        ("generator.width", "choice", (8, 16, 32)),
        ("losses.adversarial_weight", "float", 0.25, 4.0, True),
        ("updates.generator_steps", "int", 1, 4, False),
        ("losses.tag_weight", "float", 0.5, 2.0, False),
    ]
    assert (params["generator.width"], params["losses.adversarial_weight"]) == (8, 0.25)
    assert params["training.batch_size"] == 64  # not a dimension: the recipe's


def test_a_dimension_without_effect_is_not_asked_for() -> None:
    trial = Fixed(discriminator__conditioning="concat")
    assert SMALL.sample(trial)["losses.tag_weight"] == 1.0
    assert "losses.tag_weight" not in [name for name, *_ in trial.asked]


def test_another_default_keeps_the_dimension() -> None:
    space = SMALL.with_default("generator.width", "32")
    assert space.recipe["generator.width"] == space.dimension("generator.width").default == 32
    assert space.dimension("generator.width").choices == (8, 16, 32)
    assert names(space) == names(SMALL)
    assert SMALL.recipe["generator.width"] == 16  # a space does not change


def test_another_default_of_what_is_no_dimension() -> None:
    space = SMALL.with_default("training.batch_size", 32)
    assert space.recipe["training.batch_size"] == 32
    assert names(space) == names(SMALL)
    assert space.sample(Fixed())["training.batch_size"] == 32


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("generator.width", 64, r"generator\.width is 64; the space searches 8, 16, 32\..*--fix.*--choices"),
        ("losses.adversarial_weight", 5, r"is 5.0; the space searches 0.25 to 4\..*--fix.*--range"),
        ("losses.adversarial_weight", 0.2, "the space searches 0.25 to 4"),
        ("updates.generator_steps", 0, "is 0.*1 to"),
        ("generator.width", "wide", "a whole number is needed"),
        ("training.batch_size", 1, "allowed: 2 to 4096"),
        ("generator.widht", 8, r"did you mean 'generator\.width'"),
    ],
)
def test_an_impossible_default_is_refused(name, value, says) -> None:
    with pytest.raises(UsageError, match=says):
        SMALL.with_default(name, value)


@pytest.mark.parametrize("value", [0.25, 4.0])
def test_the_ends_of_a_range_are_inside(value) -> None:
    assert SMALL.with_default("losses.adversarial_weight", value).recipe["losses.adversarial_weight"] == value


def test_a_fixed_value_leaves_the_space_and_may_lie_outside_it() -> None:
    space = SMALL.without("generator.width", 64)
    assert space.recipe["generator.width"] == 64
    assert names(space) == [name for name in names(SMALL) if name != "generator.width"]
    trial = Fixed()
    assert space.sample(trial)["generator.width"] == 64
    assert "generator.width" not in [name for name, *_ in trial.asked]


def test_fixing_a_condition_decides_it() -> None:
    trial = Fixed()
    SMALL.without("discriminator.conditioning", "concat").sample(trial)
    assert "losses.tag_weight" not in [name for name, *_ in trial.asked]


@pytest.mark.parametrize(("name", "value"), [("generator.widht", 8), ("generator.width", 0), ("image_size", 50)])
def test_an_impossible_fixed_value_is_refused(name, value) -> None:
    with pytest.raises(UsageError, match=name):
        SMALL.without(name, value)


def test_another_range_keeps_scale_condition_and_claim() -> None:
    space = SMALL.with_range("losses.adversarial_weight", "0.5", "8")
    new = space.dimension("losses.adversarial_weight")
    assert (new.low, new.high, new.log, new.default, new.claim) == (0.5, 8.0, True, 1.0, "10")
    assert SMALL.with_range("losses.tag_weight", 0.1, 9).dimension("losses.tag_weight").when == {
        "discriminator.conditioning": ("acgan",)
    }
    assert names(space) == names(SMALL)


@pytest.mark.parametrize(("low", "high", "default"), [(2, 4, 2.0), (0.25, 0.5, 0.5), (0.5, 2, 1.0)])
def test_a_recipe_outside_another_range_moves_to_its_nearer_end(low, high, default) -> None:
    space = SMALL.with_range("losses.adversarial_weight", low, high)
    assert space.recipe["losses.adversarial_weight"] == default
    assert space.dimension("losses.adversarial_weight").default == default


def test_choices_may_become_a_range() -> None:
    space = SMALL.with_range("generator.width", "8", "64")
    new = space.dimension("generator.width")
    assert (new.choices, new.low, new.high, new.kind, new.default) == ((), 8, 64, "int", 16)
    trial = Fixed()
    space.sample(trial)
    assert ("generator.width", "int", 8, 64, False) in trial.asked


def test_a_range_makes_a_dimension_of_what_was_none() -> None:
    space = SMALL.with_range("optimizer.beta1", 0, 0.9)
    assert names(space) == [*names(SMALL), "optimizer.beta1"]
    new = space.dimension("optimizer.beta1")
    assert (new.low, new.high, new.default, new.kind, new.claim) == (0.0, 0.9, 0.5, "float", "added by the user")


@pytest.mark.parametrize(
    ("name", "low", "high", "says"),
    [
        ("losses.adversarial_weight", 4, 1, "low first"),
        ("losses.adversarial_weight", 0, 1, "adversarial_weight is 0|log scale"),
        ("losses.adversarial_weight", -1, 1, "log scale"),
        ("losses.adversarial_weight", "a", 1, "is 'a'; a number is needed"),
        ("losses.adversarial_weight", 1, "nan", "a number is needed"),
        ("losses.adversarial_weight", 1, "inf", "allowed: 0 to 1000"),
        ("updates.generator_steps", 1.5, 3, "a whole number is needed"),
        ("updates.generator_steps", 0, 3, "allowed: 1 to 100"),
        ("updates.generator_steps", 1, 101, "allowed: 1 to 100"),
        ("discriminator.conditioning", 0, 1, "takes names, not a range"),
        ("training.flip", 0, 1, "takes names, not a range"),
        ("training.flip", "false", "true", "takes names, not a range; use --choices"),
        ("optimizer.beta2", 0.9, 1.0, "allowed: 0 to 0.99999"),
        ("generator.widht", 1, 2, r"did you mean 'generator\.width'"),
    ],
)
def test_an_impossible_range_is_refused(name, low, high, says) -> None:
    with pytest.raises(UsageError, match=says):
        SMALL.with_range(name, low, high)


def test_names_have_no_range_even_where_text_is_a_name() -> None:
    with pytest.raises(UsageError, match="--choices discriminator"):
        SMALL.with_range("discriminator.conditioning", "acgan", "concat")


def test_other_choices_keep_the_recipe_where_it_is_one_of_them() -> None:
    space = SMALL.with_choices("generator.width", ["4", "16"])
    assert space.dimension("generator.width").choices == (4, 16)
    assert space.recipe["generator.width"] == 16
    moved = SMALL.with_choices("generator.width", [4, 8])
    assert moved.recipe["generator.width"] == moved.dimension("generator.width").default == 4


def test_a_range_may_become_choices() -> None:
    new = SMALL.with_choices("losses.adversarial_weight", [0.5, "2"]).dimension("losses.adversarial_weight")
    assert (new.choices, new.low, new.high, new.log, new.kind) == ((0.5, 2.0), None, None, False, "choice")
    assert all(isinstance(value, float) for value in new.choices)


def test_choices_make_a_dimension_of_what_was_none() -> None:
    space = SMALL.with_choices("training.flip", ["true", "false"])
    assert space.dimension("training.flip").choices == (True, False)
    assert space.recipe["training.flip"] is False
    trial = Fixed(training__flip=True)
    assert space.sample(trial)["training.flip"] is True


@pytest.mark.parametrize(
    ("name", "choices", "says"),
    [
        ("generator.width", [8, "x"], "is 'x'; a whole number is needed"),
        ("generator.width", [8, 0], "allowed: 1 to 1024"),
        ("generator.width", [8, 2000], "allowed: 1 to 1024"),
        ("discriminator.conditioning", ["acgan", "cgan"], "allowed: acgan, multilabel, concat, map"),
        ("generator.width", [], "generator.width"),
        ("generator.widht", [8], r"did you mean 'generator\.width'"),
    ],
)
def test_impossible_choices_are_refused(name, choices, says) -> None:
    with pytest.raises(UsageError, match=says):
        SMALL.with_choices(name, choices)


def test_changes_add_up() -> None:
    space = SMALL.without("generator.width", 4).with_range("updates.generator_steps", 1, 2)
    space = space.with_choices("losses.labels", ["hard", "soft"]).with_default("losses.tag_weight", 2)
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    study.enqueue_trial(space.active_defaults())
    assert space.sample(study.ask()) == space.recipe
    drawn = [space.sample(study.ask()) for _ in range(40)]
    assert {params["generator.width"] for params in drawn} == {4}
    assert {params["updates.generator_steps"] for params in drawn} == {1, 2}
    assert {params["losses.labels"] for params in drawn} == {"hard", "soft"}


IMPLYING = Space(
    "implying",
    "a critic's penalty must be, a system's networks may be changed",
    {"system": "acgan", "losses.labels": "hard"},
    (
        Dimension("system", "acgan", choices=("acgan", "cdcgan", "custom"), claim="ours"),
        Dimension(
            "generator.architecture", "acgan", choices=("acgan", "dense", "dcgan"), when={"system": ("custom",)}
        ),
        Dimension("losses.adversarial", "bce", choices=("bce", "wgan"), claim="14a"),
        Dimension("losses.penalty", "none", choices=("none", "wgan_gp"), when={"losses.adversarial": ("bce",)}),
    ),
    implied=(
        ({"losses.adversarial": ("wgan",)}, {"losses.penalty": "wgan_gp"}),
        ({"system": ("acgan",)}, {"generator.architecture": "acgan", "optimizer.beta2": 0.999}),
        ({"system": ("cdcgan",)}, {"generator.architecture": "dense", "optimizer.beta2": 0.9}),
        ({"generator.architecture": ("dense",)}, {"generator.bias": False}),
    ),
)  # fmt: skip


def test_what_is_implied_may_imply_more() -> None:
    params = IMPLYING.sample(Fixed(system="cdcgan"))
    assert (params["generator.architecture"], params["optimizer.beta2"]) == ("dense", 0.9)
    assert params["generator.bias"] is False


def test_another_default_brings_what_it_implies() -> None:
    """Else trial 0 would not be the recipe."""
    space = IMPLYING.with_default("system", "cdcgan").with_default("losses.adversarial", "wgan")
    assert (space.recipe["generator.architecture"], space.recipe["generator.bias"]) == ("dense", False)
    assert (space.recipe["optimizer.beta2"], space.recipe["losses.penalty"]) == (0.9, "wgan_gp")
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    study.enqueue_trial(space.active_defaults())
    assert space.sample(study.ask()) == space.recipe
    assert IMPLYING.without("system", "cdcgan").recipe["generator.bias"] is False
    assert IMPLYING.with_choices("losses.adversarial", ["wgan"]).recipe["losses.penalty"] == "wgan_gp"


@pytest.mark.parametrize("system", ["acgan", "cdcgan"])
def test_what_the_user_fixes_or_adds_is_no_longer_implied(system) -> None:
    fixed = IMPLYING.without("optimizer.beta2", 0.5).without("generator.architecture", "dcgan")
    params = fixed.sample(Fixed(system=system))
    assert (params["optimizer.beta2"], params["generator.architecture"]) == (0.5, "dcgan")
    assert IMPLYING.with_default("optimizer.beta2", 0.5).sample(Fixed(system=system))["optimizer.beta2"] == 0.5
    added = IMPLYING.with_choices("optimizer.beta2", [0.5, 0.6])
    assert added.sample(Fixed(system=system, optimizer__beta2=0.6))["optimizer.beta2"] == 0.6


def test_what_could_not_be_built_otherwise_stays_implied() -> None:
    fixed = IMPLYING.without("losses.penalty", "none")
    assert fixed.sample(Fixed(losses__adversarial="wgan"))["losses.penalty"] == "wgan_gp"
    assert fixed.sample(Fixed(losses__adversarial="bce"))["losses.penalty"] == "none"


def test_a_default_that_the_rest_of_the_recipe_rules_out_is_refused() -> None:
    says = "generator.architecture is 'dense'; the rest of the recipe of space implying implies 'acgan'. Change that"
    with pytest.raises(UsageError, match=says):
        IMPLYING.with_default("generator.architecture", "dense")
    custom = IMPLYING.with_default("system", "custom").with_default("generator.architecture", "dense")
    assert custom.recipe["generator.bias"] is False


def test_choices_without_what_is_implied_hold_where_they_vary() -> None:
    space = IMPLYING.with_choices("generator.architecture", ["dcgan", "dense"])
    drawn = [space.sample(Fixed(system=name, generator__architecture="dcgan")) for name in ("acgan", "custom")]
    assert [params["generator.architecture"] for params in drawn] == ["acgan", "dcgan"]


def test_an_unknown_dimension_is_refused_with_the_nearest() -> None:
    says = (
        r"space small has no dimension 'generator\.widht'; did you mean 'generator\.width'\?; `gansweep spaces small`"
    )
    with pytest.raises(UsageError, match=says):
        SMALL.dimension("generator.widht")


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ({}, "a low and a high end are needed"),
        ({"low": 0.5}, "a low and a high end are needed"),
        ({"high": 0.5}, "a low and a high end are needed"),
        ({"low": 2.0, "high": 0.5}, "low first"),
        ({"low": 0.0, "high": 0.5, "log": True}, "it must begin above 0"),
        ({"choices": (1.0, "x")}, "a number is needed"),
    ],
)
def test_an_impossible_dimension_is_refused(shape, says) -> None:
    with pytest.raises(UsageError, match=says):
        Dimension("losses.tag_weight", 1.0, **shape)


@pytest.mark.parametrize("shape", [{"choices": (0.5, 2.0)}, {"low": 2.0, "high": 4.0}])
def test_a_default_outside_its_own_dimension_is_refused(shape) -> None:
    """Else trial 0 would silently not be the recipe."""
    with pytest.raises(UsageError, match=r"losses\.tag_weight"):
        Space("own", "", {"losses.tag_weight": 1.0}, (Dimension("losses.tag_weight", 1.0, **shape),))


def test_an_unknown_parameter_in_a_condition_is_refused() -> None:
    """Else the dimension would silently never vary."""
    when = {"discriminator.conditionning": ("acgan",)}
    with pytest.raises(UsageError, match="conditionning"):
        Space("own", "", {}, (Dimension("losses.tag_weight", 1.0, low=0.5, high=2.0, when=when),))


def test_a_dimension_stands_once_and_has_the_recipes_default() -> None:
    width = Dimension("generator.width", 8, choices=(8, 16))
    with pytest.raises(UsageError, match=r"generator\.width appears twice"):
        Space("own", "", {"generator.width": 8}, (width, width))
    with pytest.raises(UsageError, match="its default 8 is not the recipe's 16"):
        Space("own", "", {"generator.width": 16}, (width,))


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_json_has_exactly_the_keys_of_the_contract(space) -> None:
    data = json.loads(json.dumps(space.to_json(), allow_nan=False))
    assert set(data) == {"name", "summary", "recipe", "notes", "dimensions"}
    assert data["recipe"] == space.recipe
    common = {"name", "kind", "log", "default", "when", "claim"}
    for dimension in data["dimensions"]:
        shape = {"choices"} if dimension["kind"] == "choice" else {"low", "high"}
        assert set(dimension) == common | shape
        assert dimension["kind"] in ("choice", "int", "float")


def test_json_of_a_dimension() -> None:
    assert SMALL.dimension("losses.tag_weight").to_json() == {
        "name": "losses.tag_weight",
        "kind": "float",
        "low": 0.5,
        "high": 2.0,
        "log": False,
        "default": 1.0,
        "when": {"discriminator.conditioning": ["acgan"]},
        "claim": "10",
    }
    assert ACGAN.dimension("generator.final_norm").to_json()["choices"] == [False, True]
    assert SMALL.dimension("updates.generator_steps").to_json()["kind"] == "int"
