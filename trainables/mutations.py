"""Population-based training as a trial sees it: orders to take over another trial's networks and change some values.

The driver writes an order into the trial's own folder; the trial carries it out before its next interval, and keeps
what it has carried out in its checkpoints and its configuration file.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypedDict

from trainables.checkpoint import CONFIG_FILE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trainables.config import Value
    from trainables.storage import Storage

MUTATIONS_FILE = "mutations.jsonl"
MUTATIONS = "mutations"
"""Under this name the configuration file lists the orders that were carried out, and results count them."""
MUTABLE = (
    "optimizer.generator_lr",
    "optimizer.discriminator_lr",
    "losses.adversarial_weight",
    "losses.tag_weight",
    "losses.penalty_weight",
    "losses.cycle_weight",
    "losses.identity_weight",
    "updates.generator_steps",
    "updates.discriminator_steps",
)
"""What may change while a trial runs: nothing that the shape of a network or the data depend on."""


class Mutation(TypedDict):
    """An order: at ``kimg``, take over the networks of the trial ``source`` and go on with ``params``."""

    kimg: int
    source: str
    params: dict[str, Value]


def order_mutation(storage: Storage, mutation: Mutation) -> None:
    """Write an order into a trial's folder."""
    lines = [*read_mutations(storage), mutation]
    with storage.writing(MUTATIONS_FILE) as path:
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


def read_mutations(storage: Storage) -> list[Mutation]:
    """All orders that a trial has got, in their order."""
    if not storage.exists(MUTATIONS_FILE):
        return []
    return [json.loads(line) for line in storage.read(MUTATIONS_FILE).decode().splitlines()]


def mutated(params: dict[str, Any], mutations: Iterable[Mutation]) -> dict[str, Any]:
    """Parameters as they are after the mutations."""
    now = dict(params)
    for mutation in mutations:
        now |= mutation["params"]
    return now


def current_params(storage: Storage) -> dict[str, Any]:
    """The parameters that a trial works with now, from its configuration file.

    Raises:
        UserError: it is not there, or the storage does not answer.
    """
    about = json.loads(storage.read(CONFIG_FILE))
    return mutated(about["params"], about.get(MUTATIONS, ()))
