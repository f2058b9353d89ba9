"""What networks train and settle on, by hand."""

import dataclasses

import numpy as np
import torch

from tests.support.tiny import paint, painted_images, read_labels, tiny_config, tiny_translator
from trainables.data.tags import UNKNOWN
from trainables.inputs import SETTLING_BATCH, in_range, settling_inputs, training_data

LABELS = np.array([[0, 1], [2, 0], [1, 0], [0, 0], [2, UNKNOWN], [UNKNOWN, 1]])
"""Hair of three colours and eyes of two; the last two pictures lack a tag."""


def images(*targets: str):
    return dataclasses.replace(painted_images(LABELS), targets=targets)


def domains(config, *targets: str) -> list[list[int]]:
    return [one.tolist() for one in training_data(config, images(*targets), "cpu").domains]


def test_cyclegan_draws_from_the_pictures_of_either_class_whatever_their_other_tags() -> None:
    assert domains(tiny_translator(), "eyes") == [[1, 2, 3], [0, 5]]


def test_stargan_draws_from_all_that_have_their_target_tags() -> None:
    assert domains(tiny_translator("stargan"), "hair") == [[0, 1, 2, 3, 4]]
    assert domains(tiny_translator("stargan")) == [[0, 1, 2, 3]]
    tags = training_data(tiny_translator("stargan"), images("hair"), "cpu").tags
    assert tags.tolist() == LABELS[:4].tolist()  # what is asked for stays complete


def test_what_draws_from_noise_has_no_domains() -> None:
    data = training_data(tiny_config(training__extra_data=True), images(), "cpu")
    assert data.domains == ()
    assert (len(data.pictures), len(data.tags)) == (6, 4)


def test_cyclegan_settles_each_direction_on_the_other_domain() -> None:
    pictures, asked = settling_inputs(tiny_translator(), images("eyes"), 0, "cpu")()
    assert pictures.shape == (SETTLING_BATCH, 3, 16, 16)
    shown = read_labels(pictures)
    assert torch.equal(asked[:, 1], 1 - shown[:, 1])
    assert torch.equal(asked[:, 0], shown[:, 0])


def test_cyclegan_settles_on_as_many_of_the_rarer_domain() -> None:
    labels = np.stack([np.zeros(200, np.int64), (np.arange(200) == 7).astype(np.int64)], axis=1)
    rare = dataclasses.replace(painted_images(labels), targets=("eyes",))
    give = settling_inputs(tiny_translator(), rare, 0, "cpu")
    for _ in range(3):
        _, asked = give()
        assert torch.bincount(asked[:, 1]).tolist() == [SETTLING_BATCH // 2, SETTLING_BATCH // 2]


def test_stargan_settles_on_targets_of_the_data() -> None:
    give = settling_inputs(tiny_translator("stargan"), images("hair"), 0, "cpu")
    (pictures, asked), (others, _) = give(), give()
    shown = read_labels(pictures)
    assert torch.equal(asked[:, 1], shown[:, 1])
    counts = torch.bincount(asked[:, 0], minlength=3)
    assert counts.min() > 5
    assert counts[0] > counts[1:].max()  # half of the complete pictures
    assert not torch.equal(pictures, others)
    again, _ = settling_inputs(tiny_translator("stargan"), images("hair"), 0, "cpu")()
    assert torch.equal(pictures, again)


def test_settling_changes_no_label_of_the_data() -> None:
    data = images("eyes")
    before = data.labels.copy()
    settling_inputs(tiny_translator(), data, 0, "cpu")()
    assert np.array_equal(data.labels, before)


def test_noise_is_settled_on_with_tags_of_the_data() -> None:
    noise, tags = settling_inputs(tiny_config(), images(), 0, "cpu")()
    assert noise.shape == (SETTLING_BATCH, 4)
    assert {tuple(row) for row in tags.tolist()} == {(0, 1), (2, 0), (1, 0), (0, 0)}


def test_pictures_come_in_the_range_of_the_networks() -> None:
    places = np.array([2, 0])
    expected = paint(torch.from_numpy(LABELS[places]))
    torch.testing.assert_close(in_range(images(), places, "cpu"), expected)
