"""The system that a configuration describes, or its generator alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainables.networks.generator import Generator
from trainables.networks.translation import CycleGenerator, StarGenerator
from trainables.systems.conditional import ConditionalGan
from trainables.systems.cyclegan import CycleGan
from trainables.systems.stargan import StarGan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from trainables.config import GanConfig
    from trainables.networks.conditioning import Pairs
    from trainables.precision import Precision
    from trainables.systems.system import System


def build_system(
    config: GanConfig,
    tag_sizes: Sequence[int],
    targets: Sequence[int] = (),
    pairs: Pairs = (),
    precision: Precision = "float32",
) -> System:
    """Untrained networks and their losses.

    Args:
        config: what to build.
        tag_sizes: classes of each tag group.
        targets: places of the groups that a translation changes; none stands for all.
        pairs: the combinations that occur in the data, for ``tags.encoding`` pairs.
        precision: of the forward passes in training.

    Raises:
        UsageError: the system cannot translate between so many classes.
    """
    if not config.translates:
        return ConditionalGan(config, tag_sizes, pairs, precision)
    places = targets or range(len(tag_sizes))
    return (CycleGan if config.system == "cyclegan" else StarGan)(config, tag_sizes, places, precision)


def build_generator(
    config: GanConfig, tag_sizes: Sequence[int], targets: Sequence[int] = (), pairs: Pairs = ()
) -> nn.Module:
    """The untrained generator of ``build_system``, for weights to be loaded into."""
    if not config.translates:
        return Generator(config, tag_sizes, pairs)
    places = targets or range(len(tag_sizes))
    if config.system == "cyclegan":
        return CycleGenerator(config, places[0])
    return StarGenerator(config, tag_sizes, places)
