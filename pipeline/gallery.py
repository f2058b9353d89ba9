"""A web page that draws from an export in the browser, with nothing behind it but files.

Model and runtime lie in scripts, as base64, because a page opened from the disk may load scripts and fetch nothing.
"""

from __future__ import annotations

import base64
import gzip
import json
import shutil
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from pipeline.bundle import Bundle
from pipeline.manifest import ONNX
from pipeline.web_runtime import GLUE, NOTICE, SCRIPT, WASM
from trainables.files import whole_folder

if TYPE_CHECKING:
    from pathlib import Path

PARTS = ("index.html", "gallery.css", "noise.js", "gallery.js")


def write_gallery(export: Path, output: Path, runtime: Path) -> int:
    """Write the page to a folder that appears whole or not at all.

    Args:
        export: what ``gansweep export`` wrote.
        output: the folder; must not exist, or be empty.
        runtime: the files of ``pipeline.web_runtime``.

    Returns:
        Bytes of all files.

    Raises:
        UsageError: a generator that translates.
        UserError: an export that cannot be used or has no ONNX file, an output that is not empty.
    """
    bundle = Bundle.load(export, "onnx")
    bundle.require_drawing()
    with whole_folder(output) as folder:
        for name in PARTS:
            (folder / name).write_bytes(files("pipeline").joinpath("site", name).read_bytes())
        (folder / "model.js").write_text(_script("GALLERY", describe_gallery(bundle)), encoding="ascii")
        (folder / "runtime").mkdir()
        shutil.copyfile(runtime / SCRIPT, folder / "runtime" / SCRIPT)
        (folder / "runtime" / "NOTICE.txt").write_text(NOTICE, encoding="utf-8")
        # Packed, the 14 MB of WebAssembly are 3.7: a plain file server would not pack them.
        packed = gzip.compress((runtime / WASM).read_bytes(), mtime=0)
        parts = {"mjs": _base64((runtime / GLUE).read_bytes()), "wasm": _base64(packed)}
        (folder / "runtime" / "wasm.js").write_text(_script("RUNTIME", parts), encoding="ascii")
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def describe_gallery(bundle: Bundle) -> dict[str, Any]:
    """What the page needs to know of a generator. The page treats every text as text, never as HTML."""
    assert bundle.folder is not None
    facts, config = bundle.manifest, bundle.config
    first = bundle.combinations[bundle.counts.argmax()].tolist()
    return {
        "title": str(facts.get("trial", bundle.folder.name)),
        "subtitle": f"{config.system}, {config.image_size} px"
        + (f", {facts['kimg']:g} thousand pictures seen" if isinstance(facts.get("kimg"), int | float) else ""),
        "facts": [[str(name), str(value)] for name, value in _facts(facts, config.system)],
        "conditional": config.conditional,
        "groups": [{"name": group.name, "classes": group.classes} for group in bundle.vocabulary.groups],
        "pairs": bundle.pairs if config.conditional else (),
        "first": first,
        "noiseDim": config.generator.noise_dim,
        "size": config.image_size,
        "onnx": _base64((bundle.folder / ONNX).read_bytes()),
    }


def _facts(facts: dict[str, Any], system: str) -> list[tuple[str, Any]]:
    """Rows of the page's table."""
    rows = [("sweep", facts.get("sweep")), ("trial", facts.get("trial")), ("system", system)]
    rows += [("exported", facts.get("exported"))]
    scores = facts.get("scores") or {}
    rows += [(name, f"{value:.4g}") for name, value in scores.items() if isinstance(value, int | float)]
    return [(name, value) for name, value in rows if value is not None]


def _script(name: str, value: Any) -> str:
    """A script that sets a global. ASCII alone, and no ``<``: nothing in it can end a script or begin a comment."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return f"globalThis.{name} = {text};\n"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
