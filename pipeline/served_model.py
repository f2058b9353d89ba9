"""What MLflow runs to draw from a registered generator: a table of tags and seeds in, PNG files out.

This file is copied beside the model and run where gansweep and torch are not installed: it may import only what
``pipeline.serving.requirements`` lists. A row's picture is the one that ``gansweep generate DIR TAGS -n 1`` draws with
the row's seed.
"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import onnxruntime
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel
from PIL import Image

BATCH = 64
SEEDS = 2**31


class DrawByTags(PythonModel):
    """A picture for each row of a table.

    Columns in: ``tags``, for instance "blue hair red eyes" (empty for a generator without tags), and ``seed``, 0 to
    2^31 - 1. Column out: ``png``, bytes, in base64 where the answer is JSON.
    """

    def load_context(self, context: Any) -> None:
        """Open the files that came with the model."""
        about = {name: Path(context.artifacts[name]) for name in ("generator", "tags", "config")}
        self.session = onnxruntime.InferenceSession(about["generator"].read_bytes(), providers=["CPUExecutionProvider"])
        inputs = {one.name: one.shape for one in self.session.get_inputs()}
        self.noise_dim, self.conditional = inputs["noise"][1], "tags" in inputs
        tags = json.loads(about["tags"].read_text(encoding="utf-8"))
        self.groups = {group["name"]: list(group["classes"]) for group in tags["vocabulary"]["groups"]}
        self.combinations = np.array([entry["labels"] for entry in tags["combinations"]], dtype=np.int64)
        self.counts = np.array([entry["count"] for entry in tags["combinations"]], dtype=np.int64)
        pairs = json.loads(about["config"].read_text(encoding="utf-8")).get("pairs", ())
        self.pairs = {tuple(pair) for pair in pairs}

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Draw one picture per row.

        Raises:
            MlflowException: a row that asks for what there is not (HTTP status 400).
        """
        texts = model_input["tags"] if "tags" in model_input else [""] * len(model_input)
        rows = [
            self._read(place, "" if pd.isna(text) else str(text), int(seed))
            for place, (text, seed) in enumerate(zip(texts, model_input["seed"], strict=True))
        ]
        pictures = [png for first in range(0, len(rows), BATCH) for png in self._draw(rows[first : first + BATCH])]
        return pd.DataFrame({"png": pictures})

    def _read(self, place: int, text: str, seed: int) -> tuple[tuple[int, ...], int]:
        try:
            if not 0 <= seed < SEEDS:
                raise ValueError(f"seed is {seed}; allowed: 0 to {SEEDS - 1}")
            return self._labels(text, seed), seed
        except ValueError as error:
            raise MlflowException.invalid_parameter_value(f"row {place}: {error}") from error

    def _labels(self, text: str, seed: int) -> tuple[int, ...]:
        if not self.conditional:
            if text.strip():
                raise ValueError(f"tags {text!r} mean nothing to this generator, which takes none; leave them empty")
            return (0,) * len(self.groups)
        asked = np.array([-1 if label is None else label for label in self._parse(text).values()])
        labels = tuple(self._complete(asked, seed).tolist())
        if self.pairs and labels not in self.pairs:
            raise ValueError(f"{text!r} did not occur in the training data, and this generator knows only what did")
        return labels

    def _parse(self, text: str) -> dict[str, int | None]:
        """The class of each group, ``None`` where the text names none."""
        nouns = "|".join(sorted(map(re.escape, self.groups), key=len, reverse=True))
        found: dict[str, int | None] = dict.fromkeys(self.groups)
        position = 0
        for match in re.finditer(rf"([^,;]*?)\b({nouns})\b[\s,;]*", text, re.IGNORECASE):
            if match.start() != position:
                break
            name, noun = " ".join(match[1].lower().split()), match[2].lower()
            if name not in self.groups[noun]:
                raise ValueError(f"unknown {noun} {name!r}; allowed: {', '.join(self.groups[noun])}")
            if found[noun] is not None:
                raise ValueError(f"tags {text!r} name {noun} twice; one class of each group is allowed")
            found[noun] = self.groups[noun].index(name)
            position = match.end()
        if not position or text[position:].strip(" ,;\t\r\n"):
            form = " ".join(f"{classes[0]} {noun}" for noun, classes in self.groups.items())
            raise ValueError(f"cannot read tags {text!r}; expected for instance {form!r}")
        return found

    def _complete(self, asked: np.ndarray[Any, Any], seed: int) -> np.ndarray[Any, Any]:
        """A missing tag is drawn from the data's combinations that agree with the rest, or from all of them."""
        fits = ((self.combinations == asked) | (asked == -1)).all(axis=1)
        if not fits.any():
            fits[:] = True
        weights = self.counts * fits
        row = np.random.default_rng([seed, 0, 1]).choice(len(weights), p=weights / weights.sum())
        return np.where(asked == -1, self.combinations[row], asked)

    def _draw(self, rows: list[tuple[tuple[int, ...], int]]) -> list[bytes]:
        noise = [np.random.default_rng([seed, 0]).standard_normal(self.noise_dim) for _, seed in rows]
        given = {"noise": np.stack(noise).astype(np.float32)}
        if self.conditional:
            given["tags"] = np.array([labels for labels, _ in rows], dtype=np.int64)
        pictures = self.session.run(None, given)[0]
        levels = np.rint((np.clip(pictures, -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8)
        return [_png(picture) for picture in levels.transpose(0, 2, 3, 1)]


def _png(pixels: np.ndarray[Any, Any]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, format="PNG")
    return stream.getvalue()


mlflow.models.set_model(DrawByTags())
