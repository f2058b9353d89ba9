"""A sweep from settings to its last trial."""

from __future__ import annotations

import contextlib
import functools
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from analysis import schema
from analysis.connect import readable_errors
from pipeline.cluster import connected, local_ray, this_machine
from pipeline.combinations import combination_notes, require_combination
from pipeline.home import Home
from pipeline.lock import exclusive
from pipeline.outcome import Outcome
from pipeline.ownership import claim_study, require_own_experiment
from pipeline.placement import placed
from pipeline.preflight import SETTINGS_FILE, require_nodes, require_resources, require_same_sweep
from pipeline.progress import Progress, clock
from pipeline.recorded import recorded_results
from pipeline.samplers import make_sampler, proposals
from pipeline.schedulers import make_scheduler, replay
from pipeline.study import StudySearcher, objectives, open_study
from pipeline.tracking import Tracker, open_client
from trainables.data.dataset import TaggedImages, load_folder
from trainables.data.defects import defects_by_kind
from trainables.data.duplicates import near_duplicate_groups
from trainables.scoring.features import open_extractor
from trainables.scoring.scorer import Scorer, make_scorer
from trainables.scoring.tagger import Judge, cached_judge
from trainables.trial import TrialContext

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.cluster import Node
    from pipeline.settings import SweepSettings
    from search_spaces.space import Space
    from trainables.storage import Storage


@dataclass(frozen=True)
class Prepared:
    """Everything that is fixed before the first trial."""

    settings: SweepSettings
    home: Home
    space: Space
    images: TaggedImages
    judge: Judge | None
    """None where the space is unconditional."""
    scorer: Scorer

    @property
    def folder(self) -> Path:
        """The sweep's own folder in the home."""
        return self.home.sweep(self.settings.name)

    @property
    def storage(self) -> Storage:
        """Where the trials keep their files."""
        return self.home.storage(self.settings.name, self.settings.storage)


def run_sweep(settings: SweepSettings, console: Console | None = None) -> str:
    """Run a sweep, or go on with an unfinished one of the same settings.

    Returns:
        Its status: complete or interrupted.

    Raises:
        UserError: settings, data, tracking or resources that do not allow it.
    """
    home = Home.find(settings.home)
    space = settings.resolve_space()
    require_combination(settings, space)
    with exclusive(home, settings.name), connected(settings.address) as nodes:
        nodes = require_nodes(nodes, home.storage(settings.name, settings.storage))
        return _run(settings, home, space, nodes, console or Console(stderr=True, highlight=False))


def _run(settings: SweepSettings, home: Home, space: Space, nodes: tuple[Node, ...], console: Console) -> str:
    for name, value in settings.moved(space).items():
        console.print(f"the recipe's {name} moves from {value} to {space.recipe[name]}, to lie inside the space")
    client, url = open_client(home, settings.tracking), settings.study or home.study
    with readable_errors(settings.tracking or home.tracking):
        require_own_experiment(client, home, settings.name, adopt=settings.adopt)
    say = functools.partial(console.print, markup=False, soft_wrap=True)
    study = open_study(url, settings.name, objectives(space).values(), say=say)
    claim_study(study, home, url, adopt=settings.adopt)
    prepared = prepare(settings, home, space, console, nodes)
    settings = prepared.settings
    study.sampler = make_sampler(settings.sampler, settings.seed, prepared.space, known=len(study.trials))
    for note in combination_notes(settings, prepared.space):
        console.print(note, soft_wrap=True)
    artifacts = home.artifacts(settings.name) if settings.tracking is None else None
    tracker = Tracker(
        client, home, settings.name, prepared.space, prepared.storage, say, artifacts=artifacts, adopt=settings.adopt
    )
    tracker.start(settings.public(), describe_data(prepared), prepared.scorer.fingerprint.to_json())
    searcher = StudySearcher(
        study,
        prepared.space,
        sweep=settings.name,
        trials=proposals(study.sampler, settings.trials),
        seed=settings.seed,
        max_kimg=settings.max_kimg,
        folder=prepared.folder,
    )
    for key, ended in searcher.ended():
        tracker.reconcile(key, ended)
    status = schema.INTERRUPTED
    try:
        if searcher.pending:
            _tune(prepared, searcher, tracker, console)
        if not searcher.pending and not searcher.running:
            status = schema.COMPLETE
    finally:
        tracker.finish(status, Outcome(schema.INTERRUPTED, "the sweep was interrupted"))
    return status


def prepare(
    settings: SweepSettings, home: Home, space: Space, console: Console, nodes: tuple[Node, ...] = ()
) -> Prepared:
    """Load the pictures, decide how many trials run at once, train or find the judge, measure the reference."""
    # Workers stand in another folder.
    weights = settings.weights.resolve() if settings.weights is not None else None
    open_extractor(settings.extractor, weights)  # a mistake shows before the name is taken and the judge trained
    with _stage(console, f"pictures of {settings.data}"):
        images = load_folder(settings.data, settings.image_size, cache=home.cache, max_bad_share=settings.max_bad_share)
    for kind, names in defects_by_kind(images.defects).items():
        console.print(
            f"  {len(names)} {kind}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}", soft_wrap=True
        )
    settings, told = placed(settings, nodes or (this_machine(),), space, images)
    if told:
        console.print(f"  {told}", soft_wrap=True)
    require_resources(settings, images.pixels.nbytes, home.root, nodes if settings.address else ())
    if len(images.pixels) == images.complete:
        # Without partially tagged pictures the two choices would be the same configuration twice.
        space = space.without("training.extra_data", False)
    require_same_sweep(home.sweep(settings.name) / SETTINGS_FILE, settings, space, images.fingerprint)
    judge = _judge(images, home, console) if schema.TAG_ACCURACY in objectives(space) else None
    with _stage(console, f"reference of {images.complete} real pictures by {settings.extractor}"):
        scorer = make_scorer(
            images,
            judge,
            extractor=settings.extractor,
            weights=weights,
            samples=settings.samples,
            seed=settings.seed,
            cache=home.cache,
        )
    return Prepared(settings, home, space, images, judge, scorer)


def _judge(images: TaggedImages, home: Home, console: Console) -> Judge:
    with _stage(console, "judge of the tags, from real pictures only") as update:
        complete = slice(0, images.complete)
        judge = cached_judge(
            home.cache,
            images.fingerprint,
            images.pixels[complete],
            images.labels[complete],
            images.vocabulary,
            groups=near_duplicate_groups(images.pixels[complete]),
            progress=lambda share, text: update(f"judge: {share:.0%} {text}"),
        )
    shares = ", ".join(f"{name} {share:.1%}" for name, share in judge.report.accuracy.items() if share is not None)
    console.print(f"  right on {judge.report.held_out} held-out real pictures: {shares}", soft_wrap=True)
    return judge


def describe_data(prepared: Prepared) -> dict[str, Any]:
    """What ``data.json`` on the parent run says."""
    images, vocabulary = prepared.images, prepared.images.vocabulary
    return {
        "name": prepared.settings.data.resolve().name,
        "fingerprint": images.fingerprint,
        "pictures": len(images.pixels),
        "complete": images.complete,
        "partial": len(images.pixels) - images.complete,
        "image_size": images.size,
        "defects": defects_by_kind(images.defects),
        "counts": {
            group.name: dict(zip(group.classes, images.counts(group.name).tolist(), strict=True))
            for group in vocabulary.groups
        },
        "combinations": _combinations(images),
        "vocabulary": vocabulary.to_json(),
        "judge": prepared.judge.report.to_json() if prepared.judge else {},
    }


def _combinations(images: TaggedImages) -> list[dict[str, Any]]:
    """Every tag combination of the complete pictures with its count: the distribution generators are asked for."""
    rows, counts = np.unique(images.labels[: images.complete], axis=0, return_counts=True)
    return [{"labels": row.tolist(), "count": int(count)} for row, count in zip(rows, counts, strict=True)]


def _tune(prepared: Prepared, searcher: StudySearcher, tracker: Tracker, console: Console) -> None:
    """Let Ray Tune run the trials that are still to be run."""
    from ray import tune

    from pipeline.callback import SweepCallback
    from trainables.tune import TuneTrial

    settings, folder = prepared.settings, prepared.folder
    gpus = settings.gpus() or 0.0  # placed() has settled "auto"
    context = TrialContext(
        images=prepared.images,
        scorer=prepared.scorer,
        max_kimg=settings.max_kimg,
        eval_kimg=settings.eval_kimg,
        threads=settings.cpus_per_trial,
        device="cuda" if gpus else "cpu",
        gpu_share=min(gpus, 1.0),
        max_seconds=settings.max_trial_seconds,
        checkpoint_seconds=settings.checkpoint_seconds,
    )
    scheduler = make_scheduler(settings.scheduler, settings.max_kimg, settings.eval_kimg)
    replay(scheduler, recorded_results(tracker.client, tracker.experiment))
    trials = searcher.pending
    cores = settings.slots() * settings.cpus_per_trial
    with local_ray(folder, cores), tempfile.TemporaryDirectory(prefix="gansweep-tune-") as scratch:
        trainable = tune.with_resources(
            tune.with_parameters(TuneTrial, context=context, storage=prepared.storage),
            {"cpu": settings.cpus_per_trial, "gpu": gpus},
        )
        with Progress(trials, settings.max_kimg, settings.slots(), console) as progress:
            tuner = tune.Tuner(
                trainable,
                tune_config=tune.TuneConfig(
                    search_alg=searcher,
                    scheduler=scheduler,
                    num_samples=trials,
                    max_concurrent_trials=settings.slots(),
                    reuse_actors=True,
                    time_budget_s=settings.seconds(),
                ),
                run_config=tune.RunConfig(
                    name=settings.name,
                    storage_path=scratch,
                    callbacks=[SweepCallback(tracker, progress, settings.max_kimg, prepared.storage)],
                    verbose=0,
                    failure_config=tune.FailureConfig(max_failures=1),  # a node may die under a trial
                ),
            )
            tuner.fit()


@contextlib.contextmanager
def _stage(console: Console, text: str) -> Iterator[Any]:
    """One line per stage, with a spinner while it lasts on a terminal."""
    began = time.monotonic()
    with console.status(text) as status:
        yield status.update
    console.print(f"{text}: {clock(time.monotonic() - began)}", soft_wrap=True)
