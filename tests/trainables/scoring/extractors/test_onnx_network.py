"""ONNX files as feature extractors: features against hand computation; other files are refused in one line."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from tests.support.inception import faces
from tests.support.tiny import Touch, quadrants
from trainables.errors import UsageError, UserError
from trainables.scoring.extractors import onnx_network
from trainables.scoring.extractors.registry import is_network_file, open_extractor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FLOAT = TensorProto.FLOAT
ANY_SIZE = ("n", 3, "h", "w")
SCALE = numpy_helper.from_array(np.full(1, 2.0, np.float32), "scale")
MEANS = (
    helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
    helper.make_node("Flatten", ["pooled"], ["means"]),
    helper.make_node("Mul", ["means", "scale"], ["y"]),
)
"""Features: twice the mean of each channel."""
MAPS = (MEANS[0], helper.make_node("Mul", ["pooled", "scale"], ["y"]))


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto] = MEANS,
    *,
    taken: Sequence[Any] = ANY_SIZE,
    given: Sequence[Any] | None = ("n", 3),
    types: tuple[int, int] = (FLOAT, FLOAT),
    more_inputs: Sequence[onnx.ValueInfoProto] = (),
    more_outputs: Sequence[onnx.ValueInfoProto] = (),
    weights: Sequence[TensorProto] = (SCALE,),
) -> Path:
    inputs = [helper.make_tensor_value_info("x", types[0], taken), *more_inputs]
    outputs = [helper.make_tensor_value_info("y", types[1], given), *more_outputs]
    graph = helper.make_graph(list(nodes), "net", inputs, outputs, list(weights))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def refused(path: Path, images: int = 2) -> str:
    """The one line that a file is refused with, when it is opened or first run."""
    with pytest.raises(UserError) as error:
        open_extractor(str(path))(faces(images))
    text = str(error.value)
    assert str(path) in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize(("name", "slug"), [("My Net-1.onnx", "my_net_1"), ("net.ONNX", "net")])
def test_an_onnx_file_is_an_extractor(name: str, slug: str, tmp_path: Path) -> None:
    path = save(tmp_path / name)
    extractor = open_extractor(str(path))
    assert (extractor.name, extractor.score) == (slug, f"fd_{slug}")
    assert extractor.weights == hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    for images in (faces(5), faces(1, size=33)):
        torch.testing.assert_close(extractor(images), 2 * images.float().mean((2, 3)))


def test_another_file_of_the_same_name_has_another_fingerprint(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    first = open_extractor(str(save(tmp_path / "a" / "net.onnx")))
    half = numpy_helper.from_array(np.full(1, 0.5, np.float32), "scale")
    second = open_extractor(str(save(tmp_path / "b" / "net.onnx", weights=[half])))
    assert first.weights != second.weights


@pytest.mark.filterwarnings("ignore:Exporting a model while it is in training mode")
def test_the_recommended_export_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call that the refusal of torch's formats recommends, run word for word."""

    class Quadrants(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.avg_pool2d(x, 32).flatten(1)

    monkeypatch.chdir(tmp_path)
    exec(onnx_network.EXPORT, {"torch": torch, "network": Quadrants()})
    extractor = open_extractor("net.onnx")
    torch.testing.assert_close(extractor(faces(3)), quadrants(faces(3)))
    assert "64" in extractor.resize


def test_images_are_resized_where_the_file_fixes_their_size(tmp_path: Path) -> None:
    """The input, flattened: doubled images of constant quadrants come back as they were before."""
    flat = (helper.make_node("Flatten", ["x"], ["y"]),)
    path = save(tmp_path / "flat.onnx", flat, taken=("n", 3, 8, 8), given=("n", 192), weights=())
    images = torch.full((2, 3, 4, 4), 7, dtype=torch.uint8)
    images[1] = 200
    features = open_extractor(str(path))(images)
    torch.testing.assert_close(features, torch.tensor([[7.0], [200.0]]).expand(2, 192))


def test_a_session_has_the_threads_of_the_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    opened = onnx_network.open_session
    monkeypatch.setattr(onnx_network, "open_session", lambda *given: (threads.append(given[-1]), opened(*given))[1])
    path, before = save(tmp_path / "net.onnx"), torch.get_num_threads()
    try:
        for count in (1, 2, 1):
            torch.set_num_threads(count)
            open_extractor(str(path))(faces(2))
    finally:
        torch.set_num_threads(before)
    assert threads == [1, 2]


@pytest.mark.parametrize(
    ("changes", "value"),
    [
        ({"taken": (1, 3, "h", "w"), "given": (1, 3)}, "1 images at a time"),
        ({"taken": ("n", 1, "h", "w"), "given": ("n", 1)}, "['n', 1, 'h', 'w']"),
        ({"taken": ("n", 3, 32, 64)}, "32 x 64"),
        ({"taken": ("n", 3, 32, "w")}, "32 x w"),
        ({"nodes": MAPS, "given": ("n", 3, 1, 1)}, "'n', 3, 1, 1"),
        ({"nodes": MAPS, "given": None}, "3, 1, 1"),
        (
            {
                "nodes": (*MEANS[:2], helper.make_node("ReduceMean", ["means"], ["y"], axes=[0], keepdims=1)),
                "weights": (),
                "given": None,
            },
            "(1, 3) for 2 images",
        ),
        (
            {
                "nodes": (*MEANS[:2], helper.make_node("ArgMax", ["means"], ["y"], axis=1)),
                "weights": (),
                "types": (FLOAT, TensorProto.INT64),
                "given": ("n", 1),
            },
            "tensor(int64)",
        ),
        (
            {
                "nodes": (helper.make_node("Cast", ["x"], ["cast"], to=FLOAT),
                          helper.make_node("ReduceMean", ["cast"], ["y"], axes=[2, 3], keepdims=0)),
                "weights": (),
                "types": (TensorProto.UINT8, FLOAT),
            },
            "tensor(uint8)",
        ),
        (
            {
                "nodes": (*MEANS[:2], helper.make_node("Add", ["means", "other"], ["y"])),
                "weights": (),
                "more_inputs": [helper.make_tensor_value_info("other", FLOAT, ("n", 3))],
            },
            "2 inputs and 1 outputs",
        ),
        ({"more_outputs": [helper.make_tensor_value_info("means", FLOAT, ("n", 3))]}, "1 inputs and 2 outputs"),
        ({"nodes": (helper.make_node("Mul", ["x", "scale"], ["y"], domain="their.own"),)}, "their.own"),
    ],
    ids=["one at a time", "grey", "oblong", "half fixed", "maps", "maps undeclared", "one row", "classes", "bytes",
         "two inputs", "two outputs", "unknown operator"],
)  # fmt: skip
def test_another_signature_is_refused_in_one_line(changes: dict[str, Any], value: str, tmp_path: Path) -> None:
    assert value in refused(save(tmp_path / "net.onnx", **changes))


def test_images_that_the_network_cannot_take_are_named(tmp_path: Path) -> None:
    """A file of any size whose weights want 16 x 16 pixels."""
    weights = numpy_helper.from_array(np.ones((768, 3), np.float32), "w")
    nodes = (helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"]))
    path = save(tmp_path / "net.onnx", nodes, weights=[weights])
    assert "(2, 3, 64, 64)" in refused(path)
    sums = open_extractor(str(path))(faces(2, size=16))
    torch.testing.assert_close(sums, faces(2, size=16).float().sum((1, 2, 3))[:, None].expand(2, 3))


@pytest.mark.parametrize("place", ["weight", "attribute", "inner graph"])
def test_weights_in_other_files_are_refused(place: str, tmp_path: Path) -> None:
    outside = TensorProto(name="scale", data_type=FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="secret.bin")
    (tmp_path / "secret.bin").write_bytes(np.full(1, 2.0, np.float32).tobytes())
    constant = helper.make_node("Constant", [], ["scale"])
    constant.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(outside)
    if place == "weight":
        path = save(tmp_path / "net.onnx", weights=[outside])
    elif place == "attribute":
        path = save(tmp_path / "net.onnx", (constant, *MEANS), weights=())
    else:
        branch = helper.make_graph([constant], "branch", [], [helper.make_tensor_value_info("scale", FLOAT, [1])])
        choice = helper.make_node("If", ["yes"], ["scale"], then_branch=branch, else_branch=branch)
        yes = numpy_helper.from_array(np.array(True), "yes")
        path = save(tmp_path / "net.onnx", (choice, *MEANS), weights=[yes])
    assert "data outside the file; save the weights in the file itself" in refused(path)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("no network")


def pickled(path: Path) -> None:
    torch.save(Touch(path.parent / "executed"), path)


def cut(path: Path) -> None:
    path.write_bytes(save(path).read_bytes()[:-20])


def folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("write", [empty, text, pickled, cut, folder], ids=lambda write: write.__name__)
def test_a_file_that_is_no_network_is_refused_in_one_line(write: Any, tmp_path: Path) -> None:
    write(tmp_path / "net.onnx")
    refused(tmp_path / "net.onnx")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["net.pt", "net.pt2", "net.pth", "net.ts", "Net.TorchScript"])
def test_torchs_formats_are_refused_with_the_way_to_convert_them(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    pickled(path)
    assert is_network_file(str(path))
    with pytest.raises(UsageError) as error:
        open_extractor(str(path))
    text = str(error.value)
    assert str(path) in text
    assert "torch.onnx.export(" in text
    assert "\n" not in text
    assert not (tmp_path / "executed").exists()


def test_options_that_a_file_cannot_have_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "net.onnx")
    with pytest.raises(UsageError, match=rf"weights {path} given for"):
        open_extractor(str(path), path)
    with pytest.raises(UsageError, match=r"precision 'bf16' for network file .*; allowed: float32"):
        open_extractor(str(path), precision="bf16")
    with pytest.raises(UserError, match=r"network file .*none\.onnx does not exist"):
        open_extractor(str(tmp_path / "none.onnx"))
