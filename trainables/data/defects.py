"""What is wrong with a data set: every fault is named and counted, none is dropped in silence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Defect:
    """One fault: its ``kind`` (the same words for all of a kind), the image or file it concerns, and details.

    Names and details come from strangers' files and go to terminals and one-line errors: line breaks, control
    characters and undecodable bytes are escaped.
    """

    kind: str
    name: str
    detail: str = ""

    def __post_init__(self) -> None:
        for field in ("kind", "name", "detail"):
            object.__setattr__(self, field, _printable(getattr(self, field)))


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(mark if mark.isprintable() else ascii(mark)[1:-1] for mark in text)


def defects_by_kind(defects: Iterable[Defect]) -> dict[str, list[str]]:
    """Every defect's name, with its detail where it has one, under its kind."""
    kinds: dict[str, list[str]] = {}
    for defect in defects:
        kinds.setdefault(defect.kind, []).append(f"{defect.name} ({defect.detail})" if defect.detail else defect.name)
    return kinds
