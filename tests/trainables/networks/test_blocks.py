"""Shared pieces of networks against torch's own routines and hand arithmetic."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trainables.networks.blocks import (
    PointConvTranspose2d,
    count_parameters,
    initialise,
    norm_layer,
    recalibrate_batch_norm,
)


@pytest.mark.parametrize("kernel", [4, 7])
def test_the_point_convolution_is_a_transposed_convolution(kernel) -> None:
    torch.manual_seed(0)
    layer = PointConvTranspose2d(5, 3, kernel)
    points = torch.randn(2, 5, 1, 1, requires_grad=True)
    ours, theirs = layer(points), F.conv_transpose2d(points, layer.weight, layer.bias)
    assert ours.shape == (2, 3, kernel, kernel)
    assert torch.allclose(ours, theirs, atol=1e-6)
    slopes = torch.randn_like(ours)
    gradients = [torch.autograd.grad((y * slopes).sum(), [points, layer.weight, layer.bias]) for y in (ours, theirs)]
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*gradients, strict=True))


def test_initialisation_has_the_right_spread() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(40, 50, 4), nn.ConvTranspose2d(40, 50, 4), nn.Linear(200, 200), nn.BatchNorm2d(20_000)]
    initialise(nn.Sequential(*layers))
    for layer, mean in zip(layers, (0.0, 0.0, 0.0, 1.0), strict=True):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.03)
        assert layer.weight.mean().item() == pytest.approx(mean, abs=6e-4)
        assert layer.bias.eq(0).all()


def test_only_what_is_trained_is_counted() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1).requires_grad_(False))
    assert count_parameters(network) == 3 * 4 + 4 + 2 * 4  # running statistics and frozen layers do not count


class Recorder(nn.Module):
    """Passes images on and remembers in which mode it did."""

    def __init__(self) -> None:
        super().__init__()
        self.modes: list[bool] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.modes.append(self.training)
        return x


def test_settled_statistics_are_the_mean_over_the_draws() -> None:
    norm, recorder = nn.BatchNorm2d(1, momentum=0.3), Recorder()
    network = nn.Sequential(recorder, norm).train()
    network(torch.randn(5, 1, 3, 3) * 100)  # training that must be forgotten
    recorder.modes.clear()
    # Means 1, 4 and 13; variances with divisor n - 1: of (0, 2) it is 2, of (1, 7) 18, of (13, 13) 0.
    draws = iter([[0.0, 2.0], [1.0, 7.0], [13.0, 13.0]])
    recalibrate_batch_norm(network, lambda: network(torch.tensor(next(draws)).view(2, 1, 1, 1)), batches=3)
    assert norm.running_mean.item() == pytest.approx((1 + 4 + 13) / 3)
    assert norm.running_var.item() == pytest.approx((2 + 18 + 0) / 3)
    assert recorder.modes == [False, False, False]
    assert norm.momentum == 0.3
    assert not any(module.training for module in network.modules())


def test_settled_images_do_not_depend_on_their_batch() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    recalibrate_batch_norm(network, lambda: network(torch.randn(8, 3, 5, 5)))
    images = torch.randn(4, 3, 5, 5)
    assert torch.allclose(network(images)[:1], network(images[:1]), atol=1e-6)


def test_a_network_without_norms_is_not_drawn_from() -> None:
    network = nn.Sequential(nn.Linear(1, 1)).train()
    recalibrate_batch_norm(network, lambda: pytest.fail("drawn for nothing"))
    assert not network.training


def test_lecun_weights_have_the_spread_of_their_fan_in() -> None:
    torch.manual_seed(0)
    # Inputs times kernel area: 40 x 16, 40 x 16 and 200. A transposed convolution's weights are (inputs, outputs, ...).
    layers = [nn.Conv2d(40, 60, 4), nn.ConvTranspose2d(40, 60, 4), PointConvTranspose2d(40, 60, 4), nn.Linear(200, 99)]
    norm = nn.BatchNorm2d(9)
    initialise(nn.Sequential(*layers, norm), "lecun")
    for layer, fan_in in zip(layers, (640, 640, 640, 200), strict=True):
        assert layer.weight.std().item() == pytest.approx(fan_in**-0.5, rel=0.03)
        assert abs(layer.weight.mean().item()) < 0.03 * fan_in**-0.5
        assert layer.bias.eq(0).all()
    assert norm.weight.eq(1).all()


def test_a_matrix_product_without_bias_is_the_transposed_convolution_too() -> None:
    torch.manual_seed(0)
    layer, points = PointConvTranspose2d(7, 3, 4, bias=False), torch.randn(2, 7, 1, 1)
    assert layer.bias is None
    expected = nn.functional.conv_transpose2d(points, layer.weight)
    assert torch.allclose(layer(points), expected, atol=1e-6)


def test_instance_norm_leaves_a_single_pixel_to_scale_and_shift() -> None:
    norm = norm_layer("instance", 2, 0.5)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([2.0, 3.0]))
        norm.bias.copy_(torch.tensor([1.0, -1.0]))
    assert norm(torch.tensor([5.0, 7.0]).view(1, 2, 1, 1)).flatten().tolist() == [11.0, 20.0]
    # Of two pixels 1 and 3, the mean 2 and the deviation 1 are taken off.
    pair = norm(torch.tensor([[1.0, 3.0], [3.0, 1.0]]).view(1, 2, 1, 2)).flatten().tolist()
    assert pair == pytest.approx([-1.0, 3.0, 2.0, -4.0], abs=1e-4)


def test_layer_norm_is_over_channels_and_pixels() -> None:
    maps = torch.randn(2, 4, 3, 3) * torch.tensor([1.0, 9.0]).view(2, 1, 1, 1)
    normed = norm_layer("layer", 4, 0.5)(maps)
    assert normed.mean(dim=(1, 2, 3)).tolist() == pytest.approx([0, 0], abs=1e-6)
    assert normed.var(dim=(1, 2, 3), correction=0).tolist() == pytest.approx([1, 1], abs=1e-4)
    assert normed.mean(dim=(2, 3)).abs().max() > 0.01  # not channel by channel
