"""Feature networks given as a file: TorchScript or torch.export.

The contract: ``forward`` takes float32 pictures ``(n, 3, h, w)`` with grey levels in [0, 255], at the size they have,
for any n, and gives features ``(n, d)``. Resizing and normalising are the network's own business.

Such a file is a program. What could reach beyond tensors is refused before anything of it runs, see
``archive_check``; even so, take networks only from people you trust.
"""

from __future__ import annotations

import io
import re
import warnings
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from trainables.errors import UsageError, UserError, first_line
from trainables.scoring.archive_check import check_exported, check_torchscript
from trainables.scoring.inference import FeatureNetwork
from trainables.scoring.weights import short_hash

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trainables.scoring.inference import Precision

    Network = Callable[[Tensor], object]

EXPORTED = ".pt2"
SUFFIXES = (".pt", ".ts", ".torchscript", EXPORTED)
BATCH = 32
"""Nothing is known of the memory that such a network needs."""


def foreign(path: Path, device: str, precision: Precision) -> FeatureNetwork:
    """The network in a file.

    Raises:
        UsageError: another precision than float32.
        UserError: a file that cannot be read, is no such network, or is not safe to load.
    """
    if precision != "float32":
        raise UsageError(f"precision {precision!r} for network file {path}; allowed: float32 (it runs as it was saved)")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"network file {path} does not exist") from None
    except OSError as error:
        raise UserError(f"cannot read network file {path}: {first_line(error)}") from error
    load = _load_exported if path.suffix.lower() == EXPORTED else _load_torchscript
    network = load(path, data, device)

    def features(pictures: Tensor) -> Tensor:
        return _features(network, pictures.to(device).float(), path)

    return FeatureNetwork(features, short_hash(data), "the network's own", BATCH)


def slug(path: Path) -> str:
    """The file's stem as it can stand in the name of a score: lower-case letters, digits and ``_``."""
    return re.sub(r"[^a-z0-9]+", "_", path.stem.lower()).strip("_") or "network"


def _load_torchscript(path: Path, data: bytes, device: str) -> Network:
    check_torchscript(path, data)
    try:
        with warnings.catch_warnings():
            # That torch.jit is deprecated in favour of torch.export, which is said to those who write such files.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            network = torch.jit.load(io.BytesIO(data), map_location=device)  # type: ignore[no-untyped-call]
    except Exception as error:
        raise UserError(f"{path} holds no TorchScript network: {first_line(error)}") from error
    return cast("Network", network.eval())


def _load_exported(path: Path, data: bytes, device: str) -> Network:
    check_exported(path, data)
    try:
        # Guards are Python text in the archive that would be run; the check of the features does their work.
        network = torch.export.load(io.BytesIO(data)).module(check_guards=False)
    except Exception as error:
        raise UserError(f"{path} holds no torch.export network: {first_line(error)}") from error
    return cast("Network", network.to(device))


def _features(network: Network, pictures: Tensor, path: Path) -> Tensor:
    count = len(pictures)
    contract = "it must take float pictures (n, 3, h, w) in [0, 255] for any n and give features (n, d)"
    try:
        features = network(pictures)
    except Exception as error:
        # TorchScript puts its own stack first and the reason last.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise UserError(f"{path} fails on pictures {tuple(pictures.shape)}: {reason}; {contract}") from error
    if not isinstance(features, Tensor):
        raise UserError(f"{path} gives a {type(features).__name__}; {contract}")
    if features.ndim != 2 or len(features) != count or not features.is_floating_point():
        kind = f"{str(features.dtype).removeprefix('torch.')} {tuple(features.shape)}"
        raise UserError(f"{path} gives {kind} for {count} pictures; {contract}")
    return features
