"""What a network file may hold.

A TorchScript program can write files, also while it is loaded. ``torch.export.load`` unpickles without limits,
loads native libraries and evaluates the text of its shape expressions. Here the archive is looked through, by the
reader that will load it, and refused unless it holds tensors and plain tensor operations alone.
"""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, Any

import torch

from trainables.errors import UserError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UNSAFE_CODE = re.compile(r"\b(save|from_file)\b|\bops\s*\.\s*(?!(aten|prim|quantized)\b)\w+|getattr\s*\([^)]*\\")
"""In TorchScript source: operations that write or map files, those of other libraries, and names in disguise."""

EXPORTED_RECORDS = re.compile(
    r"archive_format|archive_version|byteorder|version|\.data/.*|extra/.*|models/\w+\.json|data/weights/weight_\d+"
    r"|data/(weights|constants)/\w+_config\.json|data/constants/tensor_\d+|data/sample_inputs/\w+\.pt"
)
ARITHMETIC = "add|sub|mul|floordiv|truediv|mod|neg|pow|eq|ne|lt|le|gt|ge|getitem"
TARGET = re.compile(rf"torch\.ops\.aten\.(?!from_file\b)\w+\.\w+|_operator\.({ARITHMETIC})|torch\.sym_\w+|math\.\w+")
NAME = re.compile(r"[A-Za-z_][\w.]*")
WORD = re.compile(
    "Symbol|Integer|Rational|Float|Add|Mul|Pow|Max|Min|FloorDiv|CleanDiv|CeilDiv|Mod|PythonMod|ModularIndexing|Eq|Ne|Lt|Le"
    "|Gt|Ge|StrictGreaterThan|StrictLessThan|GreaterThan|LessThan|And|Or|Not|true|false|True|False|positive|integer"
    r"|nonnegative|[suz]f?\d+|\d+"
)
"""In shape expressions: functions, assumptions, symbols and numbers."""
EXPRESSION = re.compile(r"[\w\s'(),=<>+*/-]*")
CONTAINERS = {None, "builtins.tuple", "builtins.list", "builtins.dict"}


def check_torchscript(path: Path, data: bytes) -> None:
    """Refuse what is no TorchScript archive, and one whose code reaches beyond tensors.

    Raises:
        UserError: says which.
    """
    records = _read(path, data, "TorchScript")
    sources = [text for name, text in records.items() if name.startswith("code/") and name.endswith(".py")]
    if not sources:
        raise UserError(
            f"{path} holds no TorchScript network; save one with torch.jit.save, not weights alone or a pickled module"
        )
    for source in sources:
        if found := UNSAFE_CODE.search(source.decode("utf-8", "replace")):
            raise UserError(f"network file {path} is not safe: its code holds {found[0]!r}")


def check_exported(path: Path, data: bytes) -> None:
    """Refuse what is no torch.export archive, and one that holds more than tensors and tensor operations.

    Raises:
        UserError: says which.
    """
    records = _read(path, data, "torch.export")
    if "archive_format" not in records:
        raise UserError(f"{path} holds no torch.export network; save one with torch.export.save of torch 2.8 or newer")
    try:
        problem = next(_problems(records), None)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} holds no torch.export network: {first_line(error)}") from error
    if problem:
        raise UserError(f"network file {path} is not safe: {problem}")


def _read(path: Path, data: bytes, kind: str) -> dict[str, bytes]:
    try:
        reader = torch._C.PyTorchFileReader(io.BytesIO(data))
        return {name: reader.get_record(name) for name in reader.get_all_records()}
    except Exception as error:
        raise UserError(f"{path} holds no {kind} network: {first_line(error)}") from error


def _problems(records: dict[str, bytes]) -> Iterator[str]:
    for name, content in records.items():
        if not EXPORTED_RECORDS.fullmatch(name):
            yield f"it holds {name!r}, which is neither program nor tensor"
        if name.endswith("_config.json"):
            yield from _pickles(json.loads(content), name)
        elif name.startswith("models/"):
            yield from _reaches(json.loads(content))
        elif name.startswith("data/sample_inputs/"):
            yield from _sample_problems(content)


def _pickles(config: Any, name: str) -> Iterator[str]:
    for entry, payload in config["config"].items():
        if payload.get("use_pickle") is not False or not NAME.fullmatch(payload.get("path_name", "")):
            yield f"{entry} in {name} is pickled"


def _sample_problems(content: bytes) -> Iterator[str]:
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception:
        yield "its sample inputs are pickled objects other than tensors"


def _reaches(node: Any, key: str = "") -> Iterator[str]:
    """Texts in a program that are evaluated, called or become code, and are not plain arithmetic on tensors."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name not in ("metadata", "guards_code"):  # not evaluated, see foreign.py
                yield from _reaches(value, name)
    elif isinstance(node, list):
        for value in node:
            yield from _reaches(value, key)
    elif isinstance(node, str) and not _allowed(key, node):
        yield f"its program holds {key} {node[:80]!r}"


def _allowed(key: str, text: str) -> bool:
    if key == "target":
        return bool(TARGET.fullmatch(text) or (NAME.fullmatch(text) and "." not in text))
    if key == "expr_str":
        return bool(EXPRESSION.fullmatch(text)) and all(map(WORD.fullmatch, re.findall(r"\w+", text)))
    if key in ("in_spec", "out_spec"):
        return all(kind in CONTAINERS for kind in _types(json.loads(text)))
    if key == "as_string":
        return True  # an argument, quoted wherever it becomes code
    return bool(re.fullmatch(r"[\w.+:-]*", text))


def _types(spec: Any) -> Iterator[Any]:
    if isinstance(spec, dict):
        yield spec.get("type")
    for child in spec.get("children_spec", []) if isinstance(spec, dict) else spec if isinstance(spec, list) else []:
        yield from _types(child)
