"""Makes docs/example-report.html: a small sweep on drawn faces, its confirmation and ablation, and the report of all.

python docs/make_example.py [FOLDER]

It takes about ten minutes of two cores. What it makes is kept in FOLDER, where one is given; the same command then goes
on, or only writes the page anew.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from analysis.report import ReportOptions
from analysis.report import run as report
from pipeline.repeats.ablate import run_ablation
from pipeline.repeats.confirm import run_confirmation
from pipeline.settings import SweepSettings
from pipeline.sweep.run import run_sweep
from trainables.data.synthetic import write_folder

OUTPUT = Path(__file__).with_name("example-report.html")
NAME = "example"


def main(folder: Path) -> int:
    """Draw, search, confirm, ablate, report."""
    home = folder / "home"
    if not home.exists():
        search(folder / "drawn-faces", home)
    run_confirmation(NAME, home, top=2, seeds=3)
    run_ablation(NAME, home, seeds=3, mode="leave-one-out", max_kimg=2)
    return report(ReportOptions(NAME, OUTPUT, home=home))


def search(data: Path, home: Path) -> None:
    """Run the sweep: enough trials for intervals, of a few kimg each."""
    write_folder(data, 1000, seed=0, size=32)
    run_sweep(
        SweepSettings(
            space="acgan",
            data=data,
            name=NAME,
            trials=32,
            image_size=32,
            max_kimg=6,
            eval_kimg=2,
            samples=256,
            rung_samples=128,
            extractor_precision="bf16",
            gpus_per_trial="0",
            set=("optimizer.generator_lr=6e-4", "optimizer.discriminator_lr=6e-4", "losses.tag_weight=2"),
            fix=(
                "discriminator.conditioning=acgan",
                "discriminator.width=16",
                "generator.oversize=false",
                "generator.embedding_noise=0.1",
                "losses.tag_loss_on_fakes=false",
                "optimizer.beta1=0.5",
                "training.ema_decay=0.99",
                "training.extra_data=false",
                "updates.generator_steps=1",
                "updates.split_discriminator=true",
            ),
            range=(
                "losses.adversarial_weight=0.5:2",
                "losses.tag_weight=0.5:4",
                "optimizer.generator_lr=2e-4:2e-3",
                "optimizer.discriminator_lr=2e-4:2e-3",
            ),
            choices=("generator.width=8,16",),
            home=home,
        )
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(main(Path(sys.argv[1])))
    with tempfile.TemporaryDirectory(prefix="gansweep-example-") as made:
        sys.exit(main(Path(made)))
