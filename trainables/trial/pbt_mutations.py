"""Population-based training inside a trial: mutations that copy another trial's networks and change some values.

The driver writes a mutation into the trial's folder; the trial applies it before its next interval and records the
applied mutations in its checkpoints and its configuration file.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypedDict

from trainables.storage.checkpoints import CONFIG_FILE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trainables.config import Value
    from trainables.storage.storage import Storage

MUTATIONS_FILE = "mutations.jsonl"
MUTATIONS = "mutations"
"""Key of the applied mutations in the configuration file, and of their number in results."""
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
"""Parameters that may change while a trial runs: those that affect neither the shapes of networks nor the data."""


class Mutation(TypedDict):
    """A mutation: at ``kimg``, copy the networks of the trial ``source`` and continue with ``params``."""

    kimg: int
    source: str
    params: dict[str, Value]


def order_mutation(storage: Storage, mutation: Mutation) -> None:
    """Append a mutation to the file in a trial's folder."""
    lines = [*read_mutations(storage), mutation]
    with storage.writing(MUTATIONS_FILE) as path:
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


def read_mutations(storage: Storage) -> list[Mutation]:
    """Return all mutations ordered for a trial, oldest first."""
    if not storage.exists(MUTATIONS_FILE):
        return []
    return [json.loads(line) for line in storage.read(MUTATIONS_FILE).decode().splitlines()]


def mutated(params: dict[str, Any], mutations: Iterable[Mutation]) -> dict[str, Any]:
    """Return the parameters after the mutations."""
    current = dict(params)
    for mutation in mutations:
        current |= mutation["params"]
    return current


def current_params(storage: Storage) -> dict[str, Any]:
    """Read a trial's current parameters from its configuration file.

    Raises:
        UserError: the file is missing, or the storage does not answer.
    """
    about = json.loads(storage.read(CONFIG_FILE))
    return mutated(about["params"], about.get(MUTATIONS, ()))
