"""Compatibility of samplers, schedulers and spaces, checked before a sweep starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis import schema
from pipeline.schedulers import TWO_OBJECTIVES
from pipeline.schedulers.population_based import is_architecture_param
from pipeline.search.random_sampling import draw_configurations
from pipeline.search.samplers import COMPLETE_ONLY_SAMPLERS, SpaceGridSampler, make_sampler
from pipeline.search.study import objectives, takes_tags
from trainables.config import GanConfig
from trainables.errors import UsageError

if TYPE_CHECKING:
    from pipeline.settings import SweepSettings
    from search_spaces.space import Space


def require_combination(settings: SweepSettings, space: Space) -> None:
    """Check that the space can be searched, and that sampler and scheduler can work with it.

    Raises:
        UsageError: the obstacle, and what to use instead.
    """
    _require_valid_draws(settings, space)
    several = len(objectives(space, settings.objectives)) > 1
    _require_tag_accuracy(settings, space)
    fused = settings.resource_request().fused
    if fused is not None and fused > 1 and (obstacle := fusion_obstacle(space, settings.precision)):
        raise UsageError(f"--fuse {settings.fuse}: {obstacle} and cannot be trained as one program; use --fuse off")
    if settings.budget != "kimg" and settings.scheduler == "pbt":
        raise UsageError(
            f"--budget {settings.budget}: trials of --scheduler pbt change their cost as they go; use --budget kimg, "
            "or --scheduler asha"
        )
    if settings.budget == "seconds" and settings.fuse != "off":
        raise UsageError(
            f"--fuse {settings.fuse}: --budget seconds times each trial by itself, and fused ones share their time; "
            "use --fuse off, or --budget flops"
        )
    if settings.sampler != "cmaes":
        return
    if settings.study is not None:
        raise UsageError(
            "--sampler cmaes keeps its state as a pickle in the study, and anybody with write access to a shared "
            "database could replace it by code; leave --study out, or use --sampler tpe"
        )
    if several:
        raise UsageError(
            f"--sampler cmaes takes one objective, and space {space.name} has two, distance and tag accuracy; "
            "add --objectives distance, or use --sampler tpe, gp or nsga2"
        )
    obstacles = [
        f"{dimension.name} ({'choices' if dimension.choices else 'condition'})"
        for dimension in space.dimensions
        if dimension.choices or dimension.when
    ]
    if obstacles or not space.dimensions:
        raise UsageError(
            "--sampler cmaes only searches ranges without a condition; the space has "
            f"{', '.join(obstacles) or 'no dimension'}; remove these with --fix, give them a --range, or use "
            "--sampler tpe"
        )


def _require_tag_accuracy(settings: SweepSettings, space: Space) -> None:
    """Check that there is a tag accuracy where an option needs one."""
    both = ",".join(schema.OBJECTIVES)
    if not takes_tags(space):
        no_tags = f"space {space.name} is unconditional: there is no tag accuracy"
        if settings.scheduler in TWO_OBJECTIVES:
            raise UsageError(
                f"--scheduler {settings.scheduler} compares trials by distance and tag accuracy, and {no_tags}; "
                "use --scheduler asha"
            )
        if settings.objectives == both:
            raise UsageError(f"--objectives is {both}, and {no_tags}; use --objectives distance, or omit it")
    elif settings.scheduler in TWO_OBJECTIVES and settings.objectives == schema.DISTANCE:
        raise UsageError(
            f"--scheduler {settings.scheduler} compares trials by distance and tag accuracy, and --objectives is "
            f"{schema.DISTANCE}; use --scheduler asha, or --objectives {both}"
        )


def choose_objectives(settings: SweepSettings, space: Space, *, at_chance: bool) -> tuple[str, ...]:
    """Return what the search optimizes.

    Args:
        settings: tag accuracy is asked for by `--objectives` or by a scheduler that compares it.
        space: searched space.
        at_chance: the tag classifier is, so tag accuracy is left out unless it is asked for.
    """
    asked = settings.objectives != "auto" or settings.scheduler in TWO_OBJECTIVES
    names = objectives(space, settings.objectives)
    return tuple(names) if asked or not at_chance else (schema.DISTANCE,)


def combination_notes(settings: SweepSettings, space: Space) -> list[str]:
    """Return notes about the combination for the user, one line each."""
    notes = []
    sampler = make_sampler(settings.sampler, settings.seed, space)
    if isinstance(sampler, COMPLETE_ONLY_SAMPLERS) and settings.scheduler != "none":
        notes.append(
            f"{settings.sampler}: early-stopped trials count as complete in the study, at the budget they reached"
        )
    dependent = [dimension.name for dimension in space.dimensions if dimension.when]
    if settings.sampler == "gp" and dependent:
        notes.append(f"gp: dimensions with a condition are drawn at random: {', '.join(dependent)}")
    if isinstance(sampler, SpaceGridSampler):
        coverage = f"--trials {settings.trials} tries {settings.trials} of them"
        if settings.trials >= sampler.size:
            coverage = f"--trials {settings.trials}: the sweep ends when all are tried"
        notes.append(f"grid: {sampler.size} points, including the baseline recipe; {coverage}")
    if settings.scheduler == "pbt":
        architecture = [dimension.name for dimension in space.dimensions if is_architecture_param(dimension.name)]
        notes.append(
            f"pbt: a trial copies another's networks only if both agree in {', '.join(architecture)}; "
            "--fix these for more exchange"
            if architecture
            else "pbt: all trials can exchange networks"
        )
    return notes


def _require_valid_draws(settings: SweepSettings, space: Space) -> None:
    """Check that a space changed by the user only draws configurations that can be built."""
    if not (settings.set or settings.fix or settings.range or settings.choices):
        return
    reasons = []
    for params in draw_configurations(space, 0, 1 + DRAWN):
        try:
            GanConfig.from_params(params)
        except UsageError as error:
            reasons.append(str(error))
    if reasons:
        raise UsageError(
            f"{len(reasons)} of {1 + DRAWN} configurations of space {space.name} with your --set, --fix, --range and "
            f"--choices cannot be built: {reasons[0]}; change one of these options"
        )


DRAWN = 256
"""Configurations that are drawn to check a space: all must be valid, and one fusable if trials are fused."""


def fusion_obstacle(space: Space, precision: str) -> str:
    """Return why no trials of a sweep can be trained as one program, or ``""``."""
    from pipeline.search.random_sampling import draw_configurations
    from trainables.fused.fused_loop import fusable

    if precision != "float32":
        return f"trials in {precision} mix number formats"
    if GanConfig.from_params(space.recipe).translates:
        return f"trials of space {space.name} translate"
    # Without the recipe, which is a single trial.
    configs = map(GanConfig.from_params, draw_configurations(space, 0, 1 + DRAWN)[1:])
    if not any(fusable(config, config) for config in configs):
        return "all trials have spectral norm, SRResNet's dropout, or an adaptive augmentation,"
    return ""
