"""Scores of translations by hand: the identity, the other domain's real pictures, painted tags that are changed."""

from __future__ import annotations

import dataclasses
import itertools
import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from tests.support.tiny import PAIR, Extractors, JudgeStub, drawn_faces, paint, painted_images, quadrants, random_labels
from trainables.data.tags import TagGroup, Vocabulary
from trainables.scoring import scorer as module
from trainables.scoring import translation
from trainables.scoring.scorer import ExtractorChoice, Scorer, make_scorer

if TYPE_CHECKING:
    from trainables.data.dataset import TaggedImages

DOMAINS = Vocabulary((TagGroup("domain", ("day", "night")), TagGroup("size", ("small", "large", "huge"))))


@pytest.fixture(autouse=True)
def extractors(monkeypatch) -> Extractors:
    stub = Extractors()
    monkeypatch.setattr(module, "open_extractor", stub)
    return stub


def make(images: TaggedImages, cache, *, samples: int = 40, seed: int = 0, judge: bool = True, **more) -> Scorer:
    stub = JudgeStub(images.vocabulary) if judge else None
    choice = ExtractorChoice("stub")
    return make_scorer(images, stub, extractor=choice, samples=samples, seed=seed, cache=cache, **more)[0]


def noisy(labels: np.ndarray, vocabulary: Vocabulary, targets: tuple[str, ...] = ()) -> TaggedImages:
    """Painted pictures with noise in the channel that shows no tag."""
    images = painted_images(labels, vocabulary)
    pixels = images.pixels.copy()
    pixels[..., 2] = np.random.default_rng(0).integers(0, 256, pixels.shape[:3])
    return dataclasses.replace(images, pixels=pixels, targets=targets)


@pytest.fixture
def pair() -> TaggedImages:
    """40 pictures of day and 20 of night."""
    labels = np.stack([np.repeat([0, 1], [40, 20]), np.arange(60) % 3], axis=1)
    return noisy(labels, DOMAINS, ("domain",))


def floats(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2).float().div(127.5).sub(1.0)


def frechet(first: np.ndarray, second: np.ndarray) -> float:
    a, b = (quadrants(torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2)).double().numpy() for pixels in
            (first, second))  # fmt: skip
    one, two = np.cov(a.T), np.cov(b.T)
    shift = a.mean(0) - b.mean(0)
    roots = np.sqrt(np.linalg.eigvals(one @ two).real.clip(0.0))
    return float(shift @ shift + np.trace(one + two) - 2 * roots.sum())


def identity(pictures: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return pictures


def repaint(pictures: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Paint what is asked and keep the noise of the channel without a tag."""
    painted = paint(labels, pictures.shape[-1]).clone()
    painted[:, labels.shape[1] :] = pictures[:, labels.shape[1] :]
    return painted


def test_sources_go_both_ways_in_equal_numbers(pair, tmp_path) -> None:
    task = make(pair, tmp_path, samples=101).task
    own = pair.labels[task.sources]
    assert own[:, 0].tolist() == [0, 1] * 50 + [0]
    assert (task.asked[:, 0] == 1 - own[:, 0]).all()
    assert (task.asked[:, 1] == own[:, 1]).all()
    assert set(task.sources[:80:2].tolist()) == set(range(40))  # every picture once before any comes again
    assert set(task.sources[1:40:2].tolist()) == set(range(40, 60))


def test_the_identity_changes_nothing_and_obeys_nothing(pair, tmp_path) -> None:
    scorer = make(pair, tmp_path, samples=40)
    found = scorer.score_translation(identity)
    assert found.values["tag_accuracy"] == found.values["tag_accuracy_domain"] == 0.0
    assert found.values["preserved"] == 1.0
    for name in ("source_feature_distance", "cycle_l1", "identity_l1"):
        assert found.values[name] == 0.0
    day, night = (pair.pixels[scorer.task.sources[label::2]] for label in (0, 1))
    to_night, to_day = frechet(pair.pixels[40:], day), frechet(pair.pixels[:40], night)
    assert found.values["fd_stub_to_night"] == pytest.approx(to_night, rel=1e-6)
    assert found.values["fd_stub_to_day"] == pytest.approx(to_day, rel=1e-6)
    assert found.values["distance"] == found.values["fd_stub"] == pytest.approx((to_night + to_day) / 2, rel=1e-6)


def test_the_other_domains_real_pictures_are_at_no_distance(pair, tmp_path) -> None:
    rows = [itertools.cycle(floats(pair.pixels[part])) for part in (slice(0, 40), slice(40, 60))]
    replayed = 0

    def translate(pictures, labels):
        nonlocal replayed
        replayed += 1
        if replayed % 3 != 1:  # back, and to its own
            return pictures
        return torch.stack([next(rows[label]) for label in labels[:, 0].tolist()])

    found = make(pair, tmp_path, samples=80).score_translation(translate).values
    # The 20 of night come twice, which changes the factor n - 1 of their covariance alone.
    night = quadrants(torch.from_numpy(pair.pixels[40:]).permute(0, 3, 1, 2)).double().numpy()
    twice = np.sqrt(np.cov(np.concatenate([night, night]).T).trace() / np.cov(night.T).trace())
    assert found["fd_stub_to_day"] == pytest.approx(0, abs=1e-3)
    assert found["fd_stub_to_night"] == pytest.approx(np.cov(night.T).trace() * (twice - 1) ** 2, abs=1e-3)
    assert found["tag_accuracy"] == 1.0
    assert found["source_feature_distance"] > 10


def test_a_perfect_translation(pair, tmp_path) -> None:
    found = make(pair, tmp_path).score_translation(repaint).values
    assert found["tag_accuracy"] == found["preserved"] == 1.0
    # Back to its own labels, and asked for them, it paints the source again but for rounding to 8 bits.
    assert found["cycle_l1"] < 1 / 255
    assert found["identity_l1"] < 1 / 255
    # One channel moves by one STEP of 20 in all 4 quadrants: (4 * 20^2) ** 0.5.
    assert found["source_feature_distance"] == pytest.approx(40, abs=1e-3)


def test_shares_and_differences_by_hand(pair, tmp_path) -> None:
    scorer = make(pair, tmp_path, samples=20)
    own = scorer.task.asked.copy()
    own[:, 0] = 1 - own[:, 0]
    calls = itertools.count()

    def translate(pictures, labels):
        what, shown = next(calls), labels.clone()
        if what == 0:
            shown[:5, 0] = 1 - shown[:5, 0]  # 5 disobeyed
            shown[2:10, 1] = (shown[2:10, 1] + 1) % 3  # 8 whose size was not to change
            return repaint(pictures, shown)
        if what == 1:  # the way back: 4 pictures are lighter by 0.5 in one channel of three
            back = repaint(pictures, torch.from_numpy(own))
            back[:4, 0] += 0.5
            return back
        return pictures + 0.25  # asked for its own

    found = scorer.score_translation(translate)
    assert found.values["tag_accuracy"] == 15 / 20
    assert found.values["preserved"] == pytest.approx(12 / 20)
    assert found.values["cycle_l1"] == pytest.approx(4 / 20 * 0.5 / 3, abs=1 / 255)
    assert found.values["identity_l1"] == pytest.approx(0.25, abs=1e-6)
    for name in ("tag_accuracy", "preserved", "cycle_l1", "distance", "fd_stub_to_day", "source_feature_distance"):
        low, high = found.intervals[name]
        assert low < found.values[name] < high
    cycle = np.repeat([0.5 / 3, 0.0], [4, 16])
    error = cycle.std(ddof=1) / np.sqrt(20)
    assert np.diff(found.intervals["cycle_l1"])[0] == pytest.approx(2 * 1.96 * error, rel=0.02)


def test_the_error_of_the_mean_distance_is_that_of_two_halves(pair, tmp_path) -> None:
    random = torch.Generator().manual_seed(0)

    def translate(pictures, labels):
        return (repaint(pictures, labels) + 0.2 * torch.randn(len(pictures), 1, 1, 1, generator=random)).clamp(-1, 1)

    found = make(pair, tmp_path, samples=60).score_translation(translate)
    halves = [np.diff(found.intervals[f"fd_stub_to_{name}"])[0] for name in ("day", "night")]
    values = [found.values[f"fd_stub_to_{name}"] for name in ("day", "night")]
    assert found.values["distance"] == pytest.approx(np.mean(values))
    assert np.diff(found.intervals["distance"])[0] == pytest.approx(np.hypot(*halves) / 2)
    assert found.intervals["fd_stub"] == found.intervals["distance"]


def test_many_classes_are_asked_for_in_the_datas_proportions_and_never_the_own(tmp_path) -> None:
    labels = np.array([[0, 0]] * 60 + [[1, 1]] * 30 + [[2, 0]] * 10)
    images = noisy(labels, PAIR, ("hair",))
    scorer = make(images, tmp_path, samples=3000)
    task = scorer.task
    own = labels[task.sources]
    assert (task.asked[:, 0] != own[:, 0]).all()
    assert (task.asked[:, 1] == own[:, 1]).all()
    of_first = task.asked[own[:, 0] == 0, 0]
    assert len(of_first) == 1800
    assert (of_first == 1).mean() == pytest.approx(30 / 40, abs=0.04)
    assert task.domains == ()
    few = make(images, tmp_path, samples=50)
    found = few.score_translation(repaint).values
    shown = repaint(floats(images.pixels[few.task.sources]), torch.from_numpy(few.task.asked))
    pixels = shown.add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    assert found["distance"] == pytest.approx(frechet(images.pixels, pixels), rel=1e-6)
    assert not [name for name in found if "_to_" in name]
    assert found["tag_accuracy"] == found["preserved"] == 1.0
    assert "tag_accuracy_eyes" not in found


def test_without_targets_every_group_is_one_and_nothing_is_to_be_preserved(tmp_path) -> None:
    scorer = make(noisy(random_labels(48), PAIR), tmp_path)
    own = scorer.task.images.labels[scorer.task.sources]
    assert (scorer.task.asked != own).any(axis=1).all()
    found = scorer.score_translation(repaint)
    assert found.values["tag_accuracy"] == found.values["tag_accuracy_hair"] == found.values["tag_accuracy_eyes"] == 1
    assert "preserved" not in found.values
    assert found.tags is not None
    assert found.tags.pictures == 40


def test_where_all_pictures_are_alike_their_own_tags_are_asked_for(tmp_path) -> None:
    scorer = make(noisy(np.tile([[1, 0]], (32, 1)), PAIR), tmp_path)
    assert (scorer.task.asked == [1, 0]).all()


def test_a_class_with_few_pictures_leaves_one_distance(tmp_path) -> None:
    labels = np.stack([np.repeat([0, 1], [40, 15]), np.arange(55) % 3], axis=1)
    found = make(noisy(labels, DOMAINS, ("domain",)), tmp_path).score_translation(repaint).values
    assert "distance" in found
    assert not [name for name in found if "_to_" in name]


def test_early_scores_are_of_the_first_pictures_without_intervals(pair, tmp_path) -> None:
    scorer, seen = make(pair, tmp_path), []

    def translate(pictures, labels):
        seen.append(pictures)
        return repaint(pictures, labels)

    full, early = scorer.score_translation(translate), scorer.score_translation(translate, samples=16)
    assert (full.samples, early.samples) == (40, 16)
    assert torch.equal(seen[3], seen[0][:16])
    assert early.intervals == {}
    more = {"precision", "recall", "density", "coverage", "memorised"}
    assert set(full.values) == set(early.values) | more
    assert {"diversity", "tag_accuracy_macro_domain", "kid"} <= set(early.values)
    assert scorer.score_translation(translate, samples=1000).metrics() == full.metrics()


@pytest.mark.parametrize("batch", [1, 7, 40])
def test_the_batch_changes_no_score(pair, tmp_path, monkeypatch, batch: int) -> None:
    scorer = make(pair, tmp_path)
    before = scorer.score_translation(repaint).metrics()
    monkeypatch.setattr(translation, "BATCH", batch)
    assert scorer.score_translation(repaint).metrics() == pytest.approx(before, rel=1e-5)


def test_equal_seeds_give_equal_tasks_and_training_is_left_alone(pair, tmp_path) -> None:
    state = torch.get_rng_state()
    one, again, other = (make(pair, tmp_path, seed=seed).task for seed in (0, 0, 1))
    assert (one.sources == again.sources).all()
    assert (one.asked == again.asked).all()
    assert (one.sources != other.sources).any()
    make(pair, tmp_path).score_translation(identity)
    assert torch.equal(torch.get_rng_state(), state)


def test_incomplete_pictures_are_no_sources(tmp_path) -> None:
    images = drawn_faces()
    task = make(images, tmp_path, samples=400).task
    assert task.sources.max() < images.complete


def test_without_a_judge_distances_remain(pair, tmp_path) -> None:
    found = make(pair, tmp_path, judge=False).score_translation(identity)
    assert found.tags is None
    assert "preserved" not in found.values
    assert {"distance", "cycle_l1", "source_feature_distance"} <= set(found.values)


def test_the_fingerprint_and_the_floor_are_those_of_translations(pair, tmp_path) -> None:
    judge, choice = JudgeStub(DOMAINS), ExtractorChoice("stub")
    drawn, floor = make_scorer(pair, judge, extractor=choice, samples=40, seed=0, cache=tmp_path)
    scorer, own = make_scorer(pair, judge, extractor=choice, samples=40, seed=0, cache=tmp_path, translates=True)
    assert scorer.fingerprint.seed_policy == "sources and tags fixed per sweep"
    assert dataclasses.replace(scorer.fingerprint, seed_policy=drawn.fingerprint.seed_policy) == drawn.fingerprint
    to_day, to_night = own.scores["fd_stub_to_day"], own.scores["fd_stub_to_night"]
    assert own.scores["fd_stub"] == pytest.approx((to_day + to_night) / 2)
    # Of day 20 against 20, of night 10 against 10: fewer pictures lie further apart.
    halves = []
    for seed in range(30):
        order = np.random.default_rng(seed).permutation(20)
        halves.append(frechet(pair.pixels[40:][order[10:]], pair.pixels[40:][order[:10]]))
    assert min(halves) < to_night < max(halves)
    assert to_night > to_day
    assert {name for name in floor.scores if "_to_" in name} == set()


def test_a_scorer_travels_with_the_pictures_once(pair, tmp_path) -> None:
    scorer = make(pair, tmp_path)
    alone, both = len(pickle.dumps(pair.pixels)), len(pickle.dumps((pair, scorer)))
    assert both < len(pickle.dumps(scorer)) + alone / 2
