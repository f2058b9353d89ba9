"""Where a local Ray keeps its sockets and its token: requirements that are checked before anything that takes long."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from trainables.errors import UserError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator

SOCKET_BYTES = 107
"""Longest path of a Unix socket."""
LONGEST_SOCKET = "/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
"""The part of the path that Ray appends to its folder."""
SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")
TOKEN_VARIABLES = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


@contextlib.contextmanager
def ray_folder() -> Iterator[Path]:
    """Provide the folder of Ray's sockets, logs and spilled objects.

    It is ``ray`` in ``$RAY_TMPDIR``, ``$TMPDIR`` or ``/tmp``, as Ray chooses it. If that path is too long for a socket,
    Ray gets a link to it with a short path, which is removed after the block.

    Raises:
        UserError: the folder cannot be written to, or no short folder can.
    """
    variable = next((name for name in ("RAY_TMPDIR", "TMPDIR") if os.environ.get(name)), "TMPDIR")
    parent = os.environ.get(variable) or "/tmp"
    folder = Path(parent).absolute() / "ray"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"{variable} is {parent!r}: Ray cannot write to {folder} ({error.strerror or first_line(error)}); "
            "set RAY_TMPDIR to another folder"
        ) from error
    if _fits(folder):
        yield folder
        return
    short = _make_short_folder()
    if short is None:
        raise UserError(
            f"{variable} is {parent!r}, {len(os.fsencode(folder))} bytes with Ray's folder; a path of Ray's sockets "
            f"may have {SOCKET_BYTES - len(LONGEST_SOCKET)}; set RAY_TMPDIR to a shorter folder"
        )
    try:
        (short / "ray").symlink_to(folder)
        yield short / "ray"
    finally:
        shutil.rmtree(short, ignore_errors=True)


def require_ray_folder() -> None:
    """Check that Ray will find a folder for its sockets.

    Raises:
        UserError: see ``ray_folder``.
    """
    with ray_folder():
        pass


def _fits(folder: Path) -> bool:
    return len(os.fsencode(folder)) + len(LONGEST_SOCKET) <= SOCKET_BYTES


def _make_short_folder() -> Path | None:
    for parent in SHORT_FOLDERS:
        with contextlib.suppress(OSError):
            return Path(tempfile.mkdtemp(prefix="gansweep-", dir=parent))
    return None


def provide_token() -> None:
    """Give this process and its children a token for Ray if Ray can neither find one nor store one in ``$HOME``."""
    if any(os.environ.get(name) for name in TOKEN_VARIABLES):
        return
    home = os.environ.get("HOME")
    if home:
        file = Path(home) / ".ray" / "auth_token"
        nearest = next(path for path in (file, *file.parents) if path.exists())
        if os.access(nearest, os.R_OK if nearest == file else os.W_OK | os.X_OK) and (
            nearest == file or nearest.is_dir()
        ):
            return
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
