"""Trials that population-based training changed: their scores were earned with other values than their parameters."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from analysis import schema
from analysis.runs import METRICS

if TYPE_CHECKING:
    import pandas as pd

    from analysis.runs import Sweep


def mutated(trials: pd.DataFrame) -> pd.Series[bool]:
    """Say of each trial whether it went on from another's networks with other values than its parameters."""
    return trials.reindex(columns=[METRICS + schema.MUTATIONS]).iloc[:, 0].fillna(0).astype(float) > 0


def without_mutated(sweep: Sweep) -> Sweep:
    """Leave out the trials whose parameters do not say what their scores were earned with."""
    marks = mutated(sweep.trials)
    return replace(sweep, trials=sweep.trials[~marks]) if marks.any() else sweep


def left_out(sweep: Sweep) -> str:
    """Say how many trials that leaves out; empty for none."""
    count = int(mutated(sweep.trials).sum())
    trials = "1 mutated trial is" if count == 1 else f"{count:,} mutated trials are"
    return f"{trials} left out: population-based training changed their values on the way" if count else ""
