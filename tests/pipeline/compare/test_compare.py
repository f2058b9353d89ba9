"""`gansweep compare`: what it shows, the server that records choices, and the page in a real browser."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import io
import json
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest
from mlflow import MlflowClient
from PIL import Image

from analysis.mlflow_reader.sweep import load
from analysis.ranking.preference import FILE, read_choices
from analysis.ranking.ranking import rank
from pipeline.cli.main import main
from pipeline.compare.comparison import MOST_GRIDS, collect_trials, describe_winner, render_page
from pipeline.compare.server import ComparisonServer
from tests.support.servers.browser import chromium, new_page
from tests.support.sweeps import History

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOSTILE = "</script><img src=x onerror='alert(1)'>"
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


def log_grids(client: MlflowClient, run: str, colour: tuple[int, int, int], steps: tuple[int, ...]) -> None:
    for step in steps:
        client.log_image(run, Image.new("RGB", (16, 16), tuple(value * step // max(steps) for value in colour)),
                         f"samples/kimg-{step:06d}.png")  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of five trials: the recipe, two of the front, one without images, one that failed."""
    folder = tmp_path_factory.mktemp("home")
    history = History(folder, MlflowClient(f"sqlite:///{folder}/mlflow.db"))
    scores = ((9.0, 0.9), (6.0, 0.8), (5.0, 0.5), (7.0, 0.1))
    trials: list[dict[str, Any]] = [
        {
            "params": {"optimizer.lr": 1e-4 * (number + 1), "networks.norm": HOSTILE if number == 1 else "batch",
                       "generator.width": 32},
            "metrics": {"distance": {40: distance}, "tag_accuracy": {40: accuracy}, "kimg": {40: 40.0}},
        }
        for number, (distance, accuracy) in enumerate(scores)
    ]  # fmt: skip
    history.log_sweep("first", [*trials, {"status": "failed", "metrics": {"distance": {10: 1.0}}}])
    runs = load("first", home=folder).trials.set_index("key")["mlflow_run_id"]
    for number, colour in enumerate(COLOURS):
        log_grids(history.client, runs[f"first-{number:05d}"], colour, tuple(range(1, 31)) if number == 0 else (20, 40))
    return folder


@contextlib.contextmanager
def served(home: Path, choices: Path) -> Iterator[ComparisonServer]:
    ranking = rank(load("first", home=home))
    with ComparisonServer("first", describe_winner(ranking), collect_trials(ranking, 8), choices) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_trials_grids_and_parameters(home: Path) -> None:
    trials = {trial.key: trial for trial in collect_trials(rank(load("first", home=home)), 2)}
    assert sorted(trials) == ["first-00000", "first-00001", "first-00002"]  # two, and the recipe
    recipe = trials["first-00000"]
    steps = [step for step, _ in recipe.grids]
    assert (len(steps), steps[0], steps[-1]) == (MOST_GRIDS, 1, 30)
    assert steps == sorted(set(steps))
    with Image.open(io.BytesIO(trials["first-00002"].grids[-1][1])) as image:
        assert image.getpixel((3, 3)) == (0, 0, 255)
    assert set(recipe.params) == {"optimizer.lr", "networks.norm"}  # the width is equal in all
    assert re.findall(r"[\d.]+", recipe.scores) == ["9", "90.0"]
    assert recipe.unit == "kimg"


@pytest.mark.parametrize("budget", ["flops", "seconds"])
def test_training_is_in_the_unit_of_the_sweep(home: Path, budget: str) -> None:
    sweep = load("first", home=home)
    ranking = rank(dataclasses.replace(sweep, settings={**sweep.settings, "budget": budget}))
    trials = collect_trials(ranking, 2)
    assert {trial.unit for trial in trials} == {"kimg of the recipe"}
    assert '"unit": "kimg of the recipe"' in render_page("first", "", trials, token=None)


def request(server: ComparisonServer, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request(method, path, body, {"Host": f"127.0.0.1:{server.server_port}", **headers})
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_the_server_records_choices_of_its_own_page_only(home: Path, tmp_path: Path) -> None:
    file = tmp_path / FILE
    choice = {"left": "first-00001", "right": "first-00002", "chosen": "first-00002"}
    with served(home, file) as server:
        token = {"X-Token": server.token}
        good = json.dumps(choice).encode()
        for body, headers, status in (
            (good, {}, 403),
            (good, {"X-Token": "guess"}, 403),
            (good, {**token, "Host": "evil.example"}, 403),
            (b"{", token, 400),
            (json.dumps({**choice, "left": "first-00004"}).encode(), token, 400),
            (json.dumps({**choice, "chosen": "first-00000"}).encode(), token, 400),
            (b" " * 5000, token, 400),
        ):
            assert request(server, "POST", "/choices", body, **headers)[0] == status
        assert not file.exists()
        status, answer = request(server, "POST", "/choices", good, **token)
        assert (status, [one["key"] for one in json.loads(answer)]) == (200, ["first-00002", "first-00001"])
        assert request(server, "GET", "/", Host="evil.example")[0] == 403
        assert request(server, "GET", "/elsewhere")[0] == 404
    (read,) = read_choices(file)
    assert (read.left, read.right, read.chosen) == tuple(choice.values())


def test_commands(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--home", str(home)]
    page = tmp_path / "new" / "compare.html"
    assert main(["compare", "first", "-o", str(page), *asked]) == 0
    text = page.read_text()
    assert HOSTILE not in text
    assert re.findall(r"https?://[^\s\"']+", text) == []
    assert main(["compare", "first", "--top", "1", *asked]) == 2
    assert "--top is 1" in capsys.readouterr().err
    assert main(["rank", "first", "--by", "preference", *asked]) == 2
    assert "gansweep compare first" in capsys.readouterr().err
    choices = home / "trials" / "first" / FILE
    choices.parent.mkdir(parents=True)
    choices.write_text('{"left": "first-00001", "right": "first-00000", "chosen": "first-00001"}\n' * 3)
    try:
        assert main(["rank", "first", "--by", "preference", "--json", *asked]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert [trial["key"] for trial in answer["trials"][:2]] == ["first-00001", "first-00000"]
        assert answer["trials"][0]["scores"]["preference"] > 0.5
    finally:
        choices.unlink()


@pytest.mark.slow
@pytest.mark.real_processes
def test_the_page_in_a_browser(home: Path, tmp_path: Path) -> None:
    file = tmp_path / FILE
    with chromium() as browser, served(home, file) as server:
        page = new_page(browser, viewport={"width": 1200, "height": 900})
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        page.goto(server.address)
        assert page.locator("figure").count() == 3
        assert page.locator("#kimg-text").inner_text() == "40 kimg"
        # The lowest distance, 5 with 50% of the tags right, is below 0.8 of the best trial's 90%.
        assert "Winner: first-00001, lowest distance among the 2 of" in page.locator("#grid").inner_text()
        assert HOSTILE in page.locator("#trials").inner_text()
        latest = page.locator("figure img").first.get_attribute("src")
        page.locator("#kimg").fill("0")
        assert page.locator("#kimg-text").inner_text() == "1 kimg"
        assert page.locator("figure img").evaluate_all("images => images.every(image => image.naturalWidth === 16)")
        page.locator("#show-choice").click()
        assert "first-0" not in page.locator("#choice").inner_text()
        for number, key in enumerate(("ArrowLeft", "ArrowRight", "ArrowDown"), 1):
            page.keyboard.press(key)
            page.locator("#count", has_text=f"{number} choices").wait_for()
        left, right, equal = read_choices(file)
        assert (left.chosen, right.chosen, equal.chosen) == (left.left, right.right, None)
        assert len({frozenset((one.left, one.right)) for one in (left, right, equal)}) == 3  # each pair once
        page.locator("#show-ranking").click()
        page.wait_for_selector("#ranking tbody tr")
        assert page.locator("#ranking tbody tr").count() == 3
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert latest
        assert problems == []
