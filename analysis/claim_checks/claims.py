"""What the experiment reports claim, as data: which values are compared, on which score, when, and what is expected.

A claim is numbered as in the dimensions of the search spaces (``claim``). Its parts are what a sweep can measure of it;
``unmeasured`` says what it cannot. The reports A to I: docs/explanation/systems.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

EARLY: Final = "early"
"""At the first point of training at which the trials compare, at half of the last one's kimg or before."""
END: Final = "end"
"""At the last point at which they do."""
Time = Literal["early", "end"]
Expected = Literal["less", "more", "same"]

BUDGETS_KIMG: Final[dict[str, float | None]] = {
    "A": None,
    "B": 22_814,  # 500 epochs of 45,628 images
    "C": None,  # 500 epochs of a number of images that is not given
    "D": None,  # 150 epochs, likewise
    "E": 698,  # 19 epochs of 36,740 images
    "F": 1280,  # 20,000 batches of 64
    "G": None,
    "H": None,  # 200 epochs, likewise
    "I": None,  # 2,500 epochs, likewise
}
"""Training of each report in thousands of images; ``None`` where it does not say enough."""


@dataclass(frozen=True)
class Contrast:
    """Trials that have one of ``values`` against those that have one of ``against``."""

    dimension: str
    values: tuple[Any, ...]
    against: tuple[Any, ...]
    metric: str
    expected: Expected
    time: Time = END


@dataclass(frozen=True)
class Slope:
    """The metric as the dimension grows."""

    dimension: str
    metric: str
    expected: Expected
    time: Time = END


@dataclass(frozen=True)
class TrainingChange:
    """The metric at the end against itself early on, in each trial that has one of ``values``."""

    dimension: str
    values: tuple[Any, ...]
    metric: str
    expected: Expected
    time: Time = END


@dataclass(frozen=True)
class ScoreContrast:
    """The metric against another one of the same trial."""

    metric: str
    other: str
    expected: Expected
    time: Time = EARLY
    dimension: str = ""


Part = Contrast | Slope | TrainingChange | ScoreContrast


@dataclass(frozen=True)
class Claim:
    """One claim of one or more reports."""

    id: str
    systems: str
    text: str
    parts: tuple[Part, ...] = ()
    unmeasured: str = ""
    """What of the claim no sweep measures, and why."""
    related: tuple[str, ...] = ()
    """Dimensions that belong to it and that it says nothing about."""
    only: str = ""
    """The one system in which the parts ask what the claim says; empty for any."""

    @property
    def budget_kimg(self) -> float | None:
        """The longest training among the reports that make the claim."""
        known = [budget for system in self.systems.split(", ") if (budget := BUDGETS_KIMG[system]) is not None]
        return max(known, default=None)


_WIDE, _NARROW = (64, 128, 256), (8, 16, 32)
_RATES = ("optimizer.generator_lr", "optimizer.discriminator_lr")

CLAIMS: Final = (
    Claim(
        "1", "A", "Filter width below 64 does not learn to draw",
        tuple(Contrast(f"{net}.width", _WIDE, _NARROW, "distance", "less") for net in ("generator", "discriminator")),
    ),
    Claim(
        "2", "A, B", "AC-GAN follows tags better than concatenation-conditioned DCGAN",
        (Contrast("discriminator.conditioning", ("acgan", "multilabel"), ("concat",), "tag_accuracy", "more"),),
    ),
    Claim(
        "3", "A", "No batch norm on G's last block: faster, fewer grids, less white",
        (
            Contrast("generator.final_norm", (False,), (True,), "distance", "less", EARLY),
            Contrast("generator.final_norm", (False,), (True,), "kimg_to_recognisable", "less"),
            Contrast("generator.final_norm", (False,), (True,), "grid_energy", "less"),
            Contrast("generator.final_norm", (False,), (True,), "saturated", "less"),
        ),
    ),
    Claim(
        "4", "A", "Embedding noise 0.05 against 0.1: no clear difference",
        tuple(
            Contrast("generator.embedding_noise", (0.05,), (0.1,), metric, "same")
            for metric in ("distance", "tag_accuracy")
        ),
        related=("generator.conditioning",),
    ),
    Claim(
        "5", "A", "tanh as last activation is less over-exposed early than LeakyReLU",
        (Contrast("generator.final_activation", ("tanh",), ("leaky_relu",), "saturated", "less", EARLY),),
    ),
    Claim(
        "6", "A", "Larger embedding and noise dimensions give more variety",
        tuple(Slope(f"generator.{name}", "diversity", "more") for name in ("embedding_dim", "noise_dim")),
        related=("generator.conditioning",),
    ),
    Claim(
        "7", "A", "Oversize-then-subsample is unstable",
        (
            Contrast("generator.oversize", (True,), (False,), "failed", "more"),
            Contrast("generator.oversize", (True,), (False,), "distance", "more"),
        ),
    ),
    Claim(
        "8", "A, E", "Noisy labels: faster, less collapse, more oscillation; soft labels: an untested hope",
        (
            Contrast("losses.labels", ("noisy",), ("hard",), "distance", "less", EARLY),
            Contrast("losses.labels", ("noisy",), ("hard",), "kimg_to_recognisable", "less"),
            Contrast("losses.labels", ("noisy",), ("hard",), "diversity", "more"),
            Contrast("losses.labels", ("noisy",), ("hard",), "loss_oscillation", "more"),
            Contrast("losses.labels", ("soft",), ("hard",), "distance", "less"),
        ),
    ),
    Claim(
        "9a", "A", "One to four G steps per D step: no clear difference",
        tuple(Slope("updates.generator_steps", metric, "same") for metric in ("distance", "tag_accuracy")),
    ),
    Claim(
        "9b", "E", "Three D steps per G step: better, steadier",
        (
            Contrast("updates.discriminator_steps", (3,), (1,), "distance", "less"),
            Contrast("updates.discriminator_steps", (3,), (1,), "failed", "less"),
            Contrast("updates.discriminator_steps", (3,), (1,), "loss_oscillation", "less"),
        ),
    ),
    Claim(
        "9c", "D", "A ratio of 2:1 ends clearer; 1:1 learns colours as fast but stalls",
        (
            Contrast("updates.generator_steps", (2,), (1,), "distance", "less"),
            Contrast("updates.generator_steps", (2,), (1,), "tag_accuracy", "same", EARLY),
            Contrast("updates.discriminator_steps", (2,), (1,), "distance", "less"),
            Contrast("updates.discriminator_steps", (2,), (1,), "tag_accuracy", "same", EARLY),
        ),
        "the report writes G:D and argues as if D took more steps; both are measured",
    ),
    Claim(
        "10", "A, B", "More adversarial weight draws sooner, more classification weight follows tags better",
        (
            Slope("losses.adversarial_weight", "distance", "less", EARLY),
            Slope("losses.tag_weight", "tag_accuracy", "more"),
        ),
    ),
    Claim(
        "11", "A", "Masked extra data changes little",
        tuple(
            Contrast("training.extra_data", (True,), (False,), metric, "same")
            for metric in ("distance", "tag_accuracy")
        ),
    ),
    Claim(
        "12", "B", "DRAGAN and spectral norm stabilise, spectral norm more",
        (
            Contrast("losses.penalty", ("dragan",), ("none",), "failed", "less"),
            Contrast("losses.penalty", ("dragan",), ("none",), "distance", "less"),
            Contrast("losses.penalty", ("dragan",), ("none",), "loss_oscillation", "less"),
            Contrast("discriminator.spectral_norm", (True,), (False,), "failed", "less"),
            Contrast("discriminator.spectral_norm", (True,), (False,), "distance", "less"),
            Contrast("discriminator.spectral_norm", (True,), (False,), "loss_oscillation", "less"),
        ),
        "spectral norm against DRAGAN are values of two dimensions; how fast G's loss rises",
        related=("losses.penalty_weight", "losses.penalty_noise"),
    ),
    Claim(
        "13", "B", "Residual nets and 96x96 look better",
        (
            Contrast("generator.architecture", ("srresnet",), ("acgan", "dcgan"), "distance", "less"),
            Contrast("discriminator.architecture", ("srresnet",), ("dcgan",), "distance", "less"),
            Contrast("system", ("srresnet_acgan",), ("acgan", "combo_dcgan"), "distance", "less"),
            Slope("generator.blocks", "distance", "less"),
        ),
        "the size of the images does not vary within a sweep, whose scores would not compare",
        related=("training.flip", "training.rotate"),
    ),
    Claim(
        "14a", "C", "WGAN-GP learns shape and colour faster than plain GAN, breaks less, tolerates structure",
        (
            Contrast("losses.adversarial", ("wgan",), ("bce",), "distance", "less", EARLY),
            Contrast("losses.adversarial", ("wgan",), ("bce",), "tag_accuracy", "more", EARLY),
            Contrast("losses.adversarial", ("wgan",), ("bce",), "kimg_to_recognisable", "less"),
            Contrast("losses.adversarial", ("wgan",), ("bce",), "failed", "less"),
        ),
        "tolerance of structure is an interaction with the architecture",
        related=("losses.penalty_on_tags",),
    ),
    Claim(
        "14b", "G", "WGAN-GP is good after one epoch, then collapses more and more",
        (TrainingChange("losses.adversarial", ("wgan",), "distance", "more"),),
        related=("losses.penalty_weight", "losses.weight_clip"),
    ),
    Claim(
        "15", "C", "LeCun-normal init speeds the start and diverges less",
        tuple(
            part
            for net in ("generator", "discriminator")
            for part in (
                Contrast(f"{net}.init", ("lecun",), ("normal",), "distance", "less", EARLY),
                Contrast(f"{net}.init", ("lecun",), ("normal",), "failed", "less"),
            )
        ),
    ),
    Claim(
        "16", "C", "Dense first: no grid, more detail late, colours later; valid convolution first: the reverse",
        (
            Contrast("generator.first_layer", ("dense",), ("convolution",), "distance", "less"),
            Contrast("generator.first_layer", ("dense",), ("convolution",), "tag_accuracy", "less", EARLY),
            Contrast("generator.first_layer", ("dense",), ("convolution",), "grid_energy", "less"),
        ),
        related=("system", "generator.architecture", "discriminator.architecture"),
    ),
    Claim(
        "17", "D", "Balanced wrong tags beat data-drawn ones",
        (Contrast("losses.wrong_tags", ("balanced",), ("data",), "tag_accuracy", "more"),),
        related=("losses.wrong_tag_weight",),
    ),
    Claim(
        "18", "D", "Concatenating tags to dense features avoids the collapse that expanding them causes",
        (Contrast("discriminator.conditioning", ("concat",), ("map",), "tag_diversity", "more"),),
    ),
    Claim(
        "19", "E", "lr 2e-5 is stable where higher ones crash",
        tuple(Slope(name, "failed", "more") for name in _RATES),
    ),
    Claim(
        "20", "E", "Dropout in G hurts",
        (Contrast("generator.dropout", (0.5,), (0.0,), "distance", "more"),),
        "its author expects it to help in longer runs",
    ),
    Claim(
        "21", "H", "LSGAN beats BCE in CycleGAN: lower G loss, less noise",
        (
            Contrast("losses.adversarial", ("lsgan",), ("bce",), "distance", "less"),
            Contrast("losses.adversarial", ("lsgan",), ("bce",), "grid_energy", "less"),
        ),
        "G's losses under two objectives do not compare",
        only="cyclegan",
    ),
    Claim(
        "22", "F", "Conditional needs longer than unconditional; large parts are right before small ones",
        (
            ScoreContrast("tag_accuracy_hair", "tag_accuracy_eyes", "more"),
            ScoreContrast("kimg_to_half_hair", "kimg_to_half_eyes", "less", END),
        ),
        "conditional and unconditional systems have other objectives and are searched in sweeps of their own",
        related=("tags.encoding",),
    ),
    Claim(
        "23", "D", "Same noise, another class: the same image otherwise",
        unmeasured="no dimension asks it: the panels of each trial show it",
    ),
    Claim(
        "24", "F", "D's loss falling while D's real score rises monotonically precedes collapse",
        unmeasured="no dimension asks it: it is about the course of one run, which MLflow shows",
    ),
)  # fmt: skip
"""All of them, by number."""
