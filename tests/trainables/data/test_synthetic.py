"""Synthetic faces: the same per seed, varied over seeds, and in the colours of their tags."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

from tests.support.colours import measure_colours
from trainables.data.synthetic import EYES, HAIR, draw_face, draw_faces, sample_labels, write_folder
from trainables.data.tags import REPORT_VOCABULARY, TagGroup, Vocabulary
from trainables.errors import UsageError, UserError


@pytest.fixture(scope="module")
def labels():
    return sample_labels(528, seed=1)


@pytest.fixture(scope="module")
def measured(labels):
    return measure_colours(draw_faces(labels, seed=2, size=32))


def test_palettes_cover_the_vocabulary_exactly():
    assert [set(group.classes) for group in REPORT_VOCABULARY.groups] == [set(HAIR), set(EYES)]


def test_labels_repeat_per_seed_and_extend_a_shorter_draw(labels):
    np.testing.assert_array_equal(sample_labels(40, seed=1), labels[:40])
    assert (sample_labels(528, seed=2) != labels).any(axis=1).mean() > 0.9


def test_every_class_occurs_and_none_dominates(labels):
    for group, size in enumerate(REPORT_VOCABULARY.sizes):
        counts = np.bincount(labels[:, group], minlength=size)
        assert len(counts) == size
        assert counts.min() > 0.4 * len(labels) / size
        assert counts.max() < 2 * len(labels) / size


def test_hair_and_eyes_are_independent():
    labels = sample_labels(20_000, seed=3)
    assert abs(np.corrcoef(labels.T)[0, 1]) < 0.03


def test_labels_follow_another_vocabulary():
    vocabulary = Vocabulary((TagGroup("hat", ("tall", "flat", "none")), *REPORT_VOCABULARY.groups))
    labels = sample_labels(300, seed=0, vocabulary=vocabulary)
    assert labels.max(axis=0).tolist() == [2, 11, 10]


def test_images_repeat_per_seed_and_extend_a_shorter_draw(labels):
    faces = draw_faces(labels[:12], seed=5, size=32)
    assert faces.shape == (12, 32, 32, 3)
    assert faces.dtype == np.uint8
    np.testing.assert_array_equal(draw_faces(labels[:5], seed=5, size=32), faces[:5])


def test_images_differ_over_seeds_and_places():
    same = np.zeros((4, 2), dtype=np.int64)
    faces = np.concatenate([draw_faces(same, seed, size=32) for seed in (5, 6)]).astype(float)
    for index in range(8):
        others = np.delete(faces, index, axis=0)
        assert np.abs(others - faces[index]).mean(axis=(1, 2, 3)).min() > 5


def test_one_generator_state_gives_one_person_in_any_colours():
    blue, red = (REPORT_VOCABULARY.class_index("eyes", name) for name in ("blue", "red"))
    first, second = (np.asarray(draw_face(3, eyes, np.random.default_rng(7), 64)).astype(float) for eyes in (blue, red))
    changed = (first != second).any(axis=-1)
    rows, columns = np.nonzero(changed)
    assert 0 < changed.mean() < 0.1
    assert rows.min() > 20
    assert rows.max() < 52
    assert columns.min() > 8
    assert columns.max() < 56


@pytest.mark.parametrize("size", [16, 33, 64, 256])
def test_a_face_has_its_size_and_is_the_same_face_at_any(size):
    face = draw_face(2, 2, np.random.default_rng(0), size)
    assert face.mode == "RGB"
    assert face.size == (size, size)
    here, elsewhere, another = (
        np.asarray(image.resize((8, 8), Image.Resampling.BOX)).astype(float)
        for image in (face, *(draw_face(2, 2, np.random.default_rng(seed), 128) for seed in (0, 2)))
    )
    assert np.abs(here - elsewhere).mean() < 8
    assert np.abs(here - another).mean() > 16


def test_measured_colours_are_the_tagged_ones(labels, measured):
    hair, eyes = (measured == labels).mean(axis=0)
    assert hair >= 0.97
    assert eyes >= 0.93


@pytest.mark.parametrize("group", [0, 1])
def test_every_class_is_told_from_every_other(labels, measured, group):
    for label in range(REPORT_VOCABULARY.sizes[group]):
        rows = labels[:, group] == label
        assert (measured[rows, group] == label).mean() >= 0.75, REPORT_VOCABULARY.groups[group].classes[label]


def test_shuffled_labels_agree_by_chance_only(labels, measured):
    shuffled = np.random.default_rng(0).permutation(labels)
    assert ((measured == shuffled).mean(axis=0) < 0.2).all()


def test_noise_has_no_tagged_colours(labels):
    noise = np.random.default_rng(0).integers(0, 256, (len(labels), 32, 32, 3)).astype(np.uint8)
    assert ((measure_colours(noise) == labels).mean(axis=0) < 0.25).all()


def test_colours_are_measured_at_other_sizes_too(labels):
    measured = measure_colours(draw_faces(labels[:60], seed=2, size=64))
    assert (measured == labels[:60]).mean(axis=0).min() >= 0.9
    assert measure_colours(np.empty((0, 32, 32, 3), dtype=np.uint8)).shape == (0, 2)


def _rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_a_folder_holds_the_drawn_faces_and_their_tags(tmp_path):
    folder = tmp_path / "new" / "faces64"
    write_folder(folder, count=24, seed=4)
    assert sorted(path.name for path in folder.iterdir()) == ["faces", "tags.csv"]
    rows = _rows(folder / "tags.csv")
    assert [int(index) for index, _ in rows] == list(range(24))
    labels = np.array([REPORT_VOCABULARY.parse(text) for _, text in rows])
    np.testing.assert_array_equal(labels, sample_labels(24, seed=4))
    faces = np.stack([np.asarray(Image.open(folder / "faces" / f"{index}.png")) for index in range(24)])
    np.testing.assert_array_equal(faces, draw_faces(labels, seed=4, size=64))


def test_partly_tagged_images_follow_with_true_but_missing_tags(tmp_path):
    shown = []
    write_folder(tmp_path, count=3, seed=4, size=16, partial=30, progress=lambda *share: shown.append(share))
    assert shown == [(done, 33) for done in range(1, 34)]
    assert len(list((tmp_path / "faces").iterdir())) == 33
    assert len(_rows(tmp_path / "tags.csv")) == 3
    header, *rows = _rows(tmp_path / "tags_partial.csv")
    assert header == ["id", "hair", "eyes"]
    truth = sample_labels(33, seed=4)
    assert [int(row[0]) for row in rows] == list(range(3, 33))
    for index, *names in rows:
        for group, name, label in zip(REPORT_VOCABULARY.groups, names, truth[int(index)], strict=True):
            assert name in ("", group.classes[label])
    assert {(hair != "", eyes != "") for _, hair, eyes in rows} == {(True, False), (False, True), (False, False)}


def test_a_folder_in_use_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(UserError, match="not empty") as refusal:
        write_folder(tmp_path, count=1, size=16)
    assert not isinstance(refusal.value, UsageError)
    assert "\n" not in str(refusal.value)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    with pytest.raises(UserError, match="cannot write"):
        write_folder(tmp_path / "mine", count=1, size=16)


@pytest.mark.parametrize(
    ("wrong", "value"),
    [({"count": 0}, "0"), ({"size": 15}, "15"), ({"size": 257}, "257"), ({"partial": -1}, "-1"), ({"seed": -2}, "-2")],
)
def test_wrong_requests_name_the_value_and_write_nothing(tmp_path, wrong, value):
    with pytest.raises(UsageError, match=value):
        write_folder(tmp_path / "new", **{"count": 1, **wrong})
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("hair", "eyes"), [(-1, 0), (12, 0), (0, -1), (0, 11)])
def test_a_label_that_is_no_class_is_refused(hair, eyes):
    with pytest.raises(UsageError, match="label"):
        draw_face(hair, eyes, np.random.default_rng(0), 32)
