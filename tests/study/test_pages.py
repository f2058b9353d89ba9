"""The tables in the pages of docs/study."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from analysis.claim_checks.claims import CLAIMS
from tests.study.conftest import RUN

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

TABLES = {
    "runs": """study,key,status,kimg,distance,tag_accuracy,face_rate,diversity
systems-dcgan,d0,complete,20,3000,,0.5,0.75
systems-dcgan,d1,complete,20,5000,,0.25,0.25
systems-dcgan,d2,failed,7,9000,,,
systems-dcgan,d3,running,50,9000,,,
systems-acgan,a0,complete,4,900,0.125,,0.5
systems-cdcgan,c0,failed,,,,,
systems-stargan,s0,interrupted,3,70,,,
""",
    "curves": """study,key,kimg,samples,distance
systems-dcgan,d0,10,512,8000
systems-dcgan,d1,10,512,6000
systems-dcgan,d0,15,512,5000
systems-dcgan,d1,15,512,4000
systems-dcgan,d1,18,512,1000
systems-dcgan,d3,10,512,1
systems-dcgan,d0,20,2048,4000
systems-acgan,a0,4,512,950
""",
    "claims": "study,claim,claim_verdict,metric,time,expected,verdict,reason,comparison,unit,"
    """estimate,low,high,smallest_separable,runs
smoke,9a,supported,distance,end,same,supported,,smoke,ratio,2,2,2,2,3
claims-acgan,9a,contradicted,distance,end,same,not separable,,steps 4 against 1,ratio,0.9,0.75,1.125,1.25,6
claims-acgan,9a,contradicted,tag_accuracy,early,same,contradicted,,steps 4 against 1,difference,0.25,0.125,0.375,inf,6
claims-acgan,9a,contradicted,failed,end,same,not enough trials,none failed,steps,,,,,,
claims-acgan,11,not enough trials,distance,end,same,not enough trials,no extra data,extra_data,,,,,,
""",
}  # fmt: skip


def cells(table: str, of: str) -> list[list[str]]:
    """The cells of the rows that begin with a text, and of those that continue them."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    first = next(place for place, row in enumerate(rows) if row[0].startswith(of))
    last = next((place for place in range(first + 1, len(rows)) if rows[place][0]), len(rows))
    return rows[first:last]


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    for name, text in TABLES.items():
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
    return tmp_path


def test_systems_have_means_and_ranges_over_their_complete_seeds(pages: ModuleType, tables: Path) -> None:
    table = pages.systems_table(pages.read(tables, "runs"), pages.read(tables, "curves"))
    assert cells(table, "`dcgan`") == [
        ["`dcgan`", "32, 32", "20", "2, 1 failed", "7,000 at 10 kimg, 4,500 at 15", "4,000 (3,000 to 5,000)", "",
         "37.5% (25.0 to 50.0)", "0.50 (0.25 to 0.75)"]
    ]  # fmt: skip
    assert cells(table, "`acgan`") == [["`acgan`", "32, 32", "4", "1", "", "900", "12.5%", "", "0.50"]]
    assert cells(table, "`cdcgan`")[0][2:4] == ["", "0, 1 failed"]
    assert cells(table, "`stargan`")[0][2] == "begun"
    assert cells(table, "`lightgan`")[0][1:3] == ["of the recipe", "not run yet"]


def test_the_readme_has_question_1_of_each_system_or_else_question_3(pages: ModuleType, tables: Path) -> None:
    with (tables / "runs.csv").open("a", encoding="utf-8") as file:
        file.write("rival-dcgan,e0,complete,2,1,,,\nrival-cdcgan,e1,complete,3,700,0.25,,\n")
    table = pages.readme_table(pages.read(tables, "runs"))
    assert cells(table, "`dcgan`")[0][2:] == ["20", "2", "4,000", ""]
    assert cells(table, "`acgan`")[0][2:] == ["4", "1", "900", "12%"]
    assert cells(table, "`cdcgan`")[0][2:] == ["3", "1", "700", "25%"]  # its long study failed
    assert cells(table, "`stargan`")[0][2:] == ["", "", "not measured yet", ""]
    assert len(table.splitlines()) == 2 + 11


def test_readme_and_pages_show_the_recorded_tables(pages: ModuleType) -> None:
    runs, curves, claims = (pages.read(RUN.parent / "tables", name) for name in pages.COLUMNS)
    assert pages.readme_table(runs) in (RUN.parents[2] / "README.md").read_text(encoding="utf-8")
    assert pages.systems_table(runs, curves) in (RUN.parent / "systems.md").read_text(encoding="utf-8")
    assert pages.claims_table(claims) in (RUN.parent / "claims.md").read_text(encoding="utf-8")


def test_claims_have_their_parts_or_the_reason_for_none(pages: ModuleType, tables: Path) -> None:
    table = pages.claims_table(pages.read(tables, "claims"))
    first, second, third = cells(table, "9a.")
    assert first[0].endswith(": **contradicted**")
    assert first[1:] == [
        "distance: steps 4 against 1", "x0.9 [x0.75, x1.12], 6 runs", "x1.25", "not separable (same expected)",
    ]  # fmt: skip
    assert second == [
        "", "tag_accuracy (early): steps 4 against 1", "+0.25 [+0.125, +0.375], 6 runs", "",
        "contradicted (same expected)",
    ]  # fmt: skip
    assert third[1:] == ["failed: steps", "none failed", "", "not enough trials"]
    assert cells(table, "11.")[0][1:3] == ["distance: extra_data", "no extra data"]
    assert cells(table, "8.")[0][0].endswith(": not run yet (`claims-dcgan`)")
    (last,) = (claim for claim in CLAIMS if claim.id == "24")
    assert cells(table, "24.")[0][0].endswith(f": {last.unmeasured}")
    assert sum(bool(line.split("|")[1].strip()) for line in table.splitlines()[2:]) == len(CLAIMS)


def test_pages_are_written_from_what_there_is(
    pages: ModuleType, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pages"
    folder.mkdir()
    for name in ("systems", "claims"):  # the real pages have the marks
        (folder / f"{name}.md").write_bytes((RUN.parent / f"{name}.md").read_bytes())
    (folder / "README.md").write_bytes((RUN.parents[2] / "README.md").read_bytes())
    monkeypatch.setattr(sys, "argv", ["pages.py", "--tables", str(tables), "--pages", str(folder)])
    pages.main()
    assert "| 20 | 2 | 4,000 |  |" in (folder / "README.md").read_text(encoding="utf-8")
    assert "| 37.5% (25.0 to 50.0) |" in (folder / "systems.md").read_text(encoding="utf-8")
    assert "| x0.9 [x0.75, x1.12], 6 runs |" in (folder / "claims.md").read_text(encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["pages.py", "--tables", str(tmp_path / "none"), "--pages", str(folder)])
    pages.main()
    assert (folder / "systems.md").read_text(encoding="utf-8").count("| not run yet |") == 11


def test_tables_are_replaced_between_their_marks(pages: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    before, after = f"# A\n\n{pages.BEGIN}\n\n", f"\n\n{pages.END}\n\nb \\1\n"
    page.write_text(f"{before}| old |{after}", encoding="utf-8")
    pages.replace_tables(page, pages.table(["x"], [["1|2"]]))
    assert page.read_text(encoding="utf-8") == f"{before}| x |\n| --- |\n| 1\\|2 |{after}"
    page.write_text("# A\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"page\.md"):
        pages.replace_tables(page, "x")


def test_the_pages_agree_with_the_commands(pages: ModuleType) -> None:
    """Widths, seeds and kimg of each system, and the estimated hours of each question."""
    systems = (RUN.parent / "systems.md").read_text(encoding="utf-8").partition("## How it was asked")[2]
    hours = (RUN.parent / "index.md").read_text(encoding="utf-8")
    for study in pages.STUDIES:
        if study.question != 1:
            continue
        words = study.steps[0].split()
        seeds = 1 + sum(int(step.split()[-1]) for step in study.steps[1:])
        budget = f"{int(words[words.index('--max-kimg') + 1]):,}"
        name, *asked = cells(f"\n\n{systems.partition('| --- |')[2]}", f"`{words[1]}`")[0]
        assert asked[:3] == [pages.widths_of(study), str(seeds), budget], name
    for question, name in ((1, "systems"), (2, "claims"), (3, "search")):
        minutes = sum(study.core_minutes for study in pages.STUDIES if study.question == question)
        assert f"({name}.md)" in hours
        (line,) = (line for line in hours.splitlines() if line.startswith("|") and f"({name}.md)" in line)
        assert float(line.split("|")[-2].split()[0]) == pytest.approx(minutes / 60, abs=0.25)
