"""Exports whose images have contrast, and the data of a gallery."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from safetensors.numpy import load_file, save_file

from pipeline.bundle.manifest import WEIGHTS
from search_spaces.registry import find_space
from tests.support.pipeline.exports import make_portable, tell, write_bundle

if TYPE_CHECKING:
    from pathlib import Path

KINDS = {"tagged": "acgan", "untagged": "dcgan", "pairs": "combo_dcgan"}
SMALL = {"image_size": 16, "generator.width": 4, "generator.noise_dim": 9, "discriminator.width": 4}


def write_contrasting(folder: Path, kind: str) -> Path:
    """Write an export of one of ``KINDS``, the untagged one in grey.

    Its weights are larger than untrained ones, which draw uniform images.
    """
    channels = 1 if kind == "untagged" else 3
    write_bundle(folder, **{**find_space(KINDS[kind]).recipe, **SMALL, "channels": channels})
    weights = {name: value * 8 if value.ndim > 1 else value for name, value in load_file(folder / WEIGHTS).items()}
    save_file(weights, folder / WEIGHTS)
    return make_portable(tell(folder, {}))


def globals_of(script: Path) -> dict[str, Any]:
    """Return the object that a script assigns to its global variable."""
    text = script.read_text(encoding="ascii")
    return dict(json.loads(text.partition(" = ")[2].rstrip().removesuffix(";")))
