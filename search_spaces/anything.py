"""Spaces that merge the networks, losses and tricks of all conditional, or of all unconditional, systems.

One sweep of such a space shows which combination is best on a user's data. ``system`` selects a pair of networks with
the values that its report fixes; every loss, penalty, conditioning and trick varies with each pair, so that the recipe
of every system is a point of the space. Conditions exclude invalid combinations. The base recipes are A's and E's.
"""

import dataclasses

from search_spaces import dimensions as shared
from search_spaces.acgan import ACGAN
from search_spaces.cdcgan import CDCGAN
from search_spaces.combo_dcgan import COMBO_DCGAN
from search_spaces.dcgan import DCGAN
from search_spaces.dimensions import SLOPED, TAG_INPUTS, choice
from search_spaces.lightgan import LIGHTGAN
from search_spaces.matching_wgan import MATCHING_WGAN
from search_spaces.r3gan import R3GAN
from search_spaces.space import Condition, Dimension, Space
from search_spaces.srresnet_acgan import SRRESNET_ACGAN
from trainables.config import R3GAN_PARTS, SIGNED, Value

HEADS = ("acgan", "multilabel")
CODES = (*TAG_INPUTS, "product")
"""Conditionings of discriminators that take tags as input."""
TARGETS = ("bce", "lsgan")
"""Losses with targets that can be softened."""
UNPAIRED = ("bce", "lsgan", "wgan", "hinge")
"""Losses of one kind of images at a time."""
FREE = ("bce", "lsgan", "hinge", "relativistic")
"""Losses that need no penalty; wgan needs wgan_gp or clipped weights."""

PENALTIES = (*SLOPED, "r1_r2")
_NORMED: dict[str, Condition] = {
    "generator": {"generator.architecture": ("acgan", "dcgan", "dense", "matching", "srresnet", "resize")},
    "discriminator": {"discriminator.architecture": ("dcgan", "matching", "srresnet", "unshuffle")},
}
"""Networks with a choice of norm, dropout and initial weights: all but those of r3gan."""

_ARCHITECTURE = "13 (B), 16 (C) Residual nets look better; dense layer or convolution first"
_CONDITIONING = "2 (A, B), 18 (D) AC-GAN follows tags better; expanding tags to maps collapses"

_LOSSES = (
    choice(
        "losses.adversarial", "bce", "lsgan", "wgan", "hinge", "relativistic",
        claim="14a (C) WGAN-GP learns faster, breaks less; ours: relativistic pairs (Huang et al. 2024)",
    ),
    # Signals vanish in the residual trunk if the weights of its many layers are clipped.
    shared.weight_clip(when={"discriminator.architecture": ("dcgan", "matching")}),
    Dimension(
        "losses.penalty", "none", choices=("none", "wgan_gp", "dragan", "r1", "r1_r2"), claim=shared.PENALTY,
        when={"losses.adversarial": FREE},
    ),
    Dimension(
        "losses.penalty_weight", 10.0, low=0.1, high=100.0, log=True, claim=shared.PENALTY,
        when={"losses.penalty": PENALTIES},
    ),
    choice(
        "losses.penalty_decay", "none", "cosine", claim="ours: to a tenth over the budget (Huang et al. 2024)",
        when={"losses.penalty": PENALTIES},
    ),
    choice(
        "losses.penalty_every", 1, 8, 16, claim="ours: lazy penalties (Karras et al. 2020)",
        when={"losses.penalty": ("r1", "r1_r2")},
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
        "generator.norm", "batch", "conditional_batch", "instance", "layer", "none",
        claim="ours: C has no norm in G, all others batch norm; the other norms for comparison",
        when=_NORMED["generator"],
    ),
    choice(
        "generator.upsampling", "nearest", "bilinear", claim="ours: lightgan's doublings",
        when={"generator.architecture": ("resize",)},
    ),
    dataclasses.replace(shared.critic_norm(), when=_NORMED["discriminator"]),
    choice("discriminator.spectral_norm", False, True, claim=shared.PENALTY, when=_NORMED["discriminator"]),
    *(
        dataclasses.replace(dimension, when=_NORMED[dimension.name.partition(".")[0]])
        for dimension in shared.initialisation("normal")
    ),
    choice("generator.dropout", 0.0, 0.5, claim="20 (E) Dropout in G hurts", when=_NORMED["generator"]),
    choice("discriminator.dropout", 0.0, 0.2, claim="ours: C's alpha dropout", when=_NORMED["discriminator"]),
    *shared.update_ratio(),
    choice(
        "updates.split_discriminator", False, True, claim="ours: one D step on both kinds of images, or one on each",
        when={"losses.adversarial": UNPAIRED},
    ),
    choice("optimizer.name", "adam", "rmsprop", claim="ours: G's RMSprop against Adam"),
    *shared.learning_rates(2e-4, 2e-4, highest=2e-3),
    Dimension(
        "optimizer.beta1",
        0.5,
        choices=(0.0, 0.5),
        claim="ours: C's beta1 against A's",
        when={"optimizer.name": ("adam",)},
    ),
    shared.decay(),
    choice(
        "optimizer.beta2_final", 0.0, 0.99, claim="ours: beta2 from 0.9 to 0.99 (Huang et al. 2024)",
        when={"optimizer.name": ("adam",)},
    ),
    *shared.augmentation(),
    Dimension(
        "training.augment_probability", 1.0, low=0.1, high=1.0, claim="ours: 0.3 to 0.55 in Huang et al. 2024",
        when={"training.diff_augment": (True,)},
    ),
    choice(
        "training.augment_schedule", "constant", "cosine", claim="ours: growing from 0 (Huang et al. 2024)",
        when={"training.diff_augment": (True,)},
    ),
    choice(
        "training.augment_target", 0.0, 0.6, claim="ours: adapts to overfitting (Karras et al. 2020)",
        when={
            "training.diff_augment": (True,), "training.augment_schedule": ("constant",),
            "losses.adversarial": SIGNED,
        },
    ),
    choice("training.ema_decay", 0.0, 0.99, 0.998, 0.999, claim="ours: no report averages its weights"),
    choice(
        "training.ema_halflife", 0.0, 1.0, 500.0, claim="ours: in images (Karras et al. 2020)",
        when={"training.ema_decay": (0.0,)},
    ),
)  # fmt: skip
_WGAN: tuple[tuple[Condition, dict[str, Value]], ...] = (
    ({"losses.adversarial": ("wgan",)}, {"losses.penalty": "wgan_gp"}),
    shared.CLIPPED,
)
"""A Wasserstein critic must be 1-Lipschitz."""
_RECIPES = {
    space.name: space.recipe
    for space in (ACGAN, SRRESNET_ACGAN, MATCHING_WGAN, CDCGAN, COMBO_DCGAN, LIGHTGAN, R3GAN)
}  # fmt: skip
_OF_GENERATOR = ("generator.norm_momentum", "generator.bias")
_OF_SYSTEM = (
    "generator.architecture", "discriminator.architecture", "discriminator.norm_momentum", "discriminator.bias",
    "discriminator.activation", "optimizer.beta2",
)  # fmt: skip
_SYSTEMS: tuple[tuple[Condition, dict[str, Value]], ...] = tuple(
    ({"system": (name,)}, {key: recipe[key] for key in _OF_SYSTEM}) for name, recipe in _RECIPES.items()
)
"""Values implied by each system; ``custom`` pairs one system's generator with another's discriminator."""
_GENERATORS: tuple[tuple[Condition, dict[str, Value]], ...] = tuple(
    ({"generator.architecture": (recipe["generator.architecture"],)}, {key: recipe[key] for key in _OF_GENERATOR})
    for recipe in _RECIPES.values()
)
"""Values implied by each generator; every system has a different one."""
_LIGHT: tuple[tuple[Condition, dict[str, Value]], ...] = tuple(
    ({f"{part}.architecture": (name,)}, {f"{part}.{key}": LIGHTGAN.recipe[f"{part}.{key}"] for key in fixed})
    for part, name, fixed in (
        ("generator", "resize", ("norm_momentum", "bias")),
        ("discriminator", "unshuffle", ("norm_momentum", "bias", "activation")),
    )
)
"""Values of lightgan's networks where there is no ``system`` to bring them."""
_RESIDUAL: tuple[tuple[Condition, dict[str, Value]], ...] = tuple(
    (
        {f"{part}.architecture": ("r3gan",)},
        {
            **{f"{part}.{key}": value for key, value in R3GAN_PARTS[part].items()},
            **{f"{part}.{key}": R3GAN.recipe[f"{part}.{key}"] for key in ("init", "max_width", "norm_momentum")},
        },
    )
    for part in ("generator", "discriminator")
)
_R3GAN: tuple[tuple[Condition, dict[str, Value]], ...] = (
    *_RESIDUAL,
    ({"generator.conditioning": ("linear",)}, {"generator.embedding_dim": R3GAN.recipe["generator.embedding_dim"]}),
    shared.COSINE,
)
"""Values that r3gan's networks, conditioning and decay need."""
_CUSTOM: Condition = {"system": ("custom",)}

ANYTHING = Space(
    name="anything",
    summary="A, B, C, D, F, lightgan and r3gan merged: any conditional network, conditioning, loss, penalty and trick",
    recipe={**ACGAN.recipe, "losses.labels": "hard", "updates.split_discriminator": False},
    implied=(*_WGAN, *_SYSTEMS, *_GENERATORS, *_R3GAN),
    dimensions=(
        choice("system", *_RECIPES, "custom", claim=f"{_ARCHITECTURE}; custom: G of one with D of another"),
        Dimension(
            "generator.architecture",
            "acgan",
            choices=("acgan", "dcgan", "dense", "matching", "srresnet", "resize", "r3gan"),
            claim=_ARCHITECTURE,
            when=_CUSTOM,
        ),
        Dimension(
            "discriminator.architecture",
            "dcgan",
            choices=("dcgan", "matching", "srresnet", "unshuffle", "r3gan"),
            claim=_ARCHITECTURE,
            when=_CUSTOM,
        ),
        shared.width("generator", 64, 16, 32, 40, 64),
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
            when={**_CUSTOM, "discriminator.architecture": ("dcgan", "matching", "srresnet")},
        ),
        choice(
            "discriminator.conditioning",
            "acgan",
            "multilabel",
            "concat",
            "map",
            "combo",
            "projection",
            "product",
            claim=_CONDITIONING,
        ),
        choice(
            "generator.conditioning",
            "embedding",
            "code",
            "linear",
            claim="4, 6 (A) Embeddings with noise, or the tag vector; ours: a linear layer on it",
        ),
        Dimension(
            "tags.encoding",
            "one_hot",
            choices=("one_hot", "one_hot_unknown", "one_hot_none", "pairs"),
            claim="22 (F) a place per combination against one per tag",
            when={"generator.conditioning": ("code", "linear")},
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
        choice("generator.final_activation", "tanh", "leaky_relu", "sigmoid", "none", claim="5 (A), C's pixel range"),
        *_LOSSES,
        Dimension(
            "losses.penalty_on_tags",
            False,
            choices=(False, True),
            claim="14a (C) gradient on the tags too",
            when={"losses.penalty": ("wgan_gp",), "discriminator.conditioning": CODES},
        ),
        Dimension(
            "losses.wrong_tags",
            "none",
            choices=("none", "data", "balanced"),
            claim="17 (D) Balanced wrong tags beat data-drawn ones",
            when={"discriminator.conditioning": CODES, "losses.adversarial": UNPAIRED},
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
            claim="ours: whether D should learn tags from fakes (A) or from real images only (B)",
            when={"discriminator.conditioning": HEADS},
        ),
        Dimension(
            "training.extra_data",
            False,
            choices=(False, True),
            claim="11 (A) Masked extra data changes little",
            when={
                "tags.encoding": ("one_hot", "one_hot_unknown", "one_hot_none"),
                "losses.adversarial": UNPAIRED,
            },
        ),
        *_TRAINING,
        Dimension(
            "optimizer.beta2",
            0.999,
            choices=(0.9, 0.99, 0.999),
            claim="ours: C's and lightgan's beta2 against the others'",
            when={**_CUSTOM, "optimizer.name": ("adam",)},
        ),
    ),
)
"""All conditional systems."""

ANYTHING_UNCONDITIONAL = Space(
    name="anything_unconditional",
    summary="E, G, lightgan and r3gan merged: any network, loss, penalty and trick without tags; one objective",
    recipe={**DCGAN.recipe, "system": "custom", "optimizer.generator_lr": 2e-4, "optimizer.discriminator_lr": 2e-4},
    implied=(
        *_WGAN,
        *_LIGHT,
        *_R3GAN,
        ({"generator.architecture": ("r3gan",)}, {"generator.final_activation": "none"}),
    ),
    dimensions=(
        choice(
            "generator.architecture",
            "dcgan",
            "acgan",
            "dense",
            "matching",
            "srresnet",
            "resize",
            "r3gan",
            claim=_ARCHITECTURE,
        ),
        choice(
            "discriminator.architecture", "dcgan", "matching", "srresnet", "unshuffle", "r3gan", claim=_ARCHITECTURE
        ),
        shared.width("generator", 64, 16, 32, 40, 64),
        shared.width("discriminator", 64, 16, 32, 64),
        choice("generator.noise_dim", 100, 64, 128, 256, claim="6 (A) Larger noise dims give more variety"),
        *_LOSSES,
        *_TRAINING,
        Dimension(
            "optimizer.beta2",
            0.999,
            choices=(0.9, 0.99, 0.999),
            claim="ours: lightgan's and r3gan's beta2 against the others'",
            when={"optimizer.name": ("adam",)},
        ),
    ),
)
"""All unconditional systems."""
