"""The leading configurations of a sweep again, on fresh seeds, to the full budget: what a search score is worth."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

from analysis import schema
from analysis.rank import rank
from analysis.runs import load
from pipeline.repeats import Repeat, Repeated, budget_suffix, carry_out, mutated_keys, params_of, repeat_seed
from pipeline.resume import resumed
from trainables.errors import UsageError, UserError

if TYPE_CHECKING:
    from analysis.runs import Sweep
    from pipeline.options import ConfirmOptions, RepeatOptions
    from pipeline.settings import SweepSettings

MOST_SEEDS = 1000


def run_confirmation(options: ConfirmOptions) -> Repeated:
    """Carry out ``gansweep confirm``, or go on with it.

    Raises:
        UsageError: no such sweep, or numbers out of range.
        UserError: none of its trials is ranked.
    """
    if not 1 <= options.top <= MOST_SEEDS:
        raise UsageError(f"--top is {options.top}; allowed: 1 to {MOST_SEEDS}")
    if options.fuse is not None and not 1 <= options.fuse <= MOST_SEEDS:
        raise UsageError(f"--fuse is {options.fuse}; allowed: 1 to {MOST_SEEDS}")
    settings, sweep, budget = opened(options)
    if options.fuse is not None and settings.address is not None:
        raise UsageError(
            f"--fuse {options.fuse} trains in this process and the sweep runs on the Ray cluster {settings.address}; "
            "leave one of the two out"
        )
    if count := len(mutated_keys(sweep)):
        print(
            f"{settings.name}: {count} trial{'s' * (count != 1)} not considered for confirmation: their scores come of "
            "others' networks (pbt), not of their own parameters from the start",
            file=sys.stderr,
        )
    if budget < settings.max_kimg:
        print(
            f"{settings.name}: {budget} kimg a run is less than the sweep's {settings.max_kimg}: the runs are shown "
            "beside the ranking and move no trial; without --max-kimg they would",
            file=sys.stderr,
        )
    plan = confirmation_plan(sweep, settings, top=options.top, seeds=options.seeds, budget=budget)
    return Repeated(carry_out(plan, settings, sweep, fuse=options.fuse), budget, settings.home, settings.tracking)


def opened(options: RepeatOptions) -> tuple[SweepSettings, Sweep, int]:
    """The settings and the runs of a sweep, and the budget in kimg of its repeats.

    Raises:
        UsageError: no such sweep, or numbers out of range.
    """
    if not 1 <= options.seeds <= MOST_SEEDS:
        raise UsageError(f"--seeds is {options.seeds}; allowed: 1 to {MOST_SEEDS}")
    # Limits on the sweep's time and training were none on those of its repeats.
    settings = dataclasses.replace(resumed(options), time_limit=options.time_limit, total_kimg=None)
    sweep = load(settings.name, home=settings.home, tracking=settings.tracking)
    if options.max_kimg is not None:
        dataclasses.replace(settings, max_kimg=options.max_kimg, eval_kimg=None)  # refuses what is out of range
    return settings, sweep, options.max_kimg or settings.max_kimg


def confirmation_plan(sweep: Sweep, settings: SweepSettings, *, top: int, seeds: int, budget: int) -> list[Repeat]:
    """The recipe and the ``top`` best configurations by search score, each on the same ``seeds``.

    All configurations come before the next seed, so that an interrupted confirmation has judged them alike. The order
    of the search decides who is confirmed, not that of earlier confirmations: giving more later only adds.
    """
    keys = leading(sweep, top)
    params = {key: params_of(sweep, key) for key in keys}
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
        )
        for index in range(seeds)
        for key in keys
    ]


def leading(sweep: Sweep, top: int) -> list[str]:
    """Keys of the ``top`` best trials by search score, one for each configuration, then the recipe's.

    Trials that went on from others' networks are left out.

    Raises:
        UserError: no other trial is ranked.
    """
    ranking = rank(dataclasses.replace(sweep, repeats=sweep.repeats.iloc[:0]))
    trials = ranking.trials[ranking.trials["rank"].notna()]
    if trials.empty:
        raise UserError(f"sweep {sweep.name!r} has no scored trial to confirm yet")
    trials = trials[~trials["key"].isin(mutated_keys(sweep))]
    if trials.empty:
        raise UserError(f"every scored trial of sweep {sweep.name!r} went on from others' networks: none to confirm")
    recipe = recipe_key(sweep)
    hashes = sweep.trials.set_index("key")["config_hash"]
    chosen: dict[str, str] = {}
    for key in trials["key"]:
        # A search may come upon a configuration twice, the recipe's too.
        chosen.setdefault(hashes[key], recipe if hashes[key] == hashes[recipe] else key)
    return list(dict.fromkeys([*list(chosen.values())[:top], recipe]))


def recipe_key(sweep: Sweep) -> str:
    """Key of the trial that ran the recipe.

    Raises:
        UserError: there is none yet.
    """
    found = sweep.trials.loc[sweep.trials["recipe"], "key"]
    if found.empty:
        raise UserError(f"sweep {sweep.name!r} has not run its recipe yet; `gansweep resume {sweep.name}` first")
    return str(found.iloc[0])
