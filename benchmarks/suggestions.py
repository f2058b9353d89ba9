"""CPU time that a sampler takes for a suggestion, by the number of trials in the study.

    python -m benchmarks.suggestions [--trials 100 1000] [--suggestions 40] [--sampler NAME ...]

The study is in memory and has two objectives and the space of `acgan`; a third of its trials completed, the others were
stopped early. Printed are means over ``--suggestions`` whole configurations, each of which ends before the next.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import optuna
from optuna.trial import TrialState, create_trial

from benchmarks.large_history import Sampler
from benchmarks.samplers import SAMPLERS
from benchmarks.synthetic_curves import SPACE, accuracy_level, log_level
from pipeline.search.samplers import distributions


def study_of(trials: int) -> optuna.Study:
    """Return a study of random trials whose values follow the synthetic truth."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=["minimize", "maximize"])
    rng, every = np.random.default_rng(0), distributions(SPACE)
    added = []
    for number in range(trials):
        params = SPACE.sample(Sampler(rng))
        active = {d.name: params[d.name] for d in SPACE.dimensions if d.name in every and d.active(params)}
        complete = number % 3 == 0
        added.append(
            create_trial(
                state=TrialState.COMPLETE if complete else TrialState.PRUNED,
                params=active,
                distributions={name: every[name] for name in active},
                values=[log_level(params), accuracy_level(params)] if complete else None,
            )
        )
    study.add_trials(added)
    return study


def milliseconds(sampler: str, trials: int, suggestions: int) -> float:
    """Return the mean CPU time of a suggestion in milliseconds."""
    study = study_of(trials)
    study.sampler = SAMPLERS[sampler](0, SPACE)
    spent = 0.0
    for _ in range(suggestions):
        began = time.process_time()
        trial = study.ask()
        SPACE.sample(trial)
        spent += time.process_time() - began
        study.tell(trial, state=TrialState.PRUNED)
    return 1000 * spent / suggestions


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--suggestions", type=int, default=40)
    parser.add_argument("--sampler", action="append", choices=SAMPLERS)
    options = parser.parse_args()
    for sampler in options.sampler or SAMPLERS:
        for trials in options.trials:
            print(
                f"{sampler:14}{trials:8} trials {milliseconds(sampler, trials, options.suggestions):8.1f} ms",
                flush=True,
            )


if __name__ == "__main__":
    main()
