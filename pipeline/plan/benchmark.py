"""Measure the seconds of an update and of an evaluation of configurations, in separate processes.

As many processes measure at once as trials will run at once on this machine, since trials share its memory and caches.
Each trains for a few updates and scores the result; nothing is kept.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pipeline.cluster.memory_probe import child_environment, measure_peak_resident
from pipeline.settings import SweepSettings
from pipeline.sweep.resolve import resolve_sweep
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipeline.sweep.resolve import ResolvedSweep
    from trainables.data.dataset import TaggedImages
    from trainables.scoring.scorer import Scorer
    from trainables.scoring.tag_classifier.classifier import TagClassifier
    from trainables.trial.context import TrialContext
    from trainables.trial.trial import Trial

WARM_UP = 2
"""Updates before timing starts: the first ones plan and allocate."""
SECONDS = 1.5
LEAST = 3
MOST = 200
"""Updates are timed for about ``SECONDS``, but for at least ``LEAST`` and at most ``MOST`` updates."""
ENOUGH, FEWEST = 60.0, 2
"""Seconds after which no further configuration is measured, once there are ``FEWEST``."""
LIMIT = 1800.0
"""Seconds after which a measurement fails."""


@dataclass(frozen=True)
class Benchmark:
    """Seconds of one configuration, means over the processes that measured at once."""

    update: float
    """One update of both networks, with the steps of each."""
    early: float
    """An evaluation before the end, including what it saves."""
    final: float
    """The evaluation at the end; 0 if only the early one was measured."""
    start: float
    """To build the trial."""
    peak: int
    """Peak bytes of the process: on the GPU, or resident on the CPU."""


def measure_all(
    settings: SweepSettings, configurations: Sequence[Mapping[str, Any]], processes: int, device: str
) -> list[Benchmark]:
    """Measure configurations, the first with its final evaluation, in ``processes`` processes at once.

    Returns:
        Of each configuration, or of the first ones that were measured within ``ENOUGH`` seconds.

    Raises:
        UserError: one of the processes failed, e.g. out of memory.
    """
    request = {"settings": settings.to_json(), "params": list(configurations), "device": device, "share": 1 / processes}
    words = [sys.executable, "-P", "-m", "pipeline.plan.benchmark"]
    with contextlib.ExitStack() as stack:
        started = []
        for _ in range(processes):
            given = stack.enter_context(tempfile.TemporaryFile("w+"))
            json.dump(request, given)
            given.seek(0)
            process = subprocess.Popen(
                words, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=child_environment()
            )
            stack.callback(process.kill)
            started.append(process)
        answers = [_answer(process) for process in started]
    return [_mean([Benchmark(**one) for one in same]) for same in zip(*answers, strict=False)]


def _answer(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    try:
        out, err = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired as error:
        raise UserError(f"a few updates and scores of a trial took longer than {LIMIT:.0f} s here") from error
    if process.returncode:
        reason = (err.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        raise UserError(f"cannot measure a trial: {reason}")
    benchmarks: list[dict[str, Any]] = json.loads(out.strip().splitlines()[-1])
    return benchmarks


def _mean(same: Sequence[Benchmark]) -> Benchmark:
    seconds = {
        name: sum(getattr(one, name) for one in same) / len(same) for name in ("update", "early", "final", "start")
    }
    return Benchmark(**seconds, peak=max(one.peak for one in same))


# In the measuring process -------------------------------------------------------------------------------------
def measure_here(request: Mapping[str, Any]) -> list[Benchmark]:
    """Measure in this process the configurations of a request that ``measure_all`` has written."""
    from trainables.trial.context import TrialContext

    sweep = resolve_sweep(SweepSettings.from_json(request["settings"]))
    images, scorer = load_scorer(sweep)
    context = TrialContext(
        images, scorer, sweep.budget.evaluations, sweep.request.cpus, request["device"],
        gpu_share=request["share"], checkpoint_seconds=LIMIT, precision=sweep.training.precision,
        pixels=sweep.training.pixels,
    )  # fmt: skip
    began, measured = time.perf_counter(), list[Benchmark]()
    for params in request["params"]:
        if len(measured) >= FEWEST and time.perf_counter() - began > ENOUGH:
            break
        measured.append(_measure(context, params, full=not measured))
    return measured


def load_scorer(sweep: ResolvedSweep, update: Callable[[str], None] = lambda line: None) -> tuple[TaggedImages, Scorer]:
    """Load the images and the scorer of a sweep; the tag classifier is untrained, which does not change its speed."""
    from pipeline.search.study import takes_tags
    from pipeline.sweep.images import decoding_progress, load_images
    from pipeline.sweep.scoring import near_duplicates, sweep_scorer

    cache, space = sweep.places.home.cache, sweep.space
    images = load_images(sweep.data, space, cache, decoding_progress(update))
    update(f"reference of {images.complete} real images by {sweep.scoring.extractor.name}")
    tag_classifier = _untrained_tag_classifier(images) if takes_tags(space) else None
    scorer, _ = sweep_scorer(sweep.scoring, space, images, tag_classifier, near_duplicates(sweep, images), cache)
    return images, scorer


def _untrained_tag_classifier(images: TaggedImages) -> TagClassifier:
    import torch

    from trainables.scoring.tag_classifier.classifier import DEFAULT_SETTINGS, TagClassifier, TagClassifierReport

    sizes = images.vocabulary.sizes
    members = torch.nn.ModuleList(DEFAULT_SETTINGS.network(sizes) for _ in range(DEFAULT_SETTINGS.members))
    network = members.to(memory_format=torch.channels_last).eval()
    size = min(images.size, DEFAULT_SETTINGS.largest_size)
    return TagClassifier(
        network, images.vocabulary, size, DEFAULT_SETTINGS, TagClassifierReport(0, 0, {}, {}, {}, {}, {}, {})
    )


def _measure(context: TrialContext, params: Mapping[str, Any], *, full: bool) -> Benchmark:
    from trainables.storage.storage import Storage
    from trainables.trial.trial import Trial

    with tempfile.TemporaryDirectory(prefix="gansweep-plan-") as folder:
        began = time.perf_counter()
        trial = Trial(context, params, 0, Storage(folder))
        start = time.perf_counter() - began
        update = _seconds_per_update(trial)
        if full:
            _seconds_of_evaluation(trial, 0)  # the first one opens the extractor
        early = _seconds_of_evaluation(trial, 0)
        final = _seconds_of_evaluation(trial, len(context.evaluations) - 1) if full else 0.0
    return Benchmark(update, early, final, start, _peak(context.device))


def _seconds_per_update(trial: Trial) -> float:
    loop, images = trial.loop, images_per_update(trial.config.to_params())
    loop.train_until(WARM_UP * images)
    began = time.perf_counter()
    loop.train_until(loop.images_seen + images)
    count = round(min(MOST, max(LEAST, SECONDS / max(time.perf_counter() - began, 1e-6))))
    began = time.perf_counter()
    loop.train_until(loop.images_seen + count * images)
    return (time.perf_counter() - began) / count


def _seconds_of_evaluation(trial: Trial, place: int) -> float:
    """Time an evaluation: skip the training of the trial's step, so that it only scores and saves."""
    points = trial.context.evaluations
    trial.cost = points[place - 1].kimg if place else 0
    trial.loop.images_seen = points[place].kimg * 1000
    began = time.perf_counter()
    trial.step()
    return time.perf_counter() - began


def images_per_update(params: Mapping[str, Any]) -> int:
    """Count the real images that the discriminator sees in one update."""
    domains = 2 if params["system"] == "cyclegan" else 1  # a batch of each
    return domains * int(params["training.batch_size"]) * int(params["updates.discriminator_steps"])


def _peak(device: str) -> int:
    import torch

    if device.startswith("cuda"):
        return torch.cuda.max_memory_reserved()
    return measure_peak_resident()


if __name__ == "__main__":
    print(json.dumps([asdict(one) for one in measure_here(json.load(sys.stdin))]))
