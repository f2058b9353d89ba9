"""R3GAN: "a modern baseline GAN" (Huang et al. 2024, arXiv 2501.05441).

Networks, initialisation, losses, optimizer and schedules are the paper's; schedules are relative to the budget. Widths
and batch size are reduced, for budgets of minutes. The half-life of the moving average grows with the images seen
rather than along a cosine. The penalty weight is that of FFHQ at 64 px; it does not carry over to other sizes and data:
as a rule of thumb it grows with the number of pixels.
"""

from search_spaces import dimensions as shared
from search_spaces.dimensions import choice
from search_spaces.space import Dimension, Space
from trainables.config import R3GAN_PARTS

_SCHEDULE = "ours: the paper's schedule against a constant value"

R3GAN = Space(
    name="r3gan",
    summary="R3GAN (Huang et al. 2024): relativistic loss, R1 + R2, residual blocks without norms, 64x64",
    recipe={
        "system": "r3gan",
        "image_size": 64,
        "generator.architecture": "r3gan",
        "generator.conditioning": "linear",
        "generator.width": 32,
        "generator.max_width": 256,
        "generator.noise_dim": 64,
        "generator.embedding_dim": 64,
        "generator.init": "residual",
        "generator.final_activation": "none",
        **{f"generator.{name}": value for name, value in R3GAN_PARTS["generator"].items()},
        "discriminator.architecture": "r3gan",
        "discriminator.conditioning": "product",
        "discriminator.width": 32,
        "discriminator.max_width": 256,
        "discriminator.init": "residual",
        **{f"discriminator.{name}": value for name, value in R3GAN_PARTS["discriminator"].items()},
        "losses.adversarial": "relativistic",
        "losses.labels": "hard",
        "losses.penalty": "r1_r2",
        "losses.penalty_weight": 2.0,
        "losses.penalty_decay": "cosine",
        "losses.penalty_final_share": 0.1,
        "updates.split_discriminator": False,
        "optimizer.generator_lr": 2e-4,
        "optimizer.discriminator_lr": 2e-4,
        "optimizer.decay": "cosine",
        "optimizer.final_share": 0.25,
        "optimizer.beta1": 0.0,
        "optimizer.beta2": 0.9,
        "optimizer.beta2_final": 0.99,
        "training.batch_size": 64,
        "training.ema_halflife": 500.0,
        "training.flip": True,
        "training.diff_augment": True,
        "training.augment_probability": 0.3,
        "training.augment_schedule": "cosine",
    },
    notes={
        "generator.width": "ours; 768 in the paper, at every size of map up to 64 px",
        "generator.max_width": "ours; 768 in the paper",
        "discriminator.width": "ours; 768 in the paper, at every size of map up to 64 px",
        "discriminator.max_width": "ours; 768 in the paper",
        "training.batch_size": "ours; 256 and 512 in the paper",
        "training.diff_augment": "ours: colour, translation and cutout; the paper's augmentations are those of ADA",
    },
    dimensions=(
        shared.width("generator", 32, 16, 32, 64),
        shared.width("discriminator", 32, 16, 32, 64),
        choice("losses.adversarial", "relativistic", "bce", claim="ours: BCE drops modes, the relativistic loss none"),
        choice("losses.penalty", "r1_r2", "r1", claim="ours: R1 alone diverges with the relativistic loss"),
        Dimension(
            "losses.penalty_weight", 2.0, low=0.05, high=200.0, log=True,
            claim="ours: the paper uses 0.05 to 150, depending on data and size",
        ),
        choice("losses.penalty_every", 1, 4, 8, claim="ours: a lazy penalty takes less time than one at every step"),
        choice("losses.penalty_decay", "cosine", "none", claim=_SCHEDULE),
        choice(
            "discriminator.conditioning", "product", "projection", "acgan",
            claim="2 (A, B) AC-GAN follows tags better than concatenation-conditioned DCGAN",
        ),
        choice("generator.conditioning", "linear", "embedding", claim="4 (A) Embeddings with noise"),
        choice("generator.noise_dim", 64, 128, 256, claim="6 (A) Larger noise dims give more variety"),
        choice("generator.final_activation", "none", "tanh", claim="5 (A) tanh as last activation"),
        choice("generator.init", "residual", "lecun", claim="ours: blocks that start as the identity"),
        choice("discriminator.init", "residual", "lecun", claim="ours: blocks that start as the identity"),
        *shared.learning_rates(2e-4, 2e-4),
        choice("optimizer.decay", "cosine", "none", "linear", claim=_SCHEDULE),
        choice("optimizer.beta2_final", 0.99, 0.0, claim=_SCHEDULE),
        choice("training.ema_halflife", 500.0, 1.0, 0.0, claim="ours: no report averages its weights"),
        choice("training.diff_augment", True, False, claim="ours: Zhao et al. 2020, for small data"),
        Dimension(
            "training.augment_probability", 0.3, low=0.1, high=1.0, claim="ours: 0.3 to 0.55 in the paper",
            when={"training.diff_augment": (True,)},
        ),
        choice("training.flip", True, False, claim="13 (B) B's data are mirrored and turned"),
    ),
)  # fmt: skip
"""The paper's recipe and a space around it."""
