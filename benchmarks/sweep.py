"""A whole sweep of equal trials, and what it costs to start one, beside a plain Ray Tune script.

``python -m benchmarks.sweep [--quick] [--trials 12] [--kimg 20] [--rounds 3] [--slots 2] [--inception] [-o sweep]``

The script is ``benchmarks.plain_tune``, written as its users write one; beside it runs ``run_sweep``, as ``gansweep
run`` calls it. Both train the AC-GAN recipe at width 16 on the same drawn faces of 32 px: equally many trials, kimg,
evaluations, samples and slots, three rates and weights proposed by TPE, nothing stopped early. Where the two differ,
the script has less to do: it measures the Frechet distance alone, where gansweep measures every score, tags included,
with intervals, and draws sheets; its pictures are small, and its ``DataLoader`` has no workers, which would take cores
from trials; its driver prints nothing. Without ``--inception`` it has gansweep's fast feature network, too; with it,
both sides measure standard FID, the script by torchmetrics' own network, as most scripts do (weights are random in the
published format: they cost what trained ones cost).

The sides take turns, each run in a new process with a new home; gansweep finds its judge trained, whose time is told
apart. Wall times, so other programs count:

- ``startup``: from a slot becoming free (a trial's last result, or the checkpoint after it) to the first training step
  of the next trial; median over these.
- ``sweep``: from the first trial's ``setup`` to the last result.
- ``process``: from the start of the process to its end, imports, Ray, databases and reference included;
- ``train`` and ``score``: of a trial, all evaluations together, and what of it is CPU time (``_cpu``), in which other
  programs count less.

The longer trials are, the nearer comes the ratio of whole sweeps to that of ``train``. Prints one JSON object and
saves it with a plot. Run it from the repository's root.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from benchmarks.plain_tune import Plan, note, run
from search_spaces.registry import SPACES
from tests.support.inception import write_inception_weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.settings import SweepSettings

SYSTEMS = ("gansweep", "ray")
SPACE, SIZE, FACES, WIDTH = SPACES["acgan"], 32, 2000, 16
RANGES = {
    "optimizer.generator_lr": (1e-4, 4e-4),
    "optimizer.discriminator_lr": (1e-4, 4e-4),
    "losses.adversarial_weight": (0.5, 2.0),
}
"""What varies changes no trial's cost, and lets none diverge."""
FIXED = {**SPACE.recipe, "generator.width": WIDTH, "discriminator.width": WIDTH}
PARTS = ("startup", "train", "score")
SPENT = ("train", "score", "train_cpu", "score_cpu")


def sweep_settings(options: argparse.Namespace, faces: Path, home: Path, weights: Path | None) -> SweepSettings:
    """gansweep's side of the plan."""
    from pipeline.settings import SweepSettings

    names = [one.name for one in SPACE.dimensions if one.name not in RANGES]
    return SweepSettings(
        SPACE.name, faces, "sweep", trials=options.trials, image_size=SIZE, max_kimg=options.kimg,
        concurrent=options.slots, gpus_per_trial="0", scheduler="none", end_hopeless="none",
        samples=options.samples, rung_samples=options.samples // 4, home=home,
        extractor="inception" if weights else "efficientnet", weights=weights,
        fix=tuple(f"{name}={FIXED[name]}" for name in names),
        range=tuple(f"{name}={low}:{high}" for name, (low, high) in RANGES.items()),
    )  # fmt: skip


def make_plan(settings: SweepSettings, folder: Path) -> Plan:
    """The script's side, with the evaluations that gansweep has."""
    from pipeline.budget import evaluations

    points = tuple((one.kimg, one.samples) for one in evaluations(settings))
    return Plan(settings.data, folder, settings.trials, settings.slots(), SIZE, FIXED, RANGES, points, settings.weights)


def timed_trial(marks: Path) -> type:
    """``TuneTrial`` that notes what it does; made here, so that workers get it by value."""
    from trainables.report import unfolded
    from trainables.tune import TuneTrial

    class TimedTrial(TuneTrial):
        def setup(self, config: dict[str, Any], *given: Any, **options: Any) -> None:
            note(marks, config["key"], "setup")
            super().setup(config, *given, **options)

        def _begin(self, config: dict[str, Any]) -> None:
            super()._begin(config)
            self.key, loop = config["key"], self.trial.loop
            train = loop.train_until

            def timed(*given: Any) -> dict[str, float]:
                if not loop.images:
                    note(marks, self.key, "training")
                figures = train(*given)
                self.trained = time.process_time()
                return figures

            loop.train_until = timed  # type: ignore[assignment, method-assign]

        def step(self) -> dict[str, Any]:
            began = time.process_time()
            result = super().step()
            told = unfolded(result)
            note(
                marks, self.key, "result", samples=told["samples"], distance=told["distance"],
                train=told["train_seconds"], score=told["score_seconds"],
                train_cpu=self.trained - began, score_cpu=time.process_time() - self.trained,
            )  # fmt: skip
            return result

    return TimedTrial


def run_gansweep(settings: SweepSettings, marks: Path) -> None:
    """A sweep whose trials note what they do."""
    from pipeline.launch import run_sweep

    with mock.patch("trainables.tune.TuneTrial", timed_trial(marks)):
        status = run_sweep(settings)
    if status != "complete":
        raise RuntimeError(f"the sweep is {status}")


def train_judge(faces: Path, cache: Path) -> None:
    """What a sweep would train first, were it not there."""
    from trainables.data.dataset import load_folder
    from trainables.data.duplicates import near_duplicate_groups
    from trainables.scoring.tagger import cached_judge

    images = load_folder(faces, SIZE)
    groups = near_duplicate_groups(images.pixels)
    cached_judge(cache, images.fingerprint, images.pixels, images.labels, images.vocabulary, groups=groups)


def in_process(call: Callable[..., None], *given: Any) -> float:
    """Seconds that a new process takes from its start to its end."""
    began = time.monotonic()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(call, *given).result()
    return time.monotonic() - began


def read_marks(path: Path, plan: Plan) -> dict[str, Any]:
    """Times of one run; refuses one whose trials are not equal."""
    marks = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    results = [mark for mark in marks if mark["what"] == "result"]
    trials = {mark["trial"] for mark in results}
    asked = sorted(samples for _, samples in plan.evaluations) * plan.trials
    if len(trials) != plan.trials or sorted(mark["samples"] for mark in results) != sorted(asked):
        raise RuntimeError(f"{len(trials)} trials gave {len(results)} results; {plan.trials} and {len(asked)} are due")
    ended = {mark["trial"]: mark["at"] for mark in marks if mark["what"] in ("result", "saved")}
    begun = sorted(mark["at"] for mark in marks if mark["what"] == "training")
    # Whichever slot is free first is taken first.
    gaps = [begin - end for end, begin in zip(sorted(ended.values()), begun[plan.slots :], strict=False)]
    last = {mark["trial"]: mark["distance"] for mark in results}
    return {
        "startups": gaps,
        "sweep": max(mark["at"] for mark in results) - min(mark["at"] for mark in marks),
        **{part: sum(mark[part] for mark in results) / plan.trials for part in SPENT},
        "distance": statistics.median(last.values()),
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Medians over rounds in which the sides take turns, and their ratios."""
    from trainables.data.synthetic import write_folder

    told: dict[str, list[dict[str, Any]]] = {name: [] for name in SYSTEMS}
    with tempfile.TemporaryDirectory(prefix="gansweep-sweep-") as temporary:
        root = Path(temporary)
        write_folder(root / "faces", FACES, seed=0, size=SIZE)
        weights = root / "inception.pth" if options.inception else None
        if weights:
            write_inception_weights(weights)
        judge = in_process(train_judge, root / "faces", root / "judge")
        for number in range(options.rounds):
            for name in SYSTEMS if number % 2 == 0 else SYSTEMS[::-1]:
                folder = root / f"{name}-{number}"
                folder.mkdir()
                settings = sweep_settings(options, root / "faces", folder / "home", weights)
                plan = make_plan(settings, folder)
                if name == "gansweep":
                    shutil.copytree(root / "judge", folder / "home" / "cache")
                    seconds = in_process(run_gansweep, settings, plan.marks)
                else:
                    seconds = in_process(run, plan)
                told[name].append({"process": seconds, **read_marks(plan.marks, plan)})
    about = {name: getattr(options, name) for name in ("trials", "kimg", "samples", "slots", "rounds", "inception")}
    found: dict[str, Any] = {**about, "evaluations": plan.evaluations, "judge": judge, "load": os.getloadavg()[2]}
    for name, runs in told.items():
        medians = {key: statistics.median(one[key] for one in runs) for key in runs[0] if key != "startups"}
        found[name] = {"startup": statistics.median(gap for one in runs for gap in one["startups"]), **medians}
        found[name]["busy"] = options.trials * (medians["train"] + medians["score"]) / options.slots / medians["sweep"]
    ours, theirs = found["gansweep"], found["ray"]
    found["startup_share"] = ours["startup"] / theirs["startup"]
    found["times_as_fast"] = {key: theirs[key] / ours[key] for key in ("sweep", "process", *SPENT)}
    return json.loads(json.dumps(found), parse_float=lambda text: round(float(text), 3))  # type: ignore[no-any-return]


def draw(found: dict[str, Any], path: Path) -> None:
    """What a trial's slot is used for, and how long a sweep takes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 3), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    base = [0.0] * len(SYSTEMS)
    for part, label in zip(PARTS, ("start-up", "training", "scoring"), strict=True):
        widths = [found[name][part] for name in SYSTEMS]
        left.barh(SYSTEMS, widths, left=base, label=label)
        base = [start + width for start, width in zip(base, widths, strict=True)]
    for place, (key, label) in enumerate((("sweep", "first trial to last result"), ("process", "whole process"))):
        rows = [index + 0.38 * (place - 0.5) for index in range(len(SYSTEMS))]
        bars = right.barh(rows, [found[name][key] for name in SYSTEMS], 0.36, label=label, color=("0.35", "0.7")[place])
        right.bar_label(bars, fmt="%.0f", padding=3)
    left.set_title("a trial in its slot, seconds")
    right.set_title(f"{found['trials']} trials of {found['kimg']} kimg in {found['slots']} slots, seconds")
    left.invert_yaxis()  # the right shares it
    right.margins(x=0.12)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3, fontsize="small")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of 4 trials of 9 kimg, 1024 samples")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument(
        "--kimg", type=int, default=20, help="budget of a trial, scored at a ninth, a third and the end"
    )
    parser.add_argument("--samples", type=int, default=2048, help="of the last score; a quarter of it before")
    parser.add_argument("--slots", type=int, default=2, help="trials at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--inception", action="store_true", help="measure standard FID on both sides")
    parser.add_argument("-o", "--output", default="sweep", help="where .json and .png are put")
    options = parser.parse_args()
    if options.quick:
        options.trials, options.kimg, options.samples, options.rounds = 4, 9, 1024, 1
    # Workers start in the sweep's folder, and import this module.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path.cwd()), os.environ.get("PYTHONPATH")]))
    found = measure(options)
    text = json.dumps(found, indent=2)
    Path(f"{options.output}.json").write_text(text, encoding="utf-8")
    draw(found, Path(f"{options.output}.png"))
    print(text)


if __name__ == "__main__":
    main()
