"""Hand-written exports, with an ONNX file and scores if a test needs them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from pipeline.bundle.bundle import Bundle
from pipeline.bundle.manifest import CONFIG, ONNX, TAGS, WEIGHTS, read_json, write_manifest
from pipeline.bundle.onnx_export import write_portable
from trainables.config import GanConfig
from trainables.data.tags import REPORT_VOCABULARY
from trainables.networks.generator import Generator
from trainables.storage.atomic import write_json

if TYPE_CHECKING:
    from collections.abc import Mapping

FINGERPRINT = {"extractor": "efficientnet", "data": "ab12"}


def make_portable(folder: Path) -> Path:
    """Add ``generator.onnx`` and its accompanying files to an export."""
    manifest = read_json(folder / "manifest.json")
    if ONNX not in manifest["files"]:
        write_portable(Bundle.load(folder), folder)
        tell(folder, {})
    return folder


def tell(folder: Path, facts: Mapping[str, Any]) -> Path:
    """Change entries of an export's manifest."""
    manifest = read_json(folder / "manifest.json")
    about = {name: value for name, value in manifest.items() if name not in ("format", "files")}
    write_manifest(folder, {**about, **facts})
    return folder


def scored(source: Path, folder: Path, key: str, distance: float, accuracy: float | None = 0.75) -> Path:
    """Copy an export as that of trial ``key``, with scores, and intervals of plus or minus 1 and 0.05."""
    scores = {"distance": distance, "tag_accuracy": accuracy}
    halves = {"distance": 1.0, "tag_accuracy": 0.05}
    known = {name: value for name, value in scores.items() if value is not None}
    intervals = {name: [value - halves[name], value + halves[name]] for name, value in known.items()}
    facts = {"sweep": key.rpartition("-")[0], "trial": key, "scores": known, "intervals": intervals}
    return tell(Path(shutil.copytree(source, folder)), {**facts, "fingerprint": FINGERPRINT})


TINY_PARAMS = {"image_size": 16, "generator.width": 4, "generator.noise_dim": 8, "discriminator.width": 4}
COMBINATIONS = [([8, 9], 6), ([8, 7], 3), ([7, 9], 1)]
"""Labels (hair, eyes) with their counts: blue hair red eyes, blue hair green eyes, pink hair red eyes."""


def write_bundle(folder: Path, **params: Any) -> Path:
    """Write an export with an untrained generator and three known tag combinations."""
    config = GanConfig.from_params({**TINY_PARAMS, **params})
    pairs = tuple((hair, eyes) for (hair, eyes), _ in COMBINATIONS) if config.tags.encoding == "pairs" else ()
    torch.manual_seed(0)
    generator = Generator(config, REPORT_VOCABULARY.sizes, pairs)
    folder.mkdir(parents=True)
    save_file({name: value.contiguous() for name, value in generator.state_dict().items()}, folder / WEIGHTS)
    write_json(folder / CONFIG, {"params": config.to_params(), "seed": 1, "pairs": pairs})
    combinations = [{"labels": labels, "count": count} for labels, count in COMBINATIONS]
    tags = {"vocabulary": REPORT_VOCABULARY.to_json(), "hash": REPORT_VOCABULARY.hash, "combinations": combinations}
    write_json(folder / TAGS, tags)
    write_manifest(folder, {"trial": "hand-00000"})
    return folder
