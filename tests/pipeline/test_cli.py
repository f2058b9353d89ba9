"""The command line: exit codes, one line per error on stderr, results on stdout."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import shutil
import sys
from pathlib import Path

import pytest

from analysis import schema
from pipeline.cli import main
from pipeline.settings import SweepSettings
from tests.conftest import SIZE
from tests.pipeline.conftest import REPOSITORY, Swept, command_words, run_cli, tiny_settings
from tests.support.stub_judge import place_judge

COMMANDS = (
    "demo",
    "data",
    "spaces",
    "run",
    "status",
    "clean",
    "ui",
    "rank",
    "export",
    "generate",
    "translate",
    "score",
)
CASES = [
    # what is typed, exit code, what the line says
    ("rnu acgan", 2, "rnu"),
    ("run acgan --data {faces} --name n --colour red", 2, "--colour"),
    ("run acgan --name n", 2, "--data"),
    ("run --data {faces} --name n", 2, "SPACE"),
    ("run acgan --data {faces} --name n --trials many", 2, "error: --trials is 'many'; expected a whole number"),
    ("run acgan --data {faces} --name n --trials 2.5", 2, "error: --trials is '2.5'; expected a whole number"),
    (
        "run acgan --data {faces} --name n --eval-kimg 0.5",
        2,
        "error: --eval-kimg is '0.5'; expected a whole number",
    ),
    (
        "run acgan --data {faces} --name n --total-kimg it's",
        2,
        """error: --total-kimg is "it's"; expected a whole number""",
    ),
    (
        "run acgan --data {faces} --name n --max-trial-seconds soon",
        2,
        "error: --max-trial-seconds is 'soon'; expected a number",
    ),
    (
        "run acgan --data {faces} --name n --max-bad-share few",
        2,
        "error: --max-bad-share is 'few'; expected a number",
    ),
    ("run acgan --data {faces} --name n --sampler tep", 2, "tep"),
    ("run acgan --data {faces} --name n --trials 0", 2, "--trials is 0; allowed: 1 to 1000000"),
    ("run acgan --data {faces} --name n --time-limit soon", 2, "90s, 30m or 2h"),
    ("run acgan --data {faces} --name n --fuse 1", 2, "--fuse is '1'; allowed: auto, off, or 2 to 64"),
    ("run stargan --data {faces} --name n --fuse 4", 2, "trials of space stargan translate"),
    ("plan acgan --data {faces} --fuse 4", 2, "leave out --fuse 4"),
    ("run agcan --data {faces} --name n", 2, "did you mean 'acgan'"),
    ("run nowhere:SPACE --data {faces} --name n", 1, "cannot load space nowhere:SPACE"),
    ("run acgan --data {faces} --name n --fix generator.wdith=3", 2, "did you mean 'generator.width'"),
    ("run acgan --data {faces} --name n --set generator.width=17", 2, "16, 32, 64, 128"),
    ("run acgan --data {faces} --name n --image-size 50", 2, "48 and 56"),
    ("run acgan --data {faces} --name a/b", 2, "1 to 64 letters"),
    ("run acgan --data {faces} --name e --image-size 16 --extractor inceptoin", 2, "did you mean 'inception'"),
    ("run acgan --data {faces} --name w --image-size 16 --weights nowhere.pth", 1, "nowhere.pth does not exist"),
    ("run acgan --data {faces} --name c --image-size 16 --cascade nowhere.xml", 1, "nowhere.xml does not exist"),
    ("run acgan --data {faces} --name c --image-size 16 --cascade {empty}", 1, "cannot read cascade file"),
    ("run acgan --data {faces} --name c --image-size 16 --cascade {faces}/tags.csv", 1, "is no cascade file"),
    ("run stargan --data {faces} --name n --image-size 16 --fid-infinity", 2, "of stargan is a mean over targets"),
    ("run acgan --data {tmp}/nowhere --name n", 1, "does not exist"),
    ("run acgan --data {faces}/tags.csv --name n", 1, "is not a folder"),
    ("run acgan --data {empty} --name n", 1, "has no pictures"),
    ("run acgan --data {mismatched} --name n", 1, "allowed are 5.0%"),
    ("run acgan --data {faces} --name n --tracking http://127.0.0.1:9", 1, "no MLflow server answers at"),
    (
        "run acgan --data {faces} --name s --image-size 16 --study sqlite:////nowhere/o.db",
        1,
        "cannot open the study database",
    ),
    ("spaces agcan", 2, "did you mean 'acgan'"),
    ("data inspect {empty}", 1, "has no pictures"),
    ("data synth {tmp}/new -n 0", 2, "0"),
    ("data synth {faces} -n 5", 1, "empty"),
    ("rank nothing", 2, "no sweep 'nothing'"),
    ("rank nothing --home {tmp}/nowhere", 1, "no sweeps in"),
    ("status nothing", 2, "no sweep 'nothing'"),
    ("export nothing -o {tmp}/e", 2, "no sweep 'nothing'"),
    ("export nothing", 2, "output"),
    ("clean nothing", 2, "no sweep 'nothing'"),
    ("ui --home {tmp}/nowhere", 1, "no sweeps in"),
    ("ui --port 0", 2, "allowed: 1 to 65535"),
    ("generate {empty} red~hair", 1, "is no export"),
    ("generate {tampered} red~hair", 1, "was changed after the export"),
    ("generate {bundle} turquoise~hair -o {tmp}/x.png", 2, "allowed: orange, white"),
    ("generate {bundle} red~hair -n 0 -o {tmp}/x.png", 2, "1 to 100000"),
]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, faces: Path, bundle_folder: Path) -> dict[str, str]:
    root = tmp_path_factory.mktemp("cli")
    place_judge(root / "home", faces, 16)
    (root / "empty").mkdir()
    tampered = shutil.copytree(bundle_folder, root / "tampered")
    (tampered / "tags.json").write_text((tampered / "tags.json").read_text() + " ")
    mismatched = shutil.copytree(faces, root / "mismatched")
    with (mismatched / "tags.csv").open("a") as tags:
        tags.writelines(f"{number},red hair red eyes\n" for number in range(90_000, 90_010))
    return {
        "faces": str(faces), "empty": str(root / "empty"), "tampered": str(tampered), "tmp": str(root),
        "mismatched": str(mismatched), "bundle": str(bundle_folder), "home": str(root / "home"),
    }  # fmt: skip


@pytest.fixture
def home(places: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home with an MLflow database and a judge, but where no error may leave a sweep."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANSWEEP_HOME", places["home"])
    from pipeline.home import Home
    from pipeline.tracking import open_client

    open_client(Home.find(None), None)
    return tmp_path


def typed(line: str, places: dict[str, str]) -> list[str]:
    return [word.format(**places).replace("~", " ") for word in line.split()]


def code_of(words: list[str]) -> int:
    try:
        return main(words)
    except SystemExit as ended:
        return int(ended.code or 0)


@pytest.mark.parametrize(("line", "code", "said"), CASES, ids=[case[0][:60] for case in CASES])
def test_a_mistake_is_answered_on_one_line(
    line: str, code: int, said: str, places: dict[str, str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "cascade" in line:
        pytest.importorskip("cv2", reason="OpenCV is not installed (pip install 'gansweep[faces]')")
    assert code_of(typed(line, places)) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    # Stages that ended well before the mistake was found have a line of their own.
    assert [one for one in lines if "error" in one] == lines[-1:]
    assert lines[-1].startswith("gansweep: error: ")
    assert said in lines[-1]
    assert "Traceback" not in printed.err
    if line.startswith(("run acgan", "rnu")) and code == 2:
        assert len(lines) == 1
    assert not list(home.iterdir())
    # No name is taken by a sweep that never began.
    assert not list(Path(places["home"]).glob("trials/*/sweep.json"))


def test_faces_without_opencv_are_refused_before_a_sweep_begins(
    places: dict[str, str], home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert code_of(typed("run acgan --data {faces} --name c --image-size 16 --cascade any.xml", places)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("gansweep: error: face detection needs OpenCV 4")
    assert line.endswith("install it with pip install 'gansweep[faces]'")
    assert not list(Path(places["home"]).glob("trials/*/sweep.json"))


def test_a_mistake_in_a_process_of_its_own(tmp_path: Path) -> None:
    done = run_cli(["generate", "nowhere", "red hair"], tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("gansweep: error: nowhere is no export")
    debugged = run_cli(["generate", "nowhere", "red hair", "--debug"], tmp_path)
    assert debugged.returncode == 1
    assert "Traceback" in debugged.stderr


def test_an_unforeseen_exception_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(options: object) -> int:
        raise ZeroDivisionError("first\nsecond")

    monkeypatch.setattr("pipeline.commands.spaces", fails)
    assert main(["spaces"]) == 1
    assert capsys.readouterr().err == "gansweep: error: ZeroDivisionError: first second (--debug shows where)\n"
    with pytest.raises(ZeroDivisionError):
        main(["spaces", "--debug"])


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(options: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.commands.spaces", interrupted)
    assert main(["spaces"]) == 130
    assert capsys.readouterr().err == "gansweep: error: interrupted\n"


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS), ("data", "inspect"), ("data", "synth")])
def test_help_is_on_stdout(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of([*command, "--help"]) == 0
    printed = capsys.readouterr()
    assert "usage: gansweep" in printed.out
    assert printed.err == ""


def test_no_words_at_all_show_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of([]) == 0
    said = capsys.readouterr().out
    assert all(command in said for command in COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"gansweep {importlib.metadata.version('gansweep')}\n"


def test_the_words_of_a_sweep_are_its_settings(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tiny_settings(tmp_path, faces, time_limit="5m", set=("training.flip=true",), seed=4)
    seen = []
    monkeypatch.setattr("pipeline.commands.run", lambda given: seen.append(given) or 0)
    assert main(command_words(settings)) == 0
    assert seen == [settings]


def test_drawing_and_inspecting_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "d"
    assert main(["data", "synth", str(folder), "-n", "12", "--size", "16", "--partial", "3"]) == 0
    assert capsys.readouterr().out == f"drew 15 faces of 16 px in {folder}\n"
    assert len(list(folder.rglob("*.png")) + list(folder.rglob("*.jpg"))) == 15
    assert main(["data", "inspect", str(folder), "--json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), dict)


def test_whatever_answers_also_answers_in_json() -> None:
    from pipeline.cli import _commands
    from pipeline.options import InspectOptions, SynthOptions

    kinds = {name: kind for name, (kind, _) in _commands().items() if name != "data"}
    kinds |= {"data inspect": InspectOptions, "data synth": SynthOptions}
    without = {name for name, kind in kinds.items() if "json" not in {field.name for field in dataclasses.fields(kind)}}
    # A sweep is looked at by status and rank, which have it; the others lead people.
    assert without == {"run", "resume", "extend", "demo", "ui"}


def test_drawing_data_answers_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", "synth", str(tmp_path / "d"), "-n", "5", "--partial", "2", "--size", "16", "--json"]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"folder": str(tmp_path / "d"), "pictures": 7, "complete": 5, "size": 16}
    assert printed.err == ""


def inspected(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    assert main(["data", "inspect", *words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_an_inspection_shows_the_fingerprint_of_a_sweep_at_that_size(
    swept: Swept, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (parent,) = swept.runs(schema.KIND_SWEEP)
    recorded = json.loads(parent.data.tags[schema.FINGERPRINT])["data"]
    found = inspected([str(faces), "--image-size", str(SIZE)], capsys)
    assert (found["image_size"], found["fingerprint"]) == (SIZE, recorded)
    plain, default = inspected([str(faces)], capsys), SweepSettings(space="acgan", data=faces, name="n").image_size
    assert plain["image_size"] == default != SIZE
    assert plain["fingerprint"] == inspected([str(faces), "--image-size", str(default)], capsys)["fingerprint"]
    assert plain["fingerprint"] != recorded


@pytest.mark.parametrize("size", ["50", "0", "512", "-64", "64.5"])
def test_an_inspection_refuses_a_size_in_the_words_of_run(
    size: str, faces: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for words in (["data", "inspect", str(faces)], ["run", "acgan", "--data", str(faces), "--name", "n"]):
        assert code_of([*words, "--image-size", size]) == 2
        said.append(capsys.readouterr())
    assert said[0] == said[1]
    assert said[0].out == ""
    assert said[0].err.count("\n") == 1


def test_the_installed_command_is_this_main() -> None:
    import tomllib

    scripts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts["gansweep"] == "pipeline.cli:main"
