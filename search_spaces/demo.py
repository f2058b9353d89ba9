"""The space of ``gansweep demo``: the recipe of A, small enough for minutes of CPU, and lightgan beside it."""

from search_spaces.acgan import ACGAN
from search_spaces.dimensions import choice
from search_spaces.lightgan import LIGHTGAN
from search_spaces.space import Condition, Dimension, Space
from trainables.config import Value

_SIZE: dict[str, Value] = {"image_size": 32}
_ACGAN: dict[str, Value] = {
    **ACGAN.recipe,
    **_SIZE,
    "generator.width": 16,
    "discriminator.width": 32,
    "losses.tag_weight": 2.0,
    "optimizer.generator_lr": 4e-4,
    "optimizer.discriminator_lr": 4e-4,
    "training.ema_decay": 0.998,
    "training.flip": True,
}
_LIGHTGAN: dict[str, Value] = {
    **LIGHTGAN.recipe,
    **_SIZE,
    "losses.penalty_weight": 2.0,
    "optimizer.generator_lr": 1e-3,
    "optimizer.discriminator_lr": 1e-3,
    "training.diff_augment": False,  # with it, the few images of a demo do not suffice
}
_BOTH = ("losses.tag_weight",)
"""Parameters that vary with either system."""
_ACGAN_ONLY: Condition = {"system": ("acgan",)}

DEMO = Space(
    name="demo",
    summary="A and lightgan at 32 px, for minutes of CPU",
    recipe=_ACGAN,
    implied=(
        (
            {"system": ("lightgan",)},
            {
                name: value
                for name, value in _LIGHTGAN.items()
                if value != _ACGAN[name] and name not in ("system", *_BOTH)
            },
        ),
    ),
    dimensions=(
        choice("system", "acgan", "lightgan", claim="ours: what the same images buy with the networks of today"),
        Dimension(
            "losses.tag_weight", 2.0, low=1.0, high=4.0, log=True,
            claim="10 (A) More adversarial weight draws sooner, more classification weight follows tags better",
        ),
        Dimension(
            "losses.adversarial_weight", 1.0, low=0.5, high=1.0, log=True, when=_ACGAN_ONLY,
            claim="10 (A) More adversarial weight draws sooner, more classification weight follows tags better",
        ),
        Dimension(
            "optimizer.generator_lr", 4e-4, low=2e-4, high=8e-4, log=True, when=_ACGAN_ONLY,
            claim="19 (E) lr 2e-5 is stable where higher ones crash",
        ),
        Dimension(
            "optimizer.discriminator_lr", 4e-4, low=2e-4, high=8e-4, log=True, when=_ACGAN_ONLY,
            claim="19 (E) lr 2e-5 is stable where higher ones crash",
        ),
        choice(
            "generator.embedding_dim", 8, 4, 16, when=_ACGAN_ONLY,
            claim="6 (A) Larger embedding and noise dims give more variety",
        ),
    ),
)  # fmt: skip
"""Trial 0 is the recipe of A; what lightgan does not share with it is implied by its name."""
