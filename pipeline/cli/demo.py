"""Run everything once on synthetic faces, in a few minutes on two cores."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console

from analysis import schema
from analysis.rank import RankOptions
from analysis.rank import run as rank
from pipeline.bundle.bundle import Bundle
from pipeline.console import clock
from pipeline.export.export import export_trial
from pipeline.generate.generate import generate_images
from pipeline.home import Home
from pipeline.settings import SweepSettings
from pipeline.sweep.run import run_sweep
from trainables.data.synthetic import write_folder
from trainables.storage.atomic import atomic_directory

if TYPE_CHECKING:
    from pathlib import Path

FACES, PARTIAL = 2000, 200
PROMPT = "blue hair red eyes"


def demo_settings(data: Path, home: Home, name: str) -> SweepSettings:
    """Return settings of a sweep of ``search_spaces.demo`` that takes minutes on two cores."""
    return SweepSettings(
        space="search_spaces.demo:DEMO",
        data=data,
        name=name,
        trials=3,
        image_size=32,
        max_kimg=36,
        eval_kimg=12,  # at a rung of 5 kimg no trial has learnt any tag
        samples=1000,
        home=home.root,
    )


def run_demo(folder: Path | None) -> int:
    """Draw data, run a sweep, rank, export, generate images, and print the next commands."""
    console = Console(stderr=True, highlight=False)
    began = time.monotonic()
    home = Home.find(folder)
    data = home.root / "demo-faces"
    name = _free_name(home)
    if not data.exists():
        with atomic_directory(data) as faces:  # atomic, also after Ctrl-C
            write_folder(faces, FACES, seed=0, size=32, partial=PARTIAL)
    console.print(f"[bold]1/4[/] {FACES} synthetic faces in {data}, and {PARTIAL} with missing tags")
    settings = demo_settings(data, home, name)
    console.print(f"[bold]2/4[/] sweep {name}: {settings.trials} trials of at most {settings.max_kimg} kimg")
    if run_sweep(settings, console) == schema.INTERRUPTED:
        raise KeyboardInterrupt
    console.print("[bold]3/4[/] ranking")
    rank(RankOptions(name, home=home.root))
    winner = home.root / "exports" / name
    key = export_trial(home, name, winner)
    image = winner.with_suffix(".png")
    generate_images(Bundle.load(winner), PROMPT, count=16, seed=0, output=image)
    console.print(f"[bold]4/4[/] exported {key} in {clock(time.monotonic() - began)}")
    where = "" if folder is None else f" --home {home.root}"
    print(
        f"winner   {winner}\n"
        f"samples  {winner / 'samples.png'}\n"
        f'images   {image} ("{PROMPT}")\n\n'
        "next:\n"
        f"  gansweep ui{where}\n"
        f'  gansweep generate {winner} "pink hair green eyes" -o pink.png\n'
        f"  gansweep data inspect YOUR-FOLDER\n"
        f"  gansweep run lightgan --data YOUR-FOLDER --name first --trials 12{where}"
    )
    return 0


def _free_name(home: Home) -> str:
    number = 1
    while home.sweep(f"demo-{number}").exists():
        number += 1
    return f"demo-{number}"
