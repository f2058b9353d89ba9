"""Dimensions that several spaces share, so that the trick of one report can be searched on another's network.

Each function takes the recipe's value as default and returns the dimension with the claim it tests. Claims are numbered
and lettered as in the reports' list of claims.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from search_spaces.space import Condition, Dimension

if TYPE_CHECKING:
    from trainables.config import Value

WIDTH = "1 (A) Filter width below 64 does not learn to draw"
PENALTY = "12 (B) DRAGAN and spectral norm stabilise, spectral norm more"
CRITIC_NORM = "ours: batch norm in a critic with a gradient penalty (G's own) against instance, layer and no norm"
RATIO = "9 (A, D, E) Update ratio: one to four G steps alike (A), three D steps steadier (E), 2:1 ends clearer (D)"
TAG_INPUTS = ("concat", "map", "combo", "projection")
SLOPED = ("wgan_gp", "dragan", "r1")
CLIPPED: tuple[Condition, dict[str, Value]] = (
    {"losses.adversarial": ("wgan",), "losses.weight_clip": (0.01,)},
    {"losses.penalty": "none"},
)
"""A critic whose weights are clipped needs no penalty."""
COSINE: tuple[Condition, dict[str, Value]] = ({"optimizer.decay": ("cosine",)}, {"optimizer.final_share": 0.25})
"""The learning rates of R3GAN fall to a quarter."""


def width(network: str, default: int, *choices: int) -> Dimension:
    """Return the filter width of ``generator`` or ``discriminator``."""
    return Dimension(f"{network}.width", default, choices=choices, claim=WIDTH)


def learning_rates(generator: float, discriminator: float, highest: float = 1e-3) -> tuple[Dimension, Dimension]:
    """Return both learning rates, from 1e-5 to ``highest`` on a logarithmic scale."""
    claim = "19 (E) lr 2e-5 is stable where higher ones crash"
    return (
        Dimension("optimizer.generator_lr", generator, low=1e-5, high=highest, log=True, claim=claim),
        Dimension("optimizer.discriminator_lr", discriminator, low=1e-5, high=highest, log=True, claim=claim),
    )


def update_ratio(generator: int = 1, discriminator: int = 1) -> tuple[Dimension, Dimension]:
    """Return the G steps per update and, if that is one, the D steps per update."""
    return (
        Dimension("updates.generator_steps", generator, low=1, high=4, claim=RATIO),
        Dimension(
            "updates.discriminator_steps", discriminator, low=1, high=5, claim=RATIO,
            when={"updates.generator_steps": (1,)},
        ),
    )  # fmt: skip


def averaging() -> Dimension:
    """Return the decay of the generator's moving average."""
    return Dimension(
        "training.ema_decay", 0.0, choices=(0.0, 0.99, 0.999), claim="ours: no report averages its weights"
    )


def augmentation(flip: bool = False, rotate: float = 0.0) -> tuple[Dimension, ...]:
    """Return B's flip and rotation, and differentiable augmentation, which no report uses."""
    return (
        Dimension("training.flip", flip, choices=(False, True), claim="13 (B) B's data are mirrored and turned"),
        Dimension("training.rotate", rotate, choices=(0.0, 5.0), claim="13 (B) B's data are mirrored and turned"),
        Dimension(
            "training.diff_augment", False, choices=(False, True), claim="ours: Zhao et al. 2020, for small data"
        ),
    )


def critic_norm(default: str = "batch") -> Dimension:
    """Return the norm of the discriminator."""
    return Dimension("discriminator.norm", default, choices=("batch", "instance", "layer", "none"), claim=CRITIC_NORM)


def choice(name: str, default: Value, *others: Value, claim: str, when: Condition | None = None) -> Dimension:
    """Return a choice between the default and other values."""
    return Dimension(name, default, choices=(default, *others), claim=claim, when=when or {})


def weight_clip(when: Condition | None = None) -> Dimension:
    """Return weight clipping, which replaces the gradient penalty; a space with it must include ``CLIPPED``."""
    return choice(
        "losses.weight_clip",
        0.0,
        0.01,
        claim="14b (G) weight clipping, the assignment's other option",
        when={"losses.adversarial": ("wgan",), **(when or {})},
    )


def wrong_tag_weight() -> Dimension:
    """Return the weight of wrong tags; active if there are any."""
    return Dimension(
        "losses.wrong_tag_weight", 0.5, low=0.1, high=0.9, claim="17 (D) how much the wrong tags weigh",
        when={"losses.wrong_tags": ("data", "balanced")},
    )  # fmt: skip


def decay() -> Dimension:
    """Return the decay of the learning rates; a space with it must include ``COSINE``."""
    claim = "ours: no report from A to G lowers its learning rates"
    return choice("optimizer.decay", "none", "linear", "cosine", claim=claim)


def initialisation(default: str) -> tuple[Dimension, Dimension]:
    """Return the initialisation of both networks: LeCun normal or N(0, 0.02)."""
    claim = "15 (C) LeCun-normal init speeds the start and diverges less"
    other = "lecun" if default == "normal" else "normal"
    return (
        choice("generator.init", default, other, claim=claim),
        choice("discriminator.init", default, other, claim=claim),
    )
