"""Images that a trial sees for each image of the recipe, where equal operations or seconds are what trials get."""

from __future__ import annotations

import json
import math
import statistics
import time
from typing import TYPE_CHECKING, Final

from trainables.storage.checkpoints import CONFIG_FILE
from trainables.systems.build import build_system
from trainables.training.inputs import training_data
from trainables.training.loop import Diverged, TrainingLoop

if TYPE_CHECKING:
    from trainables.config import GanConfig
    from trainables.storage.storage import Storage
    from trainables.trial.context import TrialContext

SHARE: Final = "image_share"
"""Entry of a trial's configuration file, so that a trial that continues keeps what was measured."""
ROUNDS: Final = 3
"""Times that the recipe and the configuration are timed in turns. The load of other trials concerns both."""
SECONDS: Final = 1.0
"""Seconds for which updates are timed in each turn, or one update if it takes longer."""


def find_image_share(context: TrialContext, config: GanConfig, flops: float, storage: Storage) -> float:
    """Return the images that a trial sees for each image of the recipe.

    Args:
        context: says what trials get.
        config: configuration of the trial.
        flops: its operations per image.
        storage: of the trial, whose share is read if it was measured before.
    """
    if context.recipe_flops is not None:
        return context.recipe_flops / flops
    if context.timed_recipe is None:
        return 1.0
    return _read_share(storage) or measure_share(context, config, context.timed_recipe)


def measure_share(context: TrialContext, config: GanConfig, recipe: GanConfig) -> float:
    """Return the recipe's seconds per image over those of a configuration, the median of several rounds.

    A configuration that diverges at once gets the images of the recipe, and diverges.
    """
    if config == recipe:
        return 1.0
    try:
        rounds = [[_seconds_per_image(context, one) for one in (recipe, config)] for _ in range(ROUNDS)]
    except Diverged:
        return 1.0
    return statistics.median(of_recipe / own for of_recipe, own in rounds)


def _seconds_per_image(context: TrialContext, config: GanConfig) -> float:
    """Train a new loop for some updates, whole cycles of its penalty, and return the seconds for each real image."""
    images = context.images
    pairs = images.pairs(config.tags.encoding)
    system = build_system(config, images.vocabulary.sizes, images.target_places, pairs, context.precision)
    loop = TrainingLoop(system, training_data(config, images, context.device, context.pixels), config)
    every = config.losses.penalty_every
    cycle = loop.images_per_update * every // math.gcd(every, config.updates.discriminator_steps)
    loop.train_until(loop.images_per_update)  # the first update plans and allocates
    seconds = _time(loop, cycle)
    cycles = round(SECONDS / max(seconds, 1e-6))
    return _time(loop, cycles * cycle) / (cycles * cycle) if cycles > 1 else seconds / cycle


def _time(loop: TrainingLoop, images: int) -> float:
    began = time.perf_counter()
    loop.train_until(loop.images_seen + images)
    return time.perf_counter() - began


def _read_share(storage: Storage) -> float | None:
    try:
        saved = json.loads(storage.read(CONFIG_FILE))[SHARE] if storage.exists(CONFIG_FILE) else None
    except (ValueError, LookupError, TypeError):  # an altered file
        return None
    return float(saved) if isinstance(saved, int | float) and 0 < saved < math.inf else None
