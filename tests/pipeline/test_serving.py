"""Every system's export as an MLflow model: saved, loaded and asked for a picture."""

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
from pipeline.bundle import Bundle
from pipeline.serving import PACKAGES, save_served, service_of
from search_spaces.registry import SPACES
from tests.pipeline.conftest import TINY_PARAMS, write_bundle
from tests.support.exports import make_portable
from tests.support.translators import write_translator
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
    """What the export draws for a row, or makes of its picture of the generator's own size."""
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


def test_the_nine_systems_are_among_them() -> None:
    nine = {"acgan", "srresnet_acgan", "matching_wgan", "cdcgan", "dcgan", "combo_dcgan", "wgan_gp", *TRANSLATING}
    assert nine <= set(SYSTEMS)


@pytest.mark.parametrize("code", ["served_model.py", "served_translator.py"])
def test_served_code_imports_only_what_is_required(code: str) -> None:
    source = Path(pipeline.__file__).with_name(code).read_text(encoding="utf-8")
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    assert {IMPORTS.get(name, name) for name in found - sys.stdlib_module_names} <= set(PACKAGES)


def test_an_export_without_onnx_file_is_refused(tmp_path: Path) -> None:
    bundle = Bundle.load(write_translator(tmp_path / "old"))
    with pytest.raises(
        UserError, match=r"export .*old has no generator\.onnx, which is what is served; export it again"
    ):
        save_served(bundle, tmp_path / "model")
