"""Sections of a configuration: networks, losses, update ratio, optimizer and training, each with its ranges."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, TypeVar

Value = bool | int | float | str
Precision = Literal["float32", "bf16"]
"""Arithmetic of forward passes; see ``trainables.precision``, which imports torch."""
Channels = Literal[1, 3]
"""Channels of images: grey, or RGB."""
CHANNEL_NAMES = {1: "grey", 3: "RGB"}
Fit = Literal["crop", "pad", "stretch"]
"""How an image becomes square: cut to its centre square, padded with white, or stretched."""
PixelPlace = Literal["auto", "device", "memory", "disk"]
"""Where decoded pixels are kept while training; see ``trainables.data.pixel_places``."""
T = TypeVar("T", bound=Value)

TRANSLATING: dict[str, dict[str, str]] = {
    "cyclegan": {
        "generator.architecture": "resnet",
        "generator.conditioning": "direction",
        "discriminator.architecture": "patch",
        "discriminator.conditioning": "domain",
    },
    "stargan": {
        "generator.architecture": "resnet",
        "generator.conditioning": "code",
        "discriminator.architecture": "patch",
        "discriminator.conditioning": "acgan",
    },
}
"""The systems that translate images rather than draw them, and the parts that each of them is made of."""


def bounded(default: T, low: float, high: float) -> T:
    """A dataclass field whose value must lie in ``low..high``, both included."""
    field: T = dataclasses.field(default=default, metadata={"low": low, "high": high})
    return field


@dataclass(frozen=True)
class TagConfig:
    """Encoding of labels as the vector that networks take."""

    encoding: Literal["one_hot", "one_hot_unknown", "one_hot_none", "pairs"] = "one_hot"
    """``one_hot``: one place per class, zeros for an unknown tag. ``one_hot_unknown``: one more place for any unknown
    tag (C's 24). ``one_hot_none``: one more place per group (D's 25). ``pairs``: one place per combination of classes
    that occurs in the data (F's 119)."""


@dataclass(frozen=True)
class GeneratorConfig:
    """The generator. ``width`` is the number of filters of its last full hidden block; each block before it has twice
    the next one's. At 64 px and width 64 that gives A's 1024, 512, 256, 128, 64 and E's 512, 256, 128, 64.
    """

    architecture: Literal["acgan", "dcgan", "dense", "matching", "srresnet", "resize", "resnet", "r3gan"] = "acgan"
    """``acgan``: A. ``dcgan``: E, F and G. ``dense``: D. ``matching``: C. ``srresnet``: B. ``resize``: lightgan, where
    each block has 1.5 times the filters of the next. ``resnet``, from image to image: H and I, where ``width`` is the
    number of filters of the first convolution. ``r3gan``: residual blocks without norms (Huang et al. 2024)."""
    conditioning: Literal["embedding", "code", "none", "direction", "linear"] = "embedding"
    """Learnt embeddings of the tags, the encoded tag vector itself, no tags at all, a network for each of the two
    classes that an image may be asked for (H), or a linear layer on the tag vector (Huang et al. 2024)."""
    width: int = bounded(64, 1, 1024)
    max_width: int = bounded(768, 1, 4096)
    """Largest number of filters of ``r3gan``'s blocks; with ``width`` 768 as well, all have as many."""
    blocks: int = bounded(16, 1, 64)
    """Residual blocks of ``srresnet`` and ``resnet``."""
    first_layer: Literal["dense", "convolution"] = "dense"
    """How ``matching`` leaves the vector: C's dense layer, or a valid convolution first."""
    upsampling: Literal["nearest", "bilinear"] = "nearest"
    """How ``resize`` doubles its feature maps; the last doubling is always bilinear."""
    noise_dim: int = bounded(256, 1, 4096)
    embedding_dim: int = bounded(8, 1, 512)
    embedding_noise: float = bounded(0.1, 0.0, 10.0)
    """Standard deviation of the noise added to the tag embeddings in training."""
    norm: Literal["batch", "conditional_batch", "instance", "layer", "none"] = "batch"
    """``conditional_batch``: scales and shifts are linear functions of tags and noise (Brock et al. 2019)."""
    norm_momentum: float = bounded(0.5, 0.0, 1.0)
    """Weight of the new batch in the running statistics of batch norm."""
    dropout: float = bounded(0.0, 0.0, 0.95)
    """After each normalised block."""
    init: Literal["normal", "lecun", "residual"] = "normal"
    """N(0, 0.02), LeCun normal, or, for ``r3gan``, LeCun normal scaled so that every block starts as the identity."""
    bias: bool = True
    """Biases of the convolutions."""
    final_norm: bool = False
    """Batch norm on the block that draws the image."""
    final_activation: Literal["tanh", "leaky_relu", "sigmoid", "none"] = "tanh"
    """With ``sigmoid`` the networks work on images in [0, 1], else in [-1, 1]."""
    oversize: bool = False
    """Draw at twice the size, then a stride-2 convolution back."""


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The discriminator or critic: a trunk of convolutions and a head. ``width`` is the filters of its first block."""

    architecture: Literal["dcgan", "matching", "srresnet", "unshuffle", "patch", "r3gan"] = "dcgan"
    """``dcgan``: A, D, E, F and G. ``matching``: C. ``srresnet``: B. ``unshuffle``: lightgan. ``patch``, which scores
    each patch separately: H and I. ``r3gan``: as the generator's."""
    conditioning: Literal[
        "acgan", "multilabel", "concat", "map", "combo", "projection", "none", "domain", "product"
    ] = "acgan"
    """``acgan``: a softmax head per tag group classifies the tags. ``multilabel``: a sigmoid head over all tags (B).
    ``concat``: the tag vector joins the dense features (D). ``map``: it is repeated over the feature map (C).
    ``combo``: it is deconvolved to a map first (F). ``projection``: Miyato & Koyama 2018. ``none``: no tags.
    ``domain``: a discriminator for each of two classes (H). ``product``: only the inner product of features and tags
    (Huang et al. 2024)."""
    width: int = bounded(64, 1, 1024)
    max_width: int = bounded(768, 1, 4096)
    """Largest number of filters of ``r3gan``'s blocks."""
    norm: Literal["batch", "instance", "layer", "none"] = "batch"
    norm_momentum: float = bounded(0.5, 0.0, 1.0)
    spectral_norm: bool = False
    activation: Literal["leaky_relu", "relu"] = "leaky_relu"
    dropout: float = bounded(0.0, 0.0, 0.95)
    """Alpha dropout after each block."""
    init: Literal["normal", "lecun", "residual"] = "normal"
    bias: bool = True
    """Biases of the convolutions."""


@dataclass(frozen=True)
class LossConfig:
    """Losses and penalties."""

    adversarial: Literal["bce", "lsgan", "wgan", "hinge", "relativistic"] = "bce"
    """``bce`` with hard labels is the non-saturating logistic loss. ``relativistic``: a real image should score higher
    than a generated one with the same tags (Jolicoeur-Martineau 2019, paired as in Huang et al. 2024)."""
    labels: Literal["hard", "soft", "noisy"] = "soft"
    """Targets of real/fake: 1 and 0, or drawn from U[0.8, 1] and U[0, 0.2], or from U[0.75, 1.25] and U[0, 0.25]."""
    adversarial_weight: float = bounded(1.0, 0.0, 1000.0)
    penalty: Literal["none", "wgan_gp", "dragan", "r1", "r1_r2"] = "none"
    """On the discriminator's gradient: at mixed images, around real images, at real images, or at real and at
    generated images."""
    penalty_every: int = bounded(1, 1, 64)
    """Add the penalty at every k-th discriminator step only, with k times its weight (Karras et al. 2020)."""
    penalty_on_tags: bool = False
    """Take the gradient with respect to the image and the tag vector together (C). If the critic's slope is 1 in both,
    a wrong colour changes its score by at most the distance of two tag vectors, 1.4. This is small compared with the
    differences between images, so the generator learns to follow tags late."""
    penalty_weight: float = bounded(10.0, 0.0, 10000.0)
    penalty_decay: Literal["none", "cosine"] = "none"
    """``cosine``: the weight falls along half a cosine over the budget, to ``penalty_final_share`` of it."""
    penalty_final_share: float = bounded(0.1, 0.0, 1.0)
    penalty_noise: float = bounded(0.5, 0.0, 10.0)
    """DRAGAN's perturbation, in standard deviations of the batch."""
    weight_clip: float = bounded(0.0, 0.0, 10.0)
    """Largest absolute weight of a critic; 0 does not clip."""
    tag_weight: float = bounded(1.0, 0.0, 1000.0)
    tag_loss_on_fakes: bool = False
    """Whether D also learns tags from generated images (Odena et al. 2017), or from real ones only (B)."""
    wrong_tags: Literal["none", "data", "balanced"] = "none"
    """Whether D also sees real images with wrong tags, which it should call fake: another image's tags, or tags
    drawn uniformly over the classes."""
    wrong_tag_weight: float = bounded(0.5, 0.0, 1.0)
    """Share of the wrong-tag term in what D should call fake."""
    cycle_weight: float = bounded(10.0, 0.0, 1000.0)
    """L1 between an image and the same translated and back: H's cycle and I's reconstruction."""
    identity_weight: float = bounded(0.0, 0.0, 1000.0)
    """L1 between an image and its translation to what it already is (H)."""


@dataclass(frozen=True)
class UpdateConfig:
    """Update ratio."""

    generator_steps: int = bounded(1, 1, 100)
    discriminator_steps: int = bounded(1, 1, 100)
    split_discriminator: bool = True
    """One optimiser step on a real batch and one on a fake batch, rather than one on their sum."""


@dataclass(frozen=True)
class OptimizerConfig:
    """Optimizer of both networks."""

    name: Literal["adam", "rmsprop"] = "adam"
    generator_lr: float = bounded(2e-4, 1e-8, 1.0)
    discriminator_lr: float = bounded(2e-4, 1e-8, 1.0)
    beta1: float = bounded(0.5, 0.0, 0.9999)
    beta2: float = bounded(0.999, 0.0, 0.99999)
    beta2_final: float = bounded(0.0, 0.0, 0.99999)
    """Value that beta2 reaches along half a cosine over the budget; 0 keeps beta2."""
    decay: Literal["none", "linear", "cosine"] = "none"
    """``linear``: both rates fall to ``final_share`` of their values over the second half of the budget. ``cosine``:
    along half a cosine over the whole budget."""
    final_share: float = bounded(0.0, 0.0, 1.0)


@dataclass(frozen=True)
class TrainingConfig:
    """Batches, augmentation and averaging."""

    batch_size: int = bounded(64, 2, 4096)
    ema_decay: float = bounded(0.0, 0.0, 0.99999)
    """Weight of the past in the moving average of the generator; 0 turns the average off."""
    ema_halflife: float = bounded(0.0, 0.0, 100000.0)
    """The same as a half-life in kimg, at most 5% of the images seen so far; 0 turns it off."""
    flip: bool = False
    """Mirror half of the real images."""
    rotate: float = bounded(0.0, 0.0, 45.0)
    """Rotate real images by up to this many degrees either way (B: 5)."""
    diff_augment: bool = False
    """Differentiable augmentation of every image that D sees (Zhao et al. 2020): colour, translation, cutout."""
    augment_probability: float = bounded(1.0, 0.0, 1.0)
    """Probability of each of these three changes, for each image separately."""
    augment_schedule: Literal["constant", "cosine"] = "constant"
    """``cosine``: the probability grows from 0 along half a cosine over the budget."""
    augment_target: float = bounded(0.0, 0.0, 1.0)
    """Above 0 the probability adapts to overfitting (Karras et al. 2020, ADA: 0.6): it starts at 0, grows while the
    mean sign of D's scores on real images is above the target, and falls otherwise; ``augment_probability`` is its
    largest value."""
    augment_kimg: float = bounded(500.0, 1.0, 100000.0)
    """Thousands of real images in which an adaptive probability can grow from 0 to 1."""
    extra_data: bool = False
    """Also train on images with a missing or unusable tag; that tag's loss is masked."""
    pool_size: int = bounded(0, 0, 10000)
    """Translated images of each domain that are kept, to show the discriminator older ones half of the time (H)."""

    @property
    def averages(self) -> bool:
        """Whether the generator's weights are averaged."""
        return bool(self.ema_decay or self.ema_halflife)


@dataclass(frozen=True)
class Parts:
    """Values of all parameters, whether or not they fit together."""

    system: Literal[
        "acgan", "srresnet_acgan", "matching_wgan", "cdcgan", "dcgan", "combo_dcgan", "wgan_gp", "custom",
        "cyclegan", "stargan", "lightgan", "r3gan",
    ] = "acgan"  # fmt: skip
    image_size: int = bounded(64, 16, 256)
    channels: Channels = 3
    """Of the images: 1 (grey) or 3 (RGB)."""
    tags: TagConfig = dataclasses.field(default_factory=TagConfig)
    generator: GeneratorConfig = dataclasses.field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = dataclasses.field(default_factory=DiscriminatorConfig)
    losses: LossConfig = dataclasses.field(default_factory=LossConfig)
    updates: UpdateConfig = dataclasses.field(default_factory=UpdateConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)

    @property
    def conditional(self) -> bool:
        """Whether the system uses tags."""
        return self.generator.conditioning != "none"

    @property
    def translates(self) -> bool:
        """Whether the generator translates images rather than draws from noise."""
        return self.system in TRANSLATING

    @property
    def generator_sees_images(self) -> bool:
        """Whether the generator's loss also reads real images."""
        return self.translates or self.losses.adversarial == "relativistic"

    @property
    def tag_inputs(self) -> bool:
        """Whether the discriminator takes tags as input."""
        return self.discriminator.conditioning in ("concat", "map", "combo", "projection", "product")

    def to_params(self) -> dict[str, Value]:
        """Flat dotted parameters, in the order of the fields."""
        flat: dict[str, Value] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if dataclasses.is_dataclass(value):
                for inner in dataclasses.fields(value):
                    flat[f"{field.name}.{inner.name}"] = getattr(value, inner.name)
            else:
                flat[field.name] = value
        return flat
