"""Inception-v3: the same file in pytorch-fid, torch-fidelity, torchmetrics and clean-fid gives the same features."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import cleanfid.fid
import numpy as np
import pytest
import pytorch_fid.fid_score
import pytorch_fid.inception
import torch
import torch_fidelity
from cleanfid.inception_torchscript import InceptionV3W
from PIL import Image
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torchmetrics.image.fid import FrechetInceptionDistance

from tests.support.inception import faces
from trainables.scoring.extractors.inception import LAYERS
from trainables.scoring.extractors.registry import open_extractor
from trainables.scoring.metrics.frechet import FeatureStatistics, frechet_distance

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 6


@cache
def images(seed: int = 0, count: int = COUNT) -> Tensor:
    return faces(count, seed)


def assert_same(ours: Tensor, theirs: Tensor, error: float = 5e-6) -> None:
    assert ours.shape == theirs.shape
    assert theirs.std(dim=0).mean() > 0.01 * theirs.abs().mean()  # the images are told apart
    assert (ours - theirs).norm() < error * theirs.norm()


def write_pngs(folder: Path, pixels: Tensor) -> Path:
    folder.mkdir()
    for number, image in enumerate(pixels.permute(0, 2, 3, 1).numpy()):
        Image.fromarray(image).save(folder / f"{number:03}.png")
    return folder


@pytest.fixture
def pytorch_fid_file(inception_weights, monkeypatch) -> None:
    """pytorch-fid fetches the same file."""
    state = torch.load(inception_weights, weights_only=True)
    monkeypatch.setattr(pytorch_fid.inception, "load_state_dict_from_url", lambda *_, **__: state)


def test_torch_fidelity_gives_the_same_features(inception_weights) -> None:
    with torch.inference_mode():
        theirs = FeatureExtractorInceptionV3("inception", ["2048"], str(inception_weights))(images())[0]
    assert_same(open_extractor("inception", inception_weights)(images()), theirs)


def test_torchmetrics_gives_the_same_features(inception_weights) -> None:
    metric = FrechetInceptionDistance(feature_extractor_weights_path=str(inception_weights), antialias=False)
    with torch.inference_mode():
        assert_same(open_extractor("inception", inception_weights, resize="tf1")(images()), metric.inception(images()))


@pytest.mark.usefixtures("pytorch_fid_file")
def test_pytorch_fid_gives_the_same_features(inception_weights, tmp_path) -> None:
    folder = write_pngs(tmp_path / "faces", images())
    theirs = pytorch_fid.fid_score.get_activations(
        sorted(folder.iterdir()), pytorch_fid.inception.InceptionV3(), batch_size=COUNT, num_workers=0
    )
    ours = open_extractor("inception", inception_weights, resize="pytorch")(images())
    assert_same(ours, torch.from_numpy(theirs).float())


class Published(nn.Module):
    """TorchScript in the shape that clean-fid fetches: it runs ``layers`` on images that it has resized itself."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        network = FeatureExtractorInceptionV3("inception", ["2048"], str(weights))
        self.layers = nn.Sequential(*(getattr(network, name) for name in LAYERS), nn.AdaptiveAvgPool2d(1))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.layers(pixels)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_clean_fid_gives_the_same_features(inception_weights, tmp_path) -> None:
    published = torch.jit.trace(Published(inception_weights).eval(), torch.zeros(1, 3, 299, 299), check_trace=False)
    published.save(tmp_path / "inception-2015-12-05.pt")
    network = InceptionV3W(str(tmp_path), download=False)
    folder = write_pngs(tmp_path / "faces", images())
    theirs = cleanfid.fid.get_files_features(
        sorted(map(str, folder.iterdir())),
        model=network,
        num_workers=0,
        batch_size=COUNT,
        device=torch.device("cpu"),
        mode="clean",
        verbose=False,
    )
    ours = open_extractor("inception", inception_weights, resize="clean")(images())
    assert_same(ours, torch.from_numpy(theirs))


def test_the_resizes_are_different_feature_spaces(inception_weights) -> None:
    extractors = [open_extractor("inception", inception_weights, resize=kind) for kind in ("tf1", "pytorch", "clean")]
    assert len({extractor.resize for extractor in extractors}) == 3
    assert {extractor.score for extractor in extractors} == {"fid"}
    first, second, third = (extractor(images()[:2]) for extractor in extractors)
    assert all((a - b).norm() > 1e-3 * b.norm() for a, b in ((first, second), (second, third), (third, first)))


def test_bf16_is_near_and_another_score(inception_weights) -> None:
    plain = open_extractor("inception", inception_weights)
    rough = open_extractor("inception", inception_weights, precision="bf16")
    assert (rough.score, rough.precision, plain.precision) == ("fid_bf16", "bf16", "float32")
    features = rough(images()[:2])
    assert features.dtype == torch.float32
    error = (features - plain(images()[:2])).norm() / features.norm()
    assert 1e-4 < error < 5e-2


def test_weights_without_batch_counters_load(inception_weights, tmp_path) -> None:
    """Files converted from TensorFlow may lack what only training needs."""
    state = torch.load(inception_weights, weights_only=True)
    bare = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    torch.save(bare, tmp_path / "bare.pth")
    ours = open_extractor("inception", tmp_path / "bare.pth")(images()[:2])
    torch.testing.assert_close(ours, open_extractor("inception", inception_weights)(images()[:2]))


def distance(weights: Path, resize: str, real: Tensor, fake: Tensor) -> float:
    extractor = open_extractor("inception", weights, resize=resize)
    return frechet_distance(*(FeatureStatistics.of(extractor(side).numpy()) for side in (real, fake)))


@pytest.mark.slow
@pytest.mark.usefixtures("pytorch_fid_file")
def test_whole_tools_give_the_same_distance(inception_weights, tmp_path) -> None:
    real, fake = images(0, 24), images(1, 24) // 2
    folders = [write_pngs(tmp_path / name, side) for name, side in (("real", real), ("fake", fake))]
    metric = FrechetInceptionDistance(feature_extractor_weights_path=str(inception_weights), antialias=False)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    fidelity = torch_fidelity.calculate_metrics(
        input1=str(folders[0]),
        input2=str(folders[1]),
        fid=True,
        cuda=False,
        verbose=False,
        cache=False,
        feature_extractor_weights_path=str(inception_weights),
        save_cpu_ram=True,
    )["frechet_inception_distance"]
    pytorch = pytorch_fid.fid_score.calculate_fid_given_paths([str(f) for f in folders], 24, "cpu", 2048, 0)
    ours = distance(inception_weights, "tf1", real, fake)
    np.testing.assert_allclose([float(metric.compute()), fidelity], ours, rtol=1e-3)
    np.testing.assert_allclose(pytorch, distance(inception_weights, "pytorch", real, fake), rtol=1e-3)
