"""lightgan's networks by hand arithmetic, and batch norm that reads a code against its formula."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from search_spaces.registry import SPACES
from tests.support.tiny import tiny_config
from trainables.config import GanConfig
from trainables.networks.blocks import ConditionalBatchNorm2d, count_parameters, initialise, recalibrate_batch_norm
from trainables.networks.discriminator import Discriminator
from trainables.networks.generator import Generator
from trainables.networks.resize import resize_filters

SIZES = (12, 11)
"""Classes of the reports' hair and eye colours."""
LIGHT = {"generator__architecture": "resize", "discriminator__architecture": "unshuffle"}


def light(**changes) -> GanConfig:
    return tiny_config(**LIGHT, **changes)


@pytest.mark.parametrize(
    ("width", "steps", "filters"),
    [
        (40, 3, [96, 64, 40]),  # 90 and 60, rounded up to multiples of 8
        (40, 5, [208, 136, 96, 64, 40]),  # 202.5, 135
        (64, 2, [96, 64]),
        (3, 2, [8, 3]),
    ],
)
def test_each_block_has_half_again_the_filters_of_the_next(width, steps, filters) -> None:
    assert resize_filters(width, steps) == filters


def test_parameters_of_both_networks_by_hand() -> None:
    values = {
        "image_size": 32, "generator.width": 40, "generator.noise_dim": 128, "generator.norm": "batch",
        "discriminator.width": 64, "discriminator.conditioning": "acgan",
    }  # fmt: skip
    config = GanConfig.from_params({**SPACES["lightgan"].recipe, **values})
    code = 128 + 23
    body = code * 96 * 16 + 96 + 96 * 64 * 9 + 64 + 64 * 40 * 9 + 40 + 40 * 3 * 25 + 3
    norms = 2 * (96 + 64 + 40)
    assert count_parameters(Generator(config, SIZES)) == body + norms
    trunk = 12 * 64 * 16 + 64 + 64 * 128 * 16 + 128
    heads = 128 * 16 * (1 + 23) + 24
    assert count_parameters(Discriminator(config, SIZES, 23)) == trunk + heads
    coded = GanConfig.from_params({**config.to_params(), "generator.norm": "conditional_batch"})
    assert count_parameters(Generator(coded, SIZES)) == body + (code + 1) * norms


@pytest.mark.parametrize("size", [16, 20, 28, 32, 48, 64, 128])
def test_images_of_every_size(size) -> None:
    config = light(image_size=size)
    images = Generator(config, SIZES)(torch.randn(2, 4), torch.tensor([[0, 1], [11, 10]]))
    assert images.shape == (2, 3, size, size)
    assert Discriminator(config, SIZES, 23)(images, torch.zeros(2, 23)).realness.shape == (2,)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_maps_are_doubled_by_interpolation(mode) -> None:
    torch.manual_seed(0)
    body = Generator(light(generator__upsampling=mode, generator__norm="none"), SIZES).body.double()
    code = torch.randn(2, body[0][0].in_channels, dtype=torch.double)
    (first, _, act), (layer, _, _), last, image = body
    maps = act(first(code[:, :, None, None]))
    if mode == "nearest":
        doubled = maps.repeat_interleave(2, 2).repeat_interleave(2, 3)
    else:
        doubled = F.interpolate(maps, scale_factor=2, mode="bilinear")
    maps = F.interpolate(
        act(F.conv2d(doubled, layer[1].weight, layer[1].bias, padding=1)), scale_factor=2, mode="bilinear"
    )
    expected = F.conv2d(maps, image.weight, image.bias, padding=2)
    assert torch.allclose(body(code[:, :, None, None], code), expected, atol=1e-12)
    assert image(last(torch.zeros(1, 2, 8, 8, dtype=torch.double))).shape == (1, 3, 16, 16)


def test_the_discriminator_reads_squares_of_pixels_as_channels() -> None:
    trunk = Discriminator(light(), SIZES, 23).trunk
    image = torch.arange(3 * 16 * 16.0).view(1, 3, 16, 16)
    expected = torch.stack([image[0, c, y::2, x::2] for c in range(3) for y in (0, 1) for x in (0, 1)])
    assert torch.equal(trunk[0](image)[0], expected)
    assert trunk[1].in_channels == 12


def test_conditional_batch_norm_scales_and_shifts_by_the_code() -> None:
    torch.manual_seed(0)
    norm = ConditionalBatchNorm2d(3, 0.1, 5).double()
    maps, code = torch.randn(4, 3, 2, 2, dtype=torch.double), torch.randn(4, 5, dtype=torch.double)
    mean, variance = maps.mean(dim=(0, 2, 3)), maps.var(dim=(0, 2, 3), unbiased=False)
    normed = (maps - mean[:, None, None]) / (variance + 1e-5).sqrt()[:, None, None]
    scale, shift = (code @ norm.affine.weight.T + norm.affine.bias).split(3, dim=1)
    expected = normed * (1 + scale[:, :, None, None]) + shift[:, :, None, None]
    assert torch.allclose(norm(maps, code), expected, atol=1e-12)


@pytest.mark.parametrize("architecture", ["acgan", "dcgan", "dense", "matching", "srresnet", "resize"])
def test_every_body_passes_the_code_to_all_of_its_norms(architecture) -> None:
    torch.manual_seed(0)
    network = Generator(
        tiny_config(
            generator__architecture=architecture, generator__blocks=1, generator__norm="conditional_batch",
            generator__conditioning="code",
        ),
        SIZES,
    )  # fmt: skip
    norms = [module for module in network.modules() if isinstance(module, ConditionalBatchNorm2d)]
    assert len(norms) == sum(isinstance(module, nn.BatchNorm2d) for module in network.modules()) > 0
    seen = []
    for norm in norms:
        norm.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1]))
    noise, labels = torch.randn(3, 4), torch.tensor([[0, 1], [11, 10], [5, 5]])
    network(noise, labels)
    assert len(seen) == len(norms)
    assert all(torch.equal(code, torch.cat([network.tags(labels), noise], dim=1)) for code in seen)
    recalibrate_batch_norm(network, lambda: network(noise, labels), batches=2)
    assert all(norm.norm.num_batches_tracked == 2 for norm in norms)


def test_conditional_batch_norm_begins_as_plain_batch_norm_up_to_its_initialisation() -> None:
    norm = ConditionalBatchNorm2d(3, 0.1, 5)
    initialise(norm, "normal")
    assert norm.affine.bias.eq(0).all()
    assert 0 < norm.affine.weight.std() < 0.04
