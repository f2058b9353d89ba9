"""README and docs: their commands parse, their links lead somewhere, and what they say to type into Python runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from mlflow import MlflowClient

from pipeline.cli.demo import demo_settings
from pipeline.cli.main import load_commands
from pipeline.cli.parsing import parse_command
from pipeline.home import Home
from tests.support.sweeps import History

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parents[1]
GENERATED = ("docs/reference/command-line.md", "docs/reference/spaces.md")
PAGES = sorted(
    path
    for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
    if "_build" not in path.parts and str(path.relative_to(ROOT)) not in GENERATED
)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S)


def gansweep_lines() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for block in blocks(page, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("gansweep ") and "…" not in line:
                    yield page, line


def test_every_command_parses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (settings,) = (block for page in PAGES for block in blocks(page, "yaml") if "image-size" in block)
    (tmp_path / "sweep.yaml").write_text(settings, encoding="utf-8")
    kinds = {name: kind for name, (kind, _) in load_commands().items()}
    seen = set()
    for page, line in gansweep_lines():
        words = shlex.split(line, comments=True)[1:]
        try:
            parse_command(words, kinds)
        except Exception as error:
            pytest.fail(f"{page.relative_to(ROOT)}: {line}: {error}")
        seen.add(words[0])
    assert seen >= {"data", "run", "rank", "confirm", "report", "export", "generate", "gallery", "simulate", "score"}


def test_the_tutorial_states_the_number_of_trials_of_the_demo(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "tutorials" / "first-sweep.md").read_text(encoding="utf-8")
    (word,) = re.findall(r"runs a sweep of (\w+) trials", text)
    numbers = ("one", "two", "three", "four", "five", "six", "seven", "eight")
    assert numbers.index(word) + 1 == demo_settings(tmp_path, Home.find(tmp_path), "demo-1").trials


def anchors(page: Path) -> set[str]:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    titles = re.findall(r"^#+ (.+)$", text, flags=re.M)
    plain = {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}
    return plain | set(re.findall(r"^\((.+)\)=$", text, flags=re.M))


def test_every_link_leads_somewhere() -> None:
    checked = 0
    for page in PAGES:
        for target in LINK.findall(page.read_text(encoding="utf-8")):
            if target.startswith(("http://", "https://")):
                continue
            path, _, anchor = target.partition("#")
            linked = (page.parent / path).resolve() if path else page
            where = f"{page.relative_to(ROOT)} -> {target}"
            if str(linked.relative_to(ROOT)) in GENERATED:
                continue
            assert linked.is_file(), where
            assert not anchor or anchor in anchors(linked), where
            checked += 1
    assert checked > 60


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("own tags", "gansweep data inspect"),
        ("SLURM", "sbatch "),
        ("which scheduler", "keep the defaults"),
        ("FID comparable with papers", "--extractor inception"),
        ("four GPUs in one machine", "--gpus-per-trial 1"),
    ],
)
def test_links_of_the_readme_land_on_the_answer(question: str, answer: str) -> None:
    """Within the 1,200 characters that follow the heading, which is about a screen."""
    (target,) = re.findall(rf"\[{question}\]\(([^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    path, _, anchor = target.partition("#")
    sections = re.split(r"^(?=#)", (ROOT / path).read_text(encoding="utf-8"), flags=re.M)
    titles = [re.sub(r"[^\w\- ]", "", one.partition("\n")[0].lower()).strip().replace(" ", "-") for one in sections]
    start = titles.index(anchor) if anchor else 0
    assert answer in "".join(sections[start:])[:1200]


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= 8192


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_compiles(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, str(page), "exec")


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(tmp_path, MlflowClient(f"sqlite:///{tmp_path}/mlflow.db"))
    scores: Iterable[float] = (8.0, 6.0)
    history.log_sweep("first", [{"metrics": {"distance": {20: 2 * one, 40: one}}} for one in scores])
    monkeypatch.setenv("GANSWEEP_HOME", str(tmp_path))
    (block,) = (one for one in blocks(ROOT / "docs/reference/python.md", "python") if "load(" in one)
    seen: dict[str, Any] = {}
    results = []
    for line in block.splitlines():
        if re.match(r"from |import |\w+ = ", line):
            exec(line, seen)
        elif line:
            results.append(eval(line, seen))
    described, ranked, curves = results
    assert all(isinstance(one, pd.DataFrame) for one in results)
    assert described.loc["complete", "mean"] == 7.0
    assert ranked["key"].tolist() == ["first-00001", "first-00000"]
    assert curves.to_numpy().tolist() == [[16.0, 12.0], [8.0, 6.0]]


def test_the_space_of_ones_own_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from search_spaces.registry import find_space

    (block,) = (one for one in blocks(ROOT / "docs/how-to/customise.md", "python") if "my_space.py" in one)
    (tmp_path / "my_space.py").write_text(block, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    space = find_space("my_space:SMALL")
    assert {dimension.name.split(".")[0] for dimension in space.dimensions} == {"optimizer"}
    assert len(space.dimensions) >= 3


def test_the_settings_in_python_are_valid() -> None:
    from gansweep import SweepSettings

    (block,) = (one for one in blocks(ROOT / "docs/reference/python.md", "python") if "run_sweep(" in one)
    seen: dict[str, Any] = {"run_sweep": lambda settings: None}
    exec(block.replace("import SweepSettings, run_sweep", "import SweepSettings"), seen)
    settings = seen["settings"]
    assert isinstance(settings, SweepSettings)
    assert (settings.space, settings.trials) == ("acgan", 12)
