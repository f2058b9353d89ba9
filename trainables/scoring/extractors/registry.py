"""Feature extractors: images ``(n, 3, s, s)`` uint8 -> features ``(n, d)`` float32.

``efficientnet`` works offline: a package carries its ImageNet weights. ``inception`` is the network of the standard
FID and ``dinov2`` that of FD-DINOv2; their weights are downloaded on first use or given as a file. A user's own network
is named by the path of its ONNX file, see ``onnx_network``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import torch
from torch import Tensor

from trainables.data.tensors import as_rgb
from trainables.errors import UsageError, nearest
from trainables.scoring.extractors import dinov2, focus
from trainables.scoring.extractors.efficientnet import SIZES, load_efficientnet
from trainables.scoring.extractors.inception import RESIZES, load_inception
from trainables.scoring.extractors.inference import LARGEST_BATCH, FeatureNetwork, Precision
from trainables.scoring.extractors.onnx_network import SUFFIX, TORCH_SUFFIXES, load_onnx_network, slug

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainables.scoring.extractors.resize import Resize

EXTRACTORS = (*SIZES, "inception", *dinov2.SIZES, focus.NAME)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True)
class Extractor:
    """A feature network together with everything that must be equal for two distances to be comparable."""

    name: str
    """A name from ``EXTRACTORS``, or the slug of a network file's stem."""
    score: str
    """Name of the distance in this feature space: ``fid`` for Inception-v3 alone, else ``fd_<extractor>``; features
    in bf16 are another space, ``..._bf16``."""
    weights: str
    """First 16 hex digits of the SHA-256 of the weights file."""
    resize: str
    network: Callable[[Tensor], Tensor]
    precision: Precision = "float32"
    batch: int = LARGEST_BATCH
    """Default number of images per call; see ``inference.choose_batch_size``."""

    @torch.inference_mode()
    def __call__(self, images: Tensor, batch: int | None = None) -> Tensor:
        """Features ``(n, d)`` float32 on the CPU of uint8 images ``(n, 3, s, s)``, or grey ones ``(n, 1, s, s)``."""
        cudnn = torch.backends.cudnn
        # TF32, cuDNN's default for float32 convolutions, moves features by 1e-3.
        with cudnn.flags(cudnn.enabled, cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False):
            parts = torch.split(images, batch or self.batch)
            first = self.network(as_rgb(parts[0])).float().cpu()
            features = torch.empty(len(images), first.shape[1])  # a list to join would take twice the memory
            features[: len(first)] = first
            for place, part in enumerate(parts[1:], 1):
                start = place * len(parts[0])
                features[start : start + len(part)] = self.network(as_rgb(part)).float().cpu()
            return features


def open_extractor(
    name: str,
    weights: Path | None = None,
    device: str = "cpu",
    *,
    resize: str | None = None,
    precision: str = "float32",
) -> Extractor:
    """Open the extractor called ``name``, and keep it in memory, so that trials in one process share it.

    Args:
        name: one of ``EXTRACTORS``, or the path of an ONNX file (``onnx_network`` documents what it must take).
        weights: a file to use instead of the published weights.
        device: where it runs. ONNX files run on the CPU, with as many threads as torch has at this call.
        resize: for ``inception`` ``tf1`` (as torch-fidelity and the original FID; the default), ``pytorch`` (as
            pytorch-fid) or ``clean`` (as clean-fid). The others have a fixed resize.
        precision: ``bf16`` is faster, but a different feature space with its own score name.

    Raises:
        UsageError: an unknown name, resize or precision; weights for a network file, which contains its own; a file
            of torch's own formats.
        UserError: weights that cannot be read or downloaded; a file that holds no usable ONNX network.
    """
    is_file = is_network_file(name)
    if name not in EXTRACTORS and not is_file:
        raise UsageError(
            f"unknown extractor {name!r}; allowed: {', '.join(EXTRACTORS)}, or the path of a network file "
            f"({SUFFIX}){nearest(name, EXTRACTORS)}"
        )
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision {precision!r}; allowed: {', '.join(PRECISIONS)}")
    allowed = tuple(RESIZES) if name == "inception" else ()
    if resize is not None and resize not in allowed:
        choices = ", ".join(allowed) if allowed else "none: its resize is fixed, leave the option out"
        raise UsageError(f"unknown resize {resize!r} for extractor {name!r}; allowed: {choices}")
    if name == focus.NAME and precision != "float32":
        raise UsageError(f"precision {precision!r} for extractor {name!r}; allowed: float32 (it runs as it was saved)")
    carries_weights = is_file or name == focus.NAME
    if carries_weights and weights is not None:
        raise UsageError(f"weights {weights} given for {name!r}, which contains its own; leave the weights out")
    return _open(
        str(Path(name).resolve()) if is_file else name,
        weights,
        device,
        resize or "tf1",
        precision,
        torch.get_num_threads() if carries_weights else 0,
    )


def is_network_file(name: str) -> bool:
    """Whether an extractor's name is the path of a network file."""
    return Path(name).suffix.lower() in (SUFFIX, *TORCH_SUFFIXES)


@lru_cache(maxsize=4)
def _open(
    name: str, weights: Path | None, device: str, resize: Resize, precision: Precision, threads: int
) -> Extractor:
    suffix = "" if precision == "float32" else f"_{precision}"
    network: FeatureNetwork
    if name == "inception":
        network, score = load_inception(weights, device, resize, precision), "fid"
    elif name in SIZES:
        network = load_efficientnet(name, weights, device, precision)
        score = "fd_efficientnet" if SIZES[name] == 64 else f"fd_efficientnet_{SIZES[name]}"
    elif name in dinov2.SIZES:
        network, score = dinov2.load_dinov2(name, weights, device, precision), f"fd_{name.replace('-', '_')}"
    elif name == focus.NAME:
        network, score = focus.load_focus(threads), f"fd_{name}"
    else:
        network, name = load_onnx_network(Path(name), precision, threads), slug(Path(name))
        score = f"fd_{name}"
    return Extractor(name, score + suffix, network.weights, network.resize, network.features, precision, network.batch)


@dataclass(frozen=True)
class ExtractorChoice:
    """Arguments of ``open_extractor``. Trials receive this and open the network in their own process."""

    name: str = "efficientnet"
    weights: Path | None = None
    resize: str | None = None
    precision: str = "float32"

    def open(self, device: str = "cpu") -> Extractor:
        """Open the extractor; raises what ``open_extractor`` raises."""
        return open_extractor(self.name, self.weights, device, resize=self.resize, precision=self.precision)
