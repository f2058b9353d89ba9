"""Seconds to read a sweep of 10,000 trials with 50 evaluations each out of MLflow's SQLite database.

    python -m benchmarks.large_history [--home DIR] [--trials 10000] [--evaluations 50]

If ``--home`` (default: a temporary folder) has no sweep, one is written first: MLflow creates the tables, and the rows
are inserted directly. Every trial has the tags, parameters and metrics of a real `acgan` trial; a third of the trials
complete, and the values follow a synthetic truth. The benchmark times the trial table and the histories of both
objectives and their sample counts, first without and then with a cache, and then `rank`, `status` and `report` as
whole processes. Needs the ``dev`` extra; run it from the repository's root on an idle machine. At full size the
database takes about 2 GiB.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mlflow import MlflowClient

from analysis import schema
from analysis.mlflow_reader.learning_curves import learning_curves
from analysis.mlflow_reader.sweep import load
from search_spaces.registry import SPACES

if TYPE_CHECKING:
    from collections.abc import Iterator

SWEEP = "large"
SPACE = SPACES["acgan"]
LOSSES = ("d_loss", "g_loss", "d_real", "d_fake", "images_per_second", "memory_mib")
FINAL = ("kid", "precision", "recall", "density", "coverage", "diversity", "memorised", "tag_accuracy_hair",
         "tag_accuracy_eyes", "tag_accuracy_macro_hair", "tag_accuracy_macro_eyes", "tag_diversity")  # fmt: skip
START = 1_700_000_000_000


class Sampler:
    """Draws from a space as Optuna's random sampler does."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        return int(self.rng.integers(low, high + 1))

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        if log:
            return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))
        return float(self.rng.uniform(low, high))

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--evaluations", type=int, default=50)
    options = parser.parse_args()
    home = options.home or Path(tempfile.mkdtemp(prefix="gansweep-large-"))
    try:
        if not (home / "mlflow.db").is_file():
            home.mkdir(parents=True, exist_ok=True)
            seconds = _timed(lambda: write_sweep(home, options.trials, options.evaluations))
            print(f"wrote {(home / 'mlflow.db').stat().st_size / 2**30:.2f} GiB in {seconds:.1f} s")
        measure(home)
    finally:
        if options.home is None:
            shutil.rmtree(home)


def measure(home: Path) -> None:
    shutil.rmtree(home / "cache", ignore_errors=True)
    _timed(lambda: MlflowClient(f"sqlite:///{home}/mlflow.db").search_experiments())  # imports
    for state in ("first", "cached"):
        loaded: list[Any] = []
        seconds = _timed(lambda: loaded.append(load(SWEEP, home=home)))  # noqa: B023
        print(f"{state} load: {len(loaded[0].trials):,} trials in {seconds:.1f} s")
        points: list[Any] = []
        seconds = _timed(lambda: points.append(learning_curves(loaded[0], list(schema.OBJECTIVES))))  # noqa: B023
        print(f"{state} curves: {len(points[0]):,} evaluations in {seconds:.1f} s")
    for command in (["rank", SWEEP], ["status", SWEEP], ["report", SWEEP, "-o", str(home / "report.html")]):
        words = [sys.executable, "-m", "gansweep", *command, "--home", str(home)]
        before = os.times()
        seconds = _timed(lambda: subprocess.run(words, check=True, capture_output=True))  # noqa: B023
        cpu = sum(os.times()[2:4]) - sum(before[2:4])
        print(f"{command[0]}: {seconds:.1f} s, {cpu:.1f} s of CPU")


def _timed(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# Writing -----------------------------------------------------------------------------------------------------
def write_sweep(home: Path, trials: int, evaluations: int) -> None:
    """Write a sweep to the database as tracking would have."""
    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    experiment = client.create_experiment(SWEEP, artifact_location=(home / "artifacts").as_uri())
    fingerprint = json.dumps({"extractor": "efficientnet", "samples": 5000})
    tags = {schema.KIND: schema.KIND_SWEEP, schema.SWEEP: SWEEP, schema.FINGERPRINT: fingerprint}
    parent = client.create_run(experiment, tags=tags).info.run_id
    client.log_dict(parent, SPACE.to_json(), schema.SPACE_FILE)
    rng = np.random.default_rng(0)
    connection = sqlite3.connect(home / "mlflow.db")
    connection.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-500000;")
    for number in range(trials):
        write_trial(connection, rng, int(experiment), parent, number, evaluations, fingerprint)
    connection.commit()
    connection.close()


def write_trial(
    connection: sqlite3.Connection,
    rng: np.random.Generator,
    experiment: int,
    parent: str,
    number: int,
    evaluations: int,
    fingerprint: str,
) -> None:
    run, start = uuid.uuid4().hex, START + 60_000 * number
    end = start + 1000 * evaluations
    status = schema.COMPLETE if number % 3 == 0 else schema.STOPPED
    connection.execute(
        "INSERT INTO runs (run_uuid, name, source_type, user_id, status, start_time, end_time, lifecycle_stage, "
        "artifact_uri, experiment_id) VALUES (?, ?, 'LOCAL', 'me', 'FINISHED', ?, ?, 'active', 'file:///nowhere', ?)",
        (run, f"{number:05d}", start, end, experiment),
    )
    tags = {
        schema.KIND: schema.KIND_TRIAL, schema.SWEEP: SWEEP, schema.KEY: f"{SWEEP}-{number:05d}",
        schema.NUMBER: str(number), schema.SYSTEM: "acgan", schema.STATUS: status, schema.REASON: "",
        schema.RECIPE: str(number == 0).lower(), schema.CONFIG_HASH: f"{number:08x}", schema.FINGERPRINT: fingerprint,
        "mlflow.parentRunId": parent, "mlflow.runName": f"{number:05d}",
    }  # fmt: skip
    params = SPACE.sample(Sampler(rng))
    for table, named in (("tags", tags), ("params", {**params, "seed": number})):
        connection.executemany(
            f"INSERT INTO {table} (key, value, run_uuid) VALUES (?, ?, ?)",
            ((name, str(value), run) for name, value in named.items()),
        )
    rows = list(metric_rows(rng, params, evaluations, run, start))
    connection.executemany(
        "INSERT INTO metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, 0, ?)", rows
    )
    latest = {row[0]: row for row in rows}
    connection.executemany(
        "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, 0, ?)",
        latest.values(),
    )


def metric_rows(
    rng: np.random.Generator, params: dict[str, Any], evaluations: int, run: str, start: int
) -> Iterator[tuple[str, float, int, int, str]]:
    quality = 64 / params["generator.width"] * (1.2 if params["generator.oversize"] else 1.0)
    for index in range(1, evaluations + 1):
        step, now = 20 * index, start + 1000 * index
        distance = 50 * quality * index**-0.4 * float(np.exp(rng.normal(0, 0.1)))
        values = {
            schema.DISTANCE: distance, "fd_efficientnet": distance,
            schema.TAG_ACCURACY: float(np.clip(0.5 + 0.008 * index + rng.normal(0, 0.03), 0, 1)),
            schema.KIMG: float(step), schema.SECONDS: 30.0 * index, schema.SAMPLES: 1000.0,
        } | {name: float(rng.random()) for name in LOSSES}  # fmt: skip
        if index == evaluations:
            scores = {name: float(rng.random()) for name in FINAL}
            ends = {f"{schema.INTERVAL}{name}/{end}": scores[name] for name in FINAL for end in ("low", "high")}
            values |= scores | ends | {schema.SAMPLES: 5000.0}
        for name, value in values.items():
            yield name, value, now, step, run


if __name__ == "__main__":
    main()
