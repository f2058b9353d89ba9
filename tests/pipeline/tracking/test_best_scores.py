"""The best of last scores, against going over all of them."""

from __future__ import annotations

import math
import random

import pytest

from pipeline.tracking.best_scores import BestScores

WAYS = {"distance": min, "tag_accuracy": max}


def recount(last: dict[str, dict[str, float]], name: str) -> float | None:
    """Compare all trials."""
    most = max((scores.get("samples", 0.0) for scores in last.values()), default=0.0)
    values = [scores[name] for scores in last.values() if name in scores and scores.get("samples", 0.0) == most]
    return WAYS[name]([value for value in values if not math.isnan(value)], default=None)


def drawn_scores(draw: random.Random) -> dict[str, float]:
    """Few values, so that many are equal; now and then one is missing or not a number."""
    scores = {"distance": float(draw.randrange(8)), "tag_accuracy": draw.randrange(5) / 4}
    scores |= {name: draw.choice((math.nan, math.inf)) for name in WAYS if draw.random() < 0.05}
    scores["samples"] = float(draw.choice((32, 32, 32, 64, 128)))
    return {name: value for name, value in scores.items() if draw.random() < 0.9}


@pytest.mark.parametrize("seed", range(20))
def test_equals_a_recount(seed: int) -> None:
    draw, best_scores, last = random.Random(seed), BestScores(), dict[str, dict[str, float]]()
    for _ in range(400):
        key = str(draw.randrange(draw.choice((3, 30))))
        if draw.random() < 0.3:
            best_scores.drop(key)
            last.pop(key, None)
        else:
            last[key] = drawn_scores(draw)
            best_scores.put(key, last[key])
        for name in WAYS:
            assert best_scores.best(name) == recount(last, name)


def test_by_hand() -> None:
    best_scores = BestScores()
    assert best_scores.best("distance") is None
    best_scores.put("a", {"samples": 32.0, "distance": 5.0, "tag_accuracy": 0.5})
    best_scores.put("b", {"samples": 32.0, "distance": 7.0, "tag_accuracy": 0.75})
    assert (best_scores.best("distance"), best_scores.best("tag_accuracy")) == (5.0, 0.75)
    best_scores.put("a", {"samples": 32.0, "distance": 9.0, "tag_accuracy": 0.5})
    assert best_scores.best("distance") == 7.0
    best_scores.put("a", {"samples": 64.0, "distance": 20.0})
    assert (best_scores.best("distance"), best_scores.best("tag_accuracy")) == (20.0, None)
    best_scores.drop("a")
    best_scores.drop("never put")
    assert (best_scores.best("distance"), best_scores.best("tag_accuracy")) == (7.0, 0.75)
