"""System G: unconditional WGAN-GP.

We draw one alpha per image; the report's code draws one per image row. The critic keeps E's batch norm; Gulrajani et
al. advise against it, so it is a dimension. LSGAN and weight clipping are the assignment's other options.
"""

from search_spaces import dimensions as shared
from search_spaces.dcgan import DCGAN
from search_spaces.dimensions import choice
from search_spaces.space import Dimension, Space

WGAN_GP = Space(
    name="wgan_gp",
    summary="G: unconditional WGAN-GP on the networks of E, 64x64",
    recipe={
        **DCGAN.recipe,
        "system": "wgan_gp",
        "losses.adversarial": "wgan",
        "losses.penalty": "wgan_gp",
        "losses.penalty_weight": 10.0,
        "optimizer.name": "rmsprop",
        "optimizer.generator_lr": 2e-4,
        "optimizer.discriminator_lr": 2e-4,
    },
    notes={},
    implied=(shared.CLIPPED,),
    dimensions=(
        shared.width("generator", 64, 16, 32, 64),
        shared.width("discriminator", 64, 16, 32, 64),
        choice("losses.adversarial", "wgan", "lsgan", "hinge", claim="14b (G) Good after one epoch, then collapses"),
        shared.weight_clip(),
        choice(
            "losses.penalty",
            "wgan_gp",
            "none",
            "dragan",
            "r1",
            claim=shared.PENALTY,
            when={"losses.adversarial": ("lsgan", "hinge")},
        ),
        Dimension(
            "losses.penalty_weight",
            10.0,
            low=1.0,
            high=100.0,
            log=True,
            claim="14b (G)",
            when={"losses.penalty": shared.SLOPED},
        ),
        shared.critic_norm(),
        choice("updates.discriminator_steps", 1, 3, 5, claim="9b (E) Three D steps per G step: better, steadier"),
        choice("optimizer.name", "rmsprop", "adam", claim="ours: G's RMSprop against Adam"),
        *shared.learning_rates(2e-4, 2e-4),
        *shared.augmentation(),
        shared.averaging(),
    ),
)
"""The report's recipe and the space of its tricks."""
