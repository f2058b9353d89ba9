"""Files of an export that somebody altered, manifest and all: each is refused on one line, before it does harm."""

from __future__ import annotations

import json
import resource
import shutil
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file

from pipeline.bundle.bundle import Bundle
from pipeline.bundle.manifest import GOLDEN, ONNX, PROGRAM, WEIGHTS, write_manifest
from pipeline.bundle.onnx_export import write_portable
from tests.support.pipeline.exports import write_bundle
from tests.support.tiny import Touch
from trainables.errors import UsageError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_bundle(tmp_path_factory.mktemp("backends") / "export")
    write_portable(Bundle.load(folder), folder)
    write_manifest(folder, {})
    return folder


@pytest.fixture
def folder(converted: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(converted, tmp_path / "export")


def refusal(folder: Path, backend: str = "torch") -> str:
    with pytest.raises(UserError) as caught:
        Bundle.load(folder, backend)
    message = str(caught.value)
    assert "\n" not in message
    return message


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def forge(folder: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load(folder / ONNX)
    change(model)
    (folder / ONNX).write_bytes(model.SerializeToString())
    write_manifest(folder, {})


@pytest.mark.parametrize("backend", ["torch", "onnx", "pt2"])
@pytest.mark.parametrize("name", [ONNX, PROGRAM, GOLDEN])
def test_one_changed_byte_anywhere_is_noticed_by_every_backend(folder: Path, name: str, backend: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    assert refusal(folder, backend) == (
        f"export {folder}: {name} was changed after the export (its hash differs); export it again"
    )


def test_a_missing_file_is_noticed_by_every_backend(folder: Path) -> None:
    (folder / PROGRAM).unlink()
    for backend in ("torch", "onnx", "pt2"):
        assert refusal(folder, backend) == f"export {folder}: {PROGRAM} is missing; export it again"


def test_an_unknown_backend_names_the_allowed(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"'onx'; allowed: torch, onnx, onnx-fp16, pt2; did you mean 'onnx'\?"):
        Bundle.load(folder, "onx")


def test_a_manifest_without_a_hash_is_refused(folder: Path) -> None:
    for value in (None, 7, "", "0" * 63, "F" * 64):
        edit(folder / "manifest.json", lambda m, v=value: m["files"].update({ONNX: v}))
        assert refusal(folder) == f"export {folder}: manifest.json has no SHA-256 for {ONNX}; export it again"


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "inside.bin"])
def test_onnx_with_data_outside_the_file_is_refused(folder: Path, location: str) -> None:
    def move(model: onnx.ModelProto) -> None:
        tensor = next(one for one in model.graph.initializer if len(one.dims) > 1)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    (folder / "inside.bin").write_bytes(bytes(10_000))
    forge(folder, move)
    assert refusal(folder, "onnx") == f"{folder / ONNX} refers to data outside the file; do not use this export"


def test_so_is_data_that_hides_in_a_node_of_an_inner_graph(folder: Path) -> None:
    def hide(model: onnx.ModelProto) -> None:
        tensor = TensorProto(dims=[1], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="../secret")
        inner = helper.make_graph([helper.make_node("Constant", [], ["c"], value=tensor)], "inner", [], [])
        model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner))

    forge(folder, hide)
    assert "refers to data outside the file" in refusal(folder, "onnx")


def test_a_file_that_is_no_onnx_is_refused(folder: Path) -> None:
    for content in (b"", b"\xff\xff\xff\xff", b"plain text"):
        (folder / ONNX).write_bytes(content)
        write_manifest(folder, {})
        assert f"{folder / ONNX} is no ONNX file" in refusal(folder, "onnx")


def test_an_onnx_file_of_another_generator_is_refused(folder: Path, tmp_path: Path) -> None:
    other = write_bundle(tmp_path / "other", **{"generator.noise_dim": 9})
    write_portable(Bundle.load(other), other)
    shutil.copy(other / ONNX, folder / ONNX)
    write_manifest(folder, {})
    said = refusal(folder, "onnx")
    assert "takes {'noise': ['rows', 9], 'tags': ['rows', 2]}" in said
    assert said.endswith("the configuration asks for rows of {'noise': [8], 'tags': [2]}")


@pytest.mark.parametrize("member", ["data/sample_inputs/model.pt", "data/aotinductor/model/a.so", "data/weights/x.pt"])
def test_a_program_with_parts_that_could_run_is_refused(folder: Path, member: str, tmp_path: Path) -> None:
    torch.save(Touch(tmp_path / "ran"), tmp_path / "evil.pt")
    with zipfile.ZipFile(folder / PROGRAM) as archive:
        parts = {one: archive.read(one) for one in archive.namelist()}
    root = next(iter(parts)).partition("/")[0]
    with zipfile.ZipFile(folder / PROGRAM, "w") as archive:
        for name, content in {**parts, f"{root}/{member}": (tmp_path / "evil.pt").read_bytes()}.items():
            archive.writestr(name, content)
    write_manifest(folder, {})
    assert f"{folder / PROGRAM} holds pickled or compiled parts ({member}); do not use" in refusal(folder, "pt2")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("{root}/data/weights/weight_0", "holds a part twice"),
        ("{root}/data/weights/WEIGHT_0", "holds a part twice"),
        ("other/data/weights/weight_0", "holds more than one program"),
        ("weight_0", "holds more than one program"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_program_with_a_part_that_another_reader_could_take_is_refused(folder: Path, more: str, said: str) -> None:
    with zipfile.ZipFile(folder / PROGRAM) as archive:
        parts = {one: archive.read(one) for one in archive.namelist()}
    root = next(iter(parts)).partition("/")[0]
    name = more.format(root=root)
    with zipfile.ZipFile(folder / PROGRAM, "w") as archive:
        for part in [(name, b"other weights"), *parts.items()]:
            archive.writestr(*part)
    write_manifest(folder, {})
    assert refusal(folder, "pt2") == f"{folder / PROGRAM} {said}; do not use this export"


def test_a_program_with_a_pickled_weight_is_refused(folder: Path, tmp_path: Path) -> None:
    torch.save(Touch(tmp_path / "ran"), tmp_path / "evil.pt")
    with zipfile.ZipFile(folder / PROGRAM) as archive:
        parts = {one: archive.read(one) for one in archive.namelist()}
    table = next(name for name in parts if name.endswith("model_weights_config.json"))
    config = json.loads(parts[table])
    next(iter(config["config"].values()))["use_pickle"] = True
    parts[table] = json.dumps(config).encode()
    parts[table.replace("model_weights_config.json", "weight_0")] = (tmp_path / "evil.pt").read_bytes()
    with zipfile.ZipFile(folder / PROGRAM, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    write_manifest(folder, {})
    assert "holds pickled or compiled parts" in refusal(folder, "pt2")
    assert not (tmp_path / "ran").exists()


def test_a_file_that_is_no_program_is_refused(folder: Path) -> None:
    (folder / PROGRAM).write_bytes(b"no archive")
    write_manifest(folder, {})
    assert f"{folder / PROGRAM} is no exported program" in refusal(folder, "pt2")


def test_a_huge_network_is_refused_before_it_is_allocated(folder: Path) -> None:
    """Width 1024 at 256 px is a layer of 65536 x 32768 x 4 x 4 weights: 137 GB."""
    edit(folder / "config.json", lambda c: c["params"].update({"generator.width": 1024, "image_size": 256}))
    write_manifest(folder, {})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said = refusal(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # KiB
    assert said.startswith(f"export {folder} cannot be used: body.0.0.bias is [16] in weights.safetensors and [65536]")


def test_weights_with_a_layer_too_many_or_too_few_are_refused(folder: Path) -> None:
    from safetensors.torch import load_file

    state = load_file(folder / WEIGHTS)
    save_file({**state, "more": torch.zeros(1)}, folder / WEIGHTS)
    write_manifest(folder, {})
    assert "more is [1] in weights.safetensors and unknown by the configuration" in refusal(folder)
    state.pop("body.0.0.bias")
    save_file(state, folder / WEIGHTS)
    write_manifest(folder, {})
    assert "body.0.0.bias is missing in weights.safetensors and [16] by the configuration" in refusal(folder)


def test_tags_in_another_order_than_trained_are_refused(folder: Path) -> None:
    edit(folder / "tags.json", lambda t: t["vocabulary"]["groups"][0]["classes"].reverse())
    write_manifest(folder, {})
    assert "the vocabulary of tags.json has the hash" in refusal(folder)


@pytest.mark.parametrize("backend", ["torch", "onnx", "pt2"])
@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.zeros((0, 2), np.int64), r"labels have the shape \(0, 2\) .* with n 1 or more"),
        (np.zeros((1, 3), np.int64), r"labels have the shape \(1, 3\) and noise \(1, 8\); needed are \(n, 2\)"),
        (np.array([[0, 11]]), "label 11 is no class of eyes; allowed: 0 to 10"),
        (np.array([[-1, 0]]), "label -1 is no class of hair; allowed: 0 to 11"),
    ],
)
def test_invalid_labels_are_refused_by_every_backend(
    converted: Path, backend: str, labels: np.ndarray, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        Bundle.load(converted, backend).draw(labels, seed=0)


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_a_seed_out_of_range_is_refused(converted: Path, seed: int) -> None:
    with pytest.raises(UsageError, match=rf"seed is {seed}; allowed: 0 to 2147483647"):
        Bundle.load(converted).draw(np.array([[0, 0]]), seed=seed)


@pytest.mark.parametrize("limit", [0.0, -1.0, 11.0, float("nan")])
def test_a_truncation_out_of_range_is_refused(converted: Path, limit: float) -> None:
    with pytest.raises(UsageError, match=r"truncation is .*; allowed: above 0 to 10"):
        Bundle.load(converted).noise([0], 0, limit)


def test_truncated_noise_is_the_normal_distribution_cut_off(tmp_path: Path) -> None:
    bundle = Bundle.load(write_bundle(tmp_path / "b", **{"generator.noise_dim": 4096}))
    plain = bundle.noise(range(4), 0).ravel()
    for limit in (0.5, 1.0, 2.0):
        cut = bundle.noise(range(4), 0, limit).ravel()
        assert np.abs(cut).max() <= limit
        assert (
            np.array_equal(np.argsort(plain, kind="stable"), np.argsort(cut, kind="stable"))
            or (np.diff(cut[np.argsort(plain, kind="stable")]) >= 0).all()
        )
        # Variance of a normal distribution cut at T: 1 - 2 T phi(T) / (2 Phi(T) - 1).
        from scipy.stats import norm

        variance = 1 - 2 * limit * norm.pdf(limit) / (2 * norm.cdf(limit) - 1)
        assert cut.var() == pytest.approx(variance, rel=0.04)
        assert cut.mean() == pytest.approx(0, abs=4 * (variance / cut.size) ** 0.5)
    assert np.allclose(bundle.noise(range(4), 0, 10.0).ravel(), plain, atol=1e-5)


def test_only_torch_blends_tags_and_only_where_there_are_any(converted: Path, tmp_path: Path) -> None:
    labels, shares = np.array([[8, 9]]), np.array([0.5], np.float32)
    bundle = Bundle.load(converted, "onnx")
    with pytest.raises(UsageError, match="which only the torch backend reaches"):
        bundle.blend(bundle.noise([0], 0), labels, labels, shares)
    untagged = {"generator.conditioning": "none", "discriminator.conditioning": "none"}
    plain = Bundle.load(write_bundle(tmp_path / "plain", **untagged))
    with pytest.raises(UsageError, match="takes no tags, so there is nothing between two"):
        plain.blend(plain.noise([0], 0), labels, labels, shares)
