"""Schedules over the images of a trial's budget, and the weight of the past in the moving average of the generator."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainables.config import GanConfig, OptimizerConfig, TrainingConfig

RAMP = 0.05
"""Largest half-life of the moving average, as a share of the images seen so far (Karras et al. 2020)."""


def interpolate_cosine(start: float, end: float, done: float) -> float:
    """Return the value at ``done`` in [0, 1] of half a cosine from ``start`` to ``end``."""
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2


def learning_rate_share(config: OptimizerConfig, done: float) -> float:
    """Return the share of the learning rates when the share ``done`` in [0, 1] of the budget is used."""
    if config.decay == "linear":
        return config.final_share + (1 - config.final_share) * min(1.0, 2.0 * (1.0 - done))
    return interpolate_cosine(1.0, config.final_share, done) if config.decay == "cosine" else 1.0


def scheduled_beta2(config: OptimizerConfig, done: float) -> float:
    """Return Adam's beta2 when the share ``done`` of the budget is used."""
    return interpolate_cosine(config.beta2, config.beta2_final, done) if config.beta2_final else config.beta2


def scheduled_config(config: GanConfig, done: float) -> GanConfig:
    """Return the configuration with penalty weight and augmentation probability at the share ``done`` of the budget.

    It is ``config`` itself if neither changes.
    """
    sections: dict[str, object] = {}
    losses, training = config.losses, config.training
    if losses.penalty_decay == "cosine":
        weight = losses.penalty_weight * interpolate_cosine(1.0, losses.penalty_final_share, done)
        sections["losses"] = dataclasses.replace(losses, penalty_weight=weight)
    if training.augment_schedule == "cosine":
        probability = interpolate_cosine(0.0, training.augment_probability, done)
        sections["training"] = dataclasses.replace(training, augment_probability=probability)
    return with_sections(config, sections) if sections else config


def with_sections(config: GanConfig, sections: dict[str, object]) -> GanConfig:
    """Return a copy with other sections, without validation, which would take longer than a small network's update."""
    changed = copy.copy(config)
    for name, section in sections.items():
        object.__setattr__(changed, name, section)
    return changed


def average_decay(config: TrainingConfig, updates: int, images_seen: int, images_per_update: int) -> float:
    """Return the weight of the past in the moving average after ``updates`` earlier updates.

    It grows as training goes on, so that the average forgets its random start.
    """
    if config.ema_halflife:
        return math.pow(0.5, images_per_update / min(config.ema_halflife * 1000, RAMP * images_seen))
    return min(config.ema_decay, (1 + updates) / (10 + updates))
