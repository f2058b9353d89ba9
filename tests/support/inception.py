"""Random Inception-v3 weights in the published format, for tests and benchmarks without network access."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest import mock

import torch
from torch_fidelity import feature_extractor_inceptionv3 as fidelity

from trainables.data.synthetic import draw_faces, sample_labels

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor


def faces(count: int, seed: int = 0, size: int = 64) -> Tensor:
    """Return synthetic faces ``(count, 3, size, size)`` uint8."""
    return torch.from_numpy(draw_faces(sample_labels(count, seed), seed, size)).permute(0, 3, 1, 2).contiguous()


def write_inception_weights(path: Path) -> None:
    """Write a state dict in the format of ``pt_inception-2015-12-05``.

    Batch norms have the statistics of synthetic faces, so that every layer keeps its scale and features differ between
    images. Their offset of one keeps most units active: with half of them inactive, 94 random layers are chaotic and
    amplify the rounding of float32 a hundred times.
    """
    torch.manual_seed(0)
    network = fidelity.FeatureExtractorInceptionV3
    with (
        mock.patch.object(fidelity, "load_state_dict_from_url", return_value={}),
        mock.patch.object(network, "load_state_dict", return_value=None),
    ):
        extractor = network("inception", ["2048"])
    for module in extractor.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.8, 1.2)
            torch.nn.init.normal_(module.bias, 1.0, 0.1)
            module.momentum = 1.0
    with torch.no_grad():
        extractor.train()(faces(4))
    torch.save(extractor.state_dict(), path)
