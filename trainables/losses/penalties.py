"""Penalties on the gradient of a critic. ``critic`` maps pictures ``(n, 3, s, s)`` and codes ``(n, c)`` to ``(n,)``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    Critic = Callable[[Tensor, Tensor], Tensor]


def wgan_gp(critic: Critic, real: Tensor, fake: Tensor, codes: Tensor, *, on_tags: bool = False) -> Tensor:
    """``mean((||grad||_2 - 1)^2)`` at pictures mixed with one uniform share per picture (Gulrajani et al. 2017; G).

    ``on_tags`` takes the gradient with respect to the picture and the tag vector together (C).
    """
    mixed = _mix(real, fake).requires_grad_()
    return _slope_from_one(critic, mixed, codes.detach().clone().requires_grad_() if on_tags else codes)


def dragan(critic: Critic, real: Tensor, codes: Tensor, noise: float = 0.5) -> Tensor:
    """``mean((||grad||_2 - 1)^2)`` around real pictures (Kodali et al. 2017; B).

    The surroundings reach ``noise`` standard deviations of the batch.
    """
    moved = real + noise * real.std() * torch.rand_like(real)
    share = torch.rand(len(real), 1, 1, 1, device=real.device)
    return _slope_from_one(critic, (real + share * (moved - real)).detach().requires_grad_(), codes)


def r1(critic: Critic, real: Tensor, codes: Tensor) -> Tensor:
    """``mean(||grad||_2^2) / 2`` at real pictures (Mescheder et al. 2018)."""
    return _squared_norms(critic, real.detach().requires_grad_(), codes).mean() / 2


def _slope_from_one(critic: Critic, pictures: Tensor, codes: Tensor) -> Tensor:
    # The root has no slope at 0, where a critic that ignores its input stands.
    norms = (_squared_norms(critic, pictures, codes) + 1e-12).sqrt()
    return ((norms - 1) ** 2).mean()


def _squared_norms(critic: Critic, pictures: Tensor, codes: Tensor) -> Tensor:
    inputs = [tensor for tensor in (pictures, codes) if tensor.requires_grad]
    gradients = torch.autograd.grad(critic(pictures, codes).sum(), inputs, create_graph=True)
    return torch.stack([gradient.flatten(1).square().sum(dim=1) for gradient in gradients]).sum(dim=0)


def _mix(real: Tensor, fake: Tensor) -> Tensor:
    share = torch.rand(len(real), 1, 1, 1, device=real.device)
    return (share * real + (1 - share) * fake).detach()
