"""The studies of docs/study: their commands parse and can be built; a tiny one runs, resumes and makes its tables."""

from __future__ import annotations

import dataclasses
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from analysis import schema
from analysis.claim_checks.claims import CLAIMS
from pipeline.cli.main import load_commands
from pipeline.cli.parsing import parse_command
from pipeline.repeats.ablate import vary_recipe
from pipeline.settings import SweepSettings
from pipeline.sweep.prepare import narrow_space
from pipeline.sweep.resolve import resolve_sweep
from tests.study.conftest import ROOT, RUN, sweep_of
from tests.support.sweeps import make_repeats
from trainables.data.synthetic import write_folder

if TYPE_CHECKING:
    from types import ModuleType

    from analysis.mlflow_reader.sweep import Sweep


def study(*words: object, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(RUN), "--home", str(home), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def repeated(sweep: Sweep, *runs: tuple[str, int, str, str]) -> Sweep:
    """Add repeats: variant, seed, status, reason."""
    kind = schema.KIND_ABLATION if any(variant.startswith("with ") for variant, *_ in runs) else None
    rows = [
        {"of": f"{sweep.name}-00000", "kind": kind or schema.KIND_CONFIRMATION, "variant": variant, "seed": seed,
         "status": status, "reason": reason or None}
        for variant, seed, status, reason in runs
    ]  # fmt: skip
    return dataclasses.replace(sweep, repeats=make_repeats(rows))


def test_every_study_is_listed_with_commands_that_can_be_carried_out(run: ModuleType, tmp_path: Path) -> None:
    listed = study("--list", home=tmp_path)
    assert listed.returncode == 0, listed.stderr
    heads = [line for line in listed.stdout.splitlines() if not line.startswith(" ")]
    lines = [line.strip() for line in listed.stdout.splitlines() if line.startswith("    gansweep ")]
    assert len({head.partition(":")[0] for head in heads}) == len(heads)
    assert all(head.endswith("core-minutes; not run") for head in heads)
    kinds = {name: kind for name, (kind, _) in load_commands().items()}
    assert lines
    starts = [line for line in lines if line.startswith("gansweep run ")]
    assert len(starts) == len(heads)
    for line in lines:
        command = parse_command([*shlex.split(line)[1:], "--data", str(tmp_path)], kinds)
        if line in starts:
            settings, repeats = command.sweep_settings(), 0
            assert isinstance(settings, SweepSettings)
            continue
        assert command.name == settings.name
        repeats += 1
        if values := getattr(command, "with_value", ()):
            space, done = settings.resolve_space(), (schema.COMPLETE, "")
            names = [variant.name for variant in vary_recipe(space, values)]
            sweep = sweep_of(settings.name, dimensions=tuple(dimension.name for dimension in space.dimensions))
            pairs = [(name, seed, *done) for seed in range(command.seeds) for name in names]
            assert run.is_done(line.removeprefix("gansweep "), repeated(sweep, *pairs))
            assert not run.is_done(line.removeprefix("gansweep "), repeated(sweep, *pairs[:-1]))
        elif command.trial:
            assert command.trial == (f"{settings.name}-00000",)
        assert repeats == (2 if "extra_data" in line else 1)
    claims = ", ".join(head.partition("claims ")[2].partition(":")[0] for head in heads if "question 2" in head)
    assert set(claims.split(", ")) == {claim.id for claim in CLAIMS if claim.parts}


def test_wrong_words_are_refused(tmp_path: Path) -> None:
    refused = study("--only", "nothing", home=tmp_path)
    assert refused.returncode == 2
    assert "invalid choice: 'nothing'" in refused.stderr


# Steps -------------------------------------------------------------------------------------------------------
class Machine:
    """Runs no command: keeps its words, and what it would have recorded."""

    def __init__(self, run: ModuleType, home: Path, ends: dict[str, tuple[int, Sweep | None]]) -> None:
        """``ends``: exit code and the sweep thereafter, by the command's first word."""
        self.run, self.home, self.ends = run, home, ends
        self.commands: list[list[str]] = []
        self.sweep: Sweep | None = None

    def run_command(self, command: list[str]) -> int:
        assert command[:3] == [sys.executable, "-m", "gansweep"]
        self.commands.append(command[3:])
        code, self.sweep = self.ends[command[3]]
        return code

    def carry_out(self, name: str, monkeypatch: pytest.MonkeyPatch, more: str = "") -> int:
        monkeypatch.setattr(self.run, "run_command", self.run_command)
        monkeypatch.setattr(self.run, "recorded", lambda name, home: self.sweep)
        (study,) = (study for study in self.run.STUDIES if study.name == name)
        return int(self.run.run_study(study, Path("/faces"), self.home, more))


def test_an_unscored_recipe_goes_on_to_its_repeats(
    run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diverged = sweep_of("systems-dcgan", trial={"status": schema.FAILED, "reason": "diverged"})
    machine = Machine(run, tmp_path, {"run": (1, diverged), "confirm": (0, diverged)})
    assert machine.carry_out("systems-dcgan", monkeypatch) == 0
    assert [words[0] for words in machine.commands] == ["run", "confirm"]
    assert machine.commands[1][1:4] == ["systems-dcgan", "--trial", "systems-dcgan-00000"]
    failing = Machine(run, tmp_path, {"run": (0, diverged), "confirm": (1, diverged)})
    assert failing.carry_out("systems-dcgan", monkeypatch) == 1


@pytest.mark.parametrize(("code", "left"), [(1, None), (1, schema.INTERRUPTED), (130, schema.COMPLETE), (2, None)])
def test_a_sweep_that_is_incomplete_or_interrupted_ends_its_study(
    run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, left: str | None
) -> None:
    machine = Machine(run, tmp_path, {"run": (code, left and sweep_of("systems-dcgan", status=left))})
    assert machine.carry_out("systems-dcgan", monkeypatch) == code
    assert [words[0] for words in machine.commands] == ["run"]


def test_every_step_gets_the_data_and_the_options_that_it_takes(
    run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = {name: kind for name, (kind, _) in load_commands().items()}
    more = "--cascade faces.xml --concurrent 2 --time-limit=3h --min-tag-accuracy 0.5 --patience 4 --set batch_size=8"
    complete = sweep_of("claims-dcgan", dimensions=DCGAN)
    fresh = Machine(run, tmp_path, {"run": (0, complete), "ablate": (0, complete)})
    assert fresh.carry_out("claims-dcgan", monkeypatch, more) == 0
    (tmp_path / "trials" / "claims-dcgan").mkdir(parents=True)
    (tmp_path / "trials" / "claims-dcgan" / "sweep.json").write_text("{}", encoding="utf-8")
    begun = Machine(run, tmp_path, {"resume": (0, complete), "ablate": (0, complete)})
    assert begun.carry_out("claims-dcgan", monkeypatch, more) == 0
    for machine, kind in ((fresh, "run"), (begun, "resume")):
        first, second = (parse_command(words, kinds) for words in machine.commands)
        assert machine.commands[0][0] == kind
        for command in (first, second):
            assert (command.data, command.home, command.concurrent) == (Path("/faces"), tmp_path, 2)
            assert command.time_limit == "3h"
        assert first.patience == 4
        assert second.min_tag_accuracy == 0.5
    assert parse_command(fresh.commands[0], kinds).cascade == Path("faces.xml").resolve()
    for name, taken in run.TAKES.items():
        fields = {field.name for field in dataclasses.fields(kinds[name])}
        assert {option.removeprefix("--").replace("-", "_") for option in taken} <= fields
        assert taken <= {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(kinds["run"])}


DCGAN = ("losses.labels", "updates.discriminator_steps", "optimizer.generator_lr", "optimizer.discriminator_lr",
         "generator.dropout")  # fmt: skip


def test_a_value_without_effect_on_the_data_is_left_out(
    run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (study,) = (study for study in run.STUDIES if study.name == "claims-acgan")
    kinds = {name: kind for name, (kind, _) in load_commands().items()}
    settings = parse_command(
        [*shlex.split(study.steps[0]), "--data", str(tmp_path), "--home", str(tmp_path)], kinds
    ).sweep_settings()
    resolved = resolve_sweep(settings)
    for pictures, ablations in ((8, 1), (9, 2)):  # of them 8 complete
        images: Any = SimpleNamespace(pixels=range(pictures), complete=8)
        space = narrow_space(resolved, images).space
        complete = sweep_of("claims-acgan", dimensions=tuple(dimension.name for dimension in space.dimensions))
        machine = Machine(run, tmp_path, {"run": (0, complete), "ablate": (0, complete)})
        assert machine.carry_out("claims-acgan", monkeypatch) == 0
        assert [words[0] for words in machine.commands] == ["run", *["ablate"] * ablations]
        for words in machine.commands[1:]:
            assert len(vary_recipe(space, parse_command(words, kinds).with_value)) > 1
        assert ("training.extra_data has no effect" in capsys.readouterr().out) == (pictures == 8)


def test_states_follow_from_what_every_step_asks_for(
    run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Sweep | None] = [None]
    monkeypatch.setattr(run, "recorded", lambda name, home: found[0])
    studies = {study.name: study for study in run.STUDIES}

    def state(name: str, sweep: Sweep | None) -> str:
        found[0] = sweep
        return str(run.state_of(studies[name], tmp_path))

    done = (schema.COMPLETE, "")
    swept = sweep_of("smoke", dimensions=("generator.dropout",))
    pairs = [(variant, seed, *done) for seed in range(3) for variant in ("recipe", "with generator.dropout=0.5")]
    assert state("smoke", None) == "not run"
    assert state("smoke", dataclasses.replace(swept, status=schema.INTERRUPTED)) == "begun"
    assert state("smoke", swept) == "begun"
    assert state("smoke", repeated(swept, *pairs[:-1])) == "begun"
    assert state("smoke", repeated(swept, *pairs)) == "complete"
    last = pairs[-1][:2]
    assert state("smoke", repeated(swept, *pairs[:-1], (*last, schema.RUNNING, ""))) == "begun"
    assert state("smoke", repeated(swept, *pairs[:-1], (*last, schema.FAILED, "killed: no memory"))) == "begun"
    assert state("smoke", repeated(swept, *pairs[:-1], (*last, schema.FAILED, "diverged"))) == "complete"
    recipe = sweep_of("rival-acgan")
    assert state("rival-acgan", repeated(recipe, *[("recipe", seed, *done) for seed in range(4)])) == "begun"
    assert state("rival-acgan", repeated(recipe, *[("recipe", seed, *done) for seed in range(5)])) == "complete"
    settings = tmp_path / "trials" / "systems-dcgan" / "sweep.json"
    settings.parent.mkdir(parents=True)
    settings.write_text("{}", encoding="utf-8")
    assert state("systems-dcgan", None) == "begun"


# Signals -----------------------------------------------------------------------------------------------------
SLOW_CHILD = """
import pathlib, signal, sys, time
def end(number, frame):
    time.sleep(1.0)  # longer than subprocess.run waits
    pathlib.Path("signal").write_text(str(number))
    sys.exit(128 + number)
signal.signal(signal.SIGINT, end)
signal.signal(signal.SIGTERM, end)
pathlib.Path("ready").touch()
time.sleep(60)
"""


@pytest.mark.parametrize(("number", "whole_group"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_an_interrupted_command_ends_in_order_and_the_tables_are_written(
    tmp_path: Path, number: signal.Signals, whole_group: bool
) -> None:
    script = tmp_path / "gansweep.py"  # python -m gansweep finds it in the working folder
    script.write_text(SLOW_CHILD, encoding="utf-8")
    tables = tmp_path / "tables"
    tables.mkdir()
    (tables / "runs.csv").write_text("study\nsmoke\nrival-dcgan\n", encoding="utf-8")
    words = ("--only", "systems-dcgan", "--data", tmp_path, "--home", tmp_path / "home", "--tables", tables)
    driver = subprocess.Popen(
        [sys.executable, str(RUN), *map(str, words)], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (tmp_path / "ready").exists():
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    if whole_group:
        os.killpg(driver.pid, number)
    else:
        driver.send_signal(number)
    _, err = driver.communicate(timeout=60)
    assert (tmp_path / "signal").read_text(encoding="utf-8") == str(int(number))
    assert driver.returncode == 128 + number, err
    assert "Traceback" not in err
    assert f"systems-dcgan ended with exit code {128 + number}" in err
    assert (tables / "runs.csv").read_text(encoding="utf-8") == "study\nrival-dcgan\n"


def test_a_second_ctrl_c_kills(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stubborn:
        killed = False

        def __init__(self, command: list[str]) -> None: ...

        def wait(self) -> int:
            if not self.killed:
                raise KeyboardInterrupt
            return -signal.SIGKILL

        def kill(self) -> None:
            self.killed = True

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(run.subprocess, "Popen", Stubborn)
    assert run.run_command(["any"]) == 130
    assert signal.getsignal(signal.SIGTERM) is before


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
