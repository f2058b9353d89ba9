"""Group the reasons why trials ended early by kind: the numbers in a reason differ from trial to trial."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_FIGURES = re.compile(r":| at \d")
"""Matches the end of a reason's kind, as in ``diverged: d_loss is nan`` or ``stopped by the scheduler at 9 kimg``."""


class Kind(NamedTuple):
    """Reasons of one kind: number of trials, the most frequent reason in full, and number of ``different`` reasons."""

    name: str
    trials: int
    example: str
    different: int

    def __str__(self) -> str:
        return self.example if self.different == 1 else f"{self.name} (e.g. {self.example})"


def group_reasons(reasons: Iterable[str]) -> list[Kind]:
    """Group reasons by kind, the most frequent first."""
    kinds: dict[str, Counter[str]] = {}
    for reason in reasons:
        kinds.setdefault(_FIGURES.split(reason, maxsplit=1)[0], Counter())[reason] += 1
    counts = [Kind(name, whole.total(), whole.most_common(1)[0][0], len(whole)) for name, whole in kinds.items()]
    return sorted(counts, key=lambda kind: -kind.trials)
