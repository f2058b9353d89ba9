"""Convert the runs that MLflow holds to the rows of a sweep's tables."""

from __future__ import annotations

import ast
import functools
import json
import math
import sys
from typing import TYPE_CHECKING, Any, Final

from analysis import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd

    from analysis.mlflow_reader.bulk import Record

TRIAL_COLUMNS: Final = (
    "key", "number", "system", "status", "reason", "recipe",
    "config_hash", "fingerprint", "mlflow_run_id", "kimg", "seconds",
    "samples", "started", "ended", "stretches",
)  # fmt: skip
"""Always in ``Sweep.trials``, in this order. ``fingerprint`` is canonical JSON: equal text, comparable scores.
``started`` and ``ended`` are timestamps in UTC; ``stretches`` is the JSON of ``schema.STRETCHES``."""
REPEAT_COLUMNS: Final = (
    "key", "kind", "of", "variant", "variant_params", "seed", "budget", *TRIAL_COLUMNS[2:],
)  # fmt: skip
"""Always in ``Sweep.repeats``, in this order. ``variant_params`` is a dict, ``budget`` in kimg, ``seed`` an integer."""
_TIMES: Final = ("started", "ended")
SCORES: Final = "scores."
METRICS: Final = "metrics."
PARAMS: Final = "params."

_DTYPES: Final = {  # what pandas infers -> without, with missing values
    "boolean": ("bool", "boolean"),
    "integer": ("int64", "Int64"),
    "floating": ("float64", "float64"),
    "mixed-integer-float": ("float64", "float64"),
}


def make_table(
    runs: Sequence[Record],
    space: Mapping[str, Any],
    fingerprint: Mapping[str, Any],
    identity: Callable[[Mapping[str, str]], dict[str, Any]],
    fixed: Sequence[str],
) -> pd.DataFrame:
    """Convert runs to rows, sorted by their first columns, which come from a run's tags."""
    import pandas as pd

    dimensions = {dimension["name"]: dimension for dimension in space.get("dimensions", ())}
    rows = [identity(run.data.tags) | _row(run, dimensions, fingerprint) for run in runs]
    rows.sort(key=lambda row: row.get("number", row["key"]))
    logged = {name for row in rows for name in row} - set(fixed)
    position = {f"{PARAMS}{name}": index for index, name in enumerate(dimensions)}
    sections = (SCORES, METRICS, PARAMS)

    def order(name: str) -> tuple[int, int, str]:
        section = next(i for i, prefix in enumerate(sections) if name.startswith(prefix))
        return section, position.get(name, len(position)), name

    columns = [*fixed, *sorted(logged, key=order)]
    values = {name: [row.get(name) for row in rows] for name in columns}
    return pd.DataFrame(
        {
            name: pd.to_datetime(pd.Series(column, dtype="Int64"), unit="ms", utc=True)
            if name in _TIMES
            else _make_column(column)
            for name, column in values.items()
        }
    )


def epoch_seconds(times: pd.Series[Any]) -> pd.Series[float]:
    """Convert timestamps to seconds since 1970, NaN where missing; seconds, as of sweeps made by hand, stay."""
    import pandas as pd

    if not isinstance(times.dtype, pd.DatetimeTZDtype):
        return times.astype(float)
    return (times - pd.Timestamp(0, tz="UTC")).dt.total_seconds()


def costs(trials: pd.DataFrame) -> pd.Series[float]:
    """Return what each trial or repeat has used of its budget, in kimg; NaN before its first result."""
    column = METRICS + schema.COST_KIMG
    kimg = trials["kimg"].astype(float)
    return trials[column].astype(float).fillna(kimg) if column in trials else kimg


def trial_identity(tags: Mapping[str, str]) -> dict[str, Any]:
    """Return the first columns of a trial's row."""
    return {"key": tags[schema.KEY], "number": int(tags[schema.NUMBER])}


def repeat_identity(tags: Mapping[str, str]) -> dict[str, Any]:
    """Return the first columns of a repeat's row."""
    return {
        "key": tags[schema.KEY],
        "kind": tags[schema.KIND],
        "of": tags[schema.OF],
        "variant": tags[schema.VARIANT],
        "variant_params": json.loads(tags.get(schema.VARIANT_PARAMS, "{}")),
        "seed": int(tags[schema.SEED]),
        "budget": int(tags[schema.BUDGET]),
    }


def _row(run: Record, dimensions: Mapping[str, Mapping[str, Any]], fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    tags = run.data.tags
    metrics = {
        schema.unescaped(name): _restore_infinity(value)
        for name, value in run.data.metrics.items()
        if not name.startswith(schema.CHARTS)
    }
    row: dict[str, Any] = {
        "system": tags.get(schema.SYSTEM),
        "status": tags.get(schema.STATUS, schema.RUNNING),
        "reason": tags.get(schema.REASON) or None,
        "recipe": tags.get(schema.RECIPE) == "true",
        "config_hash": tags.get(schema.CONFIG_HASH),
        "fingerprint": _canonical_json(tags.get(schema.FINGERPRINT), fingerprint),
        "mlflow_run_id": run.info.run_id,
        "kimg": metrics.pop(schema.KIMG, math.nan),
        "seconds": metrics.pop(schema.SECONDS, math.nan),
        "samples": metrics.pop(schema.SAMPLES, math.nan),
        "started": run.info.start_time or None,
        "ended": run.info.end_time or None,
        "stretches": tags.get(schema.STRETCHES),
    }
    for score, ends in json.loads(tags.get(schema.INTERVALS, "{}")).items():
        row |= {f"{METRICS}{schema.INTERVAL}{score}/{end}": at for end, at in zip(("low", "high"), ends, strict=True)}
    row |= {f"{SCORES if schema.is_score(name) else METRICS}{name}": value for name, value in metrics.items()}
    row |= {f"{PARAMS}{name}": _parse_value(text, dimensions.get(name)) for name, text in run.data.params.items()}
    return row


def _canonical_json(tag: str | None, default: Mapping[str, Any]) -> str:
    return json.dumps(json.loads(tag) if tag else default, sort_keys=True)


def _restore_infinity(value: float) -> float:
    """Restore infinity, which MLflow's database stores as the largest float."""
    return math.copysign(math.inf, value) if abs(value) >= sys.float_info.max else value


def _parse_value(text: str, dimension: Mapping[str, Any] | None) -> bool | int | float | str:
    """Give a parameter its type back: that of its dimension, else that of the Python literal it looks like."""
    if dimension is not None and dimension["kind"] == "choice":
        # Choices may look alike as literals ("1" and 1.0), but never as the text that was logged.
        for choice in dimension["choices"]:
            if str(choice) == text:
                return choice  # type: ignore[no-any-return]
    value = _literal(text)
    return (
        float(value) if dimension is not None and dimension["kind"] == "float" and not isinstance(value, str) else value
    )


@functools.lru_cache(maxsize=2**16)  # cached, because most parameters have few values in a sweep
def _literal(text: str) -> bool | int | float | str:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, bool | int | float) else text


def _make_column(values: Sequence[Any]) -> pd.Series[Any]:
    """Convert a column to the narrowest type that keeps integers integral even with missing values."""
    import pandas as pd

    column = pd.Series(values, dtype=object)
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind in _DTYPES:
        return column.astype(_DTYPES[kind][bool(column.isna().any())])  # type: ignore[call-overload,no-any-return]
    return column
