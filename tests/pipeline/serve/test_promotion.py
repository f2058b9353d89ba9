"""The comparison of a new model with the champion, by hand-made scores."""

from __future__ import annotations

import dataclasses

import pytest

from pipeline.serve.promotion import ModelScores, promotion_blocker

PRINT = {"extractor": "efficientnet", "data": "ab12"}


def model(
    name: str,
    distance: tuple[float, float, float] | None,
    accuracy: tuple[float, float, float] | None = None,
    fingerprint: dict[str, str] = PRINT,
) -> ModelScores:
    """Scores as (low, value, high)."""
    given = {"distance": distance, "tag_accuracy": accuracy}
    return ModelScores(
        name,
        fingerprint,
        {score: about[1] for score, about in given.items() if about},
        {score: (about[0], about[2]) for score, about in given.items() if about},
    )


CHAMPION = model("champion version 1 (a-00000)", (40, 45, 50), (0.70, 0.75, 0.80))


@pytest.mark.parametrize("accuracy", [(0.9, 0.95, 0.99), (0.70, 0.75, 0.80), (0.60, 0.65, 0.70)])
def test_a_lower_distance_with_intervals_apart_replaces(accuracy: tuple[float, float, float]) -> None:
    """The tag accuracy may be better, equal, or lower while the intervals touch."""
    assert promotion_blocker(model("b-00001", (30, 35, 39.9), accuracy), CHAMPION) is None


def test_a_distance_whose_interval_overlaps_does_not() -> None:
    assert promotion_blocker(model("b-00001", (30, 38, 40), (0.90, 0.95, 0.99)), CHAMPION) == (
        "distance 38 [30, 40] of b-00001 is not better with intervals apart than 45 [40, 50] of champion version 1 "
        "(a-00000)"
    )


def test_a_higher_distance_does_not() -> None:
    reason = promotion_blocker(model("b-00001", (60, 65, 70), (0.90, 0.95, 0.99)), CHAMPION)
    assert reason is not None
    assert reason.startswith("distance 65 [60, 70] of b-00001 is not better")


def test_a_tag_accuracy_that_is_clearly_worse_does_not() -> None:
    assert promotion_blocker(model("b-00001", (30, 35, 39), (0.60, 0.65, 0.69)), CHAMPION) == (
        "tag_accuracy 0.65 [0.6, 0.69] of b-00001 is worse with intervals apart than 0.75 [0.7, 0.8] of champion "
        "version 1 (a-00000)"
    )


def test_a_model_below_the_floor_becomes_no_champion() -> None:
    """0.8 of the champion's 0.75 is 0.6; with a tag classifier that is right on half, the floor: 0.4."""
    new = model("b-00001", (30, 35, 39), (0.55, 0.59, 0.75))
    reason = promotion_blocker(new, CHAMPION)
    assert reason is not None
    assert reason.startswith("tag_accuracy 0.59 of b-00001 is below 0.6: lowest distance among the 1 of 2 trials")
    assert promotion_blocker(dataclasses.replace(new, classifier=0.5), CHAMPION) is None
    assert promotion_blocker(dataclasses.replace(new, min_tag_accuracy=0.0), CHAMPION) is None
    asked = promotion_blocker(dataclasses.replace(new, min_tag_accuracy=0.7), None)
    assert asked is not None
    assert "is below 0.7: no trial has a tag accuracy of at least 70.0% (--min-tag-accuracy 0.7)" in asked


def test_a_champion_that_does_not_follow_its_tags_is_replaced_whatever_its_distance() -> None:
    follows = model("b-00001", (60, 65, 70), (0.75, 0.8, 0.85))  # the floor is 0.64
    ignores = model("champion version 1", (40, 45, 50), (0.1, 0.13, 0.16))
    assert promotion_blocker(follows, ignores) is None
    assert promotion_blocker(follows, model("champion version 1", (40, 45, 50), (0.5, 0.6, 0.65))) is not None
    assert promotion_blocker(dataclasses.replace(follows, min_tag_accuracy=0.0), ignores) is not None


def test_generators_without_tags_compare_by_distance_alone() -> None:
    champion = model("old", (40, 45, 50))
    assert promotion_blocker(model("new", (30, 35, 39)), champion) is None
    assert promotion_blocker(model("new", (40, 45, 50)), champion) is not None


@pytest.mark.parametrize("turned", [False, True])
def test_one_with_and_one_without_tags_do_not_compare(turned: bool) -> None:
    untagged = model("plain", (30, 35, 39))
    pair = (CHAMPION, untagged) if turned else (untagged, CHAMPION)
    reason = promotion_blocker(*pair)
    assert reason == "champion version 1 (a-00000) has a tag accuracy and plain has none; they do not compare"


def test_another_fingerprint_names_what_differs() -> None:
    other = model("b-00001", (30, 35, 39), (0.7, 0.75, 0.8), {**PRINT, "data": "cd34"})
    assert promotion_blocker(other, CHAMPION) == (
        "the scores of b-00001 and champion version 1 (a-00000) do not compare, they were measured differently: "
        "data cd34 and ab12"
    )


@pytest.mark.parametrize("score", ["distance", "tag_accuracy"])
@pytest.mark.parametrize("turned", [False, True])
def test_scores_without_interval_are_not_compared(score: str, turned: bool) -> None:
    full = model("full", (30, 35, 39), (0.7, 0.75, 0.8))
    bare = ModelScores("bare", PRINT, full.scores, {n: both for n, both in full.intervals.items() if n != score})
    assert promotion_blocker(*((full, bare) if turned else (bare, full))) == (
        f"bare has no interval of its {score}; trials that came to the end have one"
    )


def test_the_first_needs_an_interval_of_its_distance() -> None:
    assert promotion_blocker(model("first", (30, 35, 39)), None) is None
    bare = ModelScores("bare", PRINT, {"distance": 35.0}, {"tag_accuracy": (0.7, 0.8)})
    assert promotion_blocker(bare, None) == "bare has no interval of its distance; trials that came to the end have one"


def test_a_single_run_does_not_replace_a_confirmed_configuration() -> None:
    sure = dataclasses.replace(CHAMPION, confirmed=True)
    new = model("b-00001", (30, 35, 39), (0.7, 0.75, 0.8))
    assert promotion_blocker(new, sure) == (
        "b-00001 is a single training run and champion version 1 (a-00000) was confirmed on fresh seeds; "
        "`gansweep confirm` comes first"
    )
    for champion in (sure, CHAMPION):
        assert promotion_blocker(dataclasses.replace(new, confirmed=True), champion) is None


def test_a_champion_that_another_program_registered_has_no_scores() -> None:
    foreign = ModelScores("champion version 4", PRINT, {}, {})
    assert promotion_blocker(model("new", (30, 35, 39)), foreign) == (
        "champion version 4 has no interval of its distance; trials that came to the end have one"
    )
