"""Feature networks that users bring as ONNX files, run by ONNX Runtime on the CPU.

The file has one input, float32 images ``(n, 3, h, w)`` in RGB with values in [0, 255], and one output, float32 features
``(n, d)``. ``n`` must be dynamic. Where ``h`` and ``w`` are fixed (and equal), images are resized to them (bilinear,
antialiased); where both are dynamic, the network gets images at their own size. Names of the input and the output are
free. Normalisation is part of the network.

An ONNX file is a graph of known operators: loading it runs no code of its author. Weights stored in other files are
refused, because the hash of the fingerprint would not cover them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch

from trainables.errors import UsageError, UserError, first_line
from trainables.scoring.extractors.inference import FeatureNetwork
from trainables.scoring.extractors.resize import resize
from trainables.scoring.extractors.weights import short_hash
from trainables.storage.onnx_file import require_self_contained

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from trainables.scoring.extractors.inference import Precision

SUFFIX = ".onnx"
TORCH_SUFFIXES = (".pt", ".pt2", ".pth", ".ts", ".torchscript")
"""Suffixes of network files that only torch can load. They are refused with a line about ``torch.onnx.export``."""
CONTRACT = "an extractor takes float32 images (n, 3, h, w) in [0, 255] for any n and returns float32 features (n, d)"
EXPORT = (
    'torch.onnx.export(network, (torch.rand(2, 3, 64, 64),), "net.onnx", dynamic_shapes=({0: "batch"},), '
    "external_data=False)"
)
BATCH = 32
"""Images per call. The memory that a user's network needs is unknown, so this stays small."""


def load_onnx_network(path: Path, precision: Precision, threads: int) -> FeatureNetwork:
    """Load a feature network from an ONNX file.

    Args:
        path: the file.
        precision: must be ``float32``.
        threads: threads of ONNX Runtime, 1 or more.

    Raises:
        UsageError: another precision, or a file of torch's own formats.
        UserError: a file that cannot be read, is no ONNX model, stores weights elsewhere, or has other inputs or
            outputs than the module's docstring says.
    """
    if path.suffix.lower() in TORCH_SUFFIXES:
        raise UsageError(f"network file {path} is not ONNX; allowed: {SUFFIX}; convert it with {EXPORT}")
    if precision != "float32":
        raise UsageError(f"precision {precision!r} for network file {path}; allowed: float32 (it runs as it was saved)")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"network file {path} does not exist") from None
    except OSError as error:
        raise UserError(f"cannot read network file {path}: {first_line(error)}") from error
    require_self_contained(content, path, f"save the weights in the file itself: {EXPORT}")
    session = open_session(content, path, threads)
    side = _check_signature(session, path)

    def features(images: Tensor) -> Tensor:
        pixels = images.cpu().float()
        return _run(session, pixels if side is None else resize(pixels, side, "antialias"), path)

    described = "none: images at their own size" if side is None else f"bilinear antialiased to {side} px"
    return FeatureNetwork(features, short_hash(content), described, BATCH)


def slug(path: Path) -> str:
    """The file's stem as part of a score's name: lower-case letters, digits and ``_``."""
    return re.sub(r"[^a-z0-9]+", "_", path.stem.lower()).strip("_") or "network"


def open_session(content: bytes, path: Path, threads: int) -> Any:
    """Open an ONNX network, of the file at ``path``, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised; they need not be logged too
    # Threads that spin while they wait take the cores of other trials.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no class of their own
        raise UserError(f"{path} is no ONNX file that can be run: {first_line(error)}") from error


def _check_signature(session: Any, path: Path) -> int | None:
    """The side in pixels of the images that the network takes, or ``None`` for any; refuse other signatures."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise UserError(f"{path} has {len(inputs)} inputs and {len(outputs)} outputs, not one of each; {CONTRACT}")
    (taken,), (given) = inputs, outputs[0]
    shape = list(taken.shape)
    if taken.type != "tensor(float)" or len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
        raise UserError(f"{path} takes {taken.type} {shape}; {CONTRACT}")
    if given.type != "tensor(float)" or (given.shape and len(given.shape) != 2):
        raise UserError(f"{path} returns {given.type} {list(given.shape)}; {CONTRACT}")
    if isinstance(shape[0], int):
        raise UserError(f"{path} takes {shape[0]} images at a time; make the batch dynamic: {EXPORT}")
    height, width = (side if isinstance(side, int) else None for side in shape[2:])
    if height != width:
        raise UserError(f"{path} takes images of {shape[2]} x {shape[3]}; allowed: equal sides, or both dynamic")
    return height


def _run(session: Any, images: Tensor, path: Path) -> Tensor:
    try:
        (features,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    except Exception as error:
        raise UserError(f"{path} fails on images {tuple(images.shape)}: {first_line(error)}; {CONTRACT}") from error
    if features.ndim != 2 or len(features) != len(images):
        raise UserError(f"{path} returns {features.dtype} {features.shape} for {len(images)} images; {CONTRACT}")
    return torch.from_numpy(features)
