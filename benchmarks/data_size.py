"""Large data: time and memory of `data inspect` and of a sweep, first and again, and training from disk and memory.

    python -m benchmarks.data_size [-n 200000] [--limit 4] [--extractor FILE] [--no-sweep] [-o data_size.json]

Draws class folders of small synthetic images, or takes a folder. The commands run in a control group with a limit of
``--limit`` GiB, where this machine lets one be made (cgroup 1 or 2, as root); else only their memory is measured:
what they allocate, without the page cache, which the kernel takes back. ``inspect`` decodes, caches and looks for
near-duplicates; the sweep is one short trial of ``dcgan``, which needs no tag classifier. At last, training steps with
``--pixels disk`` and ``--pixels memory`` are timed in turns, and their ratios are reported. Run it from the
repository's root on an idle machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import torch
from PIL import Image

from search_spaces.registry import SPACES
from trainables.config import GanConfig
from trainables.data.dataset import load_folder
from trainables.storage.atomic import write_json
from trainables.systems.build import build_system
from trainables.training.inputs import training_data
from trainables.training.loop import TrainingLoop

if TYPE_CHECKING:
    from trainables.config import PixelPlace
    from trainables.data.dataset import TaggedImages

GIB = 2**30
COLOURS = {
    "red": (220, 30, 30), "green": (30, 180, 40), "blue": (40, 60, 220), "yellow": (230, 220, 40),
    "cyan": (40, 210, 220), "purple": (140, 40, 180), "orange": (240, 140, 30), "brown": (120, 80, 40),
}  # fmt: skip
EVERY = 0.2
"""Seconds between two looks at the memory."""
GROUPS = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "total_rss"),
    (Path("/sys/fs/cgroup"), "memory.max", "anon"),
)
"""Cgroup 1 and 2: where groups are made, the file of the limit, and the name of allocated memory in ``memory.stat``."""


def draw_shapes(folder: Path, count: int, size: int) -> None:
    """Draw a disc or a square of a class's colour on smooth noise, each in the folder of its class."""
    random, names = np.random.default_rng(0), list(COLOURS)
    for name in names:
        (folder / name).mkdir(parents=True)
    down, right = np.mgrid[:size, :size]
    for number in range(count):
        noise = Image.fromarray(random.integers(0, 256, (7, 7, 3), dtype=np.uint8))
        pixels = np.array(noise.resize((size, size), Image.Resampling.BICUBIC))
        name, (y, x), radius = (
            names[random.integers(len(names))],
            random.uniform(0.25, 0.75, 2),
            random.uniform(0.2, 0.3),
        )
        across, along = np.abs(down / size - y), np.abs(right / size - x)
        shape = np.hypot(across, along) if random.random() < 0.5 else np.maximum(across, along)
        pixels[shape < radius] = np.clip(np.array(COLOURS[name]) + random.integers(-20, 21, 3), 0, 255)
        Image.fromarray(pixels).save(folder / name / f"{number}.png", compress_level=1)


@dataclasses.dataclass
class Group:
    """A control group with a limit, or nothing where none can be made."""

    folder: Path | None
    counter: str = ""

    @classmethod
    def make(cls, limit: int) -> Group:
        for root, name, counter in GROUPS:
            folder = root / f"gansweep-{os.getpid()}"
            try:
                folder.mkdir()
                (folder / name).write_text(str(limit))
            except OSError:
                continue
            return cls(folder, counter)
        return cls(None)

    def command(self, words: list[str]) -> list[str]:
        """Return a command that runs ``words`` in the group."""
        if self.folder is None:
            return words
        return ["sh", "-c", f'echo $$ > {self.folder}/cgroup.procs; exec "$@"', "sh", *words]

    def allocated(self, process: psutil.Process) -> int:
        """Return the bytes that a process and its children have allocated."""
        if self.folder is not None:
            lines = (self.folder / "memory.stat").read_text().split("\n")
            return int(dict(line.split() for line in lines if line)[self.counter])
        total = 0
        for one in (process, *process.children(recursive=True)):
            try:
                total += one.memory_full_info().uss
            except psutil.Error:
                continue
        return total

    def remove(self) -> None:
        """Remove the group; processes that end late may hold it for a moment."""
        for _ in range(50):
            try:
                if self.folder is not None:
                    self.folder.rmdir()
                return
            except OSError:
                time.sleep(0.2)


def run_limited(words: list[str], limit: int, home: Path) -> dict[str, Any]:
    """Run a command; return its exit code, seconds, the most memory that it allocated, and its last line."""
    group, most, began = Group.make(limit), 0, time.perf_counter()
    environment = {**os.environ, "GANSWEEP_HOME": str(home)}
    process = subprocess.Popen(
        group.command([sys.executable, "-m", "pipeline.cli.main", *words]), env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    printed: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=lambda stream: printed.extend(stream), args=(process.stdout,), daemon=True)
    reader.start()
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            most = max(most, group.allocated(watched))
        except psutil.Error:
            break
        time.sleep(EVERY)
    code, seconds = process.wait(), time.perf_counter() - began
    reader.join(10)
    limited = group.folder is not None
    group.remove()
    shown = [line.rstrip() for line in printed if line.strip()]
    return {"exit": code, "seconds": seconds, "gib": most / GIB, "limited": limited, "printed": shown[-12:]}


def seconds_of_start(folder: Path, size: int, cache: Path) -> float:
    """Time the part of a start that finds the images: their labels, and the map of their pixels."""
    began = time.perf_counter()
    load_folder(folder, size, cache=cache)
    return time.perf_counter() - began


def compare_places(images: TaggedImages, rounds: int, seconds: float) -> dict[str, float]:
    """Time training steps from disk and from memory in turns; return medians of images per second and of the ratio."""
    changes = {"generator.width": 16, "discriminator.width": 16, "training.batch_size": 64}
    config = GanConfig.from_params({**SPACES["dcgan"].recipe, **images.shape_params, **changes})
    in_memory = dataclasses.replace(images, pixels=np.array(images.pixels))
    data: dict[PixelPlace, TaggedImages] = {"disk": images, "memory": in_memory}
    loops = {}
    for place, held in data.items():
        torch.manual_seed(0)
        system = build_system(config, images.vocabulary.sizes)
        loops[place] = TrainingLoop(system, training_data(config, held, "cpu", place), config)
        loops[place].train_until(256)
    paces: dict[str, list[float]] = {"disk": [], "memory": []}
    for turn in range(rounds):
        for place in sorted(loops, reverse=bool(turn % 2)):
            loop, began = loops[place], time.process_time()
            before = loop.images_seen
            while time.process_time() - began < seconds:
                loop.train_until(loop.images_seen + 640)
            paces[place].append((loop.images_seen - before) / (time.process_time() - began))
    ratios = [disk / memory for disk, memory in zip(paces["disk"], paces["memory"], strict=True)]
    medians = {place: statistics.median(values) for place, values in paces.items()}
    return {**medians, "ratio": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--images", type=int, default=200_000)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--limit", type=float, default=4.0, help="GiB")
    parser.add_argument("--data", type=Path, help="folder of tagged images; default: synthetic shapes")
    parser.add_argument("--scratch", type=Path, help="where images and home are written; default: a temporary folder")
    parser.add_argument("--extractor", default="efficientnet", help="of the sweep; features take long")
    parser.add_argument("--no-sweep", action="store_true", help="leave the sweep out")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each turn of training")
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        folder, home = options.data or Path(scratch) / "shapes", Path(scratch) / "home"
        home.mkdir()
        if not options.data:
            draw_shapes(folder, options.images, options.size)
        words = [str(folder), "--image-size", str(options.size)]
        sweep = ["run", "dcgan", "--data", *words, "--trials", "1", "--max-kimg", "2", "--pixels", "disk"]
        sweep += ["--samples", "512", "--rung-samples", "256", "--concurrent", "1", "--extractor", options.extractor]
        commands = {"inspect": ["data", "inspect", *words], "inspect again": ["data", "inspect", *words]}
        if not options.no_sweep:
            commands |= {"run": [*sweep, "--name", "first"], "run again": [*sweep, "--name", "second"]}
        report: dict[str, Any] = {"size": options.size, "limit_gib": options.limit}
        for name, command in commands.items():
            report[name] = run_limited(command, int(options.limit * GIB), home)
            shown = {**report[name], "printed": report[name]["printed"] if report[name]["exit"] else "..."}
            print(f"{name}: {json.dumps(shown)}", flush=True)
        report["start"] = min(seconds_of_start(folder, options.size, home / "cache") for _ in range(3))
        images = load_folder(folder, options.size, cache=home / "cache")
        report["images"] = len(images)
        print(f"{len(images):,} images found again in {report['start']:.2f} s", flush=True)
        report["pace"] = compare_places(images, options.rounds, options.seconds)
        line = "disk {disk:,.0f}, memory {memory:,.0f} images/s; ratio {ratio:.3f} ({lowest:.3f} to {highest:.3f})"
        print(line.format(**report["pace"]))
    if options.output:
        write_json(options.output, report)


if __name__ == "__main__":
    main()
