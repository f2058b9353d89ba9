"""No tensor is left on the wrong device: everything but the gradients runs on a GPU's fake tensors, without a GPU.

A fake tensor has a shape, a type and a device but no numbers, and an operation on tensors of two devices raises as it
would on a GPU. Autograd wants a real context of the device, so that losses are computed but not differentiated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.support.recipes import RECIPES, recipe_config
from tests.support.tiny import PAIR, random_labels, tiny_translator
from trainables.data.dataset import TaggedImages
from trainables.data.tags import combinations
from trainables.networks.blocks import recalibrate_batch_norm
from trainables.scoring.extractors import efficientnet
from trainables.scoring.tag_classifier.network import TagNetwork, log_probabilities
from trainables.systems.build import build_system
from trainables.training.inputs import calibration_inputs
from trainables.training.loop import TrainingData, TrainingLoop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainables.config import GanConfig

IMAGES = 32
VARIANTS = {
    "relativistic": ("lightgan", {"losses__adversarial": "relativistic"}),
    "hinge": ("lightgan", {"losses__adversarial": "hinge", "discriminator__conditioning": "projection"}),
    "class-conditional norm": ("lightgan", {"generator__norm": "conditional_batch"}),
    "augmented": ("acgan", {"training__diff_augment": True, "training__flip": True, "training__rotate": 10.0}),
    "averaged": ("dcgan", {"training__ema_decay": 0.99}),
}
CONFIGS = {
    **{name: recipe_config(name) for name in RECIPES},
    **{name: recipe_config(base, **changes) for name, (base, changes) in VARIANTS.items()},
    "cyclegan": tiny_translator("cyclegan"),
    "stargan": tiny_translator("stargan"),
}


@pytest.fixture
def fake_gpu() -> Iterator[None]:
    with FakeTensorMode(allow_non_fake_inputs=False):
        yield


def move(network: nn.Module, *_: object) -> nn.Module:
    """Give a network parameters and buffers on the GPU; what it holds besides stays where it is, as `to` leaves it."""
    for module in network.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(torch.empty(parameter.shape, device="cuda")))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.empty(buffer.shape, dtype=buffer.dtype, device="cuda"))
    return network


def make_loop(config: GanConfig, monkeypatch: pytest.MonkeyPatch) -> TrainingLoop:
    labels = random_labels(IMAGES)
    pairs = combinations(labels) if config.tags.encoding == "pairs" else ()
    system, another = (build_system(config, PAIR.sizes, (1,) if config.translates else (), pairs) for _ in range(2))
    monkeypatch.setattr("trainables.training.loop.to_device", move)
    monkeypatch.setattr("copy.deepcopy", lambda _: move(another.generator))  # of the weights for the average
    images = torch.zeros(IMAGES, 16, 16, 3, dtype=torch.uint8, device="cuda")
    tags = torch.zeros(IMAGES, 2, dtype=torch.int64, device="cuda")
    domains = tuple(torch.zeros(IMAGES // 2, dtype=torch.int64, device="cuda") for _ in range(2))
    return TrainingLoop(
        system, TrainingData(images, tags, tags, domains if config.system == "cyclegan" else ()), config, budget=400
    )


@pytest.mark.usefixtures("fake_gpu")
def test_a_tensor_on_the_wrong_device_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = make_loop(CONFIGS["acgan"], monkeypatch)
    with pytest.raises(RuntimeError, match="cuda:0 and cpu"):
        loop.generator(torch.zeros(2, 4), torch.zeros(2, 2, dtype=torch.int64, device="cuda"))


@pytest.mark.usefixtures("fake_gpu")
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_losses_and_images_stay_on_the_device(config: GanConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = make_loop(config, monkeypatch)
    steps: list[torch.device] = []

    def step(loss: object, *_: object) -> None:
        total, figures = loss  # type: ignore[misc]
        steps.extend(tensor.device for tensor in (total, *figures.values()))

    monkeypatch.setattr(loop, "_step", step)
    monkeypatch.setattr(TrainingLoop, "penalty_scale", lambda *_: 0)  # a penalty is a gradient
    monkeypatch.setattr("trainables.training.loop.gradient_norm", lambda network: torch.zeros((), device="cuda"))
    loop._update(loop._figures)
    assert len(steps) >= 2
    assert {device.type for device in steps} == {"cuda"}
    networks = (loop.generator, loop.discriminator, loop.average)
    assert {weight.device.type for network in networks for weight in network.state_dict().values()} == {"cuda"}
    assert {image.device.type for image in draw(loop, monkeypatch)} == {"cuda"}


def draw(loop: TrainingLoop, monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Return images of the averaged generator, whose statistics are recalibrated if it draws from noise."""
    config, drawn = loop.config, list[torch.Tensor]()
    if config.translates:
        images = torch.zeros(8, 3, 16, 16, device="cuda")
        # CycleGAN sorts a batch by direction, which needs numbers.
        return [
            loop.average.a_to_b(images) if config.system == "cyclegan" else loop.average(images, loop.data.tags[:8])
        ]
    images = TaggedImages(PAIR, np.zeros((IMAGES, 16, 16, 3), np.uint8), random_labels(IMAGES), (), IMAGES, "0")
    for norm in loop.average.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.num_batches_tracked = None  # a cumulative mean needs its number
    draw_inputs = calibration_inputs(config, images, 0, "cuda")
    monkeypatch.setattr(nn.BatchNorm2d, "reset_running_stats", lambda norm: norm.running_mean.zero_())
    recalibrate_batch_norm(loop.average, lambda: drawn.append(loop.average.image(*draw_inputs())))
    return drawn or [loop.average.image(*draw_inputs())]


def test_the_tag_classifier_classifies_on_its_device(fake_gpu: None) -> None:
    networks = nn.ModuleList([move(TagNetwork((3, 2), width=4, depth=1, looks=2, dropout=0.0)).eval()])
    images = torch.zeros(5, 3, 24, 24, device="cuda")  # of another size: they are resized
    scores = log_probabilities(networks, images, size=16, mirror=True)
    assert [(one.device.type, tuple(one.shape)) for one in scores] == [("cuda", (5, 3)), ("cuda", (5, 2))]


def test_an_extractor_computes_features_on_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    networks: list[nn.Module] = []
    monkeypatch.setattr(efficientnet, "prepare_network", lambda network, *_: networks.append(network))
    monkeypatch.setattr(efficientnet, "choose_batch_size", lambda *_: 64)
    loaded = efficientnet.load_efficientnet("efficientnet", None, "cuda", "float32")
    with FakeTensorMode(allow_non_fake_inputs=False):
        move(networks[0])
        features = loaded.features(torch.zeros(5, 3, 32, 32, dtype=torch.uint8))
        assert (features.device.type, tuple(features.shape)) == ("cuda", (5, 1280))
