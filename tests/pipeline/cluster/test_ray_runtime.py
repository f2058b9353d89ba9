"""Two Ray nodes on this machine, and drivers in processes of their own that connect to them."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from optuna.trial import TrialState

import pipeline.cluster.ray_runtime
from pipeline.cluster.ray_runtime import PACKAGES, connect_cluster, require_cluster, stage_code, this_machine
from pipeline.settings import SweepSettings
from tests.support.pipeline.command_line import REPOSITORY, Hold, command_words, run_cli, start_cli
from tests.support.pipeline.sweep import Swept, tiny_settings
from tests.support.servers.ports import free_port
from trainables.errors import UsageError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ray.cluster_utils import Cluster


def start_nodes() -> Cluster:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, "wait": False})
    add_node(cluster)
    return cluster


def add_node(cluster: Cluster) -> Any:
    """Another node with a core; a loaded machine needs longer than Ray waits by itself."""
    node = cluster.add_node(num_cpus=1, wait=False)
    cluster.wait_for_nodes(timeout=300)
    return node


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[str]:
    """Address of a cluster of two nodes with a core each."""
    cluster = start_nodes()
    yield cluster.address
    cluster.shutdown()


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder that holds packages of our names which are not ours."""
    folder = tmp_path / "foreign"
    for name in PACKAGES:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise RuntimeError('a foreign package was imported')\n")
    return folder


def drive(code: str, cwd: Path, *words: str) -> Any:
    """Return the JSON that a driver in a separate process prints; its working folder is ``cwd``."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


CONNECT = """
import json, sys
from pipeline.cluster.ray_runtime import connect_cluster

def where():
    import analysis, pipeline, search_spaces, trainables, ray
    files = [m.__file__ for m in (analysis, pipeline, search_spaces, trainables)]
    return files, ray.get_runtime_context().get_node_id()

with connect_cluster(sys.argv[1]) as nodes:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as Pin
    asked = [ray.remote(where).options(scheduling_strategy=Pin(n.id, soft=False), num_cpus=0).remote() for n in nodes]
    print(json.dumps([[n.id, n.cpus, n.gpus, *ray.get(a)] for n, a in zip(nodes, asked)]))
"""


@pytest.mark.real_processes
def test_our_code_reaches_every_node_and_no_foreign_package_does(two_nodes: str, foreign: Path) -> None:
    answers = drive(CONNECT, foreign, two_nodes)
    assert len({node for node, *_ in answers}) == 2
    for node, cpus, gpus, files, place in answers:
        assert (cpus, gpus, place) == (1, 0, node)
        assert [Path(file).parent.name for file in files] == list(PACKAGES)
        # Unpacked by Ray on the node, so that none needs an installation.
        assert all("_ray_pkg_" in file for file in files)


@pytest.mark.real_processes
def test_the_doctor_asks_every_node(two_nodes: str, tmp_path: Path) -> None:
    words = ["doctor", "--address", two_nodes, "--storage", str(tmp_path / "files"), "--json"]
    done = run_cli([*words, "--home", str(tmp_path)], tmp_path, PYTHONPATH=str(REPOSITORY))
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["ray"]["status"] == "ok", checks
    assert "2 nodes ready" in checks["ray"]["detail"]
    assert checks["ray"]["detail"].count("(1 cores, 0 GPUs") == 2
    assert not list((tmp_path / "files").iterdir())


def test_this_machine_is_described_without_ray() -> None:
    import torch

    with connect_cluster(None) as nodes:
        (node,) = nodes
    assert node.id == ""
    assert node.gpus == torch.cuda.device_count()
    assert node.cpus == this_machine().cpus >= 1
    assert node.memory > 2**20


@pytest.mark.real_processes
def test_an_unreachable_address_is_refused() -> None:
    with pytest.raises(UserError, match=r"no Ray cluster answers at --address 127\.0\.0\.1:\d+ \(Connection refused\)"):
        require_cluster(f"127.0.0.1:{free_port()}")


def test_a_host_that_is_not_known_is_refused() -> None:
    with pytest.raises(UserError, match=r"no Ray cluster answers at --address no-such-host\.invalid:6379"):
        require_cluster("no-such-host.invalid:6379")


@pytest.mark.real_processes
def test_a_server_that_is_no_ray_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline.cluster.ray_runtime, "RAY_SECONDS", 4.0)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(UserError, match=r"did not admit a Ray driver within 4 s"):
            require_cluster(f"127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.real_processes
def test_another_version_of_ray_is_one_line(two_nodes: str, tmp_path: Path) -> None:
    import ray
    from ray._raylet import GcsClient

    key, namespace = b"CLUSTER_METADATA", b"cluster"
    gcs = GcsClient(address=two_nodes)
    before = gcs.internal_kv_get(key, namespace)
    assert before is not None
    try:
        gcs.internal_kv_put(key, before.replace(ray.__version__.encode(), b"1.2.3"), True, namespace)
        words = ["run", "acgan", "--data", ".", "--name", "old", "--address", two_nodes]
        done = run_cli(words, tmp_path, PYTHONPATH=str(REPOSITORY))
    finally:
        gcs.internal_kv_put(key, before, True, namespace)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"gansweep: error: cannot use the Ray cluster at --address {two_nodes}: Version mismatch")
    assert "1.2.3" in line
    assert ray.__version__ in line


def test_a_process_that_has_a_ray_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    with pytest.raises(UserError, match=r"ray\.shutdown.* --address auto"), connect_cluster("auto"):
        pass


def test_only_code_is_staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, staged = tmp_path / "source", tmp_path / "staged"
    for name in ("ours", "ours/deeper", "ours/__pycache__"):
        (source / name).mkdir(parents=True)
        (source / name / "__init__.py").write_text("x = 1\n")
    (source / "ours" / "py.typed").touch()
    (source / "ours" / "weights.safetensors").write_bytes(bytes(1000))
    (source / "beside.py").touch()
    monkeypatch.syspath_prepend(source)
    monkeypatch.setattr(pipeline.cluster.ray_runtime, "PACKAGES", ("ours",))
    assert stage_code(staged) == 12
    found = sorted(path.relative_to(staged).as_posix() for path in staged.rglob("*") if path.is_file())
    assert found == ["ours/__init__.py", "ours/deeper/__init__.py", "ours/py.typed"]


def test_too_much_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline.cluster.ray_runtime, "CODE_LIMIT", 1000)
    with pytest.raises(UserError, match=r"the code to send to the cluster has .* MiB, allowed are"):
        stage_code(tmp_path)


def test_the_staged_code_is_small_and_complete(tmp_path: Path) -> None:
    size = stage_code(tmp_path)
    kept = [path for name in PACKAGES for path in (REPOSITORY / name).rglob("*") if path.suffix == ".py"]
    kept += [marker for name in PACKAGES if (marker := REPOSITORY / name / "py.typed").exists()]
    staged = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    assert staged == {path.relative_to(REPOSITORY) for path in kept}
    assert size == sum(path.stat().st_size for path in kept)  # code and nothing else, to the byte
    assert size < pipeline.cluster.ray_runtime.CODE_LIMIT / 4


@pytest.mark.parametrize("address", ["auto", "10.0.0.1:6379", "head.example.org:1", "[::1]:6379"])
def test_addresses_that_can_be_meant(address: str) -> None:
    assert SweepSettings("acgan", Path("faces"), "s", address=address).address == address


@pytest.mark.parametrize("address", ["", "here", "ray://head:10001", "head:", "head:0", "head:65536", "http://h:1"])
def test_addresses_that_cannot(address: str) -> None:
    with pytest.raises(UsageError, match=r"--address is .*; allowed: auto, or HOST:PORT"):
        SweepSettings("acgan", Path("faces"), "s", address=address)


@pytest.mark.real_processes
@pytest.mark.slow
def test_a_sweep_survives_the_death_of_a_node(
    home_with_classifier: Path, faces: Path, foreign: Path, tmp_path: Path
) -> None:
    cluster = start_nodes()
    try:
        node = add_node(cluster)
        settings = tiny_settings(
            home_with_classifier, faces, "moved", trials=4, max_kimg=12, scheduler="none", concurrent=None,
            address=cluster.address,
        )  # fmt: skip
        swept = Swept(settings, "", "")
        hold = Hold(tmp_path, trials=3)
        given = {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(REPOSITORY)}
        process = start_cli(command_words(settings), foreign, hold=hold, **given)
        hold.wait(process)
        cluster.remove_node(node, allow_graceful=False)
        hold.release()
        _, err = process.communicate(timeout=900)
        assert process.returncode == 0, err
    finally:
        cluster.shutdown()
    assert [trial.state for trial in swept.trials()] == [TrialState.COMPLETE] * 4
    for run in swept.runs():
        steps = [point.step for point in swept.client.get_metric_history(run.info.run_id, "distance")]
        assert steps == list(range(1, 13))
    (parent,) = swept.runs("sweep")
    assert parent.data.params["concurrent"] == "3"
