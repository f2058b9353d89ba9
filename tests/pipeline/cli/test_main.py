"""The command line: exit codes, one line per error on stderr, results on stdout."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from analysis import schema
from pipeline.cli.main import load_commands, main
from pipeline.settings import SweepSettings
from tests.support.faces import SIZE
from tests.support.pipeline.command_line import REPOSITORY, command_words, run_cli
from tests.support.pipeline.sweep import Swept, tiny_settings
from tests.support.stub_tag_classifier import place_tag_classifier
from tests.support.sweeps import make_sweep

COMMANDS = (
    "demo",
    "data",
    "spaces",
    "run",
    "status",
    "clean",
    "list",
    "ui",
    "rank",
    "export",
    "generate",
    "translate",
    "score",
)
CASES = [
    # what is typed, exit code, what the line names: the option, the value, what is allowed
    ("rnu acgan", 2, ("'rnu'", "'run'")),
    ("run acgan --data {faces} --name n --colour red", 2, ("--colour",)),
    ("run acgan --name n", 2, ("--data",)),
    ("run --data {faces} --name n", 2, ("SPACE",)),
    ("run acgan --data {faces} --name n --trials many", 2, ("--trials", "'many'", "whole number")),
    ("run acgan --data {faces} --name n --trials 2.5", 2, ("--trials", "'2.5'", "whole number")),
    ("run acgan --data {faces} --name n --eval-kimg 0.5", 2, ("--eval-kimg", "'0.5'", "whole number")),
    ("run acgan --data {faces} --name n --total-kimg it's", 2, ("--total-kimg", '"it\'s"', "whole number")),
    ("run acgan --data {faces} --name n --max-trial-seconds soon", 2, ("--max-trial-seconds", "'soon'", "number")),
    ("run acgan --data {faces} --name n --max-bad-share few", 2, ("--max-bad-share", "'few'", "number")),
    ("run acgan --data {faces} --name n --sampler tep", 2, ("--sampler", "'tep'", "'tpe'")),
    ("run acgan --data {faces} --name n --trials 0", 2, ("--trials", "0", "1 to 1000000")),
    ("run acgan --data {faces} --name n --time-limit soon", 2, ("--time-limit", "'soon'", "30m")),
    ("run acgan --data {faces} --name n --fuse 1", 2, ("--fuse", "'1'", "auto", "off", "2 to 64")),
    ("run stargan --data {faces} --name n --fuse 4", 2, ("--fuse", "4", "stargan")),
    ("plan acgan --data {faces} --fuse 4", 2, ("--fuse 4",)),
    ("run agcan --data {faces} --name n", 2, ("'agcan'", "'acgan'")),
    ("run nowhere:SPACE --data {faces} --name n", 1, ("nowhere:SPACE",)),
    ("run acgan --data {faces} --name n --fix generator.wdith=3", 2, ("generator.wdith", "'generator.width'")),
    ("run acgan --data {faces} --name n --set generator.width=17", 2, ("generator.width", "17", "16, 32, 64, 128")),
    ("run acgan --data {faces} --name n --image-size 50", 2, ("50", "48", "56")),
    ("run acgan --data {faces} --name a/b", 2, ("'a/b'", "64")),
    ("run acgan --data {faces} --name e --image-size 16 --extractor inceptoin", 2, ("'inceptoin'", "'inception'")),
    ("run acgan --data {faces} --name w --image-size 16 --weights nowhere.pth", 1, ("nowhere.pth",)),
    ("run acgan --data {faces} --name c --image-size 16 --cascade nowhere.xml", 1, ("nowhere.xml",)),
    ("run acgan --data {faces} --name c --image-size 16 --cascade {empty}", 1, ("cascade", "{empty}")),
    ("run acgan --data {faces} --name c --image-size 16 --cascade {faces}/tags.csv", 1, ("cascade", "tags.csv")),
    ("run stargan --data {faces} --name n --image-size 16 --fid-infinity", 2, ("--fid-infinity", "stargan")),
    ("run acgan --data {tmp}/nowhere --name n", 1, ("{tmp}/nowhere",)),
    ("run acgan --data {faces}/tags.csv --name n", 1, ("tags.csv", "folder")),
    ("run acgan --data {empty} --name n", 1, ("{empty}", "image")),
    ("run acgan --data {mismatched} --name n", 1, ("{mismatched}", "5.0%")),
    ("run acgan --data {faces} --name n --tracking http://127.0.0.1:9", 1, ("http://127.0.0.1:9",)),
    ("run acgan --data {faces} --name s --image-size 16 --study sqlite:////nowhere/o.db", 1, ("/nowhere/o.db",)),
    ("spaces agcan", 2, ("'agcan'", "'acgan'")),
    ("spaces ACGAN", 2, ("'ACGAN'", "did you mean 'acgan'")),
    ("RUN acgan", 2, ("'RUN'", "did you mean 'run'")),
    ("run acgan --data {faces} --name n --config {tmp}/no.yaml", 1, ("--config is {tmp}/no.yaml", "No such file")),
    ("data inspect {empty}", 1, ("{empty}", "image")),
    ("data synth {tmp}/new -n 0", 2, ("0",)),
    ("data synth {faces} -n 5", 1, ("{faces}", "empty")),
    ("rank nothing", 2, ("'nothing'",)),
    ("rank nothing --home {tmp}/nowhere", 1, ("{tmp}/nowhere", "--home")),
    ("status nothing", 2, ("'nothing'",)),
    ("export nothing -o {tmp}/e", 2, ("'nothing'",)),
    ("export nothing", 2, ("--output",)),
    ("clean nothing", 2, ("'nothing'",)),
    ("ui --home {tmp}/nowhere", 1, ("{tmp}/nowhere", "--home")),
    ("ui --port 0", 2, ("--port", "0", "1 to 65535")),
    ("generate {empty} red~hair", 1, ("{empty}",)),
    ("generate {tampered} red~hair", 1, ("{tampered}", "tags.json")),
    ("generate {bundle} turquoise~hair -o {tmp}/x.png", 2, ("'turquoise'", "orange, white")),
    ("generate {bundle} red~hair -n 0 -o {tmp}/x.png", 2, ("-n", "0", "1 to 100000")),
    ("data synth {tmp}/new.zip -n 5", 2, ("{tmp}/new.zip", ".zip", "folder")),
    ("export nothing -o {tmp}/e.zip", 2, ("-o is {tmp}/e.zip",)),
    ("gallery {bundle} -o {tmp}/g.html", 2, ("-o is {tmp}/g.html",)),
    ("report nothing -o {tmp}/r.pdf", 2, ("-o is {tmp}/r.pdf", ".html")),
    ("generate {bundle} red~hair -o {tmp}/z.xyz", 2, ("-o is {tmp}/z.xyz", "unknown image format .xyz")),
    ("data inspet {faces}", 2, ("unknown command 'inspet'", "did you mean 'inspect'")),
    ("data inspect {faces} --image-siez 16", 2, ("unknown option --image-siez", "did you mean '--image-size'")),
    ("export nothing -o {tmp}/e --trail k", 2, ("unknown option --trail", "did you mean '--trial'")),
    ("run acgan --nmae n --data {faces}", 2, ("unknown option --nmae", "did you mean '--name'")),
    ("run acgan --name n --data {faces} --image-size 16 17", 2, ("unexpected argument '17'",)),
    ("--image-size 16 run acgan", 2, ("expected a command before '--image-size'", "run")),
    ("--vresion", 2, ("'--vresion'", "allowed: demo, ")),
    ("status", 2, ("NAME",)),
    ("rank", 2, ("NAME",)),
    ("confirm", 2, ("NAME",)),
    ("simulate", 2, ("NAME",)),
    ("generate", 2, ("BUNDLE",)),
    ("data inspect", 2, ("FOLDER",)),
    ("run acgan --data {faces} --name n --trials", 2, ("--trials",)),
]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, faces: Path, bundle_folder: Path) -> dict[str, str]:
    root = tmp_path_factory.mktemp("cli")
    place_tag_classifier(root / "home", faces, 16)
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
    """A home with an MLflow database and a tag classifier, but where no error may leave a sweep."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANSWEEP_HOME", places["home"])
    from pipeline.home import Home
    from pipeline.tracking.client import open_client

    open_client(Home.find(None), None)
    return tmp_path


def typed(line: str, places: dict[str, str]) -> list[str]:
    return [word.format(**places).replace("~", " ") for word in line.split()]


def code_of(words: list[str]) -> int:
    try:
        return main(words)
    except SystemExit as ended:
        return int(ended.code or 0)


@pytest.mark.parametrize(("line", "code", "named"), CASES, ids=[case[0][:60] for case in CASES])
def test_a_mistake_is_answered_on_one_line(
    line: str, code: int, named: tuple[str, ...], places: dict[str, str], home: Path, capsys: pytest.CaptureFixture[str]
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
    assert all(text.format(**places) in lines[-1] for text in named)
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


@pytest.mark.real_processes
def test_a_usage_error_in_a_separate_process(tmp_path: Path) -> None:
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

    monkeypatch.setattr("pipeline.cli.commands.spaces", fails)
    assert main(["spaces"]) == 1
    assert capsys.readouterr().err == "gansweep: error: ZeroDivisionError: first second (--debug shows where)\n"
    with pytest.raises(ZeroDivisionError):
        main(["spaces", "--debug"])


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(options: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.cli.commands.spaces", interrupted)
    assert main(["spaces"]) == 130
    assert capsys.readouterr().err == "gansweep: error: interrupted\n"


def test_a_sweep_that_is_interrupted_before_its_first_trial_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sweep = make_sweep([{}])
    none = dataclasses.replace(sweep, trials=sweep.trials.iloc[:0])
    monkeypatch.setattr("pipeline.sweep.run.run_sweep", lambda settings: schema.INTERRUPTED)
    monkeypatch.setattr("pipeline.cli.commands._load", lambda *where: none)
    assert main(["run", "acgan", "--data", str(tmp_path), "--name", "early"]) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("interrupted; ")
    assert "`gansweep rank early`" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS), ("data", "inspect"), ("data", "synth")])
def test_help_is_on_stdout(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of([*command, "--help"]) == 0
    printed = capsys.readouterr()
    assert "usage: gansweep" in printed.out
    assert printed.err == ""


GROUPS = ["data", "budget", "search", "early stopping", "scores", "resources", "storage"]
OPTIONS_OF_GROUPS = {
    "data": "data", "trials": "budget", "range": "search", "scheduler": "early stopping", "extractor": "scores",
    "concurrent": "resources", "home": "storage", "config": "",
}  # fmt: skip


@pytest.mark.parametrize("command", ["run", "plan", "resume", "extend", "confirm", "ablate"])
def test_help_lists_every_option_once_in_groups(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")  # wider ones have the groups in two columns
    assert code_of([command, "--help"]) == 0
    found: dict[str, list[str]] = {"": []}
    for line in capsys.readouterr().out.splitlines():
        if title := re.fullmatch(r"\W+(\w[a-z ]+) options\W*", line):
            found[title[1]] = []
        elif option := re.match(r"\W (?:-h, )?--([a-z-]+)", line):
            found[list(found)[-1]].append(option[1])
    titles = list(found)[1:]
    assert titles == [group for group in GROUPS if group in titles]
    assert titles == GROUPS or command not in ("run", "plan")
    hidden = {"space", "budgets"} if command in ("run", "plan") else {"name"}
    fields = [field.name for field in dataclasses.fields(load_commands()[command][0]) if field.name not in hidden]
    fields = ["with" if name == "with_value" else name for name in fields]  # a keyword of Python
    assert sorted(option for options in found.values() for option in options) == sorted(
        ["help", *(name.replace("_", "-") for name in fields)]
    )
    of = {option: title for title, options in found.items() for option in options}
    for option, group in OPTIONS_OF_GROUPS.items():
        assert of.get(option, group) == group
    assert command != "run" or set(OPTIONS_OF_GROUPS) < set(of)


def test_no_arguments_show_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of([]) == 0
    said = capsys.readouterr().out
    assert all(command in said for command in COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"gansweep {importlib.metadata.version('gansweep')}\n"


def test_the_arguments_of_run_are_the_settings(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tiny_settings(tmp_path, faces, time_limit="5m", set=("training.flip=true",), seed=4)
    seen = []
    monkeypatch.setattr("pipeline.cli.commands.run", lambda given: seen.append(given) or 0)
    assert main(command_words(settings)) == 0
    assert [options.sweep_settings() for options in seen] == [settings]


def test_drawing_and_inspecting_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "d"
    assert main(["data", "synth", str(folder), "-n", "16", "--size", "16", "--partial", "3"]) == 0
    assert capsys.readouterr().out == f"drew 19 faces of 16 px in {folder}\n"
    assert len(list(folder.rglob("*.png")) + list(folder.rglob("*.jpg"))) == 19
    assert main(["data", "inspect", str(folder), "--json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), dict)


def test_inspect_and_run_refuse_too_few_images_with_the_same_message(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "d"
    assert main(["data", "synth", str(folder), "-n", "15", "--size", "16", "--partial", "9"]) == 0
    capsys.readouterr()
    assert main(["data", "inspect", str(folder), "--image-size", "16", "--json"]) == 1
    refusal = json.loads(capsys.readouterr().out)["refusal"]
    assert "15 images with every tag are too few" in refusal
    assert main(["run", "acgan", "--data", str(folder), "--name", "few", "--image-size", "16"]) == 1
    said = capsys.readouterr().err
    assert refusal in said
    assert "tag classifier" not in said


def test_whatever_answers_also_answers_in_json() -> None:
    from pipeline.cli.main import load_commands
    from pipeline.cli.options import InspectOptions, SynthOptions

    kinds = {name: kind for name, (kind, _) in load_commands().items() if name != "data"}
    kinds |= {"data inspect": InspectOptions, "data synth": SynthOptions}
    without = {name for name, kind in kinds.items() if "json" not in {field.name for field in dataclasses.fields(kind)}}
    # A sweep is looked at by status and rank, which have it; the others lead people, or serve pages to them.
    assert without == {"run", "resume", "extend", "demo", "ui", "compare"}


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
def test_inspect_and_run_refuse_a_size_with_the_same_message(
    size: str, faces: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for words in (["data", "inspect", str(faces)], ["run", "acgan", "--data", str(faces), "--name", "n"]):
        assert code_of([*words, "--image-size", size]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        said.append(printed.err.split("; Argument helptext")[0].strip())
    assert said[0] == said[1]
    assert size in said[0]


def test_the_installed_command_is_this_main() -> None:
    import tomllib

    scripts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts["gansweep"] == "pipeline.cli.main:main"
