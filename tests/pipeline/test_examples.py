"""The scripts of docs/examples, run on the session's sweep of synthetic faces."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from pipeline.cli.main import main

if TYPE_CHECKING:
    from tests.support.pipeline.sweep import Swept

DOCS = Path(__file__).resolve().parents[2] / "docs"


def script(name: str) -> Any:
    """Import a script of the documentation."""
    spec = importlib.util.spec_from_file_location(Path(name).stem, DOCS / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_search_continues_a_sweep_and_names_its_winner(swept: Swept, capsys: pytest.CaptureFixture[str]) -> None:
    ended = {run.info.run_id: run.info.end_time for run in swept.runs()}
    winner = script("examples/search.py").main(swept.settings)
    assert f"winner: {winner}, lowest distance" in capsys.readouterr().out
    assert main(["rank", swept.settings.name, "--home", str(swept.settings.home)]) == 0
    assert f"winner                {winner}:" in capsys.readouterr().out
    assert len(swept.runs()) == swept.settings.trials
    assert {run.info.run_id: run.info.end_time for run in swept.runs()} == ended  # nothing was trained again


def test_analyse_gives_a_table_and_a_figure(swept: Swept, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = script("examples/analyse.py").main(swept.settings.name, swept.settings.home, tmp_path / "curves.png")
    runs = swept.runs()
    assert table["key"].tolist() == [run.data.tags["gansweep.key"] for run in runs]
    assert table["minutes"].tolist() == pytest.approx(
        [(run.info.end_time - run.info.start_time) / 60_000 for run in runs]
    )
    assert f"Sweep({swept.settings.name!r}: {len(runs)} trials" in capsys.readouterr().out
    with Image.open(tmp_path / "curves.png") as image:
        assert image.size == (600, 400)


def test_the_picture_of_the_readme(swept: Swept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = script("make_picture.py")
    monkeypatch.setattr(module, "NAME", swept.settings.name)
    with Image.open(module.main(swept.settings.home, tmp_path / "winner.png")) as image:
        assert image.size == (1040, 420)
    assert 10_000 < (DOCS / "winner.png").stat().st_size < 150_000
