"""A row of a ranking as strict JSON: no NaN and no infinity."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from analysis import schema
from analysis.runs import METRICS, PARAMS, SCORES

if TYPE_CHECKING:
    from collections.abc import Mapping


def trial_json(row: Mapping[Any, Any]) -> dict[str, Any]:
    """The contract's description of a trial; a parameter that it does not have is left out."""
    plain = {str(name): _plain(value) for name, value in row.items()}
    names = ("key", "number", "system", "status", "reason", "recipe", "rank", "kimg", "seconds", "samples")
    return {
        **{name: plain[name] for name in names},
        "scores": _section(plain, SCORES),
        "intervals": _intervals(_section(plain, METRICS)),
        "params": {name: value for name, value in _section(plain, PARAMS).items() if value is not None},
        "mlflow_run_id": plain["mlflow_run_id"],
    }


def _intervals(metrics: Mapping[str, Any]) -> dict[str, list[float]]:
    pairs = {}
    for metric, low in metrics.items():
        name = metric.removeprefix(schema.INTERVAL).removesuffix("/low")
        high = metrics.get(f"{schema.INTERVAL}{name}/high")
        if metric.endswith("/low") and low is not None and high is not None:
            pairs[name] = [low, high]
    return pairs


def _section(plain: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in plain.items() if name.startswith(prefix)}


def _plain(value: Any) -> Any:
    """Turn a cell into what JSON knows; missing and infinite become ``None``."""
    import pandas as pd

    if pd.isna(value):
        return None
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and math.isinf(value) else value
