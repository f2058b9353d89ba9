"""What networks train and settle on, by hand."""

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.tiny import PAIR, paint, painted_images, random_labels, read_labels, tiny_config, tiny_translator
from trainables.data.dataset import TaggedImages
from trainables.data.tags import UNKNOWN
from trainables.data.tensors import HostPixels, in_range
from trainables.systems.build import build_system
from trainables.training.inputs import CALIBRATION_BATCH, calibration_inputs, training_data
from trainables.training.loop import TrainingLoop

LABELS = np.array([[0, 1], [2, 0], [1, 0], [0, 0], [2, UNKNOWN], [UNKNOWN, 1]])
"""Hair of three colours and eyes of two; the last two images lack a tag."""


def unpickled(content: bytes) -> TaggedImages:
    images = pickle.loads(content)  # noqa: S301 - the test's own
    assert isinstance(images, TaggedImages)
    return images


def images(*targets: str):
    return dataclasses.replace(painted_images(LABELS), targets=targets)


def domains(config, *targets: str) -> list[list[int]]:
    return [one.tolist() for one in training_data(config, images(*targets), "cpu").domains]


def test_cyclegan_draws_from_the_images_of_either_class_whatever_their_other_tags() -> None:
    assert domains(tiny_translator(), "eyes") == [[1, 2, 3], [0, 5]]


def test_stargan_draws_from_all_that_have_their_target_tags() -> None:
    assert domains(tiny_translator("stargan"), "hair") == [[0, 1, 2, 3, 4]]
    assert domains(tiny_translator("stargan")) == [[0, 1, 2, 3]]
    tags = training_data(tiny_translator("stargan"), images("hair"), "cpu").tags
    assert tags.tolist() == LABELS[:4].tolist()  # what is asked for stays complete


@pytest.mark.parametrize("system", ["acgan", "cyclegan", "stargan"])
def test_batches_are_the_same_bits_from_device_memory_and_disk(system: str, tmp_path: Path) -> None:
    config = tiny_config() if system == "acgan" else tiny_translator(system)
    labels = random_labels(200)
    painted = dataclasses.replace(painted_images(labels), targets=() if system == "acgan" else ("eyes",))
    pixels = np.random.default_rng(0).integers(0, 256, painted.pixels.shape, dtype=np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    held = dataclasses.replace(painted, pixels=pixels)
    mapped = dataclasses.replace(painted, pixels=np.load(tmp_path / "pixels.npy", mmap_mode="r"))
    drawn = []
    for images, place in ((held, "device"), (held, "memory"), (mapped.opened_by_path(), "disk"), (held, "auto")):
        data = training_data(config, unpickled(pickle.dumps(images)), "cpu", place)
        assert isinstance(data.images, HostPixels) == (place in ("memory", "disk"))
        assert len(data.images) == 200
        torch.manual_seed(3)
        loop = TrainingLoop(build_system(config, PAIR.sizes, images.target_places), data, config)
        batches = [loop._draw_batch() for _ in range(5)]
        loop.train_until(4 * loop.images_per_update)
        weights = [weight.clone() for weight in loop.generator.state_dict().values()]
        drawn.append([tensor for batch in batches for tensor in (batch.images, batch.labels, batch.tags)] + weights)
    for others in drawn[1:]:
        assert all(torch.equal(one, other) for one, other in zip(drawn[0], others, strict=True))


def test_what_draws_from_noise_has_no_domains() -> None:
    data = training_data(tiny_config(training__extra_data=True), images(), "cpu")
    assert data.domains == ()
    assert (len(data.images), len(data.tags)) == (6, 4)


def test_cyclegan_settles_each_direction_on_the_other_domain() -> None:
    batch, asked = calibration_inputs(tiny_translator(), images("eyes"), 0, "cpu")()
    assert batch.shape == (CALIBRATION_BATCH, 3, 16, 16)
    shown = read_labels(batch)
    assert torch.equal(asked[:, 1], 1 - shown[:, 1])
    assert torch.equal(asked[:, 0], shown[:, 0])


def test_cyclegan_settles_on_as_many_of_the_rarer_domain() -> None:
    labels = np.stack([np.zeros(200, np.int64), (np.arange(200) == 7).astype(np.int64)], axis=1)
    rare = dataclasses.replace(painted_images(labels), targets=("eyes",))
    give = calibration_inputs(tiny_translator(), rare, 0, "cpu")
    for _ in range(3):
        _, asked = give()
        assert torch.bincount(asked[:, 1]).tolist() == [CALIBRATION_BATCH // 2, CALIBRATION_BATCH // 2]


def test_stargan_settles_on_targets_of_the_data() -> None:
    give = calibration_inputs(tiny_translator("stargan"), images("hair"), 0, "cpu")
    (batch, asked), (others, _) = give(), give()
    shown = read_labels(batch)
    assert torch.equal(asked[:, 1], shown[:, 1])
    counts = torch.bincount(asked[:, 0], minlength=3)
    assert counts.min() > 5
    assert counts[0] > counts[1:].max()  # half of the complete images
    assert not torch.equal(batch, others)
    again, _ = calibration_inputs(tiny_translator("stargan"), images("hair"), 0, "cpu")()
    assert torch.equal(batch, again)


def test_settling_changes_no_label_of_the_data() -> None:
    data = images("eyes")
    before = data.labels.copy()
    calibration_inputs(tiny_translator(), data, 0, "cpu")()
    assert np.array_equal(data.labels, before)


def test_noise_is_settled_on_with_tags_of_the_data() -> None:
    noise, tags = calibration_inputs(tiny_config(), images(), 0, "cpu")()
    assert noise.shape == (CALIBRATION_BATCH, 4)
    assert {tuple(row) for row in tags.tolist()} == {(0, 1), (2, 0), (1, 0), (0, 0)}


def test_images_come_in_the_range_of_the_networks() -> None:
    places = np.array([2, 0])
    expected = paint(torch.from_numpy(LABELS[places]))
    torch.testing.assert_close(in_range(images(), places, "cpu"), expected)
