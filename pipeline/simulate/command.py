"""``gansweep simulate``: which combinations, how many repeats, on which sweep."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress

from analysis.runs import load
from pipeline.combinations import require_combination
from pipeline.home import Home
from pipeline.simulate.compare import BASELINE, Plan, compare
from pipeline.simulate.curves import recording
from trainables.errors import UsageError, UserError

if TYPE_CHECKING:
    from pipeline.options import SimulateOptions
    from pipeline.simulate.compare import Comparison
    from pipeline.simulate.curves import Recording

SAMPLERS, SCHEDULERS = ("random", "tpe"), ("none", "asha", "mo-asha")
"""Compared where the user names none; those that do not go with the space are left out."""


def run_simulation(options: SimulateOptions) -> Comparison:
    """Read the sweep, and replay it.

    Raises:
        UsageError: a sampler or scheduler that does not go with the space, or numbers out of range.
        UserError: no such sweep, or one that cannot be replayed.
    """
    for name, low, high in (("workers", 1, 1_000_000), ("repeats", 1, 10_000), ("seed", 0, 2**31 - 10_001)):
        value = getattr(options, name)
        if not low <= value <= high:
            raise UsageError(f"--{name} is {value}; allowed: {low} to {high}")
    if options.plot is not None and (options.plot.suffix != ".png" or not options.plot.absolute().parent.is_dir()):
        raise UsageError(f"--plot is {options.plot}; expected a .png file in a folder that is there")
    home = Home.find(options.home)
    recorded = recording(load(options.name, home=home.root, tracking=options.tracking))
    most = len(recorded.curves)
    trials = max(2, most // 4) if options.trials is None else options.trials
    if not 1 <= trials <= most:
        raise UsageError(f"--trials is {trials}; allowed: 1 to {most}, the recorded trials that ended")
    pairs = combinations(recorded, options.sampler, options.scheduler)
    plan = Plan(options.workers, trials, options.repeats, options.seed)
    total = 2 * plan.repeats * len({BASELINE, *pairs})
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("simulating", total=total)
        return compare(recorded, pairs, plan, lambda: bar.advance(task))


def combinations(recorded: Recording, samplers: tuple[str, ...], schedulers: tuple[str, ...]) -> list[tuple[str, str]]:
    """Every sampler with every scheduler.

    Raises:
        UsageError: one that was named and does not go with the space.
    """
    if "pbt" in schedulers:
        raise UsageError(
            "--scheduler pbt changes configurations while they train: no recorded curve tells how they go on; "
            "allowed: asha, mo-asha, hyperband, median, none"
        )
    # What is refused depends on the space and on one of the two alone.
    fit_samplers = _fitting(recorded, "sampler", samplers, SAMPLERS)
    fit_schedulers = _fitting(recorded, "scheduler", schedulers, SCHEDULERS)
    return [(sampler, scheduler) for sampler in fit_samplers for scheduler in fit_schedulers]


def _fitting(recorded: Recording, option: str, named: tuple[str, ...], usual: tuple[str, ...]) -> list[str]:
    """Those that go with the space; one that was named must."""
    found = []
    for name in dict.fromkeys(named or usual):
        plain: dict[str, Any] = {"sampler": "random", "scheduler": "none", "study": None, option: name}
        try:
            require_combination(dataclasses.replace(recorded.settings, **plain), recorded.space)
        except UserError:
            if named:
                raise
            continue
        found.append(name)
    return found
