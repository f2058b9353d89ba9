"""Backends that run an exported generator: its weights in torch, ONNX Runtime, and torch's exported program.

Each takes noise ``(n, noise_dim)`` float32, or images of the kind that come out where the generator translates, and
labels ``(n, groups)`` int64, and returns images ``(n, channels, s, s)`` float32 in [-1, 1]; without a bounded final
activation, values may lie outside. Only the first and the last import torch.
"""

from __future__ import annotations

import json
import re
import zipfile
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.bundle.manifest import ONNX, ONNX_HALF, PROGRAM, WEIGHTS
from trainables.errors import UserError, first_line
from trainables.storage.onnx_file import require_self_contained

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from trainables.config import GanConfig
    from trainables.networks.conditioning import Pairs

BACKENDS = {"torch": WEIGHTS, "onnx": ONNX, "onnx-fp16": ONNX_HALF, "pt2": PROGRAM}
"""The file of each backend, by its name."""
NOISE, SOURCES = "noise", "sources"
"""Names of the input beside ``tags``: for generators that draw, and for those that translate."""
_PLAIN = re.compile(
    r"archive_format|archive_version|byteorder|\.data/\w+|models/model\.json"
    r"|data/(weights|constants)/(weight_\d+|tensor_\d+|model_(weights|constants)_config\.json)"
)
"""Parts of an exported program that torch reads as numbers or JSON."""
_SAMPLES = "data/sample_inputs/model.pt"
"""Always present; torch unpickles it unless it is empty."""


class Network(Protocol):
    """A generator that can be run."""

    def render(self, inputs: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Draw one image per row of noise, or translate one per image."""


class TorchNetwork:
    """The generator's own weights in torch; the only backend that blends tags."""

    def __init__(self, generator: Any, *, translates: bool = False) -> None:
        self.generator = generator.eval().requires_grad_(False)
        self.run = self.generator if translates else self.generator.image

    def render(self, inputs: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Draw or translate one image per row."""
        import torch

        with torch.inference_mode():
            output = self.run(torch.from_numpy(inputs), torch.from_numpy(labels))
        images: NDArray[np.float32] = output.numpy()
        return images

    def blend(
        self,
        noise: NDArray[np.float32],
        labels: NDArray[np.int64],
        others: NDArray[np.int64],
        shares: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Draw one image per row of tags that lie ``shares`` ``(n,)`` in [0, 1] of the way from labels to others."""
        import torch

        with torch.inference_mode():
            output = self.generator.blend(*map(torch.from_numpy, (noise, labels, others, shares)))
        images: NDArray[np.float32] = output.numpy()
        return images


class OnnxNetwork:
    """ONNX Runtime on the CPU, with ``threads`` threads (0: ONNX Runtime chooses)."""

    def __init__(self, content: bytes, threads: int = 0) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.inputs = {tensor.name: tensor.shape for tensor in self.session.get_inputs()}

    def render(self, inputs: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Draw or translate one image per row."""
        arguments = {NOISE: inputs, SOURCES: inputs, "tags": labels}
        images: NDArray[np.float32] = self.session.run(None, {name: arguments[name] for name in self.inputs})[0]
        return images


class ProgramNetwork:
    """torch's exported program, which needs torch and none of this project's code."""

    def __init__(self, path: Path, *, conditional: bool) -> None:
        import torch

        self.program = torch.export.load(path).module()
        self.conditional = conditional

    def render(self, inputs: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Draw or translate one image per row."""
        import torch

        arguments = [inputs, labels] if self.conditional else [inputs]
        with torch.inference_mode():
            images: NDArray[np.float32] = self.program(*map(torch.from_numpy, arguments)).numpy()
        return images


def require_safe(folder: Path, backend: str) -> None:
    """Check that loading a backend's file neither unpickles anything nor reads other files.

    Raises:
        UserError: an exported program with pickled or compiled parts, an ONNX file with external data.
    """
    path = folder / BACKENDS[backend]
    if backend == "pt2":
        _require_plain(path)
    elif backend != "torch":
        require_self_contained(path.read_bytes(), path, "do not use this export")


def open_network(
    folder: Path,
    backend: str,
    config: GanConfig,
    sizes: Sequence[int],
    pairs: Pairs,
    threads: int = 0,
    targets: Sequence[int] = (),
) -> Network:
    """Open a verified export's network; ``targets`` are the positions of the groups that a translation changes.

    Raises:
        UserError: a file that does not fit the configuration.
    """
    path = folder / BACKENDS[backend]
    if backend == "torch":
        generator = load_generator(path, config, sizes, pairs, targets)
        return TorchNetwork(generator, translates=config.translates)
    if backend == "pt2":
        return ProgramNetwork(path, conditional=config.conditional)
    try:
        network = OnnxNetwork(path.read_bytes(), threads)
    except Exception as error:  # onnxruntime's errors have no common base class
        raise UserError(f"{path} is no ONNX file that can be run: {first_line(error)}") from error
    image = [config.channels, *[config.image_size] * 2]
    first = {SOURCES: image} if config.translates else {NOISE: [config.generator.noise_dim]}
    expected = {**first, **({"tags": [len(sizes)]} if config.conditional else {})}
    if {name: shape[1:] for name, shape in network.inputs.items()} != expected:
        raise UserError(f"{path} takes {network.inputs}; the configuration asks for rows of {expected}")
    return network


def load_generator(
    path: Path, config: GanConfig, sizes: Sequence[int], pairs: Pairs, targets: Sequence[int] = ()
) -> Any:
    """Build the generator and load its weights; memory is allocated only after the file's shapes were checked.

    Raises:
        ValueError: the weights belong to another network.
    """
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file

    from trainables.systems.build import build_generator

    with torch.device("meta"):
        generator = build_generator(config, sizes, targets, pairs)
    expected = {name: list(value.shape) for name, value in generator.state_dict().items()}
    with safe_open(path, framework="pt") as file:
        stored = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 - no mapping
    for name in sorted(expected.keys() | stored.keys()):
        if expected.get(name) != stored.get(name):
            raise ValueError(
                f"{name} is {stored.get(name, 'missing')} in {path.name} and "
                f"{expected.get(name, 'unknown')} by the configuration"
            )
    generator.load_state_dict(load_file(path), assign=True)
    return generator


def _require_plain(path: Path) -> None:
    """Refuse an exported program with parts that torch would unpickle or run as compiled code."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [(*one.orig_filename.partition("/")[::2], one.file_size) for one in archive.infolist()]
            tables = [json.loads(archive.read(name)) for name in archive.namelist() if name.endswith("_config.json")]
        pickled = any(entry["use_pickle"] for table in tables for entry in table["config"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is no exported program: {first_line(error)}") from error
    # torch ignores case in names, and of two equal names it chooses a different one than Python.
    if len({(root, name.lower()) for root, name, _ in members}) < len(members):
        raise UserError(f"{path} holds a part twice; do not use this export")
    if len({root for root, *_ in members}) > 1:
        raise UserError(f"{path} holds more than one program; do not use this export")
    strange = [name for _, name, size in members if not _PLAIN.fullmatch(name) and (size or name != _SAMPLES)]
    if pickled or strange:
        raise UserError(f"{path} holds pickled or compiled parts ({', '.join(strange[:3])}); do not use this export")
