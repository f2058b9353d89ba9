"""The recipes of the reports on networks of two filters at 16 px."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from search_spaces.registry import SPACES
from tests.support.tiny import PAIR, random_data
from trainables.config import GanConfig
from trainables.data.tags import combinations
from trainables.loop import TrainingLoop
from trainables.systems.conditional import ConditionalGan

if TYPE_CHECKING:
    from trainables.precision import Precision

RECIPES = ("acgan", "srresnet_acgan", "matching_wgan", "cdcgan", "dcgan", "combo_dcgan", "wgan_gp")
SMALL = {
    "image_size": 16, "generator.width": 2, "generator.noise_dim": 4, "generator.blocks": 1, "discriminator.width": 2,
    "training.batch_size": 8,
}  # fmt: skip


def recipe_config(name: str, **changes: Any) -> GanConfig:
    """A recipe; ``training__flip=True`` stands for ``training.flip``."""
    changed = {key.replace("__", "."): value for key, value in changes.items()}
    return GanConfig.from_params({**SPACES[name].recipe, **SMALL, **changed})


def recipe_loop(name: str, seed: int = 0, precision: Precision = "float32", **changes: Any) -> TrainingLoop:
    """A recipe on random pictures with a budget of 400 of them, some of whose tags are unknown."""
    torch.manual_seed(seed)
    config = recipe_config(name, **changes)
    data = random_data(masked=0 if config.tags.encoding == "pairs" else 4)
    pairs = combinations(data.tags.numpy()) if config.tags.encoding == "pairs" else ()
    system = ConditionalGan(config, PAIR.sizes, pairs, precision)
    return TrainingLoop(system, data, config, budget=400)
