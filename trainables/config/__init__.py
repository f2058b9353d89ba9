"""Configuration of a GAN as frozen, validated, nested dataclasses.

The same values travel as flat dotted parameters (``generator.width``) through spaces, the search, MLflow, tables
and the command line; ``from_params`` and ``to_params`` convert. Unknown names and invalid values raise a one-line
``UsageError`` that says what is allowed.
"""

from trainables.config.checks import R3GAN_PARTS, SIGNED
from trainables.config.gan_config import ADDED, GanConfig, coerce, parameter_types, require_known, upsampling_steps
from trainables.config.sections import (
    CHANNEL_NAMES,
    TRANSLATING,
    Channels,
    DiscriminatorConfig,
    Fit,
    GeneratorConfig,
    LossConfig,
    OptimizerConfig,
    PixelPlace,
    Precision,
    TagConfig,
    TrainingConfig,
    UpdateConfig,
    Value,
)

__all__ = [
    "ADDED",
    "CHANNEL_NAMES",
    "R3GAN_PARTS",
    "SIGNED",
    "TRANSLATING",
    "Channels",
    "DiscriminatorConfig",
    "Fit",
    "GanConfig",
    "GeneratorConfig",
    "LossConfig",
    "OptimizerConfig",
    "PixelPlace",
    "Precision",
    "TagConfig",
    "TrainingConfig",
    "UpdateConfig",
    "Value",
    "coerce",
    "parameter_types",
    "require_known",
    "upsampling_steps",
]
