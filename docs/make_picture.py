"""Make docs/winner.png, the picture of the README: what `gansweep demo` leaves.

gansweep demo --home FOLDER
python docs/make_picture.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from analysis.mlflow_reader.artifacts import Artifacts
from gansweep import curves, load, rank

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from analysis.ranking.ranking import Ranking

OUTPUT = Path(__file__).with_name("winner.png")
NAME = "demo-1"
COLOURS = 224
"""Size of the palette, so that the file stays small."""


def main(home: Path, output: Path = OUTPUT) -> Path:
    """Draw the winner's samples beside the results of all trials, and write them to a file."""
    ranking = rank(load(NAME, home=home))
    figure = Figure(figsize=(10.4, 4.2), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.45, 1))
    _draw_samples(left, ranking)
    _draw_results(right, ranking)
    figure.savefig(output)
    with Image.open(output) as image:
        image.convert("RGB").quantize(COLOURS).save(output, optimize=True)
    return output


def _draw_samples(axes: Axes, ranking: Ranking) -> None:
    sheet = Artifacts(ranking.sweep).last_sample(str(ranking.winner["mlflow_run_id"]))
    assert sheet is not None, "the winner's samples were removed"
    axes.imshow(np.asarray(sheet), interpolation="lanczos")
    axes.set_title(f"The winner, {ranking.best}: one row per request, one column per noise", fontsize=9)
    axes.axis("off")


def _draw_results(axes: Axes, ranking: Ranking) -> None:
    """Draw distance against tag accuracy over the training of each trial, and the front of the last results."""
    front = ranking.trials[ranking.trials["pareto"]].sort_values("scores.distance")
    axes.step(
        front["scores.distance"], 100 * front["scores.tag_accuracy"], where="post", color="#d55e00", linestyle="--",
        linewidth=1, label="Pareto front",
    )  # fmt: skip
    axes.legend(loc="lower left", fontsize=8, frameon=False)
    recipes = set(ranking.trials.loc[ranking.trials["recipe"], "key"])
    points = curves(ranking.sweep, ["distance", "tag_accuracy"])
    table = points.pivot(index=["key", "kimg"], columns="name", values="value").dropna().reset_index("kimg")
    for key in ranking.trials.loc[ranking.trials["key"].isin(table.index), "key"]:  # a failed one may have no result
        trial = table.loc[[key]]
        is_winner = key == ranking.best
        colour = "#0060a0" if is_winner else "#8a929b"
        axes.plot(trial["distance"], 100 * trial["tag_accuracy"], ".-", color=colour, linewidth=1)
        last = trial.iloc[-1]
        place = (last["distance"], 100 * last["tag_accuracy"])
        axes.plot(*place, "*" if is_winner else "o", color=colour, markersize=14 if is_winner else 6)
        status = ranking.trials.set_index("key").loc[key, "status"]
        offset = (-34, 10) if is_winner else (8, -4)
        name = f"{key} (recipe)" if key in recipes else key
        text = f"{name}\n{status} at {last['kimg']:g} kimg"
        axes.annotate(text, place, offset, textcoords="offset points", fontsize=8)
    axes.set(xlabel="distance (lower is better)", ylabel="tag accuracy in % (higher is better)", ylim=(0, 108))
    axes.set_title("Every trial through its training, and the front", fontsize=9)
    axes.margins(x=0.25)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
