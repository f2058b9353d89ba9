"""A sweep from settings to its last trial."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from typing import TYPE_CHECKING, Any

from rich.console import Console

from analysis import schema
from analysis.connect import readable_errors
from pipeline.budget import evaluations, rungs
from pipeline.cluster import connected, leaving_a_dead_ray, local_ray
from pipeline.combinations import combination_notes, require_combination
from pipeline.home import Home
from pipeline.hosts import fused_hosts, proxy_trainable
from pipeline.lock import exclusive
from pipeline.outcome import Outcome
from pipeline.ownership import claim_study, require_own_experiment
from pipeline.plan.kept import log_plan
from pipeline.preflight import require_nodes
from pipeline.prepare import Prepared, describe_data, prepare
from pipeline.progress import Progress
from pipeline.recorded import recorded_results
from pipeline.samplers import make_sampler, proposals
from pipeline.schedulers import TO_THE_END, make_scheduler, replay
from pipeline.schedulers.halving import REDUCTION
from pipeline.schedulers.population import Explorer
from pipeline.showcase import Showcase
from pipeline.slot_use import SlotUse
from pipeline.study import StudySearcher, objectives, open_study
from pipeline.termination import ctrl_c_given_back
from pipeline.tracking import Tracker, open_client
from trainables.hopeless import parse_rules
from trainables.trial import TrialContext

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.cluster import Node
    from pipeline.repeats import PlanSearcher
    from pipeline.schedulers.tune import RuleScheduler
    from pipeline.settings import SweepSettings
    from search_spaces.space import Space


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
    given, settings = settings, prepared.settings
    study.sampler = make_sampler(settings.sampler, settings.seed, prepared.space, known=len(study.trials))
    for note in combination_notes(settings, prepared.space):
        console.print(note, soft_wrap=True)
    artifacts = home.artifacts(settings.name) if settings.tracking is None else None
    tracker = Tracker(
        client, home, settings.name, prepared.space, prepared.storage, say, artifacts=artifacts, adopt=settings.adopt
    )
    tracker.start(settings.public(), describe_data(prepared), prepared.scorer.fingerprint.to_json())
    log_plan(tracker, home.sweep(settings.name), given, say)
    searcher = StudySearcher(
        study,
        prepared.space,
        sweep=settings.name,
        trials=proposals(study.sampler, settings.trials),
        seed=settings.seed,
        max_kimg=settings.max_kimg,
        total_kimg=settings.total_kimg,
    )
    going_on = [
        key
        for budget in settings.budgets
        for key in searcher.go_on(budget, 1 if settings.scheduler in TO_THE_END else REDUCTION)
    ]
    for key, ended in searcher.ended():
        tracker.reconcile(key, ended)
    showcase = Showcase(tracker, say)
    showcase.start()
    status, slot_use = schema.INTERRUPTED, SlotUse(settings.slots(), tracker.figures)
    try:
        if searcher.pending:
            scheduler = make_scheduler(settings.scheduler, rungs(settings), settings.max_kimg)
            searcher.failures = scheduler.failures
            scheduler.explore = Explorer(prepared.storage, prepared.space)
            replay(scheduler, recorded_results(tracker.client, tracker.experiment))
            scheduler.rule.readmit(going_on)  # past the budget that they completed
            progress = Progress(searcher.pending, settings.max_kimg, settings.at_once(), console)
            progress.go_on(max(0, proposals(study.sampler, settings.trials) - searcher.pending), tracker.scores)
            run_trials(prepared, settings, searcher, scheduler, tracker, progress, slot_use)
        if not searcher.pending and not searcher.running:
            status = schema.COMPLETE
            if searcher.unused:
                say(f"--total-kimg {settings.total_kimg} is used: {searcher.unused} of the {settings.trials} trials "
                    "do not begin; a larger one goes on")  # fmt: skip
    finally:
        tracker.log_sweep(slot_use.figures())
        tracker.finish(status, Outcome(schema.INTERRUPTED, "the sweep was interrupted"))
        showcase.finish()
    return status


def trial_context(prepared: Prepared, settings: SweepSettings) -> TrialContext:
    """What all trials get, with the budget and the limits of ``settings``."""
    gpus = settings.gpus() or 0.0  # placed() has settled "auto"
    return TrialContext(
        images=prepared.images,
        scorer=prepared.scorer,
        evaluations=evaluations(settings),
        threads=settings.cpus_per_trial,
        device="cuda" if gpus else "cpu",
        gpu_share=min(gpus, 1.0),
        max_seconds=settings.max_trial_seconds,
        checkpoint_seconds=settings.checkpoint_seconds,
        end_hopeless=parse_rules(settings.end_hopeless),
        precision=settings.precision,
    )


@contextlib.contextmanager
def _trainable(prepared: Prepared, settings: SweepSettings) -> Iterator[Any]:
    """What Tune starts for each trial: the trial itself, or a proxy of one in a process of several."""
    from ray import tune

    from trainables.tune import TuneTrial

    context, storage = trial_context(prepared, settings), prepared.storage
    if settings.fused() > 1:
        with fused_hosts(context, storage, settings) as hosts:
            yield proxy_trainable(hosts)
        return
    resources = {"cpu": settings.cpus_per_trial, "gpu": settings.gpus() or 0.0}
    yield tune.with_resources(tune.with_parameters(TuneTrial, context=context, storage=storage), resources)


def run_trials(
    prepared: Prepared,
    settings: SweepSettings,
    searcher: StudySearcher | PlanSearcher,
    scheduler: RuleScheduler,
    tracker: Tracker,
    progress: Progress,
    slot_use: SlotUse | None = None,
) -> None:
    """Let Ray Tune run what the searcher has pending, with the budget and the limits of ``settings``."""
    from ray import tune

    from pipeline.callback import SweepCallback
    from pipeline.deadline import Deadline

    folder = prepared.home.sweep(settings.name)
    tracker.precision, tracker.fused = settings.precision, settings.fused()
    scheduler.failures.fused = settings.fused() > 1
    cores = settings.slots() * settings.cpus_per_trial
    with (
        local_ray(folder, cores),
        tempfile.TemporaryDirectory(prefix="gansweep-tune-") as scratch,
        _trainable(prepared, settings) as trainable,
        progress,
    ):
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=searcher.pending,
                max_concurrent_trials=settings.at_once(),
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=settings.name,
                storage_path=scratch,
                callbacks=[SweepCallback(tracker, progress, settings.max_kimg, prepared.storage, slot_use)],
                verbose=0,
                stop=Deadline(settings.seconds()),
                failure_config=tune.FailureConfig(max_failures=1),  # a node may die under a trial
            ),
        )
        with ctrl_c_given_back(), leaving_a_dead_ray():
            tuner.fit()
