"""Attributes of a sweep's Optuna trials, and the key and seed derived from a trial's number."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from analysis import schema

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

PARAMS = "params"
"""User attribute: the whole configuration, fixed parameters included."""
OUTCOME = "outcome"
"""User attribute: a dictionary with status, reason, last scores, kimg and cost of a trial that has ended."""
STATUS, REASON = "status", "reason"
"""Keys of ``OUTCOME``; scores and kimg have their names in ``analysis.schema``."""
CONTINUES = "continues"
"""User attribute of a trial that continues an ended one under a larger budget: the number of that one, whose key, seed
and MLflow run it keeps. Optuna does not let a finished trial run again."""
BUDGET = "continues_from"
"""User attribute beside ``CONTINUES``: the budget in kimg that the ended trial had completed."""

EXTENDED = "gansweep.extended"
"""Attribute of the study: the size of the sweep as ``[trials, max_kimg]``, and the number of trials that had ended when
it was given that size."""


def recorded_outcome(trial: FrozenTrial) -> dict[str, Any]:
    """Return status, reason, last scores and kimg of a trial; empty before it ends.

    In studies of earlier versions, each of them is a user attribute of its own.
    """
    attributes = trial.user_attrs
    if OUTCOME in attributes:
        return dict(attributes[OUTCOME])
    names = (STATUS, REASON, *schema.OBJECTIVES, schema.KIMG, schema.MUTATIONS)
    return {name: attributes[name] for name in names if name in attributes}


def first_number(trial: optuna.Trial | FrozenTrial) -> int:
    """Return the number that a trial's key and seed derive from: its own, or that of the trial it continues."""
    return int(trial.user_attrs.get(CONTINUES, trial.number))


def trial_key(sweep: str, number: int) -> str:
    """Return ``<sweep>-<number, 5 digits>``."""
    return f"{sweep}-{number:05d}"


def training_seed(sweep_seed: int, number: int) -> int:
    """Derive a trial's seed, in [0, 2**31), from the sweep's seed and the trial's number."""
    return int(hashlib.sha256(f"training {sweep_seed} {number}".encode()).hexdigest()[:8], 16) >> 1
