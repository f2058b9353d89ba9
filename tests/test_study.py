"""The studies of docs/study: their commands parse and can be built; a tiny one runs, resumes and makes its tables."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from analysis.claim_checks.claims import CLAIMS
from pipeline.cli.main import load_commands
from pipeline.cli.parsing import parse_command
from pipeline.repeats.ablate import vary_recipe
from pipeline.settings import SweepSettings
from trainables.data.synthetic import write_folder

ROOT = Path(__file__).resolve().parents[1]
RUN = ROOT / "docs" / "study" / "run.py"


def study(*words: object, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(RUN), "--home", str(home), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_every_study_is_listed_with_commands_that_can_be_carried_out(tmp_path: Path) -> None:
    listed = study("--list", home=tmp_path)
    assert listed.returncode == 0, listed.stderr
    heads = [line for line in listed.stdout.splitlines() if not line.startswith(" ")]
    lines = [line.strip() for line in listed.stdout.splitlines() if line.startswith("    gansweep ")]
    assert len({head.partition(":")[0] for head in heads}) == len(heads)
    assert len(lines) == 2 * len(heads)
    assert all(head.endswith("core-minutes; not run") for head in heads)
    kinds = {name: kind for name, (kind, _) in load_commands().items()}
    for first, second in zip(lines[::2], lines[1::2], strict=True):
        run = parse_command([*shlex.split(first)[1:], "--data", str(tmp_path)], kinds)
        repeat = parse_command(shlex.split(second)[1:], kinds)
        settings = run.sweep_settings()
        assert isinstance(settings, SweepSettings)
        assert repeat.name == settings.name
        vary_recipe(settings.resolve_space(), getattr(repeat, "with_value", ()))
    claims = ", ".join(head.partition("claims ")[2].partition(":")[0] for head in heads if "question 2" in head)
    assert set(claims.split(", ")) == {claim.id for claim in CLAIMS if claim.parts}


def test_wrong_words_are_refused(tmp_path: Path) -> None:
    refused = study("--only", "nothing", home=tmp_path)
    assert refused.returncode == 2
    assert "invalid choice: 'nothing'" in refused.stderr


@pytest.mark.slow
def test_a_tiny_study_runs_once_and_makes_its_tables(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", 200, seed=0, size=16)
    words = ("--only", "smoke", "--data", tmp_path / "data", "--tables", tmp_path / "tables")
    first = study(*words, home=tmp_path / "home")
    assert first.returncode == 0, first.stderr
    assert "gansweep run dcgan" in first.stdout
    runs = pd.read_csv(tmp_path / "tables" / "runs.csv")
    assert len(runs) == 1 + 2 * 3
    assert (runs["status"] == "complete").all()
    assert runs[["distance", "grid_energy", "saturated"]].notna().all().all()
    claims = pd.read_csv(tmp_path / "tables" / "claims.csv", dtype={"claim": str}).set_index("claim")
    dropout = claims.loc["20"]
    assert (dropout["comparison"], dropout["evidence"]) == ("generator.dropout 0.5 against 0", "ablation")
    assert dropout["runs"] == 3
    of = runs.set_index(["variant", "seed"])["distance"]
    seeds = runs.loc[runs["variant"] == "recipe", "seed"]
    assert len(seeds) == 3
    ratios = [of["with generator.dropout=0.5", seed] / of["recipe", seed] for seed in seeds]
    assert dropout["estimate"] == pytest.approx(pd.Series(ratios).prod() ** (1 / 3), rel=1e-4)
    again = study(*words, home=tmp_path / "home")
    assert again.returncode == 0, again.stderr
    assert "gansweep run" not in again.stdout
    assert pd.read_csv(tmp_path / "tables" / "runs.csv").equals(runs)
    assert "smoke: question 0" in (shown := study("--list", "--only", "smoke", home=tmp_path / "home").stdout)
    assert "core-minutes; complete" in shown
