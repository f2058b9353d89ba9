"""Share of random search's training that other searches need for an equally good configuration.

    python -m benchmarks.anytime [--sweep NAME --home DIR] [--workers 4] [--trials 60] [--recorded 1500]
                                 [--repeats 10] [--output anytime.json]

Without ``--sweep`` the curves are synthetic, with a known truth over the dimensions of `acgan`: the distance falls as a
power of the training towards a level that depends on the configuration, at a speed that depends on the learning rates
(so that curves cross), with noise at every evaluation; one configuration in twenty diverges. Distances at a ninth and a
third of the budget have rank correlations of 0.89 and 0.99 with distances at the end. Correlations of a real sweep may
be lower (0.67 and 0.76 in a short one of synthetic faces), so that early stopping loses more. In the first run, a
search gets the curve of the configuration that it suggests; in the second, as in ``gansweep simulate``, the nearest of
``--recorded`` curves, which shows the effect of snapping. With ``--sweep`` the curves come from a recorded sweep that
stopped no trial. The JSON file, and images beside it, report the share of random search's training that each other
search had used when its best configuration was as good (medians and quartiles over the repeats). Wide networks are
slow: while one trains, other workers use training too, so the share grows with ``--workers``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.mlflow_reader.sweep import load
from benchmarks.large_history import Sampler
from pipeline.settings import SweepSettings
from pipeline.simulate.compare import Plan, compare, to_json
from pipeline.simulate.plot import plot_comparison
from pipeline.simulate.recording import Curve, Point, Recording, recording
from pipeline.simulate.text import format_comparison
from search_spaces.registry import SPACES

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_KIMG, EVERY = 90, 10
SPACE = SPACES["acgan"]
COMBINATIONS = [
    (sampler, scheduler)
    for sampler in ("random", "tpe")
    for scheduler in ("none", "asha", "mo-asha", "hyperband", "median")
]
FAILS = 0.05
NOISE = 0.03
"""Standard deviation of the logarithm of a distance."""


def log_level(params: Mapping[str, Any]) -> float:
    """Return the true logarithm of the distance that a configuration tends to."""
    value: float = 4.0 - 0.25 * math.log2(params["generator.width"] / 64)
    value -= 0.1 * math.log2(params["discriminator.width"] / 64)
    value += 0.06 * math.log2(params["optimizer.generator_lr"] / 4e-4) ** 2
    value += 0.04 * math.log2(params["optimizer.discriminator_lr"] / 2e-4) ** 2
    value += 0.3 * params["generator.oversize"] + 0.1 * (params["generator.final_activation"] == "leaky_relu")
    value += 0.15 * (params["discriminator.conditioning"] == "concat") - 0.1 * (params["training.ema_decay"] > 0)
    return value - 0.05 * math.log2(params["losses.adversarial_weight"])


def accuracy_level(params: Mapping[str, Any]) -> float:
    """Return the true log-odds, at the end, that the tag classifier agrees with the requested tags."""
    if params["discriminator.conditioning"] == "concat":
        return -1.0
    weight: float = 0.6 * math.log2(params["losses.tag_weight"])
    return 0.5 + weight - 1.5 * bool(params["losses.tag_loss_on_fakes"])


def synthetic(trials: int, seed: int) -> Recording:
    """Return curves of random configurations; the first is the recipe."""
    rng = np.random.default_rng(seed)
    drawn = [dict(SPACE.recipe), *(SPACE.sample(Sampler(rng)) for _ in range(trials - 1))]
    curves = tuple(_curve(f"synthetic-{number:05d}", params, rng) for number, params in enumerate(drawn))
    settings = SweepSettings(
        "acgan", Path("none"), "synthetic", trials=trials, max_kimg=MAX_KIMG, eval_kimg=EVERY, scheduler="none"
    )
    return Recording(settings, SPACE, curves)


class Truth:
    """Returns the curve of a suggested configuration."""

    def __init__(self, seed: int) -> None:
        self.space, self.distances = SPACE, list[float]()
        self._rng = np.random.default_rng(seed)
        self._given = itertools.count()

    @property
    def left(self) -> int:
        return 1_000_000

    def take_recipe(self) -> Curve:
        return self.pop_nearest(SPACE.recipe)

    def pop_nearest(self, params: Mapping[str, Any]) -> Curve:
        return _curve(f"synthetic-{next(self._given):05d}", dict(params), self._rng)


def _curve(key: str, params: dict[str, Any], rng: np.random.Generator) -> Curve:
    # Slow learners reach lower distances at the end, so that early and late rankings differ.
    rate = 0.7 + 0.1 * math.log2(params["optimizer.generator_lr"] / 2e-4) + rng.normal(0, 0.1)
    level, odds = log_level(params) + 0.1 * rate, accuracy_level(params)
    a_kimg = 2.0 + 3.0 * (params["generator.width"] / 64) ** 2
    ends = rng.integers(1, 5) * EVERY if rng.random() < FAILS and key != "synthetic-00000" else MAX_KIMG
    points = tuple(
        Point(
            kimg,
            kimg * a_kimg,
            {
                "distance": float(np.exp(level + rng.normal(0, NOISE)) + 300 * (kimg / EVERY) ** -max(0.2, rate)),
                "tag_accuracy": float(1 / (1 + np.exp(-(odds * kimg / MAX_KIMG + rng.normal(0, 0.1))))),
            },
        )
        for kimg in range(EVERY, ends + 1, EVERY)
    )
    return Curve(key, params, points)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweep")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--trials", type=int, help="training budget, as a number of full trials")
    parser.add_argument("--recorded", type=int, default=1500, help="number of synthetic curves")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("anytime.json"))
    options = parser.parse_args()
    if options.sweep:
        recorded = recording(load(options.sweep, home=options.home))
        plan = Plan(options.workers, options.trials or len(recorded.curves) // 4, options.repeats, options.seed)
        comparisons = {options.sweep: compare(recorded, COMBINATIONS, plan)}
    else:
        recorded = synthetic(options.recorded, options.seed)
        plan = Plan(options.workers, options.trials or 60, options.repeats, options.seed)
        comparisons = {
            "synthetic": compare(recorded, COMBINATIONS, plan, source=Truth),
            "synthetic-snapped": compare(recorded, COMBINATIONS, plan),
        }
    for name, comparison in comparisons.items():
        print(format_comparison(comparison, name), end="\n\n")
        plot_comparison(comparison, name, options.output.with_name(f"{options.output.stem}-{name}.png"))
    content = {name: to_json(comparison, name) for name, comparison in comparisons.items()}
    options.output.write_text(json.dumps(content, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
