"""Images per second of trials trained as one batched program, and one after the other.

    python -m benchmarks.fused [--quick] [--system dcgan] [--width 16] [--size 32] [--device cpu] [-o fused.json]

K loops of one recipe with different seeds are trained for some updates, together and one by one, in turns; the table
has medians over rounds. On a CPU, one thread is used and process time is measured. Two cores are better used by two
processes; fusing is for devices that small networks leave idle. Run it from the repository's root.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.steps import SYSTEMS, make_system, random_data
from search_spaces.registry import SPACES
from trainables.config import GanConfig
from trainables.fused.fused_loop import FusedLoop, TrainingSegment
from trainables.fused.rng_streams import RngStream
from trainables.storage.atomic import write_json
from trainables.training.loop import TrainingLoop

ALONE, FUSED = "one after another", "fused"


def make_loops(config: GanConfig, count: int, device: str) -> tuple[list[TrainingLoop], list[RngStream]]:
    loops, streams = [], []
    for seed in range(count):
        torch.manual_seed(seed)
        data = random_data(config, device)
        loops.append(TrainingLoop(make_system(config, data), data, config))
        streams.append(RngStream(loops[-1].device))
    return loops, streams


def train(loops: list[TrainingLoop], streams: list[RngStream], images: int, *, fused: bool) -> None:
    until = loops[0].images_seen + images
    if fused:
        segments = [TrainingSegment(loop, stream, until) for loop, stream in zip(loops, streams, strict=True)]
        while segments:
            ended = FusedLoop(segments).train()
            for outcome in ended.values():
                if isinstance(outcome, Exception):
                    raise outcome
            segments = [segment for place, segment in enumerate(segments) if place not in ended]
        return
    for loop, stream in zip(loops, streams, strict=True):
        with stream.active():
            loop.train_until(until)


def measure(config: GanConfig, count: int, options: argparse.Namespace) -> dict[str, float]:
    """Return the images per second of all trials together, median over rounds."""
    paces: dict[str, list[float]] = {ALONE: [], FUSED: []}
    parties = {name: make_loops(config, count, options.device) for name in paces}
    images = options.updates * config.training.batch_size * config.updates.discriminator_steps
    clock = time.process_time if options.device == "cpu" else time.perf_counter
    for turn in range(options.rounds + 1):  # the first round allocates memory
        for name, (loops, streams) in parties.items():
            began = clock()
            train(loops, streams, images, fused=name == FUSED)  # ends by reading figures back from the device
            if turn:
                paces[name].append(count * images / (clock() - began))
    return {name: statistics.median(values) for name, values in paces.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="K = 1, 2 and 4, few updates")
    parser.add_argument("--system", default="dcgan", choices=SYSTEMS)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--updates", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    options = parser.parse_args()
    if options.quick:
        options.updates, options.rounds = 3, 3
    torch.set_num_threads(1)
    config = GanConfig.from_params({
        **SPACES[options.system].recipe, "image_size": options.size, "training.batch_size": options.batch,
        "generator.width": options.width, "discriminator.width": options.width,
    })  # fmt: skip
    report: dict[str, Any] = {"system": options.system, "size": options.size, "width": options.width, "trials": {}}
    report |= {"batch": options.batch, "device": options.device, "torch": torch.__version__}
    print(f"{options.system}, {options.size} px, width {options.width}, batches of {options.batch}, {options.device}")
    print(f"{'trials':>6}{ALONE:>20}{FUSED:>12}{'ratio':>8}   images/s of all trials together")
    for count in (1, 2, 4) if options.quick else (1, 2, 4, 8):
        rates = measure(config, count, options)
        report["trials"][str(count)] = rates
        ratio = rates[FUSED] / rates[ALONE]
        print(f"{count:6}{rates[ALONE]:20,.0f}{rates[FUSED]:12,.0f}{ratio:8.2f}", flush=True)
    if options.output:
        write_json(options.output, report)


if __name__ == "__main__":
    main()
