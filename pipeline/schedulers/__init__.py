"""Stopping rules: one per module, independent of Ray."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis import schema
from pipeline.schedulers.base import NoStopping
from pipeline.schedulers.median_stopping import MedianRule
from pipeline.schedulers.population_based import PopulationRule
from pipeline.schedulers.successive_halving import asha, hyperband, mo_asha

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from pipeline.schedulers.base import StoppingRule

TWO_OBJECTIVES = ("mo-asha",)
"""Schedulers that compare trials by distance and tag accuracy."""
NON_STOPPING = ("pbt", "none")
"""Schedulers that let every trial use its whole budget."""


def choose_scheduler(name: str, objectives: Collection[str]) -> str:
    """Return the name of a rule in ``RULES``: the given one, or for ``auto`` one that compares by all objectives.

    By distance alone, trials that learn tags first are stopped.
    """
    if name != "auto":
        return name
    return "mo-asha" if schema.TAG_ACCURACY in objectives else "asha"


RULES: Mapping[str, Callable[[Sequence[int], int], StoppingRule]] = {
    "asha": lambda rungs, max_kimg: asha(rungs),
    "mo-asha": lambda rungs, max_kimg: mo_asha(rungs),
    "hyperband": lambda rungs, max_kimg: hyperband(rungs),
    # No trial is stopped before the first rung that ASHA would have.
    "median": lambda rungs, max_kimg: MedianRule(next(iter(rungs), max_kimg)),
    "pbt": lambda rungs, max_kimg: PopulationRule(rungs),
    "none": lambda rungs, max_kimg: NoStopping(),
}
"""Factories of stopping rules by name; rungs and budget are in kimg."""
