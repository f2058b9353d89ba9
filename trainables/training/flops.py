"""Floating-point operations of training, counted on a small batch: the same on every machine.

Multiplications and additions of convolutions and matrix products count, two per multiply-accumulate, in the forward and
backward passes of both networks and of penalties. Normalization, activations, augmentation and optimizers do not.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from trainables.config import GanConfig, OptimizerConfig, TrainingConfig
from trainables.systems.build import build_system
from trainables.systems.system import Batch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor

    from trainables.data.dataset import TaggedImages
    from trainables.networks.conditioning import Pairs
    from trainables.systems.system import Loss

IMAGES = 2
"""Images, of each domain, on which operations are counted; they are proportional to it."""
CACHED = 1024
"""Number of structures whose counts are kept."""


def flops_per_image(
    config: GanConfig, tag_sizes: Sequence[int], targets: Sequence[int] = (), pairs: Pairs = ()
) -> float:
    """Return the floating-point operations of training for each real image that the discriminator sees.

    An update counts as a whole: all steps of both networks, and a gradient penalty by the share of steps that have it.

    Args:
        config: the configuration, with the size and channels of its images.
        tag_sizes: number of classes of each tag group.
        targets: indices of the groups that a translation changes; empty for all groups.
        pairs: the combinations that occur in the data, if ``tags.encoding`` is pairs.

    Raises:
        UsageError: the system cannot translate between this number of groups or classes.
    """
    structure = dataclasses.replace(config, optimizer=OptimizerConfig(), training=TrainingConfig())
    return _count(structure, tuple(tag_sizes), tuple(targets), tuple(pairs))


def flops_per_image_of(params: Mapping[str, Any], images: TaggedImages) -> float:
    """Return ``flops_per_image`` of the flat parameters of a configuration that is trained on ``images``."""
    config = GanConfig.from_params({**params, **images.shape_params})
    pairs = images.pairs(config.tags.encoding)
    return flops_per_image(config, images.vocabulary.sizes, images.target_places, pairs)


@functools.lru_cache(CACHED)
def _count(config: GanConfig, tag_sizes: tuple[int, ...], targets: tuple[int, ...], pairs: Pairs) -> float:
    steps, every = config.updates, config.losses.penalty_every
    with torch.random.fork_rng(devices=[]):
        system = build_system(config, tag_sizes, targets, pairs)
        batch = _blank_batch(config, len(tag_sizes))
        discriminator = _flops(system.discriminator_losses(batch))
        if every > 1:
            system.penalty_scale = 0
            plain = _flops(system.discriminator_losses(batch))
            discriminator = plain + (discriminator - plain) / every
        system.discriminator.requires_grad_(False)  # as in training
        generator = _flops(map(system.generator_loss, [batch]))
    update = steps.discriminator_steps * discriminator + steps.generator_steps * generator
    return update / (steps.discriminator_steps * len(batch.images))


def _blank_batch(config: GanConfig, groups: int) -> Batch:
    count = IMAGES * (2 if config.system == "cyclegan" else 1)
    images = torch.zeros(count, config.channels, config.image_size, config.image_size)
    labels = torch.zeros(count, groups, dtype=torch.int64)
    return Batch(images, labels, torch.zeros(count, config.generator.noise_dim), labels)


def _flops(losses: Iterable[Loss]) -> float:
    """Count the operations of computing losses and their gradients."""
    with _FlopCounter() as counter:
        for loss in losses:
            loss.total.backward()  # type: ignore[no-untyped-call]
    return float(counter.total)


class _FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations inside a ``with`` block.

    ``torch.utils.flop_counter`` also follows modules, which gradient penalties do not allow, and counts the backward
    pass of a grouped convolution as if it had one group.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        if packet is torch.ops.aten.convolution:
            self.total += _convolution(args[0], args[1], out, transposed=args[6])
        elif packet is torch.ops.aten.convolution_backward:
            # The gradients of images and of weights, where asked for, each take as many operations as the output.
            self.total += sum(args[10][:2]) * _convolution(args[1], args[2], args[0], transposed=args[7])
        elif count := flop_registry.get(packet):
            self.total += count(*args, **(kwargs or {}), out_val=out)
        return out


def _convolution(images: Tensor, weights: Tensor, out: Tensor, *, transposed: bool) -> int:
    """Count the operations of ``(n, c, h, w)`` ``images`` to ``out``: each weight is used at each place of a map."""
    count, _, *sides = (images if transposed else out).shape
    return 2 * count * math.prod(sides) * weights.numel()
