"""Makes docs/example-report.html: a small sweep on drawn faces and its report, in a few minutes of two cores.

python docs/make_example.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from analysis.report import ReportOptions
from analysis.report import run as report
from pipeline.launch import run_sweep
from pipeline.settings import SweepSettings
from trainables.data.synthetic import write_folder

OUTPUT = Path(__file__).with_name("example-report.html")


def main() -> int:
    """Draw, search, report."""
    with tempfile.TemporaryDirectory(prefix="gansweep-example-") as folder:
        data, home = Path(folder, "drawn-faces"), Path(folder, "home")
        write_folder(data, 1000, seed=0, size=32)
        run_sweep(
            SweepSettings(
                space="acgan",
                data=data,
                name="example",
                trials=14,
                image_size=32,
                max_kimg=18,
                samples=512,
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
        return report(ReportOptions("example", OUTPUT, home=home))


if __name__ == "__main__":
    sys.exit(main())
