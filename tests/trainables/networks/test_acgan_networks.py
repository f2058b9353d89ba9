"""System A's networks: the report's layers, counted by hand, at every size."""

import pytest
import torch
from torch import Tensor, nn

from tests.support.tiny import PAIR, random_labels, tiny_config
from trainables.config import GanConfig
from trainables.networks.blocks import count_parameters
from trainables.networks.conditioning import TagEncoder
from trainables.networks.discriminator import Discriminator
from trainables.networks.generator import Generator

REPORT = (12, 11)
SIZES = (16, 32, 48, 64, 96, 128)
ENCODE = TagEncoder("one_hot", PAIR.sizes)


def generator(size: int = 16, **changes) -> Generator:
    torch.manual_seed(0)
    params = {f"generator.{name}": value for name, value in changes.items()}
    return Generator(tiny_config(image_size=size, **params), PAIR.sizes)


def discriminator(size: int = 16, **changes) -> Discriminator:
    torch.manual_seed(0)
    params = {f"discriminator.{name}": value for name, value in changes.items()}
    return Discriminator(tiny_config(image_size=size, **params), PAIR.sizes, ENCODE.width)


def labels(count: int) -> Tensor:
    return torch.from_numpy(random_labels(count))


def parameters(layer: nn.Module) -> int:
    return sum(parameter.numel() for parameter in layer.parameters())


def layers(network: nn.Module) -> list[int]:
    """Parameters of each layer that has any, in order."""
    leaves = [module for module in network.modules() if not list(module.children())]
    return [parameters(leaf) for leaf in leaves if parameters(leaf)]


# SYSTEMS.md, A: Embedding(8) of 12 hair and 11 eye colours, and 256 numbers of noise, give 8 + 8 + 256 = 272
# inputs. Weights are inputs x outputs x kernel x kernel, each layer has biases, each batch norm 2 a channel.
GENERATOR_AT_64 = [
    12 * 8, 11 * 8,
    272 * 1024 * 4 * 4 + 1024, 2 * 1024,
    1024 * 512 * 4 * 4 + 512, 2 * 512,
    512 * 256 * 4 * 4 + 256, 2 * 256,
    256 * 128 * 4 * 4 + 128, 2 * 128,
    128 * 64 * 3 * 3 + 64, 2 * 64,
    64 * 3 * 4 * 4 + 3,
]  # fmt: skip
DISCRIMINATOR_AT_64 = [
    3 * 64 * 4 * 4 + 64,
    64 * 128 * 4 * 4 + 128, 2 * 128,
    128 * 256 * 4 * 4 + 256, 2 * 256,
    256 * 512 * 4 * 4 + 512, 2 * 512,
    512 * 4 * 4 * 1 + 1,
    512 * 4 * 4 * 12 + 12,
    512 * 4 * 4 * 11 + 11,
]  # fmt: skip


def test_the_reports_generator_layer_by_layer() -> None:
    network = Generator(GanConfig(), REPORT)
    assert layers(network) == GENERATOR_AT_64
    assert count_parameters(network) == sum(GENERATOR_AT_64) == 15_549_435


def test_the_reports_discriminator_layer_by_layer() -> None:
    network = Discriminator(GanConfig(), REPORT, 23)
    assert layers(network) == DISCRIMINATOR_AT_64
    assert count_parameters(network) == sum(DISCRIMINATOR_AT_64) == 2_954_968


def test_the_reports_kernels_strides_and_slopes() -> None:
    drawing, judging = Generator(GanConfig(), REPORT), Discriminator(GanConfig(), REPORT, 23)
    up = [module for module in drawing.modules() if isinstance(module, nn.ConvTranspose2d)]
    assert [(layer.kernel_size[0], layer.stride[0]) for layer in up] == [(4, 1), (4, 2), (4, 2), (4, 2), (3, 1), (4, 2)]
    down = [module for module in judging.modules() if isinstance(module, nn.Conv2d)]
    assert [(layer.kernel_size[0], layer.stride[0]) for layer in down] == [(4, 2)] * 4
    modules = [*drawing.modules(), *judging.modules()]
    assert {module.momentum for module in modules if isinstance(module, nn.BatchNorm2d)} == {0.5}
    assert {module.negative_slope for module in modules if isinstance(module, nn.LeakyReLU)} == {0.2}


def test_batch_norm_on_the_last_block_adds_two_a_channel() -> None:
    plain, normed = (Generator(GanConfig.from_params({"generator.final_norm": norm}), REPORT) for norm in (False, True))
    assert count_parameters(normed) - count_parameters(plain) == 6


def test_oversize_adds_a_doubling_and_a_convolution_back() -> None:
    network = generator(oversize=True)
    # 4 -> 8 -> 16 -> 32 -> back to 16: widths 16, 8, 4, 2; 4 + 2 * 2 = 8 inputs
    assert layers(network) == [
        3 * 2, 2 * 2,
        8 * 16 * 16 + 16, 2 * 16,
        16 * 8 * 16 + 8, 2 * 8,
        8 * 4 * 16 + 4, 2 * 4,
        4 * 2 * 9 + 2, 2 * 2,
        2 * 3 * 16 + 3,
        3 * 3 * 16 + 3,
    ]  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("oversize", [False, True])
def test_images_have_the_size_asked_for(size, oversize) -> None:
    images = generator(size, oversize=oversize)(torch.randn(2, 4), labels(2))
    assert images.shape == (2, 3, size, size)
    assert images.isfinite().all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("conditioning", "heads"), [("acgan", [(2, 3), (2, 2)]), ("concat", [])])
def test_judgements_have_one_logit_a_image_and_one_head_a_group(size, conditioning, heads) -> None:
    realness, tags = discriminator(size, conditioning=conditioning)(torch.randn(2, 3, size, size), ENCODE(labels(2)))
    assert realness.shape == (2,)
    assert [tuple(head.shape) for head in tags] == heads


def test_concatenation_feeds_the_tags_to_a_hidden_layer() -> None:
    # 16 px: 2 then 4 channels at 4x4 = 64 features, and 3 + 2 tags; 8 x width = 16 hidden (512 in the report's D)
    network = discriminator(conditioning="concat")
    assert layers(network) == [3 * 2 * 16 + 2, 2 * 4 * 16 + 4, 2 * 4, (64 + 5) * 16 + 16, 16 + 1]


@pytest.mark.parametrize("conditioning", ["acgan", "concat"])
def test_only_concatenation_lets_tags_change_realness(conditioning) -> None:
    network = discriminator(conditioning=conditioning).eval()
    images = torch.randn(1, 3, 16, 16)
    first, second = (network(images, ENCODE(torch.tensor([tags]))).realness.item() for tags in ([0, 0], [1, 1]))
    assert (first == second) is (conditioning == "acgan")


def test_tags_and_noise_both_change_the_image() -> None:
    network, noise = generator().eval(), torch.randn(2, 4)
    base = network(noise[:1], torch.tensor([[0, 0]]))
    assert torch.equal(base, network(noise[:1], torch.tensor([[0, 0]])))  # no embedding noise in use
    for other in ([1, 0], [0, 1]):
        assert not torch.equal(base, network(noise[:1], torch.tensor([other])))
    assert not torch.equal(base, network(noise[1:], torch.tensor([[0, 0]])))


@pytest.mark.parametrize(("activation", "lowest", "highest"), [("tanh", -1.0, 1.0), ("leaky_relu", -4.0, 20.0)])
def test_the_last_activation(activation, lowest, highest) -> None:
    network = generator(final_activation=activation).eval()
    for value in (-20.0, 20.0):
        with torch.no_grad():
            network.body[-1].weight.zero_()
            network.body[-1].bias.fill_(value)
        expected = lowest if value < 0 else highest
        assert network(torch.randn(1, 4), labels(1)).unique().tolist() == pytest.approx([expected])
