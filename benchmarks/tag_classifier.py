"""Cost and accuracy of the tag classifier that a sweep trains before its first score.

    python -m benchmarks.tag_classifier --data DIR --size 32 --threads 2
    python -m benchmarks.tag_classifier --data DIR --set epochs=24 --set width=64    # another recipe
    python -m benchmarks.tag_classifier --data DIR --profile                         # operators by their own CPU time

Prints wall and CPU seconds of training, the held-out accuracies with 95 % intervals, and the number of images seen.
CPU seconds count every thread, so they can be compared between machines with different loads; with several threads on a
busy machine they include the time for which threads wait for each other.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import resource
import time
from pathlib import Path
from typing import Any

import torch

from trainables.data.dataset import load_folder
from trainables.data.duplicates import near_duplicate_groups
from trainables.scoring.tag_classifier.classifier import TagClassifierSettings, train_tag_classifier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of tagged images")
    parser.add_argument("--size", type=int, default=32, help="side in pixels")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=Path, help="folder for decoded pixels; default: none are kept")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="a classifier setting")
    parser.add_argument("--profile", action="store_true", help="print the most expensive operators; slows training")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    settings = settings_with(options.set)
    images = load_folder(options.data, options.size, cache=options.cache)
    pixels, labels = images.pixels[: images.complete], images.labels[: images.complete]
    groups = near_duplicate_groups(images.pixels)[: images.complete]

    profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], acc_events=False)
    with profiler if options.profile else contextlib.nullcontext():
        wall, cpu = time.monotonic(), cpu_seconds()
        classifier = train_tag_classifier(pixels, labels, images.vocabulary, groups=groups, settings=settings)
        wall, cpu = time.monotonic() - wall, cpu_seconds() - cpu
    report = classifier.report
    result: dict[str, Any] = {
        "set": options.set,
        "threads": options.threads,
        "trained_on": report.trained_on,
        "held_out": report.held_out,
        "kimg": settings.steps(report.trained_on) * min(settings.batch_size, report.trained_on) / 1000,
        "wall_seconds": round(wall, 1),
        "cpu_seconds": round(cpu, 1),
        "accuracy": report.accuracy,
        "intervals": report.intervals,
    }
    print(json.dumps(result), flush=True)
    if options.profile:
        print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=20))


def settings_with(changes: list[str]) -> TagClassifierSettings:
    """Return the default settings with ``FIELD=VALUE`` changes."""
    pairs = dict(change.split("=", 1) for change in changes)
    return dataclasses.replace(TagClassifierSettings(), **{name: json.loads(text) for name, text in pairs.items()})


def cpu_seconds() -> float:
    """Return the user and system seconds that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
