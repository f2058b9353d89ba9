"""How much of the scores' spread each dimension explains: ``python -m analysis.importance NAME``.

Two methods, both from Optuna. *fANOVA* (Hutter et al. 2014) is the share of the variance that a random forest
attributes to a dimension, over the whole space. *PED-ANOVA* (Watanabe et al. 2023) measures the importance for
reaching the best tenth. Distances enter as logarithms, dimensions on the scale on which they were searched.

Trials are compared at one point of training (``analysis.effects.comparison_point``); a conditional dimension is
measured on the trials in which it was active. A forest attributes some variance to any column, so every dimension has
a shadow, its own values shuffled (after Kursa and Rudnicki 2010); bootstrap samples of the trials show how much the
importance varies and how often it exceeds that of its shadow. At least 30 trials are required. Failures are analysed
separately (``analysis.effects.failure_rates``).
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from analysis import schema
from analysis.script import part_of, silent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import optuna
    import pandas as pd
    from numpy.typing import NDArray

    from analysis.effects.comparison_point import ComparisonPoint
    from analysis.effects.dimensions import Axis
    from analysis.effects.effect import Response
    from analysis.mlflow_reader.sweep import Sweep
    from analysis.script import Progress

    Evaluator = Callable[[optuna.Study, list[str], int], dict[str, float]]

MINIMUM_TRIALS: Final = 30
BOOTSTRAPS: Final = 20
MOST_TRIALS: Final = 200
"""Maximum number of trials per bootstrap sample: the time of fANOVA grows with its square."""
_TREES: Final = 16
_DEPTH: Final = 8
_BEATS: Final = 0.95
_SHADOW: Final = "shadow of "
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
    with_all = [axis for axis in axes if axis.active(trials).all() and len(set(axis.values(trials))) > 1]
    names = [axis.name for axis in with_all]
    shadows = [f"{_SHADOW}{name}" for name in names]
    columns = {axis.name: _scaled(axis, trials) for axis in with_all}
    distributions = {axis.name: _distribution(axis) for axis in with_all}
    distributions |= {shadow: distributions[name] for shadow, name in zip(shadows, names, strict=True)}
    rng = np.random.default_rng(seed)
    shares: dict[str, list[dict[str, float]]] = {method: [] for method in EVALUATORS}
    for round_ in range(BOOTSTRAPS):
        sample = rng.integers(len(values), size=min(len(values), MOST_TRIALS))
        sampled = {name: [column[i] for i in sample] for name, column in columns.items()}
        sampled |= {
            f"{_SHADOW}{name}": [column[i] for i in rng.permutation(sample)] for name, column in columns.items()
        }
        study = _study(sampled, distributions, better * values[sample])
        for method, evaluate in EVALUATORS.items():
            shares[method].append(evaluate(study, [*names, *shadows], seed + round_))
        progress(round_ + 1, BOOTSTRAPS)
    return [
        _summary(name, method, shares[method], int(active.sum()))
        for method in EVALUATORS
        for name in wanted
        if name in names
    ]


def _summary(name: str, method: str, shares: Sequence[dict[str, float]], trials: int) -> Importance:
    import numpy as np

    own = np.array([share[name] for share in shares])
    shadow = np.array([share[f"{_SHADOW}{name}"] for share in shares])
    low, value, high = (float(number) for number in np.percentile(own, [5, 50, 95]))
    return Importance(name, method, value, low, high, float((own > shadow).mean()), trials)


def _scaled(axis: Axis, trials: pd.DataFrame) -> list[Any]:
    return axis.values(trials) if axis.choices or axis.whole else axis.numbers(trials).tolist()


def _distribution(axis: Axis) -> optuna.distributions.BaseDistribution:
    """Convert a dimension to an Optuna distribution; fANOVA ignores logarithmic scales, so values are in doublings."""
    from math import log2

    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if axis.choices:
        return CategoricalDistribution(axis.choices)
    if axis.whole:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return FloatDistribution(log2(axis.low), log2(axis.high)) if axis.log else FloatDistribution(axis.low, axis.high)


def _study(
    columns: dict[str, list[Any]],
    distributions: dict[str, optuna.distributions.BaseDistribution],
    values: NDArray[np.float64],
) -> optuna.Study:
    import optuna

    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.WARNING)  # no message when a study is created
    study = optuna.create_study()
    logger.setLevel(level)
    study.add_trials(
        [
            optuna.trial.create_trial(
                params=dict(zip(columns, row, strict=True)), distributions=distributions, value=float(value)
            )
            for *row, value in zip(*columns.values(), values, strict=True)
        ]
    )
    return study


def _fanova(study: optuna.Study, names: list[str], seed: int) -> dict[str, float]:
    import numpy as np
    from optuna.importance import FanovaImportanceEvaluator

    values = [trial.value for trial in study.get_trials(deepcopy=False)]
    if np.ptp(np.array(values, dtype=np.float64)) == 0:  # no variance to explain
        return dict.fromkeys(names, 0.0)
    return FanovaImportanceEvaluator(n_trees=_TREES, max_depth=_DEPTH, seed=seed).evaluate(study, names)


def _ped_anova(study: optuna.Study, names: list[str], seed: int) -> dict[str, float]:
    from optuna.importance import PedAnovaImportanceEvaluator

    trials = len(study.get_trials(deepcopy=False))
    evaluator = PedAnovaImportanceEvaluator(target_quantile=max(_TOP, _LEAST_TOP / trials))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ExperimentalWarning
        importances = evaluator.evaluate(study, names)
    total = sum(value for name, value in importances.items() if not name.startswith(_SHADOW)) or 1.0
    return {name: value / total for name, value in importances.items()}


EVALUATORS: Final[dict[str, Evaluator]] = {"fanova": _fanova, "ped_anova": _ped_anova}


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
