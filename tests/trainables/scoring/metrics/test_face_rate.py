"""Detected faces: found on real ones, not in noise; every way in which the detector can be missing is one line."""

from __future__ import annotations

import builtins
import hashlib
import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from trainables.data.images import load_image
from trainables.errors import UserError
from trainables.scoring.metrics import face_rate
from trainables.scoring.metrics.face_rate import CascadeFile, FaceCounter, detect_faces, open_cascade

Pixels = np.ndarray


@pytest.fixture(scope="module")
def cascade(shared_data: Path) -> Path:
    pytest.importorskip("cv2", reason="OpenCV is not installed (pip install 'gansweep[faces]')")
    path = shared_data / "lbpcascade_animeface.xml"
    if not path.is_file():
        pytest.skip(f"no cascade: {path} is not there (it is kept outside the repository)")
    return path


@pytest.fixture(scope="module")
def real_files(shared_data: Path) -> list[Path]:
    return sorted((shared_data / "anime-faces" / "faces").glob("*.jpg"))[:60]


@pytest.mark.parametrize("size", [24, 32, 64, 96])
def test_finds_real_faces_however_small(cascade: Path, real_files: list[Path], size: int) -> None:
    images = np.stack([load_image(path, size) for path in real_files])
    assert detect_faces(images, open_cascade(cascade)).mean() > 0.9


def test_finds_none_in_noise_plain_colour_and_faces_cut_to_pieces(cascade: Path, real_files: list[Path]) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (60, 64, 64, 3), dtype=np.uint8)
    plain = np.broadcast_to(rng.integers(0, 256, (60, 1, 1, 3), dtype=np.uint8), noise.shape).copy()
    images = np.stack([load_image(path, 64) for path in real_files])
    tiles = images.reshape(60, 8, 8, 8, 8, 3).swapaxes(2, 3).reshape(60, 64, 8, 8, 3)
    pieces = rng.permuted(tiles, axis=1).reshape(60, 8, 8, 8, 8, 3).swapaxes(2, 3).reshape(60, 64, 64, 3)
    detector = open_cascade(cascade)
    assert not detect_faces(noise, detector).any()
    assert not detect_faces(plain, detector).any()
    assert detect_faces(pieces, detector).mean() < 0.1


def test_without_enlarging_small_faces_are_missed(
    cascade: Path, real_files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.stack([load_image(path, 24) for path in real_files])
    monkeypatch.setattr(face_rate, "SIDE", 1)
    assert detect_faces(images, open_cascade(cascade)).mean() < 0.5


def test_answers_come_image_by_image_in_order_and_in_any_shape(cascade: Path, real_files: list[Path]) -> None:
    detector = open_cascade(cascade)
    face = next(p for p in (load_image(path, 64) for path in real_files) if detector(p))
    blank = np.full_like(face, 128)
    assert detect_faces(np.stack([blank, face, blank]), detector).tolist() == [False, True, False]
    assert detector(np.concatenate([blank, face], axis=1))
    assert detect_faces(np.zeros((0, 64, 64, 3), np.uint8), detector).shape == (0,)


def test_the_file_is_named_by_its_content(cascade: Path, tmp_path: Path) -> None:
    copy = tmp_path / "other.xml"
    copy.write_bytes(cascade.read_bytes())
    assert open_cascade(copy).fingerprint == open_cascade(cascade).fingerprint
    assert open_cascade(copy).name == "other.xml"


def test_its_content_finds_the_same_faces_where_the_file_is_not(
    cascade: Path, real_files: list[Path], tmp_path: Path
) -> None:
    copy = tmp_path / "copy.xml"
    copy.write_bytes(cascade.read_bytes())
    sent = pickle.dumps(CascadeFile.read(copy))
    copy.unlink()
    face_rate._detector.cache_clear()
    arrived = pickle.loads(sent)  # noqa: S301 # as Ray does
    assert arrived.fingerprint == arrived.open().fingerprint
    assert arrived.fingerprint == hashlib.sha256(cascade.read_bytes()).hexdigest()[:16]
    images = np.stack([load_image(path, 24) for path in real_files[:20]])
    images[::2] = 128
    expected = detect_faces(images, open_cascade(cascade))
    assert 5 < expected.sum() <= 10
    count = FaceCounter.of(arrived, all_images=True)
    for part in torch.from_numpy(images).permute(0, 3, 1, 2).split(7):
        count.add(part)
    assert np.array_equal(np.concatenate(count.faces), expected)
    assert count.estimates()["face_rate"].value == expected.sum() / 20


def test_early_images_and_those_of_no_cascade_are_not_looked_at() -> None:
    for count in (
        FaceCounter.of(None, all_images=True),
        FaceCounter.of(CascadeFile(Path("c.xml"), b"unread"), all_images=False),
    ):
        count.add(torch.zeros(2, 3, 16, 16, dtype=torch.uint8))
        assert count.estimates() == {}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no cascade",
        b'<?xml version="1.0"?><opencv_storage><x>1</x></opencv_storage>',
        b'<?xml version="1.0"?><opencv_storage><cascade><stage',
        b"\0\xff" * 99,
    ],
)
def test_a_file_that_is_no_cascade_is_refused_quietly(
    content: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed (pip install 'gansweep[faces]')")
    path = tmp_path / "bad.xml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"bad\.xml is no cascade file; give one such as") as caught:
        open_cascade(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed (pip install 'gansweep[faces]')")
    with pytest.raises(UserError, match="does not exist"):
        open_cascade(tmp_path / "nowhere.xml")
    with pytest.raises(UserError, match="cannot read cascade file"):
        open_cascade(tmp_path)


def test_without_opencv_the_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real_import = builtins.__import__

    def without_cv2(name: str, *args: Any, **options: Any) -> ModuleType:
        if name == "cv2":
            raise ModuleNotFoundError("No module named 'cv2'")
        return real_import(name, *args, **options)

    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    monkeypatch.setattr(builtins, "__import__", without_cv2)
    with pytest.raises(UserError, match=r"needs OpenCV 4 .*pip install 'gansweep\[faces\]'"):
        open_cascade(tmp_path / "any.xml")


def test_opencv_5_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    five = ModuleType("cv2")
    five.__version__ = "5.0.0"
    monkeypatch.setitem(sys.modules, "cv2", five)
    with pytest.raises(UserError, match=r"OpenCV 5\.0\.0 has no cascade detector.*pip install 'gansweep\[faces\]'"):
        open_cascade(tmp_path / "any.xml")
