"""Contract of all schedulers: stops by hand arithmetic, and equal decisions after a restart."""

from __future__ import annotations

import math
import pickle
import random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, get_args
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray import tune
from ray.tune.schedulers import MedianStoppingRule, TrialScheduler

from pipeline.schedulers import NON_STOPPING, RULES
from pipeline.schedulers.pareto_order import epsilon_net, pareto_rank, scalar_rank
from pipeline.schedulers.successive_halving import SuccessiveHalving, milestones
from pipeline.settings import Scheduler
from pipeline.tune_adapters.scheduler import make_scheduler, replay

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pipeline.tune_adapters.scheduler import RuleScheduler

    Event = tuple[str, int, dict[str, Any]]

MAX, EVERY = 90, 10
RUNGS = (10, 30)
STOPPING = [name for name in RULES if name not in NON_STOPPING]
RUNGS = (10, 30)
POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=25)


def scores(distance: float, tag_accuracy: float = 0.5) -> dict[str, float]:
    return {"distance": distance, "tag_accuracy": tag_accuracy}


def goes_on(scheduler: TrialScheduler, key: str, kimg: int, result: dict[str, Any]) -> bool:
    """Report as Tune does, and return whether the trial continues."""
    trial = SimpleNamespace(trial_id="of Tune", config={"key": key})
    verdict = scheduler.on_trial_result(mock.Mock(), trial, {"kimg": kimg, "training_iteration": 1, **result})
    assert verdict in (TrialScheduler.CONTINUE, TrialScheduler.STOP)
    return verdict == TrialScheduler.CONTINUE


def test_trials_of_other_kimg_meet_at_equal_costs() -> None:
    cheap, dear = make_scheduler("asha", RUNGS, MAX), make_scheduler("asha", RUNGS, MAX)
    assert goes_on(cheap, "a", 70, {"cost_kimg": 10, **scores(1.0)})
    assert not goes_on(cheap, "b", 3, {"cost_kimg": 10, **scores(2.0)})  # the second of two at the rung of 10
    assert goes_on(cheap, "a", 200, {"cost_kimg": 30, **scores(1.0)})
    assert not goes_on(cheap, "a", 700, {"cost_kimg": 90, **scores(1.0)})
    assert goes_on(dear, "a", 10, {"cost_kimg": 9, **scores(2.0)})
    assert goes_on(dear, "b", 10, {"cost_kimg": 9, **scores(3.0)})  # no rung


def run(scheduler: TrialScheduler, events: Sequence[Event]) -> list[tuple[str, int, bool]]:
    """Verdicts on a course of events; a stopped trial reports no more."""
    stopped: set[str] = set()
    verdicts = []
    for key, kimg, result in events:
        if key not in stopped:
            verdicts.append((key, kimg, goes_on(scheduler, key, kimg, result)))
            stopped |= set() if verdicts[-1][2] else {key}
    return verdicts


def course(seed: int, trials: int = 30) -> list[Event]:
    """Noisy falling curves of several trials, whose reports come interleaved, each trial's own in order."""
    draw = random.Random(seed)
    level = {f"s-{number:05d}": (draw.uniform(5, 50), draw.random()) for number in range(trials)}
    reached = dict.fromkeys(level, 0)
    events = []
    while reached:
        key = draw.choice(list(reached)[:4])  # four slots
        reached[key] += EVERY
        distance, accuracy = level[key]
        noisy = scores(distance + 300 / reached[key] + draw.gauss(0, 3), accuracy + draw.gauss(0, 0.1))
        events.append((key, reached[key], noisy))
        if reached[key] == MAX:
            del reached[key]
    return events


def full_bracket(scheduler: RuleScheduler, count: int) -> list[str]:
    """Keys of trials that pass every rung there is."""
    keys = [f"s-{number:05d}" for number in range(1000)]
    if isinstance(scheduler.rule, SuccessiveHalving):
        keys = [key for key in keys if scheduler.rule.bracket(key) is scheduler.rule.brackets[0]]
    return keys[:count]


# What every scheduler must do ----------------------------------------------------------------------------------


def test_the_settings_offer_every_scheduler() -> None:
    assert set(get_args(Scheduler)) == set(RULES)


@pytest.mark.parametrize("name", RULES)
def test_trials_end_with_their_budget(name: str) -> None:
    scheduler = make_scheduler(name, RUNGS, MAX)
    assert goes_on(scheduler, "s-00000", MAX - EVERY, scores(1.0))
    assert not goes_on(scheduler, "s-00000", MAX, scores(1.0))


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("seed", range(5))
def test_the_best_at_every_rung_is_never_stopped(name: str, seed: int) -> None:
    best = "s-00007"
    events = [
        (key, kimg, scores(result["distance"] - 1000, result["tag_accuracy"] + 1000) if key == best else result)
        for key, kimg, result in course(seed)
    ]
    assert (best, MAX, False) in run(make_scheduler(name, RUNGS, MAX), events)


@pytest.mark.parametrize("name", RULES)
def test_a_poor_trial_is_stopped_before_half_its_budget_unless_the_rule_stops_none(name: str) -> None:
    scheduler = make_scheduler(name, RUNGS, MAX)
    *others, hopeless = full_bracket(scheduler, 6)
    for place, key in enumerate(others):
        run(scheduler, [(key, kimg, scores(50.0 - place, 0.5 + place / 100)) for kimg in range(EVERY, MAX + 1, EVERY)])
    verdicts = run(scheduler, [(hopeless, kimg, scores(500.0, 0.0)) for kimg in range(EVERY, MAX + 1, EVERY)])
    assert verdicts[-1][1] == MAX if name in NON_STOPPING else verdicts[-1][1] < MAX / 2


@pytest.mark.parametrize("name", RULES)
def test_results_without_comparable_scores_are_ignored(name: str) -> None:
    events = course(1)
    strange: list[dict[str, Any]] = [
        {}, {"failure": "diverged: d_loss is nan", "done": True},
        scores(math.nan), scores(math.inf, 1.0), {"distance": None, "tag_accuracy": 0.5}, {"tag_accuracy": 0.5},
    ]  # fmt: skip
    if name == "mo-asha":
        strange += [{"distance": 1e9}, scores(1e9, math.nan)]
    disturbed, plain = make_scheduler(name, RUNGS, MAX), make_scheduler(name, RUNGS, MAX)
    for number, (key, kimg, result) in enumerate(events):
        intruder = f"bad-{number}"
        assert goes_on(disturbed, intruder, min(kimg, MAX - EVERY), strange[number % len(strange)])
        assert goes_on(disturbed, key, kimg, result) == goes_on(plain, key, kimg, result)
    # A trial can die before its first result.
    dead = SimpleNamespace(
        config={"key": "dead"}, trial_id="dead", pickled_error_file=None, status="RUNNING", ERROR="ERROR"
    )
    disturbed.on_trial_error(mock.Mock(), dead)
    disturbed.on_trial_complete(mock.Mock(), SimpleNamespace(config={"key": "dead"}), {"done": True})
    disturbed.on_trial_remove(mock.Mock(), SimpleNamespace(config={"key": "dead"}))


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("seed", range(5))
def test_decisions_depend_on_results_at_equal_kimg_only(name: str, seed: int) -> None:
    events = course(seed)
    # The same reports, one kimg after the other: within each the order stays.
    by_kimg = sorted(events, key=lambda event: event[1])
    assert sorted(run(make_scheduler(name, RUNGS, MAX), events)) == sorted(
        run(make_scheduler(name, RUNGS, MAX), by_kimg)
    )


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("seed", range(8))
def test_a_replayed_scheduler_decides_as_an_uninterrupted_one(name: str, seed: int) -> None:
    events, whole = course(seed), make_scheduler(name, RUNGS, MAX)
    verdicts = run(whole, events)
    given = {(key, kimg): result for key, kimg, result in events}
    for cut in random.Random(seed).sample(range(len(verdicts)), 5):
        rebuilt = make_scheduler(name, RUNGS, MAX)
        recorded = [(key, kimg, given[key, kimg]) for key, kimg, _ in verdicts[:cut]]
        # MLflow hands out a result twice where two drivers logged it.
        replay(rebuilt, [*recorded, *recorded[-3:]])
        after = [(key, kimg, goes_on(rebuilt, key, kimg, given[key, kimg])) for key, kimg, _ in verdicts[cut:]]
        assert after == verdicts[cut:]


@pytest.mark.parametrize("name", STOPPING)
def test_scores_of_an_early_failure_count_as_in_a_replay(name: str) -> None:
    failed, plain = make_scheduler(name, RUNGS, MAX), make_scheduler(name, RUNGS, MAX)
    for number, (key, kimg, result) in enumerate(course(5)):
        why = {"failure": "collapsed: all alike", "done": True} if number % 3 == 0 else {}
        assert goes_on(failed, key, kimg, {**result, **why}) == goes_on(plain, key, kimg, result)


@pytest.mark.parametrize("name", STOPPING)
def test_an_interval_that_is_run_again_after_a_restart_counts_once(name: str) -> None:
    once, twice = make_scheduler(name, RUNGS, MAX), make_scheduler(name, RUNGS, MAX)
    for key, kimg, result in course(3):
        verdict = goes_on(once, key, kimg, result)
        assert goes_on(twice, key, kimg, result) == verdict
        assert goes_on(twice, key, kimg, result) == verdict


@pytest.mark.parametrize("name", STOPPING)
def test_a_verdict_of_stop_outlives_the_driver_that_did_not_carry_it_out(name: str) -> None:
    verdicts = run(make_scheduler(name, RUNGS, MAX), events := course(2))
    given = {(key, kimg): result for key, kimg, result in events}
    stop = next(place for place, (_, kimg, on) in enumerate(verdicts) if not on and kimg < MAX)
    rebuilt = make_scheduler(name, RUNGS, MAX)
    replay(rebuilt, [(key, kimg, given[key, kimg]) for key, kimg, _ in verdicts[: stop + 1]])
    key, kimg, _ = verdicts[stop]
    assert not goes_on(rebuilt, key, kimg + EVERY, scores(-1e9, 1e9))


@pytest.mark.parametrize("name", ["asha", "mo-asha"])
def test_a_recorded_promotion_is_kept(name: str) -> None:
    scheduler = make_scheduler(name, RUNGS, MAX)
    # In this order b would have been stopped at 10; its result at 20 shows that it was not.
    replay(scheduler, [("a", 10, scores(1.0)), ("b", 10, scores(2.0, 0.1)), ("b", 20, scores(1.5))])
    assert goes_on(scheduler, "b", 30, scores(1.0))


@pytest.mark.parametrize("name", RULES)
def test_ray_may_pickle_it(name: str) -> None:
    scheduler, events = make_scheduler(name, RUNGS, MAX), course(4)
    run(scheduler, events[:100])
    copied = pickle.loads(pickle.dumps(scheduler))  # noqa: S301 - our own bytes
    assert run(copied, events[100:]) == run(scheduler, events[100:])


# Rungs and places ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("max_kimg", "eval_kimg", "rungs"),
    [
        (90, 10, (10, 30)),
        (100, 10, (10, 30)),  # 11.1 and 33.3
        (90, 20, (20, 40)),  # 10 is half an evaluation: one at least; 30 is one and a half
        (36, 12, (12,)),  # 4 and 12
        (2, 1, (1,)),
        (3, 2, (2,)),
        (1, 1, ()),
        (10, 10, ()),
        (10_000, 7, (1113, 3332)),  # 1111.1 = 158.7 evaluations, 3333.3 = 476.2
    ],
)
def test_rungs_lie_at_a_ninth_and_a_third_of_the_budget(max_kimg: int, eval_kimg: int, rungs: tuple[int, ...]) -> None:
    assert milestones(max_kimg, eval_kimg) == rungs


def test_equals_share_a_place_by_one_objective() -> None:
    assert [scalar_rank(np.array([[1.0], [2.0], [2.0], [own]])) for own in (0.5, 1.0, 1.5, 2.0, 3.0)] == [
        0,
        0,
        1,
        1,
        3,
    ]


def test_the_net_spreads_from_the_lowest_first_cost() -> None:
    # On a straight front of five: the two ends, the middle, then the quarters. The scale of a cost does not matter.
    front = np.array([[0.0, 4.0], [1.0, 3.0], [2.0, 2.0], [3.0, 1.0], [4.0, 0.0]])
    for scale in ([1, 1], [1000, 1], [1, 1000]):
        assert epsilon_net(front * scale) == [0, 4, 2, 1, 3]
    assert epsilon_net(np.array([[3.0, 1.0]])) == [0]


def test_places_by_two_objectives_by_hand() -> None:
    # The first front is a, b, c on a line (a and c are its ends, taken before b); d is behind b alone, e behind d.
    costs = {"a": (0, 4), "b": (2, 2), "c": (4, 0), "d": (3, 3), "e": (5, 5)}

    def place(key: str) -> int:
        others = [value for name, value in costs.items() if name != key]
        return pareto_rank(np.array([*others, costs[key]], dtype=float))

    assert {key: place(key) for key in costs} == {"a": 0, "c": 1, "b": 2, "d": 3, "e": 4}
    assert pareto_rank(np.array([(0, 4), (0, 4), (2, 2), (2, 2)], dtype=float)) == 2


@given(POINTS)
def test_places_by_two_objectives_are_those_of_plain_sorting(points: list[tuple[int, int]]) -> None:
    def dominates(one: tuple[int, int], other: tuple[int, int]) -> bool:
        return one != other and one[0] <= other[0] and one[1] <= other[1]

    left, ahead, own = sorted(set(points)), 0, points[-1]
    while own not in (front := [p for p in left if not any(dominates(q, p) for q in left)]):
        ahead += sum(points.count(point) for point in front)
        left = [point for point in left if point not in front]
    place = pareto_rank(np.array(points, dtype=float))
    if own == front[0]:
        assert place == ahead
    elif len(front) == 2:
        assert place == ahead + points.count(front[0])
    assert ahead <= place <= ahead + sum(points.count(point) for point in front) - points.count(own)


@given(POINTS)
def test_the_epsilon_net_takes_the_farthest_point_each_time(points: list[tuple[int, int]]) -> None:
    distinct = sorted(set(points))
    spans = [max(point[axis] for point in distinct) - min(point[axis] for point in distinct) or 1 for axis in (0, 1)]
    scaled = [tuple(value / span for value, span in zip(point, spans, strict=True)) for point in distinct]
    order = epsilon_net(np.array(distinct, dtype=float))
    assert sorted(order) == list(range(len(distinct)))
    assert order[0] == 0
    for taken in range(1, len(order)):
        gaps = {left: min(math.dist(scaled[left], scaled[one]) for one in order[:taken]) for left in order[taken:]}
        assert gaps[order[taken]] == pytest.approx(max(gaps.values()))


def test_a_duplicated_objective_ranks_as_one() -> None:
    draw = np.random.default_rng(0)
    for _ in range(50):
        column = draw.integers(0, 8, 12).astype(float)
        assert pareto_rank(np.stack([column, column], axis=1)) == scalar_rank(column[:, None])


# Each by hand --------------------------------------------------------------------------------------------------


def stopped_at(name: str, kimg: int, results: list[dict[str, float]]) -> list[bool]:
    scheduler = make_scheduler(name, RUNGS, MAX)
    keys = full_bracket(scheduler, len(results))
    return [not goes_on(scheduler, key, kimg, result) for key, result in zip(keys, results, strict=True)]


@pytest.mark.parametrize("name", ["asha", "hyperband"])
@pytest.mark.parametrize("rung", RUNGS)
def test_the_best_third_of_those_seen_continues(name: str, rung: int) -> None:
    # Of 1, 2 and 3 recorded the best goes on, of 4 to 6 the best two, of 7 the best three.
    distances = [5.0, 6.0, 7.0, 4.0, 4.5, 5.0, 5.0]
    assert stopped_at(name, rung, [scores(one) for one in distances]) == [False, True, True, False, False, True, False]


@pytest.mark.parametrize("kimg", [kimg for kimg in range(EVERY, MAX, EVERY) if kimg not in RUNGS])
def test_halving_leaves_trials_alone_between_rungs(kimg: int) -> None:
    for name in ("asha", "mo-asha", "hyperband"):
        assert stopped_at(name, kimg, [scores(one, 0.9 - one) for one in (0.1, 0.2, 0.3, 0.4)]) == [False] * 4


def test_two_objectives_keep_what_one_would_stop() -> None:
    # The third follows tags far better and draws worse: of four, two go on, and it is the other end of the front.
    results = [scores(10, 0.5), scores(11, 0.4), scores(12, 0.3), scores(40, 0.9), scores(50, 0.8)]
    assert stopped_at("asha", 10, results) == [False, True, True, True, True]
    assert stopped_at("mo-asha", 10, results) == [False, True, True, False, True]


def test_brackets_get_hyperbands_shares_and_fewer_rungs_each() -> None:
    rule = make_scheduler("hyperband", RUNGS, MAX).rule
    assert isinstance(rule, SuccessiveHalving)
    assert [tuple(bracket) for bracket in rule.brackets] == [(10, 30), (30,), ()]
    keys = [f"s-{number:05d}" for number in range(3400)]
    counts = [sum(rule.bracket(key) is bracket for key in keys) for bracket in rule.brackets]
    # 9 : 5 : 3 of 17; five standard deviations of a binomial are at most 145.
    assert counts == pytest.approx([1800, 1000, 600], abs=145)
    again = make_scheduler("hyperband", RUNGS, MAX).rule
    assert isinstance(again, SuccessiveHalving)
    assert [tuple(again.bracket(key)) for key in keys] == [tuple(rule.bracket(key)) for key in keys]


def test_brackets_do_not_compare_with_each_other() -> None:
    scheduler = make_scheduler("hyperband", RUNGS, MAX)
    rule = scheduler.rule
    assert isinstance(rule, SuccessiveHalving)
    first, second, third = (
        next(key for number in range(1000) if rule.bracket(key := f"s-{number:05d}") is bracket)
        for bracket in rule.brackets
    )
    assert goes_on(scheduler, first, 30, scores(1.0))
    assert goes_on(scheduler, second, 30, scores(100.0))
    assert all(goes_on(scheduler, third, kimg, scores(1e6)) for kimg in range(10, 90, 10))


@pytest.mark.parametrize("seed", range(5))
def test_median_stops_the_trials_that_the_rule_of_tune_stops(seed: int) -> None:
    ours = make_scheduler("median", RUNGS, MAX)
    theirs = MedianStoppingRule(
        time_attr="kimg", metric="distance", mode="min", grace_period=10, min_samples_required=3,
    )  # fmt: skip
    trials: dict[str, Any] = {}
    stopped: set[str] = set()
    events = [event for event in course(seed) if event[1] < MAX]
    # One trial after the other, so that every earlier one has come as far as it will.
    for key, kimg, result in sorted(events, key=lambda event: event[0]):
        if key not in stopped:
            trial = trials.setdefault(key, mock.Mock(trial_id=key))
            verdict = theirs.on_trial_result(mock.Mock(get_live_trials=list), trial, {"kimg": kimg, **result})
            assert goes_on(ours, key, kimg, result) == (verdict == TrialScheduler.CONTINUE)
            stopped |= set() if verdict == TrialScheduler.CONTINUE else {key}
    assert 0 < len(stopped) < len(trials)


def test_median_by_hand() -> None:
    scheduler = make_scheduler("median", RUNGS, MAX)
    for key, distances in {"a": (40, 20), "b": (50, 30), "c": (60, 40)}.items():
        assert goes_on(scheduler, key, 10, scores(distances[0]))
        assert goes_on(scheduler, key, 20, scores(distances[1]))
    # Means up to 20 kimg are 30, 40 and 50: their median is 40.
    assert goes_on(scheduler, "d", 10, scores(50.0))
    assert goes_on(scheduler, "d", 20, scores(40.0))
    assert goes_on(scheduler, "e", 10, scores(50.0))
    # With d's 45 among them it is 42.5.
    assert not goes_on(scheduler, "e", 20, scores(42.6))
    assert goes_on(scheduler, "f", 10, scores(50.0))
    # And with e's 46.3 it is 45.
    assert goes_on(scheduler, "f", 20, scores(45.0))


# In Tune -------------------------------------------------------------------------------------------------------


def curve_trainable() -> type[tune.Trainable]:
    """A class that Ray sends by value: its workers stand elsewhere and cannot import the tests."""
    every, budget = EVERY, MAX

    class Curve(tune.Trainable):
        """Reports constant scores, ten kimg at a time, and ends of itself."""

        def setup(self, config: dict[str, Any]) -> None:
            self.config, self.kimg = config, 0

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.setup(new_config)
            return True

        def step(self) -> dict[str, Any]:
            self.kimg += every
            return {"kimg": self.kimg, "done": self.kimg >= budget, **self.config["levels"][self.config["key"]]}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            """Nothing."""

        def load_checkpoint(self, checkpoint: Any) -> None:
            """Nothing."""

    return Curve


@pytest.mark.slow
@pytest.mark.parametrize("name", RULES)
def test_tune_ends_trials_where_the_rule_does(name: str, local_ray: None, tmp_path: Path) -> None:
    scheduler, alone = make_scheduler(name, RUNGS, MAX), make_scheduler(name, RUNGS, MAX)
    results = [scores(10, 0.5), scores(20, 0.4), scores(30, 0.9), scores(40, 0.95), scores(5, 0.3), scores(50, 0.1)]
    levels = dict(zip(full_bracket(scheduler, len(results)), results, strict=True))
    tuner = tune.Tuner(
        curve_trainable(),
        param_space={"key": tune.grid_search(list(levels)), "levels": levels},
        tune_config=tune.TuneConfig(scheduler=scheduler, max_concurrent_trials=1, reuse_actors=True),
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    )
    ended = {result.config["key"]: result.metrics["kimg"] for result in tuner.fit()}
    for key, level in levels.items():
        verdicts = run(alone, [(key, kimg, level) for kimg in range(EVERY, MAX + 1, EVERY)])
        assert ended[key] == verdicts[-1][1]
    assert (min(ended.values()) < MAX) == (name in STOPPING)
