"""The names of what a sweep logs to MLflow, owned here; the tracking writer imports them.

One MLflow experiment per sweep, named like the sweep. It holds one parent run (``KIND`` = ``sweep``) and one
nested run per trial (``KIND`` = ``trial``), found by its ``KEY`` tag.

A repeat trains a configuration again on another seed (``KIND`` = ``confirmation``), or a variant of it (``KIND`` =
``ablation``). Its run is nested under that of the trial it is ``OF``, so that the sweep's run has children and
grandchildren. Repeats have keys of their own, metrics and artifacts like trials, and are never counted as trials.

Parameters of a trial run are the flat dotted names of its configuration (``generator.width``). Metrics have the
trial's progress through its budget in whole kimg (``COST_KIMG``) as their step. The parent run carries the artifacts
``space.json`` (dimensions with distributions, defaults, conditions and claims), ``sweep.json`` (the settings) and
``data.json`` (counts and fingerprint of the data, the tag classifier's report on held-out real images).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# Tags of runs ------------------------------------------------------------------------------------------------
KIND: Final = "gansweep.kind"
SWEEP: Final = "gansweep.sweep"
KEY: Final = "gansweep.key"
"""``<sweep>-<Optuna number, 5 digits>``: one run per key, for ever. A repeat's begins with the key of the trial it is
of: ``<key>-c<seed number>`` for confirmations, ``<key>-a-<variant>-<seed number>`` for ablations, with two digits or
more; ``-k<kimg>`` follows where the budget is not the sweep's first."""
NUMBER: Final = "gansweep.number"
SYSTEM: Final = "gansweep.system"
STATUS: Final = "gansweep.status"
REASON: Final = "gansweep.reason"
"""Why a trial failed or was stopped, one line."""
RECIPE: Final = "gansweep.recipe"
"""``true`` on the trial that runs the recipe unchanged: the baseline."""
CONFIG_HASH: Final = "gansweep.config_hash"
FINGERPRINT: Final = "gansweep.fingerprint"
"""JSON object: extractor, weights, resize, samples, data, seed policy, cascade. Scores compare only within one."""
PRECISION: Final = "gansweep.precision"
"""Of the forward passes in training: ``float32`` or ``bf16``. Scores are always measured in float32."""
FUSED: Final = "gansweep.fused"
"""The most trials that were trained as one program where this one began; ``1``: it was trained by itself."""
STRETCHES: Final = "gansweep.stretches"
"""JSON list of when and where a trial ran: ``{"node", "slot", "start", "end"}``, seconds since 1970. A trial that went
on after an interruption has several; the last thirty are kept."""
RANK: Final = "gansweep.rank"
"""Place by distance, on the first trials of a sweep; brought up to date now and then while it runs."""
CHAMPION: Final = "champion"
"""``true`` on the best trial alone."""
DESCRIBED: Final = "gansweep.described"
"""Hashes of the last two descriptions written to the run or experiment; any other one is a user's own, and stays."""
HOME: Final = "gansweep.home"
"""Tag of the experiment, and attribute of the study: the id of the home that drives the sweep."""

OF: Final = "gansweep.of"
"""Of a repeat: key of the trial whose configuration it repeats, or whose configuration its variant is of."""
VARIANT: Final = "gansweep.variant"
"""Of a repeat: ``unchanged`` or ``recipe`` in a confirmation; in an ablation ``winner``, ``recipe``, ``without
<dimension>`` (the winner with that dimension back at the recipe's value) or ``with <dimension>`` (the recipe with the
winner's value)."""
VARIANT_PARAMS: Final = "gansweep.variant_params"
"""Of a repeat: JSON object of the parameters in which it differs from the winner (``without``) or from the recipe
(``with``); ``{}`` for the others."""
SEED: Final = "gansweep.seed"
"""Of a repeat: its training seed. Repeats of one kind share their seeds, so that configurations compare in pairs."""
BUDGET: Final = "gansweep.budget"
"""Of a repeat: the kimg it is trained for. Repeats of different budgets do not compare."""

KIND_SWEEP: Final = "sweep"
KIND_TRIAL: Final = "trial"
KIND_CONFIRMATION: Final = "confirmation"
KIND_ABLATION: Final = "ablation"
REPEATS: Final = (KIND_CONFIRMATION, KIND_ABLATION)
UNCHANGED: Final = "unchanged"
WINNER: Final = "winner"
RECIPE_VARIANT: Final = "recipe"

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
"""Share of images on which the tag classifier agrees with every asked tag; per group: ``tag_accuracy_<group>``."""
CYCLE: Final = "cycle_l1"
"""Mean absolute difference of an image and its translation back: of generators that translate alone."""
FACE_RATE: Final = "face_rate"
"""Share of images on which a cascade finds a face, where the sweep has one."""
GRID_ENERGY: Final = "grid_energy"
"""Energy of generated images at periods of 2 and 4 pixels, relative to that of real ones."""
SATURATED: Final = "saturated"
"""Share of values at either end of their range."""
KIMG: Final = "kimg"
"""Thousands of real images that the discriminator has seen."""
COST_KIMG: Final = "cost_kimg"
"""Training so far in the unit of budgets and rungs: kimg of the recipe that take as many floating-point operations or
seconds. Logged where ``--budget`` is ``flops`` or ``seconds``; elsewhere it is ``KIMG``."""
FLOPS: Final = "flops_per_image"
"""Floating-point operations of training for each real image: of both networks, forward and backward."""
SECONDS: Final = "seconds"
"""Seconds of wall time inside the trial so far."""
TRAIN_SECONDS: Final = "train_seconds"
"""Seconds that a trial trained since its last result."""
SCORE_SECONDS: Final = "score_seconds"
"""Seconds that a trial took to score a result and to draw its images."""
SLOT_USE: Final = "slot_use"
"""On the parent run: share of slot-seconds spent in training and needed evaluation, ``BUSY_SECONDS / SLOT_SECONDS``;
``pipeline.tracking.slot_utilization`` says what counts."""
SLOT_SECONDS: Final = "slot_seconds"
BUSY_SECONDS: Final = "busy_seconds"
IMAGES_PER_SECOND: Final = "images_per_second"
GENERATOR_LATENCY: Final = "generator_latency_ms"
"""Median milliseconds of one image from the generator, where the trial ran and beside what else ran there."""
OBJECTIVES: Final = {DISTANCE: "minimize", TAG_ACCURACY: "maximize"}
MUTATIONS: Final = "mutations"
"""Times that a trial has gone on from another one's networks with changed values (population-based training); what the
values are then is logged as ``mutated/<parameter>``, and the parameters stay those that it began with."""
SAMPLES: Final = "samples"
"""Generated images that the scores of a step were measured on: fewer at early rungs than at the end."""
DISTANCE_PREFIXES: Final = ("fid", "fd_")
"""Full names of distances. They grow as samples become fewer, so two of different ``SAMPLES`` never compare."""
MMD: Final = "mmd"
"""CMMD's kernel in the features of the extractor; its biased estimate grows as samples become fewer, too."""
PREFERENCE: Final = "preference"
"""Probability that a person prefers a trial's images to those of an average trial (`gansweep compare`)."""
HIGHER_IS_BETTER: Final = (
    TAG_ACCURACY, "precision", "recall", "density", "coverage", "diversity", "tag_diversity", "preserved",
    FACE_RATE, PREFERENCE,
)  # fmt: skip
SCORE_PREFIXES: Final = (
    *DISTANCE_PREFIXES, *HIGHER_IS_BETTER, "kid", MMD, "memorised", "source_feature_distance", CYCLE, "identity_l1",
    GRID_ENERGY, SATURATED,
)  # fmt: skip
"""A metric whose name starts with one of these is a score of generated images, not a training signal."""
SHARES: Final = (
    TAG_ACCURACY, FACE_RATE, SATURATED, "precision", "recall", "coverage", "memorised", "preserved", PREFERENCE,
)  # fmt: skip
"""Scores that lie between 0 and 1, with those that start with these names."""
TRAINING: Final = "training/"
"""Before the name of every signal of training (losses, gradient norms), so that they are a group of their own."""
CHARTS: Final = "objectives/"
"""Before the names of copies of the objectives, which no table reads: MLflow sorts groups of charts by name and shows
metrics without a group last, so that only a group before ``TRAINING`` shows the scores first."""
CLASS_ACCURACY: Final = "class_accuracy/"
"""``class_accuracy/<group>/<class>`` in a trial's results; logged as the table ``CLASS_ACCURACY_FILE``, not as metrics.
Runs of earlier versions have metrics."""
INTERVAL: Final = "interval/"
"""``interval/<score>/low`` and ``/high`` in a trial's results: 95% interval of a finished trial's score over its
sampling noise; logged as the tag ``INTERVALS``, not as metrics, which would be charts of one point. Runs of earlier
versions have metrics."""
INTERVALS: Final = "gansweep.intervals"
"""JSON object: score to ``[low, high]``. More than MLflow takes in a tag stay metrics."""

_PLUS: Final = ":plus:"

# Artifacts ---------------------------------------------------------------------------------------------------
SPACE_FILE: Final = "space.json"
SETTINGS_FILE: Final = "sweep.json"
DATA_FILE: Final = "data.json"
CLASS_ACCURACY_FILE: Final = "class_accuracy.json"
"""Table of a finished trial: group, class, share of the images asked for it that the tag classifier agrees with."""
RANKING_FILE: Final = "ranking.json"
"""Table of the trials on the parent run, best first; written anew while the sweep runs."""
RUNS_VIEW: Final = "gansweep"
"""Key of the view of the table of runs, in the tag ``mlflow.sharedViewState.<key>`` of the experiment."""
PLAN_FILE: Final = "plan.json"
"""What `gansweep plan` expected of the sweep, where it was asked before."""
SAMPLES_FOLDER: Final = "samples"
"""Images of each evaluation: the same noise and tags, or the same source images, in every trial."""
OVERVIEW_FILE: Final = "front-and-samples.png"
"""Among the figures of a sweep: the front above the samples of the best trials."""
FIGURES_FOLDER: Final = "figures"
"""Images of the sweep on its parent run, drawn anew while it runs."""
CONFUSION_FILE: Final = "confusion.json"
"""Among the panels: per tag group its ``classes`` and ``confusion`` counts, asked on rows, seen on columns."""
PANELS_FOLDER: Final = "panels"
"""Images at the end of a trial: same tags and other noise, same noise and every class, the grid of both."""


def direction(score: str) -> str:
    """``maximize`` for accuracies and the like, ``minimize`` for distances (distance, fid, fd_*, kid)."""
    return "maximize" if score.startswith(HIGHER_IS_BETTER) else "minimize"


def needs_equal_samples(score: str) -> bool:
    """Whether two values of a score compare only if they were measured on equally many images."""
    return score == MMD or is_distance(score)


def is_distance(score: str) -> bool:
    """Whether a score is the distance, by any of its names."""
    return score == DISTANCE or score.startswith(DISTANCE_PREFIXES)


def cost(result: Mapping[str, Any]) -> float:
    """What a result has used of its trial's budget, in kimg."""
    used: float = result[COST_KIMG] if COST_KIMG in result else result[KIMG]
    return used


def budget_unit(settings: Mapping[str, Any]) -> str:
    """The unit of a sweep's budgets, rungs and steps in words."""
    return "kimg" if settings.get("budget", "kimg") == "kimg" else "kimg of the recipe"


def budget_equals(settings: Mapping[str, Any]) -> str:
    """What all trials of a sweep get alike, in words."""
    return {"flops": "floating-point operations", "seconds": "seconds"}.get(settings.get("budget", "kimg"), "images")


def logged_name(name: str) -> str:
    """The name under which a figure of a trial is logged: scores and costs by their own, signals of training apart."""
    costs = (
        KIMG,
        COST_KIMG,
        FLOPS,
        SECONDS,
        SAMPLES,
        IMAGES_PER_SECOND,
        TRAIN_SECONDS,
        SCORE_SECONDS,
        MUTATIONS,
        GENERATOR_LATENCY,
    )
    sizes = ("generator_parameters", "discriminator_parameters")
    plain = "/" in name or is_score(name) or name in (*costs, *sizes)
    return escaped(name if plain else f"{TRAINING}{name}")


def escaped(name: str) -> str:
    """A metric's name as MLflow takes it: a class may have a plus in its name, and a metric may not."""
    return name.replace("+", _PLUS)


def unescaped(name: str) -> str:
    """What ``escaped`` was given; names of classes have no colons."""
    return name.replace(_PLUS, "+")


def is_score(name: str) -> bool:
    """Whether a metric is a score (comparable within a fingerprint) rather than a training signal."""
    return name == DISTANCE or name.startswith(SCORE_PREFIXES)
