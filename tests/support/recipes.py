"""Recipes of the reports with networks of width 2 at 16 px."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from search_spaces.registry import SPACES
from tests.support.tiny import PAIR, random_data
from trainables.config import GanConfig
from trainables.data.tags import combinations
from trainables.systems.conditional import ConditionalGan
from trainables.training.loop import TrainingLoop

if TYPE_CHECKING:
    from trainables.precision import Precision

RECIPES = ("acgan", "srresnet_acgan", "matching_wgan", "cdcgan", "dcgan", "combo_dcgan", "wgan_gp", "lightgan", "r3gan")
SMALL = {
    "image_size": 16, "generator.width": 2, "generator.noise_dim": 4, "generator.blocks": 1, "discriminator.width": 2,
    "training.batch_size": 8,
}  # fmt: skip


def recipe_config(name: str, **changes: Any) -> GanConfig:
    """Return the configuration of a recipe; ``training__flip=True`` sets ``training.flip``."""
    changed = {key.replace("__", "."): value for key, value in changes.items()}
    if changed.get("training.ema_decay"):
        changed = {"training.ema_halflife": 0.0, **changed}
    return GanConfig.from_params({**SPACES[name].recipe, **SMALL, **changed})


def recipe_loop(name: str, seed: int = 0, precision: Precision = "float32", **changes: Any) -> TrainingLoop:
    """Return the loop of a recipe on random images, some with unknown tags, with a budget of 400 images."""
    torch.manual_seed(seed)
    config = recipe_config(name, **changes)
    data = random_data(masked=0 if config.tags.encoding == "pairs" else 4)
    pairs = combinations(data.tags.numpy()) if config.tags.encoding == "pairs" else ()
    system = ConditionalGan(config, PAIR.sizes, pairs, precision)
    return TrainingLoop(system, data, config, budget=400)
