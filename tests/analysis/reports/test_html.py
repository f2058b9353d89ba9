"""The report, read as text and in a real browser."""

from __future__ import annotations

import json
import re
import shlex
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from analysis import schema
from analysis.plots.confusion import confusion_info, draw_confusion
from analysis.ranking.ranking import rank
from analysis.report import main
from analysis.reports.data import ReportData, collect_evidence
from analysis.reports.html import make_page
from analysis.reports.page import embedded
from analysis.reports.sections import commands, method, shared_inputs
from tests.support.servers.browser import new_page
from tests.support.sweeps import DATA, FINGERPRINT, SPACE, History, make_repeats, make_sweep
from trainables.data.tags import Vocabulary

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

EVIL = "</script><img src=http://127.0.0.1:9/x onerror=alert(1)><b>&amp;'\""


class Text(HTMLParser):
    """What a reader sees, and the elements there are."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.sources: list[str] = []
        self.ids: list[str] = []
        self._silent = 0
        self.feed(page)
        self.text = " ".join(" ".join(self.seen).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in ("script", "style")
        for name, value in attrs:
            if name in ("src", "href"):
                self.sources.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.seen.append(data)


def trial(distance: float | None, accuracy: float | None = None, **more: Any) -> dict[str, Any]:
    scores = {"scores.distance": distance, "scores.tag_accuracy": accuracy}
    known = {name: value for name, value in scores.items() if value is not None}
    return {"samples": 100.0, "started": 0.0, "ended": 3600.0, "stretches": None, "params.lr": 1e-3, **known, **more}


def page_of(rows: list[dict[str, Any]], **fields: Any) -> str:
    ranking = rank(make_sweep(rows, **fields))
    steps = [(row["key"], kimg, name, row[f"scores.{name}"] * (1 + 1 / kimg))
             for row in ranking.trials.to_dict("records") for name in ranking.sweep.scores for kimg in (10, 40)
             if pd.notna(row[f"scores.{name}"])]  # fmt: skip
    history = pd.DataFrame(steps, columns=["key", "kimg", "name", "value"])
    return make_page(ReportData(ranking, history, 0, collect_evidence(ranking)))


def test_the_cells_of_a_confusion_show_their_percents(browser: Browser) -> None:
    """In the browser: plotly knows no other data of a cell than its text, and draws a dash instead."""
    (info,) = confusion_info({"hair": {"classes": ["red", "blue"], "confusion": [[3, 1], [0, 2]]}})
    page = new_page(browser)
    page.set_content(draw_confusion(info).to_html(include_plotlyjs=True))
    page.wait_for_selector(".heatmap-label")
    assert [text for text in page.locator(".heatmap-label").all_text_contents() if text] == ["75", "25", "100"]
    page.close()


def many(count: int) -> list[dict[str, Any]]:
    rows = [trial(100.0 + (7 * number) % 50, (3 * number % 10) / 10, **{"params.lr": 10 ** -(number % 4), "kimg": 40.0})
            for number in range(count)]  # fmt: skip
    rows[0]["recipe"] = True
    rows[1] |= {"status": schema.FAILED, "reason": "out of memory"}
    rows[2] |= {"status": schema.STOPPED, "reason": "not among the best third at 10 kimg", "samples": 50.0}
    return rows


def test_sections_stand_in_their_order() -> None:
    page = page_of(many(12), space=SPACE, data=DATA, settings={"seed": 4, "max_kimg": 40, "fix": ["a=1"]})
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert titles == ["The front", "Why", "The claims", "Failed and stopped trials", "Method"]
    seen = Text(page).text
    # 0.8 of the tag classifier's 86% is 68.8%: 70% at number 9 with 113, 90% at 3 with 121 and 80% at 6 with 142
    assert "The best of 12 trials is hand-00009" in seen
    assert "The rule: lowest distance among the 3 of 11 trials with a tag accuracy of at least 68.8%" in seen
    assert "The recipe, unchanged: distance 100.00, tag accuracy 0.0%" in seen
    assert "1 out of memory hand-00001" in seen
    assert "1 not among the best third at 10 kimg hand-00002" in seen
    assert "samples 1000" in seen
    assert "--fix a=1" in seen
    assert "hair 95.0%" in seen  # the tag classifier
    floor = {"samples": 256, "scores": {"kid": 0.25, "tag_diversity": 0.5}}
    seen = Text(page_of(many(3), data={**DATA, "floor": floor})).text
    assert "real against real, samples 256 real against real, kid 0.25 real against real, tag diversity 0.5" in seen
    assert "{" not in seen
    assert "gansweep export hand -o winner/" in seen


def test_a_winner_has_its_interval_and_what_it_changes() -> None:
    ends = {"metrics.interval/distance/low": 7.25, "metrics.interval/distance/high": 8.75}
    rows = [trial(10.0, 0.5, recipe=True), trial(8.0, 0.625, **{"params.lr": 0.25}, **ends)]
    seen = Text(page_of(rows)).text
    assert "95%: 7.25 to 8.75" in seen
    assert "62.5%" in seen
    assert "The recipe, unchanged: distance 10.00, tag accuracy 50.0% at 40 kimg." in seen
    assert "lr 0.001 0.25" in seen
    assert "unconfirmed" in seen
    assert "2 trials compare over 1 parameter; 10 is the least" in seen


def test_after_a_confirmation_the_headline_is_its_mean() -> None:
    repeats = make_repeats([
        {"of": key, "seed": seed, "scores.distance": score, "scores.tag_accuracy": 0.5, "recipe": key == "hand-00000",
         "reason": EVIL, "status": schema.COMPLETE if score else schema.FAILED}
        for key, scores in {"hand-00000": (20, 22, 27), "hand-00002": (10, 12, 14), "hand-00001": (9, 0, 9)}.items()
        for seed, score in enumerate(map(float, scores), 1)
    ])  # fmt: skip
    rows = [trial(30.0, 0.5, recipe=True), trial(5.0, 0.5), trial(6.0, 0.5)]
    page = page_of(rows, repeats=repeats)
    seen = Text(page).text
    assert "The best of 3 trials is hand-00002 , system acgan, by its mean over 3 fresh seeds of 40 kimg." in seen
    assert "Its one run in the search had distance 6.00, tag accuracy 50.0%." in seen
    assert page.index("12.00") < page.index("On fresh seeds") < page.index('id="front"')
    assert "unconfirmed" not in seen
    assert f"hand-00001 failed on 1 of its seeds and is not compared: {EVIL}" in seen
    assert "<img src=http" not in page
    searched = Text(page_of(rows)).text
    assert "The best of 3 trials is hand-00001 , system acgan." in searched
    assert "On fresh seeds" not in searched


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "There is no winner yet."),
        ([{"status": schema.FAILED, "reason": "out of memory"}], "There is no winner yet."),
        ([trial(3.0, 0.5, recipe=True)], "The best of 1 trial is hand-00000"),
        ([trial(3.0), trial(2.0)], "This system takes no tags: the distance is the one objective."),
        ([trial(3.0, 0.5, status=schema.RUNNING)], "1 running"),
    ],
)
def test_small_sweeps_have_a_page(rows: list[dict[str, Any]], said: str) -> None:
    assert said in Text(page_of(rows)).text


def test_hostile_names_are_shown_as_they_are() -> None:
    space = {
        "name": EVIL,
        "dimensions": [{"name": EVIL, "kind": "choice", "default": EVIL, "claim": EVIL, "choices": [EVIL]}],
    }
    row = {"key": EVIL, "system": EVIL, "status": schema.FAILED, "reason": EVIL, f"params.{EVIL}": EVIL}
    rows = [trial(3.0, 0.5, recipe=True, **{f"params.{EVIL}": "a"}), trial(2.0, 0.6, **row),
            trial(1.0, 0.7, **{**row, "status": schema.COMPLETE})]  # fmt: skip
    page = page_of(rows, name=EVIL, space=space, data={"name": EVIL, "judge": {}}, settings={"fix": [EVIL]},
                   fingerprint={EVIL: EVIL, **FINGERPRINT})  # fmt: skip
    read = Text(page)
    assert read.seen.count(EVIL) >= 3
    assert not [source for source in read.sources if not source.startswith(("data:", "#"))]
    assert "<img src=http" not in page
    assert page.count("</script>") == 4  # the page's own


def test_embedded_json_cannot_end_its_element() -> None:
    text = str(embedded({EVIL: "<!--"}))
    assert "<" not in text
    assert json.loads(text) == {EVIL: "<!--"}


def test_large_sweeps_are_thinned_with_a_note() -> None:
    page = page_of(many(2000))
    assert "more points are left out" in Text(page).text
    assert "more curves are left out" in Text(page).text
    assert len(page) < 5 * 2**20


@pytest.mark.parametrize(("kind", "width"), [("usual", 390), ("usual", 1280), ("hostile", 390), ("empty", 390)])
def test_a_browser_shows_the_page_without_fault(browser: Browser, tmp_path: Path, width: int, kind: str) -> None:
    if kind == "empty":
        page = page_of([])
    else:
        rows = many(30)
        if kind == "hostile":
            for number, row in enumerate(rows):
                row |= {"key": f"{EVIL}{number}", "reason": EVIL, "params.lr": f"{EVIL}{number % 3}" + "x" * 80}
        page = page_of(rows, name=EVIL if kind == "hostile" else "hand")
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    said: list[str] = []
    asked: list[str] = []
    context = new_page(browser, viewport={"width": width, "height": 900})
    context.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    context.on("pageerror", lambda error: said.append(str(error)))
    context.on("dialog", lambda dialog: said.append(dialog.message))
    context.on("request", lambda request: asked.append(request.url))
    context.goto(path.as_uri())
    context.wait_for_function("document.documentElement.dataset.ready")
    assert context.evaluate("document.documentElement.dataset.ready") == "true"
    assert said == []
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [path.as_uri()]
    assert context.evaluate("document.documentElement.scrollWidth") == width
    if width < 720:  # a row is a card there: no table is wider than its place, and every cell says what it is
        wide = "[...document.querySelectorAll('.scroll')].filter(e => e.querySelector('table'))"
        assert context.evaluate(f"{wide}.filter(e => e.scrollWidth > e.clientWidth).length") == 0
        right = "[...document.querySelectorAll('td')].map(cell => cell.getBoundingClientRect().right)"
        assert max(context.evaluate(right), default=0) <= width
        right = "[...document.querySelectorAll('.drawn')].map(figure => figure.getBoundingClientRect().right)"
        assert max(context.evaluate(right), default=0) <= width
    if kind != "empty":
        shown = [context.locator(f"#{name} .main-svg").first.is_visible() for name in ("parallel", "parallel-rows")]
        assert shown == [width >= 720, width < 720]
    if kind == "usual":
        (images,) = context.locator("#front tbody tr:first-child td[data-label=images]").all()
        assert images.is_visible() == (width >= 720)
        if width < 720:
            context.locator("#front tbody tr:first-child summary").click()
            assert images.is_visible()
            assert context.locator("#front td[data-label=images]:visible").count() == 1
    if kind == "usual":
        label = "getComputedStyle(document.querySelector('#front td'), '::before').content"
        assert context.evaluate(label) == ('"rank"' if width < 720 else "none")
    drawn = context.evaluate("document.querySelectorAll('.drawn svg.main-svg').length")
    assert (drawn > 0) == (kind != "empty")
    context.close()


def test_the_file_is_written_from_what_was_tracked(
    history: History, logged: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "report.html"
    assert main([logged, "-o", str(output), "--home", str(history.home)]) == 0
    assert re.fullmatch(rf"wrote {re.escape(str(output))}, [\d.]+ MiB\n", capsys.readouterr().out)
    written = output.read_text(encoding="utf-8")
    assert main([logged, "-o", str(output), "--home", str(history.home), "--json"]) == 0
    printed = capsys.readouterr()
    told = {"sweep": logged, "best": f"{logged}-00001", "output": str(output), "bytes": output.stat().st_size}
    answer = json.loads(printed.out)
    assert answer.pop("rule").startswith(
        "lowest distance among the 3 of 3 trials with a tag accuracy of at least 68.8%"
    )
    assert (answer, printed.err) == (told, "")
    seen = Text(written).text
    assert "The best of 5 trials is faces-00001" in seen
    assert "diverged: [d_loss] is nan at 33 kimg" in seen


def test_mistakes_are_one_line(
    history: History, logged: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ["--home", str(history.home)]
    assert main(["facse", "-o", str(tmp_path / "r.html"), *home]) == 2
    assert "did you mean 'faces'?" in capsys.readouterr().err
    (tmp_path / "file").touch()
    for output in (tmp_path, tmp_path / "file" / "r.html", tmp_path / "file" / "none" / "r.html"):
        assert main([logged, "-o", str(output), *home]) == 1
        assert capsys.readouterr().err == (
            f"gansweep: error: cannot write {output}: -o names a file in a folder, which is created if it is missing\n"
        )


def test_a_missing_folder_is_made_as_generate_makes_it(history: History, logged: str, tmp_path: Path) -> None:
    output = tmp_path / "a" / "b" / "report.html"
    assert main([logged, "-o", str(output), "--home", str(history.home)]) == 0
    assert [path.name for path in output.parent.iterdir()] == ["report.html"]


def test_a_generator_that_translates_is_used_by_translate() -> None:
    groups = [{"name": "hair", "classes": ["black", "light blonde"]}, {"name": "eyes", "classes": ["red", "blue"]}]
    data = {"vocabulary": {"groups": groups}, "targets": ["hair"]}
    row = {**trial(3.0), "scores.cycle_l1": 0.1}
    drawn = [trial(3.0, **{"params.generator.conditioning": "none"})]
    translating, drawing = rank(make_sweep([row], data=data)), rank(make_sweep(drawn, data=data))
    assert "gansweep translate winner/ IMAGES -o translated/ --to 'light blonde hair'" in commands(translating)
    assert "generate" not in commands(translating)
    assert "gansweep generate winner/ -n 16 -o grid.png" in commands(drawing)
    assert "translate" not in commands(drawing)
    assert shared_inputs(translating) == "the same source images"
    assert shared_inputs(drawing) == "the same noise and tags"
    assert "gansweep translate winner/" in page_of([row], data=data)


def test_what_one_needs_to_do_it_again_says_how_trials_were_fused() -> None:
    settings = {"space": "acgan", "trials": 4, "concurrent": 2, "fuse": "8", "precision": "float32"}
    entries = dict(method(rank(make_sweep([trial(1.0)], settings=settings))))["Budgets and search"]
    assert entries == [
        ("space", "acgan"), ("trials", "4"), ("concurrent", "2"), ("fuse", "8"), ("precision", "float32"),
    ]  # fmt: skip
    del settings["fuse"]  # of an earlier version
    entries = dict(method(rank(make_sweep([trial(1.0)], settings=settings))))["Budgets and search"]
    assert "fuse" not in dict(entries)


@pytest.mark.parametrize("logged_conditioning", [True, False])
def test_a_generator_that_takes_tags_is_asked_for_the_commonest(logged_conditioning: bool) -> None:
    groups = [{"name": "hair", "classes": ["black", "light blonde"]}, {"name": "eyes", "classes": ["red", "blue"]}]
    counts = {(0, 1): 3, (1, 0): 5, (1, 1): 4}
    combinations = [{"labels": list(labels), "count": count} for labels, count in counts.items()]
    data = {"vocabulary": {"groups": groups}, "combinations": combinations}
    row = trial(3.0, 0.5, **({"params.generator.conditioning": "concat"} if logged_conditioning else {}))
    (line,) = [line for line in commands(rank(make_sweep([row], data=data))).split("\n") if "generate" in line]
    command, folder, tags, *others = shlex.split(line)[1:]
    assert (command, folder, others) == ("generate", "winner/", ["-n", "16", "-o", "grid.png"])
    # Every group is named: nothing is left to chance, and a generator of known pairs alone knows this one.
    assert Vocabulary.from_json(data["vocabulary"]).parse(tags) == (1, 0)
    assert shlex.quote(tags) in Text(page_of([row], data=data)).text


def test_tags_of_data_that_lists_none_are_left_to_a_panel() -> None:
    assert "gansweep generate winner/ --panel noise -o grid.png" in commands(rank(make_sweep([trial(3.0, 0.5)])))


def test_a_winner_without_tags_is_asked_for_none_beside_others_that_have_them() -> None:
    plain = {"params.generator.conditioning": "none"}
    rows = [trial(3.0, **plain), trial(5.0, 0.5, **{"params.generator.conditioning": "concat"})]
    assert "gansweep generate winner/ -n 16 -o grid.png" in commands(
        rank(make_sweep(rows, data=DATA), min_tag_accuracy=0)
    )
