"""Ablation: measure the effect of each difference between a configuration and the recipe, one at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Unpack

from analysis import schema
from analysis.ranking.ranking import rank
from pipeline.repeats.confirm import load_for_repeats, recipe_key, require_repeatable
from pipeline.repeats.plan import Repeat, RepeatResult, budget_suffix, params_of, repeat_seed
from pipeline.repeats.run import run_plan
from pipeline.setting_values import format_pair, parse_pairs
from trainables.config import GanConfig
from trainables.errors import UsageError, UserError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from analysis.mlflow_reader.sweep import Sweep
    from pipeline.repeats.confirm import RepeatOverrides
    from pipeline.settings import SweepSettings
    from search_spaces.space import Dimension, Space
    from trainables.config import Value

Mode = Literal["leave-one-out", "add-one", "both"]


@dataclass(frozen=True)
class Variant:
    """A configuration of an ablation; ``change`` holds its differences from the winner or from the recipe."""

    name: str
    params: Mapping[str, Value]
    change: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AblationResult(RepeatResult):
    """How an ablation ended, and where its results are."""

    of: str
    """Key of the trial that was ablated."""
    skipped: dict[str, str]
    """Variants that cannot be trained, with the reason."""


@dataclass(frozen=True)
class FixedSuggestions:
    """Suggest given values, or the recipe's where none is given."""

    values: Mapping[str, Value]
    recipe: Mapping[str, Value]

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> Any:
        """Return the value of that name."""
        return self.values.get(name, self.recipe[name])

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> Any:
        """Return the value of that name."""
        return self.values.get(name, self.recipe[name])

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return the value of that name."""
        return self.values.get(name, self.recipe[name])


def run_ablation(
    name: str,
    home: Path | None = None,
    *,
    trial: str | None = None,
    seeds: int = 3,
    mode: Mode = "both",
    only: Sequence[str] = (),
    values: tuple[str, ...] = (),
    max_kimg: int | None = None,
    **overrides: Unpack[RepeatOverrides],
) -> AblationResult:
    """Train a trial without, and the recipe with, one of its dimensions at a time, or continue doing so.

    Args:
        name: of the sweep.
        home: folder of all sweeps; default: ``$GANSWEEP_HOME`` or ``./gansweep-runs``.
        trial: key of the trial; default: the winner.
        seeds: runs of each variant.
        mode: ``leave-one-out`` changes the trial, ``add-one`` the recipe.
        only: dimensions to try; default: all in which the trial differs from the recipe.
        values: ``NAME=VALUE`` each: compare the recipe with it changed in this one value, instead of a trial.
        max_kimg: budget of each run; default: the sweep's.
        overrides: settings of the sweep to replace.

    Raises:
        UsageError: no such sweep, trial or dimension; a trial that is the recipe or that pbt mutated.
        UserError: no trial of the sweep is ranked.
    """
    if values and (trial or only or mode != "both"):
        raise UsageError("--with changes the recipe in one value at a time; omit --trial, --only and --mode")
    settings, sweep, budget = load_for_repeats(name, home, seeds=seeds, max_kimg=max_kimg, **overrides)
    of = recipe_key(sweep) if values else trial or rank(sweep, min_tag_accuracy=settings.min_tag_accuracy).best
    if of is None:
        raise UserError(f"sweep {sweep.name!r} has no scored trial to ablate yet")
    require_repeatable(sweep, of, "ablated")
    space = restrict_to_searched(settings.resolve_space(), sweep)
    if values:
        tried, skipped = vary_recipe(space, values), dict[str, str]()
    else:
        tried, skipped = make_variants(space, params_of(sweep, of), mode, only)
    plan = ablation_plan(tried, settings, of=of, seeds=seeds, budget=budget, recipe=space.recipe)
    status = run_plan(plan, settings, sweep)
    return AblationResult(status, budget, settings.home, settings.tracking, of=of, skipped=skipped)


def restrict_to_searched(space: Space, sweep: Sweep) -> Space:
    """Return the space with only the dimensions that the sweep searched: some have no effect on its data."""
    searched = {dimension["name"] for dimension in sweep.space["dimensions"]}
    recipe = GanConfig.from_params(sweep.space["recipe"]).to_params()  # also of what earlier versions did not have
    for dimension in space.dimensions:
        if dimension.name not in searched:
            space = space.without(dimension.name, recipe[dimension.name])
    return space


def make_variants(
    space: Space, winner: Mapping[str, Value], mode: Mode = "both", only: Sequence[str] = ()
) -> tuple[list[Variant], dict[str, str]]:
    """Make the variants of an ablation: the winner, the recipe, and configurations one dimension from either.

    A dimension that depends on a changed one follows it as in the search: without effect it returns to the recipe's
    value, and ``change`` lists it.

    Args:
        space: searched space.
        winner: complete parameters.
        mode: ``leave-one-out`` changes the winner, ``add-one`` the recipe.
        only: dimensions to try; empty: all in which the two differ.

    Returns:
        The variants, and the reason for each one that cannot be trained.

    Raises:
        UsageError: the winner does not differ from the recipe, or not in a dimension of ``only``.
    """
    differing = [d for d in space.dimensions if d.active(winner) and winner[d.name] != space.recipe[d.name]]
    names = [dimension.name for dimension in differing]
    if not names:
        raise UsageError("this trial is the recipe itself and has no differences to ablate; name another with --trial")
    for name in only:
        if name not in names:
            raise UsageError(
                f"--only {name}{nearest(name, names)}; the trial differs from the recipe in {', '.join(names)}"
            )
    own = {d.name: winner[d.name] for d in space.dimensions if d.active(winner)}
    variants = [Variant(schema.WINNER, winner), Variant(schema.RECIPE_VARIANT, space.recipe)]
    skipped: dict[str, str] = {}
    tried = [dimension for dimension in differing if not only or dimension.name in only]
    if mode != "add-one":
        for dimension in tried:
            rest = {name: value for name, value in own.items() if name != dimension.name}
            _add(
                variants,
                skipped,
                f"without {dimension.name}",
                space.sample(FixedSuggestions(rest, space.recipe)),
                winner,
            )
    if mode != "leave-one-out":
        for dimension in tried:
            value = {dimension.name: winner[dimension.name]}
            name, params = f"with {dimension.name}", space.sample(FixedSuggestions(value, space.recipe))
            if params[dimension.name] != winner[dimension.name]:
                skipped[name] = f"it has an effect only where {_condition(dimension)}"
            else:
                _add(variants, skipped, name, params, space.recipe)
    return variants, skipped


def vary_recipe(space: Space, values: tuple[str, ...]) -> list[Variant]:
    """Make the recipe, and a variant of it for each ``NAME=VALUE``; dimensions that depend on it follow.

    Raises:
        UsageError: no such dimension or value, a value that is the recipe's or has no effect, or a variant that cannot
            be trained.
    """
    variants = {schema.RECIPE_VARIANT: Variant(schema.RECIPE_VARIANT, space.recipe)}
    for name, text in parse_pairs("with", values):
        dimension = space.dimension(name)
        value = dimension.require(text)
        if value == space.recipe[name]:
            raise UsageError(f"--with {name}={text} is the recipe's own value; give another one")
        params = space.sample(FixedSuggestions({name: value}, space.recipe))
        if params[name] != value:
            raise UsageError(f"--with {name}={text} has an effect only where {_condition(dimension)}")
        GanConfig.from_params(params)  # refuses what cannot be built
        change = {key: changed for key, changed in params.items() if changed != space.recipe[key]}
        label = f"with {format_pair('with', name, value)}"
        variants[label] = Variant(label, params, change)
    return list(variants.values())


def _add(
    variants: list[Variant], skipped: dict[str, str], name: str, params: Mapping[str, Value], base: Mapping[str, Value]
) -> None:
    try:
        made = GanConfig.from_params(params)
    except UsageError as error:
        skipped[name] = str(error)
        return
    same = [one.name for one in variants if GanConfig.from_params(one.params).hash() == made.hash()]
    if same:
        skipped[name] = f"it is the same configuration as {same[0]!r}"
    else:
        variants.append(Variant(name, params, {key: value for key, value in params.items() if value != base[key]}))


def _condition(dimension: Dimension) -> str:
    return " and ".join(f"{name} is {' or '.join(map(str, values))}" for name, values in dimension.when.items())


def ablation_plan(
    variants: Sequence[Variant],
    settings: SweepSettings,
    *,
    of: str,
    seeds: int,
    budget: int,
    recipe: Mapping[str, Value],
) -> list[Repeat]:
    """Plan every variant on the same seeds; each seed is run for all variants before the next one."""
    suffix, baseline = budget_suffix(settings, budget), GanConfig.from_params(recipe).hash()
    return [
        Repeat(
            kind=schema.KIND_ABLATION,
            of=of,
            variant=variant.name,
            index=index,
            seed=repeat_seed(schema.KIND_ABLATION, settings.seed, index),
            params=variant.params,
            budget=budget,
            key=f"{of}-a-{variant.name.replace(' ', '-')}-{index:02d}{suffix}",
            recipe=GanConfig.from_params(variant.params).hash() == baseline,
            change=variant.change,
        )
        for index in range(seeds)
        for variant in variants
    ]
