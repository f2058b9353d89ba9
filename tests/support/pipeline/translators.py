"""Hand-written exports of untrained translating generators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from pipeline.bundle.manifest import CONFIG, TAGS, WEIGHTS, write_manifest
from trainables.config import TRANSLATING, GanConfig
from trainables.data.tags import TagGroup, Vocabulary
from trainables.storage.atomic import write_json
from trainables.systems.build import build_generator

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

VOCABULARY = Vocabulary((TagGroup("domain", ("black hair", "blonde hair")), TagGroup("eyes", ("red", "blue", "green"))))
COMBINATIONS = [([0, 0], 5), ([1, 2], 3), ([1, 0], 1)]
SIZE = 16


def write_translator(
    folder: Path, system: str = "cyclegan", targets: Sequence[str] = ("domain",), fit: str = "crop", **params: Any
) -> Path:
    """Write an export with random weights large enough to distinguish directions, classes and images."""
    small = {"image_size": SIZE, "generator.width": 4, "generator.blocks": 1, "losses.labels": "hard"}
    config = GanConfig.from_params({"system": system, **TRANSLATING[system], **small, **params})
    torch.manual_seed(0)
    generator = build_generator(config, VOCABULARY.sizes, [VOCABULARY.index(name) for name in targets])
    for weight in generator.parameters():
        weight.data.add_(0.2 * torch.randn_like(weight))
    folder.mkdir(parents=True)
    save_file({name: value.contiguous() for name, value in generator.state_dict().items()}, folder / WEIGHTS)
    write_json(folder / CONFIG, {"params": config.to_params(), "seed": 1, "pairs": (), "fit": fit})
    combinations = [{"labels": labels, "count": count} for labels, count in COMBINATIONS]
    tags = {"vocabulary": VOCABULARY.to_json(), "hash": VOCABULARY.hash, "combinations": combinations}
    write_json(folder / TAGS, {**tags, "targets": list(targets)})
    write_manifest(folder, {"trial": "hand-00000", "translates": True, "targets": list(targets)})
    return folder
