"""R3GAN's networks against hand arithmetic: parameters, initial weights, resampling, conditioning."""

import math

import pytest
import torch
from torch import nn

from search_spaces.registry import SPACES
from trainables.config import GanConfig
from trainables.errors import UsageError
from trainables.networks.blocks import count_parameters
from trainables.networks.r3gan import BiasActivation, Resample, ResidualBlock, stage_widths
from trainables.systems.conditional import ConditionalGan

SIZES = (3, 2)
"""Classes of two tag groups."""


def make(sizes=SIZES, **changes) -> ConditionalGan:
    small = {"image_size": 16, "generator.width": 8, "discriminator.width": 8}
    params = {**SPACES["r3gan"].recipe, **small, **{name.replace("__", "."): value for name, value in changes.items()}}
    torch.manual_seed(0)
    return ConditionalGan(GanConfig.from_params(params), sizes)


def block(channels: int) -> int:
    """Parameters of a block: 1x1 to twice the channels, 3x3 in groups of 16, 1x1 back, and two biases."""
    inner = 2 * channels
    return channels * inner + inner * min(16, inner) * 9 + inner * channels + 2 * inner


@pytest.mark.parametrize("conditional", [True, False])
def test_parameters_at_the_papers_width(conditional) -> None:
    """CIFAR-10: four maps of 4 to 32 px with two blocks each, 768 channels, ten classes."""
    networks = {f"{part}__{name}": 768 for part in ("generator", "discriminator") for name in ("width", "max_width")}
    none = {} if conditional else {"generator__conditioning": "none", "discriminator__conditioning": "none"}
    system = make((10,), image_size=32, **networks, **none)
    tags, code = (10 * 64, 128) if conditional else (0, 64)
    drawing = tags + 768 * 16 + code * 768 + 8 * block(768) + 768 * 3
    judging = 3 * 768 + 8 * block(768) + 768 * 16 + (768 * 768 + 10 * 768 if conditional else 768)
    assert count_parameters(system.generator) == drawing
    assert count_parameters(system.discriminator) == judging
    assert block(768) == 2_583_552


def test_parameters_where_the_width_changes() -> None:
    """16 px: three maps with 8, 16 and 20 channels, the largest first; 20 x 2 is divided into groups of 8."""
    limits = {"generator__max_width": 20, "discriminator__max_width": 20}
    system, (first, second) = make(**limits), (block(8), block(16))
    third = 20 * 40 + 40 * 8 * 9 + 40 * 20 + 2 * 40
    blocks = 2 * (first + second + third) + 8 * 16 + 16 * 20
    assert stage_widths(8, 20, 2) == [8, 16, 20]
    assert count_parameters(system.generator) == 5 * 64 + 128 * 20 + 20 * 16 + blocks + 8 * 3
    assert count_parameters(system.discriminator) == 3 * 8 + blocks + 20 * 16 + 20 * 20 + 5 * 20


def test_the_widths_of_the_papers_networks_for_256_px() -> None:
    assert stage_widths(96, 768, 6) == [96, 192, 384, 768, 768, 768, 768]


@pytest.mark.parametrize("size", [16, 20, 24, 28, 32, 48, 64, 96, 128])
@pytest.mark.parametrize("conditional", [True, False])
def test_every_size_with_and_without_tags(size, conditional) -> None:
    none = {} if conditional else {"generator__conditioning": "none", "discriminator__conditioning": "none"}
    widths = {
        "generator__width": 3,
        "discriminator__width": 5,
        "generator__max_width": 7,
        "discriminator__max_width": 9,
    }
    system = make(image_size=size, **widths, **none)
    labels, noise = torch.tensor([[0, 0], [2, 1]]), torch.randn(1, 64).repeat(2, 1)
    with torch.no_grad():
        images = system.generator(noise, labels)
        realness = system.discriminator(images[:1].repeat(2, 1, 1, 1), system.encode(labels)).realness
    assert images.shape == (2, 3, size, size)
    assert images.isfinite().all()
    assert images.std() > 0
    assert torch.allclose(images[0], images[1]) is not conditional
    assert torch.allclose(realness[0], realness[1]) is not conditional


def test_initial_weights() -> None:
    wide = {"generator__width": 128, "discriminator__width": 128}
    system = make(image_size=64, **wide)  # five maps: ten blocks
    gain = math.sqrt(2 / 1.04) * 10**-0.25
    for network in (system.generator, system.discriminator):
        found = [layer for layer in network.modules() if isinstance(layer, ResidualBlock)]
        assert len(found) == 10
        for one in found:
            first, _, middle, _, last = one.layers
            for layer in (first, middle):
                assert layer.weight.std().item() * layer.weight[0].numel() ** 0.5 == pytest.approx(gain, rel=0.05)
            assert middle.weight.shape[1] == 16
            assert not last.weight.any()
        assert not any(layer.bias.any() for layer in network.modules() if isinstance(layer, BiasActivation))
    body = system.generator.body
    assert body[0].patterns.std().item() == pytest.approx(1, abs=0.05)
    assert body[0].amounts.weight.std().item() == pytest.approx(128**-0.5, rel=0.05)
    assert body[-1].weight.std().item() == pytest.approx(128**-0.5, rel=0.2)
    head = system.discriminator.head
    assert head.features.weight.std().item() == pytest.approx(256**-0.5, rel=0.05)
    assert head.tags.weight.std().item() == pytest.approx(256**-0.5 * 5**-0.5, rel=0.05)


def test_a_block_is_x_plus_its_layers() -> None:
    one, maps = ResidualBlock(8, 4), torch.randn(2, 8, 5, 5)
    inner = nn.functional.leaky_relu(nn.functional.conv2d(maps, one.layers[0].weight) + 0.5, 0.2)
    with torch.no_grad():
        one.layers[1].bias.fill_(0.5)
    inner = nn.functional.leaky_relu(nn.functional.conv2d(inner, one.layers[2].weight, padding=1, groups=1), 0.2)
    expected = maps + nn.functional.conv2d(inner, one.layers[4].weight)
    assert torch.allclose(one(maps), expected, atol=1e-5)


def test_resampling_by_hand() -> None:
    line = torch.tensor([[1.0, 2.0, 4.0, 8.0]]).expand(4, 4)[None, None]
    up, down = Resample(up=True), Resample(up=False)
    expected = torch.tensor([1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 4.0])
    doubled = up(line)[0, 0]
    assert torch.equal(doubled[0], expected)
    assert torch.equal(doubled[-1], expected / 2)  # below there is nothing but zeros
    halved = down(line)[0, 0]
    assert torch.equal(halved[1], torch.tensor([(2 * 1 + 2) / 4, (2 + 2 * 4 + 8) / 4]))
    assert torch.equal(halved[0], halved[1] * 0.75)  # above there is nothing but zeros


@pytest.mark.parametrize("size", [4, 6, 10])
def test_down_is_the_transpose_of_up(size) -> None:
    small, large = torch.randn(1, 2, size, size), torch.randn(1, 2, 2 * size, 2 * size)
    ahead = (Resample(up=True)(small) * large).sum()
    back = (small * Resample(up=False)(large)).sum() * 4
    assert torch.allclose(ahead, back, atol=1e-4)


def test_the_product_with_the_tags() -> None:
    system = make()
    codes = torch.tensor([[1.0, 0, 0, 0, 1], [0.0] * 5, [0.3, 0.2, 0, 0, 2.0]])  # any numbers of any tags
    images = torch.randn(3, 3, 16, 16)
    features = system.discriminator.trunk(images).flatten(1)
    head = system.discriminator.head
    expected = torch.einsum("nc,fc,nd,fd->n", features, head.features.weight, codes, head.tags.weight)
    realness = system.discriminator(images, codes).realness
    assert torch.allclose(realness, expected, atol=1e-5)
    assert realness[1] == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"generator__norm": "batch"}, "generator.norm is 'batch' with generator.architecture 'r3gan'; use 'none'"),
        ({"discriminator__bias": True}, "discriminator.bias is True with discriminator.architecture 'r3gan'"),
        ({"discriminator__spectral_norm": True}, "discriminator.spectral_norm is True"),
        ({"generator__max_width": 4}, "generator.max_width is 4 with generator.width 8; use at least the width"),
        (
            {"generator__architecture": "dcgan"},
            "generator.init is 'residual' with generator.architecture 'dcgan'; it is for r3gan",
        ),
    ],
)
def test_what_r3gan_has_not_is_refused(changes, said) -> None:
    with pytest.raises(UsageError) as caught:
        make(**changes)
    assert said in str(caught.value)
