"""How much of the scores' spread each dimension explains: ``python -m analysis.importance NAME``.

Two views, both by Optuna. *fANOVA* (Hutter et al. 2014) is the share of the variance that a random forest lays to a
dimension, over the whole space. *PED-ANOVA* (Watanabe et al. 2023) asks what mattered for getting among the best tenth.
Distances enter by their logarithm, dimensions on the scale on which they were searched.

Trials are compared at one point of training (``analysis.points``); a conditional dimension among the trials in which it
was active, which are said. A forest lays some variance to anything, so every dimension has a shadow, its own values
shuffled (after Kursa and Rudnicki 2010), and over bootstrap samples of the trials it is said how much the importance
varies and how often it beats its shadow's. Below 30 trials nothing is given. What trials failed is measured apart
(``analysis.failing``).
"""

from __future__ import annotations

import logging
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - tyro reads the annotations of ImportanceOptions
from typing import TYPE_CHECKING, Any, Final

import tyro  # noqa: TC002 - and those of its positional arguments

from analysis import schema
from analysis.script import json_text, run_script

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import optuna
    import pandas as pd
    from numpy.typing import NDArray

    from analysis.axes import Axis
    from analysis.effect import Outcome
    from analysis.points import Point
    from analysis.runs import Sweep

    Evaluator = Callable[[optuna.Study, list[str], int], dict[str, float]]

MINIMUM_TRIALS: Final = 30
BOOTSTRAPS: Final = 20
MOST_TRIALS: Final = 200
"""Trials per bootstrap sample: the time that fANOVA takes grows with their square."""
_TREES: Final = 16
_DEPTH: Final = 8
_BEATS: Final = 0.95
_SHADOW: Final = "shadow of "
_TOP: Final = 0.1
_LEAST_TOP: Final = 5
"""Trials that PED-ANOVA takes for the best; its authors advise no fewer."""
METHODS: Final = {
    "fanova": ("fANOVA", "a parameter's share of the scores' variance over the whole space, by a random forest"),
    "ped_anova": (
        "PED-ANOVA",
        f"a parameter's share in what sets the best trials (a tenth, no fewer than {_LEAST_TOP}) apart from all",
    ),
}
"""Name of each method, and what it answers."""


@dataclass(frozen=True)
class ImportanceOptions:
    """How much of the scores' spread each dimension explains, and which values fail."""

    name: tyro.conf.Positional[str]
    """The sweep."""
    home: Path | None = None
    """Folder of the sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""
    tracking: str | None = None
    """MLflow tracking URI, where the sweep was not tracked in its home."""
    by: str = schema.DISTANCE
    """The score."""
    seed: int = 0
    """Of the forests and the bootstrap."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class Importance:
    """Of one dimension; shares of the variance for ``fanova``, of the sum over dimensions for ``ped_anova``."""

    dimension: str
    method: str
    value: float
    """Median over the bootstrap samples."""
    low: float
    high: float
    """5th and 95th percentile of them."""
    beats_shadow: float
    """Share of the bootstrap samples in which it is larger than that of its shuffled values."""
    trials: int
    """In which the dimension was active."""

    @property
    def above_chance(self) -> bool:
        """Whether it is larger than its shadow's in at least 95% of the samples."""
        return self.beats_shadow >= _BEATS


@dataclass(frozen=True)
class Importances:
    """Of every dimension for one score, the largest first."""

    score: str
    rows: list[Importance]
    point: Point | None
    """Where the trials were compared; ``None`` where too few compare."""
    reason: str = ""
    """Why there are none, or which dimensions were left out."""

    def to_json(self) -> dict[str, Any]:
        """Give the numbers and what they rest on as JSON."""
        return {
            "score": self.score,
            "point": self.point.to_json() if self.point else None,
            "reason": self.reason or None,
            "importances": [
                {name: getattr(row, name) for name in (*row.__dataclass_fields__, "above_chance")} for row in self.rows
            ],
        }


def importances(
    sweep: Sweep, score: str = schema.DISTANCE, seed: int = 0, curves: pd.DataFrame | None = None
) -> Importances:
    """Measure every dimension that at least 30 comparable trials had active; mutated trials are left out.

    Args:
        sweep: with its ``space.json``.
        score: that is explained.
        seed: equal seeds give equal importances.
        curves: from ``learning_curves``, where they have been read already.

    Raises:
        AnalysisUsageError: no trial logged such a score.
        AnalysisError: trials were scored in several ways.
    """
    from analysis.axes import axes_of
    from analysis.curves import learning_curves
    from analysis.effects import outcome_at
    from analysis.mutated import left_out as mutated_left_out
    from analysis.mutated import without_mutated
    from analysis.points import common_point, points_of, require_one_fingerprint

    require_one_fingerprint(sweep)
    mutated, sweep = mutated_left_out(sweep), without_mutated(sweep)
    curves = learning_curves(sweep, [score]) if curves is None else curves
    points = points_of(curves[curves["key"].isin(sweep.trials["key"])], score)
    point = common_point(points, MINIMUM_TRIALS)
    if point is None:
        most = max((len(one.values) for one in points), default=0)
        few = f"at most {most} trials compare; {MINIMUM_TRIALS} are needed"
        return Importances(score, [], None, "; ".join(filter(None, [few, mutated])))
    outcome = outcome_at(sweep, point)
    rows, left_out = [], []
    for axes, some in _groups(axes_of(sweep), outcome.trials):
        if int(some.sum()) < MINIMUM_TRIALS:
            left_out += [axis.name for axis in axes]
            continue
        rows += _measure(outcome, axes_of(sweep), [axis.name for axis in axes], some, seed)
    rows.sort(key=lambda row: (row.method, -row.value))
    reason = f"active in fewer than {MINIMUM_TRIALS} trials: {', '.join(left_out)}" if left_out else ""
    return Importances(score, rows, point, "; ".join(filter(None, [reason, mutated])))


def _groups(axes: Sequence[Axis], trials: pd.DataFrame) -> list[tuple[list[Axis], NDArray[np.bool_]]]:
    """Dimensions that were active in the same trials, with those trials."""
    groups: dict[bytes, tuple[list[Axis], NDArray[np.bool_]]] = {}
    for axis in axes:
        active = axis.active(trials)
        groups.setdefault(active.tobytes(), ([], active))[0].append(axis)
    return list(groups.values())


def _measure(
    outcome: Outcome, axes: Sequence[Axis], wanted: list[str], some: NDArray[np.bool_], seed: int
) -> list[Importance]:
    """Importances of dimensions among the trials in which they were active, all of which have them."""
    import numpy as np

    trials, values = outcome.trials[some], outcome.values[some]
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
        drawn = rng.integers(len(values), size=min(len(values), MOST_TRIALS))
        given = {name: [column[i] for i in drawn] for name, column in columns.items()}
        given |= {f"{_SHADOW}{name}": [column[i] for i in rng.permutation(drawn)] for name, column in columns.items()}
        study = _study(given, distributions, better * values[drawn])
        for method, evaluate in EVALUATORS.items():
            shares[method].append(evaluate(study, [*names, *shadows], seed + round_))
    return [
        _summary(name, method, shares[method], int(some.sum()))
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
    """Give an evaluator's view of a dimension; fANOVA knows no logarithms, so doublings are its unit."""
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
    logger.setLevel(logging.WARNING)  # that a study was made is no news
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
        warnings.simplefilter("ignore")  # that it is experimental
        found = evaluator.evaluate(study, names)
    total = sum(value for name, value in found.items() if not name.startswith(_SHADOW)) or 1.0
    return {name: value / total for name, value in found.items()}


EVALUATORS: Final[dict[str, Evaluator]] = {"fanova": _fanova, "ped_anova": _ped_anova}


# The command -------------------------------------------------------------------------------------------------
def run(options: ImportanceOptions) -> int:
    """Carry out ``python -m analysis.importance``."""
    from analysis.failing import failing_by_value
    from analysis.runs import load

    sweep = load(options.name, home=options.home, tracking=options.tracking)
    found = importances(sweep, options.by, options.seed)
    failing = failing_by_value(sweep)
    if options.json:
        content = {"sweep": sweep.name, **found.to_json(), "failing": [one.to_json() for one in failing]}
        print(json_text(content))
        return 0
    print(format_importances(found))
    for one in failing:
        if one.separable:
            shares = ", ".join(f"{value.value}: {value.share:.0%} of {value.trials}" for value in one.values)
            print(f"failed by {one.dimension} (p = {one.p_value:.2g}): {shares}")
    return 0


def format_importances(found: Importances) -> str:
    """Give importances as text."""
    if found.point is None:
        return f"{found.score}: {found.reason}"
    where = f"{len(found.point.values)} of {found.point.scored} scored trials, at {found.point.kimg} kimg"
    lines = [f"{found.score}: {where}"]
    for method, (_, answers) in METHODS.items():
        lines.append(f"  {method}: {answers}, 90% of bootstrap samples")
        for row in found.rows:
            if row.method == method:
                chance = "" if row.above_chance else "  as by chance"
                lines.append(f"    {row.value:5.2f}  {row.low:.2f} to {row.high:.2f}  {row.dimension}{chance}")
    return "\n".join([*lines, *([f"  {found.reason}"] if found.reason else [])])


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a script: ``python -m analysis.importance NAME``."""
    return run_script(ImportanceOptions, run, "importance", argv)


if __name__ == "__main__":
    sys.exit(main())
