"""Learning curves of a recorded sweep in two compact files, for ``benchmarks.anytime``.

    python -m benchmarks.recorded_curves SWEEP --home DIR -o curves.csv

The sweep must have run with ``--scheduler none``. ``curves.csv`` has one row per trial and evaluation, with the columns
``trial`` (its number), ``kimg`` (of its budget), ``seconds`` (since the start of the trial), ``flops`` (floating-point
operations up to then; empty if the sweep did not record them), ``distance`` and ``tag_accuracy`` (empty where not
measured). ``curves.json`` beside it has budget, space and the searched values of every trial, so that neither later
versions of the space nor the sweep itself are needed to read the curves.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis import schema
from analysis.errors import AnalysisError
from analysis.mlflow_reader.sweep import curves as read_curves
from analysis.mlflow_reader.sweep import load
from pipeline.settings import SweepSettings
from pipeline.simulate.recording import Curve, Point, Recording, recording
from search_spaces.space import Dimension, Space
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analysis.mlflow_reader.sweep import Sweep

FLOPS = "flops"
COLUMNS = ["trial", schema.KIMG, schema.SECONDS, FLOPS, *schema.OBJECTIVES]


def write(recorded: Recording, file: Path, flops: Mapping[tuple[str, int], float] | None = None) -> None:
    """Write curves.

    Args:
        recorded: to write.
        file: a CSV file; the JSON file beside it has the same stem.
        flops: operations of a trial up to an evaluation, by key and kimg.
    """
    rows = [
        [number, point.kimg, round(point.seconds, 2), (flops or {}).get((curve.key, point.kimg)),
         *(point.scores.get(name) for name in schema.OBJECTIVES)]
        for number, curve in enumerate(recorded.curves)
        for point in curve.points
    ]  # fmt: skip
    file.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=COLUMNS).to_csv(file, index=False, float_format="%.6g")
    space, settings = recorded.space, recorded.settings
    implied = [[condition, dict(values)] for condition, values in space.implied]
    trials = [
        {
            "status": curve.status,
            "seconds": round(curve.seconds, 2),
            "params": {d.name: curve.params[d.name] for d in space.dimensions if d.active(curve.params)},
        }
        for curve in recorded.curves
    ]
    content = {
        "max_kimg": settings.max_kimg,
        "eval_kimg": settings.eval_kimg,
        "space": {**space.to_json(), "implied": implied},
        "trials": trials,
    }
    file.with_suffix(".json").write_text(json.dumps(content), encoding="utf-8")


def read(file: Path) -> Recording:
    """Read what ``write`` wrote."""
    content, table = json.loads(file.with_suffix(".json").read_text(encoding="utf-8")), pd.read_csv(file)
    described = content["space"]
    known = ("name", "default", "choices", "low", "high", "log", "when", "claim")
    dimensions = tuple(
        Dimension(**{name: value for name, value in one.items() if name in known}) for one in described["dimensions"]
    )
    implied = tuple((condition, values) for condition, values in described["implied"])
    space = Space(described["name"], described["summary"], described["recipe"], dimensions, implied=implied)
    settings = SweepSettings(
        space.name, Path("none"), file.stem,
        max_kimg=content["max_kimg"], eval_kimg=content["eval_kimg"], scheduler="none",
    )  # fmt: skip
    histories = dict(iter(table.groupby("trial")))
    curves = tuple(
        _curve(f"{file.stem}-{number:05d}", space, trial, histories.get(number, table[:0]))
        for number, trial in enumerate(content["trials"])
    )
    return Recording(settings, space, curves)


def _curve(key: str, space: Space, trial: Mapping[str, Any], history: pd.DataFrame) -> Curve:
    points = tuple(
        Point(
            int(row[schema.KIMG]),
            row[schema.SECONDS],
            {name: row[name] for name in schema.OBJECTIVES if math.isfinite(row[name])},
        )
        for row in history.sort_values(schema.KIMG).to_dict("records")
    )
    per_kimg = float((history[FLOPS] / history[schema.KIMG]).mean()) if len(history) else math.nan
    params = space.sample(_Recorded(trial["params"]))
    return Curve(key, params, points, trial["seconds"], trial["status"], per_kimg)


class _Recorded:
    """Trial stand-in that returns recorded values."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        return int(self._params[name])

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return float(self._params[name])

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._params[name]


def recorded_flops(sweep: Sweep) -> dict[tuple[str, int], float]:
    """Return the operations of a sweep's trials by key and kimg of the budget; empty if they were not recorded.

    Under ``--budget flops``, the kimg of the budget are not those of the images.
    """
    table = read_curves(sweep, [schema.FLOPS, schema.KIMG]).pivot(index=["key", "kimg"], columns="name", values="value")
    if schema.FLOPS not in table:
        return {}
    operations = (table[schema.FLOPS] * table[schema.KIMG] * 1000).dropna()
    return dict(zip(((str(key), int(kimg)) for key, kimg in operations.index), operations.astype(float), strict=True))


def main() -> None:
    """Read a sweep and write its curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep")
    parser.add_argument("--home", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    try:
        sweep = load(options.sweep, home=options.home)
        recorded = recording(sweep)
    except (AnalysisError, UserError) as error:
        raise SystemExit(str(error)) from error
    write(recorded, options.output, recorded_flops(sweep))
    print(f"{options.output}: {len(recorded.curves)} curves of {recorded.settings.max_kimg} kimg")


if __name__ == "__main__":
    main()
