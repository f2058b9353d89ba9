"""Tables of docs/study's pages, from its CSV files: ``python docs/study/pages.py [--tables FOLDER] [--pages FOLDER]``.

Replaces what stands between ``<!-- table -->`` and ``<!-- end of table -->`` in ``systems.md`` and ``claims.md``.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pandas as pd
from studies import STUDIES

from analysis import schema
from analysis.claim_checks.claims import CLAIMS
from analysis.claim_checks.designs import DESIGNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HERE = Path(__file__).parent
BEGIN, END = "<!-- table -->", "<!-- end of table -->"
MODERN: Final = ("rival-lightgan", "rival-r3gan")
"""Systems of no report; their recipes ran for question 3."""
SHARES: Final = {"tag_accuracy": "all tags right", "face_rate": "faces", "diversity": "diversity"}


def systems_table(runs: pd.DataFrame, curves: pd.DataFrame) -> str:
    """Give a row per system: its training, the change of its distance along it, and its last scores over seeds."""
    studies = [*(study.name for study in STUDIES if study.question == 1), *MODERN]
    rows = []
    for study in studies:
        begun = runs[runs["study"] == study]
        own, failed = begun[begun["status"] == schema.COMPLETE], int((begun["status"] == schema.FAILED).sum())
        system = f"`{study.partition('-')[2]}`"
        if own.empty and not failed:
            rows.append([system, "not run yet", *[""] * (3 + len(SHARES))])
            continue
        scores = [_spread(own[score] * 100, "%") if score != "diversity" else _spread(own[score]) for score in SHARES]
        seeds = f"{len(own)}, {failed} failed" if failed else str(len(own))
        kimg = f"{begun['kimg'].max():g}"
        rows.append([system, kimg, seeds, _along(curves, study), _spread(own["distance"]), *scores])
    return table(["system", "kimg", "seeds", "distance along training", "distance", *SHARES.values()], rows)


def _along(curves: pd.DataFrame, study: str) -> str:
    """Give the mean distance at the first and the last evaluation on equally many images."""
    own = curves[curves["study"] == study].dropna(subset=["distance"])
    if own.empty:
        return ""
    equal = own[own["samples"] == own["samples"].mode().min()]
    means = equal.groupby("kimg")["distance"].mean()
    return f"{means.iloc[0]:,.0f} at {means.index[0]:g} kimg, {means.iloc[-1]:,.0f} at {means.index[-1]:g}"


def _spread(values: pd.Series[float], unit: str = "") -> str:
    """Give the mean and the range of some seeds; empty where none was measured."""
    known = values.dropna()
    if known.empty:
        return ""
    digits = ".1f" if unit else ",.0f" if known.max() >= 10 else ".2f"
    mean = f"{known.mean():{digits}}{unit}"
    return mean if len(known) == 1 else f"{mean} ({known.min():{digits}} to {known.max():{digits}})"


def claims_table(claims: pd.DataFrame) -> str:
    """Give a row per part of each claim, and one for each claim of which nothing was measured."""
    rows = []
    for claim in CLAIMS:
        measured = claims[(claims["claim"] == claim.id) & claims["estimate"].notna()]
        rows += [[f"{claim.id}. {claim.text}" if first else "", *_part(part)] for first, part in _marked(measured)]
        if measured.empty:
            rows.append([f"{claim.id}. {claim.text}", "", "", "", _open_reason(claim.id, claims)])
    return table(["claim", "compared", "effect with 95% interval", "seen from", "verdict"], rows)


def _marked(parts: pd.DataFrame) -> Iterable[tuple[bool, pd.Series]]:
    return ((place == 0, part) for place, (_, part) in enumerate(parts.iterrows()))


def _part(part: pd.Series) -> list[str]:
    form = "x{:.3g}".format if part["unit"] == "ratio" else "{:+.3g}".format
    metric = f"{part['metric']}{' (early)' if part['time'] == 'early' else ''}"
    smallest = "" if pd.isna(part["smallest_separable"]) else form(part["smallest_separable"]).lstrip("+")
    effect = f"{form(part['estimate'])} [{form(part['low'])}, {form(part['high'])}]"
    return [f"{metric}: {part['comparison']}", effect, smallest, f"{part['verdict']} ({part['expected']} expected)"]


def _open_reason(claim: str, claims: pd.DataFrame) -> str:
    """Say why nothing was measured of a claim."""
    design = DESIGNS.get(claim)
    if design is None:
        return "no score measures it"
    study = f"claims-{design.system}"
    own = claims[claims["claim"] == claim]
    if own.empty or study not in set(claims["study"]):
        return f"not run yet (`{study}`)"
    return f"open: {own.iloc[0]['reason']}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Give a table in Markdown."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def replace_table(page: Path, new: str) -> None:
    """Replace the table between the marks of a page.

    Raises:
        ValueError: the page has no marks.
    """
    text = page.read_text(encoding="utf-8")
    pattern = re.compile(f"{BEGIN}.*?{END}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"{page} has no {BEGIN} and {END}")
    page.write_text(pattern.sub(lambda _: f"{BEGIN}\n\n{new}\n\n{END}", text), encoding="utf-8")
    print(f"{page}: {new.count(chr(10)) - 1} rows")


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, default=HERE / "tables", help="folder of the CSV files")
    parser.add_argument("--pages", type=Path, default=HERE, help="folder of the pages")
    options = parser.parse_args()
    runs, curves, claims = (read(options.tables / f"{name}.csv") for name in ("runs", "curves", "claims"))
    replace_table(options.pages / "systems.md", systems_table(runs, curves))
    replace_table(options.pages / "claims.md", claims_table(claims))


def read(file: Path) -> pd.DataFrame:
    """Read a CSV file; where it is missing or lacks a column, these are empty."""
    needed = ["study", "claim", "status", "kimg", "samples", "distance", "estimate", *SHARES]
    known = pd.read_csv(file, dtype={"claim": str}) if file.is_file() else pd.DataFrame()
    return known.reindex(columns=[*known.columns, *(name for name in needed if name not in known)])


if __name__ == "__main__":
    main()
