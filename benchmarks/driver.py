"""What the driver of a sweep costs for each trial and each result, beside a bare Ray Tune.

``python -m benchmarks.driver [--trials 1000] [--quick] [-o driver]``

Trials train nothing (see ``benchmarks.soak``). A sweep runs through ``run_sweep`` with random proposals, its study and
MLflow on SQLite; beside it as many trials of a plain Ray Tune script, with Tune's own loggers and random search. Each
run has a process of its own, and each is done with one result a trial and with several, so that what a trial costs
is told from what a result costs: ``cost = trials * (per_trial + results * per_result)``. The time of the searcher,
the tracking thread and the showcase is measured apart, by thread; the rest is Tune's driver with our callback.
Prints one JSON object and saves it with a plot.
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
"""Results of a trial."""
DIMENSIONS = 10
"""Of the bare script's space, as many as a small one of ours has."""
SYSTEMS = ("gansweep", "ray")


class Watch(tune.Callback):
    """CPU and time of this process from the end of the first trial, which finds everything imported and warm."""

    def __init__(self) -> None:
        self.process, self.ended, self.parts = psutil.Process(), 0, defaultdict(float)  # type: ignore[var-annotated]

    def cpu(self) -> float:
        return sum(self.process.cpu_times()[:2])

    def note(self) -> None:
        """A trial has ended."""
        if not self.ended:
            self.began, self.cpu_began = time.monotonic(), self.cpu()
            self.parts.clear()
        self.ended += 1
        self.last = time.monotonic()

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.note()

    def timed(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, with the CPU time of its thread added to a part."""

        def measured(*given: Any, **options: Any) -> Any:
            before = time.thread_time()
            try:
                return call(*given, **options)
            finally:
                self.parts[part] += time.thread_time() - before

        return measured

    def report(self) -> dict[str, Any]:
        """Milliseconds a trial; the wall time ends with the last trial, the CPU time with the last write."""
        count = max(1, self.ended - 1)
        return {
            "cpu": 1000 * (self.cpu() - self.cpu_began) / count,
            "wall": 1000 * (self.last - self.began) / count,
            **{part: 1000 * seconds / count for part, seconds in self.parts.items()},
        }

    def __getstate__(self) -> dict[str, Any]:
        return {}


def run_ray(trials: int, results: int, slots: int) -> dict[str, float]:
    """A plain script, as the users of Ray Tune write it."""
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
        contextlib.redirect_stdout(sys.stderr),  # where Tune says where its files are
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
        found = watch.report()
        ray.shutdown()
    return found


def run_gansweep(trials: int, results: int, slots: int) -> dict[str, float]:
    """The same number of trials as a sweep."""
    from pipeline.launch import run_sweep
    from pipeline.progress import Progress
    from pipeline.sender import Sender
    from pipeline.settings import SweepSettings
    from pipeline.showcase import Showcase
    from pipeline.study import StudySearcher
    from pipeline.tracking import Tracker
    from trainables.data.synthetic import write_folder

    watch, ended, finish, found = Watch(), Progress.ended, Tracker.finish, {}

    def note_end(self: Progress, *given: Any) -> None:
        ended(self, *given)
        watch.note()

    def note_last(self: Tracker, *given: Any) -> None:
        finish(self, *given)
        found.update(watch.report())

    def parts() -> Iterator[Any]:
        for owner, name, part in (
            (StudySearcher, "suggest", "searcher"),
            (StudySearcher, "on_trial_complete", "searcher"),
            (Sender, "step", "tracking"),
            (Showcase, "refresh", "showcase"),
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
            mock.patch("trainables.tune.TuneTrial", quick_trial()),
            mock.patch("pipeline.preflight.DISK_PER_TRIAL", 2**16),
            mock.patch.object(Progress, "ended", note_end),
            mock.patch.object(Tracker, "finish", note_last),
            *parts(),
        ]
        for patch in patches:
            patch.start()
        run_sweep(settings)
    return found


def _method(call: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, *given: Any, **options: Any) -> Any:
        return call(self, *given, **options)

    return method


def split(few: dict[str, float], many: dict[str, float]) -> dict[str, dict[str, float]]:
    """What a trial and a result cost, from two numbers of results a trial."""
    found: dict[str, dict[str, float]] = {}
    for name in {*few, *many}:
        result = (many.get(name, 0.0) - few.get(name, 0.0)) / (MANY - FEW)
        found[name] = {"per_trial": few.get(name, 0.0) - FEW * result, "per_result": result}
    return found


def measure(trials: int, rounds: int, slots: int) -> dict[str, Any]:
    """Medians over rounds in which the systems take turns."""
    calls = {"gansweep": run_gansweep, "ray": run_ray}
    told: dict[str, dict[int, list[dict[str, float]]]] = {name: {FEW: [], MANY: []} for name in SYSTEMS}
    for _ in range(rounds):
        for results in (FEW, MANY):
            for name in SYSTEMS:
                with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                    told[name][results].append(pool.submit(calls[name], trials, results, slots).result())
    found: dict[str, Any] = {"trials": trials, "rounds": rounds, "slots": slots, "unit": "ms", "results": [FEW, MANY]}
    for name, by_results in told.items():
        medians = {
            results: {key: statistics.median(one.get(key, 0.0) for one in runs) for key in {k for r in runs for k in r}}
            for results, runs in by_results.items()
        }
        found[name] = {
            f"trial_of_{FEW}": medians[FEW],
            f"trial_of_{MANY}": medians[MANY],
            **split(medians[FEW], medians[MANY]),
        }
    theirs, ours = found["ray"], found["gansweep"]
    found["ratio"] = {
        of: {clock: round(ours[of][clock] / theirs[of][clock], 2) for clock in ("cpu", "wall")}
        for of in (f"trial_of_{FEW}", f"trial_of_{MANY}")
    }
    return json.loads(json.dumps(found), parse_float=lambda text: round(float(text), 3))  # type: ignore[no-any-return]


def draw(found: dict[str, Any], path: Path) -> None:
    """CPU by part and wall time of a trial with few and with many results."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    rows = [(name, results) for results in (FEW, MANY) for name in SYSTEMS]
    labels = [f"{name}, {results} result{'s' * (results > 1)}" for name, results in rows]
    left, right = figure.subplots(1, 2, sharey=True)
    told = [found[name][f"trial_of_{results}"] for name, results in rows]
    base = [0.0] * len(rows)
    for part in ("searcher", "tracking", "showcase", "rest"):
        known = ("searcher", "tracking", "showcase")
        widths = [
            one["cpu"] - sum(one.get(name, 0.0) for name in known) if part == "rest" else one.get(part, 0.0)
            for one in told
        ]
        left.barh(labels, widths, left=base, label="Tune and callback" if part == "rest" else part)
        base = [start + width for start, width in zip(base, widths, strict=True)]
    right.barh(labels, [one["wall"] for one in told], color="grey")
    for axes, title in ((left, "driver CPU, ms a trial"), (right, f"time, ms a trial, {found['slots']} slots")):
        axes.set_title(title)
        axes.invert_yaxis()
        axes.grid(axis="x", alpha=0.3)
    right.invert_yaxis()  # shared with the left
    left.legend(loc="lower right", fontsize="small")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slots", type=int, default=2, help="trials at once")
    parser.add_argument("--quick", action="store_true", help="one round of 100 trials")
    parser.add_argument("-o", "--output", default="driver", help="where .json and .png are put")
    options = parser.parse_args()
    trials, rounds = (100, 1) if options.quick else (options.trials, options.rounds)
    found = measure(trials, rounds, options.slots)
    text = json.dumps(found, indent=2)
    Path(f"{options.output}.json").write_text(text, encoding="utf-8")
    draw(found, Path(f"{options.output}.png"))
    print(text)


if __name__ == "__main__":
    main()
