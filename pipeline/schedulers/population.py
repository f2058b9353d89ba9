"""Population-based training (Jaderberg et al. 2017): the worst trials go on from the networks of the best."""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from analysis import schema
from pipeline.schedulers.rule import StoppingRule
from trainables.checkpoint import Checkpoints
from trainables.errors import UserError
from trainables.mutations import MUTABLE, current_params, order_mutation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.schedulers.rule import Costs
    from search_spaces.space import Dimension, Space
    from trainables.config import Value
    from trainables.storage import Storage

QUARTER = 4
FACTORS = (0.8, 1.25)
"""A value is multiplied by one of them; whole numbers change by one instead."""
RUNGS = 10
"""Of a budget, where the user does not say how often to evaluate."""
NETWORKS = ("generator.", "discriminator.", "tags.", "optimizer.name")
"""Parameters that two trials must share for one to go on from the networks and optimisers of the other."""


class PopulationRule(StoppingRule):
    """Stops nobody; remembers who stood where at each rung."""

    def __init__(self, rungs: Sequence[int]) -> None:
        super().__init__(schema.DISTANCE)
        self._rungs = frozenset(rungs)
        self._recorded: defaultdict[int, dict[str, float]] = defaultdict(dict)

    def _judge(self, key: str, kimg: int, costs: Costs) -> bool:
        if kimg in self._rungs:
            self._recorded[kimg].setdefault(key, costs[0])
        return True

    def sources(self, key: str, kimg: int) -> list[str]:
        """The top quartile of the trials recorded at a rung, for a trial of the bottom quartile; else nobody."""
        order = sorted(self._recorded[kimg].items(), key=lambda item: (item[1], item[0]))
        quartile = len(order) // QUARTER
        if key not in dict(order[len(order) - quartile :]):
            return []
        return [best for best, _ in order[:quartile]]


class Explorer:
    """Orders a trial to go on from another one's networks, with values perturbed inside the space.

    Args:
        storage: where the trials keep their files.
        space: what may vary, and how far.
    """

    def __init__(self, storage: Storage, space: Space) -> None:
        self.storage, self.space = storage, space

    def __call__(self, key: str, kimg: int, sources: Sequence[str]) -> None:
        """Choose one of the sources that have networks that fit; where there is none, the trial goes on as it is."""
        draw = random.Random(hashlib.sha256(f"pbt {key} {kimg}".encode()).hexdigest())
        try:
            own = current_params(self.storage.below(key))
            for source in draw.sample(sources, len(sources)):
                if not Checkpoints(self.storage.below(source)).exist():
                    continue  # those of a trial that diverged or was beyond hope are gone, its scores are not
                theirs = current_params(self.storage.below(source))
                if same_networks(own, theirs):
                    params = perturbed(self.space, own, theirs, draw)
                    order_mutation(self.storage.below(key), {"kimg": kimg, "source": source, "params": params})
                    return
        except UserError:
            return  # a storage that does not answer now fails the trial itself, which says so


def same_networks(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether networks and optimisers of two configurations can be exchanged."""
    return all(one[name] == other.get(name) for name in one if separates(name))


def separates(name: str) -> bool:
    """Whether a parameter has to agree."""
    return name.startswith(NETWORKS)


def perturbed(space: Space, own: Mapping[str, Any], theirs: Mapping[str, Any], draw: random.Random) -> dict[str, Value]:
    """The mutable values of a trial that copies another: the other's, each moved one step inside its range.

    Fixed values and choices stay the trial's own; a value whose condition no longer holds returns to its default.
    """
    now = dict(own)
    for dimension in space.dimensions:
        if dimension.name in MUTABLE and not dimension.choices:
            active = dimension.active(now)
            now[dimension.name] = _moved(dimension, theirs[dimension.name], draw) if active else dimension.default
    return {name: now[name] for name in MUTABLE if now.get(name) != own.get(name)}


def _moved(dimension: Dimension, value: Any, draw: random.Random) -> Value:
    assert dimension.low is not None
    assert dimension.high is not None
    whole = dimension.kind == "int"
    moved = value + draw.choice((-1, 1)) if whole else value * draw.choice(FACTORS)
    inside = min(max(moved, dimension.low), dimension.high)
    return int(inside) if whole else float(inside)
