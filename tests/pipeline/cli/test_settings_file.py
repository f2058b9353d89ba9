"""`run --config FILE` and `--print-config`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from pipeline.cli.main import load_commands, main
from pipeline.cli.parsing import parse_command
from pipeline.settings import SweepSettings
from trainables.errors import UsageError, UserError

if TYPE_CHECKING:
    from pathlib import Path

KINDS = {name: kind for name, (kind, _) in load_commands().items()}


def parse(*words: str) -> SweepSettings:
    options = parse_command(words, KINDS)
    settings = options.sweep_settings()
    assert isinstance(settings, SweepSettings)
    return settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "space: acgan\ndata: faces\nname: first\ntrials: 3\nimage-size: 32\nmax_kimg: 6\nadopt: true\n"
        "fid-infinity: false\neval-kimg: null\nfix: {generator.width: 32, generator.final_norm: false}\n"
        "range: {losses.tag_weight: [0.5, 8]}\nchoices: ['generator.noise_dim=64,128']\n"
    )
    return path


def test_the_file_gives_the_options_of_the_command_line(file: Path) -> None:
    written = parse(
        "run", "acgan", "--data", "faces", "--name", "first", "--trials", "3", "--image-size", "32", "--max-kimg", "6",
        "--adopt", "--fix", "generator.width=32", "--fix", "generator.final_norm=false", "--range",
        "losses.tag_weight=0.5:8", "--choices", "generator.noise_dim=64,128",
    )  # fmt: skip
    assert parse("run", "--config", str(file)) == written
    assert parse("run", f"--config={file}") == written
    assert parse("plan", "--config", str(file)) == written


def test_options_of_the_command_line_win(file: Path) -> None:
    settings = parse("run", "--config", str(file), "--trials=9", "--fix", "generator.width=8", "dcgan", "--adopt")
    assert (settings.space, settings.trials, settings.fix) == ("dcgan", 9, ("generator.width=8",))
    assert (settings.max_kimg, settings.adopt, settings.name) == (6, True, "first")


def test_what_is_printed_is_read_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["anything", "--data", "d", "--name", "n", "--fix", "generator.width=32", "--time-limit", "2h", "--adopt"]
    assert main(["run", *words, "--print-config"]) == 0
    printed = capsys.readouterr().out
    values = yaml.safe_load(printed)
    assert (values["space"], values["fix"], values["adopt"]) == ("anything", ["generator.width=32"], True)
    assert "budgets" not in values
    (tmp_path / "c.yaml").write_text(printed)
    assert parse("run", "--config", str(tmp_path / "c.yaml")) == parse("run", *words)
    assert list(tmp_path.iterdir()) == [tmp_path / "c.yaml"]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("trails: 3", ("'trails'", "'trials'")),
        ("- a\n- b", ("list", "image-size")),
        ("trials: [1, 2]", ("trials", "[1, 2]")),
        ("adopt: maybe", ("adopt", "maybe", "true or false")),
        ("fix: generator.width", ("fix", "generator.width")),
        ("image-size: 32\nimage_size: 64", ("image_size", "twice")),
        ("trials: many", ("--trials", "'many'")),
    ],
)
def test_a_wrong_file_is_refused(content: str, named: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(content)
    with pytest.raises(UsageError) as raised:
        parse("run", "acgan", "--data", "d", "--name", "n", "--config", str(path))
    for text in named:
        assert text in str(raised.value)


@pytest.mark.parametrize("content", [None, b"a: [", b"\xff\xfe\x00", b"a: &x [*x"])
def test_a_file_that_is_no_yaml_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match="--config"):
        parse("run", "--config", str(path))
    with pytest.raises(UsageError, match="--config needs a file"):
        parse("run", "--config")
