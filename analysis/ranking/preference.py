"""Rank trials by the images that a person prefers: the Bradley-Terry model of pairwise choices.

``gansweep compare`` shows pairs of sample grids without saying which trial drew them, and appends each choice to
``preferences.jsonl``: ``{"left": KEY, "right": KEY, "chosen": KEY or null}``, where null means no difference.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analysis import schema
from analysis.errors import AnalysisError, AnalysisUsageError
from analysis.mlflow_reader.sweep import METRICS, SCORES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from analysis.mlflow_reader.sweep import Sweep

FILE: Final = "preferences.jsonl"
PRIOR_DEVIATION: Final = 1.5
"""Standard deviation of the normal prior of a strength, in log-odds. Without it, a trial that was always chosen would
have an infinite strength."""


@dataclass(frozen=True)
class Choice:
    """One answer: the keys of the two trials, and the one chosen; ``None`` for no difference."""

    left: str
    right: str
    chosen: str | None


@dataclass(frozen=True)
class Strength:
    """Probability in [0, 1] that a trial is chosen over an average one, with its 95% interval and number of choices."""

    share: float
    low: float
    high: float
    choices: int


def read_choices(path: Path) -> list[Choice]:
    """Read ``preferences.jsonl``; an empty list if there is none.

    Raises:
        AnalysisError: a line is no choice.
    """
    if not path.is_file():
        return []
    choices = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            choices.append(parse_choice(json.loads(line)))
        except ValueError as error:
            raise AnalysisError(f"{path}, line {number}: {error}; correct or remove the line") from None
    return choices


def parse_choice(value: object) -> Choice:
    """Convert a JSON value to a choice.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, dict) or not {"left", "right", "chosen"} <= set(value):
        raise ValueError("not an object with left, right and chosen")
    left, right, chosen = value["left"], value["right"], value["chosen"]
    if not isinstance(left, str) or not isinstance(right, str) or left == right:
        raise ValueError("left and right are not two keys")
    if chosen not in (left, right, None):
        raise ValueError(f"chosen is {chosen!r}, neither left nor right nor null")
    return Choice(left, right, chosen)


def fit_strengths(choices: Sequence[Choice], deviation: float = PRIOR_DEVIATION) -> dict[str, Strength]:
    """Fit the Bradley-Terry model: P(i is chosen over j) = sigmoid(s_i - s_j).

    The strengths maximize the posterior under independent normal priors (Newton's method); a choice of no difference
    counts as half a choice of each. Intervals are Laplace's approximation. An average trial has the mean strength.

    Args:
        choices: answers; trials without one are not in the result.
        deviation: standard deviation of the prior.

    Returns:
        By key, the highest strength first. Source: Bradley and Terry 1952.
    """
    import numpy as np

    keys = sorted({key for choice in choices for key in (choice.left, choice.right)})
    index = {key: at for at, key in enumerate(keys)}
    wins = np.zeros((len(keys), len(keys)))  # wins[i, j]: how often i was chosen over j
    for choice in choices:
        left, right = index[choice.left], index[choice.right]
        share = 0.5 if choice.chosen is None else float(choice.chosen == choice.left)
        wins[left, right] += share
        wins[right, left] += 1 - share
    games = wins + wins.T
    strengths = np.zeros(len(keys))
    precision = np.eye(len(keys)) / deviation**2
    for _ in range(100):
        expected = games / (1 + np.exp(strengths[None] - strengths[:, None]))
        gradient = (wins - expected).sum(1) - strengths / deviation**2
        curvature = expected * (1 - expected / np.maximum(games, 1e-12))
        hessian = np.diag(curvature.sum(1)) - curvature + precision
        step = np.linalg.solve(hessian, gradient) if keys else gradient
        strengths = strengths + step
        if not keys or np.abs(step).max() < 1e-10:
            break
    contrast = np.eye(len(keys)) - 1 / max(len(keys), 1)  # from the mean
    errors = np.sqrt(np.diag(contrast @ np.linalg.inv(hessian) @ contrast.T)) if keys else strengths
    centred = strengths - strengths.mean() if keys else strengths
    fitted = {}
    for key, at in index.items():
        share, low, high = (_sigmoid(centred[at] + z * errors[at]) for z in (0.0, -1.96, 1.96))
        fitted[key] = Strength(share, low, high, int(games[at].sum()))
    return dict(sorted(fitted.items(), key=lambda item: -item[1].share))


def add_preferences(sweep: Sweep, choices: Iterable[Choice]) -> Sweep:
    """Return a sweep whose trials have the score ``preference`` with its interval, missing where there is no choice.

    Raises:
        AnalysisUsageError: no choice is between trials of this sweep.
    """
    import pandas as pd

    known = set(sweep.trials["key"])
    strengths = fit_strengths([choice for choice in choices if {choice.left, choice.right} <= known])
    if not strengths:
        raise AnalysisUsageError(
            f"sweep {sweep.name!r} has no score 'preference': nobody has chosen between its images yet; "
            f"`gansweep compare {sweep.name}` asks"
        )
    trials = sweep.trials.copy()
    columns = {
        f"{SCORES}{schema.PREFERENCE}": "share",
        f"{METRICS}{schema.INTERVAL}{schema.PREFERENCE}/low": "low",
        f"{METRICS}{schema.INTERVAL}{schema.PREFERENCE}/high": "high",
    }
    for column, field in columns.items():
        values = [getattr(strengths[key], field) if key in strengths else None for key in trials["key"]]
        trials[column] = pd.Series(values, index=trials.index, dtype="float64")
    return dataclasses.replace(sweep, trials=trials)


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))
