"""Write a static web page that draws from an export in the browser.

Model and runtime are base64 in scripts: a page opened from disk may load scripts but fetch nothing.
"""

from __future__ import annotations

import base64
import gzip
import json
import shutil
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from pipeline.bundle.bundle import Bundle
from pipeline.bundle.manifest import ONNX, images_seen
from pipeline.gallery.onnx_web import GLUE, NOTICE, SCRIPT, WASM
from trainables.storage.atomic import atomic_directory

if TYPE_CHECKING:
    from pathlib import Path

PARTS = ("index.html", "gallery.css", "noise.js", "gallery.js")


def write_gallery(export: Path, output: Path, runtime: Path) -> int:
    """Write the page to a folder, atomically.

    Args:
        export: what ``gansweep export`` wrote.
        output: the folder; must not exist, or be empty.
        runtime: the files of ``pipeline.gallery.onnx_web``.

    Returns:
        Bytes of all files.

    Raises:
        UsageError: a generator that translates.
        UserError: an export that cannot be used or has no ONNX file, an output that is not empty.
    """
    bundle = Bundle.load(export, "onnx")
    bundle.require_drawing()
    with atomic_directory(output) as folder:
        for name in PARTS:
            (folder / name).write_bytes(files("pipeline.gallery").joinpath("site", name).read_bytes())
        (folder / "model.js").write_text(_script("GALLERY", describe_gallery(bundle)), encoding="ascii")
        (folder / "runtime").mkdir()
        shutil.copyfile(runtime / SCRIPT, folder / "runtime" / SCRIPT)
        (folder / "runtime" / "NOTICE.txt").write_text(NOTICE, encoding="utf-8")
        # Compressed, the 14 MB of WebAssembly are 3.7 MB; a plain file server would not compress them.
        packed = gzip.compress((runtime / WASM).read_bytes(), mtime=0)
        parts = {"mjs": _base64((runtime / GLUE).read_bytes()), "wasm": _base64(packed)}
        (folder / "runtime" / "wasm.js").write_text(_script("RUNTIME", parts), encoding="ascii")
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def describe_gallery(bundle: Bundle) -> dict[str, Any]:
    """Return what the page needs to know about a generator. The page treats every string as text, never as HTML."""
    assert bundle.folder is not None
    facts, config = bundle.manifest, bundle.config
    known = isinstance(facts.get("kimg"), int | float)
    seen = f", {images_seen(facts['kimg'], facts.get('images'))}" if known else ""
    first = bundle.combinations[bundle.counts.argmax()].tolist()
    return {
        "title": str(facts.get("trial", bundle.folder.name)),
        "subtitle": f"{config.system}, {config.image_size} px{seen}",
        "facts": [[str(name), str(value)] for name, value in _facts(facts, config.system)],
        "conditional": config.conditional,
        "groups": [{"name": group.name, "classes": group.classes} for group in bundle.vocabulary.groups],
        "pairs": bundle.pairs if config.conditional else (),
        "first": first,
        "noiseDim": config.generator.noise_dim,
        "size": config.image_size,
        "channels": config.channels,
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
    """Return a script that sets a global: ASCII without ``<``, so that no value ends the script or begins a comment."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return f"globalThis.{name} = {text};\n"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
