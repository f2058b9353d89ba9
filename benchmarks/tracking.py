"""Cost of tracking trials in MLflow, with our tracker and with Ray's ``MLflowLoggerCallback``.

``python -m benchmarks.tracking [--trials 100] [--results 20] [--rounds 3] [--quick]``

Both log the same trials as fast as possible, each to its own MLflow database (SQLite): equal parameters, and results
with equally many figures. Ray is not started. ``cpu`` is the CPU time of the whole process, including our outbox
thread; ``waits`` is the time for which the driver's loop waits, during which no slot gets a new trial; ``wall`` ends
with the last write. All are in milliseconds per result; the start and end of a trial are divided among its results.
Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from search_spaces.space import Space

FIGURES = 30
SYSTEMS = ("gansweep", "ray")
DATA = {"name": "faces", "fingerprint": "ab12", "pictures": 9, "complete": 7, "partial": 2}


def result_of(step: int) -> dict[str, Any]:
    """Return a result of the usual size."""
    scores = {"kimg": step, "seconds": 0.1 * step, "distance": 10.0 / step, "fd_efficientnet": 10.0 / step}
    return {**scores, "training_iteration": step, **{f"figure_{number}": number / 7 for number in range(FIGURES)}}


def track_gansweep(folder: Path, space: Space, trials: int, results: int) -> dict[str, float]:
    """Track trials with the tracker of a sweep, from its first write to the last."""
    from analysis import schema
    from pipeline.home import Home
    from pipeline.tracking.client import open_client
    from pipeline.tracking.tracker import Tracker
    from pipeline.trial_status import TrialEnd
    from trainables.storage.storage import Storage

    home = Home.find(folder)
    storage = Storage(str(folder / "trials"), in_place=True)
    tracker = Tracker(open_client(home, None), home, "tracked", space, storage, print, artifacts=home.artifacts("t"))
    tracker.start({"name": "tracked"}, DATA, {"samples": 16})

    def run(number: int) -> None:
        key = f"tracked-{number:05d}"
        about = {"recipe": number == 0, "config_hash": "00", "seed": number}
        tracker.start_trial({"key": key, "number": number, "params": dict(space.recipe), **about})
        for step in range(1, results + 1):
            tracker.log_result(key, result_of(step))
        tracker.finish_trial(key, TrialEnd(schema.COMPLETE))

    end = TrialEnd(schema.INTERRUPTED, "the benchmark was interrupted")
    return _timed(run, lambda: tracker.finish(schema.COMPLETE, end), trials, results)


def track_ray(folder: Path, space: Space, trials: int, results: int) -> dict[str, float]:
    """Track trials with Ray Tune's callback."""
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    callback: Any = MLflowLoggerCallback(f"sqlite:///{folder}/mlflow.db", experiment_name="tracked")
    callback.setup()

    @dataclass(frozen=True, eq=False)
    class Trial:
        config: dict[str, Any]
        local_path: str = str(folder)

    def run(number: int) -> None:
        trial = Trial(dict(space.recipe))
        callback.log_trial_start(trial)
        for step in range(1, results + 1):
            callback.log_trial_result(step, trial, result_of(step))
        callback.log_trial_end(trial)

    return _timed(run, lambda: None, trials, results)


def _timed(run: Callable[[int], None], finish: Callable[[], None], trials: int, results: int) -> dict[str, float]:
    run(trials)  # warm up: imports, compiled SQL statements
    began, cpu = time.perf_counter(), time.process_time()
    for number in range(trials):
        run(number)
    waits = time.perf_counter() - began
    finish()
    totals = {"cpu": time.process_time() - cpu, "waits": waits, "wall": time.perf_counter() - began}
    return {name: 1000 * seconds / (trials * results) for name, seconds in totals.items()}


def once(name: str, trials: int, results: int) -> dict[str, float]:
    """Track trials in a new folder."""
    from pipeline.settings import SweepSettings

    with tempfile.TemporaryDirectory(prefix="gansweep-tracking-") as folder:
        space = SweepSettings("acgan", Path(folder), "tracked").resolve_space()
        call = {"gansweep": track_gansweep, "ray": track_ray}[name]
        return call(Path(folder), space, trials, results)


def measure(trials: int, results: int, rounds: int) -> dict[str, Any]:
    """Return medians over rounds, in which the two run in turns."""
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in SYSTEMS}
    for _ in range(rounds):
        for name in SYSTEMS:
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                samples[name].append(pool.submit(once, name, trials, results).result())
    report: dict[str, Any] = {"trials": trials, "results": results, "rounds": rounds, "unit": "ms a result"}
    for name, runs in samples.items():
        report[name] = {key: round(statistics.median(run[key] for run in runs), 3) for key in runs[0]}
    report["cheaper"] = {key: round(value / report["gansweep"][key], 1) for key, value in report["ray"].items()}
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--results", type=int, default=20, help="results per trial")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of ten trials")
    options = parser.parse_args()
    trials, rounds = (10, 1) if options.quick else (options.trials, options.rounds)
    print(json.dumps(measure(trials, options.results, rounds), indent=2))


if __name__ == "__main__":
    main()
