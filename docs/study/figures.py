"""Figures of docs/study, from its tables: ``python docs/study/figures.py [--tables FOLDER] [--home FOLDER]``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.image import imread
from PIL import Image

from analysis.claim_checks.claims import CLAIMS
from trainables.config import TRANSLATING

HERE = Path(__file__).parent
VERDICTS: Final = {"supported": "#2b7a4b", "contradicted": "#b5403a", "not separable": "#8a8a8a"}
VARIANTS: Final = (
    "recipe",
    "with generator.final_norm=true",
    "with discriminator.conditioning=concat",
    "with updates.generator_steps=4",
)
SOURCES: Final = {"search-tpe": "#1f5fa8", "search-random": "#d9822b", "rival": "#4d4d4d"}
MARKERS: Final = {"search-tpe": "o", "search-random": "s", "rival": "D"}


def draw_curves(curves: pd.DataFrame, score: str, label: str) -> Figure:
    """Draw a score along training, one panel per system, one line per seed.

    Only evaluations on equal numbers of samples are drawn, since distances on few samples are larger.
    """
    curves = curves.dropna(subset=[score])
    studies = list(dict.fromkeys(curves["study"]))
    columns = min(3, len(studies))
    rows = -(-len(studies) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.3 * rows + 0.3), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for axes, study in zip(panels, studies, strict=False):
        of = curves[curves["study"] == study]
        along = of[of["samples"] == of["samples"].mode().min()]
        for _, run in along.groupby("key"):
            axes.plot(run["kimg"], run[score], linewidth=1.2, color="#1f5fa8", alpha=0.7)
        axes.set_title(study.removeprefix("systems-"), fontsize="medium", loc="left")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylim(bottom=0)  # of all panels, once all lines are drawn: it fixes the upper end, too
    for axes in panels[len(studies) :]:
        axes.set_visible(False)
    figure.supxlabel("kimg", fontsize="medium")
    figure.supylabel(label, fontsize="medium")
    return figure


def draw_claims(claims: pd.DataFrame) -> Figure:
    """Draw each part of a claim as its effect in units of the smallest one that would have been seen.

    Parts whose differences do not vary have no such unit, and are left out.
    """
    known = claims[np.isfinite(claims["estimate"]) & np.isfinite(claims["smallest_separable"])]
    order = {claim.id: place for place, claim in enumerate(CLAIMS)}
    known = known.sort_values("claim", key=lambda ids: ids.map(order), kind="stable").iloc[::-1].reset_index(drop=True)
    figure = Figure(figsize=(9.5, 0.24 * len(known) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    for place, row in known.iterrows():
        scale = np.log if row["unit"] == "ratio" else float
        smallest = abs(scale(row["smallest_separable"]))
        middle, low, high = (scale(row[name]) / smallest for name in ("estimate", "low", "high"))
        color = VERDICTS.get(row["verdict"], "#c9c9c9")
        axes.plot([low, high], [place, place], color=color, linewidth=1.5)
        axes.plot(middle, place, "o", color=color, markersize=4)
    axes.set_yticks(
        range(len(known)), [f"{row.claim}: {row.metric} ({row.time}), {row.comparison}" for row in known.itertuples()]
    )
    axes.tick_params(axis="y", labelsize="small")
    axes.set_xscale("symlog", linthresh=3)
    axes.set_xticks([-30, -10, -3, -1, 0, 1, 3, 10, 30], ["-30", "-10", "-3", "-1", "0", "1", "3", "10", "30"])
    axes.axvline(0, color="0.3", linewidth=1)
    figure.supxlabel("effect, in units of the smallest one that would have been seen; 95% interval", fontsize="medium")
    axes.spines[["top", "right"]].set_visible(False)
    for verdict, color in VERDICTS.items():
        axes.plot([], [], "o", color=color, label=verdict)
    figure.legend(frameon=False, ncols=len(VERDICTS), loc="outside upper center")
    return figure


def draw_confirmed(confirmed: pd.DataFrame) -> Figure:
    """Draw distance against tag accuracy of the confirmed configurations, with their 95% intervals.

    Systems without tags have a panel of their own.
    """
    scores = [f"{score}{end}" for score in ("distance", "tag_accuracy") for end in ("", "_low", "_high")]
    table = confirmed.reindex(columns=[*dict.fromkeys([*confirmed, *scores])]).dropna(subset=["distance"])
    figure = Figure(figsize=(8.5, 4.8), layout="constrained")
    axes, beside = figure.subplots(1, 2, sharey=True, width_ratios=(6, 1))
    labels = {"search-tpe": "TPE", "search-random": "random draws", "rival": "recipes"}
    for row in table.itertuples():
        source = row.study if row.study in SOURCES else "rival"
        color, tagged = SOURCES[source], pd.notna(row.tag_accuracy)
        panel, x = (axes, 100 * row.tag_accuracy) if tagged else (beside, 0.0)
        panel.plot([x, x], [row.distance_low, row.distance_high], color=color, alpha=0.5)
        if tagged:
            ends = [100 * row.tag_accuracy_low, 100 * row.tag_accuracy_high]
            panel.plot(ends, [row.distance] * 2, color=color, alpha=0.5)
        filling = "full" if row.winner else "none"
        panel.plot(x, row.distance, MARKERS[source], color=color, fillstyle=filling, label=labels.pop(source, None))
        if source == "rival" or row.recipe:
            panel.annotate(row.system, (x, row.distance), xytext=(6, 4), textcoords="offset points", fontsize="small")
    axes.set_xlabel("images with all requested tags, %")
    axes.set_ylabel("distance (lower is better)")
    beside.set(xticks=[], xlabel="no tags")
    for panel in (axes, beside):
        panel.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, title="filled: the winner of its study", loc="outside upper center", ncols=3)
    return figure


def draw_search(runs: pd.DataFrame) -> Figure:
    """Draw distance and tag accuracy of the trials of each search in their order, and the best yet of each by itself.

    Failed trials are left out.
    """
    figure = Figure(figsize=(8, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    for study in ("search-tpe", "search-random"):
        trials = runs[(runs["study"] == study) & runs["key"].str.fullmatch(rf"{study}-\d+")]
        if trials.empty:
            continue
        trials = trials.sort_values("key").reset_index(drop=True)
        scores = trials[["distance", "tag_accuracy"]].where(trials["status"] == "complete")
        distance, accuracy = scores["distance"], 100 * scores["tag_accuracy"]
        best_yet = distance.cummin().ffill(), accuracy.cummax().ffill()
        for axes, values, best in zip((above, below), (distance, accuracy), best_yet, strict=True):
            axes.plot(values.index + 1, values, MARKERS[study], color=SOURCES[study], markersize=3, alpha=0.5)
            axes.step(best.index + 1, best, where="post", color=SOURCES[study], label=study)
    above.set_ylabel("distance, and the lowest yet")
    below.set_ylabel("all tags right, %, and the most yet")
    below.set_xlabel("trial")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    above.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
    return figure


def draw_samples(home: Path, runs: pd.DataFrame, confirmed: pd.DataFrame) -> Figure:
    """Show images of the search by TPE: recipe, lowest distance and winner; and of the best rival with tags."""
    trials = runs[runs["key"].str.fullmatch(r"(search|rival)-\w+-\d+") & (runs["status"] == "complete")]
    searched = trials[trials["study"] == "search-tpe"]
    of = confirmed[confirmed["study"] == "search-tpe"]
    rivals = confirmed[confirmed["study"].str.startswith("rival-") & confirmed["tag_accuracy"].notna()]
    keys = {
        "its recipe": of.loc[of["recipe"], "configuration"].iloc[0],
        "its lowest distance": searched.loc[searched["distance"].idxmin(), "key"],
        "its winner": of.loc[of["winner"], "configuration"].iloc[0],
    }
    if len(rivals):
        rival = rivals.loc[rivals["distance"].idxmin()]
        keys[f"the recipe of {rival['system']}"] = rival["configuration"]
    scores = trials.set_index("key")
    figure = Figure(figsize=(12, 12.2), layout="constrained")
    for axes, (name, key) in zip(figure.subplots(2, 2).ravel(), keys.items(), strict=False):
        row = scores.loc[key]
        file = home / "trials" / row["study"] / key / "panels" / "grid.png"
        if not file.is_file():  # recorded in another home
            continue
        axes.imshow(imread(file))
        axes.set_title(f"{name}: distance {row['distance']:,.0f}, tags {row['tag_accuracy']:.0%}", fontsize="medium")
    for axes in figure.axes:
        axes.axis("off")
    return figure


def draw_variants(home: Path) -> Figure:
    """Show images of the recipe of `acgan` beside those of some changed values, on one seed."""
    figure = Figure(figsize=(12, 12.2), layout="constrained")
    for axes, name in zip(figure.subplots(2, 2).ravel(), VARIANTS, strict=True):
        axes.axis("off")
        file = home / "trials" / "claims-acgan" / f"claims-acgan-00000-a-{name.replace(' ', '-')}-00/panels/grid.png"
        if file.is_file():
            axes.imshow(imread(file))
            axes.set_title(name, fontsize="medium")
    return figure


def copy_samples(home: Path, output: Path) -> list[Path]:
    """Copy the last images of the first run of each system of question 1 that the home has; returns the files.

    Those of translators show the real images that they translate, which are not ours to publish.
    """
    files = []
    for folder in sorted((home / "trials").glob("systems-*/systems-*-00000/samples")):
        system = folder.parent.parent.name.removeprefix("systems-")
        if system in TRANSLATING or not (saved := sorted(folder.glob("kimg-*.png"))):
            continue
        files.append(output / f"systems-{system}.jpg")
        with Image.open(saved[-1]) as image:
            image.convert("RGB").save(files[-1], quality=88)
    return files


def draw_all(tables: Path, output: Path, home: Path | None = None) -> list[Path]:
    """Draw what the tables have, and images of the trials that the home has; returns the files."""
    figures: dict[str, Figure] = {}
    if (curves := _read(tables, "curves")) is not None:
        figures["curves-distance"] = draw_curves(curves, "distance", "distance")
        if curves["tag_accuracy"].notna().any():
            figures["curves-tags"] = draw_curves(curves, "tag_accuracy", "tag accuracy")
    if (claims := _read(tables, "claims")) is not None and "estimate" in claims:
        figures["claims"] = draw_claims(claims)
    if (confirmed := _read(tables, "confirmed")) is not None:
        figures["confirmed"] = draw_confirmed(confirmed)
    runs = _read(tables, "runs")
    if runs is not None and runs["study"].str.startswith("search-").any():
        figures["search"] = draw_search(runs)
        has_search = home is not None and (home / "trials" / "search-tpe").is_dir()
        if has_search and confirmed is not None and (confirmed["study"] == "search-tpe").any():
            figures["samples"] = draw_samples(home, runs, confirmed)
    if home is not None and (home / "trials" / "claims-acgan").is_dir():
        figures["claims-samples"] = draw_variants(home)
    output.mkdir(parents=True, exist_ok=True)
    files = [output / f"{name}.{'jpg' if name.endswith('samples') else 'png'}" for name in figures]
    for file, figure in zip(files, figures.values(), strict=True):
        figure.savefig(file, dpi=110)
    return files + (copy_samples(home, output) if home is not None else [])


def _read(tables: Path, name: str) -> pd.DataFrame | None:
    file = tables / f"{name}.csv"
    table = pd.read_csv(file, dtype={"claim": str}) if file.is_file() else pd.DataFrame()
    return table if len(table) else None


def main() -> None:
    """Parse the options and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path, default=HERE / "tables", help="folder of the CSV files")
    parser.add_argument("--output", type=Path, default=HERE / "figures", help="folder of the images")
    parser.add_argument("--home", type=Path, help="folder of the sweeps, for generated images")
    options = parser.parse_args()
    print(*draw_all(options.tables, options.output, options.home), sep="\n")


if __name__ == "__main__":
    main()
