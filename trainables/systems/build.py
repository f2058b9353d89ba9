"""Construction of the system that a configuration describes, or of its generator alone."""

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
    """Build untrained networks and their losses.

    Args:
        config: the configuration of the system.
        tag_sizes: number of classes of each tag group.
        targets: indices of the groups that a translation changes; empty for all groups.
        pairs: the combinations that occur in the data, if ``tags.encoding`` is pairs.
        precision: precision of the forward passes in training.

    Raises:
        UsageError: the system cannot translate between this number of groups or classes.
    """
    if not config.translates:
        return ConditionalGan(config, tag_sizes, pairs, precision)
    places = targets or range(len(tag_sizes))
    return (CycleGan if config.system == "cyclegan" else StarGan)(config, tag_sizes, places, precision)


def build_generator(
    config: GanConfig, tag_sizes: Sequence[int], targets: Sequence[int] = (), pairs: Pairs = ()
) -> nn.Module:
    """Build only the untrained generator of ``build_system``, to load weights into it."""
    if not config.translates:
        return Generator(config, tag_sizes, pairs)
    places = targets or range(len(tag_sizes))
    if config.system == "cyclegan":
        return CycleGenerator(config, places[0])
    return StarGenerator(config, tag_sizes, places)
