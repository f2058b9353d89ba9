"""The names of what a sweep logs to MLflow, owned here; the tracking writer imports them.

One MLflow experiment per sweep, named like the sweep. It holds one parent run (``KIND`` = ``sweep``) and one
nested run per trial (``KIND`` = ``trial``), found by its ``KEY`` tag.

Parameters of a trial run are the flat dotted names of its configuration (``generator.width``). Metrics have the
trial's progress in whole kimg (thousands of real images seen) as their step. The parent run carries the artifacts
``space.json`` (dimensions with distributions, defaults, conditions and claims), ``sweep.json`` (the settings) and
``data.json`` (counts and fingerprint of the data, the judge's report on held-out real images).
"""

from __future__ import annotations

from typing import Final

# Tags of runs ------------------------------------------------------------------------------------------------
KIND: Final = "gansweep.kind"
SWEEP: Final = "gansweep.sweep"
KEY: Final = "gansweep.key"
"""``<sweep>-<Optuna number, 5 digits>``: one run per key, for ever."""
NUMBER: Final = "gansweep.number"
SYSTEM: Final = "gansweep.system"
STATUS: Final = "gansweep.status"
REASON: Final = "gansweep.reason"
"""Why a trial failed or was stopped, one line."""
RECIPE: Final = "gansweep.recipe"
"""``true`` on the trial that runs the recipe unchanged: the baseline."""
CONFIG_HASH: Final = "gansweep.config_hash"
FINGERPRINT: Final = "gansweep.fingerprint"
"""JSON object: extractor, weights, resize, samples, data, seed policy. Scores compare only within one."""
HOME: Final = "gansweep.home"
"""Tag of the experiment, and attribute of the study: the id of the home that drives the sweep."""

KIND_SWEEP: Final = "sweep"
KIND_TRIAL: Final = "trial"

# Values of STATUS --------------------------------------------------------------------------------------------
RUNNING: Final = "running"
COMPLETE: Final = "complete"
"""Trained to its full budget."""
STOPPED: Final = "stopped"
"""Ended early by the scheduler; its last scores count at their own kimg."""
FAILED: Final = "failed"
"""Diverged, beyond hope or crashed; ``REASON`` says how."""
INTERRUPTED: Final = "interrupted"
"""The sweep ended (Ctrl-C, time limit) while the trial was running."""
STATUSES: Final = (RUNNING, COMPLETE, STOPPED, FAILED, INTERRUPTED)

# Metrics -----------------------------------------------------------------------------------------------------
DISTANCE: Final = "distance"
"""The objective to minimise; the same number is logged under its full name (``fid`` or ``fd_<extractor>``)."""
TAG_ACCURACY: Final = "tag_accuracy"
"""Share of pictures on which the judge agrees with every asked tag; per group: ``tag_accuracy_<group>``."""
KIMG: Final = "kimg"
SECONDS: Final = "seconds"
"""Seconds of wall time inside the trial so far."""
IMAGES_PER_SECOND: Final = "images_per_second"
OBJECTIVES: Final = {DISTANCE: "minimize", TAG_ACCURACY: "maximize"}
MUTATIONS: Final = "mutations"
"""Times that a trial has gone on from another one's networks with changed values (population-based training); what the
values are then is logged as ``mutated/<parameter>``, and the parameters stay those that it began with."""
SAMPLES: Final = "samples"
"""Generated pictures that the scores of a step were measured on: fewer at early rungs than at the end."""
DISTANCE_PREFIXES: Final = ("fid", "fd_")
"""Full names of distances. They grow as samples become fewer, so two of different ``SAMPLES`` never compare."""
HIGHER_IS_BETTER: Final = (TAG_ACCURACY, "precision", "recall", "density", "coverage", "diversity", "tag_diversity")
SCORE_PREFIXES: Final = (*DISTANCE_PREFIXES, *HIGHER_IS_BETTER, "kid", "memorised")
"""A metric whose name starts with one of these is a score of generated pictures, not a training signal."""
INTERVAL: Final = "interval/"
"""``interval/<score>/low`` and ``/high``: 95% interval of a finished trial's score over its sampling noise."""

# Artifacts ---------------------------------------------------------------------------------------------------
SPACE_FILE: Final = "space.json"
SETTINGS_FILE: Final = "sweep.json"
DATA_FILE: Final = "data.json"
SAMPLES_FOLDER: Final = "samples"
"""Pictures of each evaluation: the same noise and tags in every trial."""
PANELS_FOLDER: Final = "panels"
"""Pictures at the end of a trial: same tags and other noise, same noise and every class, the grid of both."""


def direction(score: str) -> str:
    """``maximize`` for accuracies and the like, ``minimize`` for distances (distance, fid, fd_*, kid)."""
    return "maximize" if score.startswith(HIGHER_IS_BETTER) else "minimize"


def needs_equal_samples(score: str) -> bool:
    """Whether two values of a score compare only if they were measured on equally many pictures."""
    return score == DISTANCE or score.startswith(DISTANCE_PREFIXES)


def is_score(name: str) -> bool:
    """Whether a metric is a score (comparable within a fingerprint) rather than a training signal."""
    return name == DISTANCE or name.startswith(SCORE_PREFIXES)
