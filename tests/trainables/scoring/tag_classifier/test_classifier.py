"""The tag classifier: learns planted colours and nothing from noise, is saved safely, trained once."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy.stats import binomtest

from trainables.data.tags import REPORT_VOCABULARY, UNKNOWN, TagGroup, Vocabulary
from trainables.errors import UsageError, UserError
from trainables.scoring.tag_classifier import classifier, timing
from trainables.scoring.tag_classifier.classifier import (
    TagClassifier,
    TagClassifierReport,
    TagClassifierSettings,
    cached_tag_classifier,
    tag_agreement,
    train_tag_classifier,
)
from trainables.scoring.tag_classifier.report import report_on, wilson
from trainables.scoring.tag_classifier.timing import training_seconds
from trainables.scoring.tag_classifier.training import augment, tag_loss, train_network

COLOURS = np.array([[230, 40, 40], [40, 200, 60], [50, 70, 230]], dtype=np.float64)
NAMES = ("red", "green", "blue")
PAIR = Vocabulary((TagGroup("hair", NAMES), TagGroup("eyes", NAMES)))
TRIO = Vocabulary((TagGroup("hat", NAMES[:2]), TagGroup("coat", NAMES), TagGroup("boots", NAMES)))
TINY = TagClassifierSettings(
    width=8, members=1, min_kimg=8, max_kimg=8, batch_size=32, learning_rate=0.05, ema=0.9, holdout=0.25
)


def planted(count: int, vocabulary: Vocabulary, size: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Images of one noisy coloured band a tag group, from top to bottom, and their labels."""
    rng = np.random.default_rng(0)
    labels = np.stack([rng.integers(0, classes, count) for classes in vocabulary.sizes], axis=1)
    bands = np.arange(size) * len(vocabulary.groups) // size
    pixels = COLOURS[labels[:, bands]][:, :, None, :] + rng.normal(0, 25, (count, size, size, 3))
    return pixels.clip(0, 255).astype(np.uint8), labels.astype(np.int64)


def as_tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other on a loaded machine cost a hundred times what they save here."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tag_classifier() -> TagClassifier:
    return train_tag_classifier(*planted(400, PAIR), PAIR, settings=TINY)


def test_learns_planted_colours(tag_classifier: TagClassifier) -> None:
    assert (tag_classifier.report.held_out, tag_classifier.report.trained_on) == (100, 300)
    assert all(share is not None and share > 0.95 for share in tag_classifier.report.accuracy.values())
    pixels, labels = planted(400, PAIR)
    assert (tag_classifier.predict(as_tensor(pixels)).numpy() == labels).all(axis=1).mean() > 0.95


def test_is_at_chance_on_shuffled_labels() -> None:
    pixels, labels = planted(400, PAIR)
    shuffled = np.random.default_rng(1).permutation(labels)
    report = train_tag_classifier(pixels, shuffled, PAIR, settings=TINY).report
    for name in PAIR.names:
        assert report.accuracy[name] == pytest.approx(1 / 3, abs=0.17)  # 3.6 standard errors at 100 images


def test_three_groups_learn_from_partial_labels() -> None:
    """Half of the tags are unknown: masked, they neither teach nor count."""
    pixels, labels = planted(600, TRIO, size=24)
    hidden = np.where(np.random.default_rng(2).random(labels.shape) < 0.5, UNKNOWN, labels)
    tag_classifier = train_tag_classifier(pixels, hidden, TRIO, settings=TINY)
    assert tag_classifier.predict(as_tensor(pixels)).shape == (600, 3)
    assert all(tag_classifier.report.accuracy[name] > 0.9 for name in TRIO.names)
    support = sum(entry["support"] for entry in tag_classifier.report.per_class["hat"].values())
    assert 0 < support < tag_classifier.report.held_out


def test_same_seed_same_judge_other_seed_other_judge() -> None:
    data, brief = planted(60, PAIR), dataclasses.replace(TINY, min_kimg=0.2, max_kimg=0.2)
    torch.manual_seed(5)
    first = train_tag_classifier(*data, PAIR, settings=brief)
    undisturbed = torch.rand(1)
    again = train_tag_classifier(*data, PAIR, settings=brief)
    other = train_tag_classifier(*data, PAIR, settings=dataclasses.replace(brief, seed=1))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    torch.manual_seed(5)
    assert torch.equal(undisturbed, torch.rand(1))


def test_solved_sizes_end_early() -> None:
    pixels, labels = planted(200, PAIR)
    images, tags = torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.from_numpy(labels)
    seen: dict[bool, list[float]] = {True: [], False: []}
    for early, solved_at in ((True, 0.9), (False, 1.1)):
        settings = dataclasses.replace(TINY, solved_at=solved_at)
        torch.manual_seed(0)
        train_network(images, tags, PAIR.sizes, settings, lambda share, text, early=early: seen[early].append(share))
    assert seen[False][-1] == 1.0
    assert seen[True][-1] < 1.0


def test_members_are_averaged_unless_the_first_suffices(tmp_path: Path) -> None:
    data, brief = planted(60, PAIR), dataclasses.replace(TINY, min_kimg=0.2, max_kimg=0.2, members=2, flip=False)
    pair = train_tag_classifier(*data, PAIR, settings=brief)
    images = as_tensor(data[0])
    for scores, first, second in zip(pair.logits(images), *(one(images) for one in pair.network), strict=True):
        assert torch.allclose(scores.exp(), (first.softmax(1) + second.softmax(1)) / 2, atol=1e-2)
        assert not torch.allclose(first, second, atol=1e-2)
    pair.save(tmp_path / "pair.safetensors")
    assert TagClassifier.load(tmp_path / "pair.safetensors").fingerprint == pair.fingerprint
    enough = dataclasses.replace(TINY, solved_at=0.0, members=2)
    assert len(train_tag_classifier(*data, PAIR, settings=enough).network) == 1


def test_unknown_tags_give_zero_gradient() -> None:
    logits = [torch.randn(3, 4, requires_grad=True), torch.randn(3, 2, requires_grad=True)]
    tag_loss(logits, torch.tensor([[1, UNKNOWN], [UNKNOWN, UNKNOWN], [3, UNKNOWN]]), 0.1).backward()
    assert torch.equal(logits[1].grad, torch.zeros(3, 2))
    assert torch.equal(logits[0].grad[1], torch.zeros(4))
    assert logits[0].grad[0].abs().sum() > 0


def test_loss_by_hand() -> None:
    """Known tags only: -log softmax of (0, 0) is log 2, of (log 3, 0) at class 0 log(4 / 3)."""
    logits = [torch.tensor([[0.0, 0.0], [np.log(3.0), 0.0], [9.0, -9.0]])]
    loss = tag_loss(logits, torch.tensor([[0], [0], [UNKNOWN]]), 0.0)
    assert float(loss) == pytest.approx((np.log(2) + np.log(4 / 3)) / 2, rel=1e-6)


def test_augmentation_keeps_colours() -> None:
    """A plain image stays plain and, without a change of light, exactly its colour."""
    plain = torch.tensor([0.8, -0.6, 0.1]).view(1, 3, 1, 1).expand(8, 3, 32, 32)
    still = augment(plain, 24, dataclasses.replace(TINY, light=0.0))
    assert still.shape == (8, 3, 24, 24)
    assert torch.allclose(still, plain[..., :24, :24], atol=1e-5)
    lit = augment(plain, 32, TINY)
    assert torch.allclose(lit.std((2, 3)), torch.zeros(8, 3), atol=1e-4)
    assert 0.01 < float((lit - plain).abs().max()) < 0.3


def test_agreement_by_hand() -> None:
    predicted = torch.tensor([[0, 1], [1, 1], [2, 0], [0, 0]])
    asked = torch.tensor([[0, 1], [1, 2], [UNKNOWN, 0], [1, UNKNOWN]])
    scores = tag_agreement(predicted, asked, PAIR)
    # hair: right, right, -, wrong; eyes: right, wrong, right, -; both known in the first two, right in one.
    assert scores == {
        "tag_accuracy": pytest.approx(1 / 2),
        "tag_accuracy_hair": pytest.approx(2 / 3),
        "tag_accuracy_eyes": pytest.approx(2 / 3),
    }


def test_agreement_on_nothing_is_not_a_number() -> None:
    nothing = tag_agreement(torch.zeros(2, 2).long(), torch.full((2, 2), UNKNOWN), PAIR)
    assert all(np.isnan(share) for share in nothing.values())


def test_report_by_hand() -> None:
    """Hair judged 0 0 1 2 for tags 0 1 1 -; eyes judged right, right, wrong, right."""
    order = torch.tensor([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.0, 1.0, 2.0]])
    eyes = torch.eye(3)[[0, 1, 2, 2]]
    report = report_on([order, eyes], torch.tensor([[0, 0], [1, 1], [1, 0], [UNKNOWN, 2]]), PAIR, trained_on=9)
    assert report.accuracy == {
        "hair": pytest.approx(2 / 3),
        "eyes": pytest.approx(3 / 4),
        "both": pytest.approx(1 / 3),
    }
    assert report.top2["hair"] == 1.0
    assert report.macro_accuracy["hair"] == pytest.approx((1 + 1 / 2) / 2)
    assert report.per_class["hair"]["green"] == {"accuracy": pytest.approx(0.5), "support": 2}
    assert report.per_class["hair"]["blue"] == {"accuracy": None, "support": 0}
    assert report.confusions["hair"] == [("green", "red", 1)]
    assert report.intervals["eyes"] == wilson(3, 4)
    assert TagClassifierReport.from_json(json.loads(json.dumps(report.to_json()))) == report


def test_wilson_by_hand() -> None:
    """At one half, the half-width is z / (2 sqrt(n + z^2)): 1.96 / (2 sqrt(103.84)) = 0.0962."""
    assert wilson(50, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)
    for right, of in ((0, 7), (7, 7), (1, 3), (700, 1350)):
        assert wilson(right, of) == pytest.approx(binomtest(right, of).proportion_ci(method="wilson"), abs=1e-12)


def test_other_sizes_none_and_mirror_images(tag_classifier: TagClassifier) -> None:
    pixels, labels = planted(60, PAIR, size=48)
    images = as_tensor(pixels)
    assert (tag_classifier.predict(images).numpy() == labels).mean() > 0.95
    assert tag_classifier.predict(images[:0]).shape == (0, 2)
    for scores, mirrored in zip(tag_classifier.logits(images), tag_classifier.logits(images.flip(-1)), strict=True):
        assert torch.allclose(scores, mirrored, atol=1e-2)
        assert torch.allclose(scores.exp().sum(1), torch.ones(60), atol=1e-4)


def test_wrong_image_shape_is_a_programming_error(tag_classifier: TagClassifier) -> None:
    with pytest.raises(ValueError, match="shape"):
        tag_classifier.predict(torch.zeros(3, 16, 16))


def test_saved_and_loaded_tag_classifiers_agree(tag_classifier: TagClassifier, tmp_path: Path) -> None:
    path = tmp_path / "new" / "judge.safetensors"
    tag_classifier.save(path)
    again = TagClassifier.load(path)
    images = as_tensor(planted(50, PAIR)[0])
    assert all(torch.equal(a, b) for a, b in zip(tag_classifier.logits(images), again.logits(images), strict=True))
    assert (again.report, again.settings, again.vocabulary) == (tag_classifier.report, tag_classifier.settings, PAIR)
    assert again.fingerprint == tag_classifier.fingerprint
    assert [file.name for file in path.parent.iterdir()] == ["judge.safetensors"]


def rewrite(path: Path, change_weights: bool, **metadata: str) -> None:
    """Alter a tag classifier's file as someone with an editor could."""
    with safe_open(path, framework="pt") as file:
        kept = {**file.metadata(), **metadata}
    weights = load_file(path)
    if change_weights:
        weights["0.heads.0.classify.bias"] += 1e-3
    save_file(weights, path, kept)


def test_damaged_and_altered_files_are_refused_in_one_line(tag_classifier: TagClassifier, tmp_path: Path) -> None:
    path = tmp_path / "judge.safetensors"

    def refused() -> None:
        with pytest.raises(UserError, match=f"cannot read .*{path}") as caught:
            TagClassifier.load(path)
        assert "\n" not in str(caught.value)

    refused()  # there is no file
    tag_classifier.save(path)
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"\x80\x04pickle", whole[:-4] + b"\0\0\x80?"):
        path.write_bytes(damaged)
        refused()
    tag_classifier.save(path)
    rewrite(path, change_weights=True)
    refused()
    tag_classifier.save(path)
    about = {"settings": {**tag_classifier.settings.to_json(), "width": 10**9}}
    for text in ("", "{}", "[]", json.dumps(about)):
        rewrite(path, change_weights=False, judge=text)
        refused()
        rewrite(path, change_weights=False, judge=text, checksum=classifier._digest(text, load_file(path)))
        refused()
    tag_classifier.save(path)
    rewrite(path, change_weights=False)
    assert TagClassifier.load(path).fingerprint == tag_classifier.fingerprint


def test_cache_trains_once_for_the_same_data_and_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[TagClassifierSettings] = []

    def counted(*args: object, settings: TagClassifierSettings, **kwargs: object) -> TagClassifier:
        calls.append(settings)
        return train_tag_classifier(*args, settings=settings, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(classifier, "train_tag_classifier", counted)
    brief = dataclasses.replace(TINY, min_kimg=0.2, max_kimg=0.2)
    data = planted(60, PAIR)
    first = cached_tag_classifier(tmp_path, "data-1", *data, PAIR, settings=brief)
    again = cached_tag_classifier(tmp_path, "data-1", *data, PAIR, settings=brief)
    assert len(calls) == 1
    assert first.fingerprint == again.fingerprint
    cached_tag_classifier(tmp_path, "data-2", *data, PAIR, settings=brief)
    cached_tag_classifier(tmp_path, "data-1", *data, PAIR, settings=dataclasses.replace(brief, seed=9))
    assert len(calls) == 3
    assert len(list(tmp_path.glob("judge-*.safetensors"))) == 3


@pytest.mark.parametrize(
    ("pixels", "labels", "complaint"),
    [
        (np.zeros((9, 8, 8, 3), np.float32), np.zeros((9, 2), np.int64), "uint8"),
        (np.zeros((9, 8, 9, 3), np.uint8), np.zeros((9, 2), np.int64), "square"),
        (np.zeros((9, 8, 8, 3), np.uint8), np.zeros((9, 1), np.int64), "labels of shape"),
        (np.zeros((9, 8, 8, 3), np.uint8), np.full((9, 2), 11), "label 11 of eyes"),
        (np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 2), np.int64), "too few"),
    ],
)
def test_unusable_data_is_refused(pixels: np.ndarray, labels: np.ndarray, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        train_tag_classifier(pixels, labels, REPORT_VOCABULARY, settings=TINY)


@pytest.mark.parametrize(
    "wrong", [{"width": 0}, {"holdout": 1.0}, {"ema": 1.0}, {"largest_size": 8}, {"learning_rate": -1.0}]
)
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        TagClassifierSettings(**wrong)  # type: ignore[arg-type]


def test_budget_follows_the_number_of_images_within_bounds() -> None:
    settings = TagClassifierSettings(epochs=10, min_kimg=20, max_kimg=100, batch_size=100)
    assert [settings.steps(images) for images in (1000, 5000, 50000)] == [200, 500, 1000]
    assert settings.steps(50) == 400  # batches of all 50 images


def test_the_time_of_training_is_that_of_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    now, taken = [0.0], list[int]()

    def train(pixels, labels, classes, settings, progress):
        assert tuple(pixels.shape) == (50, 3, 24, 24)
        taken.append(settings.steps(len(pixels)))
        now[0] += 0.3 * taken[-1]

    monkeypatch.setattr(timing, "train_network", train)
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    settings = TagClassifierSettings(
        members=2, epochs=10, min_kimg=0, max_kimg=100, batch_size=50, holdout=0.2, largest_size=24
    )
    pixels, labels = np.zeros((1000, 32, 32, 3), np.uint8), np.zeros((1000, 2), np.int64)
    # 800 images are trained on, 10 times, in batches of 50: 160 steps of 0.3 s for each of two networks.
    assert training_seconds(pixels, labels, PAIR, settings) == pytest.approx(2 * 160 * 0.3)
    assert taken == [2, 10]
