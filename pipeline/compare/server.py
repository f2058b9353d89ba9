"""Serve the page on loopback, and append the choices that it sends."""

from __future__ import annotations

import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

from analysis.ranking.preference import fit_strengths, parse_choice, read_choices
from pipeline.compare.comparison import render_page
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pipeline.compare.comparison import ComparedTrial

MOST_BYTES: Final = 4096
"""Size of a choice that is accepted."""


class ComparisonServer(ThreadingHTTPServer):
    """Serves one page on 127.0.0.1.

    Requests are accepted only under the server's own address, and choices only with a token that the page contains:
    other pages in the same browser can neither read nor write.
    """

    daemon_threads = True

    def __init__(self, sweep: str, winner: str, trials: Sequence[ComparedTrial], choices: Path, port: int = 0) -> None:
        """Bind to a port; 0 chooses a free one. The other arguments are those of ``render_page``.

        Raises:
            UserError: the port is in use.
        """
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise UserError(f"--port {port}: {error.strerror}; give another port") from error
        self.token = secrets.token_urlsafe(16)
        self.page = render_page(sweep, winner, trials, token=self.token).encode()
        self.keys = {trial.key for trial in trials}
        self.choices = choices
        self.lock = threading.Lock()

    @property
    def address(self) -> str:
        """Address of the page."""
        return f"http://127.0.0.1:{self.server_port}/"

    def append(self, value: object) -> None:
        """Append a choice to the file.

        Raises:
            ValueError: the value is no choice between two of the trials.
        """
        choice = parse_choice(value)
        if not {choice.left, choice.right} <= self.keys:
            raise ValueError("left or right is no trial of this page")
        line = json.dumps({"left": choice.left, "right": choice.right, "chosen": choice.chosen})
        with self.lock, self.choices.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def strengths(self) -> list[dict[str, Any]]:
        """Return the fitted strengths of the trials, the best first."""
        with self.lock:
            fitted = fit_strengths(read_choices(self.choices))
        return [
            {"key": key, "share": one.share, "low": one.low, "high": one.high, "choices": one.choices}
            for key, one in fitted.items()
            if key in self.keys
        ]


class _Handler(BaseHTTPRequestHandler):
    server: ComparisonServer

    def do_GET(self) -> None:
        if not self._is_own_address():
            self._answer(403, b"unknown host", "text/plain")
        elif self.path == "/":
            self._answer(200, self.server.page, "text/html; charset=utf-8")
        elif self.path == "/strengths":
            self._answer(200, json.dumps(self.server.strengths()).encode(), "application/json")
        else:
            self._answer(404, b"no such page", "text/plain")

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if not self._is_own_address() or self.headers.get("X-Token") != self.server.token:
            self._answer(403, b"not from this page", "text/plain")
        elif self.path != "/choices" or not 0 < length <= MOST_BYTES:
            self._answer(400, b"expected a choice", "text/plain")
        else:
            try:
                self.server.append(json.loads(self.rfile.read(length)))
            except ValueError as error:
                self._answer(400, str(error).encode(), "text/plain")
            except OSError as error:
                self._answer(500, f"cannot write {self.server.choices}: {error.strerror}".encode(), "text/plain")
            else:
                self._answer(200, json.dumps(self.server.strengths()).encode(), "application/json")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        """Keep the terminal free."""

    def _is_own_address(self) -> bool:
        return self.headers.get("Host") in (f"127.0.0.1:{self.server.server_port}",
                                            f"localhost:{self.server.server_port}")  # fmt: skip

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)
