"""Serve a registered generator in MLflow: a table of tags and seeds in, PNG files out.

MLflow copies this file beside the model, with the modules of ``pipeline.serve.mlflow_model.SHIPPED``. Together they
import only what ``requirements`` lists there, so that the model runs where gansweep and torch are not installed.
A row's image is the one that ``gansweep generate DIR TAGS -n 1`` draws with the row's seed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel

from pipeline.bundle.bundle import BATCH, Bundle
from pipeline.bundle.requests import drawing_labels
from trainables.data.images import encode_png
from trainables.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class DrawByTags(PythonModel):
    """Draws an image for each row of a table.

    Input columns: ``tags``, e.g. "red square" (empty for a generator without tags), and ``seed``, 0 to
    2^31 - 1. Output column: ``png``, bytes; base64 if the response is JSON.
    """

    def load_context(self, context: Any) -> None:
        """Open the model's files."""
        self.bundle = Bundle.read_verified(Path(context.artifacts["generator"]).parent, "onnx", 0, {})

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Draw one image per row.

        Raises:
            MlflowException: a row with unknown tags or a seed out of range (HTTP status 400).
        """
        texts = model_input["tags"] if "tags" in model_input else [""] * len(model_input)
        rows = [
            self._read(row, "" if pd.isna(text) else str(text), int(seed))
            for row, (text, seed) in enumerate(zip(texts, model_input["seed"], strict=True))
        ]
        files: list[bytes] = []
        for start in range(0, len(rows), BATCH):
            noise, labels = (np.concatenate(parts) for parts in zip(*rows[start : start + BATCH], strict=True))
            files += map(encode_png, self.bundle.images(noise, labels))
        return pd.DataFrame({"png": files})

    def _read(self, row: int, text: str, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return noise ``(1, noise_dim)`` and labels ``(1, groups)`` of a row."""
        try:
            wanted = drawing_labels(self.bundle, text if text.strip() or self.bundle.config.conditional else None)
            noise = self.bundle.noise([0], seed)
            labels = self.bundle.complete(wanted, 1, seed)
            self.bundle.require_rows(noise, labels)
        except UsageError as error:
            raise MlflowException.invalid_parameter_value(f"row {row}: {error}") from error
        return noise, labels


mlflow.models.set_model(DrawByTags())
