"""Whatever a file or a value holds, the answer is a result or one line: five doors, each tried with many inputs.

The ordinary suite tries a hundred inputs a door, the slow one 1,200, more than 10,000 in all.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import shutil
import struct
import zlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.bundle.bundle import Bundle
from pipeline.settings import SweepSettings
from pipeline.sweep.resume import resume_settings
from search_spaces.registry import SPACES
from tests.pipeline.bundle.test_bundle import FILES, sign
from trainables.config import GanConfig, parameter_types
from trainables.data.folder import scan_folder
from trainables.data.images import BadImage, decode_image
from trainables.data.tag_files.readers import read_prompts, read_tags
from trainables.data.tags import REPORT_VOCABULARY, UNKNOWN
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.timeout(3600), pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")]

DOORS = pytest.mark.parametrize("inputs", [100, pytest.param(1200, marks=pytest.mark.slow)])


def fuzz(inputs: int, check: Callable[..., None], **strategies: st.SearchStrategy[Any]) -> None:
    """Call ``check`` with so many inputs; one that takes five minutes has hung."""
    limits = settings(
        max_examples=inputs,
        deadline=timedelta(minutes=5),
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    limits(given(**strategies)(check))()


@contextlib.contextmanager
def confined(outer: Path, inner: Path) -> Iterator[None]:
    """Only a ``UserError`` may leave the block, and nothing in ``outer`` but ``inner`` may change."""
    before = listing(outer, inner)
    with contextlib.suppress(UserError):
        yield
    assert listing(outer, inner) == before


def listing(outer: Path, inner: Path) -> dict[str, tuple[int, int]]:
    files = (path for path in outer.rglob("*") if not path.is_relative_to(inner))
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in files}


def damage(content: bytes, seed: int, times: int) -> bytes:
    """Flip, cut out, double, insert and cut off bytes."""
    draw, data = random.Random(seed), bytearray(content)
    for _ in range(times):
        first, last = sorted(draw.randrange(len(data) + 1) for _ in range(2))
        last = min(last, first + 40)
        match draw.randrange(5):
            case 0:
                data[first:last] = bytes(byte ^ 1 << draw.randrange(8) for byte in data[first:last])
            case 1:
                del data[first:last]
            case 2:
                data[first:first] = data[first:last]
            case 3:
                data[first:first] = draw.randbytes(draw.randrange(1, 9))
            case _:
                del data[draw.randrange(len(data) + 1) :]
    return bytes(data)


DEEP = b"[" * 200_000
"""Valid as far as it goes, and deeper than Python's JSON reader follows."""
SEEDS, TIMES = st.integers(0, 2**32), st.integers(0, 6)
NUMBERS = st.one_of(
    st.integers(), st.floats(), st.sampled_from([0, -1, 10**400, 2**63, 1e308, "1e999", float("nan"), True])
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def changed(value: Any, draw: random.Random, other: Any) -> Any:
    """The JSON value with one part of it replaced, removed or doubled."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        name = draw.choice(sorted(value))
        rest = {key: part for key, part in value.items() if key != name}
        match draw.randrange(6):
            case 0:
                return rest
            case 1:
                return {**value, f"{name}x": value[name]}
            case _:
                return {**rest, name: changed(value[name], draw, other)}
    if isinstance(value, list) and value and draw.random() < 0.9:
        place = draw.randrange(len(value))
        match draw.randrange(5):
            case 0:
                return value[:place] + value[place + 1 :]
            case 1:
                return [*value, value[place]]
            case _:
                return [*value[:place], changed(value[place], draw, other), *value[place + 1 :]]
    return other


# ---- tag files ----

HAIR, EYES = (group.classes for group in REPORT_VOCABULARY.groups)
WORD = st.sampled_from(
    [*HAIR, *EYES, "hair", "eyes", "long", "id", "0", "1", "7", ":", "\t", ",", ";", '"', "'", "\ufeff", "\0", "\x85",
     "\u2028", "heterochromia", "../x", "/", "..", "é", "e\u0301", "²", "٣", "blue_hair:25457"]
)  # fmt: skip
LINE = st.one_of(
    st.builds(
        lambda i, h, e: f"{i},{h} hair {e} eyes", st.integers(0, 99), st.sampled_from(HAIR), st.sampled_from(EYES)
    ),
    st.lists(WORD, max_size=12).map(" ".join),
    st.lists(WORD, max_size=12).map("".join),
    st.lists(st.sampled_from("01"), max_size=30).map(lambda bits: f"3,{','.join(bits)}"),
    st.text(max_size=30),
)
TEXTS = st.lists(LINE, max_size=12).map("\n".join).map(lambda text: text.encode(errors="surrogatepass"))
VOCABULARIES = st.one_of(
    st.just(DEEP),
    st.binary(max_size=60),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.builds(
        lambda seed, other: json.dumps(changed(REPORT_VOCABULARY.to_json(), random.Random(seed), other)).encode(),
        SEEDS, JSON,
    ),
)  # fmt: skip


@DOORS
def test_any_tag_file_is_read_or_refused(inputs: int, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    Image.new("RGB", (2, 2)).save(folder / "7.png")

    def check(text: bytes, vocabulary: bytes | None, seed: int, times: int) -> None:
        (folder / "tags.csv").write_bytes(damage(text, seed, times) if times > 3 else text)
        (folder / "vocabulary.json").unlink(missing_ok=True)
        if vocabulary is not None:
            (folder / "vocabulary.json").write_bytes(vocabulary)
        with confined(tmp_path, folder):
            for row in read_tags(folder / "tags.csv", REPORT_VOCABULARY).rows:
                assert all(UNKNOWN <= label < size for label, size in zip(row.labels, (12, 11), strict=True))
        with confined(tmp_path, folder):
            assert read_prompts(folder / "tags.csv", REPORT_VOCABULARY)
        with confined(tmp_path, folder):
            assert set(scan_folder(folder).images) == {"7"}

    fuzz(inputs, check, text=TEXTS, vocabulary=st.none() | VOCABULARIES, seed=SEEDS, times=TIMES)


@DOORS
def test_every_sound_tag_file_is_read(inputs: int, tmp_path: Path) -> None:
    def check(rows: dict[int, tuple[int, int]], eyes_first: bool, end: str) -> None:
        lines = []
        for name, (hair, eyes) in rows.items():
            phrases = [f"{HAIR[hair]} hair", f"{EYES[eyes]} eyes"]
            lines.append(f"{name},{' '.join(phrases[::-1] if eyes_first else phrases)}")
        path = tmp_path / "tags.csv"
        path.write_bytes((end.join(lines) + end).encode())
        table = read_tags(path, REPORT_VOCABULARY)
        assert {row.id: row.labels for row in table.rows} == {str(name): labels for name, labels in rows.items()}
        assert not table.problems

    labels = st.tuples(st.integers(0, 11), st.integers(0, 10))
    fuzz(
        inputs, check, rows=st.dictionaries(st.integers(0, 10**6), labels, min_size=1, max_size=8),
        eyes_first=st.booleans(), end=st.sampled_from(["\n", "\r\n", "\r"]),
    )  # fmt: skip


# ---- images ----

TAKEN = {
    "PNG": {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"},
    "JPEG": {"1", "L", "RGB", "CMYK", "YCbCr"},
    "WEBP": {"L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"},
    "GIF": {"1", "L", "P", "RGB", "RGBA"},
    "BMP": {"1", "L", "P", "RGB", "RGBA"},
}


def image(mode: str, kind: str, width: int, height: int, seed: int, frames: int = 1) -> bytes:
    """A file with random pixels."""
    noise = np.random.default_rng(seed)

    def frame() -> Image.Image:
        if mode == "I;16":
            return Image.fromarray(noise.integers(0, 2**16, (height, width), dtype=np.uint16))
        return Image.fromarray(noise.integers(0, 256, (height, width, 3), dtype=np.uint8)).convert(mode)

    file = io.BytesIO()
    first, *rest = (frame() for _ in range(frames))
    options: dict[str, Any] = {"save_all": True, "append_images": rest} if rest else {}
    first.save(file, kind, **options)
    return file.getvalue()


def claim(data: bytes, width: int, height: int) -> bytes:
    """The file with another size in its header, the checksum mended."""
    if data.startswith(b"\x89PNG"):
        header = data[12:16] + struct.pack(">II", width % 2**32, height % 2**32) + data[24:29]
        return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
    if data.startswith(b"\xff\xd8"):
        size = struct.pack(">HH", height % 2**16, width % 2**16)
        return re.sub(rb"(\xff[\xc0-\xc2]..\x08)....", lambda m: m[1] + size, data, count=1, flags=re.DOTALL)
    if data.startswith(b"GIF8"):
        return data[:6] + struct.pack("<HH", width % 2**16, height % 2**16) + data[10:]
    if data.startswith(b"BM"):
        return data[:18] + struct.pack("<II", width % 2**32, height % 2**32) + data[26:]
    return data[:24] + struct.pack("<I", width % 2**24)[:3] + struct.pack("<I", height % 2**24)[:3] + data[30:]


ANIMATED = ("GIF", "WEBP", "PNG")
KINDS = [(kind, mode) for kind, modes in TAKEN.items() for mode in sorted(modes)]
FILES_OF_PICTURES = st.builds(
    lambda kind, width, height, seed, frames: image(
        kind[1], kind[0], width, height, seed, frames if kind[0] in ANIMATED and kind[1] != "I;16" else 1
    ),
    st.sampled_from(KINDS), st.integers(1, 24), st.integers(1, 24), SEEDS, st.integers(1, 3),
)  # fmt: skip
MAGIC = st.sampled_from(
    [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"BM", b"RIFF\x24\0\0\0WEBPVP8X", b"%!PS-"]
)
SIZES = st.sampled_from([0, 1, 2, 255, 7071, 7072, 16383, 2**16 - 1, 2**24 - 1, 2**31 - 1, 2**31, 2**32 - 1])
PICTURES = st.one_of(
    st.builds(lambda magic, rest: magic + rest, MAGIC, st.binary(max_size=80)),
    st.binary(max_size=60),
    st.builds(damage, FILES_OF_PICTURES, SEEDS, st.integers(1, 6)),
    st.builds(claim, FILES_OF_PICTURES, SIZES, SIZES),
    st.builds(lambda data, size, seed: damage(claim(data, size, size), seed, 2), FILES_OF_PICTURES, SIZES, SEEDS),
)


@DOORS
def test_any_file_is_a_image_or_a_bad_image(inputs: int, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()

    def check(data: bytes) -> None:
        with confined(tmp_path, folder), contextlib.suppress(BadImage):
            pixels, (width, height, _) = decode_image(data, 8)
            assert (pixels.shape, pixels.dtype) == ((8, 8, 3), np.uint8)
            assert width * height > 0

    fuzz(inputs, check, data=PICTURES)


@DOORS
def test_every_sound_image_is_decoded(inputs: int) -> None:
    def check(data: bytes) -> None:
        with Image.open(io.BytesIO(data)) as opened:
            size, grey = opened.size, opened.mode in ("1", "L", "LA", "La", "I;16", "I", "F")
        if min(size) < 4 or max(size) > 20 * min(size):
            with pytest.raises(BadImage, match=f"{size[0]} x {size[1]}"):
                decode_image(data, 8)
            return
        pixels, own = decode_image(data, 8)
        assert own == (*size, 1 if grey else 3)
        assert (pixels.shape, pixels.dtype) == ((8, 8, 3), np.uint8)

    fuzz(inputs, check, data=FILES_OF_PICTURES)


# ---- configurations ----

VALUES = st.one_of(
    NUMBERS, JSON, st.complex_numbers(), st.decimals(allow_nan=True), st.binary(max_size=4),
    st.sampled_from(sorted({str(one) for kind in parameter_types().values() for one in get_args(kind)})),
)  # fmt: skip
NAMES = st.one_of(
    st.sampled_from(sorted(parameter_types())), st.text(max_size=12), st.sampled_from(["", ".", "generator"])
)


@DOORS
def test_any_parameters_are_a_configuration_or_refused(inputs: int, tmp_path: Path) -> None:
    def check(params: dict[str, Any]) -> None:
        with confined(tmp_path, tmp_path / "none"):
            config = GanConfig.from_params(params)
            again = GanConfig.from_params(json.loads(json.dumps(config.to_params(), allow_nan=False)))
            assert (again, again.hash()) == (config, config.hash())

    fuzz(inputs, check, params=st.dictionaries(NAMES, VALUES, max_size=4))


class Drawn:
    """Stands in for Optuna's trial: the values of a space are hypothesis' choice."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        return self.data.draw(st.integers(low, high))

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return self.data.draw(st.floats(low, high))

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return self.data.draw(st.sampled_from(list(choices)))


@DOORS
def test_every_point_of_every_space_is_a_configuration(inputs: int) -> None:
    def check(name: str, data: st.DataObject) -> None:
        params = SPACES[name].sample(Drawn(data))  # type: ignore[arg-type]
        assert GanConfig.from_params(params).to_params() | params == GanConfig.from_params(params).to_params()

    fuzz(inputs, check, name=st.sampled_from(sorted(SPACES)), data=st.data())


# ---- settings ----

SOUND = SweepSettings("acgan", "faces", "s", fix=("training.flip=true",), range=("optimizer.generator_lr=1e-4:1e-3",))  # type: ignore[arg-type]
OPTIONS = sorted(SOUND.to_json())
TEXT = st.sampled_from(
    ["", "=", "k=", "generator.width=8", "generator.width=1:2", "optimizer.generator_lr=nan:inf", "x=1",
     "generator.width=16,32", "90s", "1h", "-1s", "1e999h", "s3://", "s3://a@b/c", "auto", "a:b", "[::1]:1",
     "module:NAME", "os:path", "..:x", "image_size=8", "generator.norm_momentum=2", "none", "\0", "a\nb", "ü" * 300]
)  # fmt: skip


@DOORS
def test_any_settings_are_taken_or_refused(inputs: int, tmp_path: Path) -> None:
    def check(changes: dict[str, Any]) -> None:
        with confined(tmp_path, tmp_path / "none"):
            found = SweepSettings.from_json({**SOUND.to_json(), **changes})
            found.resolve_space()
            assert SweepSettings.from_json(json.loads(json.dumps(found.to_json()))) == found
            assert found.resource_request().use_cores().slots >= 1
            found.public()

    values = st.one_of(JSON, NUMBERS, TEXT, st.lists(TEXT, max_size=2))
    fuzz(inputs, check, changes=st.dictionaries(st.sampled_from([*OPTIONS, "extra"]), values, max_size=3))


@DOORS
def test_any_settings_file_is_read_or_refused(inputs: int, tmp_path: Path) -> None:
    home = tmp_path / "home"
    path = home / "trials" / "s" / "sweep.json"
    path.parent.mkdir(parents=True)
    plain = SOUND.to_json()
    sound = {"settings": plain, "space": {}, "data": "ab12", "started_with": plain}

    def check(seed: int, other: Any, times: int) -> None:
        content = json.dumps(changed(sound, random.Random(seed), other)).encode()
        path.write_bytes(damage(content, seed, times) if times > 3 else DEEP if times == 3 else content)
        with confined(tmp_path, home):
            SweepSettings.from_file(path)
        with confined(tmp_path, home):
            resume_settings("s", home).resource_request().use_cores()

    path.write_text(json.dumps(sound))
    assert resume_settings("s", home).fix == SOUND.fix
    fuzz(inputs, check, seed=SEEDS, other=st.one_of(JSON, NUMBERS, TEXT), times=TIMES)


# ---- exports ----

ESCAPES = st.sampled_from(["../secret", "/etc/hostname", "a/../../secret", "", ".", "\0", "x" * 300, "..\\secret", "~"])


@DOORS
def test_any_export_is_loaded_or_refused(inputs: int, bundle_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    (tmp_path / "secret").write_text("mine")

    def check(name: str, seed: int, other: Any, times: int, signed: bool, escape: str | None) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(bundle_folder, folder)
        path = folder / name
        if path.suffix == ".json" and times < 4:
            path.write_text(json.dumps(changed(json.loads(path.read_text()), random.Random(seed), other)))
        else:
            path.write_bytes(damage(path.read_bytes(), seed, times) if times < 6 else DEEP)
        # There may be no manifest left to sign.
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
            if signed:
                sign(folder)
            if escape is not None:
                manifest = json.loads((folder / "manifest.json").read_text())
                manifest["files"][escape] = "0" * 64
                (folder / "manifest.json").write_text(json.dumps(manifest))
        with confined(tmp_path, folder):
            bundle = Bundle.load(folder)
            labels = bundle.complete((UNKNOWN,) * len(bundle.vocabulary.sizes), 2, 0)
            assert bundle.draw(labels, 0).shape[0] == 2

    fuzz(
        inputs, check, name=st.sampled_from([*FILES, "manifest.json"]), seed=SEEDS, other=st.one_of(JSON, NUMBERS),
        times=st.integers(1, 6), signed=st.booleans(), escape=st.none() | ESCAPES,
    )  # fmt: skip
