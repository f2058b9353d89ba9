"""One trick at a time around a configuration: what each of its differences from the recipe is worth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from analysis import schema
from analysis.rank import rank
from pipeline.confirm import opened
from pipeline.repeats import Repeat, Repeated, budget_suffix, carry_out, mutated_keys, params_of, repeat_seed
from trainables.config import GanConfig
from trainables.errors import UsageError, UserError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analysis.runs import Sweep
    from pipeline.options import AblateOptions
    from pipeline.settings import SweepSettings
    from search_spaces.space import Dimension, Space
    from trainables.config import Value

Mode = Literal["leave-one-out", "add-one", "both"]


@dataclass(frozen=True)
class Variant:
    """A configuration of an ablation; ``change`` is what it sets, from the winner or from the recipe."""

    name: str
    params: Mapping[str, Value]
    change: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Ablated(Repeated):
    """What came of an ablation."""

    of: str
    """Key of the trial that was ablated."""
    skipped: dict[str, str]
    """Variants that cannot be, with the reason."""


@dataclass(frozen=True)
class Chosen:
    """Answers a space's questions with given values, the recipe's where none is given."""

    values: Mapping[str, Value]
    recipe: Mapping[str, Value]

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> Any:
        """The value of that name."""
        return self.values.get(name, self.recipe[name])

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> Any:
        """The value of that name."""
        return self.values.get(name, self.recipe[name])

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """The value of that name."""
        return self.values.get(name, self.recipe[name])


def run_ablation(options: AblateOptions) -> Ablated:
    """Carry out ``gansweep ablate``, or go on with it.

    Raises:
        UsageError: no such sweep, trial or dimension; a trial that does not differ from the recipe, or was mutated.
        UserError: no trial of it is ranked.
    """
    settings, sweep, budget = opened(options)
    of = options.trial or rank(sweep).best
    if of is None:
        raise UserError(f"sweep {sweep.name!r} has no scored trial to ablate yet")
    if of not in set(sweep.trials["key"]):
        raise UsageError(f"sweep {sweep.name!r} has no trial {of!r}{nearest(of, sweep.trials['key'])}")
    if of in mutated_keys(sweep):
        raise UsageError(
            f"trial {of} went on from others' networks with other values (pbt): its own parameters did not earn its "
            "score, and cannot be ablated; name another with --trial"
        )
    space = as_searched(settings.resolve_space(), sweep)
    only = tuple(part.strip() for part in options.only.split(",")) if options.only else ()
    found, skipped = variants(space, params_of(sweep, of), options.mode, only)
    plan = ablation_plan(found, settings, of=of, seeds=options.seeds, budget=budget, recipe=space.recipe)
    status = carry_out(plan, settings, sweep)
    return Ablated(status, budget, settings.home, settings.tracking, of=of, skipped=skipped)


def as_searched(space: Space, sweep: Sweep) -> Space:
    """The space with the dimensions that the sweep searched: one that its data leave without effect was taken out."""
    searched = {dimension["name"] for dimension in sweep.space["dimensions"]}
    for dimension in space.dimensions:
        if dimension.name not in searched:
            space = space.without(dimension.name, sweep.space["recipe"][dimension.name])
    return space


def variants(
    space: Space, winner: Mapping[str, Value], mode: Mode = "both", only: Sequence[str] = ()
) -> tuple[list[Variant], dict[str, str]]:
    """The winner, the recipe, and what lies one dimension from either.

    A dimension that depends on a changed one follows it as in the search: where it loses its effect it goes back to
    the recipe's value, and ``change`` says so.

    Args:
        space: what was searched.
        winner: complete parameters.
        mode: ``leave-one-out`` changes the winner, ``add-one`` the recipe.
        only: dimensions to try; none are all in which the two differ.

    Returns:
        The variants, and those that cannot be with the reason.

    Raises:
        UsageError: the winner does not differ from the recipe, or not in a dimension of ``only``.
    """
    differing = [d for d in space.dimensions if d.active(winner) and winner[d.name] != space.recipe[d.name]]
    names = [dimension.name for dimension in differing]
    if not names:
        raise UsageError("this trial is the recipe itself: there is nothing to take out; name another with --trial")
    for name in only:
        if name not in names:
            raise UsageError(
                f"--only {name}{nearest(name, names)}; the trial differs from the recipe in {', '.join(names)}"
            )
    own = {d.name: winner[d.name] for d in space.dimensions if d.active(winner)}
    found = [Variant(schema.WINNER, winner), Variant(schema.RECIPE_VARIANT, space.recipe)]
    skipped: dict[str, str] = {}
    tried = [dimension for dimension in differing if not only or dimension.name in only]
    if mode != "add-one":
        for dimension in tried:
            rest = {name: value for name, value in own.items() if name != dimension.name}
            _add(found, skipped, f"without {dimension.name}", space.sample(Chosen(rest, space.recipe)), winner)
    if mode != "leave-one-out":
        for dimension in tried:
            value = {dimension.name: winner[dimension.name]}
            name, params = f"with {dimension.name}", space.sample(Chosen(value, space.recipe))
            if params[dimension.name] != winner[dimension.name]:
                skipped[name] = f"it has an effect only where {_condition(dimension)}"
            else:
                _add(found, skipped, name, params, space.recipe)
    return found, skipped


def _add(
    found: list[Variant], skipped: dict[str, str], name: str, params: Mapping[str, Value], base: Mapping[str, Value]
) -> None:
    try:
        made = GanConfig.from_params(params)
    except UsageError as error:
        skipped[name] = str(error)
        return
    same = [one.name for one in found if GanConfig.from_params(one.params).hash() == made.hash()]
    if same:
        skipped[name] = f"it is the same configuration as {same[0]!r}"
    else:
        found.append(Variant(name, params, {key: value for key, value in params.items() if value != base[key]}))


def _condition(dimension: Dimension) -> str:
    return " and ".join(f"{name} is {' or '.join(map(str, values))}" for name, values in dimension.when.items())


def ablation_plan(
    found: Sequence[Variant],
    settings: SweepSettings,
    *,
    of: str,
    seeds: int,
    budget: int,
    recipe: Mapping[str, Value],
) -> list[Repeat]:
    """Every variant on the same seeds; all variants come before the next seed."""
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
        for variant in found
    ]
