"""Budgets, filters and several sweeps in one ranking."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from analysis.errors import AnalysisError, AnalysisUsageError
from analysis.mlflow_reader.sweep import load
from analysis.rank import main
from analysis.ranking.filters import merge_sweeps, select_trials, split_by_conditioning
from analysis.ranking.ranking import rank
from analysis.ranking.table import format_table
from tests.support.sweeps import DATA, FINGERPRINT, History, make_repeats, make_sweep

if TYPE_CHECKING:
    from pathlib import Path

    from analysis.mlflow_reader.sweep import Sweep


def hand(*rows: dict[str, Any], **fields: Any) -> Sweep:
    return make_sweep([{"samples": 100.0, **row} for row in rows], **fields)


SWEEP = (
    {"scores.distance": 30.0, "metrics.generator_parameters": 3e6, "metrics.generator_latency_ms": 5.1,
     "params.generator.width": 64, "params.flip": True},
    {"scores.distance": 40.0, "metrics.generator_parameters": 2e6, "metrics.generator_latency_ms": 5.0,
     "params.generator.width": 32, "params.flip": False},
    {
        "scores.distance": 50.0,
        "metrics.generator_parameters": math.nan,
        "params.generator.width": 32,
        "status": "stopped",
    },
)  # fmt: skip


def keys(sweep: Sweep) -> list[int]:
    return [int(key.rpartition("-")[2]) for key in rank(sweep).trials["key"]]


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ({"under": ["parameters=2e6"]}, [1]),
        ({"under": ["generator_parameters=3000000"]}, [0, 1]),
        ({"under": ["latency=5"]}, [1]),
        ({"under": ["generator_latency_ms=6"]}, [0, 1]),
        ({"under": ["distance=40"]}, [0, 1]),
        ({"under": ["parameters=9e6", "distance=35"]}, [0]),
        ({"under": ["generator.width=40"]}, [1, 2]),
        ({"where": ["generator.width=32"]}, [1, 2]),
        ({"where": ["generator.width=32.0", "flip=false"]}, [1]),
        ({"where": ["flip=True"]}, [0]),
        ({"where": ["system=acgan"]}, [0, 1, 2]),
        ({"status": "complete"}, [0, 1]),
        ({"status": "stopped", "where": ["generator.width=32"]}, [2]),
    ],
)
def test_filters(asked: dict[str, Any], left: list[int]) -> None:
    assert keys(select_trials(hand(*SWEEP), **asked)) == left


COSTS = (
    {"scores.distance": 30.0, "kimg": 4.5, "metrics.cost_kimg": 40.0, "metrics.flops_per_image": 9e9},
    {"scores.distance": 40.0, "kimg": 90.0, "metrics.cost_kimg": 9.0, "metrics.flops_per_image": 1e9},
)


def test_the_table_shows_costs_where_budgets_count_operations() -> None:
    table = format_table(rank(hand(*COSTS)))
    assert "GFLOP" in table
    assert "GFLOP" not in format_table(rank(hand(*SWEEP)))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"under": ["kimg"]}, "--under 'kimg'; expected --under NAME=VALUE"),
        ({"under": ["kimg=much"]}, "'much' is no number"),
        ({"under": ["generator_parameter=1"]}, r"logged no number.*did you mean 'generator_parameters'"),
        ({"where": ["generator.widht=1"]}, r"no parameter 'generator.widht' \(did you mean 'generator.width'"),
        ({"where": ["=1"]}, "expected --where NAME=VALUE"),
        ({"status": "done"}, "--status done; allowed: running, complete"),
        ({"under": ["parameters=1"], "status": "failed"}, "no trial .* left by --under parameters=1 --status failed"),
    ],
)
def test_wrong_filters_are_one_line(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(AnalysisUsageError, match=said):
        select_trials(hand(*SWEEP), **asked)


def test_a_sweep_whose_first_trial_has_not_begun_is_not_said_to_be_filtered() -> None:
    none = dataclasses.replace(hand(*SWEEP), trials=hand(*SWEEP).trials.iloc[:0])
    with pytest.raises(AnalysisUsageError, match=r"^no trial of sweep 'hand' has begun; `gansweep status hand`"):
        select_trials(none)
    with pytest.raises(AnalysisUsageError, match=r"^no trial of sweep 'hand' is left by --status failed$"):
        select_trials(none, status="failed")


def test_repeats_go_with_their_trials() -> None:
    repeats = make_repeats([{"of": f"hand-0000{n}", "seed": 0, "scores.distance": 40.0 + n} for n in range(3)])
    left = select_trials(hand(*SWEEP, repeats=repeats), where=["generator.width=32"])
    assert list(left.repeats["of"]) == ["hand-00001", "hand-00002"]
    assert rank(left).best == "hand-00001"


@pytest.fixture(scope="module")
def curved(history: History) -> Sweep:
    """The first is best in the end, the second at 20 kimg; the third was stopped there; the fourth is slow."""

    def trial(points: dict[int, float], seconds: float = 1.0, samples: int = 100, **more: Any) -> dict[str, Any]:
        metrics = {"distance": points, "tag_accuracy": {step: step / 100 for step in points}}
        metrics["kimg"] = {step: float(step) for step in points}
        metrics["seconds"] = {step: seconds * step for step in points}
        metrics["samples"] = {step: (samples if step == 40 else 50) for step in points}
        return {"metrics": metrics, **more}

    history.log_sweep(
        "curved",
        [
            trial({10: 90.0, 20: 80.0, 40: 30.0}),
            trial({10: 80.0, 20: 60.0, 40: 50.0}),
            trial({10: 95.0, 20: 70.0}, status="stopped", reason="asha"),
            trial({20: 65.0, 40: 20.0}, seconds=10.0),
        ],
        artifacts=False,
    )
    return load("curved", home=history.home)


def test_under_a_budget_trials_have_their_values_at_that_budget(curved: Sweep) -> None:
    assert keys(curved) == [3, 0, 1, 2]
    left = select_trials(curved, under=["kimg=25"])
    assert keys(left) == [1, 3, 2, 0]
    trials = left.trials.set_index("number")
    assert trials["scores.distance"].to_dict() == {0: 80.0, 1: 60.0, 2: 70.0, 3: 65.0}
    assert trials["scores.tag_accuracy"].to_dict() == {0: 0.2, 1: 0.2, 2: 0.2, 3: 0.2}
    assert trials["kimg"].to_dict() == {0: 20.0, 1: 20.0, 2: 20.0, 3: 20.0}
    assert trials["samples"].to_dict() == {0: 50.0, 1: 50.0, 2: 50.0, 3: 50.0}
    # The slow one had no score within 100 seconds, and at 12 kimg it had none either.
    assert keys(select_trials(curved, under=["seconds=100"])) == [0, 1, 2]
    assert keys(select_trials(curved, under=["kimg=12"])) == [1, 0, 2]
    assert keys(select_trials(curved, under=["kimg=40"])) == keys(curved)
    with pytest.raises(AnalysisUsageError, match="no trial"):
        select_trials(curved, under=["kimg=5"])


def test_budgets_of_operations_are_apart_from_images(history: History) -> None:
    trials = []
    for distances, images in (((90.0, 80.0, 30.0), 0.1), ((80.0, 60.0, 50.0), 2.0)):
        steps = (10, 20, 40)
        metrics = {"distance": dict(zip(steps, distances, strict=True)), "kimg": {at: images * at for at in steps}}
        more = {"cost_kimg": {at: at for at in steps}, "flops_per_image": dict.fromkeys(steps, 1e9 / images)}
        trials.append({"metrics": {**metrics, **more, "samples": dict.fromkeys(steps, 50)}})
    history.log_sweep("costs", trials, artifacts=False)
    sweep = load("costs", home=history.home)
    left = select_trials(sweep, under=["cost_kimg=25"]).trials.set_index("number")
    assert left["scores.distance"].to_dict() == {0: 80.0, 1: 60.0}
    assert left["kimg"].to_dict() == {0: 2.0, 1: 40.0}
    assert left["metrics.cost_kimg"].to_dict() == {0: 20.0, 1: 20.0}
    left = select_trials(sweep, under=["kimg=30"]).trials.set_index("number")
    assert left["scores.distance"].to_dict() == {0: 30.0, 1: 80.0}
    assert left["metrics.cost_kimg"].to_dict() == {0: 40.0, 1: 10.0}
    assert keys(select_trials(sweep, under=["flops=1e9"])) == [1]


@pytest.fixture(scope="module")
def priced(history: History) -> Sweep:
    """The second is large, the first slow at 20 kimg alone, the third was told its size once, the fourth takes long."""
    table: list[dict[str, dict[int, float]]] = [
        {"distance": {10: 90, 20: 80, 40: 30}, "kid": {10: 0.5, 20: 0.2, 40: 0.1}, "seconds": {10: 10, 20: 20, 40: 40},
         "generator_parameters": {10: 1e6, 20: 1e6, 40: 1e6}, "generator_latency_ms": {10: 4, 20: 6, 40: 4},
         "face_rate": {40: 0.5}},
        {"distance": {10: 80, 20: 60, 40: 50}, "kid": {10: 0.4, 20: 0.4, 40: 0.1}, "seconds": {10: 10, 20: 20, 40: 40},
         "generator_parameters": {10: 3e6, 20: 3e6, 40: 3e6}, "generator_latency_ms": {10: 5, 20: 5, 40: 5}},
        {"distance": {10: 95, 20: 70}, "kid": {10: 0.3, 20: 0.3}, "seconds": {10: 10, 20: 30},
         "generator_parameters": {10: 1e6}, "generator_latency_ms": {10: 5, 20: 5}},
        {"distance": {20: 65, 40: 20}, "kid": {20: 0.2, 40: 0.1}, "seconds": {20: 200, 40: 400},
         "generator_parameters": {20: 2e6, 40: 2e6}, "generator_latency_ms": {20: 3, 40: 3}},
    ]  # fmt: skip
    trials = []
    for number, metrics in enumerate(table):
        steps = metrics["distance"]
        more = {"kimg": {step: step for step in steps}, "samples": dict.fromkeys(steps, 50)}
        trials.append({"metrics": {**metrics, **more}, "params": {"generator.width": 16 * (number + 1)}})
    history.log_sweep("priced", trials, artifacts=False)
    return load("priced", home=history.home)


@pytest.mark.parametrize(
    ("under", "left"),
    [
        (["kimg=25", "parameters=2e6"], [3, 2, 0]),
        (["kimg=25", "parameters=1e6"], [2, 0]),
        (["kimg=25", "latency=5"], [1, 3, 2]),
        (["kimg=25", "distance=66"], [1, 3]),
        (["kimg=25", "kid=0.3"], [3, 2, 0]),
        (["kimg=25", "kid=0.3", "parameters=1e6", "latency=5"], [2]),
        (["kimg=25", "generator.width=40"], [1, 0]),
        (["kimg=25", "samples=50"], [1, 3, 2, 0]),
        (["kimg=25", "seconds=100"], [1, 2, 0]),
        (["kimg=25", "seconds=25"], [1, 0, 2]),  # the third as it was at 10 kimg: 95
        (["seconds=25", "parameters=2e6"], [0, 2]),
        (["seconds=25", "kimg=12", "kid=0.4"], [1, 2]),
        (["kimg=40", "kimg=25", "distance=66"], [1, 3]),
        (["kimg=40", "distance=30"], [3, 0]),
    ],
)
def test_every_limit_holds_by_itself_at_the_result_that_is_ranked(
    priced: Sweep, under: list[str], left: list[int]
) -> None:
    for order in itertools.permutations(under):
        assert keys(select_trials(priced, under=order)) == left, order


def test_what_a_limit_reads_is_shown_as_it_was(priced: Sweep) -> None:
    trials = select_trials(priced, under=["latency=9", "kimg=25", "seconds=25"]).trials.set_index("number")
    assert trials["metrics.generator_latency_ms"].to_dict() == {0: 6.0, 1: 5.0, 2: 5.0}
    assert trials["kimg"].to_dict() == {0: 20.0, 1: 20.0, 2: 10.0}
    assert trials["seconds"].to_dict() == {0: 20.0, 1: 20.0, 2: 10.0}
    assert trials["scores.kid"].isna().all(), "it was not read again"
    by_kid = select_trials(priced, under=["kimg=25"], by="kid").trials.set_index("number")
    assert by_kid["scores.kid"].to_dict() == {0: 0.2, 1: 0.4, 2: 0.3, 3: 0.2}


def test_what_was_not_measured_within_a_budget_is_under_no_limit(priced: Sweep) -> None:
    assert keys(select_trials(priced, under=["face_rate=1"])) == [0]
    with pytest.raises(AnalysisUsageError, match=r"no trial .* left by --under kimg=25 --under face_rate=1"):
        select_trials(priced, under=["kimg=25", "face_rate=1"])


def test_limits_hold_in_several_sweeps_at_once(priced: Sweep, curved: Sweep) -> None:
    left = select_trials(merge_sweeps([curved, priced]), under=["latency=5", "kimg=25"])
    assert list(rank(left).trials["key"]) == ["priced-00001", "priced-00003", "priced-00002"]


def test_two_sweeps_in_one_ranking(history: History, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name, distance in (("one", 40.0), ("two", 35.0)):
        history.log_sweep(
            name,
            [{"metrics": {"distance": {40: distance + n}, "samples": {40: 100}}} for n in (0, 10)],
            artifacts=False,
        )
    where = ["--home", str(history.home)]
    assert main(["one", "two", *where, "--json", "--csv", str(tmp_path / "all.csv")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["sweep"] == "one + two"
    assert [trial["key"] for trial in told["trials"]] == ["two-00000", "one-00000", "two-00001", "one-00001"]
    assert told["best"] == "two-00000"
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 5
    other = {**FINGERPRINT, "samples": 9}
    history.log_sweep("third", [{"metrics": {"distance": {40: 1.0}}, "fingerprint": other}], artifacts=False)
    assert main(["one", "third", *where]) == 1
    assert "do not compare, they differ in samples (1000, 9)" in capsys.readouterr().err


def test_systems_without_tags_stand_apart(history: History, capsys: pytest.CaptureFixture[str]) -> None:
    tagged = {"scores.distance": 50.0, "scores.tag_accuracy": 0.9, "params.generator.conditioning": "code"}
    free = {"scores.distance": 20.0, "scores.tag_accuracy": math.nan, "params.generator.conditioning": "none"}
    both = merge_sweeps([hand(tagged, name="a"), hand({**free, "key": "b-00000"}, name="b")])
    assert [list(part.trials["key"]) for part in split_by_conditioning(both)] == [["hand-00000"], ["b-00000"]]
    assert len(split_by_conditioning(hand(tagged))) == len(split_by_conditioning(hand(free))) == 1
    rows = {"generator.conditioning": "none"}, {"generator.conditioning": "code"}
    history.log_sweep(
        "mixed",
        [{"params": row, "metrics": {"distance": {40: 9.0 + n}}} for n, row in enumerate(rows)],
        artifacts=False,
    )
    assert main(["mixed", "--json", "--home", str(history.home)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["best"], told["unconditional"]["best"]) == ("mixed-00001", "mixed-00000")
    assert main(["mixed", "--home", str(history.home)]) == 0
    assert "ranked separately" in capsys.readouterr().out


def test_each_part_of_merged_sweeps_holds_only_its_own_data() -> None:
    tagged = {"scores.distance": 50.0, "scores.tag_accuracy": 0.9, "scores.tag_accuracy_hair": 0.9,
              "params.generator.conditioning": "code"}  # fmt: skip
    free = {"scores.distance": 20.0, "params.generator.conditioning": "none"}
    plain = {"data": {"pictures": 2000, "judge": {}}}
    first = hand({**tagged, "key": "a-00000"}, name="a", data=DATA)
    both = merge_sweeps([first, hand({**free, "key": "b-00000"}, name="b", **plain)])
    first, second = [rank(part) for part in split_by_conditioning(both)]
    assert (first.sweep.name, second.sweep.name) == ("a", "b")
    told, other = format_table(first), format_table(second)
    assert "sweep a: 1 trials" in told
    assert "`gansweep confirm a`" in told
    assert "hair 95.0%, eyes 90.0%" in told
    assert "tag accuracy 90.0%" in told
    assert "sweep b: 1 trials" in other
    assert "`gansweep confirm b`" in other
    for absent in ("held-out", "accuracy", "hair", " -"):
        assert absent not in other


def test_of_several_sweeps_the_one_that_holds_the_best_is_to_be_confirmed() -> None:
    rows = {"a": 50.0, "b": 40.0}
    both = merge_sweeps(
        [hand({"key": f"{name}-00000", "scores.distance": value}, name=name) for name, value in rows.items()]
    )
    assert "`gansweep confirm b`" in format_table(rank(both))


def test_a_part_without_tags_of_one_sweep_shows_none() -> None:
    tagged = {"scores.distance": 50.0, "scores.tag_accuracy": 0.9, "params.generator.conditioning": "code"}
    free = {"scores.distance": 20.0, "params.generator.conditioning": "none"}
    first, second = [format_table(rank(part)) for part in split_by_conditioning(hand(tagged, free, data=DATA))]
    assert "held-out" in first
    assert "accuracy" in first
    assert "held-out" not in second
    assert "accuracy" not in second


def test_front_knee_area_and_failures_of_a_ranking() -> None:
    points = [(10.0, 0.1), (12.0, 0.6), (20.0, 0.8), (40.0, 0.9), (50.0, 0.2)]
    rows = [{"scores.distance": distance, "scores.tag_accuracy": share} for distance, share in points]
    failed = [{"status": "failed", "reason": f"diverged: d_loss is nan at {kimg} kimg"} for kimg in (3, 40.5)]
    told = rank(hand(*rows, *failed, {"status": "failed", "reason": None})).to_json()
    assert told["pareto"] == [f"hand-0000{n}" for n in range(4)]
    # Scaled: (0, 1), (1/15, 3/8), (1/3, 1/8), (1, 0); the second and third sum to 0.4417 and 0.4583.
    assert told["knee"] == "hand-00001"
    # From the right, up to distance 50: 10 * 0.9 + 20 * 0.8 + 8 * 0.6 + 2 * 0.1
    assert told["hypervolume"]["value"] == pytest.approx(30.0)
    assert told["hypervolume"]["reference"] == {"distance": 50.0, "tag_accuracy": 0.0}
    assert told["failures"] == {"diverged": 2, "no reason given": 1}
    alone = rank(hand({"scores.distance": 3.0})).to_json()
    assert (alone["hypervolume"], alone["knee"], alone["failures"]) == (None, None, {})


def test_a_sweep_that_cannot_be_ranked_says_so(history: History) -> None:
    with pytest.raises(AnalysisError):
        load("nowhere", home=history.home)
