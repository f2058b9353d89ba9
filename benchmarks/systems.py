"""Training throughput of every system's recipe: ``python benchmarks/systems.py --size 32 --width 32``.

The recipes run in turns, so that load on the machine affects all of them alike; the table has medians over rounds.
Images are real images shown to the discriminator, as everywhere in gansweep: a recipe with several D steps per G step
uses more images per G step.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from search_spaces.registry import SPACES
from trainables.config import GanConfig
from trainables.data.tags import REPORT_VOCABULARY, combinations
from trainables.networks.blocks import count_parameters
from trainables.systems.build import build_system
from trainables.training.loop import TrainingData, TrainingLoop

SYSTEMS = tuple(name for name in SPACES if not name.startswith("anything"))


def make_loop(name: str, size: int, width: int | None, blocks: int | None) -> TrainingLoop:
    """Return the loop of a recipe on noise images with random tags of the reports, or with two domains."""
    params = {**SPACES[name].recipe, "image_size": size}
    if width:
        params |= {"generator.width": width, "discriminator.width": width}
    if blocks:
        params["generator.blocks"] = blocks
    config = GanConfig.from_params(params)
    sizes = (2,) if name == "cyclegan" else REPORT_VOCABULARY.sizes
    labels = torch.stack([torch.randint(count, (512,)) for count in sizes], 1)
    pairs = combinations(labels.numpy()) if config.tags.encoding == "pairs" else ()
    images = torch.randint(0, 256, (512, size, size, 3), dtype=torch.uint8)
    domains = tuple((labels[:, 0] == label).nonzero()[:, 0] for label in range(2)) if name == "cyclegan" else ()
    data = TrainingData(images, labels, labels, domains)
    return TrainingLoop(build_system(config, sizes, pairs=pairs), data, config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--width", type=int, help="width of both networks; default: each recipe's own")
    parser.add_argument("--blocks", type=int, help="residual blocks of B's generator; default: the recipe's")
    parser.add_argument("--images", type=int, default=512, help="real images per round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--systems", nargs="*", default=SYSTEMS, choices=SYSTEMS)
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    loops = {name: make_loop(name, options.size, options.width, options.blocks) for name in options.systems}
    speeds: dict[str, list[float]] = {name: [] for name in loops}
    for loop in loops.values():
        loop.train_until(loop.config.training.batch_size)  # the first step allocates memory
    for _ in range(options.rounds):
        for name, loop in loops.items():
            before, began = loop.images_seen, time.perf_counter()
            loop.train_until(before + options.images)
            speeds[name].append((loop.images_seen - before) / (time.perf_counter() - began))
    rows = {
        name: {
            "generator": count_parameters(loop.system.generator),
            "discriminator": count_parameters(loop.system.discriminator),
            "images_per_second": statistics.median(speeds[name]),
        }
        for name, loop in loops.items()
    }
    print(f"{options.size} px, {options.threads} thread(s), medians of {options.rounds} rounds")
    print(f"{'system':16} {'G parameters':>14} {'D parameters':>14} {'images/s':>9}")
    for name, row in rows.items():
        print(f"{name:16} {row['generator']:14,} {row['discriminator']:14,} {row['images_per_second']:9.0f}")
    if options.output:
        options.output.write_text(json.dumps({"options": vars(options) | {"output": None}, "systems": rows}, indent=1))


if __name__ == "__main__":
    main()
