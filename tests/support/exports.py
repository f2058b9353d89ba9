"""Exports with an ONNX file, registered nowhere, and the MLflow run that they came from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.bundle import Bundle
from pipeline.manifest import ONNX, TAGS, read_json, write_manifest
from pipeline.portable import write_portable

if TYPE_CHECKING:
    from collections.abc import Mapping

FINGERPRINT = {"extractor": "efficientnet", "data": "ab12"}


def make_portable(folder: Path) -> Path:
    """Add ``generator.onnx`` and what comes with it to an export."""
    manifest = read_json(folder / "manifest.json")
    if ONNX not in manifest["files"]:
        write_portable(Bundle.load(folder), folder)
        tell(folder, {})
    return folder


def tell(folder: Path, facts: Mapping[str, Any]) -> Path:
    """Change what an export's manifest says."""
    manifest = read_json(folder / "manifest.json")
    about = {name: value for name, value in manifest.items() if name not in ("format", "files")}
    write_manifest(folder, {**about, **facts})
    return folder


def scored(source: Path, folder: Path, key: str, distance: float, accuracy: float | None = 0.75) -> Path:
    """A copy of an export as that of trial ``key``, with scores and intervals of plus or minus 1 and 0.05."""
    scores = {"distance": distance, "tag_accuracy": accuracy}
    halves = {"distance": 1.0, "tag_accuracy": 0.05}
    known = {name: value for name, value in scores.items() if value is not None}
    intervals = {name: [value - halves[name], value + halves[name]] for name, value in known.items()}
    facts = {"sweep": key.rpartition("-")[0], "trial": key, "scores": known, "intervals": intervals}
    return tell(Path(shutil.copytree(source, folder)), {**facts, "fingerprint": FINGERPRINT})


def with_combinations(folder: Path, combinations: list[tuple[list[int], int]]) -> Path:
    """Give an export other tag combinations with their counts."""
    tags = read_json(folder / TAGS)
    tags["combinations"] = [{"labels": labels, "count": count} for labels, count in combinations]
    (folder / TAGS).write_text(json.dumps(tags), encoding="utf-8")
    return tell(folder, {})
