"""Penalties on the gradient of a critic. ``critic`` maps images ``(n, 3, s, s)`` and codes ``(n, c)`` to ``(n,)``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Critic = Callable[[Tensor, Tensor], Tensor]


def wgan_gp(critic: Critic, real: Tensor, fake: Tensor, codes: Tensor, *, on_tags: bool = False) -> Tensor:
    """``mean((||grad||_2 - 1)^2)`` at images mixed with one uniform share per image (Gulrajani et al. 2017; G).

    With ``on_tags``, the gradient is taken with respect to the image and the tag vector together (C).
    """
    mixed = _mix(real, fake).requires_grad_()
    if not on_tags:
        return _slope_from_one(critic, mixed, codes, [mixed])
    codes = codes.detach().clone().requires_grad_()
    return _slope_from_one(critic, mixed, codes, [mixed, codes])


def dragan(critic: Critic, real: Tensor, codes: Tensor, noise: float = 0.5) -> Tensor:
    """``mean((||grad||_2 - 1)^2)`` around real images (Kodali et al. 2017; B).

    Images are perturbed by up to ``noise`` standard deviations of the batch.
    """
    moved = real + noise * real.std() * torch.rand_like(real)
    share = torch.rand(len(real), 1, 1, 1, device=real.device)
    around = (real + share * (moved - real)).detach().requires_grad_()
    return _slope_from_one(critic, around, codes, [around])


def r1(critic: Critic, real: Tensor, codes: Tensor) -> Tensor:
    """``mean(||grad||_2^2) / 2`` at real images (Mescheder et al. 2018)."""
    images = real.detach().requires_grad_()
    return _squared_norms(critic, images, codes, [images]).mean() / 2


def r1_r2(critic: Critic, real: Tensor, fake: Tensor, codes: Tensor, fake_codes: Tensor) -> Tensor:
    """Sum of ``r1`` at real and the same at generated images (R2; Mescheder et al. 2018, Huang et al. 2024)."""
    return r1(critic, real, codes) + r1(critic, fake, fake_codes)


def lazy_scale(every: int, step: int) -> int:
    """Return the factor of a penalty at discriminator step ``step``, counted from 0: ``every`` at every
    ``every``-th step and 0 at the others, so that its mean over steps stays (Karras et al. 2020).
    """
    return 0 if step % every else every


def _slope_from_one(critic: Critic, images: Tensor, codes: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    # The square root has no gradient at 0, the norm for a critic that ignores its input.
    norms = (_squared_norms(critic, images, codes, inputs) + 1e-12).sqrt()
    return ((norms - 1) ** 2).mean()


def _squared_norms(critic: Critic, images: Tensor, codes: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    """Return the squared norms ``(n,)`` of the critic's gradient with respect to ``inputs``: images, or also codes."""
    gradients = torch.autograd.grad(critic(images, codes).sum(), inputs, create_graph=True)
    return torch.stack([gradient.flatten(1).square().sum(dim=1) for gradient in gradients]).sum(dim=0)


def _mix(real: Tensor, fake: Tensor) -> Tensor:
    share = torch.rand(len(real), 1, 1, 1, device=real.device)
    return (share * real + (1 - share) * fake).detach()
