"""The files of an export: their names, and the manifest with the SHA-256 of each."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from trainables.errors import UserError, first_line
from trainables.storage.atomic import write_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = 2
READABLE = (1, 2)
"""Format 1 has weights only, without ``generator.onnx`` and the files added with it."""
MANIFEST, CONFIG, TAGS, WEIGHTS = "manifest.json", "config.json", "tags.json", "weights.safetensors"
ONNX, ONNX_HALF, PROGRAM = "generator.onnx", "generator-fp16.onnx", "generator.pt2"
SHEET = "samples.png"
DISCRIMINATOR = "discriminator.safetensors"
"""The discriminator's weights, for `run --init-from`; missing if the trial's checkpoint was removed before."""
GOLDEN = "golden.safetensors"
"""``noise`` ``(n, noise_dim)``, or ``sources`` ``(n, channels, s, s)`` in [-1, 1] of a translating generator; ``tags``
``(n, groups)`` of a conditional generator; and the expected output ``pictures`` ``(n, channels, s, s)`` in [-1, 1]."""

_HASH = re.compile(r"[0-9a-f]{64}")


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_manifest(folder: Path, about: Mapping[str, Any]) -> None:
    """Write the manifest: every file of the folder with its hash."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / MANIFEST]
    files = {path.relative_to(folder).as_posix(): file_hash(path) for path in paths}
    write_json(folder / MANIFEST, {"format": FORMAT, **about, "files": files})


def verify_manifest(folder: Path) -> dict[str, Any]:
    """Check every hash.

    Raises:
        UserError: a file is missing or was changed.
    """
    if not (folder / MANIFEST).is_file():
        raise UserError(f"{folder} is no export: it has no {MANIFEST}; `gansweep export NAME -o DIR` writes one")
    manifest = read_json(folder / MANIFEST)
    files = manifest.get("files")
    if manifest.get("format") not in READABLE or not isinstance(files, dict):
        raise UserError(
            f"export {folder} has format {manifest.get('format')!r}; this version reads "
            f"{' and '.join(map(str, READABLE))}: export it again, or use the version that wrote it"
        )
    for name in (CONFIG, TAGS, WEIGHTS):
        if name not in files:
            raise UserError(f"export {folder}: {MANIFEST} does not list {name}; export it again")
    root = folder.resolve()
    for name, expected in files.items():
        try:
            path = (root / name).resolve()
            digest = file_hash(path) if path.is_relative_to(root) and path.is_file() else ""
        except (OSError, ValueError, RuntimeError) as error:  # no file can have such a name, or it cannot be read
            raise UserError(f"export {folder}: cannot read {name!r}: {first_line(error)}; export it again") from error
        if not path.is_relative_to(root):
            raise UserError(f"export {folder}: {name!r} lies outside the folder; do not use this export")
        if not isinstance(expected, str) or not _HASH.fullmatch(expected):
            raise UserError(f"export {folder}: {MANIFEST} has no SHA-256 for {name}; export it again")
        if not digest:
            raise UserError(f"export {folder}: {name} is missing; export it again")
        if digest != expected:
            raise UserError(f"export {folder}: {name} was changed after the export (its hash differs); export it again")
    return manifest


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        UserError: the file cannot be read, or is not a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} holds a {type(value).__name__}; a JSON object is needed")
    return value


def images_seen(kimg: float, images: int | None) -> str:
    """Format how long a trial was trained: images are seen many times, so their number is given beside it."""
    return f"{kimg:g} thousand images seen in training" + ("" if images is None else f", of {images:,} different ones")
