"""Confirmation: train the best configurations of a sweep again on fresh seeds, with the full budget."""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import TYPE_CHECKING, TypedDict, Unpack

from analysis import schema
from analysis.mlflow_reader.run_table import costs
from analysis.mlflow_reader.sweep import load
from analysis.ranking.ranking import rank
from pipeline.console import brief_stages
from pipeline.repeats.plan import Repeat, RepeatResult, budget_suffix, mutated_keys, params_of, repeat_seed
from pipeline.repeats.run import run_plan
from pipeline.sweep.resume import resume_settings
from trainables.errors import UsageError, UserError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from analysis.mlflow_reader.sweep import Sweep
    from analysis.ranking.winner import Rule
    from pipeline.settings import SweepSettings

MOST_SEEDS, TOP = 1000, 5


def run_confirmation(
    name: str,
    home: Path | None = None,
    *,
    top: int | None = None,
    trials: Sequence[str] = (),
    seeds: int = 5,
    max_kimg: int | None = None,
    fuse: int | None = None,
    **overrides: Unpack[RepeatOverrides],
) -> RepeatResult:
    """Train the best configurations and the recipe again on fresh seeds, or continue doing so.

    Args:
        name: of the sweep.
        home: folder of all sweeps; default: ``$GANSWEEP_HOME`` or ``./gansweep-runs``.
        top: number of configurations: the winner by its scores of the search, then the others that follow their tags,
            lowest distance first; the recipe is added. Default: 5.
        trials: keys of the trials to confirm instead.
        seeds: runs of each configuration.
        max_kimg: budget of each run; default: the sweep's.
        fuse: train this many runs as one program, in this process; default: Ray Tune trains them one by one.
        overrides: settings of the sweep to replace.

    Raises:
        UsageError: no such sweep or trial, or numbers out of range.
        UserError: no trial of the sweep is ranked.
    """
    if top is not None and trials:
        raise UsageError(f"--top {top} and --trial {trials[0]}: give one of the two")
    _require_count("--top", TOP if top is None else top)
    if fuse is not None:
        _require_count("--fuse", fuse)
    settings, sweep, budget = load_for_repeats(name, home, seeds=seeds, max_kimg=max_kimg, **overrides)
    if fuse is not None and settings.address is not None:
        raise UsageError(
            f"--fuse {fuse} trains in this process and the sweep runs on the Ray cluster {settings.address}; omit one "
            "of the two"
        )
    if count := len(mutated_keys(sweep)):
        print(
            f"{settings.name}: {count} trial{'s' * (count != 1)} not considered for confirmation: pbt copied networks "
            "of other trials into them, so their parameters alone do not explain their scores",
            file=sys.stderr,
        )
    if budget < settings.max_kimg:
        print(
            f"{settings.name}: {budget} {schema.budget_unit(sweep.settings)} a run is less than the sweep's "
            f"{settings.max_kimg}: the runs are shown beside the ranking and do not change it; without --max-kimg they "
            "would",
            file=sys.stderr,
        )
    floor = settings.min_tag_accuracy
    keys = chosen_configurations(sweep, trials) if trials else top_configurations(sweep, top or TOP, floor)
    plan = confirmation_plan(sweep, settings, keys, seeds=seeds, budget=budget)
    return RepeatResult(run_plan(plan, settings, sweep, fuse=fuse), budget, settings.home, settings.tracking)


class RepeatOverrides(TypedDict, total=False):
    """Settings of a sweep that its repeats may replace; ``None``: as the sweep was started."""

    tracking: str | None
    data: Path | None
    address: str | None
    concurrent: int | None
    time_limit: str | None
    min_tag_accuracy: float | None


def load_for_repeats(
    name: str,
    home: Path | None = None,
    *,
    seeds: int,
    max_kimg: int | None = None,
    **overrides: Unpack[RepeatOverrides],
) -> tuple[SweepSettings, Sweep, int]:
    """Load the settings and the recorded trials of a sweep.

    Returns:
        The settings, the trials, and the budget of each repeat in kimg.

    Raises:
        UsageError: no such sweep, or numbers out of range.
    """
    _require_count("--seeds", seeds)
    # The sweep's limits on time and training do not apply to its repeats.
    settings = dataclasses.replace(
        resume_settings(name, home, needs_study=False, **overrides),
        time_limit=overrides.get("time_limit"),
        total_kimg=None,
    )
    with brief_stages()(f"trials of {settings.name}"):
        sweep = load(settings.name, home=settings.home, tracking=settings.tracking)
    if max_kimg is not None:
        dataclasses.replace(settings, max_kimg=max_kimg, eval_kimg=None)  # refuses a value out of range
    return settings, sweep, max_kimg or settings.max_kimg


def _require_count(option: str, value: int) -> None:
    if not 1 <= value <= MOST_SEEDS:
        raise UsageError(f"{option} is {value}; allowed: 1 to {MOST_SEEDS}")


def confirmation_plan(
    sweep: Sweep, settings: SweepSettings, keys: Sequence[str], *, seeds: int, budget: int
) -> list[Repeat]:
    """Plan the configurations of some trials, each on the same ``seeds``.

    Each seed is run for all configurations before the next one, so that an interrupted confirmation compares them on
    equal seeds.
    """
    params = {key: params_of(sweep, key) for key in keys}
    shares = _timed_shares(sweep) if settings.budget == "seconds" else {}
    recipe = recipe_key(sweep)
    suffix = budget_suffix(settings, budget)
    return [
        Repeat(
            kind=schema.KIND_CONFIRMATION,
            of=key,
            variant=schema.RECIPE_VARIANT if key == recipe else schema.UNCHANGED,
            index=index,
            seed=repeat_seed(schema.KIND_CONFIRMATION, settings.seed, index),
            params=params[key],
            budget=budget,
            key=f"{key}-c{index:02d}{suffix}",
            recipe=key == recipe,
            image_share=shares.get(key),
        )
        for index in range(seeds)
        for key in keys
    ]


def _timed_shares(sweep: Sweep) -> dict[str, float]:
    """Return the images that each trial saw for each one of its budget, so that its repeats see as many."""
    trials = sweep.trials.set_index("key")
    shares = trials["kimg"].astype(float) / costs(trials)
    return {str(key): float(share) for key, share in shares.items() if 0 < share < math.inf}


def top_configurations(sweep: Sweep, top: int, min_tag_accuracy: float | None = None) -> list[str]:
    """Return the keys of the ``top`` trials that could win, one per configuration, then the recipe's.

    The winner comes first, then the other trials that reach the floor of its rule, lowest distance first; all trials
    where the rule has no floor. Search scores decide, not earlier confirmations: a larger ``top`` only adds runs.
    Trials into which pbt copied networks of other trials are left out.

    Args:
        sweep: the recorded trials.
        top: number of configurations.
        min_tag_accuracy: floor of the tag accuracy; default: that of the rule.

    Raises:
        UserError: no other trial is ranked.
    """
    ranking = rank(dataclasses.replace(sweep, repeats=sweep.repeats.iloc[:0]), min_tag_accuracy=min_tag_accuracy)
    trials = ranking.trials[ranking.trials["rank"].notna()]
    if trials.empty:
        raise UserError(f"sweep {sweep.name!r} has no scored trial to confirm yet")
    trials = trials[~trials["key"].isin(mutated_keys(sweep))]
    if trials.empty:
        raise UserError(
            f"every scored trial of sweep {sweep.name!r} copied networks of other trials (pbt); none can be confirmed"
        )
    chosen = _one_each(sweep, [key for key in trials["key"] if not ranking.rule or ranking.rule.may_win(key)])
    if ranking.rule:
        _describe_choice(sweep.name, ranking.rule, min(top, len(chosen)), top)
    return list(dict.fromkeys([*chosen[:top], recipe_key(sweep)]))


def chosen_configurations(sweep: Sweep, keys: Sequence[str]) -> list[str]:
    """Return the keys of some trials, one per configuration, then the recipe's.

    Raises:
        UsageError: no such trial, or one into which pbt copied networks of other trials.
    """
    for key in keys:
        require_repeatable(sweep, key, "confirmed")
    return list(dict.fromkeys([*_one_each(sweep, keys), recipe_key(sweep)]))


def require_repeatable(sweep: Sweep, key: str, verb: str) -> None:
    """Check that the configuration of a trial can be trained again.

    Raises:
        UsageError: no such trial, or one into which pbt copied networks of other trials.
    """
    if key not in set(sweep.trials["key"]):
        raise UsageError(f"sweep {sweep.name!r} has no trial {key!r}{nearest(key, sweep.trials['key'])}")
    if key in mutated_keys(sweep):
        raise UsageError(
            f"trial {key} cannot be {verb}: pbt copied networks of other trials into it, so its parameters alone do "
            "not explain its score; name another with --trial"
        )


def _one_each(sweep: Sweep, keys: Iterable[str]) -> list[str]:
    """Keep the first trial of each configuration; a sampler may suggest one twice, also that of the recipe."""
    recipe, hashes = recipe_key(sweep), sweep.trials.set_index("key")["config_hash"]
    chosen: dict[str, str] = {}
    for key in keys:
        chosen.setdefault(hashes[key], recipe if hashes[key] == hashes[recipe] else key)
    return list(chosen.values())


def _describe_choice(name: str, rule: Rule, chosen: int, top: int) -> None:
    """Say which configurations are confirmed, and why they are fewer than was asked for."""
    print(f"{name}: {rule.words}", file=sys.stderr)
    if chosen < top and rule.passing and len(rule.passing) < rule.trials:
        print(
            f"{name}: {chosen} of {top} configurations reach that tag accuracy; --trial KEY confirms others, and "
            "--min-tag-accuracy sets another one",
            file=sys.stderr,
        )


def recipe_key(sweep: Sweep) -> str:
    """Return the key of the trial that ran the recipe.

    Raises:
        UserError: the recipe has not run yet.
    """
    keys = sweep.trials.loc[sweep.trials["recipe"], "key"]
    if keys.empty:
        raise UserError(f"sweep {sweep.name!r} has not run its recipe yet; `gansweep resume {sweep.name}` first")
    return str(keys.iloc[0])
