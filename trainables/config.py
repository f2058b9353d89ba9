"""GanConfig: everything that defines one configuration, as frozen, validated, nested dataclasses.

The same values travel as flat dotted parameters (``generator.width``) through spaces, the search, MLflow, tables
and the command line; ``from_params`` and ``to_params`` translate. Unknown names and impossible values are refused
with a line that says what is allowed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from trainables.errors import UsageError, nearest, shortened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Value = bool | int | float | str
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
"""The systems that translate pictures rather than draw them, and the parts that each of them is made of."""
_DRAWING = (
    "tags.encoding", "generator.first_layer", "generator.noise_dim", "generator.embedding_dim",
    "generator.embedding_noise", "generator.final_norm", "generator.final_activation", "generator.oversize",
    "losses.penalty_on_tags", "losses.wrong_tags", "losses.wrong_tag_weight",
)  # fmt: skip
_UNUSED = {
    "cyclegan": (*_DRAWING, "losses.tag_weight", "losses.tag_loss_on_fakes"),
    "stargan": (*_DRAWING, "training.pool_size"),
}
"""Parameters that mean nothing to a system that translates."""


def bounded(default: T, low: float, high: float) -> T:
    """A dataclass field whose value must lie in ``low..high``, both included."""
    field: T = dataclasses.field(default=default, metadata={"low": low, "high": high})
    return field


@dataclass(frozen=True)
class TagConfig:
    """How labels become the vector that networks see."""

    encoding: Literal["one_hot", "one_hot_unknown", "one_hot_none", "pairs"] = "one_hot"
    """``one_hot``: one place per class, zeros for an unknown tag. ``one_hot_unknown``: one more place for any unknown
    tag (C's 24). ``one_hot_none``: one more place per group (D's 25). ``pairs``: one place per combination of classes
    that occurs in the data (F's 119)."""


@dataclass(frozen=True)
class GeneratorConfig:
    """The generator. ``width`` is the number of filters of its last full hidden block; each block before it has twice
    the next one's. At 64 px and width 64 that gives A's 1024, 512, 256, 128, 64 and E's 512, 256, 128, 64.
    """

    architecture: Literal["acgan", "dcgan", "dense", "matching", "srresnet", "resnet"] = "acgan"
    """``acgan``: A. ``dcgan``: E, F and G. ``dense``: D. ``matching``: C. ``srresnet``: B. ``resnet``, from picture to
    picture: H and I, where ``width`` is the number of filters of the first convolution."""
    conditioning: Literal["embedding", "code", "none", "direction"] = "embedding"
    """Learnt embeddings of the tags, the encoded tag vector itself, no tags at all, or a network for each of the two
    classes that a picture may be asked for (H)."""
    width: int = bounded(64, 1, 1024)
    blocks: int = bounded(16, 1, 64)
    """Residual blocks of ``srresnet`` and ``resnet``."""
    first_layer: Literal["dense", "convolution"] = "dense"
    """How ``matching`` leaves the vector: C's dense layer, or a valid convolution first."""
    noise_dim: int = bounded(256, 1, 4096)
    embedding_dim: int = bounded(8, 1, 512)
    embedding_noise: float = bounded(0.1, 0.0, 10.0)
    """Standard deviation of the noise added to the tag embeddings in training."""
    norm: Literal["batch", "instance", "layer", "none"] = "batch"
    norm_momentum: float = bounded(0.5, 0.0, 1.0)
    """Weight of the new batch in the running statistics of batch norm."""
    dropout: float = bounded(0.0, 0.0, 0.95)
    """After each normalised block."""
    init: Literal["normal", "lecun"] = "normal"
    """N(0, 0.02), or LeCun normal."""
    bias: bool = True
    """Biases of the convolutions."""
    final_norm: bool = False
    """Batch norm on the block that draws the picture."""
    final_activation: Literal["tanh", "leaky_relu", "sigmoid"] = "tanh"
    """With ``sigmoid`` the networks work on pictures in [0, 1], else in [-1, 1]."""
    oversize: bool = False
    """Draw at twice the size, then a stride-2 convolution back."""


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The discriminator or critic: a trunk of convolutions and a head. ``width`` is the filters of its first block."""

    architecture: Literal["dcgan", "matching", "srresnet", "patch"] = "dcgan"
    """``dcgan``: A, D, E, F and G. ``matching``: C. ``srresnet``: B. ``patch``, which judges each patch by itself: H
    and I."""
    conditioning: Literal["acgan", "multilabel", "concat", "map", "combo", "projection", "none", "domain"] = "acgan"
    """``acgan``: a softmax head per tag group guesses the tags. ``multilabel``: a sigmoid head over all tags does (B).
    ``concat``: the tag vector joins the dense features (D). ``map``: it is repeated over the feature map (C).
    ``combo``: it is deconvolved to a map first (F). ``projection``: Miyato & Koyama 2018. ``none``: tags play no part.
    ``domain``: a discriminator for each of two classes (H)."""
    width: int = bounded(64, 1, 1024)
    norm: Literal["batch", "instance", "layer", "none"] = "batch"
    norm_momentum: float = bounded(0.5, 0.0, 1.0)
    spectral_norm: bool = False
    activation: Literal["leaky_relu", "relu"] = "leaky_relu"
    dropout: float = bounded(0.0, 0.0, 0.95)
    """Alpha dropout after each block."""
    init: Literal["normal", "lecun"] = "normal"
    bias: bool = True
    """Biases of the convolutions."""


@dataclass(frozen=True)
class LossConfig:
    """What is minimised."""

    adversarial: Literal["bce", "lsgan", "wgan", "hinge"] = "bce"
    labels: Literal["hard", "soft", "noisy"] = "soft"
    """Targets of real/fake: 1 and 0, or drawn from U[0.8, 1] and U[0, 0.2], or from U[0.75, 1.25] and U[0, 0.25]."""
    adversarial_weight: float = bounded(1.0, 0.0, 1000.0)
    penalty: Literal["none", "wgan_gp", "dragan", "r1"] = "none"
    """On the discriminator's gradient: at mixed pictures, around real pictures, or at real pictures."""
    penalty_on_tags: bool = False
    """Take the gradient with respect to the picture and the tag vector together (C). A critic of slope 1 in both can
    hold no more against a wrong colour than the distance of two tag vectors, 1.4; beside what pictures differ by that
    is little, and tags are heeded late."""
    penalty_weight: float = bounded(10.0, 0.0, 10000.0)
    penalty_noise: float = bounded(0.5, 0.0, 10.0)
    """DRAGAN's perturbation, in standard deviations of the batch."""
    weight_clip: float = bounded(0.0, 0.0, 10.0)
    """Largest absolute weight of a critic; 0 does not clip."""
    tag_weight: float = bounded(1.0, 0.0, 1000.0)
    tag_loss_on_fakes: bool = False
    """Whether D also learns tags from generated pictures (Odena et al. 2017), or from real ones only (B)."""
    wrong_tags: Literal["none", "data", "balanced"] = "none"
    """Whether D also sees real pictures with wrong tags, which it should call fake: another picture's tags, or tags
    drawn uniformly over the classes."""
    wrong_tag_weight: float = bounded(0.5, 0.0, 1.0)
    """Share of the wrong-tag term in what D should call fake."""
    cycle_weight: float = bounded(10.0, 0.0, 1000.0)
    """L1 between a picture and the same translated and back: H's cycle and I's reconstruction."""
    identity_weight: float = bounded(0.0, 0.0, 1000.0)
    """L1 between a picture and its translation to what it already is (H)."""


@dataclass(frozen=True)
class UpdateConfig:
    """How often each network learns."""

    generator_steps: int = bounded(1, 1, 100)
    discriminator_steps: int = bounded(1, 1, 100)
    split_discriminator: bool = True
    """One optimiser step on a real batch and one on a fake batch, rather than one on their sum."""


@dataclass(frozen=True)
class OptimizerConfig:
    """The same kind of optimiser for both networks."""

    name: Literal["adam", "rmsprop"] = "adam"
    generator_lr: float = bounded(2e-4, 1e-8, 1.0)
    discriminator_lr: float = bounded(2e-4, 1e-8, 1.0)
    beta1: float = bounded(0.5, 0.0, 0.9999)
    beta2: float = bounded(0.999, 0.0, 0.99999)
    decay: Literal["none", "linear"] = "none"
    """``linear``: both rates fall to 0 over the second half of the budget."""


@dataclass(frozen=True)
class TrainingConfig:
    """The data side of training."""

    batch_size: int = bounded(64, 2, 4096)
    ema_decay: float = bounded(0.0, 0.0, 0.99999)
    """Weight of the past in the moving average of the generator; 0 turns the average off."""
    flip: bool = False
    """Mirror half of the real pictures."""
    rotate: float = bounded(0.0, 0.0, 45.0)
    """Turn real pictures by up to so many degrees either way (B: 5)."""
    diff_augment: bool = False
    """Differentiable augmentation of all that D sees (Zhao et al. 2020): colour, translation, cutout."""
    extra_data: bool = False
    """Also train on pictures with a missing or unusable tag; that tag's loss is masked."""
    pool_size: int = bounded(0, 0, 10000)
    """Translated pictures of each domain that are kept, to show the discriminator older ones half of the time (H)."""


@dataclass(frozen=True)
class GanConfig:
    """One configuration of one system at one image size.

    ``system`` names the recipe it belongs to; everything that is built is said by the sections.

    Raises:
        UsageError: a value out of range, or a combination that cannot be built.
    """

    system: Literal[
        "acgan", "srresnet_acgan", "matching_wgan", "cdcgan", "dcgan", "combo_dcgan", "wgan_gp", "custom",
        "cyclegan", "stargan",
    ] = "acgan"  # fmt: skip
    image_size: int = bounded(64, 16, 256)
    tags: TagConfig = dataclasses.field(default_factory=TagConfig)
    generator: GeneratorConfig = dataclasses.field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = dataclasses.field(default_factory=DiscriminatorConfig)
    losses: LossConfig = dataclasses.field(default_factory=LossConfig)
    updates: UpdateConfig = dataclasses.field(default_factory=UpdateConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        for name, value in self.to_params().items():
            _check(name, value)
        upsampling_steps(self.image_size)
        for broken, complaint in (*self._foreign(), *self._impossible()):
            if broken:
                raise UsageError(complaint)

    @property
    def conditional(self) -> bool:
        """Whether tags play any part."""
        return self.generator.conditioning != "none"

    @property
    def translates(self) -> bool:
        """Whether the generator makes pictures of pictures, rather than of noise."""
        return self.system in TRANSLATING

    @property
    def tag_heads(self) -> bool:
        """Whether the discriminator guesses tags."""
        return self.discriminator.conditioning in ("acgan", "multilabel")

    @property
    def tag_inputs(self) -> bool:
        """Whether the discriminator is told tags."""
        return self.discriminator.conditioning in ("concat", "map", "combo", "projection")

    def _foreign(self) -> Iterator[tuple[bool, str]]:
        """Parts and parameters of systems that draw in one that translates, and the reverse."""
        own, params, standard = TRANSLATING.get(self.system, {}), self.to_params(), _defaults()
        for name, wanted in own.items():
            yield params[name] != wanted, f"{name} is {params[name]!r} with system {self.system!r}; use {wanted!r}"
        for name in _UNUSED.get(self.system, ()):
            yield (
                params[name] != standard[name],
                f"{name} is {params[name]!r} with system {self.system!r}, to which it means nothing; leave it at "
                f"{standard[name]!r}",
            )
        for name in TRANSLATING["cyclegan"] if not own else ():
            yield (
                params[name] in ("resnet", "direction", "patch", "domain"),
                f"{name} is {params[name]!r} with system {self.system!r}; it is for {' and '.join(TRANSLATING)}",
            )

    def _impossible(self) -> Iterator[tuple[bool, str]]:
        losses, critic = self.losses, self.discriminator
        yield (
            losses.adversarial_weight == 0,
            "losses.adversarial_weight is 0; without a real/fake loss this is no GAN: use more than 0",
        )
        yield (
            self.conditional == (critic.conditioning == "none"),
            f"generator.conditioning is {self.generator.conditioning!r} and discriminator.conditioning is "
            f"{critic.conditioning!r}; either both or neither must be 'none', or tags would be drawn but never learnt",
        )
        yield (
            losses.adversarial == "wgan" and losses.penalty != "wgan_gp" and losses.weight_clip == 0,
            f"losses.adversarial is 'wgan' with losses.penalty {losses.penalty!r} and losses.weight_clip 0; a critic "
            "must be held to slope 1: use penalty wgan_gp, or weight_clip 0.01",
        )
        yield (
            losses.labels != "hard" and losses.adversarial in ("wgan", "hinge"),
            f"losses.labels is {losses.labels!r} with losses.adversarial {losses.adversarial!r}, which has no targets; "
            "use labels hard",
        )
        yield (
            losses.penalty_on_tags and not (self.tag_inputs and losses.penalty == "wgan_gp"),
            f"losses.penalty_on_tags is true with losses.penalty {losses.penalty!r} and "
            f"discriminator.conditioning {critic.conditioning!r}; it is for "
            "penalty wgan_gp and a discriminator that is told tags: concat, map, combo or projection",
        )
        yield (
            losses.wrong_tags != "none" and not self.tag_inputs,
            f"losses.wrong_tags is {losses.wrong_tags!r} with discriminator.conditioning {critic.conditioning!r}, "
            "which is told no tags; use concat, map, combo or projection, or wrong_tags none",
        )
        yield (
            self.training.extra_data and self.tags.encoding == "pairs" and self.tag_inputs,
            "training.extra_data is true with tags.encoding 'pairs'; a picture with one tag belongs to no pair: use "
            "another encoding, or extra_data false",
        )

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

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> GanConfig:
        """Build from flat dotted parameters; what is not given takes the field's default."""
        sections: dict[str, dict[str, Any]] = {}
        top: dict[str, Any] = {}
        for name, value in params.items():
            known = coerce(name, value)
            section, _, inner = name.rpartition(".")
            (sections.setdefault(section, {}) if section else top)[inner] = known
        hints = get_type_hints(cls)
        return cls(**top, **{name: hints[name](**values) for name, values in sections.items()})

    def hash(self) -> str:
        """12 hex digits that name the configuration; searchers repeat configurations."""
        params = {name: coerce(name, value) for name, value in self.to_params().items()}  # 2 and 2.0 are one value
        return hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()[:12]


def upsampling_steps(image_size: int) -> tuple[int, int]:
    """``(base, steps)`` with ``image_size == base * 2**steps`` and base 4 to 7: where the networks start.

    Raises:
        UsageError: no such pair, e.g. for 50 px; names the nearest sizes that work.
    """
    for base in (4, 5, 6, 7):
        steps = math.log2(image_size / base)
        if steps.is_integer() and steps >= 1:
            return base, int(steps)
    low, high = _bounds()["image_size"]
    sizes = (base << steps for base in (4, 5, 6, 7) for steps in range(1, 7))
    fitting = sorted((size for size in sizes if low <= size <= high), key=lambda s: (abs(s - image_size), s))
    raise UsageError(
        f"image_size is {image_size}; the networks double 4, 5, 6 or 7 pixels, "
        f"so the nearest sizes are {fitting[0]} and {fitting[1]}"
    )


@cache
def parameter_types() -> dict[str, Any]:
    """Type of every flat parameter: ``int``, ``float``, ``bool`` or a ``Literal`` of names."""
    types: dict[str, Any] = {}
    for name, hint in get_type_hints(GanConfig).items():
        if dataclasses.is_dataclass(hint):
            types |= {f"{name}.{inner}": kind for inner, kind in get_type_hints(hint).items()}
        else:
            types[name] = hint
    return types


@cache
def _bounds() -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}
    hints = get_type_hints(GanConfig)
    for field in dataclasses.fields(GanConfig):
        hint = hints[field.name]
        inner = (
            [(f"{field.name}.{f.name}", f) for f in dataclasses.fields(hint)] if dataclasses.is_dataclass(hint) else []
        )
        for name, leaf in [(field.name, field), *inner]:
            if "low" in leaf.metadata:
                found[name] = (leaf.metadata["low"], leaf.metadata["high"])
    return found


@cache
def _defaults() -> dict[str, Value]:
    sections = {name: hint for name, hint in get_type_hints(GanConfig).items() if dataclasses.is_dataclass(hint)}
    return {
        f"{name}.{field.name}": cast(Value, field.default)
        for name, hint in sections.items()
        for field in dataclasses.fields(hint)
    }


def require_known(name: str) -> None:
    """Refuse a parameter name that no configuration has, naming the nearest one."""
    if name not in parameter_types():
        known = parameter_types()
        raise UsageError(
            f"unknown parameter {name!r}{nearest(name, known) or '; `gansweep spaces NAME` lists the known ones'}"
        )


def coerce(name: str, value: Any) -> Value:
    """The value as the parameter's type; text from a command line is parsed.

    Raises:
        UsageError: an unknown name, or a value that is not of the type.
    """
    require_known(name)
    kind = parameter_types()[name]
    if get_origin(kind) is Literal:
        if value in get_args(kind):
            return cast(str, value)
        allowed = ", ".join(map(str, get_args(kind)))
        raise UsageError(f"{name} is {shortened(value)}; allowed: {allowed}{nearest(shortened(value), get_args(kind))}")
    if kind is bool:
        named = {"true": True, "false": False}.get(shortened(value).strip("'").lower())
        if named is None:
            raise UsageError(f"{name} is {shortened(value)}; allowed: true, false")
        return named
    try:
        number = float(value)
        if isinstance(value, bool) or math.isnan(number) or (kind is int and number != int(number)):
            raise ValueError
    except (ValueError, TypeError, OverflowError):
        wanted = "a whole number" if kind is int else "a number"
        raise UsageError(f"{name} is {shortened(value)}; {wanted} is needed") from None
    return int(number) if kind is int else number


def _check(name: str, value: Value) -> None:
    coerced = coerce(name, value)
    if type(coerced) is not type(value) and not (isinstance(value, int) and isinstance(coerced, float)):
        raise UsageError(f"{name} is {shortened(value)}; give it as {coerced!r}")
    low, high = _bounds().get(name, (-math.inf, math.inf))
    if not isinstance(value, str) and not low <= value <= high:
        raise UsageError(f"{name} is {value}; allowed: {low:g} to {high:g}")
