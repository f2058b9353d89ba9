"""What an update and a score of a configuration take here, measured in processes of their own.

As many processes measure the same at once as trials will run at once on this machine, since trials share its memory
and caches. Each trains for a few updates and scores what came of it: nothing is kept.
"""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pipeline.budget import evaluations
from pipeline.home import Home
from pipeline.placement import child_environment
from pipeline.settings import SweepSettings
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainables.data.dataset import TaggedImages
    from trainables.scoring.scorer import Scorer
    from trainables.scoring.tagger import Judge
    from trainables.trial import Trial, TrialContext

WARM_UP = 2
"""Updates before the clock starts: the first ones plan and allocate."""
SECONDS = 1.5
LEAST = 3
MOST = 200
"""Updates are timed for about ``SECONDS``, but so many at least and at most."""
LIMIT = 1800.0
"""Seconds after which measuring is given up."""


@dataclass(frozen=True)
class Measured:
    """Seconds of one configuration, means over the processes that measured at once."""

    update: float
    """One update of both networks, with its steps of each."""
    early: float
    """An evaluation before the end, with everything that is saved then."""
    final: float
    """The evaluation at the end; 0 where only the early one was measured."""
    start: float
    """To build the trial."""
    peak: int
    """Bytes that the process held at most until then: of the GPU, or resident on the CPU."""


def measure_all(
    settings: SweepSettings, configurations: Sequence[Mapping[str, Any]], processes: int, device: str
) -> list[Measured]:
    """Measure configurations, the first with its final evaluation, in so many processes at once.

    Raises:
        UserError: one of the processes failed, e.g. for want of memory.
    """
    request = {"settings": settings.to_json(), "params": list(configurations), "device": device, "share": 1 / processes}
    words = [sys.executable, "-P", "-m", "pipeline.plan.measure"]
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
    return [_mean([Measured(**answer[place]) for answer in answers]) for place in range(len(configurations))]


def _answer(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    try:
        out, err = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired as error:
        raise UserError(f"a few updates and scores of a trial took longer than {LIMIT:.0f} s here") from error
    if process.returncode:
        said = (err.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        raise UserError(f"cannot measure a trial: {said}")
    found: list[dict[str, Any]] = json.loads(out.strip().splitlines()[-1])
    return found


def _mean(same: Sequence[Measured]) -> Measured:
    seconds = {
        name: sum(getattr(one, name) for one in same) / len(same) for name in ("update", "early", "final", "start")
    }
    return Measured(**seconds, peak=max(one.peak for one in same))


# In the process of its own -----------------------------------------------------------------------------------
def measure_here(request: Mapping[str, Any]) -> list[Measured]:
    """Measure in this process; ``request`` is what ``measure_all`` writes."""
    from trainables.trial import TrialContext

    settings, device = SweepSettings.from_json(request["settings"]), request["device"]
    images, scorer = picture_data(settings)
    context = TrialContext(
        images, scorer, evaluations(settings), settings.cpus_per_trial, device,
        gpu_share=request["share"], checkpoint_seconds=LIMIT,
    )  # fmt: skip
    return [_measure(context, params, full=place == 0) for place, params in enumerate(request["params"])]


def picture_data(settings: SweepSettings) -> tuple[TaggedImages, Scorer]:
    """Pictures and scorer as a sweep has them, from the home's cache; an untrained judge takes as long as a trained."""
    from analysis import schema
    from pipeline.study import objectives
    from trainables.config import GanConfig
    from trainables.data.dataset import load_folder
    from trainables.data.duplicates import near_duplicate_groups
    from trainables.scoring.scorer import ExtractorChoice, make_scorer

    cache = Home.find(settings.home).cache
    images = load_folder(
        settings.data, settings.image_size,
        selection=settings.selection(), cache=cache, max_bad_share=settings.max_bad_share,
    )  # fmt: skip
    space = settings.resolve_space()
    judge = _untrained_judge(images) if schema.TAG_ACCURACY in objectives(space) else None
    scorer, _ = make_scorer(
        images, judge,
        extractor=ExtractorChoice(settings.extractor, settings.weights, settings.resize, settings.extractor_precision),
        samples=settings.samples, seed=settings.seed, cache=cache,
        groups=near_duplicate_groups(images.pixels[: images.complete]),
        translates=GanConfig.from_params(space.recipe).translates,
    )  # fmt: skip
    return images, scorer


def _untrained_judge(images: TaggedImages) -> Judge:
    import torch

    from trainables.scoring.tagger import DEFAULT_SETTINGS, Judge, JudgeReport

    sizes = images.vocabulary.sizes
    members = torch.nn.ModuleList(DEFAULT_SETTINGS.network(sizes) for _ in range(DEFAULT_SETTINGS.members))
    network = members.to(memory_format=torch.channels_last).eval()
    size = min(images.size, DEFAULT_SETTINGS.largest_size)
    return Judge(network, images.vocabulary, size, DEFAULT_SETTINGS, JudgeReport(0, 0, {}, {}, {}, {}, {}, {}))


def _measure(context: TrialContext, params: Mapping[str, Any], *, full: bool) -> Measured:
    from trainables.storage import Storage
    from trainables.trial import Trial

    with tempfile.TemporaryDirectory(prefix="gansweep-plan-") as folder:
        began = time.perf_counter()
        trial = Trial(context, params, 0, Storage(folder))
        start = time.perf_counter() - began
        update = _seconds_per_update(trial)
        if full:
            _seconds_of_evaluation(trial, 0)  # the first one opens the extractor
        early = _seconds_of_evaluation(trial, 0)
        final = _seconds_of_evaluation(trial, len(context.evaluations) - 1) if full else 0.0
    return Measured(update, early, final, start, _peak(context.device))


def _seconds_per_update(trial: Trial) -> float:
    loop, images = trial.loop, images_per_update(trial.config.to_params())
    loop.train_until(WARM_UP * images)
    began = time.perf_counter()
    loop.train_until(loop.images + images)
    count = round(min(MOST, max(LEAST, SECONDS / max(time.perf_counter() - began, 1e-6))))
    began = time.perf_counter()
    loop.train_until(loop.images + count * images)
    return (time.perf_counter() - began) / count


def _seconds_of_evaluation(trial: Trial, place: int) -> float:
    """Take the trial to an evaluation without training it: what is left of its step is to score and to save."""
    points = trial.context.evaluations
    trial.kimg = points[place - 1].kimg if place else 0
    trial.loop.images = points[place].kimg * 1000
    began = time.perf_counter()
    trial.step()
    return time.perf_counter() - began


def images_per_update(params: Mapping[str, Any]) -> int:
    """Real pictures that the discriminator sees in one update."""
    return int(params["training.batch_size"]) * int(params["updates.discriminator_steps"])


def _peak(device: str) -> int:
    import torch

    if device.startswith("cuda"):
        return torch.cuda.max_memory_reserved()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    print(json.dumps([asdict(one) for one in measure_here(json.load(sys.stdin))]))
