"""Running means of a training loop's figures."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor


class RunningMeans:
    """Running means of scalars that stay on the device until they are read."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = defaultdict(int)
        self._worst: dict[str, Tensor] = {}

    def add(self, figures: dict[str, Tensor]) -> None:
        """Add one value of each figure."""
        for name, value in figures.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] += 1
            worst = value.abs()  # NaN stays NaN
            self._worst[name] = torch.maximum(self._worst[name], worst) if name in self._worst else worst

    def worst(self) -> dict[str, float]:
        """Return the largest magnitude of each figure since the last call."""
        worst, self._worst = self._worst, {}
        return _read(worst)

    def take(self, others: RunningMeans, place: int) -> None:
        """Add the figures of trial number ``place`` from the means of ``k`` trials, with values ``(k,)``."""
        for name, sums in others._sums.items():
            worst = others._worst[name][place]
            self._sums[name] = self._sums[name] + sums[place] if name in self._sums else sums[place]
            self._counts[name] += others._counts[name]
            self._worst[name] = torch.maximum(self._worst[name], worst) if name in self._worst else worst

    def state_dict(self) -> dict[str, Any]:
        """Return sums, counts and largest magnitudes."""
        return {"sums": dict(self._sums), "counts": dict(self._counts), "worst": dict(self._worst)}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Restore what ``state_dict`` returned, on ``device``."""
        self._sums, self._worst = (
            {name: value.to(device) for name, value in state[part].items()} for part in ("sums", "worst")
        )
        self._counts = defaultdict(int, state["counts"])

    def means(self) -> dict[str, float]:
        """Return the mean of each figure."""
        return {name: value / self._counts[name] for name, value in _read(self._sums).items()}


def _read(figures: dict[str, Tensor]) -> dict[str, float]:
    # One transfer from the device instead of one per figure.
    values = torch.stack([value.double() for value in figures.values()]).tolist() if figures else []
    return dict(zip(figures, values, strict=True))
