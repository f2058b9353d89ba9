"""Everything that is prepared once before the first trial: images, placement, tag classifier and scorer."""

from __future__ import annotations

import dataclasses
import functools
import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from rich.console import Console

from analysis.ranking.tag_classifier_check import check_tag_classifier
from pipeline.cluster.node_checks import require_resources
from pipeline.cluster.placement import resolve_placement
from pipeline.console import clock, show_stage
from pipeline.search.compatibility import choose_objectives
from pipeline.search.warm_start import keep_prior
from pipeline.sweep.data_checks import describe_images, require_one_set
from pipeline.sweep.images import decoding_progress, load_images
from pipeline.sweep.initial import describe_initial, keep_initial
from pipeline.sweep.saved_settings import SETTINGS_FILE, require_same_sweep
from pipeline.sweep.scoring import (
    beats_chance,
    describe_tags,
    is_cached,
    prepare_scoring,
    print_scoring,
    read_cascade,
)
from pipeline.sweep.scoring_task import ScoringTask
from trainables.config import GanConfig
from trainables.data.defects import defects_by_kind
from trainables.data.pixel_places import describe_place, place_pixels
from trainables.trial.context import TrialContext

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipeline.cluster.ray_runtime import Node
    from pipeline.resources import Resources
    from pipeline.schedulers.evaluation_schedule import Budget
    from pipeline.settings import SweepSettings
    from pipeline.sweep.resolve import ResolvedSweep, TrialSettings
    from pipeline.tracking.tracker import Tracker
    from trainables.data.dataset import TaggedImages
    from trainables.scoring.scorer import Scorer

VERSIONS = ("gansweep", "torch", "ray", "optuna", "mlflow", "numpy")
"""Packages whose versions ``data.json`` names."""


@dataclass(frozen=True)
class Prepared:
    """A resolved sweep with its data, scorer and resources, as they are before the first trial."""

    sweep: ResolvedSweep
    """Its space has no dimensions that have no effect on its data."""
    settings: SweepSettings
    """The settings with the resources filled in, as they are saved."""
    resources: Resources
    images: TaggedImages
    scoring: ScoringTask
    """The scorer and the scores of real images; maybe still being prepared."""
    objectives: tuple[str, ...]
    """What the search optimizes, if the sweep has no study yet; an existing study decides."""


def prepare(
    sweep: ResolvedSweep, nodes: Sequence[Node], console: Console, *, beside: bool = False, begun: int = 0
) -> Prepared:
    """Load the images, place the trials, train or load the tag classifier, and measure the reference.

    Args:
        sweep: the resolved settings.
        nodes: machines that run the trials.
        console: for progress.
        beside: let another process prepare what the cache does not have, while the first trials train.
        begun: trials that earlier drivers have begun.

    Raises:
        UsageError: options that do not fit the space or the data.
        UserError: data, extractor, cache or resources that cannot be used, or another sweep of this name.
    """
    places = sweep.places
    places.home.require_writable_cache()
    sweep.scoring.extractor.open()  # report mistakes before the name is taken and the tag classifier is trained
    read_cascade(sweep.scoring)
    require_one_set(sweep.space, infinity=sweep.scoring.infinity, mmd=sweep.scoring.mmd)
    with show_stage(console, f"images of {sweep.data.folder}") as update:
        images = load_images(sweep.data, sweep.space, places.home.cache, decoding_progress(update))
    for line in describe_images(images):
        console.print(f"  {line}", markup=False, soft_wrap=True)
    if initial := sweep.training.initial:
        for line in describe_initial(sweep.settings, sweep.space, initial, images):
            console.print(f"  {line}", markup=False, soft_wrap=True)
    for line in sweep.prior.notes if sweep.prior else ():
        console.print(f"  {line}", markup=False, soft_wrap=True)
    if sweep.precision_note:
        console.print(f"  {sweep.precision_note}", markup=False, soft_wrap=True)
    images, pixels = place_pixels(images, sweep.training.pixels, local=places.address is None)
    resources, message = resolve_placement(
        sweep.request,
        nodes,
        sweep.space,
        images,
        precision=sweep.training.precision,
        pixels=pixels,
        cluster=places.address is not None,
    )
    if message:
        console.print(f"  {message}", soft_wrap=True)
    console.print(f"  {describe_place(pixels, images.pixels.nbytes, gpus=resources.gpus > 0)}", soft_wrap=True)
    cluster = nodes if places.address else ()
    require_resources(resources, images.pickled_bytes, places.home.root, cluster, begun=begun)
    sweep, settings = narrow_space(sweep, images), sweep.settings.with_resources(resources)
    sweep = dataclasses.replace(sweep, training=dataclasses.replace(sweep.training, pixels=pixels))
    require_same_sweep(places.folder / SETTINGS_FILE, settings, sweep.space, images, sweep.settings)
    keep_initial(settings, places.folder)
    keep_prior(sweep.prior, places.folder)
    scoring, names = _prepare_scoring(sweep, images, console, beside=beside)
    return Prepared(sweep, settings, resources, images, scoring, names)


def _prepare_scoring(
    sweep: ResolvedSweep, images: TaggedImages, console: Console, *, beside: bool
) -> tuple[ScoringTask, tuple[str, ...]]:
    """Prepare the scoring or start to, and choose the objectives, which may depend on the tag classifier."""
    named = {at: choose_objectives(sweep.settings, sweep.space, at_chance=at) for at in (False, True)}
    if is_cached(sweep, images):
        task = ScoringTask.of(prepare_scoring(sweep, images, console))
    else:
        beside = beside and (named[False] == named[True] or beats_chance(sweep, images))
        settings = dataclasses.replace(sweep.settings, study=None, tracking=None)  # which may hold passwords
        request, quiet = {"settings": settings.to_json(), "fingerprint": images.fingerprint}, Console(quiet=True)
        task = ScoringTask.start(request, lambda: prepare_scoring(sweep, images, quiet))
        if beside:
            console.print("  tag classifier and reference are prepared beside the first trials", soft_wrap=True)
            return task, named[False]
        task.wait(console)
    scoring = task.future.result()
    print_scoring(scoring, images, sweep.scoring.samples, console)
    check = check_tag_classifier(describe_tags(images, scoring.scorer.tag_classifier))
    return task, named[check is not None and check.at_chance]


def narrow_space(sweep: ResolvedSweep, images: TaggedImages) -> ResolvedSweep:
    """Take the choice of extra data out of the space if all images are complete: both values would do the same."""
    if len(images.pixels) > images.complete:
        return sweep
    return dataclasses.replace(sweep, space=sweep.space.without("training.extra_data", False))


def describe_data(prepared: Prepared) -> dict[str, Any]:
    """Build ``data.json`` of the parent run, without what is still being prepared."""
    images, vocabulary = prepared.images, prepared.images.vocabulary
    scoring = prepared.scoring.future.result() if prepared.scoring.ready else None
    return {
        "name": prepared.sweep.data.folder.resolve().name,
        "fingerprint": images.fingerprint,
        "pictures": len(images.pixels),
        "complete": images.complete,
        "partial": len(images.pixels) - images.complete,
        **images.shape_params,
        "fit": prepared.sweep.data.fit,
        "defects": defects_by_kind(images.defects),
        **describe_tags(images, scoring.scorer.tag_classifier if scoring else None),
        "objectives": list(prepared.objectives),
        "vocabulary": vocabulary.to_json(),
        "targets": [vocabulary.names[place] for place in images.target_places],
        "floor": dataclasses.asdict(scoring.floor) if scoring else {},
        "versions": {"python": platform.python_version()} | {name: version(name) for name in VERSIONS},
    }


def scoring_recorder(prepared: Prepared, tracker: Tracker, console: Console) -> Callable[[], None]:
    """Return a function that, at its first call, prints and logs a scoring that was prepared beside the trials."""
    say = functools.partial(console.print, markup=False, soft_wrap=True)

    @functools.cache
    def record() -> None:
        scoring = prepared.scoring.future.result()
        say(f"tag classifier and reference: {clock(prepared.scoring.seconds)} beside the first trials")
        print_scoring(scoring, prepared.images, prepared.sweep.scoring.samples, console)
        tracker.record_scorer(describe_data(prepared), scoring.scorer.fingerprint.to_json())

    return record


def trial_context(
    images: TaggedImages,
    scoring: Scorer | Callable[[], Scorer],
    training: TrialSettings,
    budget: Budget,
    resources: Resources,
    recipe: Mapping[str, Any],
) -> TrialContext:
    """Build the context that all trials share; ``recipe`` is that of the sweep's space."""
    from trainables.training.flops import flops_per_image_of  # imports torch

    timed = GanConfig.from_params({**recipe, **images.shape_params})
    return TrialContext(
        images=images,
        scoring=scoring,
        evaluations=budget.evaluations,
        threads=resources.cpus,
        device="cuda" if resources.gpus else "cpu",
        gpu_share=min(resources.gpus, 1.0),
        max_seconds=budget.trial_seconds,
        checkpoint_seconds=training.checkpoint_seconds,
        failure_rules=training.failure_rules,
        pixels=training.pixels,
        precision=training.precision,
        initial=training.initial,
        recipe_flops=flops_per_image_of(recipe, images) if budget.unit == "flops" else None,
        timed_recipe=timed if budget.unit == "seconds" else None,
    )
