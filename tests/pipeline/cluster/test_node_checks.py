"""Checks before the first trial: memory, disk, storage, nodes, and equal settings under one name."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from pyarrow import fs

from pipeline.cluster.node_checks import (
    _answer,
    node_facts,
    node_faults,
    require_nodes,
    require_resources,
    storage_fault,
)
from pipeline.cluster.ray_runtime import Node
from pipeline.settings import AUTO_PLACEMENT, RESUME_OVERRIDES, SweepSettings
from pipeline.sweep.saved_settings import require_same_sweep
from tests.support.servers.cloud import Faulty
from tests.support.tiny import painted_images, random_labels
from trainables.errors import UserError
from trainables.storage.storage import Storage

if TYPE_CHECKING:
    from trainables.data.dataset import TaggedImages

GIB = 2**30
MINE = SweepSettings("acgan", Path("faces"), "s", trials=10, concurrent=4, image_size=16)


def machine(monkeypatch: pytest.MonkeyPatch, memory: float, disk: float) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=memory * GIB))
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=disk * GIB))


def test_enough_memory_and_disk_passes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    needed = MINE.resource_request().use_cores()
    machine(monkeypatch, memory=3.3, disk=0.5)
    require_resources(needed, 0, tmp_path)
    for memory, disk, lacking in (
        (3.1, 0.5, r"memory.* 3\.2 GiB, 3\.1 GiB"),
        (3.3, 0.4, r"disk.* 500 MiB .* 410 MiB"),
    ):
        machine(monkeypatch, memory=memory, disk=disk)
        with pytest.raises(UserError, match=lacking):
            require_resources(needed, 0, tmp_path)
    machine(monkeypatch, memory=3.3, disk=0.2)  # 205 MiB, of 50 for each trial that has not begun
    require_resources(needed, 0, tmp_path, begun=6)
    with pytest.raises(UserError, match=r"disk: 5 more trials need about 250 MiB .* 205 MiB are free"):
        require_resources(needed, 0, tmp_path, begun=5)


def test_too_little_memory_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine(monkeypatch, memory=3.0, disk=100)
    with pytest.raises(UserError, match=r"4 trials at once need about 3\.2 GiB, 3\.0 GiB are free.*--concurrent"):
        require_resources(MINE.resource_request().use_cores(), 0, tmp_path)


def test_memory_of_fused_trials_counts_the_shared_and_the_proxy_processes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine(monkeypatch, memory=4.6, disk=100)
    fused = dataclasses.replace(MINE, concurrent=2, fuse="5")
    said = r"10 trials at once need about 4\.6 GiB, 4\.6 GiB are free; use .*--concurrent, --fuse or --image-size"
    with pytest.raises(UserError, match=said):
        require_resources(
            dataclasses.replace(fused, trials=10).resource_request().use_cores(), 2**20, tmp_path
        )  # 2 * (0.8 + 5 * 0.3)
    require_resources(dataclasses.replace(fused, fuse="4").resource_request().use_cores(), 2**20, tmp_path)


def test_images_count_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine(monkeypatch, memory=5.1, disk=100)
    with pytest.raises(UserError, match=r"about 5\.2 GiB, 5\.1 GiB are free"):
        require_resources(MINE.resource_request().use_cores(), GIB, tmp_path)
    require_resources(dataclasses.replace(MINE, concurrent=3).resource_request().use_cores(), GIB, tmp_path)


def test_too_little_disk_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine(monkeypatch, memory=100, disk=0.4)
    with pytest.raises(UserError, match=r"10 trials need about 500 MiB .* 410 MiB are free.*--home"):
        require_resources(MINE.resource_request().use_cores(), 0, tmp_path)


PICTURES = painted_images(random_labels(6))


def check(path: Path, settings: SweepSettings = MINE, images: TaggedImages = PICTURES) -> None:
    require_same_sweep(path, settings, settings.resolve_space(), images)


def test_the_same_settings_pass_twice_and_leave_the_file_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "s" / "sweep.json"
    check(path)
    before = path.read_bytes()
    check(path)
    assert path.read_bytes() == before
    assert json.loads(before)["data"] == PICTURES.fingerprint


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trials": 11}, "--trials (10, now 11)"),
        ({"max_kimg": 50}, "--max-kimg (100, now 50)"),
        ({"seed": 1}, "--seed (0, now 1)"),
        ({"sampler": "random"}, "--sampler (tpe, now random)"),
        ({"fix": ("training.flip=true",)}, "--fix ([], now ['training.flip=true'])"),
        ({"image_size": 32}, "--image-size (16, now 32)"),
        ({"precision": "bf16"}, "--precision (float32, now bf16)"),
        ({"fit": "pad"}, "--fit (crop, now pad)"),
    ],
)
def test_other_settings_are_refused_by_name(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    check(tmp_path / "sweep.json")
    with pytest.raises(UserError) as caught:
        check(tmp_path / "sweep.json", dataclasses.replace(MINE, **changes))
    assert said in str(caught.value)
    assert "another --name" in str(caught.value)


def test_settings_unknown_to_an_earlier_version_have_their_defaults(tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"
    check(path)
    saved = json.loads(path.read_text())
    for name in ("precision", "end_hopeless", "attributes", "budgets", "fit"):
        del saved["settings"][name]
    path.write_text(json.dumps(saved))
    check(path)
    with pytest.raises(UserError, match=r"another --precision \(float32, now bf16\)"):
        check(path, dataclasses.replace(MINE, precision="bf16"))
    with pytest.raises(UserError, match=r"another --fit \(crop, now stretch\)"):
        check(path, dataclasses.replace(MINE, fit="stretch"))


def test_other_data_are_refused(tmp_path: Path) -> None:
    path, other = tmp_path / "sweep.json", dataclasses.replace(PICTURES, fingerprint="cd34")
    check(path)
    with pytest.raises(UserError, match=rf"began with: fingerprint {PICTURES.fingerprint}, now cd34; "):
        check(path, images=other)
    # What has another size or option is said by that, and not by the images that follow from it.
    with pytest.raises(UserError, match=r"another --image-size \(16, now 32\); "):
        check(path, dataclasses.replace(MINE, image_size=32), other)


def test_a_space_that_has_changed_is_refused(tmp_path: Path) -> None:
    check(tmp_path / "sweep.json")
    changed = MINE.resolve_space().without("training.flip", False)
    with pytest.raises(UserError, match="space"):
        require_same_sweep(tmp_path / "sweep.json", MINE, changed, PICTURES)


def test_a_resumed_sweep_is_not_adopted_again(tmp_path: Path) -> None:
    check(tmp_path / "sweep.json", dataclasses.replace(MINE, adopt=True))
    assert json.loads((tmp_path / "sweep.json").read_text())["started_with"]["adopt"] is False


def test_requested_options_are_saved_beside_resolved_ones(tmp_path: Path) -> None:
    given = dataclasses.replace(MINE, trials=2, concurrent=None, gpus_per_trial="auto", fuse="auto")
    settled = dataclasses.replace(given, concurrent=8, gpus_per_trial="0.25", fuse="off")
    require_same_sweep(tmp_path / "sweep.json", settled, MINE.resolve_space(), PICTURES, given)
    saved = json.loads((tmp_path / "sweep.json").read_text())
    assert saved["asked"] == {"concurrent": None, "gpus_per_trial": "auto", "fuse": "auto"}
    assert {name: saved["started_with"][name] for name in AUTO_PLACEMENT} == {
        "concurrent": 8, "gpus_per_trial": "0.25", "fuse": "off",
    }  # fmt: skip


def test_private_settings_may_differ(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "home": Path("/elsewhere"), "tracking": "http://x", "study": "sqlite://", "address": "auto", "concurrent": 1,
        "cpus_per_trial": 2, "gpus_per_trial": "0", "time_limit": "1h", "data": Path("/moved"),
        "checkpoint_seconds": 60, "adopt": True, "total_kimg": 1000, "fuse": "4", "pixels": "disk",
        "min_tag_accuracy": 0.5, "patience": 3,
    }  # fmt: skip
    assert set(changes) == set(RESUME_OVERRIDES)
    check(tmp_path / "sweep.json")
    check(tmp_path / "sweep.json", dataclasses.replace(MINE, **changes))


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sweep.json").write_bytes(content)
    with pytest.raises(UserError, match=r"cannot read .*sweep\.json"):
        check(tmp_path / "sweep.json")


GOOD = {
    "versions": {"python": "3.11.7", "torch": "2.9.0", "ray": "2.60.0"},
    "memory": 8 * GIB,
    "scratch": ("/tmp", 2 * GIB),
    "storage": "",
}
NODES = (Node("10.0.0.1", 4, 0, 0.0, "a"), Node("10.0.0.2", 4, 0, 0.0, "b"))


def test_a_node_like_the_driver_has_no_faults() -> None:
    assert node_faults(GOOD, GOOD) == []


def test_every_fault_of_a_node_is_listed() -> None:
    bad = {
        "versions": {"python": "3.12.1", "torch": "2.9.0", "ray": "2.60.0"},
        "memory": 8 * GIB,
        "scratch": ("/scratch", GIB // 2),
        "storage": "cannot write probe in /shared: no space left",
    }
    assert node_faults(bad, GOOD) == [
        "has python 3.12.1, the driver has 3.11.7",
        "has 0.5 GiB free in /scratch, 1 are needed",
        "cannot write probe in /shared: no space left",
    ]


def test_a_storage_that_the_driver_shares_has_no_fault(tmp_path: Path) -> None:
    (tmp_path / "token").touch()
    assert storage_fault(Storage(str(tmp_path)), "token") == ""
    assert [path.name for path in tmp_path.iterdir()] == ["token"]


def test_an_unshared_folder_is_a_fault(tmp_path: Path) -> None:
    assert storage_fault(Storage(str(tmp_path)), "token").startswith(f"sees another {tmp_path} than the driver; share")


def test_a_failing_storage_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").touch()

    def full(self: Storage) -> None:
        raise UserError("cannot write: no space left")

    monkeypatch.setattr(Storage, "probe", full)
    assert storage_fault(Storage(str(tmp_path)), "token") == "cannot write: no space left"


def test_the_driver_alone_is_checked_without_ray(tmp_path: Path) -> None:
    (node,) = require_nodes((Node("this machine", 2, 0, 1.0),), Storage(str(tmp_path), in_place=True))
    assert node.memory > GIB / 8
    assert not list(tmp_path.iterdir())


def test_a_sweep_that_the_checks_refuse_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(str(tmp_path / "trials" / "s"), in_place=True)
    monkeypatch.setattr("pipeline.cluster.node_checks.SCRATCH", 2**62)
    with pytest.raises(UserError, match="are needed"):
        require_nodes((Node("this machine", 2, 0, 1.0),), storage)
    assert not (tmp_path / "trials" / "s").exists()


def test_an_unreachable_storage_is_reported_after_two_attempts(tmp_path: Path) -> None:
    waits: list[float] = []
    gone = OSError("When ...: AWS Error NETWORK_CONNECTION during PutObject operation: curlCode: 6")
    files = Faulty(fs.LocalFileSystem(), [gone] * 100)
    with pytest.raises(UserError, match="NETWORK_CONNECTION"):
        require_nodes((Node("this machine", 2, 0, 1.0),), Storage(str(tmp_path), sleep=waits.append, filesystem=files))
    assert len(waits) == 1  # while trials run, it would be seven, two minutes in all


def test_the_nodes_that_fail_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(str(tmp_path))
    mine = node_facts(storage, "token")
    answers: list[Any] = [(NODES[0], {**mine, "storage": "cannot write"}), (NODES[1], "does not answer within 120 s")]
    monkeypatch.setattr("pipeline.cluster.node_checks._ask", lambda *asked: answers)
    with pytest.raises(UserError) as caught:
        require_nodes(NODES, storage)
    said = "the sweep cannot run; 10.0.0.1: cannot write; 10.0.0.2: does not answer within 120 s"
    assert str(caught.value) == said
    answers[:] = [(node, {**mine, "storage": "", "memory": 3 * GIB}) for node in NODES]
    assert [node.memory for node in require_nodes(NODES, storage)] == [3 * GIB] * 2


def test_an_error_of_a_node_is_one_line(local_ray: None) -> None:
    import ray

    def broken() -> None:
        raise ModuleNotFoundError("No module named 'torch'\nmore")

    asked = ray.remote(max_retries=0)(broken).remote()
    ray.wait([asked], timeout=600)
    assert _answer(asked) == "fails: No module named 'torch'"


def test_memory_is_counted_node_by_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine(monkeypatch, memory=1.0, disk=100)
    # Four trials at 0.8 GiB and the images: 3.2 + 1 = 4.2 GiB on a node; the driver holds the images alone.
    nodes = [dataclasses.replace(node, memory=4.3 * GIB) for node in NODES]
    settings = dataclasses.replace(MINE, concurrent=8, gpus_per_trial="0")
    require_resources(settings.resource_request().use_cores(), GIB // 2, tmp_path, nodes)
    nodes[1] = dataclasses.replace(nodes[1], memory=3.6 * GIB)
    said = r"on 10\.0\.0\.2: its 4 trials at once need about 3\.7 GiB, 3\.6 GiB are free; .* --image-size or a"
    with pytest.raises(UserError, match=said):
        require_resources(settings.resource_request().use_cores(), GIB // 2, tmp_path, nodes)
    # 4 * (0.8 + 2 * 0.3) and the images.
    said = r"on 10\.0\.0\.1: its 8 trials at once need about 6\.1 GiB, 4\.3 GiB .* smaller --image-size, --fuse or a"
    with pytest.raises(UserError, match=said):
        require_resources(
            dataclasses.replace(settings, trials=16, fuse="2").resource_request().use_cores(), GIB // 2, tmp_path, nodes
        )


def test_another_selection_is_another_sweep(tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"
    mine = dataclasses.replace(MINE, attributes="Male")
    check(path, mine)
    check(path, mine)
    with pytest.raises(UserError, match=r"another --attributes \(Male, now Male,Young\)"):
        check(path, dataclasses.replace(MINE, attributes="Male,Young"))
    with pytest.raises(UserError, match=r"another --domain-a \(None, now hair=red\)"):
        check(path, dataclasses.replace(MINE, domain_a="hair=red", domain_b="hair=blue"))
