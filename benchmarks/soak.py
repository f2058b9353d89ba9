"""Soak test: thousands of trials through the real launch path, checked for lost or duplicate data and leaks.

``python -m benchmarks.soak --trials 1000 [--study URL] [--tracking URL]``

Only the trials are simulated: ``run_sweep`` runs with Ray Tune, Optuna and MLflow, on SQLite unless another database is
given, on synthetic faces of 16 px. A trial trains nothing: it stores an image and immediately returns results of the
usual shape. For comparison, as many empty trials run through a bare Ray Tune, to separate the memory and the CPU time
of Tune's driver from ours; each of the two runs in its own process. Prints one JSON object, and one line to stderr;
exits with 1 if anything was lost or duplicated.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import psutil
from ray import tune

from pipeline.tracking.mlflow_writer import trial_runs

if TYPE_CHECKING:
    from pipeline.settings import Sampler

SIZE, FACES, KIMG = 16, 64, 4
FIGURES = 30
"""Metrics of a result besides its scores."""


class Meter:
    """Memory and time of this process as results come and trials end."""

    def __init__(self) -> None:
        self.process, self.ended, self.results = psutil.Process(), 0, 0
        self.memory: list[float] = []
        self.marks: list[tuple[int, float]] = []
        """Results and CPU seconds so far, at the end of each trial."""
        self.began: float | None = None
        self.cpu = self.seconds = 0.0

    def note(self) -> None:
        """Record the end of a trial; the first one only starts the measurement."""
        now, cpu = time.monotonic(), sum(self.process.cpu_times()[:2])
        if self.began is None:
            self.began, self.cpu_before = now, cpu
        self.ended += 1
        self.memory.append(self.process.memory_info().rss / 2**20)
        self.marks.append((self.results, cpu))
        self.seconds, self.cpu = now - self.began, cpu - self.cpu_before

    def per_result(self, first: int, last: int) -> float:
        """Return milliseconds of CPU per result between the ends of two trials."""
        (before, began), (after, ended) = self.marks[first], self.marks[last]
        return round(1000 * (ended - began) / max(1, after - before), 3)

    def report(self) -> dict[str, Any]:
        """Return the driver's CPU time, speed, and memory growth per trial from a third of the trials to the last."""
        tenth = max(1, self.ended // 10)
        third, count = self.ended // 3, max(1, self.ended - 1)
        marks = sorted({1, third, 2 * third, self.ended} - {0})
        later = max(1, self.ended - third)
        return {
            "trials": self.ended,
            "seconds": round(self.seconds, 1),
            "trials_per_second": round(count / max(self.seconds, 1e-9), 2),
            "driver_cpu_seconds_per_trial": round(self.cpu / count, 4),
            "results": self.results,
            "driver_cpu_milliseconds_per_result": {
                "all": self.per_result(0, -1),
                "first_tenth": self.per_result(0, tenth - 1),
                "last_tenth": self.per_result(-tenth - 1, -1),
            },
            "driver_mebibytes": {mark: round(self.memory[mark - 1], 1) for mark in marks},
            "kibibytes_per_later_trial": round((self.memory[-1] - self.memory[max(0, third - 1)]) * 1024 / later, 1),
        }


class Watch(tune.Callback):
    """Reports every end of a trial to a meter, which is left out when Ray pickles the callback."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        self.meter.results += 1

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.meter.note()

    def __getstate__(self) -> dict[str, Any]:
        return {}


def run_bare(trials: int, slots: int) -> dict[str, Any]:
    """Run empty trials through Ray Tune alone."""
    from pipeline.cluster.ray_runtime import local_ray

    meter = Meter()

    class Idle(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.left = config["results"]

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.setup(new_config)
            return True

        def step(self) -> dict[str, Any]:
            self.left -= 1
            return {"kimg": 1, "done": self.left == 0, **{f"figure_{n}": n / 7 for n in range(FIGURES)}}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            return None

    with tempfile.TemporaryDirectory(prefix="gansweep-soak-") as folder, local_ray(Path(folder), slots):
        tune.Tuner(
            tune.with_resources(Idle, {"cpu": 1}),
            param_space={"results": 2},
            tune_config=tune.TuneConfig(num_samples=trials, max_concurrent_trials=slots, reuse_actors=True),
            run_config=tune.RunConfig(storage_path=folder, callbacks=[Watch(meter)], verbose=0),
        ).fit()
    return meter.report()


def quick_trial() -> type:
    """Return a replacement for ``TuneTrial`` that trains nothing; a local class, so that workers get it by value."""
    from trainables.storage.checkpoints import write_results
    from trainables.trial.ray_trainable import TuneTrial
    from trainables.trial.result_packing import pack_result

    class QuickTrial(TuneTrial):
        def _begin(self, config: dict[str, Any]) -> None:
            self.files, self.seed = self.storage.below(config["key"]), config["seed"]
            self.results: list[dict[str, Any]] = []

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self._begin(new_config)
            return True

        def step(self) -> dict[str, Any]:
            evaluation = self.context.evaluations[len(self.results)]
            name = f"samples/kimg-{evaluation.kimg:06d}.png"
            with self.files.writing(name) as path:
                path.write_bytes(b"an image")
            distance = (self.seed % 1009 + 1) / evaluation.kimg
            result = {
                "kimg": evaluation.kimg, "seconds": 0.1, "done": evaluation.kimg == self.context.max_kimg,
                "pictures": [name], "samples": evaluation.samples, "distance": distance, "fd_efficientnet": distance,
                **{f"figure_{number}": number / 7 for number in range(FIGURES)},
            }  # fmt: skip
            self.results.append(result)
            write_results(self.files, self.results)
            return pack_result(result)

    return QuickTrial


def run_real(trials: int, slots: int, sampler: Sampler, study: str | None, tracking: str | None) -> dict[str, Any]:
    """Run a sweep of such trials, and report its faults."""
    from pipeline.settings import SweepSettings
    from pipeline.sweep.run import run_sweep
    from pipeline.tracking.progress import Progress
    from trainables.data.synthetic import write_folder

    meter, ended, result = Meter(), Progress.ended, Progress.result

    def counted(self: Progress, *args: Any) -> None:
        result(self, *args)
        meter.results += 1

    def noted(self: Progress, *args: Any) -> None:
        ended(self, *args)
        meter.note()

    with tempfile.TemporaryDirectory(prefix="gansweep-soak-") as folder:
        root = Path(folder)
        write_folder(root / "faces", FACES, seed=0, size=SIZE)
        settings = SweepSettings(
            "dcgan", root / "faces", "soak", trials=trials, image_size=SIZE, max_kimg=KIMG, concurrent=slots,
            gpus_per_trial="0", sampler=sampler, samples=16, rung_samples=16, home=root / "home",
            study=study, tracking=tracking,
        )  # fmt: skip
        with (
            mock.patch("trainables.trial.ray_trainable.TuneTrial", quick_trial()),
            mock.patch("pipeline.cluster.node_checks.DISK_PER_TRIAL", 2**16),
            mock.patch.object(Progress, "ended", noted),
            mock.patch.object(Progress, "result", counted),
        ):
            status = run_sweep(settings)
        faults = [] if status == "complete" else [f"the sweep is {status}"]
        return {**meter.report(), "faults": faults + find_faults(settings)}


def find_faults(settings: Any) -> list[str]:
    """Return a line for everything that is lost, duplicated or contradictory in MLflow and the study."""
    import optuna
    from mlflow import MlflowClient

    from analysis import schema
    from pipeline.home import Home
    from pipeline.search.trial_attributes import STATUS, recorded_outcome

    home = Home.find(settings.home)
    client = MlflowClient(settings.tracking or home.tracking)
    experiment = client.get_experiment_by_name(settings.name)
    assert experiment is not None, settings.name
    runs = trial_runs(client, experiment.experiment_id)
    study_trials = optuna.load_study(study_name=settings.name, storage=settings.study or home.study).trials
    keys = [f"{settings.name}-{number:05d}" for number in range(settings.trials)]
    count = len(list(search_all(client, experiment.experiment_id)))
    faults = [f"{count} runs, expected {settings.trials}"] if count != settings.trials else []
    faults += [f"keys differ: {sorted(set(runs) ^ set(keys))[:3]}"] if set(runs) != set(keys) else []
    faults += [f"{len(study_trials)} trials in the study"] if len(study_trials) != settings.trials else []
    for key, trial in zip(keys, study_trials, strict=False):
        run = runs.get(key)
        if run is None:
            continue
        status, values, recorded = run.data.tags[schema.STATUS], run.data.metrics, recorded_outcome(trial)
        steps = [point.step for point in client.get_metric_history(run.info.run_id, schema.DISTANCE)]
        if status not in (schema.COMPLETE, schema.STOPPED) or status != recorded.get(STATUS):
            faults.append(f"{key} is {status}, in the study {recorded.get(STATUS)}")
        if not steps or steps != sorted(set(steps)) or steps[-1] != values.get(schema.KIMG):
            faults.append(f"{key} has results at {steps}, the last at {values.get(schema.KIMG)}")
        if recorded.get(schema.DISTANCE) != values.get(schema.DISTANCE):
            faults.append(f"{key} ended at {values.get(schema.DISTANCE)}, says MLflow, and not the study")
    return faults


def search_all(client: Any, experiment: str) -> Any:
    """Yield every run of a trial, page by page, duplicates included."""
    token = None
    while True:
        page = client.search_runs([experiment], "tags.`gansweep.kind` = 'trial'", page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def soak(
    trials: int,
    slots: int = 2,
    sampler: str = "random",
    *,
    study: str | None = None,
    tracking: str | None = None,
    bare: bool = True,
) -> dict[str, Any]:
    """Run both, each in its own process, and compare their memory."""
    reports: dict[str, Any] = {}
    parts: dict[str, tuple[Any, ...]] = {"sweep": (run_real, trials, slots, sampler, study, tracking)}
    if bare:
        parts["bare"] = (run_bare, trials, slots)
    for name, (call, *args) in parts.items():
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            reports[name] = pool.submit(call, *args).result()
    if bare:
        name = "kibibytes_per_later_trial"
        reports["added_kibibytes_per_later_trial"] = round(reports["sweep"][name] - reports["bare"][name], 1)
    return reports


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--slots", type=int, default=2, help="number of concurrent trials")
    parser.add_argument("--sampler", default="random")
    parser.add_argument("--study", help="database of the study; default: SQLite")
    parser.add_argument("--tracking", help="MLflow tracking URI, a server or a database; default: SQLite")
    parser.add_argument("--no-bare", action="store_true", help="skip the comparison with a bare Ray Tune")
    options = parser.parse_args()
    reports = soak(
        options.trials, options.slots, options.sampler, study=options.study, tracking=options.tracking,
        bare=not options.no_bare,
    )  # fmt: skip
    print(json.dumps(reports, indent=2))
    ours = reports["sweep"]
    line = f"{ours['trials']} trials, {ours['trials_per_second']} a second, {len(ours['faults'])} faults"
    if "bare" in reports:
        added, alone = reports["added_kibibytes_per_later_trial"], reports["bare"]["kibibytes_per_later_trial"]
        line += f"; the driver grows by {added} KiB a trial more than a bare Ray Tune's {alone}"
    print("; ".join([line, *ours["faults"][:3]]), file=sys.stderr)
    return int(bool(ours["faults"]))


if __name__ == "__main__":
    sys.exit(main())
