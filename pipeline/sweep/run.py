"""Run a sweep from its settings to its last trial."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import tempfile
from typing import TYPE_CHECKING, Any

from rich.console import Console

from analysis import schema
from analysis.mlflow_reader.connect import readable_errors
from analysis.ranking.sweep_rule import expected_accuracy
from pipeline.cluster.node_checks import require_nodes
from pipeline.cluster.ray_runtime import connect_cluster, local_ray
from pipeline.home import Home
from pipeline.schedulers import NON_STOPPING, choose_scheduler
from pipeline.schedulers.patience import describe_patience, make_patience
from pipeline.schedulers.population_based import PbtExploiter
from pipeline.schedulers.successive_halving import REDUCTION
from pipeline.search.compatibility import combination_notes, require_combination
from pipeline.search.samplers import make_sampler, proposals
from pipeline.search.study import has_study, name_objectives, objectives, open_study, study_objectives
from pipeline.signals import restore_ctrl_c
from pipeline.sweep.prepare import Prepared, describe_data, prepare, scoring_recorder, trial_context
from pipeline.sweep.resolve import resolve_sweep
from pipeline.sweep.saved_plan import log_plan
from pipeline.sweep.saved_settings import SETTINGS_FILE, keep_automatic
from pipeline.sweep_lock import lock_sweep
from pipeline.tracking.client import open_client
from pipeline.tracking.ownership import claim_study, require_own_experiment
from pipeline.tracking.progress import Progress
from pipeline.tracking.recorded_results import recorded_results
from pipeline.tracking.slot_utilization import SlotUtilization
from pipeline.tracking.sweep_page import SweepPage
from pipeline.tracking.tracker import Tracker
from pipeline.trial_status import TrialEnd
from pipeline.tune_adapters.fused_actors import fused_hosts, proxy_trainable
from pipeline.tune_adapters.late_scorer import provide_scorer
from pipeline.tune_adapters.scheduler import make_scheduler, replay
from pipeline.tune_adapters.study_searcher import StudySearcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from analysis.ranking.winner import Expected
    from pipeline.search.study import StoredStudy
    from pipeline.settings import SweepSettings
    from pipeline.sweep.resolve import ResolvedSweep
    from pipeline.tune_adapters.scheduler import RuleScheduler
    from pipeline.tune_adapters.trial_searcher import TrialSearcher

    Say = Callable[[str], None]

INTERRUPTED_TRIAL = TrialEnd(schema.INTERRUPTED, "the sweep was interrupted")


def run_sweep(settings: SweepSettings, console: Console | None = None) -> str:
    """Run a sweep, or continue an unfinished one of the same settings.

    Args:
        settings: of the sweep.
        console: for progress; default: stderr.

    Returns:
        ``complete`` or ``interrupted``.

    Raises:
        UsageError: settings that do not work together.
        UserError: data, tracking or resources that cannot be used, the name of another sweep, or a full disk.
    """
    console = console or Console(stderr=True, highlight=False)
    say = functools.partial(console.print, markup=False, soft_wrap=True)
    sweep = resolve_sweep(keep_automatic(settings, Home.find(settings.home).sweep(settings.name) / SETTINGS_FILE))
    require_combination(sweep.settings, sweep.space)
    with lock_sweep(sweep.places.home, sweep.name), connect_cluster(sweep.places.address) as nodes:
        nodes = require_nodes(nodes, sweep.places.storage)
        study = _claim_sweep(sweep, say)
        begun = len(study.trials) if study else 0
        # To judge the trials of earlier drivers, these need the accuracy of the tag classifier.
        beside = not (begun and (sweep.settings.patience or sweep.settings.sampler == "prior"))
        prepared = prepare(sweep, nodes, console, beside=beside, begun=begun)
        with contextlib.closing(prepared.scoring):
            return _run_prepared(study, prepared, console)


def _run_prepared(study: StoredStudy | None, prepared: Prepared, console: Console) -> str:
    say = functools.partial(console.print, markup=False, soft_wrap=True)
    study, prepared = _begin_study(study, prepared, say)
    late = not prepared.scoring.ready
    tracker = _start_tracker(prepared, say, late=late)
    with _interrupting_on_error(tracker):
        log_plan(tracker, prepared.sweep.places.folder, prepared.sweep.settings, say)
        searcher, continued = _resume_search(study, prepared, tracker, say)
    record = scoring_recorder(prepared, tracker, console) if late else None
    with _finishing(prepared, searcher, tracker, say) as slot_use:
        if searcher.pending:
            scheduler = _resume_scheduler(prepared, tracker, continued)
            progress = _resume_progress(prepared, searcher, tracker, console)
            run_trials(prepared, searcher, scheduler, tracker, progress, slot_use, record)
            prepared.scoring.raise_failure()
    searcher.failures.require_disk(prepared.sweep.name)
    return _status(searcher)


def _claim_sweep(sweep: ResolvedSweep, say: Say) -> StoredStudy | None:
    """Check that the experiment is this home's, and claim the study if there is one, before anything takes long."""
    home, adopt = sweep.places.home, sweep.settings.adopt
    for name, value in sweep.settings.clamped_defaults(sweep.space).items():
        say(f"the recipe's {name} is changed from {value} to {sweep.space.recipe[name]}, to lie in the space")
    client = open_client(home, sweep.places.tracking)
    with readable_errors(sweep.places.tracking or home.tracking):
        require_own_experiment(client, home, sweep.name, adopt=adopt)
    return _claim_study(sweep, schema.OBJECTIVES, say) if has_study(sweep.places.study, sweep.name) else None


def _claim_study(sweep: ResolvedSweep, names: Iterable[str], say: Say) -> StoredStudy:
    """Open and claim the study, which is created with these objectives if it does not exist."""
    places = sweep.places
    study = open_study(places.study, sweep.name, [schema.OBJECTIVES[name] for name in names], say=say)
    claim_study(study, places.home, places.study, adopt=sweep.settings.adopt)
    name_objectives(study, study_objectives(study))
    return study


def _begin_study(study: StoredStudy | None, prepared: Prepared, say: Say) -> tuple[StoredStudy, Prepared]:
    """Create the study if there is none, and record in ``prepared`` which objectives it has."""
    sweep = prepared.sweep
    study = study or _claim_study(sweep, prepared.objectives, say)
    names = tuple(study_objectives(study))
    if len(names) < len(objectives(sweep.space, sweep.settings.objectives)):
        say(f"the search uses distance alone; --objectives {','.join(schema.OBJECTIVES)} uses tag accuracy, too")
    return study, dataclasses.replace(prepared, objectives=names)


def _start_tracker(prepared: Prepared, say: Say, *, late: bool) -> Tracker:
    """Describe the sweep in MLflow, without its scores if these are prepared ``late``, beside the trials."""
    sweep, places = prepared.sweep, prepared.sweep.places
    tracker = Tracker(
        open_client(places.home, places.tracking),
        places.home,
        sweep.name,
        sweep.space,
        places.storage,
        say,
        artifacts=places.artifacts,
        adopt=sweep.settings.adopt,
    )
    scheduler = choose_scheduler(sweep.settings.scheduler, prepared.objectives)
    fingerprint = None if late else prepared.scoring.future.result().scorer.fingerprint.to_json()
    tracker.start({**prepared.settings.public(), "scheduler": scheduler}, describe_data(prepared), fingerprint)
    return tracker


@contextlib.contextmanager
def _interrupting_on_error(tracker: Tracker) -> Iterator[None]:
    """Close the sweep's run as interrupted if its search cannot be resumed."""
    try:
        yield
    except BaseException:
        tracker.finish(schema.INTERRUPTED, INTERRUPTED_TRIAL)
        raise


def _resume_search(
    study: StoredStudy, prepared: Prepared, tracker: Tracker, say: Say
) -> tuple[StudySearcher, list[str]]:
    """Make the searcher, and bring the tracker up to date with the study.

    Returns:
        The searcher, and the keys of the trials that an extended sweep continues with a larger budget.
    """
    sweep, settings = prepared.sweep, prepared.settings

    def expected() -> Expected:
        return expected_accuracy(describe_data(prepared))

    study.sampler = make_sampler(
        settings.sampler,
        settings.seed,
        sweep.space,
        len(study.trials),
        settings.prior_confidence,
        sweep.prior,
        min_tag_accuracy=settings.min_tag_accuracy,
        expected=expected,
        samples=settings.samples,
    )
    for note in combination_notes(settings, sweep.space):
        say(note)
    searcher = StudySearcher(
        study,
        sweep.space,
        sweep=sweep.name,
        trials=proposals(study.sampler, settings.trials),
        seed=settings.seed,
        max_kimg=sweep.budget.max_kimg,
        total_kimg=sweep.budget.total_kimg,
        patience=make_patience(settings, expected),
    )
    reduction = 1 if settings.scheduler in NON_STOPPING else REDUCTION
    continued = [key for budget in sweep.budget.earlier for key in searcher.continue_best(budget, reduction)]
    for key, ended in searcher.ended():
        tracker.reconcile(key, ended)
    return searcher, continued


def _resume_scheduler(prepared: Prepared, tracker: Tracker, continued: list[str]) -> RuleScheduler:
    """Make the scheduler, and replay the recorded results in it."""
    sweep = prepared.sweep
    name = choose_scheduler(prepared.settings.scheduler, prepared.objectives)
    scheduler = make_scheduler(name, sweep.budget.rungs, sweep.budget.max_kimg)
    scheduler.explore = PbtExploiter(sweep.places.storage, sweep.space)
    replay(scheduler, recorded_results(tracker.client, tracker.experiment))
    scheduler.rule.clear_stops(continued)  # they have completed the budget at which the rule stopped them
    return scheduler


def _resume_progress(prepared: Prepared, searcher: StudySearcher, tracker: Tracker, console: Console) -> Progress:
    at_once = prepared.resources.trials_at_once
    progress = Progress(searcher.pending, prepared.sweep.budget.max_kimg, at_once, console)
    progress.resume(max(0, searcher.trials - searcher.pending), tracker.scores)
    return progress


@contextlib.contextmanager
def _finishing(prepared: Prepared, searcher: StudySearcher, tracker: Tracker, say: Say) -> Iterator[SlotUtilization]:
    """Keep the sweep's page up to date while trials run, and close the sweep's run however they end."""
    page, slot_use = SweepPage(tracker, say), SlotUtilization(prepared.resources.slots, tracker.figures)
    page.start()
    status = schema.INTERRUPTED
    try:
        yield slot_use
        status = _status(searcher)
        if status == schema.COMPLETE and searcher.unused and searcher.patience and searcher.patience.exhausted:
            say(describe_patience(searcher.patience, prepared.settings, len(searcher.objectives)))
        elif status == schema.COMPLETE and searcher.unused:
            say(f"--total-kimg {prepared.sweep.budget.total_kimg} is used: {searcher.unused} of the "
                f"{prepared.settings.trials} trials do not start; give a larger one to continue")  # fmt: skip
    finally:
        tracker.log_sweep(slot_use.figures())
        tracker.finish(status, INTERRUPTED_TRIAL)
        page.finish()


def _status(searcher: TrialSearcher) -> str:
    return schema.INTERRUPTED if searcher.pending or searcher.running else schema.COMPLETE


def run_trials(
    prepared: Prepared,
    searcher: TrialSearcher,
    scheduler: RuleScheduler,
    tracker: Tracker,
    progress: Progress,
    slot_use: SlotUtilization | None = None,
    on_scores: Callable[[], None] | None = None,
) -> None:
    """Run the pending trials of a searcher with Ray Tune, within the budget and the resources of ``prepared``.

    ``on_scores`` is called before scores are logged.
    """
    from ray import tune

    from pipeline.tune_adapters.callback import SweepCallback
    from pipeline.tune_adapters.time_limit import TimeLimitStopper

    places, budget, resources = prepared.sweep.places, prepared.sweep.budget, prepared.resources
    tracker.precision, tracker.fused = prepared.sweep.training.precision, resources.fused
    progress.beside, prepared.scoring.listen = prepared.scoring.progress, progress.show
    searcher.failures, scheduler.failures.fused = scheduler.failures, resources.fused > 1
    with (
        local_ray(places.folder, resources.slots * resources.cpus),
        tempfile.TemporaryDirectory(prefix="gansweep-tune-") as scratch,
        _trainable(prepared) as trainable,
        progress,
    ):
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=searcher.pending,
                max_concurrent_trials=resources.trials_at_once,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=prepared.sweep.name,
                storage_path=scratch,
                callbacks=[SweepCallback(tracker, progress, budget.max_kimg, places.storage, slot_use, on_scores)],
                verbose=0,
                stop=TimeLimitStopper(budget.seconds),
                failure_config=tune.FailureConfig(max_failures=1),  # a node may die under a trial
            ),
        )
        with restore_ctrl_c():
            tuner.fit()


@contextlib.contextmanager
def _trainable(prepared: Prepared) -> Iterator[Any]:
    """Provide the trainable of each trial: the trial itself, or the proxy of a fused one."""
    from ray import tune

    from pipeline.tune_adapters.reported_errors import report_errors
    from trainables.trial.ray_trainable import TuneTrial

    sweep, resources, storage = prepared.sweep, prepared.resources, prepared.sweep.places.storage
    with provide_scorer(prepared.scoring.future) as scoring:
        context = trial_context(prepared.images, scoring, sweep.training, sweep.budget, resources, sweep.space.recipe)
        if resources.fused > 1:
            with fused_hosts(context, storage, resources) as hosts:
                yield proxy_trainable(hosts)
            return
        with_context = tune.with_parameters(report_errors(TuneTrial), context=context, storage=storage)
        yield tune.with_resources(with_context, {"cpu": resources.cpus, "gpu": resources.gpus})
