"""System A: AC-GAN with colour embeddings.

The report gives widths, embedding and noise dimensions, embedding noise, batch norm momentum, activations, soft labels,
and one step on real and one on fake images. It does not give optimiser, learning rates, batch size and loss weights;
these values are ours.
"""

from search_spaces.space import Dimension, Space

ACGAN = Space(
    name="acgan",
    summary="A: AC-GAN with colour embeddings, 64x64 in the report",
    recipe={
        "system": "acgan",
        "image_size": 64,
        "generator.width": 64,
        "generator.noise_dim": 256,
        "generator.embedding_dim": 8,
        "generator.embedding_noise": 0.1,
        "generator.norm_momentum": 0.5,
        "generator.final_norm": False,
        "generator.final_activation": "tanh",
        "generator.oversize": False,
        "discriminator.width": 64,
        "discriminator.conditioning": "acgan",
        "discriminator.norm_momentum": 0.5,
        "losses.labels": "soft",
        "losses.adversarial_weight": 1.0,
        "losses.tag_weight": 1.0,
        "losses.tag_loss_on_fakes": False,
        "updates.generator_steps": 1,
        "updates.discriminator_steps": 1,
        "updates.split_discriminator": True,
        "optimizer.generator_lr": 2e-4,
        "optimizer.discriminator_lr": 2e-4,
        "optimizer.beta1": 0.5,
        "optimizer.beta2": 0.999,
        "training.batch_size": 64,
        "training.ema_decay": 0.0,
        "training.flip": False,
        "training.extra_data": False,
    },
    notes={
        "optimizer.generator_lr": "ours",
        "optimizer.discriminator_lr": "ours",
        "optimizer.beta1": "ours",
        "optimizer.beta2": "ours",
        "training.batch_size": "ours",
        "losses.adversarial_weight": "ours",
        "losses.tag_weight": "ours",
        "losses.tag_loss_on_fakes": "ours, as in B: learning them from fakes lets G and D agree on wrong colours",
        "training.ema_decay": "ours",
        "training.flip": "ours",
    },
    dimensions=(
        Dimension(
            "generator.width", 64, choices=(16, 32, 64, 128),
            claim="1 (A) Filter width below 64 does not learn to draw",
        ),
        Dimension(
            "discriminator.width", 64, choices=(16, 32, 64, 128),
            claim="1 (A) Filter width below 64 does not learn to draw",
        ),
        Dimension(
            "discriminator.conditioning", "acgan", choices=("acgan", "concat"),
            claim="2 (A, B) AC-GAN follows tags better than concatenation-conditioned DCGAN",
        ),
        Dimension(
            "generator.final_norm", False, choices=(False, True),
            claim="3 (A) No BatchNorm on G's last block: faster, fewer grids, less white",
        ),
        Dimension(
            "generator.final_activation", "tanh", choices=("tanh", "leaky_relu"),
            claim="5 (A) tanh as last activation is less over-exposed early than LeakyReLU",
        ),
        Dimension(
            "generator.embedding_noise", 0.1, choices=(0.0, 0.05, 0.1),
            claim="4 (A) Embedding noise 0.05 vs 0.1: no clear difference",
        ),
        Dimension(
            "generator.embedding_dim", 8, choices=(4, 8, 16),
            claim="6 (A) Larger embedding and noise dims give more variety",
        ),
        Dimension(
            "generator.noise_dim", 256, choices=(64, 128, 256),
            claim="6 (A) Larger embedding and noise dims give more variety",
        ),
        Dimension(
            "generator.oversize", False, choices=(False, True),
            claim="7 (A) Oversize-then-subsample is unstable",
        ),
        Dimension(
            "losses.labels", "soft", choices=("hard", "soft"),
            claim="8 (A) soft labels: an untested hope",
        ),
        Dimension(
            "updates.generator_steps", 1, low=1, high=4,
            claim="9a (A) One to four G steps per D step: no clear difference",
        ),
        Dimension(
            "losses.adversarial_weight", 1.0, low=0.25, high=4.0, log=True,
            claim="10 (A) More adversarial weight draws sooner, more classification weight follows tags better",
        ),
        Dimension(
            "losses.tag_weight", 1.0, low=0.25, high=4.0, log=True, when={"discriminator.conditioning": ("acgan",)},
            claim="10 (A) More adversarial weight draws sooner, more classification weight follows tags better",
        ),
        Dimension(
            "losses.tag_loss_on_fakes", False, choices=(False, True), when={"discriminator.conditioning": ("acgan",)},
            claim="ours: whether D should learn tags from fakes (A) or from real images only (B)",
        ),
        Dimension(
            "training.extra_data", False, choices=(False, True),
            claim="11 (A) Masked extra data changes little",
        ),
        Dimension(
            "updates.split_discriminator", True, choices=(False, True),
            claim="ours: one D step on real and one on fake images (A), or one on both (E)",
        ),
        Dimension("optimizer.generator_lr", 2e-4, low=5e-5, high=1e-3, log=True, claim="ours"),
        Dimension("optimizer.discriminator_lr", 2e-4, low=5e-5, high=1e-3, log=True, claim="ours"),
        Dimension("optimizer.beta1", 0.5, choices=(0.0, 0.5), claim="ours"),
        Dimension(
            "optimizer.decay", "none", choices=("none", "linear"),
            claim="ours: both rates fall to 0 over the second half of the budget",
        ),
        Dimension("training.ema_decay", 0.0, choices=(0.0, 0.99, 0.999), claim="ours"),
        Dimension("training.flip", False, choices=(False, True), claim="ours"),
    ),
)  # fmt: skip
"""The report's recipe and the space of its tricks."""
