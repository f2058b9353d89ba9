"""Tables of docs/study's pages and of README, from the CSV files: ``python docs/study/pages.py [--tables FOLDER]``.

Replaces what stands between ``<!-- tables -->`` and ``<!-- end of tables -->`` in ``systems.md``, ``claims.md`` and the
README. ``--pages FOLDER`` has these files; by default they are in their places.
"""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from studies import STUDIES, Study

from analysis import schema
from analysis.claim_checks.claims import CLAIMS
from analysis.claim_checks.designs import DESIGNS

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
BEGIN, END = "<!-- tables -->", "<!-- end of tables -->"
MODERN: Final = ("rival-lightgan", "rival-r3gan")
"""Systems of no report; their recipes ran for question 3."""
SHARES: Final = {"tag_accuracy": "all tags right", "face_rate": "faces", "diversity": "diversity"}
IDEAS: Final = {
    "acgan": "auxiliary classifiers, transposed convolutions",
    "srresnet_acgan": "auxiliary classifiers, SRResNet, DRAGAN",
    "matching_wgan": "wrong tags as negatives, WGAN-GP",
    "cdcgan": "wrong tags as negatives, BCE",
    "combo_dcgan": "one code per combination of tags",
    "lightgan": "for minutes of CPU: resizing, no norm in D, R1 and R2",
    "r3gan": "[Huang et al. 2024](https://arxiv.org/abs/2501.05441): relativistic loss",
    "dcgan": "without tags",
    "wgan_gp": "without tags, WGAN-GP",
    "cyclegan": "translation between two domains",
    "stargan": "translation between the classes of a group",
}
"""What a system is, in README's order."""
COLUMNS: Final = {
    "runs": ("study", "key", "status", "kimg", "distance", *SHARES),
    "curves": ("study", "key", "kimg", "samples", "distance"),
    "claims": ("study", "claim", "claim_verdict", "metric", "time", "expected", "verdict", "reason", "comparison",
               "unit", "estimate", "low", "high", "smallest_separable", "runs"),
}  # fmt: skip
"""Columns that the pages use, missing where no study has them yet."""


# Systems -----------------------------------------------------------------------------------------------------
def systems_table(runs: pd.DataFrame, curves: pd.DataFrame) -> str:
    """Give a row per system: its training, the change of its distance along it, and its last scores over seeds."""
    rows = []
    for study in STUDIES:
        if study.question == 1 or study.name in MODERN:
            own = runs[runs["study"] == study.name]
            rows.append([f"`{study.name.partition('-')[2]}`", widths_of(study), *_system_cells(own, curves)])
    columns = ["system", "widths", "kimg", "seeds", "distance along training", "distance", *SHARES.values()]
    return table(columns, rows)


def widths_of(study: Study) -> str:
    """Give the widths of generator and discriminator, as the study's command sets them."""
    words = [word.partition("=")[2] for word in shlex.split(study.steps[0]) if ".width=" in word]
    return ", ".join(words) or "of the recipe"


def _system_cells(runs: pd.DataFrame, curves: pd.DataFrame) -> list[str]:
    done, failed = runs[runs["status"] == schema.COMPLETE], int((runs["status"] == schema.FAILED).sum())
    if done.empty and not failed:
        return ["not run yet" if runs.empty else "begun", *[""] * (3 + len(SHARES))]
    seeds = f"{len(done)}, {failed} failed" if failed else str(len(done))
    kimg = _spread(done["kimg"], digits="g") if len(done) else ""
    scores = [
        _spread(done[score]) if score == "diversity" else _spread(100 * done[score], "%", ".1f") for score in SHARES
    ]
    return [kimg, seeds, _along(curves[curves["key"].isin(done["key"])]), _spread(done["distance"]), *scores]


def readme_table(runs: pd.DataFrame) -> str:
    """Give a row per system: what it is, and its scores in question 1, else in question 3."""
    rows = []
    for system, idea in IDEAS.items():
        names = (f"systems-{system}", f"rival-{system}")
        done = [runs[(runs["study"] == name) & (runs["status"] == schema.COMPLETE)] for name in names]
        best = next((own for own in done if len(own)), done[0])
        means = best[["kimg", "distance", "tag_accuracy"]].mean()
        distance = f"{means['distance']:,.0f}" if len(best) else "not measured yet"
        share = "" if np.isnan(means["tag_accuracy"]) else f"{means['tag_accuracy']:.0%}"
        kimg = f"{means['kimg']:g}" if len(best) else ""
        rows.append([f"`{system}`", idea, kimg, str(len(best) or ""), distance, share])
    return table(["space", "what it is", "kimg", "seeds", "mean distance", "all tags right"], rows)


def _along(curves: pd.DataFrame) -> str:
    """Give the mean distance at the first and the last evaluation that all runs have, on equally many images."""
    known = curves.dropna(subset=["distance", "samples"])
    if known.empty:
        return ""
    equal = known[known["samples"] == known["samples"].mode().min()]
    by_point = equal.groupby("kimg")["distance"].agg(["mean", "count"])
    shared = by_point.loc[by_point["count"] == equal["key"].nunique(), "mean"]
    if len(shared) < 2:
        return ""
    return f"{shared.iloc[0]:,.0f} at {shared.index[0]:g} kimg, {shared.iloc[-1]:,.0f} at {shared.index[-1]:g}"


def _spread(values: pd.Series[float], unit: str = "", digits: str = "") -> str:
    """Give the mean and the range of some seeds; empty where none was measured."""
    known = values.dropna()
    if known.empty:
        return ""
    digits = digits or (",.0f" if known.max() >= 10 else ".2f")
    mean = f"{known.mean():{digits}}{unit}"
    return mean if known.nunique() == 1 else f"{mean} ({known.min():{digits}} to {known.max():{digits}})"


# Claims ------------------------------------------------------------------------------------------------------
def claims_table(claims: pd.DataFrame) -> str:
    """Give a row per part of each claim that its own study has asked, and one for each claim that was not asked."""
    rows = []
    for claim in CLAIMS:
        design = DESIGNS.get(claim.id)
        asked = claims[(claims["claim"] == claim.id) & (claims["study"] == f"claims-{design.system if design else ''}")]
        first = f"{claim.id}. {claim.text}"
        if asked.empty:
            reason = f"not run yet (`claims-{design.system}`)" if design else claim.unmeasured
            rows.append([f"{first}: {reason}", *[""] * 4])
        for place, part in enumerate(asked.to_dict("records")):
            rows.append(["" if place else f"{first}: **{part['claim_verdict']}**", *_part_cells(part)])
    return table(["claim", "its parts", "effect with 95% interval", "seen from", "verdict on the part"], rows)


def _part_cells(part: dict[str, Any]) -> list[str]:
    compared = f"{part['metric']}{' (early)' if part['time'] == 'early' else ''}: {part['comparison']}"
    if pd.isna(part["estimate"]):
        return [compared, str(part["reason"]), "", str(part["verdict"])]
    form = "x{:.3g}".format if part["unit"] == "ratio" else "{:+.3g}".format
    smallest = form(part["smallest_separable"]).lstrip("+") if np.isfinite(part["smallest_separable"]) else ""
    effect = f"{form(part['estimate'])} [{form(part['low'])}, {form(part['high'])}], {part['runs']:g} runs"
    return [compared, effect, smallest, f"{part['verdict']} ({part['expected']} expected)"]


def remarks() -> str:
    """List what of the claims that are asked stays open, and how they were read."""
    return "\n".join(
        f"- {claim.id}: {claim.unmeasured}" for claim in CLAIMS if claim.unmeasured and claim.id in DESIGNS
    )


# Pages -------------------------------------------------------------------------------------------------------
def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Give a table in Markdown."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def replace_tables(page: Path, new: str) -> None:
    """Replace what stands between the marks of a page.

    Raises:
        ValueError: the page has no marks.
    """
    text = page.read_text(encoding="utf-8")
    pattern = re.compile(f"{BEGIN}.*?{END}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"{page} has no {BEGIN} and {END}")
    page.write_text(pattern.sub(lambda _: f"{BEGIN}\n\n{new}\n\n{END}", text), encoding="utf-8")
    print(page)


def read(folder: Path, name: str) -> pd.DataFrame:
    """Read a table; where it is missing or lacks columns that the pages use, these are empty."""
    file = folder / f"{name}.csv"
    known = pd.read_csv(file, dtype={"claim": str}) if file.is_file() else pd.DataFrame()
    return known.reindex(columns=[*known.columns, *(column for column in COLUMNS[name] if column not in known)])


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, default=HERE / "tables", help="folder of the CSV files")
    parser.add_argument("--pages", type=Path, help="folder of systems.md, claims.md and README.md")
    options = parser.parse_args()
    runs, curves, claims = (read(options.tables, name) for name in COLUMNS)
    pages, readme = (options.pages or HERE), (options.pages or HERE.parents[1]) / "README.md"
    replace_tables(readme, readme_table(runs))
    replace_tables(pages / "systems.md", systems_table(runs, curves))
    parts = [claims_table(claims), "What stays open of these claims, and how they were read:", remarks()]
    replace_tables(pages / "claims.md", "\n\n".join(parts))


if __name__ == "__main__":
    main()
