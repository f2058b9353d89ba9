"""System I: StarGAN, one generator for every target class.

The report gives the parts: a generator on image and target vector, a patch discriminator with class heads, WGAN-GP,
classification and reconstruction losses. All numbers, instance norm in G and no norm in D are ours, after the paper
(Choi et al. 2018). The generator is H's without its first norm, since instance norm would remove a target vector that
is constant over the image; the discriminator's trunk ends at 4 px, the paper's at 2.
"""

from search_spaces import dimensions as shared
from search_spaces.dimensions import choice
from search_spaces.space import Dimension, Space
from trainables.config import TRANSLATING

_PAPER = "ours, after the paper"

STARGAN = Space(
    name="stargan",
    summary="I: StarGAN, one generator for all targets; hair and eye colours, or attributes of photos",
    recipe={
        "system": "stargan",
        "image_size": 128,
        **TRANSLATING["stargan"],
        "generator.width": 64,
        "generator.blocks": 6,
        "generator.norm": "instance",
        "discriminator.width": 64,
        "discriminator.norm": "none",
        "discriminator.init": "lecun",
        "losses.adversarial": "wgan",
        "losses.labels": "hard",
        "losses.penalty": "wgan_gp",
        "losses.penalty_weight": 10.0,
        "losses.adversarial_weight": 1.0,
        "losses.tag_weight": 1.0,
        "losses.cycle_weight": 10.0,
        "losses.identity_weight": 0.0,
        "updates.discriminator_steps": 5,
        "updates.split_discriminator": False,
        "optimizer.generator_lr": 1e-4,
        "optimizer.discriminator_lr": 1e-4,
        "optimizer.beta1": 0.5,
        "optimizer.beta2": 0.999,
        "optimizer.decay": "linear",
        "training.batch_size": 16,
    },
    notes={
        "image_size": _PAPER,
        "generator.width": _PAPER,
        "generator.blocks": _PAPER,
        "generator.norm": _PAPER,
        "discriminator.width": _PAPER,
        "discriminator.norm": _PAPER,
        "discriminator.init": "ours: through so many layers without norms weights of N(0, 0.02) let nothing pass",
        "losses.penalty_weight": _PAPER,
        "losses.adversarial_weight": _PAPER,
        "losses.tag_weight": _PAPER,
        "losses.cycle_weight": _PAPER,
        "updates.discriminator_steps": _PAPER,
        "updates.split_discriminator": _PAPER,
        "optimizer.generator_lr": _PAPER,
        "optimizer.discriminator_lr": _PAPER,
        "optimizer.beta1": _PAPER,
        "optimizer.beta2": _PAPER,
        "optimizer.decay": _PAPER,
        "training.batch_size": _PAPER,
    },
    implied=(({"losses.adversarial": ("lsgan",)}, {"losses.penalty": "none"}),),
    dimensions=(
        choice("losses.adversarial", "wgan", "lsgan", claim="ours: I's WGAN-GP, or H's LSGAN without a penalty"),
        Dimension(
            "losses.penalty_weight", 10.0, low=1.0, high=100.0, log=True, claim="ours",
            when={"losses.adversarial": ("wgan",)},
        ),
        Dimension(
            "losses.tag_weight", 1.0, low=0.25, high=4.0, log=True,
            claim="10 (A) More adversarial weight draws sooner, more classification weight follows tags better",
        ),
        Dimension(
            "losses.cycle_weight", 10.0, low=1.0, high=50.0, log=True, claim="ours: the paper's weight is 10"
        ),
        choice("losses.identity_weight", 0.0, 1.0, 5.0, claim="ours: H's identity loss, which the paper has not"),
        choice("generator.norm", "instance", "batch", claim="ours: the paper's instance norm against H's batch norm"),
        choice("discriminator.norm", "none", "instance", claim="ours: the paper has no norm in D"),
        choice("updates.discriminator_steps", 5, 1, 3, claim="9b (E) Three D steps per G step: better, steadier"),
        choice("generator.blocks", 6, 3, 9, claim="ours"),
        Dimension("generator.width", 64, choices=(16, 32, 64), claim="ours"),
        Dimension("discriminator.width", 64, choices=(16, 32, 64), claim="ours"),
        Dimension("optimizer.generator_lr", 1e-4, low=2e-5, high=1e-3, log=True, claim="ours"),
        Dimension("optimizer.discriminator_lr", 1e-4, low=2e-5, high=1e-3, log=True, claim="ours"),
        choice("training.flip", False, True, claim="13 (B) B's data are mirrored and turned"),
        shared.averaging(),
    ),
)  # fmt: skip
"""The report's recipe and the space of its tricks."""
