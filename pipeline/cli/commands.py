"""Run the commands. Each imports what it needs when it runs, so that ``--help`` and usage errors answer at once."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from analysis.script import json_text, print_answer
from pipeline.home import Home
from trainables.errors import UsageError, UserError

if TYPE_CHECKING:
    from pathlib import Path

    from analysis.mlflow_reader.sweep import Sweep
    from pipeline.cli import options as cli
    from pipeline.plan.options import PlanOptions
    from pipeline.repeats.confirm import RepeatOverrides
    from pipeline.repeats.options import AblateOptions, ConfirmOptions, RepeatOptions
    from pipeline.settings import SweepSettings
    from pipeline.simulate.options import SimulateOptions
    from pipeline.sweep.options import ExtendOptions, ResumeOptions, RunOptions
    from pipeline.sweep.resume import Overrides


def demo(options: cli.DemoOptions) -> int:
    """Run everything once on synthetic faces."""
    from pipeline.cli.demo import run_demo

    return run_demo(options.home)


def data(options: cli.DataOptions) -> int:
    """Inspect or draw a data set."""
    from pipeline.cli.data import inspect_data
    from pipeline.cli.options import InspectOptions
    from pipeline.console import brief_stages
    from trainables.data.synthetic import write_folder

    action = options.action
    if isinstance(action, InspectOptions):
        return inspect_data(action)
    images = action.count + action.partial
    with brief_stages()(f"{images} faces") as progress:
        write_folder(action.folder, action.count, action.seed, action.size, action.partial, progress)
    about = {"folder": str(action.folder), "pictures": images, "complete": action.count, "size": action.size}
    print_answer(about, f"drew {images} faces of {action.size} px in {action.folder}", as_json=action.json)
    return 0


def spaces(options: cli.SpacesOptions) -> int:
    """List the spaces, or describe one."""
    from pipeline.cli.status import describe_space, format_space
    from search_spaces.registry import SPACES, find_space

    if options.name is None:
        listing = {
            name: {"summary": space.summary, "dimensions": len(space.dimensions)} for name, space in SPACES.items()
        }
        rows = [f"{name:20} {about['summary']} ({about['dimensions']} dimensions)" for name, about in listing.items()]
        print_answer(listing, "\n".join(rows), as_json=options.json)
        return 0
    description = describe_space(find_space(options.name))
    print_answer(description, format_space(description), as_json=options.json)
    return 0


def plan(options: PlanOptions) -> int:
    """Estimate what a sweep would cost."""
    from pipeline.cli.settings_file import format_settings
    from pipeline.plan.estimate import make_plan
    from pipeline.plan.text import format_plan

    if options.print_config:
        print(format_settings(options.sweep_settings()), end="")
        return 0
    found = make_plan(options.sweep_settings(), keep=bool(options.name))
    print_answer(found, format_plan(found), as_json=options.json)
    return 0


def run(options: RunOptions) -> int:
    """Run a sweep and show its ranking."""
    from pipeline.cli.settings_file import format_settings

    settings = options.sweep_settings()
    if options.print_config:
        print(format_settings(settings), end="")
        return 0
    return _run_settings(settings)


def _run_settings(settings: SweepSettings) -> int:
    from analysis import schema
    from analysis.rank import RankOptions
    from analysis.rank import run as rank
    from pipeline.cli.status import sweep_status
    from pipeline.console import brief_stages
    from pipeline.sweep.run import run_sweep

    status = run_sweep(settings)
    where = RankOptions(settings.name, home=Home.find(settings.home).root, tracking=settings.tracking)
    sweep = _load(settings.name, where.home, settings.tracking)
    if len(sweep.trials):  # else it was interrupted before the first began
        rank(where, brief_stages())
    found = sweep_status(sweep)
    if status == schema.COMPLETE and not found["best"]:
        frequent = max(found["reasons"], key=found["reasons"].__getitem__, default="no reason known")
        raise UserError(f"none of the {settings.trials} trials was scored; most often: {frequent}")
    if status == schema.INTERRUPTED:
        print(f"interrupted; run the same command to continue, `gansweep rank {settings.name}` ranks the trials so far",
              file=sys.stderr)  # fmt: skip
        return 130
    return 0


def _load(name: str, home: Path | None, tracking: str | None) -> Sweep:
    """Read a sweep, with progress where it takes long."""
    from analysis.mlflow_reader.sweep import load
    from pipeline.console import brief_stages

    with brief_stages()(f"trials of {name}"):
        return load(name, home=home, tracking=tracking)


def resume(options: ResumeOptions) -> int:
    """Continue a sweep and show its ranking."""
    from pipeline.sweep.resume import resume_settings

    return _run_settings(resume_settings(options.name, options.home, **_overrides(options)))


def extend(options: ExtendOptions) -> int:
    """Add trials or budget to a sweep, run them, and show the ranking."""
    from pipeline.sweep.resume import extend_settings

    added: dict[str, Any] = {"trials": options.trials, "max_kimg": options.max_kimg}
    return _run_settings(extend_settings(options.name, options.home, **added, **_overrides(options)))


def _overrides(options: ResumeOptions) -> Overrides:
    """The settings of a sweep that `resume` and `extend` replace."""
    return {
        "tracking": options.tracking, "study": options.study, "data": options.data, "address": options.address,
        "concurrent": options.concurrent, "fuse": options.fuse, "time_limit": options.time_limit,
        "total_kimg": options.total_kimg, "patience": options.patience,
    }  # fmt: skip


def _repeat_overrides(options: RepeatOptions) -> RepeatOverrides:
    """The settings of a sweep that `confirm` and `ablate` replace."""
    return {
        "tracking": options.tracking, "data": options.data, "address": options.address,
        "concurrent": options.concurrent, "time_limit": options.time_limit,
        "min_tag_accuracy": options.min_tag_accuracy,
    }  # fmt: skip


def confirm(options: ConfirmOptions) -> int:
    """Train the best configurations again on fresh seeds, and compare them."""
    from analysis.ranking.ranking import rank
    from analysis.ranking.summary import winner_lines
    from analysis.repeats.confirmation import confirmation
    from analysis.repeats.tables import format_confirmation
    from pipeline.repeats.confirm import run_confirmation

    ran = run_confirmation(
        options.name, options.home, top=options.top, trials=options.trial, seeds=options.seeds,
        max_kimg=options.max_kimg, fuse=options.fuse, **_repeat_overrides(options),
    )  # fmt: skip
    sweep = _load(options.name, ran.home, ran.tracking)
    ranking = rank(sweep, allow_mixed=True, min_tag_accuracy=options.min_tag_accuracy)
    rule = ranking.rule
    found = confirmation(sweep, budget=ran.budget, passing=rule.passing if rule else None)
    if found is None:
        raise _no_score_error(sweep, "confirmation")
    about = {"sweep": options.name, "by": found.by, "budget": found.budget, "best": found.best}
    about |= {"winner": ranking.best, "rule": rule.words if rule else None}
    answer = {**about, "status": ran.status, "seeds": list(found.seeds), "configurations": found.to_json()}
    lines = [f"{label}: {text}" for label, text in winner_lines(ranking).items()]
    print_answer(answer, "\n".join([format_confirmation(found, options.name), *lines]), as_json=options.json)
    return _exit_code(ran.status)


def ablate(options: AblateOptions) -> int:
    """Train the winner without, and the baseline recipe with, one trick at a time, and compare them."""
    from analysis.repeats.confirmation import ablation
    from analysis.repeats.tables import format_ablation
    from pipeline.repeats.ablate import run_ablation

    only = tuple(part.strip() for part in options.only.split(",")) if options.only else ()
    ran = run_ablation(
        options.name, options.home, trial=options.trial, seeds=options.seeds, mode=options.mode, only=only,
        values=options.with_value, max_kimg=options.max_kimg, **_repeat_overrides(options),
    )  # fmt: skip
    sweep = _load(options.name, ran.home, ran.tracking)
    found = ablation(sweep, ran.of, budget=ran.budget)
    if found is None:
        raise _no_score_error(sweep, "ablation")
    about = {"sweep": options.name, "of": found.of, "by": found.by, "budget": found.budget, "status": ran.status}
    answer = {**about, "variants": found.to_json(), "skipped": ran.skipped}
    print_answer(answer, format_ablation(found, ran.skipped), as_json=options.json)
    return _exit_code(ran.status)


def simulate(options: SimulateOptions) -> int:
    """Compare searches on recorded learning curves."""
    from pipeline.simulate.compare import to_json
    from pipeline.simulate.run import run_simulation
    from pipeline.simulate.text import format_comparison

    found = run_simulation(options)
    if options.plot is not None:
        from pipeline.simulate.plot import plot_comparison

        plot_comparison(found, options.name, options.plot)
    print_answer(to_json(found, options.name), format_comparison(found, options.name), as_json=options.json)
    return 0


def _no_score_error(sweep: Sweep, kind: str) -> UserError:
    reasons = sweep.repeats.loc[sweep.repeats["kind"] == kind, "reason"].dropna()
    most_frequent = reasons.mode().iloc[0] if len(reasons) else "no reason known"
    return UserError(f"no run of the {kind} was scored; most often: {most_frequent}")


def _exit_code(status: str) -> int:
    from analysis import schema

    if status == schema.INTERRUPTED:
        print("interrupted; run the same command to continue; the above are the results so far", file=sys.stderr)
        return 130
    return 0


def status(options: cli.StatusOptions) -> int:
    """Count a sweep's trials by state and reason."""
    from analysis.errors import AnalysisError, AnalysisUsageError
    from analysis.ranking.winner import require_minimum
    from pipeline.cli.status import format_status, status_before_tracking, sweep_status
    from pipeline.sweep.saved_settings import SETTINGS_FILE
    from pipeline.sweep_lock import is_locked

    require_minimum(options.min_tag_accuracy)
    home = Home.find(options.home)
    driven = is_locked(home, options.name)
    try:
        sweep = _load(options.name, home.root, options.tracking)
        found = sweep_status(
            sweep, driven=driven or options.tracking is not None, min_tag_accuracy=options.min_tag_accuracy
        )
    except AnalysisError as error:  # MLflow knows no such sweep, or there is no database yet
        settings = home.sweep(options.name) / SETTINGS_FILE
        if not isinstance(error, AnalysisUsageError) and (options.tracking or home.tracking_file.is_file()):
            raise
        before = status_before_tracking(settings, options.tracking, driven=driven) if settings.is_file() else None
        if before is None:
            raise
        found = before
    print_answer(found, format_status(found), as_json=options.json)
    return 0


def list_sweeps(options: cli.ListOptions) -> int:
    """List the sweeps of a home."""
    from pipeline.cli.listing import describe_sweeps, format_sweeps
    from pipeline.console import brief_stages

    home = Home.find(options.home)
    if options.home is not None and options.tracking is None and not home.root.is_dir():
        raise UsageError(f"--home is {options.home}, and there is no such folder; give the --home of your sweeps")
    with brief_stages()("sweeps"):
        found = describe_sweeps(home, options.tracking)
    print_answer({"sweeps": found}, format_sweeps(found), as_json=options.json)
    return 0


def clean(options: cli.CleanOptions) -> int:
    """Remove files that are no longer needed, or a whole sweep."""
    from pipeline.cli.clean import clean_sweep
    from pipeline.console import brief_stages

    if options.all:
        from pipeline.cli.remove import remove_whole_sweep

        return remove_whole_sweep(options)
    for name, is_given in (("--yes", options.yes), ("--study", options.study is not None)):
        if is_given:
            raise UsageError(f"{name} needs --all")
    with brief_stages()(f"files of {options.name}"):
        freed = clean_sweep(
            Home.find(options.home), options.name, options.tracking, keep=options.keep, dry_run=options.dry_run
        )
    word = "would remove" if options.dry_run else "removed"
    about = {"sweep": options.name, "dry_run": options.dry_run, "files": freed.files, "bytes": freed.size}
    summary = f"{word} {len(freed.files)} files, {freed.size / 2**20:.1f} MiB"
    print_answer(about, summary, as_json=options.json)
    return 0


def ui(options: cli.UiOptions) -> int:
    """Serve MLflow's pages on loopback, and open those of a sweep."""
    from pipeline.serve.mlflow_pages import serve_pages

    return serve_pages(Home.find(options.home), options.name, options.port, browse=not options.no_open)


def doctor(options: cli.DoctorOptions) -> int:
    """Check everything that a sweep relies on."""
    from dataclasses import asdict

    from pipeline.cli.doctor import FAILED, run_checks

    checks = []
    places = {name: getattr(options, name) for name in ("storage", "tracking", "study", "address")}
    for check in run_checks(Home.find(options.home), **places):
        checks.append(check)
        if not options.json:  # each at once: a server may be slow to answer
            print(f"{check.status:8} {check.name:9} {check.detail}", flush=True)
    failed = any(check.status == FAILED for check in checks)
    if options.json:
        print(json_text({"ok": not failed, "checks": [asdict(check) for check in checks]}))
    return int(failed)
