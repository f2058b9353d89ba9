"""The files of ``deploy/``, against the schemas of those who read them, and by running what can be run."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import compose_spec
import pytest
import ray
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from pipeline.cluster.ray_runtime import PACKAGES

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
PROJECT = DEPLOY.parent


def read(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


def interpolated(text: str, environment: dict[str, str]) -> str:
    """What Compose makes of ``${NAME:-default}`` and ``${NAME:?complaint}``."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match[1], match[2], match[3]
        if name not in environment and kind == "?":
            raise KeyError(rest)
        return environment.get(name, rest)

    return re.sub(r"\$\{(\w+):([-?])([^}]*)\}", value, text)


def test_every_file_is_tested() -> None:
    known = {"Dockerfile", "compose.yaml", "postgres-init.sql", "ray-cluster.yaml", "rayjob.yaml", "sweep.slurm"}
    assert {path.name for path in DEPLOY.iterdir()} == known


def test_ray_accepts_its_cluster_file() -> None:
    config = prepare_config(read("ray-cluster.yaml"))
    validate_config(config)
    assert set(config["available_node_types"]["local.cluster.node"]) >= {"node_config", "min_workers"}
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][-1]


def test_ray_refuses_a_key_that_it_does_not_know() -> None:
    import jsonschema

    with pytest.raises(jsonschema.ValidationError):
        validate_config(prepare_config({**read("ray-cluster.yaml"), "gpus": 4}))


def test_compose_file_is_valid_and_binds_to_loopback() -> None:
    text = interpolated((DEPLOY / "compose.yaml").read_text(), {"POSTGRES_PASSWORD": "secret"})
    compose_spec.PyCompose.from_yaml(text)
    for service in yaml.safe_load(text)["services"].values():
        assert service["ports"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_compose_needs_a_password_of_the_users_own() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    with pytest.raises(KeyError, match="POSTGRES_PASSWORD"):
        interpolated(text, {})
    services = yaml.safe_load(text)["services"]
    assert services["postgres"]["environment"]["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")
    assert services["mlflow"]["environment"]["PGPASSWORD"].startswith("${POSTGRES_PASSWORD:?")


def test_compose_would_refuse_a_service_without_meaning() -> None:
    with pytest.raises(ValueError, match="prots"):
        compose_spec.PyCompose.from_yaml("services: {web: {image: x, prots: []}}")


@pytest.mark.parametrize("path", [path.name for path in DEPLOY.iterdir()])
def test_no_file_holds_a_password(path: str) -> None:
    assert not re.search(
        r"://[^/\s:]+:[^@\s]+@|password[:=] *['\"]?\w+['\"]?$", (DEPLOY / path).read_text(), re.M | re.I
    )


def test_rayjob_has_what_kuberay_asks_for() -> None:
    job = read("rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    known = {"entrypoint", "submissionMode", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished"}
    assert set(spec) == {*known, "rayClusterSpec"}
    assert spec["submissionMode"] in ("K8sJobMode", "HTTPMode")
    cluster = spec["rayClusterSpec"]
    assert cluster["rayVersion"] == ray.__version__
    assert cluster["authOptions"] == {"mode": "token"}
    workers = cluster["workerGroupSpecs"]
    for group in workers:
        assert {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams"} <= set(group)
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in (cluster["headGroupSpec"], *workers):
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert container["name"]
            assert container["image"]
            assert container["resources"]["limits"] == container["resources"]["requests"]
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    # Every Ray start parameter is text: the operator passes it on as an option.
    assert all(isinstance(value, str) for value in cluster["headGroupSpec"]["rayStartParams"].values())


def test_the_jobs_entry_point_is_a_command_of_ours() -> None:
    import shlex

    import tyro

    from pipeline.settings import SweepSettings

    words = shlex.split(read("rayjob.yaml")["spec"]["entrypoint"])
    assert words[:2] == ["gansweep", "run"]
    settings = tyro.cli(SweepSettings, args=words[2:])
    assert (settings.address, settings.name) == ("auto", "first")


def test_dockerfile_passes_the_linter_and_copies_every_package() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, "--no-color", DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    text = (DEPLOY / "Dockerfile").read_text()
    ignored = (PROJECT / ".dockerignore").read_text().split()
    for name in ("gansweep", *PACKAGES):
        assert f"COPY {name} {name}\n" in text
        assert f"!{name}" in ignored


def test_image_and_kubernetes_use_the_version_of_the_project() -> None:
    version = re.search(r'^version = "(.+)"', (PROJECT / "pyproject.toml").read_text(), re.M)
    assert version is not None
    for name in ("compose.yaml", "ray-cluster.yaml", "rayjob.yaml", "Dockerfile"):
        found = set(re.findall(r"gansweep:(\d[\d.]*\d)", (DEPLOY / name).read_text()))
        assert found == {version[1]}, name


STUBS = {
    "ray": 'echo "ray $*" >> "$TEST_LOG"; echo secret',
    "squeue": 'echo "$TEST_LEFT"',
    "scontrol": 'echo "$*" >> "$TEST_LOG"; if [ "$2" = job ]; then echo "JobId=41234 $TEST_TRES"; '
    'elif [ "$1" = show ]; then printf "node1\\nnode2\\n"; fi',
    "getent": 'echo "10.0.0.7 STREAM node1"; echo "10.0.0.7 DGRAM"',
    "srun": 'printf "%s\\n" "$@" > "$TEST_SRUN"; exit "$TEST_STATUS"',
}


GPU_REQUEST = "TresPerNode=gres/gpu:1"


def run_slurm(
    folder: Path, left: str, status: int, *, gpus: str | None = "4", request: str = GPU_REQUEST, error: str = ""
) -> tuple[int, list[str], str]:
    """Run the script with SLURM's commands replaced: its exit code, the words after srun, scontrol's log.

    ``gpus`` is what SLURM says that the node has, ``error`` a text that standard error must have.
    """
    programs = folder / "bin"
    programs.mkdir()
    for name, body in STUBS.items():
        path = programs / name
        path.write_text(f"#!/usr/bin/env bash\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}", "TEST_LEFT": left, "TEST_STATUS": str(status),
        "TEST_LOG": str(folder / "log"), "TEST_SRUN": str(folder / "srun"), "SLURM_JOB_ID": "41234",
        "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "8",
    }  # fmt: skip
    words = ["bash", str(DEPLOY / "sweep.slurm"), "acgan", "--data", "my faces", "--name", "first"]
    environment |= {"TEST_TRES": request} | ({} if gpus is None else {"SLURM_GPUS_ON_NODE": gpus})
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert error in done.stderr if error else not done.stderr, done.stderr
    words = (folder / "srun").read_text().splitlines() if (folder / "srun").exists() else []
    return done.returncode, words, (folder / "log").read_text()


@pytest.mark.parametrize(
    ("left", "seconds"),
    [("4:00:00", 4 * 3600 - 300), ("1-02:00:09", 26 * 3600 + 9 - 300), ("30:00", 1500), ("9:59", 300)],
)
def test_slurm_leaves_time_to_save(tmp_path: Path, left: str, seconds: int) -> None:
    code, words, log = run_slurm(tmp_path, left, 0)
    assert code == 0
    assert "ray get-auth-token --generate" in log
    assert words[words.index("--time-limit") + 1] == f"{seconds}s"
    assert "requeue" not in log


def test_slurm_without_a_limit_gives_none(tmp_path: Path) -> None:
    assert "--time-limit" not in run_slurm(tmp_path, "UNLIMITED", 0)[1]


def test_slurm_queues_an_interrupted_sweep_again(tmp_path: Path) -> None:
    code, _, log = run_slurm(tmp_path, "1:00:00", 130)
    assert code == 130
    assert "requeue 41234" in log


def test_slurm_requests_gpus() -> None:
    assert "#SBATCH --gres=gpu:1\n" in (DEPLOY / "sweep.slurm").read_text()


@pytest.mark.parametrize("gpus", [None, "0"])
def test_slurm_refuses_a_sweep_on_gpus_where_there_are_none(tmp_path: Path, gpus: str | None) -> None:
    code, words, _ = run_slurm(tmp_path, "1:00:00", 0, gpus=gpus, error="SLURM_GPUS_ON_NODE is")
    assert (code, words) == (2, [])


def test_slurm_runs_on_cpus_if_that_is_requested(tmp_path: Path) -> None:
    code, words, _ = run_slurm(tmp_path, "1:00:00", 0, gpus=None, request="TresPerNode=gres/none")
    assert code == 0
    assert "--num-gpus=0" in words


def test_slurm_does_not_repeat_a_failure(tmp_path: Path) -> None:
    code, _, log = run_slurm(tmp_path, "1:00:00", 2)
    assert code == 2
    assert "requeue" not in log


def test_slurm_speaks_to_this_ray_and_to_gansweep(tmp_path: Path) -> None:
    import tyro
    from click.testing import CliRunner
    from ray.scripts.scripts import get_auth_token, start
    from ray.scripts.symmetric_run import curate_and_validate_ray_start_args, symmetric_run

    from pipeline.settings import SweepSettings

    _, words, _ = run_slurm(tmp_path, "1:00:00", 0)
    assert words[1:3] == ["ray", "symmetric-run"]
    own, sweep = words[3 : words.index("--")], words[words.index("--") + 1 :]
    assert CliRunner().invoke(symmetric_run, ["--help"]).output.count("--min-nodes") >= 1
    kept = curate_and_validate_ray_start_args(own)
    assert kept == ["--num-cpus=8", "--num-gpus=4", "--disable-usage-stats"]
    assert "--generate" in {name for parameter in get_auth_token.params for name in parameter.opts}
    options = {name for parameter in start.params for name in parameter.opts}
    assert {word.partition("=")[0] for word in kept} <= options
    assert sweep[:2] == ["gansweep", "run"]
    settings = tyro.cli(SweepSettings, args=sweep[2:])
    assert (settings.address, str(settings.data)) == ("10.0.0.7:21234", "my faces")
