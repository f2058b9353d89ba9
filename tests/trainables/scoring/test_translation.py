"""Scores of translations by hand: the identity, the other domain's real images, painted tags that are changed."""

from __future__ import annotations

import dataclasses
import itertools
import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from tests.support.tiny import PAIR, Extractors, TagClassifierStub, paint, painted_images, quadrants, random_labels
from trainables.data.tags import UNKNOWN, TagGroup, Vocabulary
from trainables.errors import UsageError, UserError
from trainables.scoring import scorer as module
from trainables.scoring import translation, translation_task
from trainables.scoring.extractors.registry import ExtractorChoice
from trainables.scoring.metrics import suite
from trainables.scoring.scorer import Scorer, make_scorer
from trainables.scoring.translation import score_translation

if TYPE_CHECKING:
    from trainables.data.dataset import TaggedImages

DOMAINS = Vocabulary((TagGroup("domain", ("day", "night")), TagGroup("size", ("small", "large", "huge"))))


@pytest.fixture(autouse=True)
def extractors(monkeypatch) -> Extractors:
    stub = Extractors()
    monkeypatch.setattr("trainables.scoring.extractors.registry.open_extractor", stub)
    return stub


def make(
    images: TaggedImages, cache, *, samples: int = 40, seed: int = 0, tag_classifier: bool = True, **more
) -> Scorer:
    stub = TagClassifierStub(images.vocabulary) if tag_classifier else None
    choice = ExtractorChoice("stub")
    more = {"translates": True, **more}
    return make_scorer(images, stub, extractor=choice, samples=samples, seed=seed, cache=cache, **more)[0]


def noisy(labels: np.ndarray, vocabulary: Vocabulary, targets: tuple[str, ...] = ()) -> TaggedImages:
    """Painted images with noise in the channel that shows no tag."""
    images = painted_images(labels, vocabulary)
    pixels = images.pixels.copy()
    pixels[..., 2] = np.random.default_rng(0).integers(0, 256, pixels.shape[:3])
    return dataclasses.replace(images, pixels=pixels, targets=targets)


@pytest.fixture
def pair() -> TaggedImages:
    """40 images of day and 20 of night."""
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


def identity(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return images


def repaint(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Paint what is asked and keep the noise of the channel without a tag."""
    painted = paint(labels, images.shape[-1]).clone()
    painted[:, labels.shape[1] :] = images[:, labels.shape[1] :]
    return painted


def test_sources_go_both_ways_in_equal_numbers(pair, tmp_path) -> None:
    task = make(pair, tmp_path, samples=31).task
    own = pair.labels[task.sources]
    assert own[:, 0].tolist() == [1, 0] * 15 + [1]
    assert (task.asked[:, 0] == 1 - own[:, 0]).all()
    assert (task.asked[:, 1] == own[:, 1]).all()


def test_no_image_is_asked_twice_for_the_same(pair, tmp_path) -> None:
    scorer = make(pair, tmp_path, samples=1000)
    assert len(set(scorer.task.sources.tolist())) == len(scorer.task.sources) == 40
    assert set(scorer.task.sources[::2].tolist()) == set(range(40, 60))  # each night once, and as many days
    assert scorer.fingerprint.samples == 40
    full = score_translation(scorer, repaint)
    assert (full.samples, full.tags.images) == (40, 40)
    assert full.metrics()["samples"] == 40
    assert full.intervals
    for wanted, scored in ((24, 24), (1, 16), (39, 39), (41, 40)):  # of each class 8 at least
        assert score_translation(scorer, repaint, samples=wanted).samples == scored


def test_no_combination_is_asked_twice_of_a_image(tmp_path) -> None:
    labels = np.array([[0, 0], [1, 1], [1, 0]] * 20)
    task = make(noisy(labels, PAIR), tmp_path, samples=1000).task
    pairs = list(zip(task.sources.tolist(), map(tuple, task.asked.tolist()), strict=True))
    assert len(set(pairs)) == len(pairs) >= 4 * 8
    assert np.ptp(np.bincount(task.counted, minlength=4)) <= 1
    assert task.left_out == ("blue hair",)
    for source, asked, at in zip(task.sources, task.asked, task.counted, strict=True):
        target = task.domains[at]
        assert asked[target.place] == target.label != labels[source, target.place]
        assert tuple(asked) in {(0, 0), (1, 1), (1, 0)}


def test_the_identity_changes_nothing_and_obeys_nothing(pair, tmp_path) -> None:
    scorer = make(pair, tmp_path, samples=40)
    found = score_translation(scorer, identity)
    assert found.values["tag_accuracy"] == found.values["tag_accuracy_domain"] == 0.0
    assert found.values["preserved"] == 1.0
    for name in ("source_feature_distance", "cycle_l1", "identity_l1"):
        assert found.values[name] == 0.0
    night, day = (pair.pixels[scorer.task.sources[label::2]] for label in (0, 1))
    to_night, to_day = frechet(pair.pixels[40:], day), frechet(pair.pixels[:40], night)
    assert found.values["fd_stub_to_night"] == pytest.approx(to_night, rel=1e-6)
    assert found.values["fd_stub_to_day"] == pytest.approx(to_day, rel=1e-6)
    assert found.values["distance"] == found.values["fd_stub"] == pytest.approx((to_night + to_day) / 2, rel=1e-6)


@pytest.mark.parametrize("samples", [None, 24])
def test_only_distances_to_the_classes_are_computed(pair, tmp_path, monkeypatch, samples) -> None:
    scorer = make(pair, tmp_path)
    measured, ordinary = [], suite.frechet_and_kid

    def counted(statistics, kernel, features, *seed, **errors):
        measured.append((statistics, len(features)))
        return ordinary(statistics, kernel, features, *seed, **errors)

    for owner in (suite, module, translation):
        monkeypatch.setattr(owner, "frechet_and_kid", counted)
    found = score_translation(scorer, repaint, samples=samples)
    each = found.samples // 2
    assert measured == [(domain.statistics, each) for domain in scorer.task.domains]
    assert bool(found.intervals) == (samples is None)


def test_the_other_domains_real_images_are_at_no_distance(tmp_path) -> None:
    labels = np.stack([np.repeat([0, 1], 30), np.arange(60) % 3], axis=1)
    pair = noisy(labels, DOMAINS, ("domain",))
    rows = [itertools.cycle(floats(pair.pixels[part])) for part in (slice(0, 30), slice(30, 60))]
    replayed = 0

    def translate(images, labels):
        nonlocal replayed
        replayed += 1
        if replayed % 3 != 1:  # back, and to its own
            return images
        return torch.stack([next(rows[label]) for label in labels[:, 0].tolist()])

    found = score_translation(make(pair, tmp_path, samples=60), translate).values
    assert found["fd_stub_to_day"] == pytest.approx(0, abs=1e-3)
    assert found["fd_stub_to_night"] == pytest.approx(0, abs=1e-3)
    assert found["tag_accuracy"] == 1.0
    assert found["source_feature_distance"] > 10


@pytest.mark.parametrize("targets", [("hair",), ("hair", "eyes"), ()])
@pytest.mark.parametrize("samples", [None, 40])
def test_doing_nothing_is_worse_than_a_perfect_translation(tmp_path, targets, samples) -> None:
    labels = random_labels(120)
    scorer = make(noisy(labels, PAIR, targets), tmp_path, samples=60)
    nothing, perfect = (score_translation(scorer, one, samples=samples).values for one in (identity, repaint))
    for score in ("distance", "fd_stub", "kid", *(name for name in nothing if "_to_" in name)):
        # Grey levels of the classes are 20 and 40 apart, in one of three channels; noise is of about 9 in another.
        assert nothing[score] > 5 * max(0.0, perfect[score]), score


def test_a_perfect_translation(pair, tmp_path) -> None:
    found = score_translation(make(pair, tmp_path), repaint).values
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

    def translate(images, labels):
        what, shown = next(calls), labels.clone()
        if what == 0:
            shown[:5, 0] = 1 - shown[:5, 0]  # 5 disobeyed
            shown[2:10, 1] = (shown[2:10, 1] + 1) % 3  # 8 whose size was not to change
            return repaint(images, shown)
        if what == 1:  # the way back: 4 images are lighter by 0.5 in one channel of three
            back = repaint(images, torch.from_numpy(own))
            back[:4, 0] += 0.5
            return back
        return images + 0.25  # asked for its own

    found = score_translation(scorer, translate)
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

    def translate(images, labels):
        return (repaint(images, labels) + 0.2 * torch.randn(len(images), 1, 1, 1, generator=random)).clamp(-1, 1)

    found = score_translation(make(pair, tmp_path, samples=60), translate)
    halves = [np.diff(found.intervals[f"fd_stub_to_{name}"])[0] for name in ("day", "night")]
    values = [found.values[f"fd_stub_to_{name}"] for name in ("day", "night")]
    assert found.values["distance"] == pytest.approx(np.mean(values))
    assert np.diff(found.intervals["distance"])[0] == pytest.approx(np.hypot(*halves) / 2)
    assert found.intervals["fd_stub"] == found.intervals["distance"]


def test_every_class_is_asked_for_equally_often_of_others(tmp_path) -> None:
    labels = np.array([[0, 0]] * 60 + [[1, 1]] * 30 + [[2, 0]] * 20)
    images = noisy(labels, PAIR, ("hair",))
    scorer = make(images, tmp_path, samples=91)
    task = scorer.task
    assert [domain.name for domain in task.domains] == ["red", "green", "blue"]
    assert task.asked[:, 0].tolist() == task.counted.tolist() == [0, 1, 2] * 30 + [0]
    own = labels[task.sources]
    assert (task.asked[:, 0] != own[:, 0]).all()
    assert (task.asked[:, 1] == own[:, 1]).all()
    found = score_translation(scorer, repaint)
    shown = repaint(floats(images.pixels[task.sources]), torch.from_numpy(task.asked))
    pixels = shown.add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    each = {}
    for label, name in enumerate(("red", "green", "blue")):
        each[name] = frechet(images.pixels[labels[:, 0] == label], pixels[task.asked[:, 0] == label])
        assert found.values[f"fd_stub_to_{name}"] == pytest.approx(each[name], rel=1e-5)
    assert found.values["distance"] == pytest.approx(np.mean(list(each.values())), rel=1e-5)
    assert found.values["tag_accuracy"] == found.values["preserved"] == 1.0
    assert "tag_accuracy_eyes" not in found.values
    errors = [np.diff(found.intervals[f"fd_stub_to_{name}"])[0] for name in each]
    assert np.diff(found.intervals["fd_stub"])[0] == pytest.approx(np.sqrt(np.square(errors).sum()) / 3)


def test_without_targets_every_group_is_one_and_nothing_is_to_be_preserved(tmp_path) -> None:
    scorer = make(noisy(random_labels(96), PAIR), tmp_path)
    own = scorer.task.images.labels[scorer.task.sources]
    assert (scorer.task.asked != own).any(axis=1).all()
    assert [domain.name for domain in scorer.task.domains][-2:] == ["dark eyes", "light eyes"]
    found = score_translation(scorer, repaint)
    assert found.values["tag_accuracy"] == found.values["tag_accuracy_hair"] == found.values["tag_accuracy_eyes"] == 1
    assert "preserved" not in found.values
    assert found.tags is not None
    assert found.tags.images == 40


def test_where_there_is_nothing_to_translate_to_one_line_says_so(tmp_path) -> None:
    with pytest.raises(UserError, match=r"none of red hair, green hair, .* has 16 images .* 8 of other"):
        make(noisy(np.tile([[1, 0]], (32, 1)), PAIR), tmp_path)


def test_more_classes_than_the_samples_allow_are_refused(tmp_path) -> None:
    with pytest.raises(UserError, match=r"39 samples are too few .* to 5 classes; give --samples 40 or more"):
        make(noisy(random_labels(120), PAIR), tmp_path, samples=39)
    assert make(noisy(random_labels(120), PAIR), tmp_path, samples=40).fingerprint.samples == 40


def test_a_class_with_few_images_is_left_out_by_name(tmp_path) -> None:
    labels = np.stack([np.repeat([0, 1], [40, 15]), np.arange(55) % 3], axis=1)
    scorer = make(noisy(labels, DOMAINS, ("domain",)), tmp_path)
    assert scorer.task.left_out == ("night",)
    assert scorer.fingerprint.samples == 15
    assert (scorer.task.asked[:, 0] == 0).all()
    found = score_translation(scorer, repaint).values
    assert [name for name in found if "_to_" in name] == ["fd_stub_to_day"]
    assert found["distance"] == found["fd_stub_to_day"]


def test_early_scores_are_of_the_first_images_without_intervals(pair, tmp_path) -> None:
    scorer, seen = make(pair, tmp_path), []

    def translate(images, labels):
        seen.append(images)
        return repaint(images, labels)

    full, early = score_translation(scorer, translate), score_translation(scorer, translate, samples=16)
    assert (full.samples, early.samples) == (40, 16)
    assert torch.equal(seen[3], seen[0][:16])
    assert early.intervals == {}
    more = {"precision", "recall", "density", "coverage", "memorised"}
    assert set(full.values) == set(early.values) | more
    assert {"diversity", "tag_accuracy_macro_domain", "kid"} <= set(early.values)
    assert score_translation(scorer, translate, samples=1000).metrics() == full.metrics()


@pytest.mark.parametrize("batch", [1, 7, 40])
def test_the_batch_changes_no_score(pair, tmp_path, monkeypatch, batch: int) -> None:
    scorer = make(pair, tmp_path)
    before = score_translation(scorer, repaint).metrics()
    monkeypatch.setattr(translation_task, "BATCH", batch)
    assert score_translation(scorer, repaint).metrics() == pytest.approx(before, rel=1e-5)


def test_images_are_read_as_they_are_needed(pair, tmp_path, monkeypatch) -> None:
    read: list[int] = []

    class Pixels(np.ndarray):
        def __getitem__(self, places):
            read.append(len(places))
            return np.asarray(self)[places]

    task = make(pair, tmp_path).task
    task = dataclasses.replace(task, images=dataclasses.replace(pair, pixels=pair.pixels.view(Pixels)))
    monkeypatch.setattr(translation_task, "BATCH", 16)
    seen = [(len(images), sum(read)) for images, _, _ in task.batches(40, "cpu")]
    assert seen == [(16, 16), (16, 32), (8, 40)]


def test_equal_seeds_give_equal_tasks_and_training_is_left_alone(pair, tmp_path) -> None:
    state = torch.get_rng_state()
    one, again, other = (make(pair, tmp_path, seed=seed).task for seed in (0, 0, 1))
    assert (one.sources == again.sources).all()
    assert (one.asked == again.asked).all()
    assert (one.sources != other.sources).any()
    score_translation(make(pair, tmp_path), identity)
    assert torch.equal(torch.get_rng_state(), state)


def test_incomplete_images_are_no_sources(tmp_path) -> None:
    labels = random_labels(100)
    labels[80:, 1] = UNKNOWN
    task = make(noisy(labels, PAIR, ("hair",)), tmp_path, samples=400).task
    assert task.sources.max() < 80


def test_a_scorer_of_drawn_images_scores_no_translations(pair, tmp_path) -> None:
    with pytest.raises(UsageError, match="translates=True"):
        score_translation(make(pair, tmp_path, translates=False), repaint)


def test_without_a_tag_classifier_distances_remain(pair, tmp_path) -> None:
    found = score_translation(make(pair, tmp_path, tag_classifier=False), identity)
    assert found.tags is None
    assert "preserved" not in found.values
    assert {"distance", "cycle_l1", "source_feature_distance"} <= set(found.values)


def test_the_fingerprint_and_the_floor_are_those_of_translations(pair, tmp_path) -> None:
    tag_classifier, choice = TagClassifierStub(DOMAINS), ExtractorChoice("stub")
    drawn, floor = make_scorer(pair, tag_classifier, extractor=choice, samples=40, seed=0, cache=tmp_path)
    scorer, own = make_scorer(
        pair, tag_classifier, extractor=choice, samples=40, seed=0, cache=tmp_path, translates=True
    )
    assert scorer.fingerprint.seed_policy == "sources and tags fixed per sweep"
    assert dataclasses.replace(scorer.fingerprint, seed_policy=drawn.fingerprint.seed_policy) == drawn.fingerprint
    to_day, to_night = own.scores["fd_stub_to_day"], own.scores["fd_stub_to_night"]
    assert own.scores["fd_stub"] == pytest.approx((to_day + to_night) / 2)
    assert abs(own.scores["kid"]) < score_translation(scorer, identity).values["kid"] / 5
    # Of day 20 against 20, of night 10 against 10: fewer images lie further apart.
    halves = []
    for seed in range(30):
        order = np.random.default_rng(seed).permutation(20)
        halves.append(frechet(pair.pixels[40:][order[10:]], pair.pixels[40:][order[:10]]))
    assert min(halves) < to_night < max(halves)
    assert to_night > to_day
    assert {name for name in floor.scores if "_to_" in name} == set()


def test_a_scorer_travels_with_the_images_once(pair, tmp_path) -> None:
    scorer = make(pair, tmp_path)
    alone, both = len(pickle.dumps(pair.pixels)), len(pickle.dumps((pair, scorer)))
    assert both < len(pickle.dumps(scorer)) + alone / 2
