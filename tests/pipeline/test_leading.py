"""The best of last scores, against going over all of them."""

from __future__ import annotations

import math
import random

import pytest

from pipeline.leading import SPARE, Leading

WAYS = {"distance": min, "tag_accuracy": max}


def plain(last: dict[str, dict[str, float]], name: str) -> float | None:
    """By going over every trial."""
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
def test_it_is_what_a_recount_finds(seed: int) -> None:
    draw, leading, last = random.Random(seed), Leading(), dict[str, dict[str, float]]()
    for _ in range(400):
        key = str(draw.randrange(draw.choice((3, 30))))
        if draw.random() < 0.3:
            leading.drop(key)
            last.pop(key, None)
        else:
            last[key] = drawn_scores(draw)
            leading.put(key, last[key])
        for name in WAYS:
            assert leading.best(name) == plain(last, name)


def test_by_hand() -> None:
    leading = Leading()
    assert leading.best("distance") is None
    leading.put("a", {"samples": 32.0, "distance": 5.0, "tag_accuracy": 0.5})
    leading.put("b", {"samples": 32.0, "distance": 7.0, "tag_accuracy": 0.75})
    assert (leading.best("distance"), leading.best("tag_accuracy")) == (5.0, 0.75)
    leading.put("a", {"samples": 32.0, "distance": 9.0, "tag_accuracy": 0.5})
    assert leading.best("distance") == 7.0
    leading.put("a", {"samples": 64.0, "distance": 20.0})
    assert (leading.best("distance"), leading.best("tag_accuracy")) == (20.0, None)
    leading.drop("a")
    leading.drop("never put")
    assert (leading.best("distance"), leading.best("tag_accuracy")) == (7.0, 0.75)


def test_outdated_values_do_not_pile_up() -> None:
    leading = Leading()
    for step in range(5000):  # ever worse: what is outdated never comes to the top by itself
        leading.put(str(step % 3), {"distance": float(step), "samples": 32.0})
        assert sum(map(len, leading._heaps.values())) <= 2 * 3 + SPARE
    assert leading.best("distance") == 4997.0
