"""Every conditional system's networks, losses and tricks in one space, and every unconditional one's in another.

One sweep can so answer which combination wins on one's own faces: ``system`` chooses the pair of networks, and every
loss, penalty, conditioning and trick varies on each. Conditions keep out what cannot be built; the recipes are A's and
E's.
"""

from search_spaces import dimensions as shared
from search_spaces.acgan import ACGAN
from search_spaces.dcgan import DCGAN
from search_spaces.dimensions import SLOPED, TAG_INPUTS, choice
from search_spaces.space import Condition, Dimension, Space
from trainables.config import Value

HEADS = ("acgan", "multilabel")
TARGETS = ("bce", "lsgan")
"""Losses with targets that can be softened."""
FREE = ("bce", "lsgan", "hinge")
"""Losses that need no penalty; with wgan the recipe's wgan_gp stays."""

_ARCHITECTURE = "13 (B), 16 (C) Residual nets look better; dense layer or convolution first"
_CONDITIONING = "2 (A, B), 18 (D) AC-GAN follows tags better; expanding tags to maps collapses"

_LOSSES = (
    choice("losses.adversarial", "bce", "lsgan", "wgan", "hinge", claim="14a (C) WGAN-GP learns faster, breaks less"),
    Dimension(
        "losses.penalty", "none", choices=("none", "wgan_gp", "dragan", "r1"), claim=shared.PENALTY,
        when={"losses.adversarial": FREE},
    ),
    Dimension(
        "losses.penalty_weight", 10.0, low=0.1, high=100.0, log=True, claim=shared.PENALTY,
        when={"losses.penalty": SLOPED},
    ),
    choice(
        "losses.labels", "hard", "soft", "noisy", claim="8 (A, E) Soft and noisy labels",
        when={"losses.adversarial": TARGETS},
    ),
)  # fmt: skip
_TRAINING = (
    shared.critic_norm(),
    choice("discriminator.spectral_norm", False, True, claim=shared.PENALTY),
    *shared.initialisation("normal"),
    choice("generator.dropout", 0.0, 0.5, claim="20 (E) Dropout in G hurts"),
    *shared.update_ratio(),
    choice(
        "updates.split_discriminator", False, True, claim="ours: one D step on both kinds of pictures, or one on each"
    ),
    choice("optimizer.name", "adam", "rmsprop", claim="ours: G's RMSprop against Adam"),
    *shared.learning_rates(2e-4, 2e-4),
    Dimension(
        "optimizer.beta1",
        0.5,
        choices=(0.0, 0.5),
        claim="ours: C's beta1 against A's",
        when={"optimizer.name": ("adam",)},
    ),
    *shared.augmentation(),
    shared.averaging(),
)
_WGAN: tuple[tuple[Condition, dict[str, Value]], ...] = (
    ({"losses.adversarial": ("wgan",)}, {"losses.penalty": "wgan_gp"}),
)
"""A Wasserstein critic must be held to slope 1."""
_NETWORKS = {
    "acgan": ("acgan", "dcgan"),
    "srresnet_acgan": ("srresnet", "srresnet"),
    "matching_wgan": ("matching", "matching"),
    "cdcgan": ("dense", "dcgan"),
    "combo_dcgan": ("dcgan", "dcgan"),
}
"""The networks of each system; ``custom`` pairs one system's generator with another's discriminator."""
_PAIRS: tuple[tuple[Condition, dict[str, Value]], ...] = tuple(
    ({"system": (name,)}, {"generator.architecture": generator, "discriminator.architecture": discriminator})
    for name, (generator, discriminator) in _NETWORKS.items()
)
_CUSTOM: Condition = {"system": ("custom",)}

ANYTHING = Space(
    name="anything",
    summary="A, B, C, D and F merged: any conditional network, conditioning, loss, penalty and trick",
    recipe={**ACGAN.recipe, "losses.labels": "hard", "updates.split_discriminator": False},
    implied=(*_WGAN, *_PAIRS),
    dimensions=(
        choice("system", *_NETWORKS, "custom", claim=f"{_ARCHITECTURE}; custom: G of one with D of another"),
        Dimension(
            "generator.architecture",
            "acgan",
            choices=("acgan", "dcgan", "dense", "matching", "srresnet"),
            claim=_ARCHITECTURE,
            when=_CUSTOM,
        ),
        Dimension(
            "discriminator.architecture",
            "dcgan",
            choices=("dcgan", "matching", "srresnet"),
            claim=_ARCHITECTURE,
            when=_CUSTOM,
        ),
        shared.width("generator", 64, 16, 32, 64),
        shared.width("discriminator", 64, 16, 32, 64),
        Dimension(
            "generator.blocks", 16, choices=(4, 8, 16), claim="13 (B)", when={"generator.architecture": ("srresnet",)}
        ),
        Dimension(
            "generator.first_layer",
            "dense",
            choices=("dense", "convolution"),
            claim="16 (C) Dense first: no grid",
            when={"generator.architecture": ("matching",)},
        ),
        choice("discriminator.conditioning", "acgan", "multilabel", "concat", "map", "projection", claim=_CONDITIONING),
        choice(
            "generator.conditioning", "embedding", "code", claim="4, 6 (A) Embeddings with noise, or the tag vector"
        ),
        Dimension(
            "tags.encoding",
            "one_hot",
            choices=("one_hot", "one_hot_none", "pairs"),
            claim="22 (F) a place per combination against one per tag",
            when={"generator.conditioning": ("code",)},
        ),
        Dimension(
            "generator.embedding_dim",
            8,
            choices=(4, 8, 16),
            claim="6 (A) Larger embedding dims give more variety",
            when={"generator.conditioning": ("embedding",)},
        ),
        Dimension(
            "generator.embedding_noise",
            0.1,
            choices=(0.0, 0.05, 0.1),
            claim="4 (A) Embedding noise: no difference",
            when={"generator.conditioning": ("embedding",)},
        ),
        choice("generator.noise_dim", 256, 64, 128, claim="6 (A) Larger noise dims give more variety"),
        choice("generator.final_norm", False, True, claim="3 (A) No BatchNorm on G's last block"),
        choice("generator.final_activation", "tanh", "leaky_relu", "sigmoid", claim="5 (A), C's pixel range"),
        *_LOSSES,
        Dimension(
            "losses.penalty_on_tags",
            False,
            choices=(False, True),
            claim="14a (C) gradient on the tags too",
            when={"losses.penalty": ("wgan_gp",), "discriminator.conditioning": TAG_INPUTS},
        ),
        Dimension(
            "losses.wrong_tags",
            "none",
            choices=("none", "data", "balanced"),
            claim="17 (D) Balanced wrong tags beat data-drawn ones",
            when={"discriminator.conditioning": TAG_INPUTS},
        ),
        Dimension(
            "losses.tag_weight",
            1.0,
            low=0.25,
            high=4.0,
            log=True,
            claim="10 (A) Weights of the two losses",
            when={"discriminator.conditioning": HEADS},
        ),
        Dimension(
            "losses.adversarial_weight",
            1.0,
            low=0.25,
            high=4.0,
            log=True,
            claim="10 (A) Weights of the two losses",
            when={"discriminator.conditioning": HEADS},
        ),
        Dimension(
            "training.extra_data",
            False,
            choices=(False, True),
            claim="11 (A) Masked extra data changes little",
            when={"tags.encoding": ("one_hot", "one_hot_none")},
        ),
        *_TRAINING,
    ),
)
"""Any conditional system."""

ANYTHING_UNCONDITIONAL = Space(
    name="anything_unconditional",
    summary="E and G merged: any network, loss, penalty and trick without tags; one objective",
    recipe={**DCGAN.recipe, "system": "custom", "optimizer.generator_lr": 2e-4, "optimizer.discriminator_lr": 2e-4},
    implied=_WGAN,
    dimensions=(
        choice("generator.architecture", "dcgan", "acgan", "dense", "matching", "srresnet", claim=_ARCHITECTURE),
        choice("discriminator.architecture", "dcgan", "matching", "srresnet", claim=_ARCHITECTURE),
        shared.width("generator", 64, 16, 32, 64),
        shared.width("discriminator", 64, 16, 32, 64),
        choice("generator.noise_dim", 100, 64, 256, claim="6 (A) Larger noise dims give more variety"),
        *_LOSSES,
        *_TRAINING,
    ),
)
"""Any unconditional system."""
