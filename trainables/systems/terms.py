"""Loss terms that systems share, with their figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from trainables.config import SIGNED
from trainables.losses import penalties
from trainables.losses.adversarial import LOSSES, gap, relativistic
from trainables.systems.system import Loss

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor, nn

    from trainables.config import GanConfig, LossConfig
    from trainables.losses.penalties import Critic

AT_FLOOR = 0.01
"""Distance from the minimum of a discriminator's loss up to which the loss counts as at its floor. With BCE, the
discriminator is then 99% sure of nearly every image, and the generator's gradient almost vanishes."""


def in_steps(losses: Sequence[Callable[[], Loss]], *, split: bool) -> Iterator[Loss]:
    """Yield the losses one by one, each computed when it is requested, or (without ``split``) their sum."""
    if split:
        for loss in losses:
            yield loss()
    else:
        yield added(*(loss() for loss in losses))


def added(first: Loss, second: Loss) -> Loss:
    """Return the sum of two losses, with the figures of both."""
    return Loss(first.total + second.total, first.figures | second.figures)


def realness_loss(weights: LossConfig, realness: Tensor, *, real: bool) -> Loss:
    """Return a discriminator's adversarial loss on real or fake images.

    ``realness`` has one score per image, or one per patch.
    """
    kind = "real" if real else "fake"
    adversarial = LOSSES[weights.adversarial](realness, real=real, labels=weights.labels)
    total = weights.adversarial_weight * adversarial
    score = realness.detach()
    figures = {
        f"d_adversarial_loss_{kind}": adversarial.detach(),
        f"d_score_{kind}": (score.sigmoid() if weights.adversarial == "bce" else score).mean(),
        f"d_loss_{kind}": total.detach(),
    }
    if real and weights.adversarial in SIGNED:
        figures["d_sign_real"] = score.sign().mean()
    above = gap(weights.adversarial, score, real=real, labels=weights.labels)
    if above is not None:
        figures[f"d_at_floor_{kind}"] = (above <= AT_FLOOR).float()
    return Loss(total, figures)


def paired_loss(weights: LossConfig, real: Tensor, fake: Tensor) -> Loss:
    """Return a discriminator's relativistic loss on the scores ``(n,)`` of real images and of their generated pairs."""
    adversarial = relativistic(real, fake)
    at_floor = (adversarial.detach() <= AT_FLOOR).float()
    total = weights.adversarial_weight * adversarial
    figures = {
        "d_adversarial_loss": adversarial.detach(),
        "d_score_real": real.detach().mean(),
        "d_score_fake": fake.detach().mean(),
        "d_loss": total.detach(),
        "d_sign_real": (real - fake).detach().sign().mean(),
        "d_at_floor_real": at_floor,
        "d_at_floor_fake": at_floor,
    }
    return Loss(total, figures)


def with_tags(loss: Loss, weights: LossConfig, tags: Tensor, *, real: bool) -> Loss:
    """Add the weighted loss of classifying the tags."""
    kind, total = "real" if real else "fake", loss.total + weights.tag_weight * tags
    name = "d_loss" if "d_loss" in loss.figures else f"d_loss_{kind}"  # of pairs there is one loss
    return Loss(total, {**loss.figures, f"d_tag_loss_{kind}": tags.detach(), name: total.detach()})


def with_penalty(
    loss: Loss, weights: LossConfig, critic: Critic, images: tuple[Tensor, Tensor],
    codes: tuple[Tensor, Tensor] | None = None, scale: int = 1,
) -> Loss:  # fmt: skip
    """Add the configured gradient penalty, times ``scale``; 0 leaves it out.

    ``images`` and ``codes`` are those of real and of generated images; a critic that does not read tags needs no codes.
    """
    if weights.penalty == "none" or not scale:
        return loss
    (real, fake), (code, fake_code) = images, codes or (images[0].new_empty(0),) * 2
    if weights.penalty == "dragan":
        penalty = penalties.dragan(critic, real, code, weights.penalty_noise)
    elif weights.penalty == "r1":
        penalty = penalties.r1(critic, real, code)
    elif weights.penalty == "r1_r2":
        penalty = penalties.r1_r2(critic, real, fake, code, fake_code)
    else:
        penalty = penalties.wgan_gp(critic, real, fake, code, on_tags=weights.penalty_on_tags)
    total = loss.total + weights.penalty_weight * scale * penalty
    return Loss(total, {**loss.figures, "d_gradient_penalty": penalty.detach()})


def weighted(weights: LossConfig, terms: dict[str, Tensor]) -> Loss:
    """Return the sum of a generator's terms, each times the weight of the same name."""
    total = torch.stack([getattr(weights, f"{name}_weight") * term for name, term in terms.items()]).sum()
    return Loss(total, {**{f"g_{name}_loss": term.detach() for name, term in terms.items()}, "g_loss": total.detach()})


class GanBase:
    """Base of all systems: optional weight clipping of the critic, and no state besides the networks by default."""

    config: GanConfig
    discriminator: nn.Module
    penalty_scale: int = 1

    def constrain(self) -> None:
        """Clip the critic's weights if configured; call it after each of its steps."""
        clip_weights(self.discriminator, self.config.losses.weight_clip)

    def state_dict(self) -> dict[str, Any]:
        """Return an empty state."""
        return {}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Do nothing: there is no state besides the networks."""


def clip_weights(network: nn.Module, largest: float) -> None:
    """Clamp a critic's weights to [-``largest``, ``largest``]; 0 leaves them unchanged."""
    if largest > 0:
        with torch.no_grad():
            for weight in network.parameters():
                weight.clamp_(-largest, largest)
