"""Convert a row of a ranking to strict JSON, without NaN and infinity."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from analysis import schema
from analysis.mlflow_reader.sweep import METRICS, PARAMS, SCORES

if TYPE_CHECKING:
    from collections.abc import Mapping


def trial_json(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the JSON description of a trial; missing parameters are left out."""
    plain = {str(name): _plain(value) for name, value in row.items()}
    names = ("key", "number", "system", "status", "reason", "recipe", "rank", "kimg", "seconds", "samples")
    return {
        **{name: plain[name] for name in names},
        "scores": _section(plain, SCORES),
        "intervals": intervals_of(plain),
        "params": {name: value for name, value in _section(plain, PARAMS).items() if value is not None},
        "flops_per_image": plain.get(METRICS + schema.FLOPS),
        "cost_kimg": plain.get(METRICS + schema.COST_KIMG, plain["kimg"]),
        "mutations": int(plain.get(METRICS + schema.MUTATIONS) or 0),
        "mlflow_run_id": plain["mlflow_run_id"],
    }


def intervals_of(row: Mapping[Any, Any]) -> dict[str, list[float]]:
    """Return the interval over sampling noise of each score of a row of ``Sweep.trials`` or ``Sweep.repeats``."""
    pairs = {}
    for column, low in row.items():
        name = column.removeprefix(f"{METRICS}{schema.INTERVAL}").removesuffix("/low")
        high = row.get(f"{METRICS}{schema.INTERVAL}{name}/high")
        if column.endswith("/low") and _known(low) and _known(high):
            pairs[name] = [low, high]
    return pairs


def _known(value: Any) -> bool:
    return value is not None and not math.isnan(value)


def _section(plain: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in plain.items() if name.startswith(prefix)}


def _plain(value: Any) -> Any:
    """Convert a cell to a JSON value; missing and infinite values become ``None``."""
    import pandas as pd

    if pd.isna(value):
        return None
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and math.isinf(value) else value
