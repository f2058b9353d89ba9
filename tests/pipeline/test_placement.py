"""Packing trials on nodes and GPUs: arithmetic by hand, and real measurements on the CPU."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pipeline.placement
from pipeline.cluster import Node
from pipeline.outcome import outcome
from pipeline.placement import gpu_share, largest, measure, not_fused, placed, slots_of
from pipeline.settings import SweepSettings
from search_spaces.registry import SPACES
from tests.support.tiny import painted_images, random_labels
from trainables.errors import UserError

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
    assert slots_of(nodes, cpus, gpus) == slots


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
    assert slots_of([node(1000, 1)], 1, share) == int(1 / share)


@pytest.mark.parametrize("name", sorted(SPACES))
def test_the_largest_configuration_has_the_largest_networks(name: str) -> None:
    space = SPACES[name]
    params = largest(space)
    for dimension in space.dimensions:
        if dimension.name in ("generator.width", "discriminator.width", "generator.blocks", "training.batch_size"):
            ends = dimension.choices or (dimension.low, dimension.high)
            assert params[dimension.name] == max(ends)  # type: ignore[type-var]
        elif dimension.name != "generator.noise_dim":
            assert params[dimension.name] == space.recipe[dimension.name]


def images() -> Any:
    return painted_images(random_labels(8))


def test_cores_decide_without_gpus() -> None:
    settings, told = placed(MINE, [node(8), node(4)], MINE.resolve_space(), images())
    assert (settings.concurrent, settings.gpus_per_trial, told) == (12, "0", "")
    few = dataclasses.replace(MINE, trials=5)
    assert placed(few, [node(8)], MINE.resolve_space(), images())[0].slots() == 5


def test_what_is_asked_for_is_kept() -> None:
    asked = dataclasses.replace(MINE, concurrent=3, gpus_per_trial="0.5")
    settings, _ = placed(asked, [node(8, 4)], MINE.resolve_space(), images())
    assert (settings.slots(), settings.gpus()) == (3, 0.5)


def test_auto_packs_the_larger_of_two_measured_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def measured(request: dict[str, Any]) -> dict[str, int]:
        asked.append(request)
        return {"peak": 3 * GIB if len(asked) == 1 else 7 * GIB, "total": 80 * GIB}

    monkeypatch.setattr(pipeline.placement, "measure", measured)
    space, pictures = MINE.resolve_space(), images()
    pictures = dataclasses.replace(pictures, pixels=np.broadcast_to(np.uint8(0), (2 * GIB, 1, 1, 1)))
    settings, told = placed(MINE, [node(32, 2)], space, pictures)
    assert settings.fuse == "off"  # its trials differ in structure
    # (7 + 2 of pictures + 0.6 of the context) * 1.25 = 12: six fit in 80.
    assert settings.gpus() == 0.1666
    assert settings.concurrent == 12
    assert told.startswith("6 trials share a GPU of 80.0 GiB: the recipe needs 5.6, the largest configuration 9.6 GiB")
    assert [request["params"]["generator.width"] for request in asked] == [
        space.recipe["generator.width"], largest(space)["generator.width"],
    ]  # fmt: skip


def fused(monkeypatch: pytest.MonkeyPatch, peak: float, **changes: Any) -> tuple[SweepSettings, str]:
    """A sweep of trials that differ in learning rates alone, on two GPUs of 80 GiB."""
    monkeypatch.setattr(pipeline.placement, "measure", lambda request: {"peak": peak * GIB, "total": 80 * GIB})
    mine = dataclasses.replace(MINE, **changes)
    space = mine.resolve_space()
    for dimension in space.dimensions:
        if not dimension.name.startswith("optimizer."):
            space = space.without(dimension.name, dimension.default)
    return placed(mine, [node(8, 2)], space, images())


def test_trials_of_equal_structure_are_fused_on_gpus_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, told = fused(monkeypatch, 1)  # (1 + 0.6) * 1.25 = 2, and the pictures: 39 would fit
    assert (settings.fuse, settings.gpus(), settings.concurrent) == ("8", 1.0, 2)
    assert told.startswith("8 trials are one program on a GPU of 80.0 GiB: the recipe needs 1.6, the largest")
    assert fused(monkeypatch, 15.3)[0].fuse == "4"  # (15.3 + 0.6) * 1.25 = 19.9
    settings, _ = fused(monkeypatch, 60)
    assert (settings.fuse, settings.gpus()) == ("off", 1.0)


def test_trials_are_spread_over_all_gpus_before_they_are_fused(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, _ = fused(monkeypatch, 1, trials=5)
    assert (settings.fuse, settings.concurrent) == ("3", 2)
    settings, _ = fused(monkeypatch, 1, trials=2)
    assert settings.fuse == "off"


NORMED = "discriminator.spectral_norm=true"
DROPPED = "generator.dropout=0.5"
RESIDUAL = ("generator.architecture=srresnet", "discriminator.architecture=srresnet")


@pytest.mark.parametrize(
    ("space", "fix", "choices"),
    [
        ("acgan", (NORMED,), ()),
        # Another obstacle that varies takes none away that is fixed.
        ("dcgan", (NORMED,), ()),
        ("anything", (NORMED,), ()),
        ("anything_unconditional", (NORMED,), ()),
        ("matching_wgan", (NORMED,), ()),
        ("dcgan", (), (NORMED,)),  # a dimension of one value
        ("srresnet_acgan", (*RESIDUAL, DROPPED), ()),
        ("srresnet_acgan", (*RESIDUAL, "discriminator.dropout=0.5"), ()),
        ("anything", ("system=srresnet_acgan", DROPPED), ()),  # the system brings its networks
    ],
)
def test_an_obstacle_that_all_trials_have_is_said_to_be_in_the_way(
    space: str, fix: tuple[str, ...], choices: tuple[str, ...]
) -> None:
    asked = dataclasses.replace(MINE, space=space, fuse="4", fix=fix, choices=choices)
    assert not_fused(asked, asked.resolve_space()) == "all trials have spectral norm, or SRResNet's dropout,"


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
    ],
)
def test_an_obstacle_that_some_trials_have_leaves_the_others(
    space: str, fix: tuple[str, ...], choices: tuple[str, ...]
) -> None:
    asked = dataclasses.replace(MINE, space=space, fuse="4", fix=fix, choices=choices)
    assert not_fused(asked, asked.resolve_space()) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "bf16"}, {"fix": ("discriminator.spectral_norm=true",)}, {"fuse": "off"},
        {"gpus_per_trial": "0.25"}, {"gpus_per_trial": "0"},
    ],
)  # fmt: skip
def test_auto_fuses_nothing_that_cannot_be_or_that_the_user_has_placed(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    settings, _ = fused(monkeypatch, 1, **changes)
    assert settings.fuse == "off"
    assert settings.gpus() == float(changes.get("gpus_per_trial", 0.25))


@pytest.mark.parametrize("concurrent", [1, 5, 16])
def test_auto_does_not_multiply_how_many_were_asked_for_at_once(
    monkeypatch: pytest.MonkeyPatch, concurrent: int
) -> None:
    settings, told = fused(monkeypatch, 1, concurrent=concurrent)
    assert (settings.slots() * settings.fused(), settings.gpus()) == (concurrent, 0.25)
    assert told.startswith("4 trials share a GPU of 80.0 GiB")
    settings, _ = fused(monkeypatch, 1, concurrent=concurrent, fuse="4")  # as --concurrent says of a number
    assert settings.slots() * settings.fused() == concurrent * 4


def test_as_many_as_were_asked_for_are_fused_where_they_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, _ = fused(monkeypatch, 1, fuse="39")
    assert (settings.fuse, settings.gpus(), settings.concurrent) == ("39", 1.0, 2)
    with pytest.raises(UserError, match=r"--fuse 40 trials do not fit on a GPU of 80.0 GiB: .*; 39 do; use a smaller"):
        fused(monkeypatch, 1, fuse="40")
    for peak, fit in ((20, "3 do; use a smaller"), (60, "1 does; use --fuse off"), (70, "none does; use")):
        with pytest.raises(UserError, match=rf"GiB; {fit}.*, or --gpus-per-trial 1 to try all the same"):
            fused(monkeypatch, peak, fuse="4")
    settings, _ = fused(monkeypatch, 1, fuse="40", gpus_per_trial="0.5")
    assert (settings.fuse, settings.gpus(), settings.slots()) == ("40", 0.5, 3)


def test_nothing_is_fused_on_cores_unless_asked_for() -> None:
    space = MINE.resolve_space()
    assert placed(MINE, [node(8)], space, images())[0].fuse == "off"
    asked = dataclasses.replace(MINE, fuse="4", trials=10)
    settings, told = placed(asked, [node(8)], space, images())
    assert (settings.fuse, settings.slots(), told) == ("4", 3, "")


def test_more_trials_use_the_room_that_fewer_left() -> None:
    asked, space = dataclasses.replace(MINE, fuse="4", trials=4), MINE.resolve_space()
    short, _ = placed(asked, [node(8)], space, images())
    assert (short.slots(), short.public()["concurrent"]) == (1, 1)
    longer = dataclasses.replace(short, trials=100)
    assert longer.slots() == placed(dataclasses.replace(asked, trials=100), [node(8)], space, images())[0].slots() == 8


def test_cores_limit_how_many_share_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline.placement, "measure", lambda request: {"peak": GIB, "total": 80 * GIB})
    settings, _ = placed(MINE, [node(8, 2)], MINE.resolve_space(), images())
    assert (settings.gpus(), settings.concurrent) == (0.25, 8)


def test_a_trial_that_no_node_has_room_for_is_refused() -> None:
    asked = dataclasses.replace(MINE, gpus_per_trial="2")
    with pytest.raises(UserError, match=r"no node has 1 free cores and 2 GPUs for one trial: a has 8 cores, 1 GPUs"):
        placed(asked, [node(8, 1)], MINE.resolve_space(), images())
    # A cluster that grows by itself may have it later.
    grows = dataclasses.replace(asked, concurrent=2)
    assert placed(grows, [node(8, 1)], MINE.resolve_space(), images())[0].concurrent == 2


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


def test_a_configuration_that_cannot_be_built_is_one_line() -> None:
    with pytest.raises(UserError, match=r"cannot measure the memory of a trial: .*give --gpus-per-trial a number"):
        measure({"params": {**TINY, "generator.width": -1}, "sizes": (3, 2), "device": "cpu", "precision": "float32"})


LIMITED = """
import resource, sys
import torch
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))
{allocate}
"""


@pytest.mark.parametrize(
    "allocate", ["torch.zeros(2**30)", "bytearray(2**30)", "import numpy; numpy.ones(2**28)"], ids=["torch", "py", "np"]
)
def test_running_out_of_memory_is_recognised(allocate: str) -> None:
    words = [sys.executable, "-c", LIMITED.format(allocate=allocate)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    ended = outcome(None, 10, done.stderr)
    assert ended.status == "failed"
    assert ended.reason.startswith("out of memory: ")
    assert "\n" not in ended.reason


def test_the_limit_of_that_test_leaves_room() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED.format(allocate="torch.zeros(2**20)")], check=False)
    assert done.returncode == 0
