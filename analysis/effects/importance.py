"""How much of the scores' spread each dimension explains: ``python -m analysis.importance NAME``.

Two methods. *fANOVA* (Hutter et al. 2014) is the share of the variance that a random forest attributes to a dimension,
over the whole space. *PED-ANOVA* (Watanabe et al. 2023) measures the importance for reaching the best tenth. Distances
enter as logarithms, dimensions on the scale on which they were searched.

Trials are compared at one point of training (``analysis.effects.comparison_point``); a conditional dimension is
measured on the trials in which it was active. A forest attributes some variance to any column, so every dimension has
a shadow, its own values shuffled (after Kursa and Rudnicki 2010); bootstrap samples of the trials show how much the
importance varies and how often it exceeds that of its shadow. At least 30 trials are required. Failures are analysed
separately (``analysis.effects.failure_rates``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from analysis import schema
from analysis.script import part_of, silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from analysis.effects.comparison_point import ComparisonPoint
    from analysis.effects.dimensions import Axis
    from analysis.effects.effect import Response
    from analysis.mlflow_reader.sweep import Sweep
    from analysis.script import Progress

MINIMUM_TRIALS: Final = 30
BOOTSTRAPS: Final = 20
MOST_TRIALS: Final = 200
"""Maximum number of trials per bootstrap sample: a tree's leaves grow with it, and the time with their square."""
_TREES: Final = 16
_DEPTH: Final = 8
_BEATS: Final = 0.95
_TOP: Final = 0.1
_LEAST_TOP: Final = 5
"""Minimum number of trials that count as the best in PED-ANOVA, as advised by its authors."""
METHODS: Final = {
    "fanova": ("fANOVA", "a parameter's share of the scores' variance over the whole space, by a random forest"),
    "ped_anova": (
        "PED-ANOVA",
        f"a parameter's share in what sets the best trials (a tenth, no fewer than {_LEAST_TOP}) apart from all",
    ),
}
"""Name and description of each method."""


@dataclass(frozen=True)
class Importance:
    """Importance of a dimension: share of the variance (``fanova``) or of the sum over dimensions (``ped_anova``)."""

    dimension: str
    method: str
    value: float
    """Median over the bootstrap samples."""
    low: float
    high: float
    """5th and 95th percentile of the bootstrap samples."""
    beats_shadow: float
    """Share of the bootstrap samples in which it exceeds that of its shadow."""
    trials: int
    """Number of trials in which the dimension was active."""

    @property
    def above_chance(self) -> bool:
        """Whether it exceeds that of its shadow in at least 95% of the samples."""
        return self.beats_shadow >= _BEATS


@dataclass(frozen=True)
class Importances:
    """Importances of all dimensions for one score, the largest first."""

    score: str
    rows: list[Importance]
    point: ComparisonPoint | None
    """Point of training at which trials were compared; ``None`` if too few are comparable."""
    reason: str = ""
    """Why there are none, or which dimensions were left out."""

    def to_json(self) -> dict[str, Any]:
        """Return the importances and the data behind them as a JSON object."""
        return {
            "score": self.score,
            "point": self.point.to_json() if self.point else None,
            "reason": self.reason or None,
            "importances": [
                {name: getattr(row, name) for name in (*row.__dataclass_fields__, "above_chance")} for row in self.rows
            ],
        }


def importances(
    sweep: Sweep,
    score: str = schema.DISTANCE,
    seed: int = 0,
    curves: pd.DataFrame | None = None,
    progress: Progress = silent,
) -> Importances:
    """Measure every dimension that was active in at least 30 comparable trials; mutated trials are left out.

    Args:
        sweep: with its ``space.json``.
        score: the score to explain.
        seed: equal seeds give equal importances.
        curves: from ``learning_curves``, where they have been read already.
        progress: called with (done, total).

    Raises:
        AnalysisUsageError: no trial logged such a score.
        AnalysisError: trials were scored in several ways.
    """
    from analysis.effects.comparison_point import common_point, points_of, require_one_fingerprint
    from analysis.effects.dimensions import axes_of
    from analysis.effects.marginal import response_at
    from analysis.mlflow_reader.learning_curves import learning_curves
    from analysis.mlflow_reader.mutated import mutated_note as mutated_left_out
    from analysis.mlflow_reader.mutated import without_mutated

    require_one_fingerprint(sweep)
    mutated, sweep = mutated_left_out(sweep), without_mutated(sweep)
    curves = learning_curves(sweep, [score]) if curves is None else curves
    points = points_of(curves[curves["key"].isin(sweep.trials["key"])], score)
    point = common_point(points, MINIMUM_TRIALS)
    if point is None:
        largest = max((len(candidate.values) for candidate in points), default=0)
        few = f"at most {largest} trials compare; {MINIMUM_TRIALS} are needed"
        return Importances(score, [], None, "; ".join(filter(None, [few, mutated])))
    outcome = response_at(sweep, point)
    rows, groups = [], _groups(axes_of(sweep), outcome.trials)
    left_out = [axis.name for axes, mask in groups if mask.sum() < MINIMUM_TRIALS for axis in axes]
    large = [([axis.name for axis in axes], mask) for axes, mask in groups if mask.sum() >= MINIMUM_TRIALS]
    for place, (names, mask) in enumerate(large):
        rows += _measure(outcome, axes_of(sweep), names, mask, seed, part_of(progress, place, len(large)))
    rows.sort(key=lambda row: (row.method, -row.value))
    reason = f"active in fewer than {MINIMUM_TRIALS} trials: {', '.join(left_out)}" if left_out else ""
    return Importances(score, rows, point, "; ".join(filter(None, [reason, mutated])))


def _groups(axes: Sequence[Axis], trials: pd.DataFrame) -> list[tuple[list[Axis], NDArray[np.bool_]]]:
    """Group the dimensions that were active in the same trials, with a mask of those trials."""
    groups: dict[bytes, tuple[list[Axis], NDArray[np.bool_]]] = {}
    for axis in axes:
        active = axis.active(trials)
        groups.setdefault(active.tobytes(), ([], active))[0].append(axis)
    return list(groups.values())


def _measure(
    outcome: Response, axes: Sequence[Axis], wanted: list[str], active: NDArray[np.bool_], seed: int, progress: Progress
) -> list[Importance]:
    """Compute the importances of dimensions on the trials in which all of them were active."""
    import numpy as np

    trials, values = outcome.trials[active], outcome.values[active]
    better = 1.0 if schema.direction(outcome.metric) == "minimize" else -1.0
    axes = [axis for axis in axes if axis.active(trials).all() and len(set(axis.values(trials))) > 1]
    if not axes:  # none varies
        progress(BOOTSTRAPS, BOOTSTRAPS)
        return []
    columns = [_column(axis, trials) for axis in axes]
    rng = np.random.default_rng(seed)
    shares: dict[str, list[NDArray[np.float64]]] = {method: [] for method in METHODS}
    for round_ in range(BOOTSTRAPS):
        sample = rng.integers(len(values), size=min(len(values), MOST_TRIALS))
        own = [column.of(sample) for column in columns]
        shadows = [column.of(rng.permutation(sample)) for column in columns]
        response = better * values[sample]
        shares["fanova"].append(_fanova([*own, *shadows], response, seed + round_))
        shares["ped_anova"].append(_ped_anova([*own, *shadows], response))
        progress(round_ + 1, BOOTSTRAPS)
    return [
        _summary(axis.name, method, np.array(shares[method])[:, [place, len(axes) + place]], int(active.sum()))
        for method in METHODS
        for place, axis in enumerate(axes)
        if axis.name in wanted
    ]


def _summary(name: str, method: str, shares: NDArray[np.float64], trials: int) -> Importance:
    """Summarise the shares of a dimension and its shadow, ``(rounds, 2)``."""
    import numpy as np

    own, shadow = shares.T
    low, value, high = (float(number) for number in np.percentile(own, [5, 50, 95]))
    return Importance(name, method, value, low, high, float((own > shadow).mean()), trials)


@dataclass(frozen=True)
class _Column:
    """The values of a dimension in some trials."""

    encoded: NDArray[np.float64]
    """``(n, k)``: numbers on the scale of their search, choices one-hot."""
    low: float
    high: float
    cells: NDArray[np.int64]
    """``(n,)``, the place of each value on the grid of PED-ANOVA."""
    count: int
    """Cells of the grid."""
    ordered: bool

    def of(self, rows: NDArray[np.int64]) -> _Column:
        """Select trials."""
        return replace(self, encoded=self.encoded[rows], cells=self.cells[rows])


def _column(axis: Axis, trials: pd.DataFrame) -> _Column:
    import numpy as np

    from analysis.effects.ped_anova import grid_cells

    if axis.choices:
        cells = np.array([axis.choices.index(value) for value in axis.values(trials)])
        return _Column(np.eye(len(axis.choices))[cells], 0.0, 1.0, cells, len(axis.choices), ordered=False)
    numbers = axis.numbers(trials)
    low, high = np.log2([axis.low, axis.high]) if axis.log else (axis.low, axis.high)
    low, high = min(float(low), float(numbers.min())), max(float(high), float(numbers.max()))
    steps = axis.high - axis.low + 1
    whole = (np.ceil(np.log2(steps)) + 1 if axis.log else steps) if axis.whole else None
    return _Column(numbers[:, None], low, high, *grid_cells(numbers, low, high, whole), ordered=True)


def _fanova(columns: Sequence[_Column], values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    import numpy as np

    from analysis.effects.fanova import variance_shares

    widths = [column.encoded.shape[1] for column in columns]
    ends = np.cumsum([0, *widths]).tolist()
    return variance_shares(
        np.hstack([column.encoded for column in columns]),
        values,
        np.repeat([(column.low, column.high) for column in columns], widths, axis=0),
        [range(*pair) for pair in pairwise(ends)],
        trees=_TREES,
        depth=_DEPTH,
        seed=seed,
    )


def _ped_anova(columns: Sequence[_Column], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the shares of the sum over the dimensions, which come first; their shadows may exceed it."""
    import numpy as np

    from analysis.effects.ped_anova import divergence, mark_best

    best = mark_best(values, max(_TOP, _LEAST_TOP / len(values)))
    distances = np.array([divergence(one.cells, one.count, best, ordered=one.ordered) for one in columns])
    return distances / (distances[: len(columns) // 2].sum() or 1.0)


def format_importances(importances: Importances) -> str:
    """Give importances as text."""
    if importances.point is None:
        return f"{importances.score}: {importances.reason}"
    basis = (
        f"{len(importances.point.values)} of {importances.point.scored} scored trials, at {importances.point.kimg} kimg"
    )
    lines = [f"{importances.score}: {basis}"]
    for method, (_, answers) in METHODS.items():
        lines.append(f"  {method}: {answers}, 90% of bootstrap samples")
        for row in importances.rows:
            if row.method == method:
                chance = "" if row.above_chance else "  as by chance"
                lines.append(f"    {row.value:5.2f}  {row.low:.2f} to {row.high:.2f}  {row.dimension}{chance}")
    return "\n".join([*lines, *([f"  {importances.reason}"] if importances.reason else [])])
