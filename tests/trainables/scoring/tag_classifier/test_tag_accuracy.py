"""The tag report: hand arithmetic, classes never asked for, the tag classifier's own figures."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from trainables.data.tags import REPORT_VOCABULARY, UNKNOWN, TagGroup, Vocabulary
from trainables.errors import UsageError
from trainables.scoring.tag_classifier.classifier import TagClassifierReport, tag_agreement
from trainables.scoring.tag_classifier.report import JOINT, calibration_error, report_on, wilson
from trainables.scoring.tag_classifier.tag_accuracy import GroupReport, TagReport, report_tags

HAIR = ("red", "green", "blue")
PAIR = Vocabulary((TagGroup("hair", HAIR), TagGroup("eyes", ("dark", "light"))))
ASKED = np.array([[0, 0], [0, 1], [0, 1], [1, 0], [UNKNOWN, 0], [1, UNKNOWN]])
SEEN = np.array([[0, 0], [0, 0], [2, 1], [1, 0], [1, 1], [2, 0]])
# hair: red asked 3 times, seen red twice and blue once; green asked twice, seen green and blue; blue never asked.
# eyes: dark asked 3 times, seen dark twice and light once; light asked twice, seen once.


@pytest.fixture
def report() -> TagReport:
    return report_tags(SEEN, ASKED, PAIR)


def tag_classifier_report(**changes: object) -> TagClassifierReport:
    """A tag classifier's report on eight held-out images of which it gets 6 hairs and all eyes right."""
    hair = torch.tensor([0, 0, 1, 1, 2, 2, 0, 0])
    logits = [torch.eye(3)[hair] * 9, torch.eye(2)[[0, 1] * 4] * 9]
    labels = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1], [2, 0], [2, 1], [1, 0], [2, 1]])
    return dataclasses.replace(report_on(logits, labels, PAIR, trained_on=10), **changes)


def test_by_hand(report: TagReport) -> None:
    hair, eyes = report.groups
    assert hair.confusion.tolist() == [[2, 0, 1], [0, 1, 1], [0, 0, 0]]
    assert eyes.confusion.tolist() == [[2, 1], [1, 1]]
    assert (hair.asked.tolist(), hair.seen.tolist()) == ([3, 2, 0], [2, 1, 2])
    assert hair.per_class == {"red": 2 / 3, "green": 1 / 2, "blue": None}
    assert (hair.accuracy, hair.macro) == (3 / 5, pytest.approx(7 / 12))
    assert (eyes.accuracy, eyes.macro) == (3 / 5, pytest.approx(7 / 12))
    # Of the four images with both tags the first and the fourth show both.
    assert (report.right, report.complete, report.images) == (2, 4, 6)
    assert report.scores() == {
        "tag_accuracy": 1 / 2,
        "tag_accuracy_hair": 3 / 5,
        "tag_accuracy_eyes": 3 / 5,
        "tag_accuracy_macro_hair": pytest.approx(7 / 12),
        "tag_accuracy_macro_eyes": pytest.approx(7 / 12),
    }
    assert report.intervals() == {
        "tag_accuracy": wilson(2, 4),
        "tag_accuracy_hair": wilson(3, 5),
        "tag_accuracy_eyes": wilson(3, 5),
        "tag_accuracy_macro_hair": pytest.approx(mean_of_two((2, 3), (1, 2))),
        "tag_accuracy_macro_eyes": pytest.approx(mean_of_two((2, 3), (1, 2))),
    }


def mean_of_two(*counts: tuple[int, int]) -> tuple[float, float]:
    """What each class's Wilson interval adds to either side, as sides of a right angle, halved."""
    (low, high), (other_low, other_high) = (wilson(*each) for each in counts)
    first, second = (right / asked for right, asked in counts)
    middle = (first + second) / 2
    below = np.sqrt((first - low) ** 2 + (second - other_low) ** 2) / 2
    return middle - below, middle + np.sqrt((high - first) ** 2 + (other_high - second) ** 2) / 2


def test_the_interval_of_a_mean_of_classes_holds_it_over_fresh_images() -> None:
    """A common class, a rare one, one that is nearly always right and one that is never right."""
    rng, group = np.random.default_rng(0), TagGroup("hair", ("a", "b", "c", "d"))
    shares, asked = np.array([0.6, 0.3, 0.97, 0.0]), np.array([200, 6, 30, 12])
    widths, held = [], []
    for _ in range(1000):
        right = rng.binomial(asked, shares)
        confusion = np.diag(right) + np.roll(np.diag(asked - right), 1, axis=1)
        low, high = GroupReport(group, confusion, None).macro_interval()
        held.append(low <= shares.mean() <= high)
        widths.append(high - low)
    assert 0.93 < np.mean(held) < 0.995
    assert max(widths) < 0.35


def test_a_mean_of_one_class_has_wilsons_interval_and_certain_ones_have_a_width() -> None:
    alone = GroupReport(TagGroup("hair", ("a", "b")), np.array([[7, 3], [0, 0]]), None)
    assert alone.macro_interval() == pytest.approx(wilson(7, 10))
    low, high = GroupReport(TagGroup("hair", ("a", "b")), np.diag([5, 5]), None).macro_interval()
    assert (0.6 < low < 0.8, high) == (True, 1.0)


def test_agrees_with_the_score_of_trials() -> None:
    rng = np.random.default_rng(0)
    asked = np.stack([rng.integers(UNKNOWN, size, 500) for size in REPORT_VOCABULARY.sizes], axis=1)
    seen = np.stack([rng.integers(0, size, 500) for size in REPORT_VOCABULARY.sizes], axis=1)
    trial = tag_agreement(torch.from_numpy(seen), torch.from_numpy(asked), REPORT_VOCABULARY)
    scores = report_tags(seen, asked, REPORT_VOCABULARY).scores()
    assert {name: scores[name] for name in trial} == pytest.approx(trial)


def test_nothing_asked_is_none_and_not_zero() -> None:
    nothing = report_tags(SEEN, np.full_like(SEEN, UNKNOWN), PAIR)
    assert set(nothing.scores().values()) == {None}
    assert nothing.intervals() == {}
    assert json.loads(json.dumps(nothing.to_json()))["groups"]["hair"]["per_class"]["red"]["accuracy"] is None
    empty = report_tags(SEEN[:0], ASKED[:0], PAIR, [np.zeros((0, 3)), np.zeros((0, 2))])
    assert (empty.scores()["tag_accuracy"], empty.groups[0].calibration) == (None, None)


def test_calibration_error_by_hand() -> None:
    """Bins of width 1/15: 0.95 and 0.99 share one (mean 0.97, half right), 0.6 (right) is alone in another."""
    shares = np.array([[0.95, 0.05], [0.01, 0.99], [0.6, 0.4], [0.5, 0.5]])
    labels = np.array([0, 0, 0, UNKNOWN])
    assert calibration_error(shares, labels) == pytest.approx((2 * abs(0.97 - 0.5) + abs(0.6 - 1.0)) / 3)
    assert calibration_error(shares, np.full(4, UNKNOWN)) is None


def test_calibration_of_an_honest_and_of_a_boastful_judge() -> None:
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(4), 20_000)
    drawn = (rng.random((20_000, 1)) > shares.cumsum(axis=1)).sum(axis=1)
    assert calibration_error(shares, drawn) < 0.02
    sure = np.eye(4)[shares.argmax(axis=1)]
    right = (shares.argmax(axis=1) == drawn).mean()
    assert calibration_error(sure, drawn) == pytest.approx(1 - right)


def test_probabilities_give_each_group_its_calibration() -> None:
    report = report_tags(SEEN, ASKED, PAIR, [np.eye(3)[SEEN[:, 0]], np.eye(2)[SEEN[:, 1]]])
    assert [one.calibration for one in report.groups] == pytest.approx([2 / 5, 2 / 5])  # sure of all, right on 3 of 5


def test_the_tag_classifiers_own_figures_stand_beside(report: TagReport) -> None:
    tag_classifier, hair = tag_classifier_report(), report.groups[0]
    assert (report.right / report.complete, tag_classifier.accuracy[JOINT]) == (1 / 2, 6 / 8)
    assert (hair.accuracy, tag_classifier.accuracy["hair"]) == (3 / 5, 6 / 8)
    # Red is right twice of two, green and blue twice of three.
    assert tag_classifier.macro_accuracy["hair"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    assert tag_classifier.accuracy["eyes"] == 1.0
    assert hair.calibration is None
    assert tag_classifier.calibration["hair"] == pytest.approx(0.25, abs=0.01)
    known = report.to_json(tag_classifier_report())["groups"]["hair"]
    assert known["per_class"]["green"] == {
        "accuracy": 1 / 2, "asked": 2, "seen": 1, "judge_accuracy": pytest.approx(2 / 3),
    }  # fmt: skip
    assert (known["judge_accuracy"], known["confusion"][0]) == (6 / 8, [2, 0, 1])


def test_a_tag_classifier_from_before_calibration_still_serves() -> None:
    old = {name: value for name, value in tag_classifier_report().to_json().items() if name != "calibration"}
    tag_classifier = TagClassifierReport.from_json(json.loads(json.dumps(old)))
    assert (tag_classifier.accuracy["hair"], tag_classifier.calibration.get("hair")) == (6 / 8, None)
    assert (
        TagClassifierReport.from_json(json.loads(json.dumps(tag_classifier_report().to_json())))
        == tag_classifier_report()
    )


@pytest.mark.parametrize(
    ("predicted", "asked", "said"),
    [
        (SEEN[:, :1], ASKED, "both must be"),
        (SEEN[:3], ASKED, "both must be"),
        (SEEN, ASKED + 2, "of hair; allowed: -1 to 2"),
        (SEEN - 1, ASKED, "of hair; allowed: 0 to 2"),
    ],
)
def test_what_does_not_belong_together_is_refused(predicted: np.ndarray, asked: np.ndarray, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        report_tags(predicted, asked, PAIR)
