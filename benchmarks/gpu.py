"""Everything that a GPU decides, measured by one command.

    python -m benchmarks.gpu --minutes 8 --output gpu.json [--device cuda] [--quick]

In this order, so that a short time gives the most important answers:

- ``equality``: losses of the first step, on the device and on the CPU, from the same weights, batch and noise.
- ``steps``: real images a second of every system at 64 px and width 64: float32 without TF32 in contiguous and in
  channels-last layout, TF32, bf16, and ``torch.compile`` of both networks, with and without CUDA graphs.
- ``fused``: K trials trained as one program, and one after the other.
- ``processes``: the pace of one, two and four processes that share the device.
- ``scoring``: images a second of the feature network and the tag classifier.
- ``memory``: the peak of a trial as packing predicts it, and that of a training loop.
- ``sweep``: a whole sweep beside a plain Ray Tune script (``benchmarks.sweep --quick``).

Variants of a section run in turns, and its figures are medians over rounds. What fails is recorded with its reason, and
the rest goes on. The file is written after every section, with the versions and the device; ``complete`` says whether
the time sufficed for all. Without ``--device``, a GPU is used if there is one; ``--quick`` has small networks, for
tests. Run it from the repository's root.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.fused import ALONE, FUSED, make_loops, train
from benchmarks.steps import QUICK, SYSTEMS, as_floats, make_system, random_data
from pipeline.cluster.memory_probe import measure as measure_memory
from search_spaces.registry import SPACES
from trainables.config import GanConfig
from trainables.data.tags import REPORT_VOCABULARY
from trainables.errors import first_line
from trainables.scoring.extractors.registry import open_extractor
from trainables.scoring.tag_classifier.network import TagNetwork, log_probabilities
from trainables.storage.atomic import write_json
from trainables.systems.system import Batch
from trainables.training.loop import TrainingLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainables.precision import Precision

ROUNDS = 3
TOLERANCE = 1e-3
"""Largest relative difference of a loss at which the device is called equal to the CPU."""


def recipe(name: str, *, quick: bool, **changes: Any) -> GanConfig:
    """Return a recipe at 64 px and width 64, or a tiny one."""
    large = {"image_size": 64, "generator.width": 64, "discriminator.width": 64}
    tiny = {**QUICK, "image_size": 16, "training.batch_size": 8}
    return GanConfig.from_params({**SPACES[name].recipe, **(tiny if quick else large), **changes})


class Clock:
    """The time that is left, and times on a device, which works behind the program's back."""

    def __init__(self, seconds: float, device: str) -> None:
        self._end, self._device = time.perf_counter() + seconds, device

    @property
    def is_over(self) -> bool:
        return time.perf_counter() > self._end

    @property
    def left(self) -> float:
        return max(1.0, self._end - time.perf_counter())

    def time(self, act: Callable[[], object]) -> float:
        """Return the seconds that a call takes, until the device has ended it."""
        self._wait()
        began = time.perf_counter()
        act()
        self._wait()
        return time.perf_counter() - began

    def _wait(self) -> None:
        if self._device != "cpu":
            torch.cuda.synchronize()


def rates(variants: Mapping[str, Callable[[], float]]) -> dict[str, Any]:
    """Return the median of every variant over rounds in which they take turns, or why it failed."""
    figures: dict[str, Any] = {}
    for turn in range(ROUNDS + 1):  # the first round plans, compiles and allocates
        for name, rate in variants.items():
            if isinstance(figures.get(name), str):
                continue
            try:
                value = rate()
            except Exception as error:  # what a device cannot do is a result
                figures[name] = f"{type(error).__name__}: {first_line(error)}"
            else:
                figures.setdefault(name, []).extend([value] if turn else [])
    return {name: value if isinstance(value, str) else statistics.median(value) for name, value in figures.items()}


def set_tf32(allowed: bool) -> None:
    """Allow float32 products and convolutions to be computed in TF32, or not."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def train_pace(loop: TrainingLoop, updates: int, clock: Clock, *, tf32: bool = False) -> float:
    """Return the real images a second of some updates."""
    set_tf32(tf32)
    before = loop.images_seen
    seconds = clock.time(lambda: loop.train_until(before + updates * loop.images_per_update))
    return (loop.images_seen - before) / seconds


def step_variants(name: str, options: argparse.Namespace, clock: Clock) -> dict[str, Callable[[], float]]:
    """Return what measures the pace of a system's training in each mode."""
    config = recipe(name, quick=options.quick)
    data = random_data(config, options.device)
    updates = 2 if options.quick else 20

    def pace(*, precision: Precision = "float32", tf32: bool = False, order: Any = None, **mode: Any) -> float:
        key = f"{precision} {tf32} {order} {mode}"
        if key not in loops:
            loops[key] = loop = TrainingLoop(make_system(config, data, precision), data, config)
            if order is not None:
                loop.generator.to(memory_format=order)
                loop.discriminator.to(memory_format=order)
            if mode:
                loop.generator.compile(**mode)
                loop.discriminator.compile(**mode)
        return train_pace(loops[key], updates, clock, tf32=tf32)

    loops: dict[str, TrainingLoop] = {}
    variants: dict[str, Callable[[], float]] = {
        "contiguous": partial(pace, order=torch.contiguous_format),
        "channels-last": pace,
        "tf32": partial(pace, tf32=True),
        "bf16": partial(pace, precision="bf16"),
    }
    if not options.quick:  # compiling takes longer than a test may
        variants["compiled"] = partial(pace, dynamic=False)
        variants["compiled, CUDA graphs"] = partial(pace, mode="reduce-overhead", dynamic=False)
    return variants


def measure_equality(options: argparse.Namespace, clock: Clock) -> dict[str, Any]:
    """Return the largest relative difference between losses on the device and on the CPU, per system."""
    set_tf32(False)
    differences: dict[str, Any] = {}
    for name in options.systems:
        # Devices draw other random numbers: no noisy labels, wrong tags, augmentation, dropout or penalty.
        plain = {"losses.labels": "hard", "losses.wrong_tags": "none", "training.diff_augment": False}
        config = recipe(name, quick=options.quick, **plain)
        torch.manual_seed(0)
        data = random_data(config, "cpu")
        system = make_system(config, data)
        size, images = config.training.batch_size, as_floats(data)
        noise = torch.randn(size, config.generator.noise_dim)
        batch = Batch(images[:size], data.labels[:size], noise, data.tags[:size])
        system.generator.eval()
        system.discriminator.eval()
        system.penalty_scale = 0
        losses = []
        for device in ("cpu", options.device):
            system.generator.to(device)
            system.discriminator.to(device)
            moved = Batch(*(part.to(device) for part in (batch.images, batch.labels, batch.noise, batch.tags)))
            found = [*system.discriminator_losses(moved), system.generator_loss(moved)]
            losses.append([loss.total.item() for loss in found])
        differences[name] = max(abs(a - b) / max(1.0, abs(a)) for a, b in zip(*losses, strict=True))
    return {**differences, "within": TOLERANCE, "equal": all(value <= TOLERANCE for value in differences.values())}


def measure_steps(options: argparse.Namespace, clock: Clock) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in options.systems:
        if clock.is_over:
            return {**found, "left out": f"{name} and those after it: the time was over"}
        found[name] = rates(step_variants(name, options, clock))
    return found


def measure_fused(options: argparse.Namespace, clock: Clock) -> dict[str, Any]:
    config = recipe("dcgan", quick=options.quick)
    updates = 2 if options.quick else 10
    images = updates * config.training.batch_size * config.updates.discriminator_steps

    def pace(name: str, count: int) -> float:
        loops, streams = made[name]
        return count * images / clock.time(lambda: train(loops, streams, images, fused=name == FUSED))

    found: dict[str, Any] = {}
    for count in (2,) if options.quick else (2, 4, 8, 16):
        if clock.is_over:
            break
        made = {name: make_loops(config, count, options.device) for name in (ALONE, FUSED)}
        found[str(count)] = rates({name: partial(pace, name, count) for name in made})
    return found


def measure_processes(options: argparse.Namespace, clock: Clock) -> dict[str, Any]:
    """Return the images a second of one, two and four processes together."""
    words = [sys.executable, "-m", "benchmarks.gpu", "--worker", "--device", options.device]
    found: dict[str, Any] = {}
    for count in (1, 2) if options.quick else (1, 2, 4):
        if clock.is_over:
            break
        started = [
            subprocess.Popen([*words, *(["--quick"] if options.quick else [])], stdout=subprocess.PIPE, text=True)
            for _ in range(count)
        ]
        try:
            found[str(count)] = sum(float(process.communicate(timeout=clock.left)[0]) for process in started)
        finally:
            for process in started:
                process.kill()
    return found


def work(options: argparse.Namespace) -> None:
    """Train for some seconds beside other processes, and print the images a second."""
    config = recipe("acgan", quick=options.quick)
    data = random_data(config, options.device)
    loop, clock = TrainingLoop(make_system(config, data), data, config), Clock(600, options.device)
    train_pace(loop, 2, clock)
    print(train_pace(loop, 4 if options.quick else 200, clock))


def measure_scoring(options: argparse.Namespace, clock: Clock) -> dict[str, Any]:
    count = 16 if options.quick else 4096
    size = 16 if options.quick else 64
    images = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)
    tag_network = TagNetwork(REPORT_VOCABULARY.sizes, width=64, depth=1, looks=2, dropout=0.0).eval().to(options.device)
    members, floats = torch.nn.ModuleList([tag_network]), images.float().div(127.5).sub(1)

    def features(precision: str) -> float:
        extractor = open_extractor("efficientnet", device=options.device, precision=precision)
        return count / clock.time(lambda: extractor(images))

    def classified() -> float:
        return count / clock.time(lambda: log_probabilities(members, floats, size=size, mirror=True))

    return rates({
        "features": partial(features, "float32"), "features, bf16": partial(features, "bf16"),
        "tag classifier": classified,
    })  # fmt: skip


def measure_peaks(options: argparse.Namespace, clock: Clock) -> dict[str, Any]:
    """Return the bytes that packing measures for a trial, in a process of its own, and those that a loop holds here."""
    config = recipe("acgan", quick=options.quick)
    sizes = REPORT_VOCABULARY.sizes
    kind = "cpu" if options.device == "cpu" else "cuda"
    request = {"params": config.to_params(), "sizes": sizes, "device": kind, "precision": "float32"}
    found: dict[str, Any] = {"packing": measure_memory(request)}
    if kind == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_reserved()
        data = random_data(config, options.device)
        TrainingLoop(make_system(config, data), data, config).train_until(10 * config.training.batch_size)
        found["loop"] = torch.cuda.max_memory_reserved() - before
    return found


def measure_sweep(options: argparse.Namespace, clock: Clock) -> dict[str, Any]:
    if options.quick:
        return {"left out": "a sweep is no part of a quick run"}
    output = options.output.with_name(f"{options.output.stem}-sweep")
    words = [sys.executable, "-m", "benchmarks.sweep", "--quick", "--rounds", "1", "--output", str(output)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=clock.left, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or "no message").splitlines()[-1])
    return {"output": done.stdout[-4000:]}


SECTIONS = {
    "equality": measure_equality,
    "steps": measure_steps,
    "fused": measure_fused,
    "processes": measure_processes,
    "scoring": measure_scoring,
    "memory": measure_peaks,
    "sweep": measure_sweep,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--systems", nargs="*", default=SYSTEMS, choices=SYSTEMS)
    parser.add_argument("--quick", action="store_true", help="tiny networks, few updates, no sweep")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path, default=Path("gpu.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.worker:
        work(options)
        return
    name = torch.cuda.get_device_name() if options.device != "cpu" else "cpu"
    clock = Clock(60 * options.minutes, options.device)
    report: dict[str, Any] = {"torch": torch.__version__, "device": name, "quick": options.quick, "complete": False}
    for section, measure in SECTIONS.items():
        if clock.is_over:
            report[section] = {"left out": "the time was over"}
            continue
        began = time.perf_counter()
        try:
            report[section] = measure(options, clock)
        except Exception as error:  # the other sections are worth having
            report[section] = {"error": f"{type(error).__name__}: {first_line(error)}"}
        print(f"{section} ({time.perf_counter() - began:.0f} s): {report[section]}", flush=True)
        write_json(options.output, report)
    report["complete"] = not any({"left out", "error"} & set(report[section]) for section in SECTIONS)
    write_json(options.output, report)


if __name__ == "__main__":
    main()
