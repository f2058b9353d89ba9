"""Time of a whole sweep of equal trials, and of starting a trial, compared with a plain Ray Tune script.

    python -m benchmarks.sweep [--quick] [--trials 12] [--kimg 20] [--rounds 3] [--slots 2] [--precision auto]
        [--inception] [-o sweep]

The script is ``benchmarks.plain_tune``, written as users of Ray Tune write one; it is compared with ``run_sweep``, as
called by ``gansweep run``. Both train the AC-GAN recipe at width 16 on the same synthetic faces of 32 px, with equal
numbers of trials, kimg, evaluations, samples and slots; TPE suggests two learning rates and a loss weight in ranges so
narrow that distances vary little but with the seed, and no trial is stopped early. ``--precision`` is gansweep's; the
script trains in float32. Wherever the two differ, the script does less: it measures the Frechet distance alone, while
gansweep measures every score, tags included, with intervals, and draws sample grids; its images are small, and its
``DataLoader`` has no workers, which would take cores from trials; its driver prints nothing. Without ``--inception``
the script also uses gansweep's fast feature network. With it, both sides measure standard FID, the script with
torchmetrics' network, as most scripts do (weights are random, in the published format; they cost the same as trained
ones).

The sides run in turns, each in a new process with a new home. gansweep's tag classifier is trained beforehand; its time
is reported separately. All times are in seconds. Wall times depend on other programs:

- ``startup``: from a slot becoming free (a trial's last result, or the checkpoint after it) to the first training step
  of the next trial; median over all trials but the first in each slot.
- ``sweep``: from the first trial's ``setup`` to the last result.
- ``process``: from the start of the process to its end, including imports, Ray, databases and reference statistics.
- ``train`` and ``score``: totals over the evaluations of a trial; ``train_cpu`` and ``score_cpu`` are the CPU times,
  which other programs influence less.

With longer trials, the ratio of whole sweeps approaches that of ``train``. ``distance_difference`` is that of the mean
final distances of all trials, gansweep's less the script's, as a share of the script's, with Welch's 95 % interval.
Prints one JSON object and saves it with a plot. Run it from the repository's root.
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

from scipy.stats import ttest_ind

from benchmarks.plain_tune import Plan, note, run
from search_spaces.registry import SPACES
from tests.support.inception import write_inception_weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.settings import SweepSettings

SYSTEMS = ("gansweep", "ray")
SPACE, SIZE, FACES, WIDTH = SPACES["acgan"], 32, 2000, 16
RANGES = {
    "optimizer.generator_lr": (1.9e-4, 2.1e-4),
    "optimizer.discriminator_lr": (1.9e-4, 2.1e-4),
    "losses.adversarial_weight": (0.95, 1.05),
}
"""Dimensions that vary, around the recipe: they change the distance little, and the cost of a trial not at all."""
FIXED = {**SPACE.recipe, "generator.width": WIDTH, "discriminator.width": WIDTH}
PARTS = ("startup", "train", "score")
ABOUT = ("trials", "kimg", "samples", "slots", "rounds", "inception")
LISTS = ("startups", "distances")
SPENT = ("train", "score", "train_cpu", "score_cpu")


def sweep_settings(
    options: argparse.Namespace, faces: Path, home: Path, weights: Path | None, seed: int
) -> SweepSettings:
    """Return gansweep's settings."""
    from pipeline.settings import SweepSettings

    names = [dimension.name for dimension in SPACE.dimensions if dimension.name not in RANGES]
    return SweepSettings(
        SPACE.name, faces, "sweep", trials=options.trials, image_size=SIZE, max_kimg=options.kimg,
        concurrent=options.slots, gpus_per_trial="0", scheduler="none", end_hopeless="none",
        samples=options.samples, rung_samples=options.samples // 4, home=home, seed=seed, precision=options.precision,
        extractor="inception" if weights else "efficientnet", weights=weights,
        fix=tuple(f"{name}={FIXED[name]}" for name in names),
        range=tuple(f"{name}={low}:{high}" for name, (low, high) in RANGES.items()),
    )  # fmt: skip


def make_plan(settings: SweepSettings, folder: Path) -> Plan:
    """Return the script's plan, with the same evaluations as gansweep."""
    from pipeline.schedulers.evaluation_schedule import resolve_budget

    points = tuple((point.kimg, point.samples) for point in resolve_budget(settings).evaluations)
    return Plan(
        settings.data,
        folder,
        settings.trials,
        settings.resource_request().use_cores().slots,
        SIZE,
        FIXED,
        RANGES,
        points,
        settings.weights,
    )


def timed_trial(marks: Path) -> type:
    """Return a ``TuneTrial`` that records its phases; a local class, so that workers get it by value."""
    from trainables.trial.ray_trainable import TuneTrial
    from trainables.trial.result_packing import unpack_result

    class TimedTrial(TuneTrial):
        def setup(self, config: dict[str, Any], *given: Any, **options: Any) -> None:
            note(marks, config["key"], "setup")
            super().setup(config, *given, **options)

        def _begin(self, config: dict[str, Any]) -> None:
            super()._begin(config)
            self.key, loop = config["key"], self.trial.loop
            train = loop.train_until

            def timed(*args: Any) -> dict[str, float]:
                if not loop.images_seen:
                    note(marks, self.key, "training")
                figures = train(*args)
                self.trained = time.process_time()
                return figures

            loop.train_until = timed  # type: ignore[assignment, method-assign]

        def step(self) -> dict[str, Any]:
            began = time.process_time()
            result = super().step()
            figures = unpack_result(result)
            note(
                marks, self.key, "result", samples=figures["samples"], distance=figures["distance"],
                train=figures["train_seconds"], score=figures["score_seconds"],
                train_cpu=self.trained - began, score_cpu=time.process_time() - self.trained,
            )  # fmt: skip
            return result

    return TimedTrial


def run_gansweep(settings: SweepSettings, marks: Path) -> None:
    """Run a sweep whose trials record their phases."""
    from pipeline.sweep.run import run_sweep

    with mock.patch("trainables.trial.ray_trainable.TuneTrial", timed_trial(marks)):
        status = run_sweep(settings)
    if status != "complete":
        raise RuntimeError(f"the sweep is {status}")


def train_tag_classifier(faces: Path, cache: Path) -> None:
    """Train the tag classifier that a sweep would otherwise train first."""
    from trainables.data.dataset import load_folder
    from trainables.data.duplicates import near_duplicate_groups
    from trainables.scoring.tag_classifier.classifier import cached_tag_classifier

    images = load_folder(faces, SIZE)
    groups = near_duplicate_groups(images.pixels)
    cached_tag_classifier(cache, images.fingerprint, images.pixels, images.labels, images.vocabulary, groups=groups)


def in_process(call: Callable[..., None], *args: Any) -> float:
    """Run a call in a new process, and return the seconds from its start to its end."""
    began = time.monotonic()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(call, *args).result()
    return time.monotonic() - began


def read_marks(path: Path, plan: Plan) -> dict[str, Any]:
    """Read the times of one run.

    Raises:
        RuntimeError: the trials do not all have the planned evaluations.
    """
    marks = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    results = [mark for mark in marks if mark["what"] == "result"]
    trials = {mark["trial"] for mark in results}
    expected = sorted(samples for _, samples in plan.evaluations) * plan.trials
    if len(trials) != plan.trials or sorted(mark["samples"] for mark in results) != sorted(expected):
        raise RuntimeError(
            f"{len(trials)} trials gave {len(results)} results; expected {plan.trials} with {len(expected)} in all"
        )
    ended = {mark["trial"]: mark["at"] for mark in marks if mark["what"] in ("result", "saved")}
    begun = sorted(mark["at"] for mark in marks if mark["what"] == "training")
    # The slot that becomes free first gets the next trial.
    gaps = [begin - end for end, begin in zip(sorted(ended.values()), begun[plan.slots :], strict=False)]
    last = {mark["trial"]: mark["distance"] for mark in results}
    return {
        "startups": gaps,
        "sweep": max(mark["at"] for mark in results) - min(mark["at"] for mark in marks),
        **{part: sum(mark[part] for mark in results) / plan.trials for part in SPENT},
        "distances": list(last.values()),
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return medians over rounds, in which the sides run in turns, and their ratios."""
    from pipeline.cluster.precision import choose_precision
    from trainables.data.synthetic import write_folder

    samples: dict[str, list[dict[str, Any]]] = {name: [] for name in SYSTEMS}
    with tempfile.TemporaryDirectory(prefix="gansweep-sweep-") as temporary:
        root = Path(temporary)
        write_folder(root / "faces", FACES, seed=0, size=SIZE)
        weights = root / "inception.pth" if options.inception else None
        if weights:
            write_inception_weights(weights)
        tag_classifier = in_process(train_tag_classifier, root / "faces", root / "judge")
        for number in range(options.rounds):
            for name in SYSTEMS if number % 2 == 0 else SYSTEMS[::-1]:
                folder = root / f"{name}-{number}"
                folder.mkdir()
                settings = sweep_settings(options, root / "faces", folder / "home", weights, number)
                plan = make_plan(settings, folder)
                if name == "gansweep":
                    shutil.copytree(root / "judge", folder / "home" / "cache")
                    seconds = in_process(run_gansweep, settings, plan.marks)
                else:
                    seconds = in_process(run, plan)
                samples[name].append({"process": seconds, **read_marks(plan.marks, plan)})
    about = {name: getattr(options, name) for name in ABOUT}
    report: dict[str, Any] = {
        **about,
        "evaluations": plan.evaluations,
        "judge": tag_classifier,
        "load": os.getloadavg()[2],
        "precision": choose_precision(settings, settings.resolve_space())[0],
    }
    for name, runs in samples.items():
        medians = {key: statistics.median(run[key] for run in runs) for key in runs[0] if key not in LISTS}
        pooled = {key: [value for run in runs for value in run[key]] for key in LISTS}
        report[name] = {"startup": statistics.median(pooled["startups"]), **medians, "distances": pooled["distances"]}
        report[name]["busy"] = options.trials * (medians["train"] + medians["score"]) / options.slots / medians["sweep"]
    ours, theirs = report["gansweep"], report["ray"]
    report["startup_share"] = ours["startup"] / theirs["startup"]
    report["distance_difference"] = compare(ours["distances"], theirs["distances"])
    report["times_as_fast"] = {key: theirs[key] / ours[key] for key in ("sweep", "process", *SPENT)}
    return json.loads(json.dumps(report), parse_float=lambda text: round(float(text), 3))  # type: ignore[no-any-return]


def compare(ours: list[float], theirs: list[float]) -> dict[str, float]:
    """Return the difference of two means as a share of the second one, with Welch's 95 % interval."""
    mean = statistics.mean(theirs)
    interval = ttest_ind(ours, theirs, equal_var=False).confidence_interval()
    shares = {"mean": statistics.mean(ours) - mean, "low": interval.low, "high": interval.high}
    return {name: float(share / mean) for name, share in shares.items()}


def draw(report: dict[str, Any], path: Path) -> None:
    """Plot the use of a slot by a trial, and the time of a sweep."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 3), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    base = [0.0] * len(SYSTEMS)
    for part, label in zip(PARTS, ("start-up", "training", "scoring"), strict=True):
        widths = [report[name][part] for name in SYSTEMS]
        left.barh(SYSTEMS, widths, left=base, label=label)
        base = [start + width for start, width in zip(base, widths, strict=True)]
    for place, (key, label) in enumerate((("sweep", "first trial to last result"), ("process", "whole process"))):
        rows = [index + 0.38 * (place - 0.5) for index in range(len(SYSTEMS))]
        seconds = [report[name][key] for name in SYSTEMS]
        bars = right.barh(rows, seconds, 0.36, label=label, color=("0.35", "0.7")[place])
        right.bar_label(bars, fmt="%.0f", padding=3)
    left.set_title("a trial in its slot, seconds")
    right.set_title(f"{report['trials']} trials of {report['kimg']} kimg in {report['slots']} slots, seconds")
    left.invert_yaxis()  # the axis is shared with the right plot
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
    parser.add_argument("--samples", type=int, default=2048, help="images of the last score; a quarter of it before")
    parser.add_argument("--slots", type=int, default=2, help="number of concurrent trials")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--inception", action="store_true", help="measure standard FID on both sides")
    parser.add_argument("--precision", default="float32", help="of gansweep's trials")
    parser.add_argument("-o", "--output", default="sweep", help="path of the .json and .png files, without suffix")
    options = parser.parse_args()
    if options.quick:
        options.trials, options.kimg, options.samples, options.rounds = 4, 9, 1024, 1
    # Workers start in the sweep's folder, and import this module.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path.cwd()), os.environ.get("PYTHONPATH")]))
    report = measure(options)
    text = json.dumps(report, indent=2)
    Path(f"{options.output}.json").write_text(text, encoding="utf-8")
    draw(report, Path(f"{options.output}.png"))
    print(text)


if __name__ == "__main__":
    main()
