"""The runs of a confirmation or an ablation: configuration, seed and budget of each."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis import schema
from analysis.mlflow_reader.sweep import METRICS
from trainables.config import GanConfig
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from analysis.mlflow_reader.sweep import Sweep
    from pipeline.settings import SweepSettings
    from trainables.config import Value


@dataclass(frozen=True)
class Repeat:
    """One run of a plan."""

    kind: str
    """One of ``schema.REPEATS``."""
    of: str
    """Key of the trial under whose run it is nested."""
    variant: str
    index: int
    """Index of its seed among the plan's, from 0."""
    seed: int
    params: Mapping[str, Value]
    """Complete parameters."""
    budget: int
    """In kimg."""
    key: str
    recipe: bool = False
    change: Mapping[str, Value] = dataclasses.field(default_factory=dict)
    """Parameters in which it differs from the configuration that it is compared with."""
    image_share: float | None = None
    """Images that it sees for each one of its budget; ``None``: as for a trial of the search."""

    def config(self) -> dict[str, Any]:
        """Build the configuration that Tune gives to the trial and to the callback."""
        number = self.of.rpartition("-")[2]
        variant = "" if self.variant == schema.UNCHANGED else f" {self.variant}"
        return {
            "key": self.key,
            "name": f"{number}{variant} seed {self.index}",
            "recipe": self.recipe,
            "params": dict(self.params),
            "config_hash": GanConfig.from_params(self.params).hash(),
            "seed": self.seed,
            **({} if self.image_share is None else {"image_share": self.image_share}),
            "repeat": {
                schema.KIND: self.kind,
                schema.OF: self.of,
                schema.VARIANT: self.variant,
                schema.VARIANT_PARAMS: json.dumps(dict(self.change)),
                schema.SEED: str(self.seed),
                schema.BUDGET: str(self.budget),
            },
        }


@dataclass(frozen=True)
class RepeatResult:
    """How a plan ended, and where its results are."""

    status: str
    """``complete`` or ``interrupted``."""
    budget: int
    home: Path | None
    tracking: str | None


def repeat_seed(kind: str, sweep_seed: int, index: int) -> int:
    """Derive the training seed number ``index`` of a sweep's confirmations or ablations.

    It does not depend on the configuration: all are trained on the same seeds. Training seeds of trials lie below
    2**31, those of confirmations in the next 2**31 numbers, those of ablations above, so that no seed is used twice.
    """
    drawn = int(hashlib.sha256(f"{kind} {sweep_seed} {index}".encode()).hexdigest()[:8], 16) >> 1
    return (1 + schema.REPEATS.index(kind) << 31) + drawn


def budget_suffix(settings: SweepSettings, budget: int) -> str:
    """Return the suffix of a key whose budget is not the one that the sweep was first run with."""
    return "" if budget == (*settings.budgets, settings.max_kimg)[0] else f"-k{budget}"


def params_of(sweep: Sweep, key: str) -> dict[str, Value]:
    """Return the parameters that a trial was trained with.

    Raises:
        UserError: they do not match the trial's hash.
    """
    row = sweep.trials.set_index("key").loc[key]
    names = [name for name in sweep.params if name != "seed" and row[f"params.{name}"] is not None]
    config = GanConfig.from_params({name: _plain(row[f"params.{name}"]) for name in names})
    if config.hash() != row["config_hash"]:
        raise UserError(f"the parameters of trial {key} in MLflow do not match its hash; was its run edited?")
    return config.to_params()


def mutated_keys(sweep: Sweep) -> set[str]:
    """Return the keys of trials into which pbt copied other networks: training anew cannot reproduce their scores."""
    name = f"{METRICS}{schema.MUTATIONS}"
    if name not in sweep.trials:
        return set()
    return set(sweep.trials.loc[sweep.trials[name].fillna(0).astype(float) > 0, "key"])


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
