"""Gradient penalties on critics whose slope is known."""

import pytest
import torch
from torch import Tensor, nn

from trainables.losses.penalties import dragan, lazy_scale, r1, r1_r2, wgan_gp

PICTURES, CODES = 3 * 4 * 4, 5


class Linear(nn.Module):
    """``w . x + v . c``: its slope is w in the images and v in the codes, everywhere."""

    def __init__(self, slope: float, on_codes: float) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(0)
        w, v = torch.randn(PICTURES, generator=random), torch.randn(CODES, generator=random)
        self.w, self.v = nn.Parameter(slope * w / w.norm()), nn.Parameter(on_codes * v / v.norm())
        self.seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        self.seen.append((images.detach(), codes.detach()))
        return images.flatten(1) @ self.w + codes @ self.v


def images(count: int = 6, seed: int = 1) -> Tensor:
    return torch.randn(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))


def codes(count: int = 6) -> Tensor:
    return torch.rand(count, CODES, generator=torch.Generator().manual_seed(3))


PENALTIES = {
    "wgan_gp": lambda critic: wgan_gp(critic, images(), images(seed=2), codes()),
    "on_tags": lambda critic: wgan_gp(critic, images(), images(seed=2), codes(), on_tags=True),
    "dragan": lambda critic: dragan(critic, images(), codes()),
    "r1": lambda critic: r1(critic, images(), codes()),
    "r1_r2": lambda critic: r1_r2(critic, images(), images(seed=2), codes(), codes().flip(0)),
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("wgan_gp", (3 - 1) ** 2),
        ("on_tags", (5 - 1) ** 2),  # sqrt(3^2 + 4^2) = 5
        ("dragan", (3 - 1) ** 2),
        ("r1", 3**2 / 2),
        ("r1_r2", 3**2),
    ],
)
def test_a_linear_critic_pays_for_its_known_slope(name, expected) -> None:
    assert PENALTIES[name](Linear(3, 4)).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "on_w", "on_v"),
    [
        # d/dw (|w| - 1)^2 = 2 (|w| - 1) w / |w|; d/dw |w|^2 / 2 = w
        ("wgan_gp", 2 * (3 - 1) / 3, 0.0),
        ("on_tags", 2 * (5 - 1) / 5, 2 * (5 - 1) / 5),
        ("dragan", 2 * (3 - 1) / 3, 0.0),
        ("r1", 1.0, 0.0),
        ("r1_r2", 2.0, 0.0),
    ],
)
def test_the_gradient_of_the_gradient_reaches_the_critics_weights(name, on_w, on_v) -> None:
    critic = Linear(3, 4)
    PENALTIES[name](critic).backward()
    assert torch.allclose(critic.w.grad, on_w * critic.w, atol=1e-5)
    if on_v:
        assert torch.allclose(critic.v.grad, on_v * critic.v, atol=1e-5)
    else:
        assert critic.v.grad is None or critic.v.grad.eq(0).all()


@pytest.mark.parametrize("name", PENALTIES)
def test_a_critic_that_ignores_its_input_gets_a_finite_gradient(name) -> None:
    critic = Linear(0, 0)
    penalty = PENALTIES[name](critic)
    penalty.backward()
    assert penalty.item() == pytest.approx(0.0 if name in ("r1", "r1_r2") else 1.0, abs=1e-5)
    assert critic.w.grad.isfinite().all()


def test_wgan_gp_looks_between_real_and_fake_with_one_share_a_image() -> None:
    critic, count = Linear(1, 1), 400
    torch.manual_seed(0)
    wgan_gp(critic, torch.ones(count, 3, 4, 4), torch.full((count, 3, 4, 4), -1.0), codes(count))
    mixed, told = critic.seen[0]
    assert torch.equal(told, codes(count))
    shares = (mixed[:, 0, 0, 0] + 1) / 2
    assert torch.equal(mixed, mixed[:, :1, :1, :1].expand_as(mixed))
    assert 0 <= shares.min() < 0.02
    assert 0.98 < shares.max() <= 1
    assert shares.mean().item() == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_dragan_looks_around_real_images(noise) -> None:
    critic, real = Linear(1, 1), 2 * images(500)
    torch.manual_seed(0)
    dragan(critic, real, codes(500), noise)
    step = (critic.seen[0][0] - real) / real.std()
    assert step.min() >= -1e-5
    assert 0.95 * noise < step.max() <= noise * (1 + 1e-5)
    assert step.mean().item() == pytest.approx(noise / 4, rel=0.1)  # two uniform draws, of mean a half each
    assert step.mean(dim=(1, 2, 3)).std() > 0.1 * noise  # one share an image


def test_r1_looks_at_real_images_themselves() -> None:
    critic = Linear(1, 1)
    r1(critic, images(), codes())
    assert torch.equal(critic.seen[0][0], images())


def test_r1_r2_looks_at_both_kinds_of_images_with_their_own_codes() -> None:
    critic = Linear(1, 1)
    r1_r2(critic, images(), images(seed=2), codes(), codes().flip(0))
    assert [torch.equal(seen, given) for seen, given in zip(critic.seen[0], (images(), codes()), strict=True)] == [
        True
    ] * 2
    assert [
        torch.equal(seen, given) for seen, given in zip(critic.seen[1], (images(seed=2), codes().flip(0)), strict=True)
    ] == [True] * 2


def test_the_gradient_of_r1_r2_is_that_of_finite_differences() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(PICTURES + CODES, 7), nn.Tanh(), nn.Linear(7, 1)).double()
    inputs = [tensor.double() for tensor in (images(), images(seed=2), codes(), codes().flip(0))]

    def penalty() -> Tensor:
        return r1_r2(lambda x, c: layers(torch.cat([x.flatten(1), c], 1)).squeeze(1), *inputs)

    penalty().backward()
    for weight in (layers[0].weight, layers[0].bias, layers[2].weight):
        flat, step = weight.data.view(-1), 1e-5
        for place in range(0, flat.numel(), max(1, flat.numel() // 5)):
            ends = []
            for sign in (1, -1):
                flat[place] += sign * step
                ends.append(penalty().item())
                flat[place] -= sign * step
            assert weight.grad.view(-1)[place].item() == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5)


@pytest.mark.parametrize("every", [1, 3, 8])
def test_a_lazy_penalty_comes_at_every_kth_step_with_its_mean_weight(every) -> None:
    scales = [lazy_scale(every, step) for step in range(2 * every)]
    assert scales == ([every] + [0] * (every - 1)) * 2


@pytest.mark.parametrize("name", PENALTIES)
def test_no_gradient_reaches_the_images_given(name) -> None:
    real, fake = images().requires_grad_(), images(seed=2).requires_grad_()
    critic = Linear(3, 4)
    call = {
        "wgan_gp": lambda: wgan_gp(critic, real, fake, codes()),
        "on_tags": lambda: wgan_gp(critic, real, fake, codes(), on_tags=True),
        "dragan": lambda: dragan(critic, real, codes()),
        "r1": lambda: r1(critic, real, codes()),
        "r1_r2": lambda: r1_r2(critic, real, fake, codes(), codes()),
    }[name]
    call().backward()
    assert real.grad is None
    assert fake.grad is None
