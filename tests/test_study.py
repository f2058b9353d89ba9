"""The studies of docs/study: their commands parse and can be built; a tiny one runs, resumes and makes its tables."""

from __future__ import annotations

import dataclasses
import importlib
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats

from analysis import schema
from analysis.claim_checks.claims import CLAIMS
from pipeline.cli.main import load_commands
from pipeline.cli.parsing import parse_command
from pipeline.repeats.ablate import vary_recipe
from pipeline.settings import SweepSettings
from pipeline.sweep.prepare import narrow_space
from pipeline.sweep.resolve import resolve_sweep
from tests.support.sweeps import make_repeats, make_sweep
from trainables.data.synthetic import write_folder

if TYPE_CHECKING:
    from types import ModuleType

    from analysis.mlflow_reader.sweep import Sweep

ROOT = Path(__file__).resolve().parents[1]
RUN = ROOT / "docs" / "study" / "run.py"


def study(*words: object, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(RUN), "--home", str(home), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module."""
    monkeypatch.syspath_prepend(str(RUN.parent))
    return importlib.import_module("run")


def sweep_of(
    name: str, status: str = schema.COMPLETE, dimensions: tuple[str, ...] = (), trial: dict[str, Any] | None = None
) -> Sweep:
    space = {"dimensions": [{"name": dimension} for dimension in dimensions]}
    return make_sweep([{"key": f"{name}-00000", **(trial or {})}], name=name, status=status, space=space)


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


# Tables ------------------------------------------------------------------------------------------------------
def test_rows_of_other_studies_stay_as_they_are(run: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "runs.csv"
    seed = 12345678901234567
    file.write_text(f"study,claim,seed\nsystems-dcgan,9a,{seed}\nsmoke,20,1\nrival-dcgan,,\n", encoding="utf-8")
    rows = [{"study": "systems-wgan_gp", "claim": "14b", "distance": 2.5}, {"study": "rival-dcgan", "distance": 1 / 3}]
    run.replace_rows(file, rows, {"systems-wgan_gp", "rival-dcgan", "smoke"})
    assert file.read_text(encoding="utf-8").splitlines() == [
        "study,claim,seed,distance",
        f"systems-dcgan,9a,{seed},",
        "systems-wgan_gp,14b,,2.5",
        "rival-dcgan,,,0.333333",
    ]
    run.replace_rows(file, [], {"rival-dcgan"})
    assert list(pd.read_csv(file)["study"]) == ["systems-dcgan", "systems-wgan_gp"]
    run.replace_rows(tmp_path / "none.csv", [], set())
    assert not (tmp_path / "none.csv").exists()


@pytest.mark.parametrize("only", [(), ("--only", "smoke")])
def test_smoke_enters_the_tables_only_where_it_is_chosen(
    run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, only: tuple[str, ...]
) -> None:
    monkeypatch.setattr(run, "recorded", lambda name, home: sweep_of(name) if name == "smoke" else None)
    monkeypatch.setattr(run, "run_rows", lambda study, sweep: [{"study": study.name}])
    monkeypatch.setattr(run, "check_claims", lambda sweep: [])
    monkeypatch.setattr(sys, "argv", ["run.py", "--tables", str(tmp_path), *only])
    assert run.main() == 0
    assert (tmp_path / "runs.csv").is_file() == bool(only)


CONFIRMED = {  # distances and tag accuracies of the runs of each configuration; none of a system without tags
    "search-tpe": [([30.0, 32.0, 31.0], [0.5, 0.6, 0.55]), ([20.0, 21.0, 22.0], [0.1, 0.1, 0.1])],
    "rival-acgan": [([36.0, 35.0, 40.0], [0.7, 0.6, 0.65])],
    "rival-dcgan": [([25.0, 26.0, 24.0], None)],
}
"""The lowest distance of the search does not follow its tags, so it is no winner."""


def confirmed_sweep(name: str) -> Sweep:
    """A sweep whose configurations were confirmed on three seeds; a fourth run of each took long and diverged."""
    trials, repeats = [], []
    for number, (distances, accuracies) in enumerate(CONFIRMED[name]):
        key = f"{name}-{number:05d}"
        scores = [
            {"scores.distance": distance, **({"scores.tag_accuracy": accuracies[seed]} if accuracies else {})}
            for seed, distance in enumerate(distances)
        ]
        trials.append({"key": key, "system": name.partition("-")[2], **scores[0]})
        about = {"of": key, "recipe": number == 1}
        repeats += [{**about, "seed": seed, "seconds": 10.0 * (seed + 1), **row} for seed, row in enumerate(scores)]
    failed = {"of": f"{name}-00000", "seed": 3, "seconds": 999.0, "status": schema.FAILED, "reason": "diverged"}
    repeats += [failed] if name == "rival-acgan" else []
    data = {"judge": {"accuracy": {"hair": 0.9}}, "pictures": 100}
    return dataclasses.replace(make_sweep(trials, name=name, data=data), repeats=make_repeats(repeats))


@pytest.fixture(params=[tuple(CONFIRMED), ("rival-dcgan",)], ids=["all", "without-tags"])
def tables(
    run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> tuple[Path, tuple[str, ...]]:
    """The tables of question 3, and the studies in them."""
    monkeypatch.setattr(run, "recorded", lambda name, home: confirmed_sweep(name) if name in request.param else None)
    run.write_tables(run.STUDIES, tmp_path, tmp_path)
    return tmp_path, request.param


def test_confirmed_configurations_have_their_scores_and_costs(tables: tuple[Path, tuple[str, ...]]) -> None:
    folder, studies = tables
    confirmed = pd.read_csv(folder / "confirmed.csv").set_index("configuration")
    assert confirmed.loc["rival-dcgan-00000", "distance"] == 25
    if "search-tpe" not in studies:
        assert "tag_accuracy" not in confirmed
        return
    winners = {
        "search-tpe-00000": True,
        "search-tpe-00001": False,
        "rival-acgan-00000": True,
        "rival-dcgan-00000": True,
    }
    assert dict(confirmed["winner"]) == winners
    assert dict(confirmed["follows_tags"]) == winners
    assert (confirmed["seconds"] == 20).all()
    assert (confirmed["runs"] == 3).all()
    assert dict(confirmed["failed"]) == {**dict.fromkeys(winners, 0), "rival-acgan-00000": 1}
    mean, half = 31.0, stats.t.ppf(0.975, 2) * (1 / 3) ** 0.5
    row = confirmed.loc["search-tpe-00000"]
    found = tuple(row[["distance", "distance_low", "distance_high"]])
    assert found == pytest.approx((mean, mean - half, mean + half), rel=1e-4)
    assert row["tag_accuracy"] == pytest.approx(0.55)
    assert np.isnan(confirmed.loc["rival-dcgan-00000", "tag_accuracy"])


def test_winners_are_compared_with_the_searched_one_by_welch(tables: tuple[Path, tuple[str, ...]]) -> None:
    folder, studies = tables
    differences = pd.read_csv(folder / "differences.csv").set_index("study")
    assert list(differences.index) == [study for study in studies if study != "search-tpe" and len(studies) > 1]
    for study, row in differences.iterrows():
        assert (row["search_configuration"], row["search_runs"]) == ("search-tpe-00000", 3)
        for score, rival, winner in zip(
            ("distance", "tag_accuracy"), CONFIRMED[str(study)][0], CONFIRMED["search-tpe"][0], strict=True
        ):
            found = tuple(row[[score, f"{score}_low", f"{score}_high"]])
            if rival is None:
                assert np.isnan(found).all()
                continue
            interval = stats.ttest_ind(rival, winner, equal_var=False).confidence_interval()
            assert found == pytest.approx((np.mean(rival) - np.mean(winner), *interval), rel=1e-4)


def test_figures_have_what_the_tables_have(tables: tuple[Path, tuple[str, ...]]) -> None:
    folder, studies = tables
    figures = importlib.import_module("figures")
    files = figures.draw_all(folder, folder / "figures")
    assert [file.name for file in files] == ["confirmed.png", *(["search.png"] if "search-tpe" in studies else [])]
    panels = figures.draw_confirmed(pd.read_csv(folder / "confirmed.csv")).axes
    drawn = [
        sorted((line.get_xdata()[0], line.get_ydata()[0], line.get_fillstyle() == "full") for line in axes.lines
               if line.get_marker() in figures.MARKERS.values())
        for axes in panels
    ]  # fmt: skip
    tagged = [(10, 21, False), (55, 31, True), (65, 37, True)] if "search-tpe" in studies else []
    assert drawn == [[pytest.approx(point) for point in tagged], [(0, 25, True)]]


def test_images_are_those_of_the_search_and_of_its_best_rival(run: ModuleType, tmp_path: Path) -> None:
    figures = importlib.import_module("figures")
    searched = [f"search-tpe-{number:05d}" for number in range(3)]
    rivals = [f"rival-{name}-00000" for name in ("acgan", "cdcgan", "dcgan")]
    studies = ["search-tpe"] * 3 + ["rival-acgan", "rival-cdcgan", "rival-dcgan"]
    for shade, (study, name) in enumerate(zip(studies, [*searched, *rivals], strict=True)):
        file = tmp_path / "trials" / study / name / "panels" / "grid.png"
        file.parent.mkdir(parents=True)
        Image.new("L", (4, 4), 50 * shade).save(file)
    runs = pd.DataFrame({
        "study": [*studies, "search-tpe"], "key": [*searched, *rivals, "search-tpe-00002-c0"],
        "distance": [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 1.0], "tag_accuracy": [0.1, 0.5, 0.2, 0.3, 0.4, np.nan, 0.9],
        "status": "complete",
    })  # fmt: skip
    confirmed = pd.DataFrame({
        "study": [*studies[:2], *studies[3:]], "configuration": [*searched[:2], *rivals],
        "system": ["", "", "acgan", "cdcgan", "dcgan"], "recipe": [True, False, True, True, True],
        "winner": [False, True, True, True, True], "distance": [9.0, 8.0, 5.5, 5.6, 3.0],
        "tag_accuracy": [0.1, 0.5, 0.3, 0.4, np.nan],
    })  # fmt: skip
    shown = figures.draw_samples(tmp_path, runs, confirmed).axes
    shades = [round(float(np.asarray(axes.images[0].get_array()).max()) * 255) for axes in shown]
    assert shades == [0, 100, 50, 150]
    for axes, words in zip(shown, (("9", "10%"), ("7", "20%"), ("8", "50%"), ("acgan", "6", "30%")), strict=True):
        assert all(word in axes.get_title() for word in words)


def test_figures_of_curves_claims_and_trials_leave_out_what_says_nothing(run: ModuleType) -> None:
    figures = importlib.import_module("figures")
    curves = pd.DataFrame(
        [{"study": f"systems-{name}", "key": "a", "kimg": kimg, "samples": samples, "distance": 9.0 - kimg,
          "tag_accuracy": accuracy}
         for name, accuracy in (("acgan", 0.5), ("dcgan", None))
         for kimg, samples in ((1, 512), (2, 512), (3, 2048))]
    )  # fmt: skip
    (tags,) = (axes for axes in figures.draw_curves(curves, "tag_accuracy", "tags").axes if axes.get_visible())
    assert tags.get_title(loc="left") == "acgan"
    distances = [axes.lines[0].get_ydata().tolist() for axes in figures.draw_curves(curves, "distance", "d").axes]
    assert distances == [[8, 7], [8, 7]]
    claim = {"claim": "1", "metric": "distance", "time": "final", "comparison": "a", "verdict": "supported"}
    claims = pd.DataFrame([
        {**claim, "unit": "ratio", "estimate": 1.21, "low": 1.1, "high": 1.331, "smallest_separable": 1.1},
        {**claim, "unit": "share", "estimate": 0.4, "low": 0.4, "high": 0.4, "smallest_separable": np.inf},
    ])  # fmt: skip
    interval, point, *_ = figures.draw_claims(claims).axes[0].lines[:2]
    assert interval.get_xdata().tolist() == pytest.approx([1, 3])  # in units of a tenth more
    assert point.get_xdata().tolist() == pytest.approx([2])
    runs = pd.DataFrame(
        [{"study": "search-tpe", "key": f"search-tpe-0000{place}", "status": status, "distance": distance,
          "tag_accuracy": 0.1 * place}
         for place, (status, distance) in enumerate((("complete", 5.0), ("failed", 1.0), ("complete", 4.0)))]
    )  # fmt: skip
    above, below = figures.draw_search(runs).axes
    assert above.lines[1].get_ydata().tolist() == [5, 5, 4]
    assert below.lines[1].get_ydata().tolist() == pytest.approx([0, 0, 20])


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
