"""Contract of all samplers on a space with conditions, and properties of each."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import optuna
import pytest
from optuna.trial import TrialState

from pipeline.search.compatibility import choose_objectives, combination_notes, require_combination
from pipeline.search.grid import Grid, grid_values
from pipeline.search.random_sampling import draw_configurations
from pipeline.search.samplers import SpaceGridSampler, make_sampler, proposals
from pipeline.search.study import StoredStudy, objectives, open_study
from pipeline.settings import Sampler, SweepSettings
from pipeline.tune_adapters.study_searcher import StudySearcher
from search_spaces.registry import SPACES
from search_spaces.space import Dimension, Space
from trainables.config import GanConfig
from trainables.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = get_args(Sampler)
TRIALS = 14
"""Enough for every model to take over from its random beginning."""

SMALL = Space(
    "small",
    "every kind of dimension, conditions, and what they imply",
    {"generator.width": 16, "losses.labels": "hard", "updates.generator_steps": 2},
    (
        Dimension("discriminator.conditioning", "acgan", choices=("acgan", "concat")),
        Dimension("generator.width", 16, choices=(8, 16, 16, 32)),
        Dimension("losses.adversarial", "bce", choices=("bce", "wgan")),
        Dimension("losses.penalty", "none", choices=("none", "r1"), when={"losses.adversarial": ("bce",)}),
        Dimension("losses.adversarial_weight", 1.0, low=0.25, high=4.0, log=True),
        Dimension("updates.generator_steps", 2, low=1, high=4),
        Dimension(
            "updates.discriminator_steps", 1, low=1, high=2, when={"updates.generator_steps": (1,)},
        ),
        Dimension("losses.tag_weight", 1.0, low=0.5, high=2.5, when={"discriminator.conditioning": ("acgan",)}),
    ),
    implied=(({"losses.adversarial": ("wgan",)}, {"losses.penalty": "wgan_gp"}),),
)  # fmt: skip
RANGES = Space(
    "ranges",
    "what CMA-ES can search: one objective, ranges without conditions",
    {**SPACES["dcgan"].recipe, "optimizer.generator_lr": 2e-4, "optimizer.beta1": 0.5},
    (
        Dimension("optimizer.generator_lr", 2e-4, low=1e-5, high=1e-3, log=True),
        Dimension("optimizer.beta1", 0.5, low=0.0, high=0.9),
        Dimension("updates.generator_steps", 1, low=1, high=4),
        Dimension("optimizer.beta2", 0.999, low=0.999, high=0.999),
    ),
)


def space_for(name: str) -> Space:
    return RANGES if name == "cmaes" else SMALL


def open_searcher(name: str, seed: int = 0, url: str | None = None) -> StudySearcher:
    """A searcher as a new driver makes it; in memory without a URL."""
    space = space_for(name)
    if url is None:
        storage = optuna.storages.InMemoryStorage()
        optuna.create_study(storage=storage, study_name="s", directions=list(objectives(space).values()))
        study = StoredStudy("s", storage)
    else:
        study = open_study(url, "s", objectives(space).values())
    study.sampler = make_sampler(name, seed, space, known=len(study.trials))
    trials = proposals(study.sampler, TRIALS)
    return StudySearcher(study, space, sweep="s", trials=trials, seed=seed, max_kimg=10)


def scores(params: dict[str, Any], kimg: int = 10) -> dict[str, float]:
    distance = 10 + abs(math.log(params["optimizer.generator_lr"] / 3e-4)) + params["updates.generator_steps"]
    return {"kimg": kimg, "distance": distance, "tag_accuracy": 0.5 + 0.1 * params["losses.adversarial_weight"]}


def ask(searcher: StudySearcher, trial_id: str) -> dict[str, Any]:
    config = searcher.suggest(trial_id)
    assert isinstance(config, dict)
    return dict(config["params"])


def course(searcher: StudySearcher, count: int = TRIALS, first: int = 0) -> list[dict[str, Any]]:
    """Proposals of a sweep in which every third trial is stopped, every fifth fails and one is always running."""
    asked: list[dict[str, Any]] = []
    for number in range(first, first + count):
        asked.append(ask(searcher, str(number)))
        if number > first:
            before, kimg = number - 1, 4 if (number - 1) % 3 == 2 else 10
            result = {"kimg": 1, "failure": "diverged"} if before % 5 == 4 else scores(asked[-2], kimg)
            searcher.on_trial_complete(str(before), result)
    searcher.on_trial_complete(str(first + count - 1), scores(asked[-1]))
    return asked


def valid(space: Space, params: dict[str, Any]) -> None:
    """Every active value lies in its dimension, every other is the recipe's or implied."""
    GanConfig.from_params(params)
    drawn: dict[str, Any] = {}
    expected = dict(space.recipe)
    for condition, values in space.implied:
        if all(params[name] in allowed for name, allowed in condition.items()):
            expected |= values
    for dimension in space.dimensions:
        value = params[dimension.name]
        if not dimension.active(params):
            assert value == expected[dimension.name]
            continue
        drawn[dimension.name] = value
        if dimension.choices:
            assert value in dimension.choices
        else:
            assert isinstance(value, int if dimension.kind == "int" else float)
            assert math.isfinite(value)
            assert dimension.low <= value <= dimension.high  # type: ignore[operator]
    rest = set(params) - {dimension.name for dimension in space.dimensions}
    assert {name: params[name] for name in rest} == {name: expected[name] for name in rest}


# What every sampler must do ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_proposals_lie_in_the_space_and_can_be_built(name: str) -> None:
    asked = course(open_searcher(name))
    assert asked[0] == dict(space_for(name).recipe)
    for params in asked:
        valid(space_for(name), params)
    # A model does not propose one thing for ever.
    assert len({tuple(params.items()) for params in asked}) > TRIALS / 2


@pytest.mark.parametrize("name", NAMES)
def test_equal_seeds_propose_the_same_and_others_something_else(name: str) -> None:
    asked = [course(open_searcher(name, seed)) for seed in (1, 1, 2)]
    assert asked[0] == asked[1]
    assert asked[0][1:] != asked[2][1:]


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_sweep_repeats_no_trial(name: str) -> None:
    # A database in memory: files wait for the disk at every commit.
    url = f"sqlite:///file:{name}?mode=memory&cache=shared&uri=true"
    first = course(open_searcher(name, url=url), count=6)
    again = open_searcher(name, url=url)
    assert again.pending == TRIALS - 6
    second = course(again, count=TRIALS - 6, first=6)
    assert again.suggest("more") == "FINISHED"
    for params in second:
        valid(space_for(name), params)
    if name != "nsga2":  # which may well cross two equal parents
        # A sampler that began anew would draw its first trials a second time.
        assert len({tuple(params.items()) for params in first + second}) == TRIALS
    known = optuna.load_study(study_name="s", storage=url).trials
    assert len(known) == TRIALS
    assert all(trial.state.is_finished() for trial in known)


@pytest.mark.parametrize("name", NAMES)
def test_a_study_of_failed_trials_continues(name: str) -> None:
    searcher = open_searcher(name)
    for number in range(TRIALS):
        valid(space_for(name), ask(searcher, str(number)))
        searcher.on_trial_complete(str(number), None, error=True)
    assert {trial.state for trial in searcher.study.trials} == {TrialState.FAIL}


@pytest.mark.parametrize("name", NAMES)
def test_many_trials_may_run_at_once(name: str) -> None:
    searcher = open_searcher(name)
    asked = [ask(searcher, str(number)) for number in range(TRIALS)]
    for params in asked:
        valid(space_for(name), params)
    assert searcher.suggest("more") == "FINISHED"


@pytest.mark.parametrize("name", [name for name in NAMES if name != "cmaes"])
@pytest.mark.parametrize("space", ["acgan", "anything", "wgan_gp"])
def test_the_systems_own_spaces_are_searched(name: str, space: str, tmp_path: Path) -> None:
    known = SweepSettings(space, tmp_path, "s", image_size=32).resolve_space()
    sampler = make_sampler(name, 0, known)
    study = optuna.create_study(sampler=sampler, directions=["minimize"] * len(objectives(known)))
    study.enqueue_trial(known.active_defaults())
    for number in range(12):
        trial = study.ask()
        valid(known, known.sample(trial))
        study.tell(trial, [float(number % 5)] * len(objectives(known)))


# Each of its own -----------------------------------------------------------------------------------------------


def test_qmc_spreads_every_dimension_more_evenly_than_chance() -> None:
    study = optuna.create_study(sampler=make_sampler("qmc", 0, SMALL))
    asked = []
    for _ in range(32):
        trial = study.ask()
        asked.append(SMALL.sample(trial))
        study.tell(trial, 0.0)
    # Of 32 points of a scrambled Sobol sequence exactly 32 / 4 lie in each quarter of any coordinate.
    quarters = [int(math.log(params["losses.adversarial_weight"] / 0.25, 4) * 2) for params in asked]
    assert [quarters.count(quarter) for quarter in range(4)] == [8, 8, 8, 8]
    assert [sum(p["losses.adversarial"] == name for p in asked) for name in ("bce", "wgan")] == [16, 16]


def test_cmaes_comes_closer_than_chance() -> None:
    def best_of(name: str) -> float:
        study = optuna.create_study(sampler=make_sampler(name, 0, RANGES))
        for _ in range(150):
            trial = study.ask()
            params = RANGES.sample(trial)
            rate = math.log(float(params["optimizer.generator_lr"]) / 3e-5)
            study.tell(trial, rate**2 + (float(params["optimizer.beta1"]) - 0.2) ** 2)
        return study.best_value

    assert best_of("cmaes") < best_of("random") / 10


def test_gp_learns_the_good_region() -> None:
    study = optuna.create_study(sampler=make_sampler("gp", 0, RANGES))
    for _ in range(25):
        trial = study.ask()
        params = RANGES.sample(trial)
        study.tell(trial, (float(params["optimizer.beta1"]) - 0.3) ** 2)
    late = [trial.params["optimizer.beta1"] for trial in study.trials[-8:]]
    # By chance a value lies within 0.1 of 0.3 with probability 0.22: six of eight, once in 400.
    assert sum(abs(value - 0.3) < 0.1 for value in late) >= 6


# The grid ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dimension", "values"),
    [
        (Dimension("generator.width", 16, choices=(16, 8, 16)), (16, 8)),
        (Dimension("training.flip", False, choices=(False, True)), (False, True)),
        (Dimension("losses.tag_weight", 1.0, low=0.5, high=2.5), (0.5, 1.5, 2.5)),
        (Dimension("losses.adversarial_weight", 1.0, low=0.25, high=4.0, log=True), (0.25, 1.0, 4.0)),
        (Dimension("updates.generator_steps", 1, low=1, high=5), (1, 3, 5)),
        (Dimension("updates.generator_steps", 1, low=1, high=2), (1, 2)),
        (Dimension("generator.width", 4, low=4, high=64, log=True), (4, 16, 64)),
        (Dimension("losses.tag_weight", 1.0, low=1.0, high=1.0), (1.0,)),
    ],
)
def test_a_dimension_is_gridded_at_its_choices_or_at_ends_and_middle(dimension: Dimension, values: tuple) -> None:  # type: ignore[type-arg]
    assert grid_values(dimension) == pytest.approx(values) if dimension.kind == "float" else values
    assert len(grid_values(dimension)) == len(values)
    if dimension.kind != "choice":
        assert (grid_values(dimension)[0], grid_values(dimension)[-1]) == (values[0], values[-1])


class Told:
    """Trial stand-in that returns given values and records the requests."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers, self.asked = answers, {}  # type: ignore[var-annotated]

    def __getattr__(self, suggest: str) -> Callable[..., Any]:
        def answer(name: str, *_: Any, **__: Any) -> Any:
            self.asked[name] = self.answers[name]
            return self.answers[name]

        return answer


def all_points(space: Space) -> set[tuple[tuple[str, Any], ...]]:
    """Every combination whatsoever, put through the space; what it did not ask for is left out."""
    found = set()
    names = [dimension.name for dimension in space.dimensions]
    for values in itertools.product(*(grid_values(dimension) for dimension in space.dimensions)):
        told = Told(dict(zip(names, values, strict=True)))
        space.sample(told)
        found.add(tuple(told.asked.items()))
    return found


def test_the_grid_has_every_point_once_and_conditions_hold() -> None:
    grid = Grid(SMALL)
    points = [grid.point(index) for index in range(grid.size)]
    distinct = {tuple(point.items()) for point in points}
    # acgan has three tag weights, concat none: 4. Three widths; bce with two penalties or wgan: 3. Three weights.
    # Generator steps 1 with two discriminator steps, 2 and 4: 4.
    assert grid.size == len(distinct) == 4 * 3 * 3 * 3 * 4
    assert distinct == all_points(SMALL)


def test_the_grid_knows_the_number_of_a_point_and_what_is_none() -> None:
    grid = Grid(SMALL)
    for index in range(grid.size):
        assert grid.index({**SMALL.recipe, **grid.point(index)}) == index
    assert grid.index({**SMALL.recipe, "losses.adversarial_weight": 2.0}) is None


def test_a_grid_of_trillions_is_counted_and_numbered() -> None:
    grid = Grid(SPACES["anything"])
    assert grid.size > 10**12
    for index in (0, grid.size // 3, grid.size - 1):
        params = SPACES["anything"].sample(Told(grid.point(index)))
        GanConfig.from_params(params)
        assert grid.index(params) == index


@pytest.mark.parametrize("recipe_on_grid", [True, False])
def test_a_grid_sweep_tries_the_recipe_and_every_other_point_once(recipe_on_grid: bool, tmp_path: Path) -> None:
    space = Space(
        "tiny", "", SMALL.recipe if recipe_on_grid else {**SMALL.recipe, "losses.tag_weight": 2.0},
        (
            Dimension("discriminator.conditioning", "acgan", choices=("acgan", "concat")),
            Dimension(
                "losses.tag_weight", 1.0 if recipe_on_grid else 2.0, low=0.5, high=1.5 if recipe_on_grid else 2.5,
                when={"discriminator.conditioning": ("acgan",)},
            ),
            Dimension("generator.width", 16, choices=(8, 16)),
        ),
    )  # fmt: skip
    sampler = make_sampler("grid", 3, space)
    assert isinstance(sampler, SpaceGridSampler)
    assert sampler.size == 8 + (not recipe_on_grid)  # 3 weights or none, two widths
    study = open_study(f"sqlite:///{tmp_path}/o.db", "s", ["minimize", "maximize"])
    study.sampler = sampler
    trials = proposals(sampler, 100)
    searcher = StudySearcher(study, space, sweep="s", trials=trials, seed=0, max_kimg=10)
    asked = [ask(searcher, str(number)) for number in range(sampler.size)]
    assert searcher.suggest("more") == "FINISHED"
    assert asked[0] == dict(space.recipe)
    names = [dimension.name for dimension in space.dimensions]
    tried = {tuple(params[name] for name in names) for params in asked}
    assert len(tried) == sampler.size
    weights = (0.5, 1.0, 1.5) if recipe_on_grid else (0.5, 1.5, 2.5)
    # Without its condition the weight is the recipe's.
    idle = space.recipe["losses.tag_weight"]
    full = {("acgan", weight, width) for weight in weights for width in (8, 16)}
    full |= {("concat", idle, width) for width in (8, 16)}
    assert tried == full | {("acgan", idle, 16)}


def test_few_trials_of_a_grid_visit_every_choice() -> None:
    sampler = make_sampler("grid", 0, SPACES["acgan"])
    assert isinstance(sampler, SpaceGridSampler)
    points = [sampler.point(number) for number in range(1, 31)]
    for dimension in SPACES["acgan"].dimensions:
        if not dimension.when:
            assert {point[dimension.name] for point in points} == set(grid_values(dimension)), dimension.name


# Combinations --------------------------------------------------------------------------------------------------


def settings(**changes: Any) -> SweepSettings:
    return SweepSettings(**{"space": "acgan", "data": Path("faces"), "name": "s", **changes})


NO_CHOICES = tuple(
    f"{dimension.name}={str(dimension.default).lower()}"
    for dimension in SPACES["dcgan"].dimensions
    if dimension.choices or dimension.when
)


ALL_RANGES = tuple(
    f"{dimension.name}={str(dimension.default).lower()}"
    for dimension in SPACES["acgan"].dimensions
    if dimension.choices or dimension.when
)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sampler": "cmaes"}, r"--sampler cmaes takes one objective, and space acgan has two.*--sampler tpe"),
        (
            {"sampler": "cmaes", "space": "anything_unconditional"},
            r"--sampler cmaes .*generator\.architecture \(choices\).*updates\.discriminator_steps \(condition\).*--fix",
        ),
        ({"scheduler": "mo-asha", "space": "dcgan"}, r"--scheduler mo-asha .* no tag accuracy; use --scheduler asha"),
        ({"scheduler": "mo-asha", "space": "anything_unconditional"}, "no tag accuracy"),
        ({"scheduler": "mo-asha", "objectives": "distance"}, "--scheduler mo-asha .* --objectives is distance; use"),
        ({"objectives": "distance,tag_accuracy", "space": "dcgan"}, "--objectives is distance,tag_accuracy, and space"),
        ({"fuse": "4", "precision": "bf16"}, r"--fuse 4: trials in bf16 .* cannot be .* one program; use --fuse off"),
        ({"budget": "flops", "scheduler": "pbt"}, "--budget flops: trials of --scheduler pbt .* use --budget kimg"),
        ({"budget": "seconds", "scheduler": "pbt"}, "--budget seconds: trials of --scheduler pbt .*--scheduler asha"),
        ({"budget": "seconds", "fuse": "4"}, "--fuse 4: --budget seconds times each trial .* use --fuse off, or --bud"),
        ({"fuse": "2", "space": "cyclegan"}, "--fuse 2: trials of space cyclegan translate"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(changes: dict[str, Any], said: str) -> None:
    given = settings(**changes)
    with pytest.raises(UsageError, match=said) as caught:
        require_combination(given, given.resolve_space())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"sampler": "cmaes", "space": "dcgan", "fix": NO_CHOICES},
        {"scheduler": "mo-asha"},
        {"sampler": "cmaes", "objectives": "distance", "fix": ALL_RANGES},
        {"fuse": "4", "scheduler": "pbt"},
        {"fuse": "4", "budget": "flops"},
        {"budget": "seconds"},
        {"fuse": "auto", "precision": "bf16"},
        {"fuse": "off", "space": "stargan"},
        {"sampler": "gp", "scheduler": "mo-asha", "space": "anything"},
        *({"sampler": name} for name in NAMES if name != "cmaes"),
    ],
)
def test_what_can_work_is_allowed(changes: dict[str, Any]) -> None:
    given = settings(**changes)
    space = given.resolve_space()
    require_combination(given, space)
    study = optuna.create_study(
        sampler=make_sampler(given.sampler, given.seed, space),
        directions=list(objectives(space, given.objectives).values()),
    )
    drawn = space.sample(study.ask())
    assert GanConfig.from_params(drawn).to_params().items() >= drawn.items()


@pytest.mark.parametrize(
    ("field", "allowed"), [("sampler", "auto, tpe, random"), ("scheduler", "auto, asha, mo-asha, hyperband, median")]
)
def test_an_unknown_name_is_refused_with_those_there_are(field: str, allowed: str) -> None:
    with pytest.raises(UsageError, match=f"--{field} is 'fastest'; allowed: {allowed}"):
        settings(**{field: "fastest"})


def notes(**changes: Any) -> list[str]:
    given = settings(**changes)
    return combination_notes(given, given.resolve_space())


@pytest.mark.parametrize("name", ["nsga2", "gp"])
def test_samplers_that_learn_from_stopped_trials_are_noted(name: str) -> None:
    (note,) = [note for note in notes(sampler=name) if note.startswith(f"{name}: early-stopped trials")]
    assert "complete" in note
    assert note not in notes(sampler=name, scheduler="none")
    assert notes(sampler="tpe") == notes(sampler="random") == notes(sampler="qmc") == []


def test_gp_names_what_it_draws_at_random() -> None:
    (note,) = [note for note in notes(sampler="gp") if "at random" in note]
    assert note.startswith("gp: ")
    assert note.endswith(": losses.tag_weight, losses.tag_loss_on_fakes")


def test_a_note_gives_the_size_of_a_grid() -> None:
    fixed = tuple(f"{dimension.name}={str(dimension.default).lower()}" for dimension in SPACES["acgan"].dimensions[2:])
    # 4 x 4 widths, the recipe's among them.
    (some,), (every,) = (notes(sampler="grid", fix=fixed, trials=trials) for trials in (10, 20))
    assert re.fullmatch("grid: 16 points, .*; --trials 10 tries 10 of them", some)
    assert re.fullmatch("grid: 16 points, .*; --trials 20: .* all are tried", every)


def test_a_changed_space_that_can_draw_what_is_impossible_is_refused_at_the_start() -> None:
    changed = ("losses.adversarial=bce,hinge",)
    given = settings(space="dcgan", choices=changed)
    with pytest.raises(UsageError) as caught:
        require_combination(given, given.resolve_space())
    words = r"(\d+) of 257 configurations of space dcgan .*--choices cannot be built: (.*)"
    said = re.match(words, str(caught.value))
    assert said is not None
    # Hinge in a half, soft or noisy labels in two thirds of them: 85.3 of 256, give or take three times 7.5.
    assert 85.3 - 22.6 < int(said[1]) < 85.3 + 22.6
    assert said[2].startswith("losses.labels is '")
    possible = settings(space="dcgan", choices=changed, fix=("losses.labels=hard",))
    require_combination(possible, possible.resolve_space())


@pytest.mark.parametrize("name", SPACES)
def test_no_space_of_ours_is_refused_for_what_it_draws(name: str) -> None:
    given = settings(space=name, sampler="random", fix=("optimizer.generator_lr=1e-4",))
    space = given.resolve_space()
    require_combination(given, space)
    drawn = draw_configurations(space, seed=0, count=20)
    assert {GanConfig.from_params(params).to_params()["optimizer.generator_lr"] for params in drawn} == {1e-4}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, ["distance"]),
        ({"objectives": "distance,tag_accuracy"}, ["distance", "tag_accuracy"]),
        ({"scheduler": "mo-asha"}, ["distance", "tag_accuracy"]),
        ({"space": "dcgan"}, ["distance"]),
    ],
)
def test_tag_accuracy_is_no_objective_by_chance(changes: dict[str, Any], names: list[str]) -> None:
    given = settings(**changes)
    assert list(choose_objectives(given, given.resolve_space(), at_chance=True)) == names


@pytest.mark.parametrize("choice", ["auto", "distance", "distance,tag_accuracy"])
def test_above_chance_the_settings_decide(choice: str) -> None:
    given = settings(objectives=choice)
    names = ["distance"] if choice == "distance" else ["distance", "tag_accuracy"]
    assert list(choose_objectives(given, given.resolve_space(), at_chance=False)) == names
