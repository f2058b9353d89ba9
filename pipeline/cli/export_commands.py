"""Run the commands on exports, sample grids and folders of images. Each imports what it needs when it runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from analysis.script import json_text, print_answer
from pipeline.home import Home
from trainables.errors import UsageError

if TYPE_CHECKING:
    from pipeline.cli import options as cli
    from pipeline.evaluate.options import ScoreOptions
    from pipeline.generate.generate import Drawn
    from pipeline.generate.interpolate import Interpolation
    from pipeline.serve.registry import Registration


def export(options: cli.ExportOptions) -> int:
    """Write the winner."""
    from rich.console import Console

    from analysis.ranking.winner import require_minimum
    from pipeline.bundle.manifest import MANIFEST, read_json
    from pipeline.console import show_stage
    from pipeline.export.export import export_trial

    require_minimum(options.min_tag_accuracy)
    home, registration = Home.find(options.home), _registration(options)
    console = Console(stderr=True, highlight=False)
    with show_stage(console, f"export from {options.name}"):
        key = export_trial(
            home,
            options.name,
            options.output,
            options.trial,
            options.tracking,
            half=options.fp16,
            check=None if registration is None else registration.check,
            min_tag_accuracy=options.min_tag_accuracy,
        )
    facts = read_json(options.output / MANIFEST)
    progress = sys.stderr if options.json else sys.stdout
    rule = f": {facts['rule']}" if facts["rule"] else ""
    print(f"exported {key} to {options.output}{rule}", file=progress, flush=True)  # registering takes time and may fail
    registered = None
    if registration is not None:
        with show_stage(console, f"registration of {registration.model}"):
            registered = registration.register(options.output)
        print(registered.summary(), file=progress)
    if options.json:
        about = {name: facts[name] for name in ("sweep", "trial", "run", "rule", "kimg", "scores", "intervals")}
        version = None if registered is None else registered.to_json()
        print(json_text({**about, "output": str(options.output), "registered": version}))
    return 0


def _registration(options: cli.ExportOptions) -> Registration | None:
    """Return the registration that the options ask for, if any."""
    if options.register is not None:
        from analysis.mlflow_reader.connect import open_tracking
        from pipeline.serve.registry import Registration

        client = open_tracking(Home.find(options.home).root, options.tracking)
        return Registration(client, options.register, promote=options.promote, force=options.force)
    for name, is_given in (("--promote", options.promote), ("--force", options.force is not None)):
        if is_given:
            raise UsageError(f"{name} needs --register MODEL")
    return None


def generate(options: cli.GenerateOptions) -> int:
    """Draw from an export."""
    from pipeline.bundle.bundle import Bundle
    from pipeline.console import brief_stages
    from pipeline.generate.generate import draw_panel, generate_images
    from pipeline.generate.image_output import Style
    from pipeline.generate.interpolate import draw_between

    if sum(value is not None for value in (options.tags, options.prompts, options.panel)) > 1:
        raise UsageError("give only one of tags, --prompts FILE and --panel NAME")
    if options.interpolate and (options.prompts or options.panel):
        raise UsageError("--interpolate needs tags and --seed; leave out --prompts and --panel")
    style = Style(options.format, options.upscale, options.truncation)
    numbers: dict[str, Any] = {"count": options.count, "seed": options.seed, "output": options.output, "style": style}
    drawn: Drawn | Interpolation
    with brief_stages()(f"images of {options.bundle}") as progress:
        bundle = Bundle.load(options.bundle, options.backend)
        bundle.require_drawing()
        if options.panel is not None:
            panel = draw_panel(bundle, options.panel, options.seed, options.output, style)
        elif options.interpolate:
            drawn = draw_between(bundle, options.tags, options.interpolate, **numbers)
        else:
            request = options.tags if options.tags is not None else options.prompts
            drawn = generate_images(bundle, request, **numbers, progress=progress)
    if options.panel is not None:
        about = {"output": str(options.output), "panel": options.panel, "pictures": len(panel.labels)}
        print_answer(about, f"drew panel {options.panel} to {options.output}", as_json=options.json)
    else:
        print_answer(drawn.to_json(), drawn.summary(), as_json=options.json)
    return 0


def translate(options: cli.TranslateOptions) -> int:
    """Translate images with an export."""
    from pipeline.bundle.bundle import Bundle
    from pipeline.console import Stages
    from pipeline.generate.translate import translate_files

    bundle = Bundle.load(options.bundle)
    with Stages()(f"{len(options.images)} images") as progress:
        done = translate_files(
            bundle, options.images, options.to, options.output, sheet=options.grid, progress=progress
        )
    print_answer(done.to_json(), done.summary(), as_json=options.json)
    return int(bool(done.bad))


def compare(options: cli.CompareOptions) -> int:
    """Write or serve the page that compares the images of the best trials."""
    from analysis.mlflow_reader.sweep import load
    from analysis.ranking.preference import FILE
    from analysis.ranking.ranking import rank as rank_trials
    from pipeline.compare.comparison import collect_trials, describe_winner, render_page
    from pipeline.compare.server import ComparisonServer
    from pipeline.console import brief_stages
    from trainables.storage.atomic import atomic_write

    if not 2 <= options.top <= 50:
        raise UsageError(f"--top is {options.top}; allowed: 2 to 50")
    if not 0 <= options.port <= 65535:
        raise UsageError(f"--port is {options.port}; allowed: 0 to 65535")
    home = Home.find(options.home)
    with brief_stages()(f"images of {options.name}"):
        ranking = rank_trials(load(options.name, home=home.root, tracking=options.tracking))
        trials, winner = collect_trials(ranking, options.top), describe_winner(ranking)
    if options.output is not None:
        with atomic_write(options.output) as path:
            path.write_text(render_page(options.name, winner, trials, token=None), encoding="utf-8")
        print(f"wrote {options.output}", file=sys.stderr)
        return 0
    folder = home.sweep(options.name)
    folder.mkdir(parents=True, exist_ok=True)
    with ComparisonServer(options.name, winner, trials, folder / FILE, options.port) as server:
        print(f"{server.address} (Ctrl-C stops it)", flush=True)
        if options.open:
            import webbrowser

            webbrowser.open(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print(f"`gansweep rank {options.name} --by preference` ranks by the choices", file=sys.stderr)
    return 0


def gallery(options: cli.GalleryOptions) -> int:
    """Write a page that draws from an export."""
    from pipeline.bundle.bundle import Bundle
    from pipeline.console import brief_stages
    from pipeline.gallery.gallery import write_gallery
    from pipeline.gallery.onnx_web import PACKAGE, user_cache, web_runtime
    from trainables.storage.atomic import require_empty

    require_empty(options.output)
    Bundle.load(options.bundle, "onnx").require_drawing()  # before the runtime is fetched
    home = Home.find(options.home)
    cache = home.cache if options.home is not None or home.root.is_dir() else user_cache()
    stages = brief_stages()
    with stages(f"{PACKAGE}, fetched once"):
        runtime = web_runtime(cache, options.runtime)
    with stages(f"page of {options.bundle}"):
        size = write_gallery(options.bundle, options.output, runtime)
    page = options.output / "index.html"
    about = {"output": str(options.output), "page": str(page), "bytes": size}
    summary = f"wrote {options.output}, {size / 1e6:.1f} MB; open {page} in a browser"
    print_answer(about, summary, as_json=options.json)
    return 0


def score(options: ScoreOptions) -> int:
    """Compare two folders of images."""
    from pipeline.evaluate.evaluate import score_folders
    from pipeline.evaluate.text import format_scores

    found = score_folders(options.request())
    print_answer(found, format_scores(found), as_json=options.json)
    return 0
