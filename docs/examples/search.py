"""Search on synthetic faces, and print what won and why: python docs/examples/search.py FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

from gansweep import SweepSettings, load, rank, run_sweep
from trainables.data.synthetic import write_folder


def main(settings: SweepSettings) -> str:
    """Run the sweep, or continue it, and return the key of the winner."""
    run_sweep(settings)
    ranking = rank(load(settings.name, home=settings.home))
    print(ranking.trials[["rank", "key", "scores.distance", "scores.tag_accuracy", "kimg", "status"]])
    print(f"winner: {ranking.best}, {ranking.rule.words if ranking.rule else 'lowest distance'}")
    return ranking.winner["key"]  # type: ignore[no-any-return]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    if not (folder / "faces").exists():
        write_folder(folder / "faces", 1000, seed=0, size=32)
    main(
        SweepSettings(
            space="acgan",
            data=folder / "faces",
            name="example",
            trials=6,
            image_size=32,
            max_kimg=6,
            samples=512,
            home=folder / "home",
            fix={"generator.width": 16, "discriminator.width": 16},
        )
    )
