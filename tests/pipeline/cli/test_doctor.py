"""``gansweep doctor``: each check works where it should, and gives the real error where it does not."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import namedtuple
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType
from PIL import Image

import pipeline.cli.doctor
from pipeline.cli.doctor import Check, run_checks
from pipeline.cli.main import main
from pipeline.cluster import ray_files
from pipeline.home import Home
from tests.support.servers.ports import free_port
from trainables.data.dataset import read_folder
from trainables.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GIB = 2**30
NAMES = ["versions", "devices", "memory", "disk", "cache", "storage", "tracking", "study", "ray"]


@pytest.fixture(autouse=True)
def quick_ray(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Starting Ray takes seconds: only the tests that ask for it do."""
    if "local_ray" not in request.fixturenames:
        monkeypatch.setattr(pipeline.cli.doctor, "_ray", lambda: Check("ray", "ok", "not started"))


def checks(**options: Any) -> dict[str, Check]:
    return {check.name: check for check in run_checks(Home.find(options.pop("home", None)), **options)}


def check_of(name: str, **options: Any) -> Check:
    """One check; those after it are not made."""
    return next(check for check in run_checks(Home.find(options.pop("home", None)), **options) if check.name == name)


def test_a_missing_home_passes_and_is_not_created(tmp_path: Path) -> None:
    found = checks(home=tmp_path / "deep" / "home")
    assert list(found) == NAMES
    assert {check.status for check in found.values()} <= {"ok", "warning"}
    assert {name for name, check in found.items() if check.status == "warning"} <= {"versions", "memory", "disk"}
    assert not list(tmp_path.iterdir())


def test_versions_and_devices_are_those_of_this_process(tmp_path: Path) -> None:
    import platform

    import torch

    versions = check_of("versions", home=tmp_path).detail
    assert f"python {platform.python_version()}, " in versions
    assert f"torch {torch.__version__.split('+')[0]}" in versions
    assert ("no GPU" in check_of("devices", home=tmp_path).detail) == (not torch.cuda.is_available())


def test_a_damaged_file_of_decoded_images_is_named(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "1.png")
    home = Home.find(tmp_path / "home")
    for size in (4, 5):
        read_folder(tmp_path, size, cache=home.cache)
    check = check_of("cache", home=tmp_path / "home")
    assert (check.status, check.detail) == ("ok", "2 files of decoded images, all as they were written")
    victim = min(home.cache.glob("pixels-*.npy"))
    victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    check = check_of("cache", home=tmp_path / "home")
    assert check.status == "failed"
    assert f"1 of 2 files of decoded images in {home.cache} are damaged: {victim.name}; delete them" in check.detail


def test_a_missing_library_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pipeline.cli.doctor, "LIBRARIES", ("torch", "no-such-library"))
    check = check_of("versions", home=tmp_path)
    assert check.status == "warning"
    assert check.detail.endswith("; not installed: no-such-library")


def test_gpus_are_described_and_tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import torch

    properties = [
        SimpleNamespace(name="New", major=9, total_memory=80 * GIB),
        SimpleNamespace(name="Old", major=7, total_memory=16 * GIB),
    ]
    tried = []
    ones = torch.ones
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda index: properties[index])
    monkeypatch.setattr("torch.ones", lambda size, device: tried.append(device) or ones(size))
    assert check_of("devices", home=tmp_path).detail.endswith("New, 80 GiB, bf16; Old, 16 GiB, no bf16")
    assert tried == ["cuda:0", "cuda:1"]

    def broken(size: int, device: str) -> None:
        raise RuntimeError("CUDA driver version is insufficient\nmore")

    monkeypatch.setattr("torch.ones", broken)
    check = check_of("devices", home=tmp_path)
    assert (check.status, check.detail) == ("failed", "RuntimeError: CUDA driver version is insufficient")


def test_little_memory_and_disk_are_warnings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=GIB, total=8 * GIB))
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage(9 * GIB, 5 * GIB, 4 * GIB))
    memory, disk = check_of("memory", home=tmp_path), check_of("disk", home=tmp_path)
    assert (memory.status, memory.detail) == ("warning", "1.0 of 8.0 GiB free")
    assert disk.status == "warning"
    assert "4.0 GiB free for home" in disk.detail


def test_a_storage_is_probed_and_left_unchanged(tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    assert check_of("storage", home=tmp_path, storage=str(tmp_path)).status == "ok"
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_storage_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check = check_of("storage", home=tmp_path, storage=str(tmp_path / "file"))
    assert check.status == "failed"
    assert str(tmp_path / "file") in check.detail


def test_tracking_in_the_home_is_written_to_and_only_one_trace_stays(tmp_path: Path) -> None:
    home = Home.find(tmp_path)
    client = MlflowClient(home.tracking)
    client.create_experiment("mine")
    for _ in range(3):
        assert check_of("tracking", home=tmp_path).status == "ok"
    assert {one.name for one in client.search_experiments()} == {"Default", "mine"}
    (gone,) = client.search_experiments(ViewType.DELETED_ONLY)
    assert gone.name == "gansweep-doctor"


def test_a_tracking_database_that_cannot_be_written_to_fails(tmp_path: Path) -> None:
    home = Home.find(tmp_path)
    MlflowClient(home.tracking).create_experiment("mine")
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute(
            "create trigger full before insert on experiments begin select raise(abort, 'disk is full'); end"
        )
    check = check_of("tracking", home=tmp_path)
    assert check.status == "failed"
    assert "disk is full" in check.detail


@pytest.mark.real_processes
def test_an_unreachable_tracking_server_fails(tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    check = check_of("tracking", home=tmp_path, tracking=address)
    assert check.status == "failed"
    assert check.detail.startswith(f"no MLflow server answers at {address}")


@pytest.fixture
def mlflow_server(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    words = ["--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}", "--host", "127.0.0.1", "--port", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *words, "--workers", "1"], cwd=tmp_path, **quiet
    )  # type: ignore[call-overload]
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(2400):
            try:
                urllib.request.urlopen(f"{address}/health", timeout=60).close()
                break
            except OSError:
                assert server.poll() is None
                time.sleep(0.25)
        yield address
    finally:
        server.terminate()
        server.wait()


@pytest.mark.real_processes
@pytest.mark.slow
def test_a_tracking_server_that_answers_is_written_to(tmp_path: Path, mlflow_server: str) -> None:
    check = check_of("tracking", home=tmp_path, tracking=mlflow_server)
    assert check.status == "ok", check.detail
    (gone,) = MlflowClient(mlflow_server).search_experiments(ViewType.DELETED_ONLY)
    assert gone.name == "gansweep-doctor"


def test_a_study_database_is_left_unchanged(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    optuna.create_study(storage=url, study_name="mine")
    assert check_of("study", home=tmp_path).status == "ok"
    assert check_of("study", home=tmp_path / "other", study=url).status == "ok"
    assert optuna.get_all_study_names(url) == ["mine"]


@pytest.mark.real_processes
def test_an_unreachable_study_database_fails_without_showing_its_password(tmp_path: Path) -> None:
    check = check_of("study", home=tmp_path, study=f"sqlite:///{tmp_path / 'no' / 'folder.db'}")
    assert check.status == "failed"
    assert "unable to open database file" in check.detail
    check = check_of("study", home=tmp_path, study=f"postgresql://me:hidden@127.0.0.1:{free_port()}/x")
    assert check.status == "failed"
    assert "hidden" not in check.detail


@pytest.mark.real_processes
def test_a_cluster_that_does_not_answer_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # other tests of this process may have started one
    check = check_of("ray", home=tmp_path, address=f"127.0.0.1:{free_port()}")
    assert check.status == "failed"
    assert check.detail.startswith("no Ray cluster answers")


def test_an_address_that_cannot_be_meant_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--address is 'nowhere'"):
        checks(home=tmp_path, address="nowhere")


def test_ray_is_started_and_runs_a_task(tmp_path: Path, local_ray: None) -> None:
    check = check_of("ray", home=tmp_path)
    assert check.status == "ok", check.detail
    assert "ran a task in process" in check.detail


@pytest.mark.parametrize(("length", "reason"), [(0, "cannot write to"), (120, "may have")])
def test_a_folder_that_ray_cannot_use_fails(
    tmp_path: Path, local_ray: None, monkeypatch: pytest.MonkeyPatch, length: int, reason: str
) -> None:
    monkeypatch.setattr(ray_files, "SHORT_FOLDERS", ())
    folder = tmp_path / ("x" * length or "file")
    folder.mkdir() if length else folder.touch()
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    check = check_of("ray", home=tmp_path)
    assert check.status == "failed"
    assert f"RAY_TMPDIR is '{folder}'" in check.detail
    assert reason in check.detail


@pytest.mark.real_processes
def test_the_command_prints_a_line_for_each_and_exits_with_1_on_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--home", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == NAMES
    words = ["doctor", "--home", str(tmp_path), "--tracking", f"http://127.0.0.1:{free_port()}"]
    assert main(words) == 1
    states = {line.split()[1]: line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert (states["tracking"], states["storage"]) == ("failed", "ok")
    assert main([*words, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    assert [check["name"] for check in report["checks"]] == NAMES
    assert {"name", "status", "detail"} == set(report["checks"][0])
