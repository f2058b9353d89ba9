"""Feature extractors: pictures ``(n, 3, s, s)`` uint8 -> features ``(n, d)`` float32.

``efficientnet`` needs no network: its ImageNet weights come with a package. ``inception`` is the network of the
standard FID; its weights are fetched on first use or given as a file. A network of one's own is named by the path of
its TorchScript or torch.export file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import torch
from torch import Tensor

from trainables.errors import UsageError, nearest
from trainables.scoring.efficientnet import SIZES, efficientnet
from trainables.scoring.foreign import SUFFIXES, foreign, slug
from trainables.scoring.inception import RESIZES, inception
from trainables.scoring.inference import LARGEST_BATCH, FeatureNetwork, Precision

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainables.scoring.resize import Resize

EXTRACTORS = (*SIZES, "inception")
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True)
class Extractor:
    """A feature network together with everything that must be equal for two distances to be comparable."""

    name: str
    """A name from ``EXTRACTORS``, or the plain stem of the file that a network came from."""
    score: str
    """Name of the distance in this feature space: ``fid`` for Inception-v3 alone, else ``fd_<extractor>``; features
    in bf16 are another space, ``..._bf16``."""
    weights: str
    """First 16 hex digits of the SHA-256 of the weights file."""
    resize: str
    network: Callable[[Tensor], Tensor]
    precision: Precision = "float32"
    batch: int = LARGEST_BATCH
    """How many pictures run at once unless told; see ``inference.batch_for``."""

    @torch.inference_mode()
    def __call__(self, pictures: Tensor, batch: int | None = None) -> Tensor:
        """Features ``(n, d)`` float32 on the CPU of uint8 pictures ``(n, 3, s, s)``."""
        cudnn = torch.backends.cudnn
        # TF32, cuDNN's default for float32 convolutions, moves features by 1e-3.
        with cudnn.flags(cudnn.enabled, cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False):
            return torch.cat([self.network(part).float().cpu() for part in torch.split(pictures, batch or self.batch)])


def open_extractor(
    name: str,
    weights: Path | None = None,
    device: str = "cpu",
    *,
    resize: str | None = None,
    precision: str = "float32",
) -> Extractor:
    """The extractor called ``name``; kept in memory, so that trials in one process share it.

    Args:
        name: one of ``EXTRACTORS``, or the path of a network (``foreign.SUFFIXES``).
        weights: a file to take instead of the published weights.
        device: where it runs.
        resize: for ``inception`` ``tf1`` (as torch-fidelity and the original FID; the default), ``pytorch`` (as
            pytorch-fid) or ``clean`` (as clean-fid). The others have one resize of their own.
        precision: ``bf16`` is faster, and another feature space under another score name.

    Raises:
        UsageError: an unknown name, resize or precision; weights for a network that carries its own.
        UserError: weights that cannot be read or fetched; a file that holds no usable or no safe network.
    """
    is_file = is_network_file(name)
    if name not in EXTRACTORS and not is_file:
        raise UsageError(
            f"unknown extractor {name!r}; allowed: {', '.join(EXTRACTORS)}, or the path of a network file "
            f"({', '.join(SUFFIXES)}){nearest(name, EXTRACTORS)}"
        )
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision {precision!r}; allowed: {', '.join(PRECISIONS)}")
    allowed = tuple(RESIZES) if name == "inception" else ()
    if resize is not None and resize not in allowed:
        choices = ", ".join(allowed) if allowed else "none: it has its own, leave the resize out"
        raise UsageError(f"unknown resize {resize!r} for extractor {name!r}; allowed: {choices}")
    if is_file and weights is not None:
        raise UsageError(f"weights {weights} given for {name!r}, which carries its own; leave the weights out")
    return _open(
        str(Path(name).resolve()) if is_file else name,
        weights,
        device,
        resize or "tf1",
        precision,
    )


def is_network_file(name: str) -> bool:
    """Whether this extractor is meant as the path of a network file."""
    return Path(name).suffix.lower() in SUFFIXES


@lru_cache(maxsize=4)
def _open(name: str, weights: Path | None, device: str, resize: Resize, precision: Precision) -> Extractor:
    suffix = "" if precision == "float32" else f"_{precision}"
    network: FeatureNetwork
    if name == "inception":
        network, score = inception(weights, device, resize, precision), "fid"
    elif name in SIZES:
        network = efficientnet(name, weights, device, precision)
        score = "fd_efficientnet" if SIZES[name] == 64 else f"fd_efficientnet_{SIZES[name]}"
    else:
        network, name = foreign(Path(name), device, precision), slug(Path(name))
        score = f"fd_{name}"
    return Extractor(name, score + suffix, network.weights, network.resize, network.features, precision, network.batch)
