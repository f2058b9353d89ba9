"""Trials mutated by population-based training: their scores belong to other values than their parameters."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from analysis import schema
from analysis.mlflow_reader.sweep import METRICS

if TYPE_CHECKING:
    import pandas as pd

    from analysis.mlflow_reader.sweep import Sweep


def mutated_mask(trials: pd.DataFrame) -> pd.Series[bool]:
    """Mark the trials that continued from another trial's networks with values other than their own parameters."""
    return trials.reindex(columns=[METRICS + schema.MUTATIONS]).iloc[:, 0].fillna(0).astype(float) > 0


def without_mutated(sweep: Sweep) -> Sweep:
    """Drop mutated trials: their scores belong to other values than their parameters."""
    marks = mutated_mask(sweep.trials)
    return replace(sweep, trials=sweep.trials[~marks]) if marks.any() else sweep


def mutated_note(sweep: Sweep) -> str:
    """Describe how many mutated trials are left out; empty if none."""
    count = int(mutated_mask(sweep.trials).sum())
    trials = "1 mutated trial is" if count == 1 else f"{count:,} mutated trials are"
    return f"{trials} left out: population-based training changed their values on the way" if count else ""
