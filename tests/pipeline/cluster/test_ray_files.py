"""Ray's sockets and token, in folders of any length and for users without a home."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cluster import ray_files
from pipeline.cluster.ray_files import LONGEST_SOCKET, SOCKET_BYTES, provide_token, ray_folder, require_ray_folder
from pipeline.cluster.ray_runtime import connect_cluster
from tests.support.pipeline.command_line import REPOSITORY
from trainables.errors import UserError

STRANGER = 54321
"""A user id that no machine's passwd file has."""
START = """
import sys
from pathlib import Path
from pipeline.cluster.ray_runtime import local_ray
import ray
with local_ray(Path(sys.argv[1]), 1):
    print("answer", ray.get(ray.remote(lambda: 6 * 7).remote(), timeout=120))
"""


@pytest.fixture(autouse=True)
def _own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_TMPDIR", "TMPDIR", *ray_files.TOKEN_VARIABLES):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", ["RAY_TMPDIR", "TMPDIR"])
def test_a_socket_fits_below_a_long_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    long = tmp_path / ("x" * 120)
    monkeypatch.setenv(name, str(long))
    with ray_folder() as folder:
        path = Path(f"{folder}{LONGEST_SOCKET}")
        path.parent.mkdir(parents=True)
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
        assert Path(f"{long}/ray{LONGEST_SOCKET}").exists()  # what Ray writes lies where the user wants it
    assert not folder.parent.exists()


def test_a_short_folder_is_rays_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = Path("/tmp/gs-test")
    monkeypatch.setenv("RAY_TMPDIR", str(short))
    try:
        with ray_folder() as folder:
            assert folder == short / "ray"
    finally:
        shutil.rmtree(short)


def test_the_limit_is_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = SOCKET_BYTES - len(LONGEST_SOCKET)
    monkeypatch.setattr(ray_files, "SHORT_FOLDERS", ())
    for length, fits in ((room, True), (room + 1, False)):
        parent = Path("/tmp") / ("y" * (length - len("/tmp//ray")))
        monkeypatch.setenv("RAY_TMPDIR", str(parent))
        try:
            if fits:
                require_ray_folder()
                continue
            with pytest.raises(UserError, match="RAY_TMPDIR") as caught:
                require_ray_folder()
            assert str(parent) in str(caught.value)
            assert str(room) in str(caught.value)
        finally:
            shutil.rmtree(parent, ignore_errors=True)


def test_a_folder_that_cannot_be_written_to_is_named_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "file"))
    with pytest.raises(UserError, match="TMPDIR") as caught, connect_cluster(None):
        pytest.fail("it would have begun")
    assert str(tmp_path / "file") in str(caught.value)


def test_a_token_is_provided_only_where_ray_can_keep_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def token(home: Path | None) -> str | None:
        if home is None:
            monkeypatch.delenv("HOME")
        else:
            monkeypatch.setenv("HOME", str(home))
        provide_token()
        return os.environ.pop("RAY_AUTH_TOKEN", None)

    (tmp_path / "file").write_text("")
    assert token(tmp_path) is None
    assert token(tmp_path / "new") is None
    assert len(token(tmp_path / "file" / "home") or "") == 64
    assert len(token(None) or "") == 64
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    provide_token()
    assert "RAY_AUTH_TOKEN" not in os.environ


@pytest.mark.real_processes
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv")
@pytest.mark.parametrize("home", ["/root", None])
def test_ray_starts_for_a_user_without_a_passwd_entry_or_a_home(tmp_path: Path, home: str | None) -> None:
    folder = Path("/tmp") / f"gs-{'z' * 100}"
    for path in (tmp_path, folder):
        path.mkdir(exist_ok=True)
        shutil.chown(path, STRANGER, STRANGER)
    may_read = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]  # the interpreter may be root's
    words = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", *may_read, sys.executable]
    environment = {name: value for name, value in os.environ.items() if name != "HOME"} | {"RAY_TMPDIR": str(folder)}
    environment |= {"HOME": home} if home else {}
    try:
        started = subprocess.run(
            [*words, "-c", START, str(tmp_path)], cwd=REPOSITORY, env=environment, capture_output=True, text=True
        )
    finally:
        shutil.rmtree(folder)
    assert started.stdout == "answer 42\n", started.stderr
