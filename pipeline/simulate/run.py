"""Run ``gansweep simulate``: validate the options, read the sweep and compare."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

from analysis.mlflow_reader.sweep import load
from pipeline.console import Stages, brief_stages
from pipeline.home import Home
from pipeline.search.compatibility import require_combination
from pipeline.settings import SweepSettings
from pipeline.simulate.compare import BASELINE, Plan, compare
from pipeline.simulate.recording import recording
from trainables.errors import UsageError, UserError

if TYPE_CHECKING:
    from pipeline.simulate.compare import Comparison
    from pipeline.simulate.options import SimulateOptions
    from pipeline.simulate.recording import Recording

SAMPLERS, SCHEDULERS = ("random", "tpe", "prior"), ("none", "asha", "mo-asha")
"""Compared by default; those that are incompatible with the space are left out."""


def run_simulation(options: SimulateOptions) -> Comparison:
    """Read a sweep and replay it.

    Raises:
        UsageError: a sampler or scheduler is incompatible with the space, or a number is out of range.
        UserError: the sweep does not exist or cannot be replayed.
    """
    for name, low, high in (("workers", 1, 1_000_000), ("repeats", 1, 10_000), ("seed", 0, 2**31 - 10_001)):
        value = getattr(options, name)
        if not low <= value <= high:
            raise UsageError(f"--{name} is {value}; allowed: {low} to {high}")
    if options.plot is not None and (options.plot.suffix != ".png" or not options.plot.absolute().parent.is_dir()):
        raise UsageError(f"--plot is {options.plot}; expected a .png file in an existing directory")
    home = Home.find(options.home)
    with brief_stages()(f"curves of {options.name}"):
        recorded = recording(load(options.name, home=home.root, tracking=options.tracking))
    most = len(recorded.curves)
    trials = max(2, most // 4) if options.trials is None else options.trials
    if not 1 <= trials <= most:
        raise UsageError(f"--trials is {trials}; allowed: 1 to {most}, the recorded trials that ended")
    pairs = combinations(recorded, options.sampler, options.scheduler)
    plan = Plan(options.workers, trials, options.repeats, options.seed)
    total = 2 * plan.repeats * len({BASELINE, *pairs})
    with Stages()(f"{total} simulated searches") as progress:
        done = itertools.count(1)
        return compare(recorded, pairs, plan, lambda: progress(next(done), total))


def combinations(recorded: Recording, samplers: tuple[str, ...], schedulers: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return every sampler with every scheduler.

    Raises:
        UsageError: one that was named is incompatible with the space.
    """
    if "pbt" in schedulers:
        raise UsageError(
            "--scheduler pbt changes configurations during training, of which there are no recorded curves; "
            "allowed: asha, mo-asha, hyperband, median, none"
        )
    # Compatibility depends on the space and on one of the two alone.
    fit_samplers = _compatible(recorded, "sampler", samplers, SAMPLERS)
    fit_schedulers = _compatible(recorded, "scheduler", schedulers, SCHEDULERS)
    return [(sampler, scheduler) for sampler in fit_samplers for scheduler in fit_schedulers]


def _compatible(recorded: Recording, option: str, named: tuple[str, ...], default: tuple[str, ...]) -> list[str]:
    """Return the compatible ones; one that was named must be."""
    compatible = []
    for name in dict.fromkeys(named or default):
        plain: dict[str, Any] = {"sampler": "random", "scheduler": "none", "study": None, "objectives": "auto"}
        # What a sweep began with does not decide what its curves can be replayed with.
        plain |= {"like": None, "prior_confidence": SweepSettings.prior_confidence}
        plain[option] = name
        try:
            require_combination(dataclasses.replace(recorded.settings, **plain), recorded.space)
        except UserError:
            if named:
                raise
            continue
        compatible.append(name)
    return compatible
