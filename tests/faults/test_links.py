"""Two nodes in network namespaces of their own, joined by one cable that is pulled out in the middle of a sweep."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.pipeline.command_line import REPOSITORY, command_words
from tests.support.pipeline.driver import Driver, fault_settings, require_whole
from tests.support.pipeline.sweep import Swept

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600), pytest.mark.real_processes]

HEAD, FAR, PORT = "10.231.77.1", "10.231.77.2", 6479
SOON = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "5",
    "RAY_AUTH_MODE": "disabled",
}
"""Ray's environment: a node that cannot be reached is given up after seconds; nobody else is on the cable."""
KIMG = 12


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@dataclass
class Pair:
    """Two namespaces, a Ray node in each."""

    names: tuple[str, str]
    nodes: list[subprocess.Popen[str]]

    def start(self, place: int, words: list[str], cwd: Path) -> subprocess.Popen[str]:
        """A process in one of the namespaces."""
        return subprocess.Popen(
            ["ip", "netns", "exec", self.names[place], sys.executable, *words],
            cwd=cwd, env={**os.environ, **SOON, "PYTHONPATH": str(REPOSITORY), "PYTHONSAFEPATH": "1"},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def wait_for_nodes(self, count: int) -> None:
        """Until the head knows so many."""
        words = ["-m", "ray.scripts.scripts", "status", f"--address={HEAD}:{PORT}"]
        for _ in range(100):
            out, err = self.start(0, words, Path.cwd()).communicate(timeout=300)
            if out.count(" node_") >= count:
                return
            time.sleep(2)
        pytest.fail(f"no {count} nodes: {out} {err}")

    def cut(self) -> None:
        """Pull the cable out at the far end."""
        ip("-n", self.names[1], "link", "set", "cable", "down")


@pytest.fixture
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and the ip command (Debian: iproute2)")
    mark = uuid.uuid4().hex[:6]
    made = Pair((f"head-{mark}", f"far-{mark}"), [])
    try:
        for name in made.names:
            ip("netns", "add", name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
    try:
        first, second = made.names
        ip("-n", first, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", second)
        for name, address in zip(made.names, (HEAD, FAR), strict=True):
            ip("-n", name, "addr", "add", f"{address}/30", "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "route", "add", "default", "dev", "cable")  # Ray asks the way to the world for its address
        folder = tmp_path_factory.mktemp("nodes")
        started = ["-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1"]
        for place, own in enumerate(
            (["--head", f"--port={PORT}", f"--node-ip-address={HEAD}", "--include-dashboard=false"],
             [f"--address={HEAD}:{PORT}", f"--node-ip-address={FAR}"])
        ):  # fmt: skip
            made.nodes.append(made.start(place, [*started, *own], folder))
            made.wait_for_nodes(place + 1)
        yield made
    finally:
        for node in reversed(made.nodes):
            node.terminate()
            try:
                node.communicate(timeout=300)
            except subprocess.TimeoutExpired:
                node.kill()
                node.communicate()
        for name in made.names:
            ip("netns", "delete", name)


def test_a_sweep_outlasts_a_cut_link(pair: Pair, home_with_classifier: Path, faces: Path, tmp_path: Path) -> None:
    settings = fault_settings(
        home_with_classifier, faces, "cut", max_kimg=KIMG, concurrent=None, address=f"{HEAD}:{PORT}"
    )
    words = ["-c", "import sys; from pipeline.cli.main import main; sys.exit(main())", *command_words(settings)]
    driver = Driver(pair.start(0, words, tmp_path), Swept(settings, "", ""))
    assert driver.wait_for(lambda: len(driver.results()) >= 2), driver.end()  # one on each node
    pair.cut()
    code, err = driver.end()
    assert code == 0, err
    assert "Traceback" not in err
    require_whole(driver.swept, kimg=KIMG)
