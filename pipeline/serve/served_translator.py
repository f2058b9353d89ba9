"""Serve a registered translating generator in MLflow: a table of image files and targets in, PNG files out.

MLflow copies this file beside the model, with the modules of ``pipeline.serve.mlflow_model.SHIPPED``. Together they
import only what ``requirements`` lists there, so that the model runs where gansweep and torch are not installed.
A row's image is the one that ``gansweep translate DIR FILE --to TAGS`` writes for a file of that content.
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
from pipeline.bundle.requests import translation_labels
from trainables.data.images import BadImage, decode_image, encode_png, require_byte_count
from trainables.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class TranslateImages(PythonModel):
    """Translates the image of each row of a table.

    Input columns: ``picture``, the content of an image file of any size, made square as in training, and ``to``, a
    class of each target group, e.g. "winter". Output column: ``png``. Both are base64 if the table or the
    response is JSON.
    """

    def load_context(self, context: Any) -> None:
        """Open the model's files."""
        self.bundle = Bundle.read_verified(Path(context.artifacts["generator"]).parent, "onnx", 0, {})

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Translate the image of each row.

        Raises:
            MlflowException: a row without a readable image, or with unknown or missing targets (HTTP status 400).
        """
        targets = model_input["to"] if "to" in model_input else [None] * len(model_input)
        rows = [
            self._read(row, image, target)
            for row, (image, target) in enumerate(zip(model_input["picture"], targets, strict=True))
        ]
        files: list[bytes] = []
        for start in range(0, len(rows), BATCH):
            pixels, labels = map(np.stack, zip(*rows[start : start + BATCH], strict=True))
            files += map(encode_png, self.bundle.translate(pixels, labels))
        return pd.DataFrame({"png": files})

    def _read(self, row: int, image: Any, target: Any) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return pixels ``(s, s, channels)`` and labels ``(groups,)`` of a row."""
        try:
            text = target if isinstance(target, str) and target.strip() else None
            labels = np.array(translation_labels(self.bundle, text, "to"), dtype=np.int64)
            if not isinstance(image, bytes | bytearray):
                raise UsageError(f"the image is a {type(image).__name__}; the bytes of an image file are needed")
            require_byte_count(len(image))
            config = self.bundle.config
            pixels = decode_image(bytes(image), config.image_size, self.bundle.fit, config.channels)[0]
            return pixels, np.maximum(labels, 0)
        except BadImage as error:
            raise MlflowException.invalid_parameter_value(f"row {row}: the image is {error}") from error
        except UsageError as error:
            raise MlflowException.invalid_parameter_value(f"row {row}: {error}") from error


mlflow.models.set_model(TranslateImages())
