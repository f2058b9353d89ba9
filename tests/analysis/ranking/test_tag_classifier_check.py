from __future__ import annotations

from typing import Any

import pytest

from analysis.ranking.caveats import caveats
from analysis.ranking.ranking import rank
from analysis.ranking.table import format_table
from analysis.ranking.tag_classifier_check import check_tag_classifier, describe_accuracy, tag_classifier_warning
from tests.support.sweeps import make_sweep


def described(right: float, low: float, **groups: tuple[float, float]) -> dict[str, Any]:
    """Data of 40 images: 16 are blue squares, 12 blue discs, 12 red squares."""
    shares = {"both": (right, low), **groups}
    return {
        "judge": {
            "accuracy": {name: share for name, (share, _) in shares.items()},
            "intervals": {name: [low, 1.0] for name, (_, low) in shares.items()},
        },
        "counts": {"colour": {"blue": 28, "red": 12}, "form": {"square": 28, "disc": 12}},
        "combinations": [{"labels": [], "count": count} for count in (16, 12, 12)],
    }


@pytest.mark.parametrize(("low", "at_chance"), [(0.401, False), (0.4, True), (0.3, True)])
def test_it_is_at_chance_where_always_the_commonest_tags_may_be_as_good(low: float, at_chance: bool) -> None:
    check = check_tag_classifier(described(0.6, low))
    assert check is not None
    assert (check.chance, check.at_chance) == (0.4, at_chance)  # 16 of 40
    assert bool(check.warning) == at_chance


def test_the_warning_names_accuracy_and_chance() -> None:
    assert tag_classifier_warning(described(0.45, 0.35)) == (
        "the tag classifier is right on 45.0% of held-out real images, no better than chance (always the commonest "
        "tags: 40.0%): tag accuracies say nothing here"
    )
    assert tag_classifier_warning(described(0.49, 0.41)) == (
        "the tag classifier is right on 49.0% of held-out real images (always the commonest tags: 40.0%): tag "
        "accuracies are rough"
    )
    assert tag_classifier_warning(described(0.5, 0.41)) is None


def test_a_group_at_chance_is_named() -> None:
    data = described(0.6, 0.5, colour=(0.9, 0.8), form=(0.72, 0.69))  # always square: 28 of 40
    assert tag_classifier_warning(data) == (
        "for form the tag classifier is right on 72.0% of held-out real images, no better than chance (always the "
        "commonest: 70.0%): that tag accuracy says nothing"
    )


@pytest.mark.parametrize("data", [{}, {"judge": {}}, {"judge": {"accuracy": {"both": 0.1}}}])
def test_without_figures_nothing_is_said(data: dict[str, Any]) -> None:
    assert tag_classifier_warning(data) is None


def test_rank_and_report_say_it_first() -> None:
    rows = [{"scores.distance": 10.0 + number, "scores.tag_accuracy": 0.5 + number / 10} for number in range(3)]
    ranking = rank(make_sweep(rows, data=described(0.45, 0.35)))
    assert format_table(ranking).splitlines()[1].startswith("WARNING: the tag classifier is right on 45.0%")
    assert caveats(ranking)[0].reason == ranking.to_json()["tag_classifier_warning"]
    assert caveats(rank(make_sweep(rows, data=described(0.9, 0.8))))[0].label != "tag classifier"


def test_a_search_by_distance_alone_has_a_front_of_one() -> None:
    rows = [{"scores.distance": 10.0 + number, "scores.tag_accuracy": 0.5 + number / 10} for number in range(3)]
    both = rank(make_sweep(rows))
    alone = rank(make_sweep(rows, data={"objectives": ["distance"]}))
    assert (len(both.pareto), alone.pareto) == (3, ["hand-00000"])
    assert both.hypervolume() is not None
    assert alone.hypervolume() is None
    assert alone.knee is None
    assert "best by tag accuracy" in format_table(both)
    assert "best by tag accuracy" not in format_table(alone)


def test_accuracies_of_one_group_are_said_once() -> None:
    assert describe_accuracy({"both": 0.843, "class": 0.843}) == "class 84.3%"
    assert describe_accuracy({"hair": 0.95, "eyes": None, "both": 0.86}) == "hair 95.0%, both 86.0%"
    three = {"both": 0.5, "hair": 0.9, "eyes": 0.8, "pose": 0.7}
    assert describe_accuracy(three) == "all groups 50.0%, hair 90.0%, eyes 80.0%, pose 70.0%"
