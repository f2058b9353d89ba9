"""Every system's generator draws the same images in torch, ONNX Runtime and as torch's exported program."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save_file

from pipeline.bundle.bundle import Bundle
from pipeline.bundle.manifest import GOLDEN, ONNX, ONNX_HALF, PROGRAM, WEIGHTS, write_manifest
from pipeline.bundle.onnx_export import TOLERANCE, _differences, write_portable
from search_spaces.registry import find_space
from tests.support.pipeline.command_line import REPOSITORY
from tests.support.pipeline.exports import write_bundle
from trainables.errors import UserError
from trainables.networks.generator import Generator

if TYPE_CHECKING:
    from pathlib import Path

RECIPES = (
    "acgan", "srresnet_acgan", "matching_wgan", "cdcgan", "dcgan", "combo_dcgan", "wgan_gp", "lightgan", "r3gan",
)  # fmt: skip
SMALL = {
    "image_size": 16, "generator.width": 4, "discriminator.width": 4, "generator.noise_dim": 8, "generator.blocks": 2,
}  # fmt: skip
SYSTEMS: dict[str, dict[str, Any]] = {name: {**find_space(name).recipe, **SMALL} for name in RECIPES}
VARIANTS: dict[str, dict[str, Any]] = {
    "six pixels doubled": {**find_space("srresnet_acgan").recipe, **SMALL, "image_size": 24},
    "spectral norm": {**SMALL, "discriminator.spectral_norm": True},
    "projection": {**SMALL, "generator.conditioning": "code", "discriminator.conditioning": "projection"},
    "convolution first": {**find_space("matching_wgan").recipe, **SMALL, "generator.first_layer": "convolution"},
    "loud embeddings": {**SMALL, "generator.embedding_noise": 5.0},
    "oversize": {**SMALL, "generator.oversize": True, "generator.final_norm": True},
    "leaky image": {**SMALL, "generator.final_activation": "leaky_relu"},
    "dropout": {**SMALL, "generator.dropout": 0.5},
    "grey": {**SMALL, "channels": 1, "generator.oversize": True, "generator.final_norm": True},
    "instance norm": {**SMALL, "generator.norm": "instance"},
    "conditional batch norm": {
        **find_space("lightgan").recipe,
        **SMALL,
        "generator.norm": "conditional_batch",
        "generator.upsampling": "bilinear",
    },
    "layer norm": {**SMALL, "generator.norm": "layer"},
}


def lively_bundle(folder: Path, **params: Any) -> Path:
    """An export of weights large enough for images to differ, with running statistics as training leaves them."""
    write_bundle(folder, **params)
    state = load_tensors(folder / WEIGHTS)
    random = torch.Generator().manual_seed(1)
    gain = 0.8 if params.get("generator.architecture") == "r3gan" else 1.5  # without norms, values grow with depth
    for name, value in state.items():
        if name.endswith("running_mean"):
            state[name] = 0.1 * torch.randn(value.shape, generator=random)
        elif name.endswith("running_var"):
            state[name] = 0.5 + torch.rand(value.shape, generator=random)
        elif value.ndim > 1 and not name.endswith("kernel"):  # a fixed filter
            fan_in = value[0].numel()
            state[name] = gain * fan_in**-0.5 * torch.randn(value.shape, generator=random)
    save_file(state, folder / WEIGHTS)
    write_manifest(folder, {"trial": "hand-00000"})
    return folder


def converted(folder: Path, *, half: bool = False, **params: Any) -> Path:
    lively_bundle(folder, **params)
    write_portable(Bundle.load(folder), folder, half=half)
    write_manifest(folder, {"trial": "hand-00000"})
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return converted(tmp_path_factory.mktemp("portable") / "export", half=True, **SMALL)


def independent(folder: Path, noise: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The images of a generator that is built and filled here, in [-1, 1]."""
    about = Bundle.load(folder)
    generator = Generator(about.config, about.vocabulary.sizes, about.pairs)
    generator.load_state_dict(load_tensors(folder / WEIGHTS))
    with torch.no_grad():
        drawn = generator.eval()(torch.from_numpy(noise), torch.from_numpy(labels)).numpy()
    return drawn * 2 - 1 if about.config.generator.final_activation == "sigmoid" else drawn


@pytest.mark.parametrize("name", [*SYSTEMS, *(pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS)])
def test_all_three_ways_draw_the_same_images_in_any_number(name: str, tmp_path: Path) -> None:
    export = converted(tmp_path / "export", **(SYSTEMS | VARIANTS)[name])
    bundles = {backend: Bundle.load(export, backend) for backend in ("torch", "onnx", "pt2")}
    torch_bundle = bundles["torch"]
    for count in (1, 3, 65):
        noise = np.random.default_rng(count).standard_normal((count, 8)).astype(np.float32)
        labels = np.resize([[8, 9], [8, 7], [7, 9]], (count, 2))
        expected = independent(export, noise, labels)
        config = torch_bundle.config
        assert expected.shape == (count, config.channels, config.image_size, config.image_size)
        assert expected.std() > 0.02  # not the flat grey on which anything would agree
        for backend, bundle in bundles.items():
            assert np.abs(bundle.network.render(noise, labels) - expected).max() <= 1e-4, (backend, count)
            assert bundle.golden_error() <= 1e-4


@pytest.mark.parametrize("name", ["acgan", "combo_dcgan", "cdcgan"])
def test_tags_reach_the_converted_images(name: str, tmp_path: Path) -> None:
    onnx_bundle = Bundle.load(converted(tmp_path / "export", **SYSTEMS[name]), "onnx")
    noise = np.zeros((2, 8), np.float32)
    one, other = onnx_bundle.network.render(noise, np.array([[8, 9], [7, 9]]))
    assert np.abs(one - other).max() > 0.01


def test_an_unconditional_graph_takes_noise_alone(tmp_path: Path) -> None:
    export = converted(tmp_path / "export", **SYSTEMS["dcgan"])
    assert [one.name for one in onnx.load(export / ONNX).graph.input] == ["noise"]
    assert set(load_file(export / GOLDEN)) == {"noise", "pictures"}


def test_the_graph_names_inputs_and_outputs_and_draws_no_random_numbers(folder: Path) -> None:
    model = onnx.load(folder / ONNX)
    onnx.checker.check_model(model, full_check=True)

    def described(value: onnx.ValueInfoProto) -> tuple[str, int, list[Any]]:
        kind = value.type.tensor_type
        return value.name, kind.elem_type, [one.dim_param or one.dim_value for one in kind.shape.dim]

    assert [described(one) for one in model.graph.input] == [
        ("noise", onnx.TensorProto.FLOAT, ["rows", 8]), ("tags", onnx.TensorProto.INT64, ["rows", 2]),
    ]  # fmt: skip
    assert described(model.graph.output[0]) == ("pictures", onnx.TensorProto.FLOAT, ["rows", 3, 16, 16])
    assert not [node.op_type for node in model.graph.node if "Random" in node.op_type or node.op_type == "Dropout"]


def test_golden_images_are_those_of_seed_0_and_the_commonest_tags(folder: Path) -> None:
    golden = load_file(folder / GOLDEN)
    noise = np.stack([np.random.default_rng([0, place]).standard_normal(8) for place in range(4)]).astype(np.float32)
    assert np.array_equal(golden["noise"], noise)
    assert golden["tags"].tolist() == [[8, 9], [8, 7], [7, 9], [8, 9]]
    assert np.abs(golden["pictures"] - independent(folder, noise, golden["tags"])).max() <= 1e-5


def test_nothing_in_the_files_is_pickled_or_tells_where_they_were_made(folder: Path) -> None:
    for name in (ONNX, ONNX_HALF):
        assert str(REPOSITORY).encode() not in (folder / name).read_bytes()
        assert b"site-packages" not in (folder / name).read_bytes()
    with zipfile.ZipFile(folder / PROGRAM) as archive:
        for member in archive.namelist():
            content = archive.read(member)
            assert str(REPOSITORY).encode() not in content, member
            assert b"site-packages" not in content, member
            assert not content.startswith((b"\x80\x02", b"PK\x03\x04")), member


def test_sixteen_bits_halve_the_file_and_stay_near(tmp_path: Path) -> None:
    export = lively_bundle(tmp_path / "export", **{**SMALL, "generator.width": 16})
    differences = write_portable(Bundle.load(export), export, half=True)
    assert 0.45 < (export / ONNX_HALF).stat().st_size / (export / ONNX).stat().st_size < 0.6
    # 11 bits of mantissa: 2**-11 a value, some ten layers deep.
    assert 0 < differences[ONNX_HALF] < 0.02
    assert differences[ONNX] <= TOLERANCE
    write_manifest(export, {})
    assert Bundle.load(export, "onnx-fp16").golden_error() == pytest.approx(differences[ONNX_HALF], abs=0.01)


@pytest.mark.parametrize(
    "name", ["cdcgan", "combo_dcgan", "matching_wgan", "srresnet_acgan", "dcgan", "lightgan", "r3gan"]
)
def test_every_system_fits_into_sixteen_bits(name: str, tmp_path: Path) -> None:
    export = converted(tmp_path / "export", half=True, **SYSTEMS[name])
    assert Bundle.load(export, "onnx-fp16").golden_error() < 0.02


def test_a_conversion_that_draws_something_else_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.bundle.onnx_export.TOLERANCE", -1.0)
    with pytest.raises(UserError, match=r"generator\.onnx draws other images than torch: they differ by"):
        write_portable(Bundle.load(folder), folder)


class StubNetwork:
    """Draws what torch draws, and no numbers in the last image of a batch of ``bad``."""

    def __init__(self, bundle: Bundle, bad: int) -> None:
        self.network, self.bad = bundle.network, bad

    def render(self, noise: np.ndarray, labels: np.ndarray) -> np.ndarray:
        images = self.network.render(noise, labels).copy()
        if len(images) == self.bad:
            images[-1, 0, 0, 0] = np.nan
        return images


@pytest.mark.parametrize("bad", [1, 3, 65])
def test_a_conversion_that_draws_no_numbers_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch, bad: int) -> None:
    bundle = Bundle.load(folder)
    monkeypatch.setattr("pipeline.bundle.onnx_export.ProgramNetwork", lambda *given, **named: StubNetwork(bundle, bad))
    with pytest.raises(UserError, match=r"generator\.pt2 draws other images than torch: they differ by nan"):
        _differences(bundle, folder, half=False)
    monkeypatch.setattr("pipeline.bundle.onnx_export.ProgramNetwork", lambda *given, **named: StubNetwork(bundle, 0))
    assert _differences(bundle, folder, half=False)[PROGRAM] == 0


def test_a_generator_that_draws_no_numbers_in_a_larger_batch_is_refused(folder: Path) -> None:
    bundle = Bundle.load(folder)
    with pytest.raises(UserError, match="draws values that are no numbers"):
        _differences(dataclasses.replace(bundle, network=StubNetwork(bundle, 65)), folder, half=False)


def test_weights_with_nan_are_not_converted(tmp_path: Path) -> None:
    export = lively_bundle(tmp_path / "export", **SMALL)
    state = load_tensors(export / WEIGHTS)
    save_file({name: value * float("nan") if value.ndim > 1 else value for name, value in state.items()},
              export / WEIGHTS)  # fmt: skip
    write_manifest(export, {})
    with pytest.raises(UserError, match="draws values that are no numbers"):
        write_portable(Bundle.load(export), export)
    assert not (export / ONNX).exists()


def test_an_unconvertible_generator_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*given: object, **named: object) -> None:
        raise RuntimeError("no such operator\nand a page of advice")

    monkeypatch.setattr("torch.onnx.export", fails)
    with pytest.raises(UserError, match=r"^this acgan generator cannot be converted: no such operator$"):
        write_portable(Bundle.load(folder), folder)


def test_onnx_draws_without_torch(folder: Path) -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path; from pipeline.bundle.bundle import Bundle\n"
        f"bundle = Bundle.load(Path({str(folder)!r}), 'onnx')\n"
        "labels = bundle.complete(bundle.vocabulary.parse('pink hair'), 2, 0)\n"
        "print(bundle.draw(labels, 0).shape, bundle.golden_error() < 1e-4)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert (done.stdout, done.returncode) == ("(2, 16, 16, 3) True\n", 0), done.stderr


def test_a_blend_begins_and_ends_at_its_tags_and_is_the_mean_of_the_codes_between(folder: Path) -> None:
    bundle = Bundle.load(folder)
    noise = np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32)
    labels, others = np.array([[8, 9]] * 3), np.array([[7, 9]] * 3)
    blended = bundle.network.blend(noise, labels, others, np.array([0, 0.5, 1], np.float32))  # type: ignore[attr-defined]
    assert np.allclose(blended[0], bundle.network.render(noise, labels)[0], atol=1e-6)
    assert np.allclose(blended[2], bundle.network.render(noise, others)[2], atol=1e-6)
    generator = Generator(bundle.config, bundle.vocabulary.sizes)
    generator.load_state_dict(load_tensors(folder / WEIGHTS))
    with torch.no_grad():
        hair = generator.tags.tables[0].weight  # type: ignore[union-attr, index]
        hair[8] = (hair[8] + hair[7]) / 2
        between = generator.eval()(torch.from_numpy(noise), torch.from_numpy(labels))
    assert np.allclose(blended[1], between[1], atol=1e-5)
