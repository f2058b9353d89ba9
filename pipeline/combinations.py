"""Which sampler goes with which scheduler and space: refused, or said, before anything starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.placement import DRAWN, not_fused
from pipeline.plan.model import sampled
from pipeline.samplers import KEEPS_STOPPED, GridOfSpace, make_sampler
from pipeline.schedulers import TWO_OBJECTIVES
from pipeline.schedulers.population import separates
from pipeline.study import objectives
from trainables.config import GanConfig
from trainables.errors import UsageError

if TYPE_CHECKING:
    from pipeline.settings import SweepSettings
    from search_spaces.space import Space


def require_combination(settings: SweepSettings, space: Space) -> None:
    """Refuse a space that cannot be searched, or a sampler or scheduler that cannot work with it.

    Raises:
        UsageError: what is in the way, and what to use instead.
    """
    _require_possible(settings, space)
    several = len(objectives(space)) > 1
    if settings.scheduler in TWO_OBJECTIVES and not several:
        raise UsageError(
            f"--scheduler {settings.scheduler} compares trials by distance and tag accuracy, and space {space.name} "
            "is unconditional: there is no tag accuracy; use --scheduler asha"
        )
    if settings.fused() > 1 and (obstacle := not_fused(settings, space)):
        raise UsageError(f"--fuse {settings.fuse}: {obstacle} and cannot be trained as one program; use --fuse off")
    if settings.sampler != "cmaes":
        return
    if settings.study is not None:
        raise UsageError(
            "--sampler cmaes keeps its state as a pickle in the study, which whoever writes to a shared database could "
            "replace by code; leave --study out, or use --sampler tpe"
        )
    if several:
        raise UsageError(
            f"--sampler cmaes takes one objective, and space {space.name} has two, distance and tag accuracy; "
            "use --sampler tpe, gp or nsga2"
        )
    obstacles = [
        f"{dimension.name} ({'choices' if dimension.choices else 'condition'})"
        for dimension in space.dimensions
        if dimension.choices or dimension.when
    ]
    if obstacles or not space.dimensions:
        raise UsageError(
            "--sampler cmaes takes ranges without a condition alone; in the way: "
            f"{', '.join(obstacles) or 'there is no dimension'}; take them out with --fix, give them a --range, or use "
            "--sampler tpe"
        )


def combination_notes(settings: SweepSettings, space: Space) -> list[str]:
    """What a user should know of the combination, one line each."""
    notes = []
    sampler = make_sampler(settings.sampler, settings.seed, space)
    if isinstance(sampler, KEEPS_STOPPED) and settings.scheduler != "none":
        notes.append(
            f"{settings.sampler}: early-stopped trials are told to the study as complete, at the budget they reached"
        )
    dependent = [dimension.name for dimension in space.dimensions if dimension.when]
    if settings.sampler == "gp" and dependent:
        notes.append(f"gp: drawn at random, because they depend on a condition: {', '.join(dependent)}")
    if isinstance(sampler, GridOfSpace):
        tried = f"--trials {settings.trials} tries {settings.trials} of them"
        if settings.trials >= sampler.size:
            tried = f"--trials {settings.trials}: the sweep ends when all are tried"
        notes.append(f"grid: {sampler.size} points, the recipe with them; {tried}")
    if settings.scheduler == "pbt":
        apart = [dimension.name for dimension in space.dimensions if separates(dimension.name)]
        notes.append(
            "pbt: a trial goes on from another's networks only where both agree in "
            f"{', '.join(apart) or 'everything that networks depend on, as here'}"
            f"{'; --fix them for more exchange' if apart else ''}"
        )
    return notes


def _require_possible(settings: SweepSettings, space: Space) -> None:
    """No space of ours can propose what the configuration refuses; one that the user has changed may."""
    if not (settings.set or settings.fix or settings.range or settings.choices):
        return
    reasons = []
    for params in sampled(space, 0, 1 + DRAWN):
        try:
            GanConfig.from_params(params)
        except UsageError as error:
            reasons.append(str(error))
    if reasons:
        raise UsageError(
            f"of {1 + DRAWN} configurations of space {space.name} as it is changed, {len(reasons)} are impossible: "
            f"{reasons[0]}; --fix that one, or leave the other out of --choices, --range or --fix"
        )
