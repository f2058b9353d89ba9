"""Write an export as an MLflow model: its ONNX file, its tags, and the modules of gansweep that run them."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import version as installed
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.bundle.example_inputs import synthetic_images
from pipeline.bundle.manifest import CONFIG, ONNX, TAGS
from trainables.data.images import encode_png
from trainables.errors import UserError

if TYPE_CHECKING:
    from pipeline.bundle.bundle import Bundle
    from trainables.config import GanConfig

PACKAGES = ("mlflow-skinny", "numpy", "onnxruntime", "pandas", "pillow")
"""All third-party packages that the served code imports."""
SHIPPED = (
    "pipeline.bundle.backends",
    "pipeline.bundle.bundle",
    "pipeline.bundle.manifest",
    "pipeline.bundle.requests",
    "trainables.config",
    "trainables.config.checks",
    "trainables.config.gan_config",
    "trainables.config.sections",
    "trainables.data.images",
    "trainables.data.tags",
    "trainables.data.words",
    "trainables.errors",
    "trainables.storage.atomic",
    "trainables.storage.onnx_file",
)
"""Modules of gansweep that ``served_generator`` and ``served_translator`` import, directly or through each other."""


@dataclass(frozen=True)
class Column:
    """A column of a served model's input table."""

    type: str
    name: str
    example: Any
    required: bool = True


@dataclass(frozen=True)
class Service:
    """How one kind of generator is served: its code (a file of this folder) and its input columns."""

    code: str
    columns: tuple[Column, ...]


def service_of(bundle: Bundle) -> Service:
    """Return the service of an export, with an example request."""
    if bundle.config.translates:
        groups = [bundle.vocabulary.groups[place] for place in bundle.target_places]
        to = " ".join(f"{group.classes[-1]} {group.name}" for group in groups)
        image = Column("binary", "picture", _example_image(bundle.config))
        return Service("served_translator.py", (image, Column("string", "to", to)))
    commonest = bundle.combinations[bundle.counts.argmax()].tolist()
    conditional = bundle.config.conditional
    tags = bundle.vocabulary.describe(commonest) if conditional else ""
    return Service("served_generator.py", (Column("string", "tags", tags, conditional), Column("long", "seed", 0)))


def requirements() -> list[str]:
    """Return the requirements of a served model, in the installed versions."""
    return [f"{package}=={installed(package)}" for package in PACKAGES]


def save_served(bundle: Bundle, folder: Path, **model: Any) -> None:
    """Write an export as an MLflow model; ``model`` is MLflow's description of it.

    Raises:
        UserError: the export has no ONNX file.
    """
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema

    assert bundle.folder is not None
    if ONNX not in bundle.manifest["files"]:
        raise UserError(f"export {bundle.folder} has no {ONNX}, which is what is served; export it again")
    service = service_of(bundle)
    inputs = Schema([ColSpec(column.type, column.name, required=column.required) for column in service.columns])
    with tempfile.TemporaryDirectory() as code:
        mlflow.pyfunc.save_model(
            str(folder),
            python_model=str(Path(__file__).with_name(service.code)),
            code_paths=_copy_shipped(Path(code)),
            artifacts={name: str(bundle.folder / file) for name, file in
                       (("generator", ONNX), ("tags", TAGS), ("config", CONFIG))},
            signature=ModelSignature(inputs, Schema([ColSpec("binary", "png")])),
            input_example=pd.DataFrame([{column.name: column.example for column in service.columns}]),
            pip_requirements=requirements(),
            mlflow_model=Model(**model),
        )  # fmt: skip


def _copy_shipped(folder: Path) -> list[str]:
    """Copy the modules of ``SHIPPED`` and return their top folders.

    The top folders are namespace packages, without ``__init__.py``: a regular package of the same name takes
    precedence wherever it is on ``sys.path``, so that a model loaded beside an installed gansweep does not hide the
    rest of it.
    """
    for name in SHIPPED:
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        path = Path(*name.split("."))
        target = folder / (path / "__init__.py" if spec.submodule_search_locations else path.with_suffix(".py"))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(spec.origin, target)
    return sorted(map(str, folder.iterdir()))


def _example_image(config: GanConfig) -> bytes:
    """Return a PNG file of smooth waves."""
    (image,) = synthetic_images(1, config.image_size, config.channels)
    return encode_png(np.rint((image + 1) * 127.5).astype(np.uint8).transpose(1, 2, 0))
