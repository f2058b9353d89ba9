"""Exports whose pictures have contrast, and what a gallery says of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from safetensors.numpy import load_file, save_file

from pipeline.manifest import WEIGHTS
from search_spaces.registry import find_space
from tests.pipeline.conftest import write_bundle
from tests.support.exports import make_portable, tell

if TYPE_CHECKING:
    from pathlib import Path

KINDS = {"tagged": "acgan", "untagged": "dcgan", "pairs": "combo_dcgan"}
SMALL = {"image_size": 16, "generator.width": 4, "generator.noise_dim": 9, "discriminator.width": 4}


def write_contrasting(folder: Path, kind: str) -> Path:
    """An export of one of ``KINDS``. Untrained weights are so small that every picture is grey: these are larger."""
    write_bundle(folder, **{**find_space(KINDS[kind]).recipe, **SMALL})
    weights = {name: value * 8 if value.ndim > 1 else value for name, value in load_file(folder / WEIGHTS).items()}
    save_file(weights, folder / WEIGHTS)
    return make_portable(tell(folder, {}))


def globals_of(script: Path) -> dict[str, Any]:
    """The object that a script assigns."""
    text = script.read_text(encoding="ascii")
    return dict(json.loads(text.partition(" = ")[2].rstrip().removesuffix(";")))
