from __future__ import annotations

import json

from pipeline.tracking.trial_timeline import KEPT, TrialTimeline


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_slots_are_the_lowest_free_ones() -> None:
    clock = Clock()
    found = TrialTimeline({}, clock)
    for key in ("a", "b", "c"):
        found.start(key)
    clock.now = 1010.0
    found.end("b")
    found.start("d")
    found.seen("d", "node-1")
    clock.now = 1020.0
    found.end("d")
    assert json.loads(found.to_json("b")) == [{"node": "", "slot": 1, "start": 1000.0, "end": 1010.0}]
    assert json.loads(found.to_json("d")) == [{"node": "node-1", "slot": 1, "start": 1010.0, "end": 1020.0}]
    assert json.loads(found.to_json("c"))[0] == {"node": "", "slot": 2, "start": 1000.0, "end": None}
    assert found.to_json("never seen") == "[]"


def test_a_continued_trial_has_another_stretch() -> None:
    clock = Clock()
    earlier = [{"node": "n", "slot": 3, "start": 10.0, "end": 20.0}]
    found = TrialTimeline({"a": json.dumps(earlier), "b": None, "c": "no JSON", "d": "3"}, clock)
    for key in "abcd":
        found.start(key)
        found.start(key)  # heard of twice
    assert json.loads(found.to_json("a")) == [*earlier, {"node": "", "slot": 0, "start": 1000.0, "end": None}]
    assert [len(json.loads(found.to_json(key))) for key in "bcd"] == [1, 1, 1]


def test_the_tag_stays_short() -> None:
    found = TrialTimeline({}, Clock())
    for _ in range(200):
        found.start("a")
        found.seen("a", "n" * 300)
        found.end("a")
    found.end("a")
    assert len(json.loads(found.to_json("a"))) == KEPT
    assert len(found.to_json("a")) < 5000
