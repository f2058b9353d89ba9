"""Fetching the browser's runtime, with archives and an npm made for the occasion."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from pipeline.gallery import onnx_web
from pipeline.gallery.onnx_web import FILES, PACKAGE, VERSION
from trainables.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

CONTENTS = {name: f"the file {name}".encode() for name in FILES}
ENOTFOUND = """npm error code ENOTFOUND
npm error network request to https://r.org/x failed: no r.org
npm error network This is a problem related to network connectivity.
npm error A complete log of this run can be found in: ~/.npm/_logs/0-debug.log
"""
FOLDER = f"onnxruntime-web-{VERSION}"


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive that passes for npm's, with one file more than is needed."""
    path = tmp_path / "given" / "package.tgz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as members:
        for name, content in {**CONTENTS, "ort.webgpu.mjs": b"not needed"}.items():
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(content)
            members.addfile(member, io.BytesIO(content))
    monkeypatch.setattr(onnx_web, "INTEGRITY", base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode())
    known = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}
    monkeypatch.setattr(onnx_web, "FILES", known)
    return path


def install_npm(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """Put an npm on the path, the only one; it counts its calls in the file that is returned."""
    folder.mkdir()
    calls = folder / "calls"
    (folder / "npm").write_text(f'#!/bin/sh\necho "$@" >> "{calls}"\n{script}\n')
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return calls


def held(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_archive_gives_the_three_files_and_no_more(archive: Path, tmp_path: Path) -> None:
    folder = onnx_web.web_runtime(tmp_path / "cache", archive)
    assert folder == tmp_path / "cache" / FOLDER
    assert held(folder) == CONTENTS


def test_npm_is_asked_once(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = install_npm(tmp_path / "bin", monkeypatch, f'cp "{archive}" "$5/onnxruntime-web.tgz"')
    for _ in range(2):
        assert held(onnx_web.web_runtime(tmp_path / "cache")) == CONTENTS
    assert calls.read_text().startswith(f"pack {PACKAGE} --loglevel=error --pack-destination /")
    assert len(calls.read_text().splitlines()) == 1


def test_a_damaged_file_of_the_cache_is_fetched_again(archive: Path, tmp_path: Path) -> None:
    folder = onnx_web.web_runtime(tmp_path / "cache", archive)
    (folder / onnx_web.WASM).write_bytes(b"something else")
    assert held(onnx_web.web_runtime(tmp_path / "cache", archive)) == CONTENTS


def test_another_archive_is_refused(archive: Path, tmp_path: Path) -> None:
    archive.write_bytes(archive.read_bytes() + b"\0")
    with pytest.raises(UserError, match=rf"package.tgz is not {PACKAGE}: its SHA-512 differs"):
        onnx_web.web_runtime(tmp_path / "cache", archive)
    assert not (tmp_path / "cache").exists()


def test_an_archive_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*none.tgz: No such file"):
        onnx_web.web_runtime(tmp_path / "cache", tmp_path / "none.tgz")


def test_what_npm_brings_is_checked(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_npm(tmp_path / "bin", monkeypatch, 'echo forged > "$5/onnxruntime-web.tgz"')
    with pytest.raises(UserError, match="its SHA-512 differs"):
        onnx_web.web_runtime(tmp_path / "cache")


def test_no_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError) as refused:
        onnx_web.web_runtime(tmp_path / "cache")
    assert str(refused.value) == (
        f"a gallery needs onnxruntime-web@{VERSION}, but npm is not installed; install Node.js, or fetch "
        f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz and give it as --runtime FILE"
    )


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (f"cat >&2 <<'END'\n{ENOTFOUND}END\nexit 1", "npm error network request to https://r.org/x failed: no r.org"),
        ("echo 'npm error code EPERM' >&2; exit 1", "npm error code EPERM"),
        ("exit 1", "no message"),
        ("sleep 5", "no answer after 1 s"),
    ],
)
def test_an_npm_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str) -> None:
    install_npm(tmp_path / "bin", monkeypatch, script)
    monkeypatch.setattr(onnx_web, "_NPM_TIMEOUT", 1 if "sleep" in script else 60)
    with pytest.raises(UserError, match=rf"npm cannot fetch {PACKAGE}: {said}; try again, or fetch"):
        onnx_web.web_runtime(tmp_path / "cache")


def test_a_cache_that_cannot_be_written(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UserError, match=rf"cannot write {PACKAGE} to .*cache/{FOLDER}"):
        onnx_web.web_runtime(tmp_path / "cache", archive)


def test_the_users_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert onnx_web.user_cache() == tmp_path / "xdg" / "gansweep"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert onnx_web.user_cache() == tmp_path / ".cache" / "gansweep"
