"""System H: CycleGAN, unpaired translation between two domains.

The report gives the networks, batch norm, Adam and its epochs, and takes the pool and the weights of the losses from
the paper (Zhu et al. 2017). It does not give the image size, the widths (we use the paper's), the batch size (the
paper's single image is too few for batch norm) and batch norm's momentum; these values are ours. Like the report, the
paper has 6 residual blocks below 256 px; it has 9 from 256 px.
"""

from search_spaces import dimensions as shared
from search_spaces.dimensions import choice
from search_spaces.space import Dimension, Space
from trainables.config import TRANSLATING

NORM = "ours: the report's batch norm against the paper's instance norm"

CYCLEGAN = Space(
    name="cyclegan",
    summary="H: CycleGAN, unpaired translation between two domains; both directions are counted together",
    recipe={
        "system": "cyclegan",
        "image_size": 128,
        **TRANSLATING["cyclegan"],
        "generator.width": 64,
        "generator.blocks": 6,
        "generator.norm": "batch",
        "generator.norm_momentum": 0.1,
        "discriminator.width": 64,
        "discriminator.norm": "batch",
        "discriminator.norm_momentum": 0.1,
        "losses.adversarial": "lsgan",
        "losses.labels": "hard",
        "losses.adversarial_weight": 1.0,
        "losses.cycle_weight": 10.0,
        "losses.identity_weight": 5.0,
        "updates.split_discriminator": False,
        "optimizer.generator_lr": 2e-4,
        "optimizer.discriminator_lr": 2e-4,
        "optimizer.beta1": 0.5,
        "optimizer.beta2": 0.999,
        "optimizer.decay": "linear",
        "training.batch_size": 4,
        "training.pool_size": 50,
    },
    notes={
        "image_size": "ours, where the paper has 6 residual blocks",
        "generator.width": "ours, after the paper",
        "generator.norm_momentum": "ours",
        "discriminator.width": "ours, after the paper",
        "discriminator.norm_momentum": "ours",
        "updates.split_discriminator": "ours, after the paper",
        "optimizer.decay": "ours, after the paper",
        "training.batch_size": "ours: so many of each domain",
    },
    # A penalty on each image's gradient is not defined with batch norm, which makes scores depend on the whole batch.
    implied=(
        ({"losses.adversarial": ("wgan",)}, {"losses.penalty": "wgan_gp", "discriminator.norm": "instance"}),
    ),
    dimensions=(
        choice(
            "losses.adversarial", "lsgan", "bce", "wgan",
            claim="21 (H) LSGAN beats BCE in CycleGAN: lower G loss, less noise",
        ),
        Dimension(
            "losses.penalty_weight", 10.0, low=1.0, high=100.0, log=True, claim="ours",
            when={"losses.adversarial": ("wgan",)},
        ),
        Dimension(
            "losses.cycle_weight", 10.0, low=1.0, high=50.0, log=True, claim="ours: the paper's weight is 10"
        ),
        choice("losses.identity_weight", 5.0, 0.0, 1.0, claim="ours: the paper's weight, less, or no identity loss"),
        choice("training.pool_size", 50, 0, claim="ours: the paper's pool, or the newest translations alone"),
        choice("generator.norm", "batch", "instance", claim=NORM),
        choice(
            "discriminator.norm", "batch", "instance", claim=NORM, when={"losses.adversarial": ("lsgan", "bce")}
        ),
        choice("generator.blocks", 6, 3, 9, claim="ours: the paper has 9 from 256 px"),
        Dimension("generator.width", 64, choices=(16, 32, 64), claim="ours"),
        Dimension("discriminator.width", 64, choices=(16, 32, 64), claim="ours"),
        Dimension("optimizer.generator_lr", 2e-4, low=5e-5, high=1e-3, log=True, claim="ours"),
        Dimension("optimizer.discriminator_lr", 2e-4, low=5e-5, high=1e-3, log=True, claim="ours"),
        choice("discriminator.spectral_norm", False, True, claim=shared.PENALTY),
        choice("training.flip", False, True, claim="13 (B) B's data are mirrored and turned"),
        choice("training.diff_augment", False, True, claim="ours: Zhao et al. 2020, for small data"),
        shared.averaging(),
    ),
)  # fmt: skip
"""The report's recipe and the space of its tricks."""
