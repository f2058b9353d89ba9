"""Convert a generator to files for other programs: ONNX, torch's exported program, and golden images to check both.

Neither graph draws random numbers: noise, or the images to translate, is an input, and the noise that training adds
to tag embeddings is left out. Both take any number of rows.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.numpy import save
from torch import Tensor, nn

from pipeline.bundle.backends import NOISE, SOURCES, OnnxNetwork, ProgramNetwork, TorchNetwork
from pipeline.bundle.example_inputs import example_inputs
from pipeline.bundle.manifest import GOLDEN, ONNX, ONNX_HALF, PROGRAM
from trainables.config import CHANNEL_NAMES
from trainables.errors import UserError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

    from pipeline.bundle.backends import Network
    from pipeline.bundle.bundle import Bundle

TOLERANCE = 1e-4
"""Largest allowed difference of any pixel in [-1, 1] between two backends."""
CHECKED_BATCHES = (1, 3, 65)
GOLDEN_IMAGES = 4


class _Tagged(nn.Module):
    """Maps noise and tags to images in [-1, 1]."""

    def __init__(self, generator: Any) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, noise: Tensor, tags: Tensor) -> Tensor:
        images: Tensor = self.generator.image(noise, tags)
        return images


class _Untagged(_Tagged):
    """Maps noise alone to images in [-1, 1]."""

    def forward(self, noise: Tensor) -> Tensor:  # type: ignore[override] # one input less
        return super().forward(noise, noise)


def write_portable(bundle: Bundle, folder: Path, *, half: bool = False) -> dict[str, float]:
    """Write ``generator.onnx``, ``generator.pt2`` and ``golden.safetensors``, and with ``half`` the 16-bit ONNX file.

    Args:
        bundle: the export, opened in torch.
        folder: output folder.
        half: also write ``generator-fp16.onnx``: weights and arithmetic in 16 bits, inputs and outputs in 32.

    Returns:
        Largest difference from torch of each file, by name.

    Raises:
        UserError: the generator gives NaN or infinity, cannot be converted, or differs from torch after conversion.
    """
    assert isinstance(bundle.network, TorchNetwork)
    _write_golden(bundle, folder)
    try:
        with _quiet():
            program = _trace(bundle.network.generator, bundle)
            torch.export.save(program, folder / PROGRAM)
            model = _to_onnx(program, _first_input(bundle), bundle.config.channels)
            (folder / ONNX).write_bytes(model.SerializeToString())
            if half:
                (folder / ONNX_HALF).write_bytes(_halved(model).SerializeToString())
        return _differences(bundle, folder, half=half)
    except UserError:
        raise
    except Exception as error:  # whatever a converter raises, the user sees which generator it was
        raise UserError(f"this {bundle.config.system} generator cannot be converted: {first_line(error)}") from error


def _trace(generator: nn.Module, bundle: Bundle) -> torch.export.ExportedProgram:
    rows = torch.export.Dim("rows", min=1)
    inputs, labels = map(torch.from_numpy, example_inputs(bundle, 2))
    arguments: tuple[Tensor, ...] = (inputs, labels) if bundle.config.conditional else (inputs,)
    module = generator if bundle.config.translates else (_Untagged, _Tagged)[bundle.config.conditional](generator)
    program = torch.export.export(module.eval(), arguments, dynamic_shapes=tuple({0: rows} for _ in arguments))
    program.example_inputs = None  # torch would pickle them
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return program


def _to_onnx(program: torch.export.ExportedProgram, first: str, channels: int) -> onnx.ModelProto:
    names = [first, "tags"][: len(program.graph_signature.user_inputs)]
    converted = torch.onnx.export(
        program, dynamo=True, input_names=names, output_names=["pictures"], external_data=False, verbose=False
    )
    assert converted is not None
    model: onnx.ModelProto = converted.model_proto
    graph = model.graph
    del graph.value_info[:]
    for node in graph.node:
        del node.metadata_props[:]
    for value in (*graph.input, *graph.output):
        del value.metadata_props[:]
        value.type.tensor_type.shape.dim[0].dim_param = "rows"
    kind = CHANNEL_NAMES[channels]
    graph.output[0].doc_string = f"(rows, {channels}, height, width), {kind} in [-1, 1]; cut what lies outside"
    return model


def _halved(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnx
    from onnxconverter_common.float16 import convert_float_to_float16

    casts = {node.name for node in model.graph.node if node.op_type == "Cast"}
    halved: onnx.ModelProto = convert_float_to_float16(model, keep_io_types=True)
    for node in halved.graph.node:
        for attribute in node.attribute if node.name in casts else ():
            # The converter makes the result 16 bits wide and leaves the node as it was.
            if attribute.name == "to" and attribute.i == onnx.TensorProto.FLOAT:
                attribute.i = onnx.TensorProto.FLOAT16
    return halved


def _first_input(bundle: Bundle) -> str:
    return SOURCES if bundle.config.translates else NOISE


def _write_golden(bundle: Bundle, folder: Path) -> None:
    inputs, labels = example_inputs(bundle, GOLDEN_IMAGES)
    images = _render(bundle, inputs, labels)
    tags = {"tags": labels} if bundle.config.conditional else {}
    content = save({_first_input(bundle): inputs, **tags, "pictures": np.ascontiguousarray(images)})
    (folder / GOLDEN).write_bytes(content)  # ``save_file`` would make the file unreadable for other users


def _render(bundle: Bundle, inputs: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    images = bundle.network.render(inputs, labels)
    if not np.isfinite(images).all():
        raise UserError("this generator draws values that are no numbers; export another trial")
    return images


def _differences(bundle: Bundle, folder: Path, *, half: bool) -> dict[str, float]:
    networks: dict[str, Network] = {
        ONNX: OnnxNetwork((folder / ONNX).read_bytes()),
        PROGRAM: ProgramNetwork(folder / PROGRAM, conditional=bundle.config.conditional),
    }
    if half:
        networks[ONNX_HALF] = OnnxNetwork((folder / ONNX_HALF).read_bytes())
    differences = dict.fromkeys(networks, 0.0)
    for count in CHECKED_BATCHES:
        inputs = example_inputs(bundle, count)
        expected = _render(bundle, *inputs)
        for name, network in networks.items():
            difference = np.abs(network.render(*inputs) - expected).max()
            # np.maximum keeps NaN; ``max`` does not.
            differences[name] = float(np.maximum(differences[name], difference))
    for name in (ONNX, PROGRAM):
        if not differences[name] <= TOLERANCE:
            raise UserError(f"{name} draws other images than torch: they differ by {differences[name]:.2g} of 2")
    if not np.isfinite(differences.get(ONNX_HALF, 0.0)):
        raise UserError("this generator's values are too large for 16 bits; export without --fp16")
    return differences


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the converters' deprecation warnings and logs."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
