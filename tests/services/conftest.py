"""Real servers on loopback that tests may stop and start: PostgreSQL, and MLflow over HTTP."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.servers.mlflow_server import MlflowServer
from tests.support.servers.postgres import Postgres, postgres_program, postgres_user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    if postgres_program("initdb") is None:
        pytest.skip("no PostgreSQL on this machine: Debian's package postgresql has it")
    if os.geteuid() == 0:
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres to run it")
    # Not below pytest's own folder, which is closed to other users; short, for the socket's path.
    folder = Path(tempfile.mkdtemp(prefix="gansweep-postgres-"))
    server = Postgres(folder)
    try:
        if who := postgres_user():
            os.chown(folder, who["user"], who["group"])
        server.create()
        server.start()
        yield server
    finally:
        with contextlib.suppress(subprocess.SubprocessError):
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres(postgres_server: Postgres) -> Iterator[Postgres]:
    """The server, running; whatever a test does to it, the next finds it running."""
    yield postgres_server
    with contextlib.suppress(subprocess.SubprocessError):
        postgres_server.start()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[str], MlflowServer]]:
    """Start an MLflow server on a database; it ends with the test."""
    servers: list[MlflowServer] = []

    def start(backend: str) -> MlflowServer:
        folder = tmp_path / f"server-{len(servers)}"
        folder.mkdir()
        servers.append(MlflowServer(folder, backend))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def mlflow_server(tmp_path: Path, serve: Callable[[str], MlflowServer]) -> MlflowServer:
    """An MLflow server on SQLite."""
    return serve(f"sqlite:///{tmp_path}/server.db")
