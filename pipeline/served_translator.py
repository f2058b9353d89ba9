"""What MLflow runs to translate by a registered generator: a table of picture files and targets in, PNG files out.

This file is copied beside the model and run where gansweep and torch are not installed: it may import only what
``pipeline.serving.requirements`` lists. A row's picture is the one that ``gansweep translate DIR FILE --to TAGS``
writes for a file of that content.
"""

from __future__ import annotations

import difflib
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
import onnxruntime
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel
from PIL import Image, ImageOps, UnidentifiedImageError

if TYPE_CHECKING:
    from collections.abc import Iterable

BATCH = 64
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
PIXEL_LIMIT = 50_000_000
BYTE_LIMIT = 4 * PIXEL_LIMIT
_CUT_SHORT = re.compile(r"truncated|end of file|\beof\b|not enough|premature", re.IGNORECASE)


class TranslatePictures(PythonModel):
    """A picture for each row of a table.

    Columns in: ``picture``, the content of a picture file of any size, of which the centre square is taken, and ``to``,
    a class of each group that is changed, for instance "blonde hair". Column out: ``png``. Where the table or the
    answer is JSON, both are in base64.
    """

    def load_context(self, context: Any) -> None:
        """Open the files that came with the model."""
        about = {name: Path(context.artifacts[name]) for name in ("generator", "tags")}
        self.session = onnxruntime.InferenceSession(about["generator"].read_bytes(), providers=["CPUExecutionProvider"])
        self.size = next(one.shape[2] for one in self.session.get_inputs() if one.name == "sources")
        tags = json.loads(about["tags"].read_text(encoding="utf-8"))
        groups = {group["name"]: list(group["classes"]) for group in tags["vocabulary"]["groups"]}
        self.groups = list(groups)
        self.targets: dict[str, list[str]] = {name: groups[name] for name in tags.get("targets") or groups}

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Translate the picture of each row.

        Raises:
            MlflowException: a row without a picture, or that asks for what there is not (HTTP status 400).
        """
        targets = model_input["to"] if "to" in model_input else [None] * len(model_input)
        rows = [
            self._read(place, picture, target)
            for place, (picture, target) in enumerate(zip(model_input["picture"], targets, strict=True))
        ]
        pictures = [png for first in range(0, len(rows), BATCH) for png in self._translate(rows[first : first + BATCH])]
        return pd.DataFrame({"png": pictures})

    def _read(self, place: int, picture: Any, target: Any) -> tuple[np.ndarray[Any, Any], tuple[int, ...]]:
        try:
            labels = self._labels(target)
            if not isinstance(picture, bytes | bytearray):
                raise ValueError(f"the picture is a {type(picture).__name__}; the bytes of a picture file are needed")
            return _decode(bytes(picture), self.size), labels
        except ValueError as error:
            raise MlflowException.invalid_parameter_value(f"row {place}: {error}") from error

    def _labels(self, target: Any) -> tuple[int, ...]:
        """A class of each target group; what the others are told does not count."""
        there = "; ".join(f"{name}: {', '.join(classes)}" for name, classes in self.targets.items())
        if not isinstance(target, str) or not target.strip():
            example = " ".join(f"{classes[-1]} {name}" for name, classes in self.targets.items())
            raise ValueError(f"no tags to translate to; give for instance {example!r}, of {there}")
        wanted = self._bare(target) or self._parse(target, there)
        for name in self.targets:
            if name not in wanted:
                raise ValueError(f"{target!r} says nothing of {name}; name a class of each: {there}")
        return tuple(wanted.get(name, 0) for name in self.groups)

    def _bare(self, text: str) -> dict[str, int]:
        """The class of a single group, where the text is its name alone."""
        word = _folded(text)
        return {
            name: classes.index(word)
            for name, classes in self.targets.items()
            if len(self.targets) == 1 and word in classes
        }

    def _parse(self, text: str, there: str) -> dict[str, int]:
        """The class of each target group that the text names."""
        phrases = _phrases(text, self.targets)
        other = next((noun for noun, _ in _phrases(text, self.groups) if noun not in self.targets), None)
        if other and not (phrases and all(name in self.targets[noun] for noun, name in phrases)):
            raise ValueError(f"{text!r}: this generator does not change {other}; it goes to {there}")
        known = [name for classes in self.targets.values() for name in classes]
        if not phrases:
            near = _nearest(_folded(text), known)
            raise ValueError(f"{text!r} cannot be read; this generator goes to {there}{near}")
        found: dict[str, int] = {}
        for noun, name in phrases:
            if name not in self.targets[noun]:
                raise ValueError(f"unknown {noun} {name!r}; this generator goes to {there}{_nearest(name, known)}")
            if noun in found:
                raise ValueError(f"{text!r} names {noun} twice; one class of each group is allowed")
            found[noun] = self.targets[noun].index(name)
        return found

    def _translate(self, rows: list[tuple[np.ndarray[Any, Any], tuple[int, ...]]]) -> list[bytes]:
        pixels = np.stack([picture for picture, _ in rows])
        sources = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(127.5) - 1
        tags = np.array([labels for _, labels in rows], dtype=np.int64)
        pictures = self.session.run(None, {"sources": sources, "tags": tags})[0]
        levels = np.rint((np.clip(pictures, -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8)
        return [_png(picture) for picture in levels.transpose(0, 2, 3, 1)]


def _decode(data: bytes, size: int) -> np.ndarray[Any, Any]:
    """The file's picture as ``(size, size, 3)`` RGB: upright, over white, its centre square, Lanczos-resized."""
    if not data:
        raise ValueError("the picture is empty: 0 bytes")
    if len(data) > BYTE_LIMIT:
        raise ValueError(f"the picture is oversized: {len(data):,} bytes; the limit is {BYTE_LIMIT:,}")
    picture = _open(data)
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    return np.asarray(square.resize((size, size), Image.Resampling.LANCZOS))


def _open(data: bytes) -> Image.Image:
    too_large = ""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            if picture.width * picture.height > PIXEL_LIMIT:
                too_large = f"{picture.width} x {picture.height} pixels; the limit is {PIXEL_LIMIT:,}"
            else:
                picture.load()
                return _rgb(ImageOps.exif_transpose(picture))
    except MemoryError:
        raise
    except UnidentifiedImageError as error:
        raise ValueError(f"the picture is not an image: none of {', '.join(FORMATS)}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        too_large = str(error)
    except Exception as error:  # decoders meet damaged files with anything from OSError to struct.error
        told = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"the picture is {'truncated' if _cut_short(data, error) else 'corrupt'}: {told}") from error
    raise ValueError(f"the picture is oversized: {too_large}")


def _cut_short(data: bytes, error: Exception) -> bool:
    """Tell a file that ends early from one that is damaged; WebP's decoder does not say, its length field does."""
    announced = int.from_bytes(data[4:8], "little") + 8 if data.startswith(b"RIFF") else 0
    return announced > len(data) or bool(_CUT_SHORT.search(str(error)))


def _rgb(picture: Image.Image) -> Image.Image:
    """Convert any mode to RGB; what is transparent becomes white."""
    if picture.mode.startswith("I"):
        # Pillow cuts 16-bit grey off at 255 instead of scaling it down.
        grey = np.asarray(picture).astype(np.float64) / 257.0
        return Image.fromarray(grey.round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _phrases(text: str, groups: Iterable[str]) -> list[tuple[str, str]]:
    """``"Blonde hair, blue eyes"`` as ``[("hair", "blonde"), ("eyes", "blue")]``; nothing where more is said."""
    nouns = "|".join(sorted(map(re.escape, groups), key=len, reverse=True))
    phrase = re.compile(rf"([^,;]*?)\b({nouns})\b[\s,;]*", re.IGNORECASE)
    found, position = [], 0
    while match := phrase.match(text, position):
        found.append((match[2].lower(), _folded(match[1])))
        position = match.end()
    read = not text[position:].strip(" ,;\t\r\n") and all(name for _, name in found)
    return found if read else []


def _folded(text: str) -> str:
    return " ".join(text.lower().split())


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _png(pixels: np.ndarray[Any, Any]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, format="PNG")
    return stream.getvalue()


mlflow.models.set_model(TranslatePictures())
