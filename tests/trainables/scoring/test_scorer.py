"""Scores by hand: replayed images, painted tags, cached statistics, fingerprints."""

import dataclasses

import numpy as np
import pytest
import scipy.linalg
import torch

from tests.support.tiny import (
    PAIR,
    STEP,
    Extractors,
    TagClassifierStub,
    drawn_faces,
    paint,
    painted_images,
    quadrants,
    random_labels,
)
from trainables.data.tags import REPORT_VOCABULARY, UNKNOWN
from trainables.errors import UserError
from trainables.scoring import scorer as module
from trainables.scoring.extractors.registry import ExtractorChoice
from trainables.scoring.metrics.fid_infinity import frechet_infinity
from trainables.scoring.metrics.mmd import compute_mmd
from trainables.scoring.scorer import Scorer, make_scorer
from trainables.scoring.tag_classifier.report import wilson


@pytest.fixture
def extractors(monkeypatch) -> Extractors:
    stub = Extractors()
    monkeypatch.setattr("trainables.scoring.extractors.registry.open_extractor", stub)
    return stub


@dataclasses.dataclass(frozen=True)
class BrightFaces:
    """Stands in for a cascade: sees a face on an image whose red is above the middle, and counts what it sees."""

    fingerprint: str = "cccc"
    looked: list = dataclasses.field(default_factory=list)

    def open(self):
        def detector(image: np.ndarray) -> bool:
            assert image.shape[2] == 3
            self.looked.append(len(image))
            return image[:, :, 0].mean() > 128

        return detector


def make(images, cache, tag_classifier=None, *, samples: int = 40, seed: int = 0, **more) -> Scorer:
    tag_classifier = tag_classifier or TagClassifierStub(images.vocabulary)
    choice = ExtractorChoice("stub")
    return make_scorer(images, tag_classifier, extractor=choice, samples=samples, seed=seed, cache=cache, **more)[0]


def replay(images):
    """A generator that ignores what is asked and shows these images one after the other."""
    rest = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(127.5).sub(1.0)

    def draw(noise, tags):
        nonlocal rest
        shown, rest = rest[: len(noise)], rest[len(noise) :]
        return shown

    return draw


def by_hand(first: np.ndarray, second: np.ndarray) -> float:
    a, b = (quadrants(torch.from_numpy(pixels).permute(0, 3, 1, 2)).double().numpy() for pixels in (first, second))
    one, two = np.cov(a.T), np.cov(b.T)
    shift = a.mean(0) - b.mean(0)
    return float(shift @ shift + np.trace(one + two - 2 * scipy.linalg.sqrtm(one @ two).real))


def test_replayed_real_images_are_at_no_distance(extractors, tmp_path) -> None:
    images = drawn_faces()
    real = images.pixels[: images.complete]
    scores = make(images, tmp_path, samples=len(real)).score(replay(real), noise_dim=3).values
    assert scores["distance"] == pytest.approx(0, abs=1e-4)
    assert scores["fd_stub"] == scores["distance"]


def test_the_distance_is_to_complete_images_alone(extractors, tmp_path) -> None:
    images = drawn_faces()
    noise = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    scorer = make(images, tmp_path)
    expected = by_hand(images.pixels[: images.complete], noise)
    assert scorer.score(replay(noise), noise_dim=3).values["distance"] == pytest.approx(expected, rel=1e-6)
    assert expected > 100
    assert abs(expected - by_hand(images.pixels, noise)) > 1  # with the incomplete ones it would be another
    assert scorer.reference.statistics.count == images.complete == scorer.fingerprint.reference


def test_images_beyond_the_range_are_cut_before_they_are_measured(extractors, tmp_path) -> None:
    scorer = make(drawn_faces(), tmp_path)
    random = torch.Generator().manual_seed(0)
    wild = 3 * torch.randn(40, 3, 16, 16, generator=random)
    cut = ((wild.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    found = scorer.score(lambda noise, tags: wild, noise_dim=3)
    assert found.values["distance"] == pytest.approx(by_hand(drawn_faces().pixels[:40], cut), rel=1e-6)


def test_tag_accuracy_is_the_share_of_obeyed_tags(extractors, tmp_path) -> None:
    scorer = make(painted_images(random_labels(40)), tmp_path, samples=20)

    def mostly_obedient(noise, tags):
        shown = tags.clone()
        shown[:5, 0] = (shown[:5, 0] + 1) % 3  # 5 wrong hair colours
        shown[3:9, 1] = 1 - shown[3:9, 1]  # 6 wrong eyes, 2 of them under wrong hair
        return paint(shown)

    scores = scorer.score(mostly_obedient, noise_dim=3).values
    assert scores["tag_accuracy_hair"] == 15 / 20
    assert scores["tag_accuracy_eyes"] == 14 / 20
    assert scores["tag_accuracy"] == 11 / 20
    assert scorer.score(lambda noise, tags: paint(tags), noise_dim=3).values["tag_accuracy"] == 1.0
    # 5 of the wrong: macro averages weigh classes alike.
    asked = scorer.tags[:, 1]
    wrong = np.isin(np.arange(20), np.arange(3, 9))
    assert scores["tag_accuracy_macro_eyes"] == pytest.approx(1 - np.mean([wrong[asked == k].mean() for k in (0, 1)]))


def test_complete_labels_in_the_datas_own_proportions_are_asked_for(extractors, tmp_path) -> None:
    labels = np.array([[0, 0]] * 30 + [[2, 1]] * 10 + [[1, UNKNOWN]] * 20)
    scorer = make(painted_images(labels), tmp_path, samples=2000)
    assert {tuple(row) for row in scorer.tags.tolist()} == {(0, 0), (2, 1)}
    assert (scorer.tags[:, 0] == 0).mean() == pytest.approx(0.75, abs=0.05)


@pytest.mark.parametrize("batch", [1, 7, 40, 1000])
def test_the_sampling_batch_changes_no_score(extractors, tmp_path, monkeypatch, batch) -> None:
    scorer = make(painted_images(random_labels(40)), tmp_path)
    seen: list[torch.Tensor] = []

    def draw(noise, tags):
        seen.append(noise)
        return paint(tags) + 0.3 * noise[:, :1, None, None]

    before = scorer.score(draw, noise_dim=3).metrics()
    monkeypatch.setattr(module, "SAMPLING_BATCH", batch)
    one, seen = torch.cat(seen), []
    assert scorer.score(draw, noise_dim=3).metrics() == pytest.approx(before, rel=1e-6)
    assert [len(noise) for noise in seen] == [batch] * (40 // batch) + [40 % batch] * (40 % batch > 0)
    assert torch.equal(torch.cat(seen), one)
    assert 0 < before["tag_accuracy"] < 1


def test_every_trial_gets_the_same_draws_and_training_none_of_them(extractors, tmp_path) -> None:
    scorer, drawn = make(painted_images(random_labels(40)), tmp_path), []

    def draw(noise, tags):
        drawn.append((noise, tags))
        return paint(tags)

    torch.manual_seed(5)
    state = torch.get_rng_state()
    scorer.score(draw, noise_dim=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    scorer.score(draw, noise_dim=3)
    assert torch.equal(drawn[0][0], drawn[1][0])
    assert torch.equal(drawn[0][1], drawn[1][1])
    assert drawn[0][0].shape == (40, 3)
    other = make(painted_images(random_labels(40)), tmp_path, seed=1)
    other.score(draw, noise_dim=3)
    assert not torch.equal(drawn[0][0], drawn[2][0])
    assert not torch.equal(drawn[0][1], drawn[2][1])


def test_statistics_are_measured_once(extractors, tmp_path) -> None:
    images = drawn_faces()
    first = make(images, tmp_path)
    assert extractors.measured == [images.complete]
    again = make(images, tmp_path)
    assert extractors.measured == [images.complete]
    assert len(list(tmp_path.iterdir())) == 3  # features, reference, pixels
    one, other = first.reference.statistics, again.reference.statistics
    np.testing.assert_array_equal(other.mean, one.mean)
    np.testing.assert_array_equal(other.covariance, one.covariance)
    np.testing.assert_allclose(other.root @ other.root, one.covariance, atol=1e-6)
    np.testing.assert_array_equal(again.reference.copy_distances, first.reference.copy_distances)
    assert other.count == images.complete
    assert again.reference.real_tag_diversity == first.reference.real_tag_diversity


def test_other_data_or_weights_are_measured_anew(extractors, tmp_path) -> None:
    for labels in (random_labels(40), random_labels(30)):
        make(painted_images(labels), tmp_path)
    assert extractors.measured == [40, 30]
    extractors.weights = "bbbb"
    make(painted_images(random_labels(30)), tmp_path)
    assert extractors.measured == [40, 30, 30]


def flip_a_byte(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


DAMAGES = {
    "empty": lambda content: b"",
    "garbage": lambda content: b"this is no archive",
    "truncated": lambda content: content[: len(content) // 2],
    "flipped": flip_a_byte,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_cache_files_are_made_anew(extractors, tmp_path, damage) -> None:
    images = drawn_faces()
    expected = make(images, tmp_path).reference
    for file in tmp_path.iterdir():
        file.write_bytes(DAMAGES[damage](file.read_bytes()))
    rebuilt = make(images, tmp_path).reference
    np.testing.assert_array_equal(rebuilt.statistics.covariance, expected.statistics.covariance)
    np.testing.assert_array_equal(rebuilt.copy_distances, expected.copy_distances)
    make(images, tmp_path)
    assert extractors.measured == [images.complete] * 2  # the third time, the new file was read


def test_cache_files_that_lack_a_part_are_made_anew(extractors, tmp_path) -> None:
    images = drawn_faces()
    expected = make(images, tmp_path).reference
    for file in tmp_path.iterdir():
        np.savez(file, other=np.zeros(12))
    np.testing.assert_array_equal(make(images, tmp_path).reference.copy_distances, expected.copy_distances)


def test_early_scores_are_of_the_first_images_and_say_so(extractors, tmp_path) -> None:
    images = painted_images(random_labels(60))
    scorer, drawn = make(images, tmp_path), []

    def draw(noise, tags):
        drawn.append((noise, tags))
        return (paint(tags) + 0.1 * noise[:, :1, None, None]).clamp(-1, 1)

    full, early = scorer.score(draw, 3), scorer.score(draw, 3, samples=24)
    assert (full.samples, early.samples) == (40, 24)
    assert torch.equal(drawn[1][0], drawn[0][0][:24])
    assert torch.equal(drawn[1][1], drawn[0][1][:24])
    assert set(early.values) == {
        "distance", "fd_stub", "kid", "tag_accuracy", "tag_accuracy_hair", "tag_accuracy_eyes",
        "tag_accuracy_macro_hair", "tag_accuracy_macro_eyes", "diversity", "saturated",
    }  # fmt: skip
    # Painted images of equal tags are equal: nothing can be as diverse as they are within a tag.
    more = {"precision", "recall", "density", "coverage", "memorised"}
    assert set(full.values) == set(early.values) | more
    assert early.intervals == {}
    for name, (low, high) in full.intervals.items():
        assert low <= full.values[name] <= high
    assert {"distance", "kid", "tag_accuracy", "tag_accuracy_hair"} <= set(full.intervals)
    assert scorer.score(draw, 3, samples=1000).metrics() == full.metrics()


def test_metrics_are_flat_and_name_ends_and_classes(extractors, tmp_path) -> None:
    metrics = make(painted_images(random_labels(60)), tmp_path).score(lambda noise, tags: paint(tags), 3).metrics()
    assert metrics["samples"] == 40
    assert metrics["class_accuracy/hair/red"] == metrics["class_accuracy/eyes/light"] == 1.0
    assert (
        metrics["interval/tag_accuracy/low"] < metrics["tag_accuracy"] == metrics["interval/tag_accuracy/high"] == 1.0
    )


def test_a_generator_without_tags_has_no_score_of_them(extractors, tmp_path) -> None:
    scorer = make(painted_images(random_labels(60)), tmp_path)
    found = scorer.score(lambda noise, tags: paint(tags), 3, conditional=False)
    assert not [name for name in found.metrics() if "tag" in name or "class" in name]
    assert found.tags is None


def test_the_floor_is_of_real_images_against_the_others(extractors, tmp_path) -> None:
    images = drawn_faces(200, 0)
    scorer, floor = make_scorer(
        images,
        TagClassifierStub(images.vocabulary),
        extractor=ExtractorChoice("stub"),
        samples=60,
        seed=0,
        cache=tmp_path,
    )
    assert floor.samples == 60
    distances = []
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(200)
        distances.append(by_hand(images.pixels[order[60:]], images.pixels[order[:60]]))
    assert min(distances) * 0.8 < floor.scores["fd_stub"] < max(distances) * 1.2
    assert floor.warning is None
    again = make_scorer(
        images,
        TagClassifierStub(images.vocabulary),
        extractor=ExtractorChoice("stub"),
        samples=60,
        seed=0,
        cache=tmp_path,
    )[1]
    assert again == floor
    few = make_scorer(images, None, extractor=ExtractorChoice("stub"), samples=500, seed=0, cache=tmp_path)[1]
    assert few.samples == 100
    assert floor.scores["precision"] <= 1.0
    assert scorer.fingerprint.samples == 60


def test_faces_are_counted_at_the_end_alone_beside_those_on_real_images(extractors, tmp_path) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed (pip install 'gansweep[faces]')")
    images, cascade = drawn_faces(), BrightFaces()
    bright = images.pixels[:40, :, :, 0].mean(axis=(1, 2)) > 128

    def measured():
        return make_scorer(
            images, None, extractor=ExtractorChoice("stub"), samples=20, seed=0, cache=tmp_path, cascade=cascade
        )

    scorer, floor = measured()
    chosen = np.random.default_rng(0).permutation(40)[:20]
    assert floor.scores["face_rate"] == bright[chosen].mean()
    assert 0 < floor.scores["face_rate"] < 1
    assert measured()[1] == floor
    assert len(cascade.looked) == 20  # once: what real images show is kept
    early = scorer.score(replay(images.pixels), 3, conditional=False, samples=16)
    assert not [name for name in early.metrics() if "face_rate" in name]
    found = scorer.score(replay(images.pixels), 3, conditional=False)
    hits = int(bright[:20].sum())
    assert found.values["face_rate"] == hits / 20
    assert found.intervals["face_rate"] == pytest.approx(wilson(hits, 20))
    assert len(cascade.looked) == 40
    plain = make(images, tmp_path, samples=20).score(replay(images.pixels), 3, conditional=False)
    assert {**plain.values, "face_rate": hits / 20} == found.values


def test_pixels_are_measured_at_every_evaluation_beside_those_of_real_images(extractors, tmp_path) -> None:
    images = drawn_faces()
    real = images.pixels[:40].astype(np.float64)  # the fully tagged ones alone
    box = np.array([1, 2, 2, 2, 1]) / 8  # a centred mean over four pixels
    around = np.einsum("...ij,i,j", np.lib.stride_tricks.sliding_window_view(real, (5, 5), axis=(1, 2)), box, box)
    rest = real[:, 2:-2, 2:-2] - around
    energy = rest.reshape(40, 3, 4, 3, 4, 3).mean(axis=(1, 3)).reshape(40, 16, 3).var(axis=1).mean()
    choice = ExtractorChoice("stub")
    scorer, floor = make_scorer(images, None, extractor=choice, samples=20, seed=0, cache=tmp_path)
    assert (floor.scores["grid_energy"], floor.scores["saturated"]) == (1.0, np.isin(real, (0, 255)).mean())
    grid = np.full((20, 16, 16, 3), 100, dtype=np.uint8)
    grid[::2, ::2, ::2], grid[::2, 1::2, 1::2] = 255, 255  # a checkerboard on every other image
    early = scorer.score(replay(grid), 3, conditional=False, samples=16)
    found = scorer.score(replay(grid), 3, conditional=False)
    for scores in (early, found):
        assert scores.values["grid_energy"] == pytest.approx(77.5**2 / 2 / energy)
        assert scores.values["saturated"] == 0.25
    assert "grid_energy" not in early.intervals
    low, high = found.intervals["grid_energy"]
    error = 77.5**2 * np.std([0, 1] * 10, ddof=1) / energy / 20**0.5
    assert (high - low) / 2 == pytest.approx(1.959964 * error)
    assert found.intervals["saturated"][0] < 0.25 < found.intervals["saturated"][1]


def test_the_distance_is_extrapolated_at_the_end_alone_where_that_is_asked_for(extractors, tmp_path) -> None:
    images = drawn_faces()
    scorer = make(images, tmp_path, samples=20, seed=5, infinity=True)
    early = scorer.score(replay(images.pixels), 3, conditional=False, samples=16)
    assert not [name for name in early.metrics() if "infinity" in name]
    found = scorer.score(replay(images.pixels), 3, conditional=False)
    seen = quadrants(torch.from_numpy(images.pixels[:20]).permute(0, 3, 1, 2)).numpy()
    limit = frechet_infinity(scorer.reference.statistics, seen, seed=5)
    name = f"{scorer.fingerprint.score}_infinity"
    assert found.values[name] == pytest.approx(limit)
    assert limit < found.values["distance"]  # fewer images are farther away
    low, high = found.intervals[name]
    assert low < limit < high
    plain = make(images, tmp_path, samples=20, seed=5).score(replay(images.pixels), 3, conditional=False)
    assert {**plain.values, name: found.values[name]} == found.values


def test_the_kernel_of_cmmd_is_measured_at_the_end_alone_where_that_is_asked_for(extractors, tmp_path) -> None:
    images = drawn_faces()
    scorer = make(images, tmp_path, samples=20, seed=5, mmd=True)
    assert "mmd" not in scorer.score(replay(images.pixels), 3, conditional=False, samples=16).metrics()
    found = scorer.score(replay(images.pixels), 3, conditional=False)
    seen = quadrants(torch.from_numpy(images.pixels[:20]).permute(0, 3, 1, 2)).numpy()
    assert found.values["mmd"] == pytest.approx(compute_mmd(scorer.reference.kid.features, seen).value)
    assert found.intervals["mmd"][0] <= found.values["mmd"] <= found.intervals["mmd"][1]
    plain = make(images, tmp_path, samples=20, seed=5).score(replay(images.pixels), 3, conditional=False)
    assert {**plain.values, "mmd": found.values["mmd"]} == found.values


def test_too_few_real_images_are_refused(extractors, tmp_path) -> None:
    with pytest.raises(UserError, match=r"15 images with every tag .* 16 are needed"):
        make(painted_images(random_labels(15)), tmp_path)


def test_the_fingerprint_says_what_was_measured_and_how(extractors, tmp_path) -> None:
    images = drawn_faces()
    assert make(images, tmp_path).fingerprint.to_json() == {
        "extractor": "stub",
        "score": "fd_stub",
        "weights": "aaaa",
        "resize": "none",
        "precision": "float32",
        "samples": 40,
        "reference": 40,
        "image_size": 16,
        "data": "drawn-faces",
        "judge": "stub",
        "seed_policy": "noise and tags fixed per sweep",
    }


def test_the_fingerprint_changes_with_samples_data_tag_classifier_and_weights(extractors, tmp_path) -> None:
    images = painted_images(random_labels(40))
    prints = [
        make(images, tmp_path),
        make(images, tmp_path, samples=41),
        make(dataclasses.replace(images, fingerprint="other"), tmp_path),
        make(images, tmp_path, TagClassifierStub(fingerprint="other")),
    ]
    extractors.weights = "bbbb"
    prints.append(make(images, tmp_path))
    extractors.weights = "aaaa"
    prints += [make(images, tmp_path, cascade=BrightFaces(name)) for name in ("cccc", "dddd")]
    assert len({scorer.fingerprint for scorer in prints}) == 7
    assert prints[-1].fingerprint.to_json() == {**prints[0].fingerprint.to_json(), "cascade": "dddd"}
    assert make(images, tmp_path).fingerprint == prints[0].fingerprint


def test_the_stub_tag_classifier_reads_what_is_painted() -> None:
    """The other tests lean on it."""
    labels = torch.from_numpy(random_labels(20))
    assert torch.equal(TagClassifierStub().predict(paint(labels)), labels)
    assert (
        TagClassifierStub(REPORT_VOCABULARY).predict(torch.ones(2, 3, 4, 4)).tolist() == [[1, 2]] * 2
    )  # 255 / 20 -> 13
    assert max(PAIR.sizes) * STEP < 255
