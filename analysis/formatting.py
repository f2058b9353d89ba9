"""Scores, amounts and parameters as short text: one form for tables, images and pages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from analysis import schema


@dataclass(frozen=True)
class Table:
    """Rows of text under headers; ``numbers`` are the columns that are aligned as such.

    On narrow screens, the columns ``less`` are folded.
    """

    headers: list[str]
    rows: list[list[str]]
    numbers: frozenset[int] = frozenset()
    note: str = ""
    less: frozenset[int] = frozenset()


def score(name: str, value: Any) -> str:
    """A share in percent, any other score with the digits that matter; ``-`` for none."""
    if _is_missing(value):
        return "-"
    if name.startswith((schema.TAG_ACCURACY, schema.FACE_RATE)):
        return percent(value)
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.4g}"


def percent(share: float) -> str:
    """A share as ``12.3%``."""
    return f"{share:.1%}"


def number(value: Any) -> str:
    """A rank or an amount: whole numbers whole, others with four digits."""
    if _is_missing(value):
        return "-"
    return str(int(value)) if math.isfinite(value) and value == int(value) and abs(value) < 1e6 else f"{value:.4g}"


def duration(seconds: float) -> str:
    """``3h07m`` or ``4m02s``."""
    if not math.isfinite(seconds):
        return "-"
    hours, minutes = divmod(round(seconds) // 60, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{round(seconds) % 60:02d}s"


def parameter(value: Any) -> str:
    """A parameter as short as it stays distinct: three digits of a float."""
    if _is_missing(value):
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else printable(str(value))


def printable(text: str) -> str:
    """Keep an error message that ended up in a tag from driving the terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _is_missing(value: Any) -> bool:
    import pandas as pd  # commands without numbers should not wait for it

    return bool(pd.isna(value))
