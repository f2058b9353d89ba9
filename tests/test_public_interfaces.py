"""The packages use the public interfaces of libraries only."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARIES = {"mlflow", "numpy", "onnx", "optuna", "pandas", "pyarrow", "ray", "torch", "torchvision"}
EXCEPTIONS: dict[str, tuple[str, ...]] = {
    "trainables/training/flops.py": ("torch.utils._python_dispatch.TorchDispatchMode",),
}
"""What each of these modules may use: private names that begin so."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_uses(source: str) -> Iterator[str]:
    """Dotted names of private modules and attributes of ``LIBRARIES`` that a module imports or reads."""
    names: dict[str, str] = {}
    used: list[str] = []
    for node in ast.walk(ast.parse(source)):  # imports come before what is inside functions
        if isinstance(node, ast.Import):
            names |= {one.asname or one.name: one.name for one in node.names}
            used += [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
            used += [f"{node.module}.{one.name}" for one in node.names]
        elif isinstance(node, ast.Attribute):
            root, *rest = dotted(node).split(".")
            used.append(".".join([names.get(root, ""), *rest]))
    for name in used:
        library, *parts = name.split(".")
        if library in LIBRARIES and any(map(is_private, parts)):
            yield name


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("package", ["analysis", "benchmarks", "gansweep", "pipeline", "search_spaces", "trainables"])
def test_no_private_name_of_a_library_is_used(package) -> None:
    for path in sorted((ROOT / package).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        used = private_uses(path.read_text(encoding="utf-8"))
        assert not [one for one in used if not one.startswith(EXCEPTIONS.get(name, ()))], name


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from torch._C import _functorch", {"torch._C._functorch"}),
        ("import ray._private.worker as w", {"ray._private.worker"}),
        ("import torch\ntorch._foreach_norm([])", {"torch._foreach_norm"}),
        ("from torch import nn\nnn.modules.batchnorm._BatchNorm", {"torch.nn.modules.batchnorm._BatchNorm"}),
        ("import optuna as o\no.storages._rdb", {"optuna.storages._rdb"}),
        ("import torch\ntorch.__version__\nself._functorch\nfrom .own import _private", set()),
    ],
)
def test_private_names_are_recognised(source, found) -> None:
    assert set(private_uses(source)) == found
