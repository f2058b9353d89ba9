"""Driver cost of a sweep per trial and per result, compared with a bare Ray Tune script.

``python -m benchmarks.driver [--trials 1000] [--quick] [-o driver]``

Trials train nothing (see ``benchmarks.soak``). A sweep runs through ``run_sweep`` with random suggestions, its study
and MLflow on SQLite; the comparison is a plain Ray Tune script with as many trials, Tune's own loggers and random
search. Each run has a process of its own. Runs with one result per trial and with several separate the costs of trials
and results: ``cost = trials * (per_trial + results * per_result)``. The time of the searcher, the tracking thread and
the sweep page is measured separately, by thread; the rest is Tune's driver with our callback. Prints one JSON object
and saves it with a plot.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import psutil
from ray import tune

from benchmarks.soak import FACES, FIGURES, SIZE, quick_trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FEW, MANY = 1, 5
"""Numbers of results per trial."""
DIMENSIONS = 10
"""Number of dimensions of the bare script's space, as in our smaller spaces."""
SYSTEMS = ("gansweep", "ray")


class Watch(tune.Callback):
    """CPU and wall time of this process, measured from the end of the first trial, when all imports are done."""

    def __init__(self) -> None:
        self.process, self.ended, self.parts = psutil.Process(), 0, defaultdict(float)  # type: ignore[var-annotated]

    def cpu(self) -> float:
        return sum(self.process.cpu_times()[:2])

    def note(self) -> None:
        """Record the end of a trial."""
        if not self.ended:
            self.began, self.cpu_began = time.monotonic(), self.cpu()
            self.parts.clear()
        self.ended += 1
        self.last = time.monotonic()

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.note()

    def timed(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a call, to add the CPU time of its thread to a part."""

        def measured(*args: Any, **options: Any) -> Any:
            before = time.thread_time()
            try:
                return call(*args, **options)
            finally:
                self.parts[part] += time.thread_time() - before

        return measured

    def report(self) -> dict[str, Any]:
        """Return milliseconds per trial; wall time ends with the last trial, CPU time with the last write."""
        count = max(1, self.ended - 1)
        return {
            "cpu": 1000 * (self.cpu() - self.cpu_began) / count,
            "wall": 1000 * (self.last - self.began) / count,
            **{part: 1000 * seconds / count for part, seconds in self.parts.items()},
        }

    def __getstate__(self) -> dict[str, Any]:
        return {}


def run_ray(trials: int, results: int, slots: int) -> dict[str, float]:
    """Run a plain script, as users of Ray Tune write it."""
    import ray

    os.environ["PYTHONWARNINGS"] = "ignore"
    watch = Watch()

    class Idle(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.left = results

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.setup(new_config)
            return True

        def step(self) -> dict[str, Any]:
            self.left -= 1
            return {"kimg": results - self.left, "done": not self.left, **{f"f{n}": n / 7 for n in range(FIGURES)}}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            return None

    with (
        tempfile.TemporaryDirectory(prefix="gansweep-driver-") as folder,
        contextlib.redirect_stdout(sys.stderr),  # Tune prints the location of its files
    ):
        ray.init(
            address="local", num_cpus=slots, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
        )
        tune.Tuner(
            tune.with_resources(Idle, {"cpu": 1}),
            param_space={f"dimension_{n}": tune.uniform(0, 1) for n in range(DIMENSIONS)},
            tune_config=tune.TuneConfig(num_samples=trials, max_concurrent_trials=slots, reuse_actors=True),
            run_config=tune.RunConfig(storage_path=folder, callbacks=[watch], verbose=0),
        ).fit()
        report = watch.report()
        ray.shutdown()
    return report


def run_gansweep(trials: int, results: int, slots: int) -> dict[str, float]:
    """Run the same number of trials as a sweep."""
    from pipeline.settings import SweepSettings
    from pipeline.sweep.run import run_sweep
    from pipeline.tracking.outbox_worker import OutboxWorker
    from pipeline.tracking.progress import Progress
    from pipeline.tracking.sweep_page import SweepPage
    from pipeline.tracking.tracker import Tracker
    from pipeline.tune_adapters.study_searcher import StudySearcher
    from trainables.data.synthetic import write_folder

    watch, ended, finish, report = Watch(), Progress.ended, Tracker.finish, {}

    def note_end(self: Progress, *args: Any) -> None:
        ended(self, *args)
        watch.note()

    def note_last(self: Tracker, *args: Any) -> None:
        finish(self, *args)
        report.update(watch.report())

    def parts() -> Iterator[Any]:
        for owner, name, part in (
            (StudySearcher, "suggest", "searcher"),
            (StudySearcher, "on_trial_complete", "searcher"),
            (OutboxWorker, "step", "tracking"),
            (SweepPage, "refresh", "showcase"),
        ):
            yield mock.patch.object(owner, name, _method(watch.timed(part, getattr(owner, name))))

    with tempfile.TemporaryDirectory(prefix="gansweep-driver-") as folder:
        root = Path(folder)
        write_folder(root / "faces", FACES, seed=0, size=SIZE)
        settings = SweepSettings(
            "dcgan", root / "faces", "driver", trials=trials, image_size=SIZE, max_kimg=results, eval_kimg=1,
            concurrent=slots, gpus_per_trial="0", sampler="random", scheduler="none", samples=16, rung_samples=16,
            home=root / "home",
        )  # fmt: skip
        patches = [
            mock.patch("trainables.trial.ray_trainable.TuneTrial", quick_trial()),
            mock.patch("pipeline.cluster.node_checks.DISK_PER_TRIAL", 2**16),
            mock.patch.object(Progress, "ended", note_end),
            mock.patch.object(Tracker, "finish", note_last),
            *parts(),
        ]
        for patch in patches:
            patch.start()
        run_sweep(settings)
    return report


def _method(call: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **options: Any) -> Any:
        return call(self, *args, **options)

    return method


def split(few: dict[str, float], many: dict[str, float]) -> dict[str, dict[str, float]]:
    """Separate the costs of a trial and of a result, given the costs at two numbers of results per trial."""
    costs: dict[str, dict[str, float]] = {}
    for name in {*few, *many}:
        result = (many.get(name, 0.0) - few.get(name, 0.0)) / (MANY - FEW)
        costs[name] = {"per_trial": few.get(name, 0.0) - FEW * result, "per_result": result}
    return costs


def measure(trials: int, rounds: int, slots: int) -> dict[str, Any]:
    """Return medians over rounds; the systems run in turns."""
    calls = {"gansweep": run_gansweep, "ray": run_ray}
    samples: dict[str, dict[int, list[dict[str, float]]]] = {name: {FEW: [], MANY: []} for name in SYSTEMS}
    for _ in range(rounds):
        for results in (FEW, MANY):
            for name in SYSTEMS:
                with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                    samples[name][results].append(pool.submit(calls[name], trials, results, slots).result())
    report: dict[str, Any] = {"trials": trials, "rounds": rounds, "slots": slots, "unit": "ms", "results": [FEW, MANY]}
    for name, by_results in samples.items():
        medians = {
            results: {key: statistics.median(run.get(key, 0.0) for run in runs) for key in {k for r in runs for k in r}}
            for results, runs in by_results.items()
        }
        report[name] = {
            f"trial_of_{FEW}": medians[FEW],
            f"trial_of_{MANY}": medians[MANY],
            **split(medians[FEW], medians[MANY]),
        }
    theirs, ours = report["ray"], report["gansweep"]
    report["ratio"] = {
        of: {clock: round(ours[of][clock] / theirs[of][clock], 2) for clock in ("cpu", "wall")}
        for of in (f"trial_of_{FEW}", f"trial_of_{MANY}")
    }
    return json.loads(json.dumps(report), parse_float=lambda text: round(float(text), 3))  # type: ignore[no-any-return]


def draw(report: dict[str, Any], path: Path) -> None:
    """Plot CPU time by part, and wall time, of a trial with few and with many results."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    rows = [(name, results) for results in (FEW, MANY) for name in SYSTEMS]
    labels = [f"{name}, {results} result{'s' * (results > 1)}" for name, results in rows]
    left, right = figure.subplots(1, 2, sharey=True)
    medians = [report[name][f"trial_of_{results}"] for name, results in rows]
    base = [0.0] * len(rows)
    for part in ("searcher", "tracking", "showcase", "rest"):
        known = ("searcher", "tracking", "showcase")
        widths = [
            row["cpu"] - sum(row.get(name, 0.0) for name in known) if part == "rest" else row.get(part, 0.0)
            for row in medians
        ]
        left.barh(labels, widths, left=base, label="Tune and callback" if part == "rest" else part)
        base = [start + width for start, width in zip(base, widths, strict=True)]
    right.barh(labels, [row["wall"] for row in medians], color="grey")
    for axes, title in ((left, "driver CPU, ms per trial"), (right, f"time, ms per trial, {report['slots']} slots")):
        axes.set_title(title)
        axes.invert_yaxis()
        axes.grid(axis="x", alpha=0.3)
    right.invert_yaxis()  # the axis is shared with the left plot
    left.legend(loc="lower right", fontsize="small")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slots", type=int, default=2, help="number of concurrent trials")
    parser.add_argument("--quick", action="store_true", help="one round of 100 trials")
    parser.add_argument("-o", "--output", default="driver", help="path of the .json and .png files, without suffix")
    options = parser.parse_args()
    trials, rounds = (100, 1) if options.quick else (options.trials, options.rounds)
    report = measure(trials, rounds, options.slots)
    text = json.dumps(report, indent=2)
    Path(f"{options.output}.json").write_text(text, encoding="utf-8")
    draw(report, Path(f"{options.output}.png"))
    print(text)


if __name__ == "__main__":
    main()
