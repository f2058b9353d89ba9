"""Terms of losses that systems share, and the figures that go with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from trainables.losses import penalties
from trainables.losses.adversarial import LOSSES, gap
from trainables.systems.system import Loss

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor, nn

    from trainables.config import GanConfig, LossConfig
    from trainables.losses.penalties import Critic

AT_FLOOR = 0.01
"""A discriminator's loss this near to its least is at its floor: with BCE it is 99% sure of nearly every picture, and a
generator's gradient has all but gone."""


def in_steps(losses: Sequence[Callable[[], Loss]], *, split: bool) -> Iterator[Loss]:
    """The losses in turn, each computed when it is asked for, or their sum in one."""
    if split:
        for loss in losses:
            yield loss()
    else:
        yield added(*(loss() for loss in losses))


def added(first: Loss, second: Loss) -> Loss:
    """The sum of two losses, with the figures of both."""
    return Loss(first.total + second.total, first.figures | second.figures)


def realness_loss(weights: LossConfig, realness: Tensor, *, real: bool) -> Loss:
    """A discriminator calls pictures real or fake; ``realness`` has one score per picture, or one per patch."""
    kind = "real" if real else "fake"
    adversarial = LOSSES[weights.adversarial](realness, real=real, labels=weights.labels)
    total = weights.adversarial_weight * adversarial
    score = realness.detach()
    figures = {
        f"d_adversarial_loss_{kind}": adversarial.detach(),
        f"d_score_{kind}": (score.sigmoid() if weights.adversarial == "bce" else score).mean(),
        f"d_loss_{kind}": total.detach(),
    }
    above = gap(weights.adversarial, score, real=real, labels=weights.labels)
    if above is not None:
        figures[f"d_at_floor_{kind}"] = (above <= AT_FLOOR).float()
    return Loss(total, figures)


def with_tags(loss: Loss, weights: LossConfig, tags: Tensor, *, real: bool) -> Loss:
    """The loss and that of guessing the tags."""
    kind, total = "real" if real else "fake", loss.total + weights.tag_weight * tags
    return Loss(total, {**loss.figures, f"d_tag_loss_{kind}": tags.detach(), f"d_loss_{kind}": total.detach()})


def with_penalty(
    loss: Loss, weights: LossConfig, critic: Critic, real: Tensor, fake: Tensor, codes: Tensor | None = None
) -> Loss:
    """The loss and the configured penalty, of which there is one; a critic without tags looks at no codes."""
    codes = real.new_empty(0) if codes is None else codes
    if weights.penalty == "dragan":
        penalty = penalties.dragan(critic, real, codes, weights.penalty_noise)
    elif weights.penalty == "r1":
        penalty = penalties.r1(critic, real, codes)
    else:
        penalty = penalties.wgan_gp(critic, real, fake, codes, on_tags=weights.penalty_on_tags)
    return Loss(loss.total + weights.penalty_weight * penalty, {**loss.figures, "d_gradient_penalty": penalty.detach()})


def weighted(weights: LossConfig, terms: dict[str, Tensor]) -> Loss:
    """A generator's terms by name, each times the weight of its name."""
    total = torch.stack([getattr(weights, f"{name}_weight") * term for name, term in terms.items()]).sum()
    return Loss(total, {**{f"g_{name}_loss": term.detach() for name, term in terms.items()}, "g_loss": total.detach()})


class NetworkPair:
    """What systems share: a critic that may be clipped, and, unless a system says more, no state but the networks."""

    config: GanConfig
    discriminator: nn.Module

    def constrain(self) -> None:
        """Clip the critic's weights, where asked for; call it after each of its steps."""
        clip_weights(self.discriminator, self.config.losses.weight_clip)

    def state_dict(self) -> dict[str, Any]:
        """Nothing besides the networks."""
        return {}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Nothing."""


def clip_weights(network: nn.Module, largest: float) -> None:
    """Cut a critic's weights to ``largest``; 0 leaves them."""
    if largest > 0:
        with torch.no_grad():
            torch._foreach_clamp_min_(list(network.parameters()), -largest)
            torch._foreach_clamp_max_(list(network.parameters()), largest)
