"""Scores of the systems' recipes after equal CPU time on the same images.

    python -m benchmarks.recipes --data DIR --seconds 600 --seeds 3 --systems acgan cdcgan lightgan
    python -m benchmarks.recipes --data DIR --systems lightgan lightgan,generator.width=64    # another value
    python -m benchmarks.recipes --data DIR --systems r3gan --kimg 48    # equal images, where schedules end
    python -m benchmarks.recipes --data DIR --systems acgan acgan,precision=bf16 --kimg 20    # another arithmetic

Each run trains one recipe in one thread until it has used ``--seconds`` of CPU time, data and scores not counted, and
is then scored like the last evaluation of a trial. With ``--kimg`` it trains for so many images. The table has means
over seeds with 95 % t-intervals, the CPU time per thousand images and, for the last system, the ratio of its mean
distance to the lowest of the others. With two systems, their scores are also compared in pairs of equal seeds. CPU time
varies less with other load of the machine than time does.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.stats import t as student

from search_spaces.registry import find_space
from trainables.config import GanConfig
from trainables.data.dataset import load_folder
from trainables.data.duplicates import near_duplicate_groups
from trainables.data.tags import combinations
from trainables.scoring.extractors.registry import ExtractorChoice
from trainables.scoring.scorer import make_scorer
from trainables.scoring.tag_classifier.classifier import cached_tag_classifier
from trainables.storage.storage import Storage
from trainables.systems.build import build_system
from trainables.training.inputs import training_data
from trainables.training.loop import CHECK_EVERY, Diverged, TrainingLoop
from trainables.trial.context import Evaluation, TrialContext
from trainables.trial.evaluator import Evaluator

if TYPE_CHECKING:
    from trainables.config import Precision
    from trainables.data.dataset import TaggedImages

SCORES = ("distance", "tag_accuracy", "coverage")


def load_context(options: argparse.Namespace, cache: Path) -> TrialContext:
    """Return the images and what scores generators on them."""
    images = load_folder(options.data, options.size, cache=cache)
    complete = slice(0, images.complete)
    groups = near_duplicate_groups(images.pixels[complete], padded=False)
    tag_classifier = cached_tag_classifier(
        cache, images.fingerprint, images.pixels[complete], images.labels[complete], images.vocabulary, groups=groups
    )
    scorer, _ = make_scorer(
        images, tag_classifier, extractor=ExtractorChoice("efficientnet"), samples=options.samples, seed=0,
        cache=cache, groups=groups,
    )  # fmt: skip
    return TrialContext(images, scorer, (Evaluation(1, options.samples),))


def train(
    config: GanConfig, images: TaggedImages, options: argparse.Namespace, seed: int, precision: Precision
) -> TrainingLoop:
    """Train a configuration for ``--kimg``, or until the process has used ``--seconds`` of CPU time."""
    torch.manual_seed(seed)
    complete = images.labels[: images.complete]
    pairs = combinations(complete) if config.tags.encoding == "pairs" else ()
    system = build_system(config, images.vocabulary.sizes, pairs=pairs, precision=precision)
    budget = int(options.kimg * 1000) if options.kimg else None
    loop = TrainingLoop(system, training_data(config, images, "cpu"), config, budget)
    if budget:
        loop.train_until(budget)
        return loop
    began = time.process_time()
    while time.process_time() - began < options.seconds:
        loop.train_until(loop.images_seen + CHECK_EVERY * loop.images_per_update)
    return loop


def run(name: str, context: TrialContext, options: argparse.Namespace, seed: int, output: Path) -> dict[str, Any]:
    """Train and score a recipe, with other values after commas; a run that diverges has no scores."""
    space, *changes = name.split(",")
    changed = dict(change.split("=", 1) for change in changes)
    precision: Any = changed.pop("precision", "float32")
    config = GanConfig.from_params({**find_space(space).recipe, "image_size": options.size, **changed})
    row: dict[str, Any] = {"system": name, "seed": seed}
    began = time.process_time()
    try:
        loop = train(config, context.images, options, seed, precision)
    except Diverged as reason:
        return {**row, "diverged": str(reason)}
    cpu = time.process_time() - began
    evaluator = Evaluator(context, config, loop.average, Storage(str(output.resolve() / f"{name}-{seed}")))
    evaluator.recalibrate()
    scores = evaluator.score(options.samples)
    kimg = loop.images_seen // 1000
    evaluator.write_images(kimg, scores.tags, done=False)
    row |= {"kimg": kimg, "cpu_seconds": round(cpu, 1)}
    return {**row, **{key: scores.values[key] for key in SCORES if key in scores.values}}


def interval(values: list[float]) -> str:
    """Return mean and half width of the 95 % t-interval; the mean alone for one value."""
    mean = f"{np.mean(values):.3f}" if max(values) < 10 else f"{np.mean(values):,.0f}"
    if len(values) < 2:
        return mean
    half = student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return f"{mean} +- {half:.3f}" if max(values) < 10 else f"{mean} +- {half:,.0f}"


def print_table(rows: list[dict[str, Any]], systems: list[str]) -> None:
    """Print one line per system, and the ratio of the last system's mean distance to the best of the others."""
    wide = max(16, *map(len, systems))
    print(f"{'system':{wide}} {'runs':>4} {'kimg':>6} {'s/kimg':>7}" + "".join(f" {score:>18}" for score in SCORES))
    means = {}
    for name in systems:
        own = [row for row in rows if row["system"] == name and "distance" in row]
        scores = ([row[score] for row in own if score in row] for score in SCORES)
        cells = [interval(values) if values else "" if own else "diverged" for values in scores]
        if own:
            means[name] = float(np.mean([row["distance"] for row in own]))
        kimg, cpu = (np.mean([row[key] for row in own]) if own else 0 for key in ("kimg", "cpu_seconds"))
        print(
            f"{name:{wide}} {len(own):4} {kimg:6.0f} {cpu / max(kimg, 1):7.2f}"
            + "".join(f" {cell:>18}" for cell in cells)
        )
    if len(means) > 1 and systems[-1] in means:
        best = min((name for name in means if name != systems[-1]), key=means.__getitem__)
        print(f"{systems[-1]} has {means[systems[-1]] / means[best]:.3f} of the mean distance of {best}")
    if len(systems) == 2:
        print_pairs(rows, systems)


def print_pairs(rows: list[dict[str, Any]], systems: list[str]) -> None:
    """Print the differences of two systems' scores on equal seeds, as shares of the first one's mean."""
    for score in SCORES:
        one, other = (
            {row["seed"]: row[score] for row in rows if row["system"] == name and score in row} for name in systems
        )
        seeds = sorted(one.keys() & other.keys())
        if len(seeds) > 1 and (mean := np.mean([one[seed] for seed in seeds])):
            differences = [float((other[seed] - one[seed]) / mean) for seed in seeds]
            print(f"{score}: {systems[1]} less {systems[0]}, {len(seeds)} pairs: {interval(differences)} of the mean")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=600, help="CPU seconds of training per run")
    parser.add_argument("--kimg", type=float, help="thousands of images per run, rather than --seconds")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--systems", nargs="*", default=["acgan", "lightgan"], help="NAME or NAME,PARAMETER=VALUE,...")
    parser.add_argument("--cache", type=Path, help="folder that keeps data and tag classifier; default: not kept")
    parser.add_argument("-o", "--output", type=Path, help="folder for sample grids and scores.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        context = load_context(options, options.cache or Path(scratch))
        rows = []
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            for name in options.systems:
                rows.append(run(name, context, options, seed, options.output or Path(scratch)))
                print(json.dumps(rows[-1]), flush=True)
    print_table(rows, options.systems)
    if options.output:
        (options.output / "scores.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
