"""Three ways to run an exported generator: its weights in torch, ONNX Runtime, and torch's exported program.

Each takes noise ``(n, noise_dim)`` float32, or pictures of the kind that come out where the generator translates, and
labels ``(n, groups)`` int64, and gives pictures ``(n, 3, s, s)`` float32 in [-1, 1]; what a generator without such an
activation draws may leave that range. Only the first and the last import torch.
"""

from __future__ import annotations

import json
import re
import zipfile
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.manifest import ONNX, ONNX_HALF, PROGRAM, WEIGHTS
from trainables.errors import UserError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from trainables.config import GanConfig
    from trainables.networks.conditioning import Pairs

BACKENDS = {"torch": WEIGHTS, "onnx": ONNX, "onnx-fp16": ONNX_HALF, "pt2": PROGRAM}
"""Names of the ways, and the file that each reads."""
NOISE, SOURCES = "noise", "sources"
"""Names of what goes in beside ``tags``, of generators that draw and of those that translate."""
_PLAIN = re.compile(
    r"archive_format|archive_version|byteorder|\.data/\w+|models/model\.json"
    r"|data/(weights|constants)/(weight_\d+|tensor_\d+|model_(weights|constants)_config\.json)"
)
"""Parts of an exported program that torch reads as numbers or JSON."""
_SAMPLES = "data/sample_inputs/model.pt"
"""Always there; torch unpickles it unless it is empty."""


class Network(Protocol):
    """A generator that can be run."""

    def render(self, inputs: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Draw one picture per row of noise, or translate one per picture."""


class TorchNetwork:
    """The generator's own weights; the only way that blends tags."""

    def __init__(self, generator: Any, *, translates: bool = False) -> None:
        self.generator = generator.eval().requires_grad_(False)
        self.run = self.generator if translates else self.generator.picture

    def render(self, inputs: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Draw or translate one picture per row."""
        import torch

        with torch.inference_mode():
            drawn = self.run(torch.from_numpy(inputs), torch.from_numpy(labels))
        pictures: NDArray[np.float32] = drawn.numpy()
        return pictures

    def blend(
        self,
        noise: NDArray[np.float32],
        labels: NDArray[np.int64],
        others: NDArray[np.int64],
        shares: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Draw one picture per row of tags that lie ``shares`` ``(n,)`` in [0, 1] of the way from labels to others."""
        import torch

        with torch.inference_mode():
            drawn = self.generator.blend(*map(torch.from_numpy, (noise, labels, others, shares)))
        pictures: NDArray[np.float32] = drawn.numpy()
        return pictures


class OnnxNetwork:
    """ONNX Runtime on the CPU, with ``threads`` threads (0: as many as it likes)."""

    def __init__(self, content: bytes, threads: int = 0) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.inputs = {one.name: one.shape for one in self.session.get_inputs()}

    def render(self, inputs: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Draw or translate one picture per row."""
        given = {NOISE: inputs, SOURCES: inputs, "tags": labels}
        pictures: NDArray[np.float32] = self.session.run(None, {name: given[name] for name in self.inputs})[0]
        return pictures


class ProgramNetwork:
    """torch's exported program, which needs torch and none of this project's code."""

    def __init__(self, path: Path, *, conditional: bool) -> None:
        import torch

        self.program = torch.export.load(path).module()
        self.conditional = conditional

    def render(self, inputs: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Draw or translate one picture per row."""
        import torch

        given = [inputs, labels] if self.conditional else [inputs]
        with torch.inference_mode():
            pictures: NDArray[np.float32] = self.program(*map(torch.from_numpy, given)).numpy()
        return pictures


def open_network(
    folder: Path,
    backend: str,
    config: GanConfig,
    sizes: Sequence[int],
    pairs: Pairs,
    threads: int = 0,
    targets: Sequence[int] = (),
) -> Network:
    """Open a verified export's network; ``targets`` are the places of the groups that a translation changes.

    Raises:
        UserError: a file that does not fit the configuration, or that reaches beyond itself.
    """
    path = folder / BACKENDS[backend]
    if backend == "torch":
        generator = load_generator(path, config, sizes, pairs, targets)
        return TorchNetwork(generator, translates=config.translates)
    if backend == "pt2":
        _require_plain(path)
        return ProgramNetwork(path, conditional=config.conditional)
    content = path.read_bytes()
    _require_self_contained(content, path)
    try:
        network = OnnxNetwork(content, threads)
    except Exception as error:  # onnxruntime's errors share no class of their own
        raise UserError(f"{path} is no ONNX file that can be run: {first_line(error)}") from error
    first = {SOURCES: [3, *[config.image_size] * 2]} if config.translates else {NOISE: [config.generator.noise_dim]}
    expected = {**first, **({"tags": [len(sizes)]} if config.conditional else {})}
    if {name: shape[1:] for name, shape in network.inputs.items()} != expected:
        raise UserError(f"{path} takes {network.inputs}; the configuration asks for rows of {expected}")
    return network


def load_generator(
    path: Path, config: GanConfig, sizes: Sequence[int], pairs: Pairs, targets: Sequence[int] = ()
) -> Any:
    """Build the generator and fill in its weights; nothing is allocated before the file's shapes are found to fit.

    Raises:
        ValueError: weights of another network.
    """
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file

    from trainables.systems.build import build_generator

    with torch.device("meta"):
        generator = build_generator(config, sizes, targets, pairs)
    wanted = {name: list(value.shape) for name, value in generator.state_dict().items()}
    with safe_open(path, framework="pt") as file:
        found = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 - no mapping
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise ValueError(
                f"{name} is {found.get(name, 'missing')} in {path.name} and "
                f"{wanted.get(name, 'unknown')} by the configuration"
            )
    generator.load_state_dict(load_file(path), assign=True)
    return generator


def _require_self_contained(content: bytes, path: Path) -> None:
    """Refuse an ONNX file with tensors in other files: those could lie anywhere."""
    import onnx

    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own
        raise UserError(f"{path} is no ONNX file: {first_line(error)}") from error
    graphs = [model.graph, *model.functions]
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for graph in graphs for tensor in _tensors(graph)):
        raise UserError(f"{path} refers to data outside the file; do not use this export")


def _tensors(graph: Any) -> Iterator[Any]:
    """Every tensor of an ONNX graph or function, those of inner graphs too."""
    yield from getattr(graph, "initializer", ())
    for sparse in getattr(graph, "sparse_initializer", ()):
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def _require_plain(path: Path) -> None:
    """Refuse an exported program with anything in it that torch would unpickle or run as compiled code."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [(*one.orig_filename.partition("/")[::2], one.file_size) for one in archive.infolist()]
            tables = [json.loads(archive.read(name)) for name in archive.namelist() if name.endswith("_config.json")]
        pickled = any(entry["use_pickle"] for table in tables for entry in table["config"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is no exported program: {first_line(error)}") from error
    # torch looks names up without regard to case, and takes another one of two than Python does.
    if len({(root, name.lower()) for root, name, _ in members}) < len(members):
        raise UserError(f"{path} holds a part twice; do not use this export")
    if len({root for root, *_ in members}) > 1:
        raise UserError(f"{path} holds more than one program; do not use this export")
    strange = [name for _, name, size in members if not _PLAIN.fullmatch(name) and (size or name != _SAMPLES)]
    if pickled or strange:
        raise UserError(f"{path} holds pickled or compiled parts ({', '.join(strange[:3])}); do not use this export")
