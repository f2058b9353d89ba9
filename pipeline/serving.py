"""An export as an MLflow model: its ONNX file, its tags, and code that needs no other part of gansweep."""

from __future__ import annotations

import io
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pipeline.examples import made_up_pictures
from pipeline.manifest import CONFIG, ONNX, TAGS
from trainables.errors import UserError

if TYPE_CHECKING:
    from pipeline.bundle import Bundle

PACKAGES = ("mlflow-skinny", "numpy", "onnxruntime", "pandas", "pillow")
"""All that ``served_model`` and ``served_translator`` import."""


@dataclass(frozen=True)
class Column:
    """Of the table that a served model is given."""

    type: str
    name: str
    example: Any
    required: bool = True


@dataclass(frozen=True)
class Service:
    """How one kind of generator is served: the code beside this file, and what it is asked."""

    code: str
    columns: tuple[Column, ...]


def service_of(bundle: Bundle) -> Service:
    """The service of an export, with an example of what to ask of it."""
    if bundle.config.translates:
        groups = [bundle.vocabulary.groups[place] for place in bundle.target_places]
        to = " ".join(f"{group.classes[-1]} {group.name}" for group in groups)
        picture = Column("binary", "picture", _example_picture(bundle.config.image_size))
        return Service("served_translator.py", (picture, Column("string", "to", to)))
    commonest = bundle.combinations[bundle.counts.argmax()].tolist()
    conditional = bundle.config.conditional
    tags = bundle.vocabulary.describe(commonest) if conditional else ""
    return Service("served_model.py", (Column("string", "tags", tags, conditional), Column("long", "seed", 0)))


def requirements() -> list[str]:
    """What a served model needs, in the versions that it was tried with here."""
    return [f"{package}=={installed(package)}" for package in PACKAGES]


def save_served(bundle: Bundle, folder: Path, **model: Any) -> None:
    """Write an export as an MLflow model; ``model`` goes to MLflow's own description of it.

    Raises:
        UserError: an export without ONNX file.
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
    mlflow.pyfunc.save_model(
        str(folder),
        python_model=str(Path(__file__).with_name(service.code)),
        artifacts={name: str(bundle.folder / file) for name, file in
                   (("generator", ONNX), ("tags", TAGS), ("config", CONFIG))},
        signature=ModelSignature(inputs, Schema([ColSpec("binary", "png")])),
        input_example=pd.DataFrame([{column.name: column.example for column in service.columns}]),
        pip_requirements=requirements(),
        mlflow_model=Model(**model),
    )  # fmt: skip


def _example_picture(size: int) -> bytes:
    """A PNG file of soft waves of colour."""
    (picture,) = made_up_pictures(1, size)
    pixels = np.rint((picture + 1) * 127.5).astype(np.uint8).transpose(1, 2, 0)
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, format="PNG")
    return stream.getvalue()
