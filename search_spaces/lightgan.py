"""lightgan: small networks for minutes of CPU or little GPU time. Every value is ours.

Upsampling by resize and convolution, a discriminator without norm on unshuffled pixels, a non-saturating logistic loss,
R1 and R2 at every eighth step, and a moving average of the weights. A sweep of this space chose loss weights, learning
rates and augmentation, on real faces of 32 px at 48 kimg.
"""

from search_spaces.dimensions import choice
from search_spaces.space import Dimension, Space
from trainables.config import SIGNED

HEADS = ("acgan", "multilabel")
PENALISED = ("r1", "r1_r2")
"""Penalties on the gradient at images themselves."""
NORM = "ours: Brock et al. 2019: scales and shifts of batch norm from tags and noise, against plain batch norm"
LOSS = "ours: Lim & Ye 2017, Huang et al. 2024: hinge and relativistic loss against the non-saturating logistic one"
PENALTY = (
    "ours: Mescheder et al. 2018, Huang et al. 2024: R1 stabilises; R2 does so too where fakes differ from real images"
)
LAZY = "ours: Karras et al. 2020: a penalty at every 16th step is as good as at every step, and cheaper"

LIGHTGAN = Space(
    name="lightgan",
    summary="small networks for minutes of CPU: resize and convolution, no norm in D, R1 and R2",
    recipe={
        "system": "lightgan",
        "image_size": 64,
        "generator.architecture": "resize",
        "generator.conditioning": "code",
        "generator.width": 40,
        "generator.upsampling": "nearest",
        "generator.noise_dim": 128,
        "generator.norm": "batch",
        "generator.norm_momentum": 0.1,
        "discriminator.architecture": "unshuffle",
        "discriminator.conditioning": "acgan",
        "discriminator.width": 64,
        "discriminator.norm": "none",
        "discriminator.norm_momentum": 0.1,
        "losses.adversarial": "bce",
        "losses.labels": "hard",
        "losses.penalty": "r1_r2",
        "losses.penalty_weight": 1.5,
        "losses.penalty_every": 8,
        "losses.tag_weight": 0.25,
        "updates.split_discriminator": False,
        "optimizer.generator_lr": 1.4e-3,
        "optimizer.discriminator_lr": 1.5e-3,
        "optimizer.beta1": 0.0,
        "optimizer.beta2": 0.99,
        "training.batch_size": 64,
        "training.ema_decay": 0.998,
        "training.flip": True,
        "training.diff_augment": True,
    },
    dimensions=(
        choice("generator.width", 40, 24, 32, 64, 96, claim="ours: what a second of CPU time buys"),
        choice("discriminator.width", 64, 32, 48, 96, 128, claim="ours: what a second of CPU time buys"),
        choice(
            "generator.upsampling", "nearest", "bilinear",
            claim="ours: Odena et al. 2016: resizing before a convolution leaves no checkerboard, nearest or bilinear",
        ),
        choice("generator.norm", "batch", "conditional_batch", claim=NORM),
        choice("generator.noise_dim", 128, 64, 256, claim="6 (A) Larger noise dims give more variety"),
        choice(
            "generator.init", "normal", "lecun", claim="15 (C) LeCun-normal init speeds the start and diverges less"
        ),
        choice(
            "discriminator.init", "normal", "lecun", claim="15 (C) LeCun-normal init speeds the start and diverges less"
        ),
        choice(
            "discriminator.conditioning", "acgan", "projection",
            claim="ours: Miyato & Koyama 2018: a projection follows tags better than classifier heads",
        ),
        choice("losses.adversarial", "bce", "hinge", "relativistic", claim=LOSS),
        choice("losses.penalty", "r1_r2", "r1", "none", claim=PENALTY),
        Dimension(
            "losses.penalty_weight", 1.5, low=0.1, high=20.0, log=True, claim=PENALTY,
            when={"losses.penalty": PENALISED},
        ),
        choice("losses.penalty_every", 8, 1, 4, 16, claim=LAZY, when={"losses.penalty": PENALISED}),
        Dimension(
            "losses.tag_weight", 0.25, low=0.1, high=4.0, log=True,
            claim="10 (A) More adversarial weight draws sooner, more classification weight follows tags better",
            when={"discriminator.conditioning": HEADS},
        ),
        Dimension("optimizer.generator_lr", 1.4e-3, low=2e-4, high=4e-3, log=True, claim="ours"),
        Dimension("optimizer.discriminator_lr", 1.5e-3, low=2e-4, high=4e-3, log=True, claim="ours"),
        choice("optimizer.beta1", 0.0, 0.5, claim="ours: momentum of the step, none in Karras et al. 2020"),
        choice("optimizer.beta2", 0.99, 0.9, 0.999, claim="ours: Huang et al. 2024: 0.9 early, 0.99 late"),
        choice("training.batch_size", 64, 16, 32, claim="ours: more steps or steadier steps for the same images"),
        choice("training.ema_decay", 0.998, 0.99, 0.9995, claim="ours: Yazici et al. 2019: averaged weights help"),
        choice("training.diff_augment", True, False, claim="ours: Zhao et al. 2020: for small data"),
        choice(
            "training.augment_target", 0.0, 0.6, claim="ours: adapts to overfitting (Karras et al. 2020)",
            when={
                "training.diff_augment": (True,), "training.augment_schedule": ("constant",),
                "losses.adversarial": SIGNED,
            },
        ),
        choice("training.flip", True, False, claim="13 (B) B's data are mirrored and turned"),
    ),
)  # fmt: skip
"""The recipe and the space around it."""
