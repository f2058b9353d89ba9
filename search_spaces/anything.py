"""Every conditional system's networks, losses and tricks in one space, and every unconditional one's in another.

One sweep can so answer which combination wins on one's own faces: ``system`` brings the pair of networks and what its
report fixes of them, and every loss, penalty, conditioning and trick varies on each, so that the recipe of every system
is a point of the space. Conditions keep out what cannot be built; the recipes are A's and E's.
"""

from search_spaces import dimensions as shared
from search_spaces.acgan import ACGAN
from search_spaces.cdcgan import CDCGAN
from search_spaces.combo_dcgan import COMBO_DCGAN
from search_spaces.dcgan import DCGAN
from search_spaces.dimensions import SLOPED, TAG_INPUTS, choice
from search_spaces.matching_wgan import MATCHING_WGAN
from search_spaces.space import Condition, Dimension, Space
from search_spaces.srresnet_acgan import SRRESNET_ACGAN
from trainables.config import Value

HEADS = ("acgan", "multilabel")
TARGETS = ("bce", "lsgan")
"""Losses with targets that can be softened."""
FREE = ("bce", "lsgan", "hinge")
"""Losses that need no penalty; with wgan it is wgan_gp, or its weights are clipped."""

_ARCHITECTURE = "13 (B), 16 (C) Residual nets look better; dense layer or convolution first"
_CONDITIONING = "2 (A, B), 18 (D) AC-GAN follows tags better; expanding tags to maps collapses"

_LOSSES = (
    choice("losses.adversarial", "bce", "lsgan", "wgan", "hinge", claim="14a (C) WGAN-GP learns faster, breaks less"),
    # Through the residual trunk's many layers clipped weights let next to nothing pass.
    shared.weight_clip(when={"discriminator.architecture": ("dcgan", "matching")}),
    Dimension(
        "losses.penalty", "none", choices=("none", "wgan_gp", "dragan", "r1"), claim=shared.PENALTY,
        when={"losses.adversarial": FREE},
    ),
    Dimension(
        "losses.penalty_weight", 10.0, low=0.1, high=100.0, log=True, claim=shared.PENALTY,
        when={"losses.penalty": SLOPED},
    ),
    Dimension(
        "losses.penalty_noise", 0.5, low=0.1, high=2.0, log=True, claim=shared.PENALTY,
        when={"losses.penalty": ("dragan",)},
    ),
    choice(
        "losses.labels", "hard", "soft", "noisy", claim="8 (A, E) Soft and noisy labels",
        when={"losses.adversarial": TARGETS},
    ),
)  # fmt: skip
_TRAINING = (
    choice(
        "generator.norm", "batch", "instance", "layer", "none",
        claim="ours: C has no norm in G, all others batch norm; instance and layer norm for comparison",
    ),
    shared.critic_norm(),
    choice("discriminator.spectral_norm", False, True, claim=shared.PENALTY),
    *shared.initialisation("normal"),
    choice("generator.dropout", 0.0, 0.5, claim="20 (E) Dropout in G hurts"),
    choice("discriminator.dropout", 0.0, 0.2, claim="ours: C's alpha dropout"),
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
    shared.decay(),
    *shared.augmentation(),
    shared.averaging(),
)  # fmt: skip
_WGAN: tuple[tuple[Condition, dict[str, Value]], ...] = (
    ({"losses.adversarial": ("wgan",)}, {"losses.penalty": "wgan_gp"}),
    shared.CLIPPED,
)
"""A Wasserstein critic must be held to slope 1."""
_RECIPES = {
    space.name: space.recipe for space in (ACGAN, SRRESNET_ACGAN, MATCHING_WGAN, CDCGAN, COMBO_DCGAN)
}  # fmt: skip
_OF_GENERATOR = ("generator.norm_momentum", "generator.bias")
_OF_SYSTEM = (
    "generator.architecture", "discriminator.architecture", "discriminator.norm_momentum", "discriminator.bias",
    "discriminator.activation", "optimizer.beta2",
)  # fmt: skip
_SYSTEMS: tuple[tuple[Condition, dict[str, Value]], ...] = tuple(
    ({"system": (name,)}, {key: recipe[key] for key in _OF_SYSTEM}) for name, recipe in _RECIPES.items()
)
"""What each system brings; ``custom`` pairs one system's generator with another's discriminator."""
_GENERATORS: tuple[tuple[Condition, dict[str, Value]], ...] = tuple(
    ({"generator.architecture": (recipe["generator.architecture"],)}, {key: recipe[key] for key in _OF_GENERATOR})
    for recipe in _RECIPES.values()
)
"""What each generator brings, of which every system has its own."""
_CUSTOM: Condition = {"system": ("custom",)}

ANYTHING = Space(
    name="anything",
    summary="A, B, C, D and F merged: any conditional network, conditioning, loss, penalty and trick",
    recipe={**ACGAN.recipe, "losses.labels": "hard", "updates.split_discriminator": False},
    implied=(*_WGAN, *_SYSTEMS, *_GENERATORS),
    dimensions=(
        choice("system", *_RECIPES, "custom", claim=f"{_ARCHITECTURE}; custom: G of one with D of another"),
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
        choice(
            "discriminator.activation",
            "leaky_relu",
            "relu",
            claim="ours: ReLU in the discriminators of C and D, LeakyReLU in the others",
            when=_CUSTOM,
        ),
        choice(
            "discriminator.conditioning",
            "acgan",
            "multilabel",
            "concat",
            "map",
            "combo",
            "projection",
            claim=_CONDITIONING,
        ),
        choice(
            "generator.conditioning", "embedding", "code", claim="4, 6 (A) Embeddings with noise, or the tag vector"
        ),
        Dimension(
            "tags.encoding",
            "one_hot",
            choices=("one_hot", "one_hot_unknown", "one_hot_none", "pairs"),
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
        choice("generator.noise_dim", 256, 40, 64, 100, 128, claim="6 (A) Larger noise dims give more variety"),
        choice("generator.final_norm", False, True, claim="3 (A) No BatchNorm on G's last block"),
        choice(
            "generator.oversize",
            False,
            True,
            claim="7 (A) Oversize-then-subsample is unstable",
            when={"generator.architecture": ("acgan", "dcgan", "dense")},
        ),
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
        shared.wrong_tag_weight(),
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
        choice(
            "losses.tag_loss_on_fakes",
            False,
            True,
            claim="ours: whether D should learn tags from fakes (A) or from real pictures only (B)",
            when={"discriminator.conditioning": HEADS},
        ),
        Dimension(
            "training.extra_data",
            False,
            choices=(False, True),
            claim="11 (A) Masked extra data changes little",
            when={"tags.encoding": ("one_hot", "one_hot_unknown", "one_hot_none")},
        ),
        *_TRAINING,
        Dimension(
            "optimizer.beta2",
            0.999,
            choices=(0.9, 0.999),
            claim="ours: C's beta2 against the others'",
            when={**_CUSTOM, "optimizer.name": ("adam",)},
        ),
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
