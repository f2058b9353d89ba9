"""Hyperparameter search for tag-conditional image GANs: the public Python interface.

>>> from gansweep import Bundle, SweepSettings, load, rank, run_sweep
>>> settings = SweepSettings(space="acgan", data=Path("faces"), name="first", trials=12)    # doctest: +SKIP
>>> run_sweep(settings)                                                                    # doctest: +SKIP
>>> rank(load("first")).best                                                               # doctest: +SKIP
'first-00007'

A name is imported on first use, so that ``import gansweep`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.effects.marginal import effects_table
    from analysis.mlflow_reader.sweep import Sweep, curves, load
    from analysis.ranking.ranking import rank
    from pipeline.bundle.bundle import Bundle
    from pipeline.settings import SweepSettings
    from pipeline.sweep.run import run_sweep

__all__ = ["Bundle", "Sweep", "SweepSettings", "curves", "effects_table", "load", "rank", "run_sweep"]

_MODULES = {
    "Bundle": "pipeline.bundle.bundle",
    "Sweep": "analysis.mlflow_reader.sweep",
    "SweepSettings": "pipeline.settings",
    "curves": "analysis.mlflow_reader.sweep",
    "effects_table": "analysis.effects.marginal",
    "load": "analysis.mlflow_reader.sweep",
    "rank": "analysis.ranking.ranking",
    "run_sweep": "pipeline.sweep.run",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
