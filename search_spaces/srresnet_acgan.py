"""System B: SRResNet AC-GAN with a DRAGAN penalty (after arXiv 1708.05509).

The report does not give learning rates, betas, lambda_adv, penalty weight, noise scale and D's initial weights; these
values are ours. Its k4n64s3 and k3n256s2 are typing errors for the paper's strides 2 and 1; LeakyReLU and the global
skip follow the paper.
"""

from search_spaces import dimensions as shared
from search_spaces.dimensions import choice
from search_spaces.space import Dimension, Space

SRRESNET_ACGAN = Space(
    name="srresnet_acgan",
    summary="B: SRResNet AC-GAN, DRAGAN, spectral norm, 96x96 in the report",
    recipe={
        "system": "srresnet_acgan",
        "image_size": 96,
        "generator.architecture": "srresnet",
        "generator.conditioning": "code",
        "generator.width": 64,
        "generator.blocks": 16,
        "generator.noise_dim": 100,
        "generator.norm_momentum": 0.1,
        "generator.final_activation": "tanh",
        "discriminator.architecture": "srresnet",
        "discriminator.conditioning": "multilabel",
        "discriminator.width": 32,
        "discriminator.norm": "none",
        "discriminator.init": "lecun",
        "losses.labels": "hard",
        "losses.penalty": "dragan",
        "losses.penalty_weight": 10.0,
        "losses.penalty_noise": 0.5,
        "losses.adversarial_weight": 1.0,
        "updates.split_discriminator": False,
        "optimizer.generator_lr": 0.0002,
        "optimizer.discriminator_lr": 0.0002,
        "optimizer.beta1": 0.5,
        "training.batch_size": 64,
        "training.flip": True,
        "training.rotate": 5.0,
    },
    notes={
        "discriminator.init": "ours: through 42 layers without norms, weights of N(0, 0.02) let 1e-3 of an image pass",
        "optimizer.generator_lr": "ours",
        "optimizer.discriminator_lr": "ours",
        "optimizer.beta1": "ours",
        "losses.penalty_weight": "ours",
        "losses.penalty_noise": "ours",
        "losses.adversarial_weight": "ours",
    },
    dimensions=(
        shared.width("generator", 64, 16, 32, 64),
        shared.width("discriminator", 32, 8, 16, 32),
        choice("generator.blocks", 16, 4, 8, claim="13 (B) Residual nets and 96x96 look better"),
        choice("generator.architecture", "srresnet", "dcgan", claim="13 (B) Residual nets and 96x96 look better"),
        choice("discriminator.architecture", "srresnet", "dcgan", claim="13 (B) Residual nets and 96x96 look better"),
        choice(
            "discriminator.conditioning",
            "multilabel",
            "acgan",
            "concat",
            claim="2 (A, B) AC-GAN follows tags better than concatenation-conditioned DCGAN",
        ),
        choice("losses.penalty", "dragan", "none", "r1", claim=shared.PENALTY),
        Dimension(
            "losses.penalty_weight",
            10.0,
            low=0.1,
            high=100.0,
            log=True,
            claim=shared.PENALTY,
            when={"losses.penalty": shared.SLOPED},
        ),
        Dimension(
            "losses.penalty_noise",
            0.5,
            low=0.1,
            high=2.0,
            log=True,
            claim=shared.PENALTY,
            when={"losses.penalty": ("dragan",)},
        ),
        shared.initialisation("lecun")[1],
        choice("discriminator.spectral_norm", False, True, claim=shared.PENALTY),
        Dimension("losses.adversarial_weight", 1.0, low=0.1, high=40.0, log=True, claim="10 (A, B) lambda_adv"),
        *shared.learning_rates(2e-4, 2e-4),
        *shared.augmentation(flip=True, rotate=5.0),
        shared.averaging(),
    ),
)
"""The report's recipe and the space of its tricks."""
