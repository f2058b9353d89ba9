"""Read a sweep as tables and plot its learning curves: python docs/examples/analyse.py NAME [HOME]."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from gansweep import curves, effects_table, load

if TYPE_CHECKING:
    import pandas as pd


def main(name: str, home: Path | None, output: Path) -> pd.DataFrame:
    """Print tables, write the learning curves as an image, and return one row per trial with its duration."""
    sweep = load(name, home=home)
    print(sweep)
    trials = sweep.trials.assign(minutes=(sweep.trials["ended"] - sweep.trials["started"]).dt.total_seconds() / 60)
    print(trials.groupby("status")[["scores.distance", "minutes"]].mean())
    print("started", trials["started"].min().tz_convert("Europe/Berlin"))
    print(effects_table(sweep, "distance")[["dimension", "value", "against", "estimate", "separable"]])

    table = curves(sweep, ["distance"]).pivot(index="kimg", columns="key", values="value")
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(table.index, table.to_numpy(), marker="o", label=list(table.columns))
    axes.set(xlabel="training (kimg)", ylabel="distance")
    axes.legend()
    figure.savefig(output)
    return trials[["key", "status", "started", "minutes"]]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else None, Path("learning-curves.png"))
