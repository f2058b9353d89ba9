"""What the winner's rule and the scheduler choose on a recorded sweep, beside the lowest distance alone.

    python -m benchmarks.winner [NAME] [--home DIR] [--workers 2] [--orders 100] [--seed 0] [--output winner.json]

The sweep must have run with ``--scheduler none``, so that the whole curve of every trial is known. Without a name, the
curves are 30 synthetic ones of ``benchmarks.synthetic_curves``. First, all recorded trials compete: the one with the
lowest distance, and the winner of the rule. Then the recorded trials are replayed in
``--orders`` random orders (the baseline recipe first, as in a sweep) on ``--workers`` worker slots through ``none``,
``asha`` and ``mo-asha``, and both choices are made among the trials that complete. Printed are how often each trial is
kept to its end; medians and quartiles of the choices over the orders; the training spent, as a share of that without
stopping; and how many trials complete, in all and among those that reach the floor of the rule.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis import schema
from analysis.mlflow_reader.sweep import load
from analysis.ranking.sweep_rule import expected_accuracy
from analysis.ranking.winner import Expected, make_rule
from benchmarks.synthetic_curves import synthetic
from pipeline.schedulers import RULES
from pipeline.schedulers.evaluation_schedule import resolve_budget
from pipeline.simulate.compare import Spread
from pipeline.simulate.recording import recording
from pipeline.simulate.simulator import Limits, simulate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analysis.ranking.winner import Rule
    from pipeline.simulate.recording import Curve, Recording
    from pipeline.simulate.simulator import FinishedTrial

SCHEDULERS = ("none", "asha", "mo-asha")
SYNTHETIC = 30
"""Number of synthetic curves."""
DISTANCE_ALONE, BY_RULE = "lowest distance", "rule"


@dataclass
class Replay:
    """Suggests the recorded trials in one order; their number in the simulation is their place in it."""

    order: Sequence[Curve]
    place: int = 0

    def suggest(self) -> Curve | None:
        """Return the next trial."""
        self.place += 1
        return self.order[self.place - 1] if self.place <= len(self.order) else None

    def record_end(self, curve: Curve, ended: FinishedTrial) -> None:
        """Nothing depends on how a trial ends."""


@dataclass(frozen=True)
class Outcome:
    """One replay: the trials that completed, with their scores, and the training of all."""

    complete: Mapping[str, Mapping[str, float]]
    kimg: float


def replay(recorded: Recording, scheduler: str, order: Sequence[Curve], workers: int) -> Outcome:
    """Replay the recorded trials in an order through a scheduler."""
    budget = recorded.settings.max_kimg
    rule = RULES[scheduler](resolve_budget(recorded.settings).rungs, budget)
    course = simulate(Replay(order), rule, Limits(workers, budget), "replayed")
    complete = {order[one.number].key: one.scores for one in course.ended if one.status == schema.COMPLETE}
    return Outcome(complete, course.used_kimg)


def rule_of(complete: Mapping[str, Mapping[str, float]], expected: Expected) -> Rule:
    """Return the winner's rule for complete trials."""
    return make_rule({key: scores.get(schema.TAG_ACCURACY, math.nan) for key, scores in complete.items()}, expected)


def choose(complete: Mapping[str, Mapping[str, float]], expected: Expected) -> dict[str, str]:
    """Return the winner among complete trials by the lowest distance and by the rule."""
    ordered = sorted(complete, key=lambda key: complete[key][schema.DISTANCE])
    return {DISTANCE_ALONE: ordered[0], BY_RULE: rule_of(complete, expected).choose(ordered) or ordered[0]}


def measure(recorded: Recording, expected: Expected, workers: int, orders: int, seed: int) -> list[dict[str, Any]]:
    """Return a row per scheduler and choice."""
    rng = np.random.default_rng(seed)
    recipe, *others = recorded.curves
    shuffled = [[recipe, *(others[place] for place in rng.permutation(len(others)))] for _ in range(orders)]
    whole = replay(recorded, "none", recorded.curves, workers)
    passing, winner = rule_of(whole.complete, expected).passing, choose(whole.complete, expected)[BY_RULE]
    rows = []
    for scheduler in SCHEDULERS:
        outcomes = [replay(recorded, scheduler, order, workers) for order in shuffled]
        kept = {key: float(np.mean([key in outcome.complete for outcome in outcomes])) for key in whole.complete}
        chosen = [choose(outcome.complete, expected) for outcome in outcomes]
        for choice in (DISTANCE_ALONE, BY_RULE):
            scores = [outcome.complete[keys[choice]] for outcome, keys in zip(outcomes, chosen, strict=True)]
            rows.append(
                {
                    "scheduler": scheduler,
                    "choice": choice,
                    **{name: Spread.of([one[name] for one in scores]).to_json() for name in schema.OBJECTIVES},
                    "training": float(np.mean([outcome.kimg for outcome in outcomes])) / whole.kimg,
                    "complete": float(np.mean([len(outcome.complete) for outcome in outcomes])),
                    "following": float(np.mean([len(passing & set(one.complete)) for one in outcomes])),
                    "winner_chosen": float(np.mean([keys[choice] == winner for keys in chosen])),
                    "kept": kept,
                }
            )
    return rows


def format_trials(recorded: Recording, expected: Expected, rows: Sequence[Mapping[str, Any]]) -> str:
    """Format every complete trial with its scores and how often each scheduler keeps it to its end, and the rule."""
    complete, kept = (
        replay(recorded, "none", recorded.curves, 1).complete,
        {row["scheduler"]: row["kept"] for row in rows},
    )
    rule, chosen = rule_of(complete, expected), choose(complete, expected)
    lines = ["trial             distance  tag accuracy  follows  asha keeps  mo-asha keeps"]
    for key in sorted(complete, key=lambda key: complete[key][schema.DISTANCE]):
        distance, accuracy = (complete[key][name] for name in schema.OBJECTIVES)
        shares = "  ".join(f"{kept[name][key]:>{width}.0%}" for name, width in (("asha", 10), ("mo-asha", 13)))
        marks = ", ".join(name for name, winner in chosen.items() if winner == key)
        marks += " recipe" * (key == recorded.curves[0].key)
        follows = "yes" if key in rule.passing else "no"
        lines.append(f"{key:16}  {distance:8.0f}  {accuracy:12.1%}  {follows:>7}  {shares}  {marks}".rstrip())
    return "\n".join([*lines, "", f"the rule: {rule.words}"])


def format_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """Format the choices by scheduler."""
    names = ("scheduler", "choice", "distance [quartiles]", "tag accuracy [quartiles]")
    head = (*names, "training", "complete", "following", "overall winner")
    table = [head]
    for row in rows:
        distance, accuracy = row["distance"], row["tag_accuracy"]
        table.append(
            (
                row["scheduler"],
                row["choice"],
                f"{distance['median']:.0f} [{distance['low']:.0f}, {distance['high']:.0f}]",
                f"{accuracy['median']:.1%} [{accuracy['low']:.1%}, {accuracy['high']:.1%}]",
                f"{row['training']:.0%}",
                f"{row['complete']:.1f}",
                f"{row['following']:.1f}",
                f"{row['winner_chosen']:.0%}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in table)


def main() -> None:
    """Read a recorded sweep, replay it, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--orders", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.name:
        sweep = load(options.name, home=options.home)
        recorded, expected = recording(sweep), expected_accuracy(sweep.data)
    else:
        recorded, expected = synthetic(SYNTHETIC, options.seed), Expected()
    rows = measure(recorded, expected, options.workers, options.orders, options.seed)
    print(f"{format_trials(recorded, expected, rows)}\n\n{format_rows(rows)}")
    if options.output is not None:
        options.output.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
