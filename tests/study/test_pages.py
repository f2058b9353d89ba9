"""The tables in the pages of docs/study."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from analysis.claim_checks.claims import CLAIMS

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

RUNS = """study,status,kimg,distance,tag_accuracy,face_rate,diversity
systems-dcgan,complete,20,3000,,0.5,0.75
systems-dcgan,complete,20,5000,,0.25,0.25
systems-dcgan,failed,7,9000,,,
systems-acgan,complete,4,900,0.125,,0.5
systems-cdcgan,failed,3,,,,
"""
CURVES = """study,kimg,samples,distance
systems-dcgan,10,512,8000
systems-dcgan,10,512,6000
systems-dcgan,15,512,5000
systems-dcgan,20,2048,4000
"""
CLAIMS_CSV = """study,claim,metric,time,expected,verdict,reason,comparison,unit,estimate,low,high,smallest_separable
claims-acgan,9a,distance,end,same,not separable,,updates.steps 4 against 1,ratio,0.9,0.75,1.125,1.25
claims-acgan,9a,tag_accuracy,early,same,contradicted,,updates.steps 4 against 1,difference,0.25,0.125,0.375,0.125
claims-acgan,11,distance,end,same,not enough trials,none of them,training.extra_data,,,,,
"""


def cells(table: str, of: str) -> list[list[str]]:
    """The cells of the rows that begin with a text, and of those that continue them."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    first = next(place for place, row in enumerate(rows) if row[0].startswith(of))
    last = next((place for place in range(first + 1, len(rows)) if rows[place][0]), len(rows))
    return rows[first:last]


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    for name, text in {"runs": RUNS, "curves": CURVES, "claims": CLAIMS_CSV}.items():
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
    return tmp_path


def test_systems_have_means_and_ranges_over_seeds(pages: ModuleType, tables: Path) -> None:
    table = pages.systems_table(pages.read(tables / "runs.csv"), pages.read(tables / "curves.csv"))
    assert cells(table, "`dcgan`") == [
        ["`dcgan`", "20", "2, 1 failed", "7,000 at 10 kimg, 5,000 at 15", "4,000 (3,000 to 5,000)", "",
         "37.5% (25.0 to 50.0)", "0.50 (0.25 to 0.75)"]
    ]  # fmt: skip
    assert cells(table, "`acgan`") == [["`acgan`", "4", "1", "", "900", "12.5%", "", "0.50"]]
    assert cells(table, "`cdcgan`")[0][:3] == ["`cdcgan`", "3", "0, 1 failed"]
    assert cells(table, "`r3gan`")[0][1] == "not run yet"


def test_claims_have_their_effects_or_the_reason_for_none(pages: ModuleType, tables: Path) -> None:
    table = pages.claims_table(pages.read(tables / "claims.csv"))
    first, second = cells(table, "9a.")
    assert first[1:] == [
        "distance: updates.steps 4 against 1", "x0.9 [x0.75, x1.12]", "x1.25",
        "not separable (same expected)",
    ]  # fmt: skip
    assert second[1:] == [
        "tag_accuracy (early): updates.steps 4 against 1", "+0.25 [+0.125, +0.375]", "0.125",
        "contradicted (same expected)",
    ]  # fmt: skip
    assert cells(table, "11.")[0][-1] == "open: none of them"
    assert cells(table, "8.")[0][-1] == "not run yet (`claims-dcgan`)"
    assert cells(table, "24.")[0][-1] == "no score measures it"
    assert all(cells(table, f"{claim.id}.") for claim in CLAIMS)


def test_tables_are_replaced_between_their_marks(pages: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    before, after = f"# A\n\n{pages.BEGIN}\n\n", f"\n\n{pages.END}\n\nb \\1\n"
    page.write_text(f"{before}| old |{after}", encoding="utf-8")
    new = pages.table(["x"], [["1|2"]])
    pages.replace_table(page, new)
    assert page.read_text(encoding="utf-8") == f"{before}| x |\n| --- |\n| 1\\|2 |{after}"
    page.write_text("# A\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"page\.md"):
        pages.replace_table(page, new)
