"""Sweeps with a known truth: the effect of each dimension on the logarithm of the distance is defined here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis import schema
from tests.support.sweeps import make_sweep

if TYPE_CHECKING:
    from collections.abc import Callable

    from analysis.mlflow_reader.sweep import Sweep

DIMENSIONS: list[dict[str, Any]] = [
    {"name": "losses.labels", "kind": "choice", "choices": ["hard", "noisy"], "default": "hard"},
    {"name": "training.flip", "kind": "choice", "choices": [False, True], "default": False},
    {"name": "generator.width", "kind": "choice", "choices": [16, 32, 64], "default": 64},
    {"name": "losses.adversarial", "kind": "choice", "choices": ["bce", "wgan", "lsgan"], "default": "bce"},
    {
        "name": "losses.penalty", "kind": "choice", "choices": ["none", "r1"], "default": "none",
        "when": {"losses.adversarial": ["bce", "lsgan"]},
    },
    {
        "name": "losses.penalty_weight", "kind": "float", "low": 0.1, "high": 100.0, "log": True, "default": 10.0,
        "when": {"losses.penalty": ["r1"]},
    },
    {"name": "optimizer.lr", "kind": "float", "low": 1e-5, "high": 1e-3, "log": True, "default": 1e-4},
    {"name": "updates.steps", "kind": "int", "low": 1, "high": 4, "default": 1},
]  # fmt: skip
RECIPE = {dimension["name"]: dimension["default"] for dimension in DIMENSIONS}
LABELS = -0.2
"""Noisy labels multiply the distance by exp(-0.2)."""
WIDTH = -0.3
"""Effect per doubling of the width."""
PENALTY_WEIGHT = 0.05
"""Effect per doubling of the weight, if there is a penalty."""
NOISE = 0.15


def log_distance(params: dict[str, Any]) -> float:
    """Return the truth; ``training.flip`` and ``updates.steps`` have no effect, ``optimizer.lr`` is best at 1e-4."""
    value = LABELS * (params["losses.labels"] == "noisy") + WIDTH * np.log2(params["generator.width"] / 64)
    value += {"bce": 0.0, "wgan": 0.25, "lsgan": -0.1}[params["losses.adversarial"]]
    value += 0.08 * np.log2(params["optimizer.lr"] / 1e-4) ** 2
    if params["losses.adversarial"] != "wgan" and params["losses.penalty"] == "r1":
        value += PENALTY_WEIGHT * np.log2(params["losses.penalty_weight"])
    return float(4.0 + value)


def draw(rng: np.random.Generator, good: list[dict[str, Any]]) -> dict[str, Any]:
    """Draw a configuration at random, or mostly from values of ``good`` ones, as an adaptive search does."""
    params = dict(RECIPE)
    for dimension in DIMENSIONS:
        if all(params[name] in values for name, values in dimension.get("when", {}).items()):
            near = good[rng.integers(len(good))] if good and rng.random() < 0.7 else None
            params[dimension["name"]] = near[dimension["name"]] if near else _drawn(rng, dimension)
    return params


def _drawn(rng: np.random.Generator, dimension: dict[str, Any]) -> Any:
    if dimension["kind"] == "choice":
        return dimension["choices"][rng.integers(len(dimension["choices"]))]
    if dimension["kind"] == "int":
        return int(rng.integers(dimension["low"], dimension["high"] + 1))
    return float(np.exp(rng.uniform(np.log(dimension["low"]), np.log(dimension["high"]))))


def simulate(
    trials: int,
    seed: int = 0,
    *,
    adaptive: bool = False,
    truth: Callable[[dict[str, Any]], float] = log_distance,
    more: Callable[[dict[str, Any], np.random.Generator], dict[str, Any]] = lambda params, rng: {},
    **fields: Any,
) -> Sweep:
    """Return a sweep whose distances are the truth times log-normal noise.

    ``more`` returns further columns of a trial, such as its status.
    """
    rng = np.random.default_rng(seed)
    drawn: list[tuple[float, dict[str, Any]]] = []
    rows = []
    for _ in range(trials):
        good = [params for _, params in sorted(drawn, key=lambda entry: entry[0])[: max(1, len(drawn) // 5)]]
        params = draw(rng, good if adaptive and len(drawn) >= 10 else [])
        value = truth(params) + rng.normal(0, NOISE)
        drawn.append((value, params))
        named = {f"params.{name}": setting for name, setting in params.items()}
        rows.append({"scores.distance": np.exp(value), "samples": 1000.0, **named, **more(params, rng)})
    return make_sweep(rows, **{"space": {"name": "simulated", "dimensions": DIMENSIONS}, **fields})


def ablation(
    sweep: Sweep, dimension: str, values: list[Any], seeds: int, distance: Callable[[Any, int], float]
) -> pd.DataFrame:
    """Return ablation runs of trial 0: one per value of a dimension and seed, all else equal."""
    base = sweep.trials.iloc[0].to_dict()
    return pd.DataFrame(
        [
            {
                **base, "key": f"{base['key']}-a-{value}-{seed}", "kind": "ablation", "of": base["key"], "seed": seed,
                "budget": 40,
                "variant": str(value), "status": schema.COMPLETE, f"params.{dimension}": value,
                "scores.distance": distance(value, seed),
            }
            for value in values
            for seed in range(seeds)
        ]
    )  # fmt: skip
