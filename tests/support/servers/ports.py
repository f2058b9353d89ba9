"""Loopback ports for servers that tests start, stop and start again."""

from __future__ import annotations

import contextlib
import os
import random
import socket

LOW, HIGH = 20_000, 32_000
"""Above the ports of Ray's workers (up to 19,999) and below the system's ephemeral ports (from 32,768), so that no
other process takes a port while its server is stopped."""
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_given: set[int] = set()


def free_port() -> int:
    """Return a free port that no other test gets: each pytest worker has its own share of the ports."""
    while True:
        port = random.SystemRandom().randrange(LOW + WORKER, HIGH, WORKERS)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port
