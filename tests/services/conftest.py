"""Real servers on loopback that tests may stop and start: PostgreSQL, and MLflow over HTTP."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import make_judged_home
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def postgres_program(name: str) -> str | None:
    """A program of PostgreSQL: in the path, or where Debian keeps it."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    return str(debian[-1]) if debian else shutil.which(name)


@dataclass
class Postgres:
    """A database server of its own in a temporary folder; it refuses to run as root, so root runs it as another."""

    folder: Path
    port: int = field(default_factory=free_port)

    def create(self) -> None:
        self._run("initdb", "--auth=trust", "--username=tester", "--no-sync", "--pgdata", str(self.folder / "data"))

    def start(self) -> None:
        options = f"-F -h 127.0.0.1 -p {self.port} -k {self.folder}"
        self._control("start", "-o", options, "-l", f"{self.folder}/log")

    def stop(self) -> None:
        """End it at once, as a restart by an operator does: connections are cut."""
        self._control("stop", "-m", "fast")

    def database(self, name: str) -> str:
        """The URL of a new database."""
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "tester", name)
        return f"postgresql+psycopg2://tester@127.0.0.1:{self.port}/{name}"

    def _control(self, action: str, *words: str) -> None:
        self._run("pg_ctl", action, "-w", "-t", "300", "-D", str(self.folder / "data"), *words)

    def _run(self, program: str, *words: str) -> None:
        path = postgres_program(program)
        assert path is not None
        # pg_ctl leaves a server behind that keeps what it is given to write to: no pipe, or this waits for ever.
        subprocess.run(
            [path, *words], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            cwd=self.folder, timeout=400, **postgres_user(),
        )  # fmt: skip


def postgres_user() -> dict[str, Any]:
    """Whom root becomes to run PostgreSQL."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


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


@dataclass
class MlflowServer:
    """``mlflow server`` with its artifacts behind it."""

    folder: Path
    backend: str
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, seconds: float = 600) -> None:
        words = ["server", "--backend-store-uri", self.backend, "--host", "127.0.0.1", "--port", str(self.port)]
        words += ["--workers", "1", "--serve-artifacts", "--artifacts-destination", str(self.folder / "artifacts")]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", *words], cwd=self.folder, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/health", timeout=60):
                return
            time.sleep(0.2)
        self.stop()
        pytest.fail(f"no MLflow server: {(self.folder / 'server.log').read_text()[-2000:]}")

    def stop(self) -> None:
        """End it and its workers at once, as a machine that goes away does."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


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


@pytest.fixture(scope="session")
def judged_home(tmp_path_factory: pytest.TempPathFactory, faces: Path) -> Path:
    """Apart from that of other folders' tests."""
    return make_judged_home(tmp_path_factory, faces)
