"""Share of a sweep's training time that its slowest trials take, with equal operations and with equal images.

    python -m benchmarks.slowest_trials SWEEP [--home DIR] [--share 0.1]

The sweep must have run with ``--budget flops`` and ``--scheduler none``. With equal operations the seconds of training
are those that the complete trials took; with equal images each takes its seconds per image times ``--max-kimg``.
Scoring, which costs every trial the same, is left out, as is waiting for the tag classifier.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analysis import schema
from analysis.errors import AnalysisError
from analysis.mlflow_reader.sweep import curves, load

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def share_of_slowest(seconds: ArrayLike, share: float) -> float:
    """Return the share of all seconds that the slowest ``share`` of the trials takes, rounded up to whole trials."""
    ordered = np.sort(np.asarray(seconds, dtype=np.float64))[::-1]
    return float(ordered[: math.ceil(share * len(ordered))].sum() / ordered.sum())


def main() -> None:
    """Read a sweep and print both shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--share", type=float, default=0.1, help="of the trials, 0 to 1")
    options = parser.parse_args()
    try:
        sweep = load(options.sweep, home=options.home)
        if sweep.settings.get("budget") != "flops" or not (sweep.trials["status"] == schema.COMPLETE).any():
            raise SystemExit(f"sweep {options.sweep!r} has no complete trial with --budget flops")
        history = curves(sweep, [schema.KIMG, schema.TRAIN_SECONDS])
    except AnalysisError as error:
        raise SystemExit(str(error)) from error
    complete = sweep.trials.loc[sweep.trials["status"] == schema.COMPLETE, "key"]
    history = history[history["key"].isin(complete)]
    columns = {name: part.groupby("key")["value"] for name, part in history.groupby("name")}
    seconds = columns[schema.TRAIN_SECONDS].sum().to_numpy(np.float64)
    kimg = columns[schema.KIMG].max().to_numpy(np.float64)
    images = seconds / kimg * float(sweep.settings["max_kimg"])
    print(f"{len(seconds)} complete trials of {len(sweep.trials)}, {kimg.min():.3g} to {kimg.max():.3g} kimg each")
    for name, times in (("operations", seconds), ("images", images)):
        low, middle, high = np.quantile(times, (0, 0.5, 1))
        print(
            f"equal {name:10}  the slowest {options.share:.0%} take {share_of_slowest(times, options.share):.0%} of "
            f"{times.sum() / 60:.0f} minutes; a trial {low:.0f} to {high:.0f} s, median {middle:.0f}"
        )


if __name__ == "__main__":
    main()
