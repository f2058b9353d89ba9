"""A local PostgreSQL server that tests can stop and start."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.servers.ports import free_port


def postgres_program(name: str) -> str | None:
    """Return the path of a PostgreSQL program, in Debian's folder or on the PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    return str(debian[-1]) if debian else shutil.which(name)


@dataclass
class Postgres:
    """A database server in a temporary folder. PostgreSQL refuses to run as root, so root runs it as another user."""

    folder: Path
    port: int = field(default_factory=free_port)

    def create(self) -> None:
        self._run("initdb", "--auth=trust", "--username=tester", "--no-sync", "--pgdata", str(self.folder / "data"))

    def start(self) -> None:
        options = f"-F -h 127.0.0.1 -p {self.port} -k {self.folder}"
        self._control("start", "-o", options, "-l", f"{self.folder}/log")

    def stop(self) -> None:
        """Stop the server at once and drop its connections, as a restart by an operator does."""
        self._control("stop", "-m", "fast")

    def database(self, name: str) -> str:
        """Create a database and return its URL."""
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
