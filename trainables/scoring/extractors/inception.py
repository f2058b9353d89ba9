"""Inception-v3 of the standard FID (Heusel et al. 2017): the layers of torch-fidelity with folded batch norms.

The published weights (``pt_inception-2015-12-05`` of pytorch-fid, the same file as torch-fidelity's) are downloaded on
first use or given as a file.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from trainables.errors import UserError, first_line
from trainables.scoring.extractors.inference import (
    DTYPES,
    FeatureNetwork,
    Precision,
    choose_batch_size,
    fold_batch_norm,
    prepare_network,
)
from trainables.scoring.extractors.resize import Resize, resize
from trainables.scoring.extractors.weights import fetch_state, read_state, short_hash

if TYPE_CHECKING:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

SIZE = 299
RESIZES: dict[Resize, str] = {
    "tf1": "TF1 bilinear to 299 px",
    "pytorch": "PyTorch bilinear to 299 px",
    "clean": "Pillow bicubic antialiased to 299 px",
}
LAYERS = (
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "MaxPool_1", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "MaxPool_2"),
    *("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    *("Mixed_7a", "Mixed_7b", "Mixed_7c"),
)
ACTIVATIONS = (32 + 64) * 147 * 147 * 4


def load_inception(weights: Path | None, device: str, kind: Resize, precision: Precision) -> FeatureNetwork:
    """Load the network up to its last pooling: 2048 features.

    Raises:
        UserError: weights that cannot be read or downloaded.
    """
    network, digest = _load(weights)
    layers = prepare_network(folded_layers(network), device, precision)

    def features(images: Tensor) -> Tensor:
        pixels = resize(images.to(device).float(), SIZE, kind)
        # pytorch-fid normalises half a grey level differently from tools that follow the TensorFlow graph.
        pixels = pixels / 127.5 - 1.0 if kind == "pytorch" else (pixels - 128.0) / 128.0
        maps: Tensor = layers(pixels.to(DTYPES[precision]).contiguous(memory_format=torch.channels_last))
        return maps.float().mean(dim=(2, 3))

    return FeatureNetwork(features, digest, RESIZES[kind], choose_batch_size(ACTIVATIONS, device))


def folded_layers(network: FeatureExtractorInceptionV3) -> nn.Module:
    """Take the layers before the last pooling and fold their batch norms. Modifies ``network``."""
    from torch_fidelity.feature_extractor_inceptionv3 import BasicConv2d

    layers = nn.Sequential(*(getattr(network, name) for name in LAYERS))
    for block in layers.modules():
        if isinstance(block, BasicConv2d):
            block.conv, block.bn = fold_batch_norm(block.conv, block.bn), nn.Identity()
    return layers


def _load(weights: Path | None) -> tuple[FeatureExtractorInceptionV3, str]:
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

    state = (
        read_state(weights) if weights is not None else fetch_state(URL_INCEPTION_V3, "Inception-v3", check_hash=True)
    )
    path = weights or Path(torch.hub.get_dir(), "checkpoints", Path(URL_INCEPTION_V3).name)
    # torch-fidelity unpickles without limits, so it gets a re-saved copy of what ``weights_only`` loaded.
    copy = io.BytesIO()
    torch.save(state, copy)
    copy.seek(0)
    try:
        return FeatureExtractorInceptionV3("inception", ["2048"], copy), short_hash(path.read_bytes())
    except Exception as error:
        raise UserError(f"cannot load Inception-v3 weights from {path}: {first_line(error)}") from error
