"""Population-based training (Jaderberg et al. 2017): the worst trials continue from the networks of the best."""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from analysis import schema
from pipeline.schedulers.base import StoppingRule
from trainables.errors import UserError
from trainables.storage.checkpoints import Checkpoints
from trainables.trial.pbt_mutations import MUTABLE, current_params, order_mutation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.schedulers.base import Costs
    from search_spaces.space import Dimension, Space
    from trainables.config import Value
    from trainables.storage.storage import Storage

QUARTER = 4
FACTORS = (0.8, 1.25)
"""A float is multiplied by one of these; an integer changes by 1 instead."""
RUNGS = 10
"""Default number of rungs in a budget."""
NETWORKS = ("generator.", "discriminator.", "tags.", "optimizer.name")
"""Prefixes of the parameters that two trials must share for one to copy the networks and optimizers of the other."""


class PopulationRule(StoppingRule):
    """Stops no trial; records the distances at each rung."""

    def __init__(self, rungs: Sequence[int]) -> None:
        super().__init__(schema.DISTANCE)
        self._rungs = frozenset(rungs)
        self._recorded: defaultdict[int, dict[str, float]] = defaultdict(dict)

    def _decide(self, key: str, kimg: int, costs: Costs) -> bool:
        if kimg in self._rungs:
            self._recorded[kimg].setdefault(key, costs[0])
        return True

    def exploit_candidates(self, key: str, kimg: int) -> list[str]:
        """Return the top quartile of the trials recorded at a rung to a trial of the bottom quartile, else nothing."""
        order = sorted(self._recorded[kimg].items(), key=lambda item: (item[1], item[0]))
        quartile = len(order) // QUARTER
        if key not in dict(order[len(order) - quartile :]):
            return []
        return [best for best, _ in order[:quartile]]


class PbtExploiter:
    """Orders a trial to continue from the networks of another, with values perturbed inside the space.

    Args:
        storage: holds the trials' folders.
        space: dimensions and their ranges.
    """

    def __init__(self, storage: Storage, space: Space) -> None:
        self.storage, self.space = storage, space

    def __call__(self, key: str, kimg: int, sources: Sequence[str]) -> None:
        """Order a copy from a random source whose networks fit; without one, the trial continues unchanged."""
        draw = random.Random(hashlib.sha256(f"pbt {key} {kimg}".encode()).hexdigest())
        try:
            own = current_params(self.storage.below(key))
            for source in draw.sample(sources, len(sources)):
                if not Checkpoints(self.storage.below(source)).exist():
                    continue  # a trial that diverged or failed early has scores, but no checkpoint any more
                theirs = current_params(self.storage.below(source))
                if same_networks(own, theirs):
                    params = perturbed(self.space, own, theirs, draw)
                    order_mutation(self.storage.below(key), {"kimg": kimg, "source": source, "params": params})
                    return
        except UserError:
            return  # a storage that does not answer fails the trial itself, with a message


def same_networks(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two configurations can exchange networks and optimizers."""
    return all(one[name] == other.get(name) for name in one if is_architecture_param(name))


def is_architecture_param(name: str) -> bool:
    """Return whether two trials that exchange networks must share a parameter."""
    return name.startswith(NETWORKS)


def perturbed(space: Space, own: Mapping[str, Any], theirs: Mapping[str, Any], draw: random.Random) -> dict[str, Value]:
    """Return the changed values of a trial that copies another: the other's, each moved one step inside its range.

    Fixed values and choices stay the trial's own; a value whose condition no longer holds returns to its default.
    """
    now = dict(own)
    for dimension in space.dimensions:
        if dimension.name in MUTABLE and not dimension.choices:
            active = dimension.active(now)
            now[dimension.name] = _perturb(dimension, theirs[dimension.name], draw) if active else dimension.default
    return {name: now[name] for name in MUTABLE if now.get(name) != own.get(name)}


def _perturb(dimension: Dimension, value: Any, draw: random.Random) -> Value:
    assert dimension.low is not None
    assert dimension.high is not None
    whole = dimension.kind == "int"
    moved = value + draw.choice((-1, 1)) if whole else value * draw.choice(FACTORS)
    inside = min(max(moved, dimension.low), dimension.high)
    return int(inside) if whole else float(inside)
