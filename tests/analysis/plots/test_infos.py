"""What figures show, against sweeps small enough to work out by hand."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import schema
from analysis.effects.effect import Effect
from analysis.plots.along import along_info, draw_along
from analysis.plots.best import best_info, best_matplotlib, draw_best
from analysis.plots.confusion import confusion_info, draw_confusion
from analysis.plots.curves import curves_info, curves_matplotlib, draw_curves
from analysis.plots.front import draw_front, front_info, front_matplotlib
from analysis.plots.importance import PALE, draw_importance, importance_info
from analysis.plots.parallel import axis, draw_parallel, draw_rows, parallel_info
from analysis.plots.select import thin
from analysis.plots.slices import draw_slice, slices_info
from analysis.plots.timeline import draw_timeline, timeline_info, timeline_matplotlib
from analysis.ranking.filters import comparable_mask
from analysis.ranking.ranking import Ranking, rank
from tests.support.sweeps import make_sweep


def trial(distance: float, accuracy: float | None = None, **more: Any) -> dict[str, Any]:
    scores = {"scores.distance": distance} | ({} if accuracy is None else {"scores.tag_accuracy": accuracy})
    return {"samples": 100.0, "started": 0.0, "ended": 3600.0, "stretches": None, **scores, **more}


def ranked(rows: list[dict[str, Any]], **fields: Any) -> Ranking:
    return rank(make_sweep(rows, **fields))


def test_thinning_keeps_what_it_must_and_spreads_the_rest() -> None:
    table = pd.DataFrame({"x": range(10)})
    shown, left_out = thin(table, 4, table["x"] == 5)
    assert (shown["x"].tolist(), left_out) == ([0, 4, 5, 9], 6)  # 5, and three of the other nine: 0, 4, 9
    assert thin(table, 10)[1] == 0
    assert thin(table, 2, table["x"] < 4)[0]["x"].tolist() == [0, 1, 2, 3]


def test_only_scores_on_the_most_images_of_trials_that_held_compare() -> None:
    found = ranked(
        [trial(10, 0.5), trial(9, 0.4, samples=50.0), trial(8, 0.3, status=schema.FAILED), trial(math.inf, 0.9)]
    )
    marks = dict(zip(found.trials["key"], comparable_mask(found.trials, ["distance"]), strict=True))
    assert marks == {"hand-00000": True, "hand-00001": False, "hand-00002": False, "hand-00003": False}


def test_the_front_of_four_trials() -> None:
    rows = [
        trial(10, 0.5, recipe=True),
        trial(8, 0.4),
        trial(12, 0.9),
        trial(13, 0.8),  # beaten by the one before
        trial(1, 0.99, samples=50.0),  # on fewer images
    ]
    rows[1] |= {"metrics.interval/distance/low": 7.5, "metrics.interval/distance/high": 8.5}
    info = front_info(ranked(rows))
    assert info is not None
    points = info.points.set_index("key")
    assert list(points.index) == ["hand-00001", "hand-00000", "hand-00002", "hand-00003"]
    assert points["pareto"].tolist() == [True, True, True, False]
    assert points.index[points["best"]].tolist() == ["hand-00002"]  # of at least 0.8 of 0.9
    assert (points.loc["hand-00001", "low"], points.loc["hand-00001", "high"]) == (7.5, 8.5)
    assert (info.incomparable, info.left_out) == (1, 0)
    figure = draw_front(info)
    line = figure.data[0]
    assert (list(line.x), list(line.y)) == ([8, 10, 12], [0.4, 0.5, 0.9])
    assert [list(one.customdata) for one in figure.data[1:]] == [
        ["hand-00003"], ["hand-00001"], ["hand-00000"], ["hand-00002"],
    ]  # fmt: skip
    assert len(front_matplotlib(info).axes) == 1


def test_an_unconditional_sweep_has_no_front_of_two() -> None:
    assert front_info(ranked([trial(3.0), trial(2.0)])) is None
    assert front_info(ranked([{"ended": 1.0}])) is None


def test_best_so_far_by_time_and_by_training() -> None:
    rows = [
        trial(10, 0.5, started=100.0, ended=100.0 + 3600, kimg=40.0),
        trial(12, 0.7, started=100.0, ended=100.0 + 1800, kimg=20.0),
        trial(1, 0.9, started=200.0, ended=100.0 + 2700, kimg=5.0, status=schema.FAILED),
        trial(8, 0.6, started=900.0, ended=100.0 + 7200, kimg=40.0),
        trial(5, 0.6, ended=math.nan, status=schema.RUNNING, started=950.0),
    ]
    info = best_info(ranked(rows))
    assert info["key"].tolist() == ["hand-00001", "hand-00002", "hand-00000", "hand-00003"]
    assert info["hours"].tolist() == [0.5, 0.75, 1.0, 2.0]
    assert info["total_kimg"].tolist() == [20, 25, 65, 105]
    assert info["best_distance"].tolist() == [12, 12, 10, 8]
    assert info["best_tag_accuracy"].tolist() == [0.7, 0.7, 0.7, 0.7]
    assert math.isnan(info["distance"][1])
    assert list(draw_best(info, "distance", "total_kimg").data[1].x) == [20, 65, 105]
    assert len(best_matplotlib(info).axes) == 2


def test_axes_hold_numbers_logarithms_and_names() -> None:
    numbers = axis("lr", pd.Series([1e-4, 1e-2, 1e-3]), log=True)
    assert np.allclose(numbers.values, [-4, -2, -3])
    assert numbers.texts == ["0.0001", "0.000316", "0.001", "0.00316", "0.01"]
    absent = axis("width", pd.Series([16.0, None, 48.0]))
    assert absent.values == [16, 12, 48]  # an eighth of the range below the lowest
    assert absent.texts[0] == "-"
    assert absent.ticks[0] == 12
    names = axis("norm", pd.Series(["batch", None, "1"], dtype=object))
    assert (names.texts, names.values) == (["-", "1", "batch"], [2, 0, 1])
    assert axis("flip", pd.Series([True, False])).texts == ["False", "True"]


SPACE = {"dimensions": [{"name": "lr", "log": True}, {"name": "width"}, {"name": "same"}]}


def test_parallel_shows_what_varies_and_only_what_compares() -> None:
    rows = [
        trial(10, 0.5, **{"params.lr": 1e-4, "params.width": 16, "params.same": 1, "params.seed": 1}),
        trial(8, 0.4, **{"params.lr": 1e-2, "params.width": 32, "params.same": 1, "params.seed": 2}),
        trial(1, 0.9, samples=9.0, **{"params.lr": 1e-3, "params.width": 64, "params.same": 1, "params.seed": 3}),
    ]
    ranking = ranked(rows, space=SPACE)
    info = parallel_info(ranking)
    assert info is not None
    assert [one.name for one in info.axes] == ["lr", "width", "distance", "tag accuracy"]
    assert info.distance == [8, 10]
    assert len(draw_parallel(info).data[0].dimensions) == 4
    # Narrow screens: the larger distance first, so that the best is on top, and a gap after each trial.
    drawn = draw_rows(info)
    lines = [[list(map(float, line.x[:-1])), list(map(int, line.y[:-1]))] for line in drawn.data]
    assert lines == [[[0, 0, 1, 1], [0, 1, 2, 3]], [[1, 1, 0, 0], [0, 1, 2, 3]]]
    assert all(math.isnan(line.x[-1]) for line in drawn.data)
    assert drawn.data[1].line.color == "rgb(0, 114, 178)"
    texts = [note.text for note in drawn.layout.annotations if note.y == 2]
    assert texts == ["<b>distance</b>", "8.00", "8.50", "9.00", "9.50", "10.00"]
    assert parallel_info(ranked(rows[:1], space=SPACE)) is None
    slices = slices_info(ranking, ["width"])
    assert [one.name for one in slices] == ["width"]
    assert slices[0].points[["key", "place", "value", "distance", "best"]].to_numpy().tolist() == [
        ["hand-00001", 32.0, "32", 8.0, True], ["hand-00000", 16.0, "16", 10.0, False],
    ]  # fmt: skip
    assert len(draw_slice(slices[0]).data) == 2


def test_importance_is_ordered_by_the_larger_with_its_error_bars() -> None:
    table = pd.DataFrame(
        {"parameter": ["a", "b", "c"] * 2, "method": ["one"] * 3 + ["other"] * 3,
         "importance": [0.1, 0.6, 0.3, 0.2, 0.1, 0.7], "low": [0.0, 0.5, math.nan, 0.1, 0.0, 0.5],
         "high": [0.3, 0.9, math.nan, 0.3, 0.2, 0.8], "above_chance": [False, True, True] * 2}
    )  # fmt: skip
    info = importance_info(table, most=2)
    assert info[["parameter", "method"]].to_numpy().tolist() == [
        ["c", "one"], ["c", "other"], ["b", "one"], ["b", "other"],
    ]  # fmt: skip
    assert np.allclose(info[["below", "above"]], [[0, 0], [0.2, 0.1], [0.1, 0.3], [0.1, 0.1]])
    one, other = draw_importance(info, "distance").data
    assert (one.name, list(one.y), list(one.x)) == ("one", ["c", "b"], [0.3, 0.6])
    assert (other.name, list(other.y), list(other.x)) == ("other", ["c", "b"], [0.7, 0.1])


def test_curves_say_where_trials_ended_and_why() -> None:
    rows = [
        trial(10, kimg=40.0),
        trial(20, kimg=10.0, status=schema.STOPPED, reason="not among the best third"),
        trial(30, kimg=10.0, status=schema.STOPPED, reason="not among the best third"),
        {"status": schema.FAILED, "reason": "out of memory", "kimg": math.nan},
    ]
    history = pd.DataFrame(
        [("hand-00000", 10, "distance", 15.0), ("hand-00000", 40, "distance", 10.0),
         ("hand-00001", 10, "distance", 20.0), ("hand-00002", 10, "distance", math.inf),
         ("hand-00000", 10, "kid", 1.0)],
        columns=["key", "kimg", "name", "value"],
    )  # fmt: skip
    info = curves_info(ranked(rows), history)
    assert info.points.to_numpy().tolist() == [
        ["hand-00000", 10, 15.0, "complete", "", True],
        ["hand-00000", 40, 10.0, "complete", "", True],
        ["hand-00001", 10, 20.0, "stopped", "not among the best third", False],
    ]
    assert info.ends.to_numpy().tolist() == [
        [0, "failed", "out of memory", 1], [10, "stopped", "not among the best third", 2], [40, "complete", "", 1],
    ]  # fmt: skip
    figure = draw_curves(info)
    assert "not among the best third" in figure.data[0].text[0]
    assert figure.data[1].line.width > figure.data[0].line.width
    assert [shape.x0 for shape in figure.layout.shapes] == [10]
    assert len(curves_matplotlib(info).axes[0].lines) == 2


def test_the_timeline_has_a_bar_for_each_stretch() -> None:
    first = [
        {"node": "a", "slot": 0, "start": 1000.0, "end": 4600.0},
        {"node": "b", "slot": 1, "start": 8200.0, "end": 11800.0},
    ]
    rows = [
        trial(1, stretches=json.dumps(first)),
        trial(2, stretches=json.dumps([{"node": "b", "slot": 0, "start": 4600.0, "end": 8200.0}])),
    ]
    info = timeline_info(ranked(rows))
    assert info[["key", "lane", "start", "end"]].to_numpy().tolist() == [
        ["hand-00000", "a 1", 0, 1], ["hand-00001", "b 1", 1, 2], ["hand-00000", "b 2", 2, 3],
    ]  # fmt: skip
    assert list(draw_timeline(info).layout.yaxis.categoryarray) == ["b 2", "b 1", "a 1"]
    assert len(timeline_matplotlib(info).axes[0].patches) == 3


def test_trials_without_stretches_lie_on_as_few_slots_as_hold_them() -> None:
    rows = [
        trial(1, started=0.0, ended=3600.0),
        trial(2, started=1800.0, ended=5400.0),
        trial(3, started=3600.0, ended=7200.0, stretches="no JSON"),
    ]
    info = timeline_info(ranked(rows))
    assert info[["key", "slot"]].to_numpy().tolist() == [["hand-00000", 0], ["hand-00001", 1], ["hand-00002", 0]]
    assert info["lane"].tolist() == ["slot 1", "slot 2", "slot 1"]
    assert len(timeline_info(ranked([{"ended": math.nan}]))) == 0


def test_a_stretch_that_nobody_ended_gives_way_to_the_next_on_its_slot() -> None:
    rows = [
        trial(1, stretches=json.dumps([{"node": "a", "slot": 0, "start": 0.0, "end": None},
                                       {"node": "a", "slot": 1, "start": 3600.0, "end": 7200.0}])),
        trial(2, stretches=json.dumps([{"node": "a", "slot": 0, "start": 1800.0, "end": None}])),
    ]  # fmt: skip
    info = timeline_info(ranked(rows))
    assert info[["start", "end"]].to_numpy().tolist() == [[0, 0.5], [0.5, 2], [1, 2]]


def test_confusions_are_shares_of_what_was_asked() -> None:
    counts = [[3, 1, 0], [0, 2, 0], [0, 0, 0]]
    (info,) = confusion_info({"hair": {"classes": ["red", "blue", "none"], "confusion": counts}})
    assert info.shares[:2].tolist() == [[0.75, 0.25, 0], [0, 1, 0]]
    assert np.isnan(info.shares[2]).all()
    assert list(draw_confusion(info).data[0].text[0]) == ["75", "25", ""]


@pytest.mark.parametrize("text", ["<b>x</b>", "a & b", "<a href='javascript:alert(1)'>y</a>"])
def test_plotly_shows_names_as_they_are(text: str) -> None:
    info = front_info(ranked([trial(1, 0.5, key=text), trial(2, 0.6)]))
    assert info is not None
    hovers = [hover for one in draw_front(info).data[1:] for hover in one.text]
    assert not any("<b>x" in hover or "<a " in hover for hover in hovers)
    assert any(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") in hover for hover in hovers)


@pytest.mark.parametrize(
    ("seconds", "title", "last"),
    [(90.0, "seconds since the sweep began", 90.0), (360.0, "minutes since the sweep began", 6.0),
     (6 * 3600.0, "hours since the sweep began", 6.0)],
)  # fmt: skip
def test_times_are_in_the_unit_that_reads_well(seconds: float, title: str, last: float) -> None:
    ranking = ranked([trial(10, 0.5, ended=seconds / 2), trial(8, 0.6, started=1.0, ended=seconds)])
    best = draw_best(best_info(ranking), "distance", "hours")
    assert best.layout.xaxis.title.text == title
    assert best.data[1].x[-1] == pytest.approx(last)
    timeline = draw_timeline(timeline_info(ranking))
    assert timeline.layout.xaxis.title.text == title
    bars = timeline.data[0]
    assert max(start + length for start, length in zip(bars.base, bars.x, strict=True)) == pytest.approx(last)


def test_a_long_name_of_a_slice_is_on_two_lines_and_whole() -> None:
    names = ("losses.adversarial_weight", "a.b")
    rows = [trial(3 + place, **{f"params.{name}": 0.1 * (1 + place) for name in names}) for place in range(3)]
    space = {"dimensions": [{"name": name, "log": True} for name in names]}
    titles = [draw_slice(one).layout.xaxis.title.text for one in slices_info(ranked(rows, space=space))]
    assert titles == ["losses.<br>adversarial_weight", "a.b"]
    assert all(len(one.ticks) == 3 for one in slices_info(ranked(rows, space=space)))


def test_bars_that_chance_gives_too_are_pale() -> None:
    table = pd.DataFrame({"parameter": ["a", "b"], "method": "one", "importance": [0.6, 0.3], "low": [0.5, 0.0],
                          "high": [0.7, 0.4], "above_chance": [True, False]})  # fmt: skip
    (bars,) = draw_importance(importance_info(table), "tag_accuracy").data
    assert list(bars.marker.opacity) == [1, PALE]


def effect(name: str, kimg: float, low: float, estimate: float, high: float) -> Effect:
    """Of one choice against another on the distance."""
    separable = not low <= 1 <= high
    return Effect(
        name, "soft", "hard", "distance", "ratio", estimate, low, high, separable, 20, (10, 10), kimg, 500, "x"
    )


def test_effects_along_training_show_what_turns_first_and_nothing_that_is_never_sure() -> None:
    never = [effect("never", 10, 0.8, 0.9, 1.1), effect("never", 20, 0.9, 1.0, 1.1)]
    steady = [effect("steady", 10, 0.6, 0.7, 0.8), effect("steady", 20, 0.5, 0.6, 0.7)]
    late = [effect("late", 10, 0.9, 1.0, 1.1), effect("late", 20, 1.1, 1.2, 1.3)]
    turns = [effect("turns", 10, 0.6, 0.8, 0.9), effect("turns", 20, 1.1, 1.3, 1.5)]
    info = along_info([never, late, steady, turns])
    assert list(dict.fromkeys(info["comparison"])) == [
        "turns soft against hard", "steady soft against hard", "late soft against hard",
    ]  # fmt: skip
    assert info[["kimg", "estimate", "low", "high"]].iloc[:2].to_numpy().tolist() == [
        [10, 0.8, 0.6, 0.9],
        [20, 1.3, 1.1, 1.5],
    ]
    assert along_info([turns, steady, late], most=1)["comparison"].unique().tolist() == ["turns soft against hard"]
    assert len(along_info([never])) == 0
    named = draw_along(info, "distance", "kimg of the recipe")
    assert named.layout.xaxis.title.text == "training (kimg of the recipe)"
    assert " kimg of the recipe, " in named.data[0].hovertemplate
    figure = draw_along(info, "distance")
    assert figure.layout.xaxis.title.text == "training (kimg)"
    assert [list(line.y) for line in figure.data] == [[0.8, 1.3], [0.7, 0.6], [1.0, 1.2]]
    np.testing.assert_allclose(figure.data[0].error_y.array, [0.1, 0.2])
    np.testing.assert_allclose(figure.data[0].error_y.arrayminus, [0.2, 0.2])
    assert figure.layout.shapes[0].y0 == 1.0
