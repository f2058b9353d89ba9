"""What each command does. Heavy imports happen inside, so that ``--help`` and mistakes answer at once."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from analysis.script import json_text, print_answer
from pipeline.home import Home
from trainables.errors import UsageError, UserError

if TYPE_CHECKING:
    from analysis.runs import Sweep
    from pipeline import options as given
    from pipeline.plan.options import PlanOptions
    from pipeline.registry import Registration
    from pipeline.settings import SweepSettings


def demo(options: given.DemoOptions) -> int:
    """Run the whole product on drawn faces."""
    from pipeline.demo import run_demo

    return run_demo(options.home)


def data(options: given.DataOptions) -> int:
    """Inspect or draw a data set."""
    from rich.console import Console
    from rich.progress import Progress

    from pipeline.options import InspectOptions
    from trainables.config import GanConfig
    from trainables.data.inspect import format_inspection, inspect_folder
    from trainables.data.selection import Selection
    from trainables.data.synthetic import write_folder

    action = options.action
    if isinstance(action, InspectOptions):
        GanConfig(image_size=action.image_size)  # a size at which nothing trains is refused as by a sweep
        with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
            task = bar.add_task("decoding", total=None)
            report = inspect_folder(
                action.folder,
                action.image_size,
                cache=Home.find(None).cache if Home.find(None).root.is_dir() else None,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
                selection=Selection(action.domain_a, action.domain_b, action.attributes),
            )
        print_answer(report, format_inspection(report), as_json=action.json)
    else:
        write_folder(action.folder, action.count, action.seed, action.size, action.partial)
        pictures = action.count + action.partial
        about = {"folder": str(action.folder), "pictures": pictures, "complete": action.count, "size": action.size}
        print_answer(about, f"drew {pictures} faces of {action.size} px in {action.folder}", as_json=action.json)
    return 0


def spaces(options: given.SpacesOptions) -> int:
    """List the spaces, or describe one."""
    from pipeline.describe import describe_space, format_space
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
    """Say what a sweep would cost."""
    from pipeline.plan.command import make_plan
    from pipeline.plan.show import format_plan

    found = make_plan(options)
    print_answer(found, format_plan(found), as_json=options.json)
    return 0


def run(settings: SweepSettings) -> int:
    """Run a sweep and show its ranking."""
    from analysis import schema
    from analysis.rank import RankOptions
    from analysis.rank import run as rank
    from analysis.runs import load
    from pipeline.describe import sweep_status
    from pipeline.launch import run_sweep

    status = run_sweep(settings)
    where = RankOptions(settings.name, home=Home.find(settings.home).root, tracking=settings.tracking)
    rank(where)
    found = sweep_status(load(settings.name, home=where.home, tracking=settings.tracking))
    if status == schema.COMPLETE and not found["best"]:
        frequent = max(found["reasons"], key=found["reasons"].__getitem__, default="no reason known")
        raise UserError(f"none of the {settings.trials} trials was scored; most often: {frequent}")
    if status == schema.INTERRUPTED:
        print(f"interrupted; the same command goes on, `gansweep rank {settings.name}` works on what is there",
              file=sys.stderr)  # fmt: skip
        return 130
    return 0


def resume(options: given.ResumeOptions) -> int:
    """Go on with a sweep and show its ranking."""
    from pipeline.resume import resumed

    return run(resumed(options))


def extend(options: given.ExtendOptions) -> int:
    """Make a sweep larger, run what was added, and show the ranking."""
    from pipeline.resume import extended

    return run(extended(options))


def confirm(options: given.ConfirmOptions) -> int:
    """Train the best configurations again, and compare them."""
    from analysis.confirmation import confirmation
    from analysis.repeat_table import format_confirmation
    from analysis.runs import load
    from pipeline.confirm import run_confirmation

    ran = run_confirmation(options)
    sweep = load(options.name, home=ran.home, tracking=ran.tracking)
    found = confirmation(sweep, budget=ran.budget)
    if found is None:
        raise UserError(f"no run of the confirmation was scored; most often: {_most_often(sweep, 'confirmation')}")
    about = {"sweep": options.name, "by": found.by, "budget": found.budget, "best": found.best}
    told = {**about, "status": ran.status, "seeds": list(found.seeds), "configurations": found.to_json()}
    print_answer(told, format_confirmation(found, options.name), as_json=options.json)
    return _ended(ran.status)


def ablate(options: given.AblateOptions) -> int:
    """Train the winner without, and the recipe with, one trick at a time, and compare them."""
    from analysis.confirmation import ablation
    from analysis.repeat_table import format_ablation
    from analysis.runs import load
    from pipeline.ablate import run_ablation

    ran = run_ablation(options)
    sweep = load(options.name, home=ran.home, tracking=ran.tracking)
    found = ablation(sweep, ran.of, budget=ran.budget)
    if found is None:
        raise UserError(f"no run of the ablation was scored; most often: {_most_often(sweep, 'ablation')}")
    about = {"sweep": options.name, "of": found.of, "by": found.by, "budget": found.budget, "status": ran.status}
    told = {**about, "variants": found.to_json(), "skipped": ran.skipped}
    print_answer(told, format_ablation(found, ran.skipped), as_json=options.json)
    return _ended(ran.status)


def simulate(options: given.SimulateOptions) -> int:
    """Compare searches on recorded learning curves."""
    from pipeline.simulate.command import run_simulation
    from pipeline.simulate.compare import to_json
    from pipeline.simulate.show import format_comparison, plot_comparison

    found = run_simulation(options)
    if options.plot is not None:
        plot_comparison(found, options.name, options.plot)
    print_answer(to_json(found, options.name), format_comparison(found, options.name), as_json=options.json)
    return 0


def _most_often(sweep: Sweep, kind: str) -> str:
    reasons = sweep.repeats.loc[sweep.repeats["kind"] == kind, "reason"].dropna()
    return str(reasons.mode().iloc[0]) if len(reasons) else "no reason known"


def _ended(status: str) -> int:
    from analysis import schema

    if status == schema.INTERRUPTED:
        print("interrupted; the same command goes on, the above is what is there", file=sys.stderr)
        return 130
    return 0


def status(options: given.StatusOptions) -> int:
    """Count a sweep's trials by state and reason."""
    from analysis.errors import AnalysisUsageError
    from analysis.runs import load
    from pipeline.describe import format_status, status_before_tracking, sweep_status
    from pipeline.lock import in_use
    from pipeline.preflight import SETTINGS_FILE

    home = Home.find(options.home)
    driven = in_use(home, options.name)
    try:
        sweep = load(options.name, home=home.root, tracking=options.tracking)
        found = sweep_status(sweep, driven=driven or options.tracking is not None)
    except AnalysisUsageError:  # MLflow knows no such sweep
        settings = home.sweep(options.name) / SETTINGS_FILE
        before = status_before_tracking(settings, options.tracking, driven=driven) if settings.is_file() else None
        if before is None:
            raise
        found = before
    print_answer(found, format_status(found), as_json=options.json)
    return 0


def clean(options: given.CleanOptions) -> int:
    """Remove what nothing needs."""
    from pipeline.clean import clean_sweep

    freed = clean_sweep(
        Home.find(options.home), options.name, options.tracking, keep=options.keep, dry_run=options.dry_run
    )
    word = "would remove" if options.dry_run else "removed"
    about = {"sweep": options.name, "dry_run": options.dry_run, "files": freed.files, "bytes": freed.size}
    said = f"{word} {len(freed.files)} files, {freed.size / 2**20:.1f} MiB"
    print_answer(about, said, as_json=options.json)
    return 0


def ui(options: given.UiOptions) -> int:
    """Serve MLflow's pages on loopback."""
    import subprocess

    home = Home.find(options.home)
    if not (home.root / "mlflow.db").is_file():
        raise UserError(f"no sweeps in {home.root}; run one first, or give --home")
    if not 1 <= options.port <= 65535:
        raise UsageError(f"--port is {options.port}; allowed: 1 to 65535")
    print(f"http://127.0.0.1:{options.port} (Ctrl-C ends it)", flush=True)
    words = ["server", "--backend-store-uri", home.tracking, "--host", "127.0.0.1", "--port", str(options.port)]
    with subprocess.Popen([sys.executable, "-m", "mlflow", *words]) as server:
        try:
            return server.wait()
        finally:
            server.terminate()  # it hands the signal on to its own processes, which would outlive it


def doctor(options: given.DoctorOptions) -> int:
    """Try everything that a sweep relies on."""
    from dataclasses import asdict

    from pipeline.doctor import FAILED, run_checks

    checks = []
    for check in run_checks(options):
        checks.append(check)
        if not options.json:  # each as soon as it is known: a server may let one wait
            print(f"{check.status:8} {check.name:9} {check.detail}", flush=True)
    failed = any(check.status == FAILED for check in checks)
    if options.json:
        print(json_text({"ok": not failed, "checks": [asdict(check) for check in checks]}))
    return int(failed)


def export(options: given.ExportOptions) -> int:
    """Write the winner."""
    from pipeline.export import export_trial
    from pipeline.manifest import MANIFEST, read_json

    home, registration = Home.find(options.home), _registration(options)
    key = export_trial(
        home,
        options.name,
        options.output,
        options.trial,
        options.tracking,
        half=options.fp16,
        check=None if registration is None else registration.check,
    )
    progress = sys.stderr if options.json else sys.stdout
    print(f"exported {key} to {options.output}", file=progress, flush=True)  # a registration takes time and may fail
    registered = None if registration is None else registration.register(options.output)
    if registered is not None:
        print(registered.summary(), file=progress)
    if options.json:
        facts = read_json(options.output / MANIFEST)
        about = {name: facts[name] for name in ("sweep", "trial", "run", "kimg", "scores", "intervals")}
        version = None if registered is None else registered.to_json()
        print(json_text({**about, "output": str(options.output), "registered": version}))
    return 0


def _registration(options: given.ExportOptions) -> Registration | None:
    """What is to be registered, if anything."""
    if options.register is not None:
        from analysis.connect import open_tracking
        from pipeline.registry import Registration

        client = open_tracking(Home.find(options.home).root, options.tracking)
        return Registration(client, options.register, promote=options.promote, force=options.force)
    for name, given in (("--promote", options.promote), ("--force", options.force is not None)):
        if given:
            raise UsageError(f"{name} is about a registered model; give --register MODEL with it")
    return None


def generate(options: given.GenerateOptions) -> int:
    """Draw from an export."""
    from pipeline.bundle import Bundle
    from pipeline.generate import draw_panel, generate_pictures
    from pipeline.interpolate import draw_between
    from pipeline.picture_files import Style

    if sum(given is not None for given in (options.tags, options.prompts, options.panel)) > 1:
        raise UsageError('give only one of tags, for instance "blue hair red eyes", --prompts FILE and --panel NAME')
    if options.interpolate and (options.prompts or options.panel):
        raise UsageError("--interpolate goes from tags and --seed; leave --prompts and --panel out")
    style = Style(options.format, options.upscale, options.truncation)
    numbers: dict[str, Any] = {"count": options.count, "seed": options.seed, "output": options.output, "style": style}
    bundle = Bundle.load(options.bundle)
    bundle.require_drawing()
    if options.panel is not None:
        panel = draw_panel(bundle, options.panel, options.seed, options.output, style)
        about = {"output": str(options.output), "panel": options.panel, "pictures": len(panel.labels)}
        print_answer(about, f"drew panel {options.panel} to {options.output}", as_json=options.json)
        return 0
    if options.interpolate:
        between = draw_between(bundle, options.tags, options.interpolate, **numbers)
        print_answer(between.to_json(), between.summary(), as_json=options.json)
        return 0
    drawn = generate_pictures(bundle, options.tags if options.tags is not None else options.prompts, **numbers)
    print_answer(drawn.to_json(), drawn.summary(), as_json=options.json)
    return 0


def translate(options: given.TranslateOptions) -> int:
    """Translate pictures with an export."""
    from rich.console import Console
    from rich.progress import Progress

    from pipeline.bundle import Bundle
    from pipeline.translate import translate_files

    bundle = Bundle.load(options.bundle)
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("translating", total=None)
        done = translate_files(
            bundle,
            options.images,
            options.to,
            options.output,
            sheet=options.grid,
            progress=lambda ready, total: bar.update(task, completed=ready, total=total),
        )
    print_answer(done.to_json(), done.summary(), as_json=options.json)
    return int(bool(done.bad))


def gallery(options: given.GalleryOptions) -> int:
    """Write a page that draws from an export."""
    from pipeline.bundle import Bundle
    from pipeline.gallery import write_gallery
    from pipeline.web_runtime import user_cache, web_runtime
    from trainables.files import require_free

    require_free(options.output)
    Bundle.load(options.bundle, "onnx").require_drawing()  # before the runtime is fetched
    home = Home.find(options.home)
    cache = home.cache if options.home is not None or home.root.is_dir() else user_cache()
    size = write_gallery(options.bundle, options.output, web_runtime(cache, options.runtime))
    page = options.output / "index.html"
    about = {"output": str(options.output), "page": str(page), "bytes": size}
    said = f"wrote {options.output}, {size / 1e6:.1f} MB; open {page} in a browser"
    print_answer(about, said, as_json=options.json)
    return 0


def score(options: given.ScoreOptions) -> int:
    """Compare two folders of pictures."""
    from pipeline.score import score_folders
    from pipeline.score_text import format_scores

    found = score_folders(options)
    print_answer(found, format_scores(found), as_json=options.json)
    return 0
