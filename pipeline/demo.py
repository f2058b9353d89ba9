"""The whole product on drawn faces, in a few minutes of two cores."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from rich.console import Console

from analysis import schema
from analysis.rank import RankOptions
from analysis.rank import run as rank
from pipeline.bundle import Bundle
from pipeline.export import export_trial
from pipeline.generate import generate_pictures
from pipeline.home import Home
from pipeline.launch import run_sweep
from pipeline.progress import clock
from pipeline.settings import SweepSettings
from trainables.data.synthetic import write_folder

FACES, PARTIAL = 2000, 200
PROMPT = "blue hair red eyes"


def demo_settings(data: Path, home: Home, name: str) -> SweepSettings:
    """A sweep of the AC-GAN's tricks that is small enough for a demonstration."""
    return SweepSettings(
        space="acgan",
        data=data,
        name=name,
        trials=3,
        image_size=32,
        max_kimg=48,
        eval_kimg=16,  # a rung at 5 kimg would judge before any tag is learnt, and pick by who comes there first
        samples=1000,
        set=(
            "optimizer.generator_lr=4e-4",
            "optimizer.discriminator_lr=4e-4",
            "losses.tag_weight=2",
        ),
        fix=(
            "generator.width=16",
            "discriminator.width=32",
            "discriminator.conditioning=acgan",
            "generator.oversize=false",
            "losses.tag_loss_on_fakes=false",
            "updates.generator_steps=1",
            "optimizer.decay=none",
            "training.ema_decay=0.998",
            "training.flip=true",
        ),
        range=(
            "losses.tag_weight=1:4",
            "losses.adversarial_weight=0.5:1",
            "optimizer.generator_lr=2e-4:8e-4",
            "optimizer.discriminator_lr=2e-4:8e-4",
        ),
        home=home.root,
    )


def run_demo(folder: Path | None) -> int:
    """Draw, train, rank, export, generate, and say what to type next."""
    console = Console(stderr=True, highlight=False)
    began = time.monotonic()
    home = Home.find(folder)
    data = home.root / "demo-faces"
    name = _free_name(home)
    if not data.exists():
        with tempfile.TemporaryDirectory(dir=_made(home.root)) as drawing:
            write_folder(Path(drawing, "faces"), FACES, seed=0, size=32, partial=PARTIAL)
            Path(drawing, "faces").rename(data)  # the whole data set or none, also after Ctrl-C
    console.print(f"[bold]1/4[/] {FACES} drawn faces in {data}, {PARTIAL} more with tags missing")
    settings = demo_settings(data, home, name)
    console.print(f"[bold]2/4[/] sweep {name}: {settings.trials} trials of {settings.max_kimg} kimg at most")
    if run_sweep(settings, console) == schema.INTERRUPTED:
        raise KeyboardInterrupt
    console.print("[bold]3/4[/] ranking")
    rank(RankOptions(name, home=home.root))
    winner = home.root / "exports" / name
    key = export_trial(home, name, winner)
    picture = winner.with_suffix(".png")
    generate_pictures(Bundle.load(winner), PROMPT, count=16, seed=0, output=picture)
    console.print(f"[bold]4/4[/] exported {key} in {clock(time.monotonic() - began)}")
    where = "" if folder is None else f" --home {home.root}"
    print(
        f"winner   {winner}\n"
        f"samples  {winner / 'samples.png'}\n"
        f'picture  {picture} ("{PROMPT}")\n\n'
        "next:\n"
        f"  gansweep ui{where}\n"
        f'  gansweep generate {winner} "pink hair green eyes" -o pink.png\n'
        f"  gansweep data inspect YOUR-FOLDER\n"
        f"  gansweep run acgan --data YOUR-FOLDER --name first --trials 12{where}"
    )
    return 0


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _free_name(home: Home) -> str:
    number = 1
    while home.sweep(f"demo-{number}").exists():
        number += 1
    return f"demo-{number}"
