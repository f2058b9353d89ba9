"""Every system's export as an MLflow model: saved, loaded and asked for an image."""

from __future__ import annotations

import ast
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import pipeline
from pipeline.bundle.bundle import Bundle
from pipeline.serve.mlflow_model import PACKAGES, SHIPPED, save_served, service_of
from search_spaces.registry import SPACES
from tests.support.pipeline.exports import TINY_PARAMS, make_portable, write_bundle
from tests.support.pipeline.translators import write_translator
from trainables.config import TRANSLATING, GanConfig
from trainables.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SYSTEMS = {GanConfig.from_params(space.recipe).system: space.recipe for space in reversed(SPACES.values())}
"""Recipe of each system of the registry."""
IMPORTS = {"mlflow": "mlflow-skinny", "PIL": "pillow"}
"""Packages that are imported by another name."""


def write_export(folder: Path, system: str) -> Bundle:
    """An untrained generator of a system, as small as it gets."""
    if system in TRANSLATING:
        write_translator(folder, system, ("domain",))
    else:
        write_bundle(folder, **{**SYSTEMS[system], **TINY_PARAMS})
    return Bundle.load(make_portable(folder), "onnx")


def expected(bundle: Bundle, row: dict[str, Any]) -> NDArray[np.uint8]:
    """What the export draws for a row, or makes of its image of the generator's own size."""
    if "picture" in row:
        given = np.asarray(Image.open(io.BytesIO(row["picture"])))
        return bundle.translate(given[None], np.array([[1, 0]]))[0]
    asked = bundle.vocabulary.parse(row["tags"]) if row["tags"] else (-1,) * len(bundle.vocabulary.groups)
    return bundle.draw(bundle.complete(asked, 1, row["seed"]), row["seed"])[0]


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_is_served(system: str, tmp_path: Path) -> None:
    """Asked for the example that comes with it."""
    bundle = write_export(tmp_path / "export", system)
    save_served(bundle, tmp_path / "model")
    model = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    row = {column.name: column.example for column in service_of(bundle).columns}
    (png,) = model.predict(pd.DataFrame([row]))["png"]
    drawn = np.asarray(Image.open(io.BytesIO(png)))
    assert drawn.shape == (16, 16, 3)
    assert np.abs(drawn.astype(int) - expected(bundle, row)).max() <= 1


def test_every_recipe_is_among_them() -> None:
    names = {
        "acgan",
        "srresnet_acgan",
        "matching_wgan",
        "cdcgan",
        "dcgan",
        "combo_dcgan",
        "wgan_gp",
        "lightgan",
        "r3gan",
    }
    assert names | set(TRANSLATING) <= set(SYSTEMS)


def test_served_code_imports_only_what_is_shipped_or_required() -> None:
    todo, ours, others = ["pipeline.serve.served_generator", "pipeline.serve.served_translator"], set(), set()
    while todo:
        for name in imported_modules(todo.pop()):
            if name.partition(".")[0] not in ("pipeline", "trainables"):
                others.add(name.partition(".")[0])
            elif name not in ours:
                ours.add(name)
                todo.append(name)
    assert ours == set(SHIPPED)
    assert {IMPORTS.get(name, name) for name in others - sys.stdlib_module_names} <= set(PACKAGES)


def imported_modules(module: str) -> set[str]:
    """What a module imports as it is loaded; imports inside functions and for type checkers do not count."""
    place = Path(pipeline.__file__).parents[1].joinpath(*module.split("."))
    source = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    found = set()
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_an_export_without_onnx_file_is_refused(tmp_path: Path) -> None:
    bundle = Bundle.load(write_translator(tmp_path / "old"))
    with pytest.raises(
        UserError, match=r"export .*old has no generator\.onnx, which is what is served; export it again"
    ):
        save_served(bundle, tmp_path / "model")
