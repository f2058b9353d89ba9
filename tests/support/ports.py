"""Ports of loopback for servers that tests start, stop and start again."""

from __future__ import annotations

import contextlib
import random
import socket

LOW, HIGH = 20_000, 32_000
"""Above Ray's workers (to 19,999), below what the system gives to connections (from 32,768): nobody else takes one
while its server is away."""
_given: set[int] = set()


def free_port() -> int:
    """One that nobody listens at, and that no other test gets."""
    while True:
        port = random.SystemRandom().randrange(LOW, HIGH)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port
