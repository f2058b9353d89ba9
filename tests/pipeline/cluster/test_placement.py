"""Packing trials on nodes and GPUs: arithmetic by hand, and real measurements on the CPU."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import pipeline.cluster.placement
from pipeline.cluster.memory_probe import measure
from pipeline.cluster.placement import count_slots, gpu_share, largest_config, resolve_placement
from pipeline.cluster.ray_runtime import Node
from pipeline.search.compatibility import fusion_obstacle
from pipeline.settings import SweepSettings
from search_spaces.registry import SPACES
from tests.support.tiny import painted_images, random_labels
from trainables.errors import UserError

if TYPE_CHECKING:
    from pipeline.resources import Resources

GIB = 2**30
MINE = SweepSettings("acgan", Path("faces"), "s", trials=100, image_size=16)


def node(cpus: float, gpus: float = 0.0, host: str = "a") -> Node:
    return Node(host, cpus, gpus, 64 * GIB, host)


@pytest.mark.parametrize(
    ("nodes", "cpus", "gpus", "slots"),
    [
        ([node(8)], 1, 0, 8),
        ([node(8)], 3, 0, 2),
        ([node(3), node(3)], 2, 0, 2),  # the two odd cores are on different nodes
        ([node(16, 4)], 1, 1, 4),
        ([node(3, 4)], 1, 1, 3),
        ([node(16, 4)], 1, 2, 2),
        ([node(64, 2)], 1, 0.25, 8),
        ([node(64, 2)], 1, 0.4, 4),  # two fit on one GPU, and none spans two
        ([node(64, 1)], 1, 0.3333, 3),
        ([node(64, 1), node(64)], 1, 0.5, 2),
        ([node(0, 0)], 1, 0, 0),
    ],
)
def test_slots_are_counted_node_by_node(nodes: list[Node], cpus: int, gpus: float, slots: int) -> None:
    assert count_slots(nodes, cpus, gpus) == slots


@pytest.mark.parametrize(
    ("peak", "total", "at_most", "share"),
    [
        (8.0, 80.0, 100, 0.125),  # 8 * 1.25 = 10: eight of them
        (8.1, 80.0, 100, 0.1428),  # 10.125: seven
        (8.0, 80.0, 4, 0.25),
        (40.0, 80.0, 100, 1.0),  # 50: one
        (100.0, 80.0, 100, 1.0),
    ],
)
def test_a_share_holds_the_peak_and_its_margin(peak: float, total: float, at_most: int, share: float) -> None:
    assert gpu_share(peak, total, at_most) == share
    assert count_slots([node(1000, 1)], 1, share) == int(1 / share)


@pytest.mark.parametrize("name", sorted(SPACES))
def test_the_largest_configuration_has_the_largest_networks(name: str) -> None:
    space = SPACES[name]
    params = largest_config(space)
    for dimension in space.dimensions:
        if dimension.name in ("generator.width", "discriminator.width", "generator.blocks", "training.batch_size"):
            ends = dimension.choices or (dimension.low, dimension.high)
            assert params[dimension.name] == max(ends)  # type: ignore[type-var]
        elif dimension.name != "generator.noise_dim":
            assert params[dimension.name] == space.recipe[dimension.name]


def images() -> Any:
    return painted_images(random_labels(8))


def place(settings: SweepSettings, *nodes: Node) -> tuple[Resources, str]:
    return resolve_placement(settings.resource_request(), nodes, MINE.resolve_space(), images())


def test_cores_decide_without_gpus() -> None:
    resources, message = place(MINE, node(8), node(4))
    assert (resources.capacity, resources.gpus, message) == (12, 0.0, "")
    settled = MINE.with_resources(resources)
    assert (settled.concurrent, settled.gpus_per_trial, settled.fuse) == (12, "0", "off")
    assert place(dataclasses.replace(MINE, trials=5), node(8))[0].slots == 5


def test_explicit_options_are_kept() -> None:
    asked = dataclasses.replace(MINE, concurrent=3, gpus_per_trial="0.5")
    resources, _ = place(asked, node(8, 4))
    assert (resources.slots, resources.gpus) == (3, 0.5)


def test_auto_packs_the_larger_of_two_measured_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def measured(request: dict[str, Any]) -> dict[str, int]:
        asked.append(request)
        return {"peak": 3 * GIB if len(asked) == 1 else 7 * GIB, "total": 80 * GIB}

    monkeypatch.setattr(pipeline.cluster.placement, "measure", measured)
    space, given = MINE.resolve_space(), images()
    given = dataclasses.replace(given, pixels=np.broadcast_to(np.uint8(0), (2 * GIB, 1, 1, 1)))
    resources, told = resolve_placement(MINE.resource_request(), [node(32, 2)], space, given)
    assert resources.fused == 1  # its trials differ in structure
    # (7 + 2 of images + 0.6 of the context) * 1.25 = 12: six fit in 80.
    assert resources.gpus == 0.1666
    assert resources.capacity == 12
    assert told.startswith("6 trials share a GPU of 80.0 GiB: the recipe needs 5.6, the largest configuration 9.6 GiB")
    assert [request["params"]["generator.width"] for request in asked] == [
        space.recipe["generator.width"], largest_config(space)["generator.width"],
    ]  # fmt: skip


def fused(monkeypatch: pytest.MonkeyPatch, peak: float, **changes: Any) -> tuple[Resources, str]:
    """A sweep of trials that differ in learning rates alone, on two GPUs of 80 GiB."""
    monkeypatch.setattr(pipeline.cluster.placement, "measure", lambda request: {"peak": peak * GIB, "total": 80 * GIB})
    mine = dataclasses.replace(MINE, **{"fuse": "auto", **changes})
    space = mine.resolve_space()
    for dimension in space.dimensions:
        if not dimension.name.startswith("optimizer."):
            space = space.without(dimension.name, dimension.default)
    return resolve_placement(mine.resource_request(), [node(8, 2)], space, images(), precision=mine.precision)


def test_trials_of_equal_structure_are_fused_on_gpus_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    resources, told = fused(monkeypatch, 1)  # (1 + 0.6) * 1.25 = 2, and the images: 39 would fit
    assert (resources.fused, resources.gpus, resources.capacity) == (8, 1.0, 2)
    assert told.startswith("8 trials are one program on a GPU of 80.0 GiB: the recipe needs 1.6, the largest")
    assert fused(monkeypatch, 15.3)[0].fused == 4  # (15.3 + 0.6) * 1.25 = 19.9
    resources, _ = fused(monkeypatch, 60)
    assert (resources.fused, resources.gpus) == (1, 1.0)


def test_trials_are_spread_over_all_gpus_before_they_are_fused(monkeypatch: pytest.MonkeyPatch) -> None:
    resources, _ = fused(monkeypatch, 1, trials=5)
    assert (resources.fused, resources.capacity) == (3, 2)
    assert fused(monkeypatch, 1, trials=2)[0].fused == 1


NORMED = "discriminator.spectral_norm=true"
DROPPED = "generator.dropout=0.5"
RESIDUAL = ("generator.architecture=srresnet", "discriminator.architecture=srresnet")


@pytest.mark.parametrize(
    ("space", "fix", "choices"),
    [
        ("acgan", (NORMED,), ()),
        # Another obstacle that varies takes none away that is fixed.
        ("dcgan", (NORMED,), ()),
        ("matching_wgan", (NORMED,), ()),
        ("dcgan", (), (NORMED,)),  # a dimension of one value
        ("srresnet_acgan", (*RESIDUAL, DROPPED), ()),
        ("srresnet_acgan", (*RESIDUAL, "discriminator.dropout=0.5"), ()),
        ("anything", ("system=srresnet_acgan", DROPPED), ()),  # the system brings its networks
    ],
)
def test_an_obstacle_common_to_all_trials_is_named(space: str, fix: tuple[str, ...], choices: tuple[str, ...]) -> None:
    asked = dataclasses.replace(MINE, space=space, fuse="4", fix=fix, choices=choices)
    assert (
        fusion_obstacle(asked.resolve_space(), asked.precision)
        == "all trials have spectral norm, SRResNet's dropout, or an adaptive augmentation,"
    )


@pytest.mark.parametrize(
    ("space", "fix", "choices"),
    [
        ("acgan", (), ()),
        ("acgan", (), (f"{NORMED},false",)),
        ("dcgan", ("discriminator.spectral_norm=false",), ()),
        ("dcgan", (DROPPED,), ()),  # only SRResNet's is in the way
        ("srresnet_acgan", (DROPPED,), ()),  # not with the other generator
        ("srresnet_acgan", RESIDUAL, (f"{DROPPED},0",)),
        ("anything", ("system=srresnet_acgan",), ()),
        ("anything", (DROPPED,), ()),
        ("anything", (NORMED,), ()),  # r3gan's discriminator takes no spectral norm
        ("anything_unconditional", (NORMED,), ()),
    ],
)
def test_an_obstacle_that_some_trials_have_leaves_the_others(
    space: str, fix: tuple[str, ...], choices: tuple[str, ...]
) -> None:
    asked = dataclasses.replace(MINE, space=space, fuse="4", fix=fix, choices=choices)
    assert fusion_obstacle(asked.resolve_space(), asked.precision) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "bf16"}, {"fix": ("discriminator.spectral_norm=true",)}, {"fuse": "off"},
        {"gpus_per_trial": "0.25"}, {"gpus_per_trial": "0"},
    ],
)  # fmt: skip
def test_auto_does_not_fuse_unfusable_or_explicitly_placed_trials(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    resources, _ = fused(monkeypatch, 1, **changes)
    assert resources.fused == 1
    assert resources.gpus == float(changes.get("gpus_per_trial", 0.25))


@pytest.mark.parametrize("concurrent", [1, 5, 16])
def test_auto_fusing_does_not_exceed_the_requested_concurrency(
    monkeypatch: pytest.MonkeyPatch, concurrent: int
) -> None:
    resources, told = fused(monkeypatch, 1, concurrent=concurrent)
    assert (resources.trials_at_once, resources.gpus) == (concurrent, 0.25)
    assert told.startswith("4 trials share a GPU of 80.0 GiB")
    resources, _ = fused(monkeypatch, 1, concurrent=concurrent, fuse="4")  # as --concurrent says of a number
    assert resources.trials_at_once == concurrent * 4


def test_the_requested_number_is_fused_if_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    resources, _ = fused(monkeypatch, 1, fuse="39")
    assert (resources.fused, resources.gpus, resources.capacity) == (39, 1.0, 2)
    with pytest.raises(UserError, match=r"--fuse 40 trials do not fit on a GPU of 80.0 GiB: .*; 39 do; use a smaller"):
        fused(monkeypatch, 1, fuse="40")
    for peak, fit in ((20, "3 do; use a smaller"), (60, "1 does; use --fuse off"), (70, "none does; use")):
        with pytest.raises(UserError, match=rf"GiB; {fit}.*, or --gpus-per-trial 1 to try anyway"):
            fused(monkeypatch, peak, fuse="4")
    resources, _ = fused(monkeypatch, 1, fuse="40", gpus_per_trial="0.5")
    assert (resources.fused, resources.gpus, resources.slots) == (40, 0.5, 3)


def test_cpu_trials_are_fused_only_on_request() -> None:
    assert place(MINE, node(8))[0].fused == 1
    resources, message = place(dataclasses.replace(MINE, fuse="4", trials=10), node(8))
    assert (resources.fused, resources.slots, message) == (4, 3, "")


def test_additional_trials_use_free_slots() -> None:
    asked = dataclasses.replace(MINE, fuse="4", trials=4)
    short, _ = place(asked, node(8))
    assert (short.slots, asked.with_resources(short).public()["concurrent"]) == (1, 1)
    longer = dataclasses.replace(short, trials=100)
    assert longer.slots == place(dataclasses.replace(asked, trials=100), node(8))[0].slots == 8


def test_cores_limit_how_many_share_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline.cluster.placement, "measure", lambda request: {"peak": GIB, "total": 80 * GIB})
    resources, _ = place(MINE, node(8, 2))
    assert (resources.gpus, resources.capacity) == (0.25, 8)


def test_a_trial_that_no_node_has_room_for_is_refused() -> None:
    asked = dataclasses.replace(MINE, gpus_per_trial="2")
    with pytest.raises(UserError, match=r"no node has 1 free cores and 2 GPUs for one trial: a has 8 cores, 1 GPUs"):
        place(asked, node(8, 1))
    # A cluster that scales automatically may have it later.
    grows = dataclasses.replace(asked, concurrent=2)
    assert place(grows, node(8, 1))[0].capacity == 2


TINY = {"image_size": 16, "generator.width": 4, "discriminator.width": 4, "training.batch_size": 8}


def test_a_wider_configuration_is_measured_as_larger() -> None:
    small = measure({"params": TINY, "sizes": (3, 2), "device": "cpu", "precision": "float32"})
    wide = measure(
        {"params": {**TINY, "generator.width": 1024}, "sizes": (3, 2), "device": "cpu", "precision": "float32"}
    )
    # Block widths 2048 and 1024: 5 * 5 * 2048 * 1024 weights, a gradient and two moments of 4 bytes each: 800 MiB.
    # The small one's peak is that of the imports, which the wide one's weights may partly fit under.
    weights = 5 * 5 * 2048 * 1024 * 4 * 4
    # Convolutions keep copies of their own in other layouts beside them.
    assert 0.5 * weights < wide["peak"] - small["peak"] < 5 * weights
    assert small["peak"] < wide["peak"] < wide["total"]


def test_a_peak_holds_nothing_of_the_parents_memory() -> None:
    held = np.ones(400 * 2**20, dtype=np.uint8)
    code = "from pipeline.cluster.memory_probe import measure_peak_resident; print(measure_peak_resident())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # An interpreter with these imports takes about 60 MiB.
    assert 5 * 2**20 < int(child.stdout) < held.nbytes


def test_a_configuration_that_cannot_be_built_is_one_line() -> None:
    with pytest.raises(UserError, match=r"cannot measure the memory of a trial: .*give --gpus-per-trial a number"):
        measure({"params": {**TINY, "generator.width": -1}, "sizes": (3, 2), "device": "cpu", "precision": "float32"})


LIMITED = """
import resource, sys
import numpy, torch
from pipeline.trial_status import crash_reason
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))
try:
    {allocate}
except Exception as error:
    sys.exit(crash_reason(error))
"""


@pytest.mark.parametrize(
    "allocate", ["torch.zeros(2**30)", "bytearray(2**30)", "numpy.ones(2**28)"], ids=["torch", "py", "np"]
)
def test_running_out_of_memory_is_recognised(allocate: str) -> None:
    words = [sys.executable, "-c", LIMITED.format(allocate=allocate)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("out of memory: ")
    assert done.stderr.count("\n") == 1


def test_the_limit_of_that_test_leaves_room() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED.format(allocate="torch.zeros(2**20)")], check=False)
    assert done.returncode == 0
