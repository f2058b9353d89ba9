"""Before the first trial: memory, disk, and that a name still means the same sweep."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.preflight import require_resources, require_same_sweep
from pipeline.settings import PRIVATE, SweepSettings
from trainables.errors import UserError

GIB = 2**30
MINE = SweepSettings("acgan", Path("faces"), "s", trials=10, concurrent=4, image_size=16)


def machine(monkeypatch: pytest.MonkeyPatch, memory: float, disk: float) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=memory * GIB))
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=disk * GIB))


def test_enough_memory_and_disk_passes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine(monkeypatch, memory=3.3, disk=0.5)
    require_resources(MINE, 0, tmp_path)


def test_too_little_memory_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine(monkeypatch, memory=3.0, disk=100)
    with pytest.raises(UserError, match=r"4 trials at once need about 3\.2 GiB, 3\.0 GiB are free.*--concurrent"):
        require_resources(MINE, 0, tmp_path)


def test_pictures_count_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine(monkeypatch, memory=5.1, disk=100)
    with pytest.raises(UserError, match=r"about 5\.2 GiB, 5\.1 GiB are free"):
        require_resources(MINE, GIB, tmp_path)
    require_resources(dataclasses.replace(MINE, concurrent=3), GIB, tmp_path)


def test_too_little_disk_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine(monkeypatch, memory=100, disk=0.4)
    with pytest.raises(UserError, match=r"10 trials need about 0\.5 GiB .*0\.4 GiB are free.*--home"):
        require_resources(MINE, 0, tmp_path)


def check(path: Path, settings: SweepSettings = MINE, data: str = "ab12") -> None:
    require_same_sweep(path, settings, settings.resolve_space(), data)


def test_the_same_settings_pass_twice_and_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "s" / "sweep.json"
    check(path)
    before = path.read_bytes()
    check(path)
    assert path.read_bytes() == before
    assert json.loads(before)["data"] == "ab12"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trials": 11}, "--trials (10, now 11)"),
        ({"max_kimg": 50}, "--max-kimg (100, now 50)"),
        ({"seed": 1}, "--seed (0, now 1)"),
        ({"sampler": "random"}, "--sampler (tpe, now random)"),
        ({"fix": ("training.flip=true",)}, "--fix ([], now ['training.flip=true'])"),
        ({"image_size": 32}, "--image-size (16, now 32)"),
    ],
)
def test_other_settings_are_refused_by_name(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    check(tmp_path / "sweep.json")
    with pytest.raises(UserError) as caught:
        check(tmp_path / "sweep.json", dataclasses.replace(MINE, **changes))
    assert said in str(caught.value)
    assert "another --name" in str(caught.value)


def test_other_data_are_refused(tmp_path: Path) -> None:
    check(tmp_path / "sweep.json")
    with pytest.raises(UserError, match=r"data \(fingerprint ab12, now cd34\)"):
        check(tmp_path / "sweep.json", data="cd34")


def test_a_space_that_has_changed_is_refused(tmp_path: Path) -> None:
    check(tmp_path / "sweep.json")
    changed = MINE.resolve_space().without("training.flip", False)
    with pytest.raises(UserError, match="space"):
        require_same_sweep(tmp_path / "sweep.json", MINE, changed, "ab12")


def test_private_settings_may_differ(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "home": Path("/elsewhere"), "tracking": "http://x", "study": "sqlite://", "concurrent": 1,
        "cpus_per_trial": 2, "gpus_per_trial": "0", "time_limit": "1h", "data": Path("/moved"),
    }  # fmt: skip
    assert set(changes) == set(PRIVATE)
    check(tmp_path / "sweep.json")
    check(tmp_path / "sweep.json", dataclasses.replace(MINE, **changes))


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sweep.json").write_bytes(content)
    with pytest.raises(UserError, match=r"cannot read .*sweep\.json"):
        check(tmp_path / "sweep.json")
