"""Networks of H and I, counted by hand, at every size, and what a row asks for."""

import pytest
import torch
from torch import nn

from search_spaces.registry import SPACES
from tests.support.tiny import tiny_translator
from trainables.config import GanConfig
from trainables.networks.blocks import count_parameters
from trainables.networks.translation import (
    CycleGenerator,
    PatchDiscriminator,
    StarDiscriminator,
    StarGenerator,
)

SIZES = (16, 20, 28, 32, 48, 64, 96, 128)


def conv(inputs: int, outputs: int, kernel: int) -> int:
    return inputs * outputs * kernel * kernel + outputs


def layers(network: nn.Module) -> list[int]:
    """Parameters of each layer that has any, in order."""
    leaves = [module for module in network.modules() if not list(module.children())]
    return [count_parameters(leaf) for leaf in leaves if count_parameters(leaf)]


def body(inputs: int, blocks: int) -> list[int]:
    """At width 64: each convolution and the scale and shift of its norm; the last has none."""
    normed = [
        (inputs, 64, 7), (64, 128, 3), (128, 256, 3), *[(256, 256, 3)] * 2 * blocks, (256, 128, 3), (128, 64, 3),
    ]  # fmt: skip
    return [*(count for shape in normed for count in (conv(*shape), 2 * shape[1])), conv(64, 3, 7)]


def kernels(network: nn.Module) -> list[tuple[int, int]]:
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    return [(layer.kernel_size[0], layer.stride[0]) for layer in network.modules() if isinstance(layer, kinds)]


@pytest.mark.parametrize(("blocks", "total"), [(6, 7_845_123), (9, 11_388_675)])
def test_hs_generator_layer_by_layer(blocks, total) -> None:
    # 9,472 + 128 + 73,856 + 256 + 295,168 + 512 + 295,040 + 256 + 73,792 + 128 + 9,411 and 2 x 590,592 a block
    config = tiny_translator(generator__width=64, generator__blocks=blocks)
    generator = CycleGenerator(config, 0)
    assert 758_019 + 2 * 590_592 * blocks == sum(body(3, blocks)) == total
    assert layers(generator.a_to_b) == layers(generator.b_to_a) == body(3, blocks)
    assert count_parameters(generator) == 2 * total
    assert kernels(generator.a_to_b) == [(7, 1), (3, 2), (3, 2), *[(3, 1)] * 2 * blocks, (3, 2), (3, 2), (7, 1)]
    pads = [pad.padding[0] for pad in generator.a_to_b.modules() if isinstance(pad, nn.ReflectionPad2d)]
    assert pads == [3, *[1] * 2 * blocks, 3]
    assert isinstance(generator.a_to_b[-1], nn.Tanh)


def test_is_generator_has_the_target_vector_as_further_colours() -> None:
    # groups of 3, 2 and 4 classes, of which the first and the last are targets: 3 colours + 7 places
    config = tiny_translator("stargan", generator__width=64, generator__blocks=6)
    first, norm, *others = body(3 + 7, 6)
    assert norm == 2 * 64  # which is left out
    assert layers(StarGenerator(config, (3, 2, 4), (0, 2))) == [first, *others]


@pytest.mark.parametrize(
    ("size", "shapes", "map_side"),
    [
        (64, [(3, 64), (64, 128), (128, 256), (256, 512)], 6),  # 64 32 16 8, then 7 and 6
        (128, [(3, 64), (64, 128), (128, 256), (256, 512)], 14),
        (32, [(3, 64), (64, 128), (128, 256)], 6),
        (16, [(3, 64), (64, 128)], 6),
    ],
)
def test_hs_discriminator_layer_by_layer(size, shapes, map_side) -> None:
    network = PatchDiscriminator(tiny_translator(image_size=size, discriminator__width=64))
    normed = [count for shape in shapes[1:] for count in (conv(*shape, 4), 2 * shape[1])]
    assert layers(network) == [conv(3, 64, 4), *normed, conv(shapes[-1][1], 1, 4)]
    assert kernels(network) == [*[(4, 2)] * (len(shapes) - 1), (4, 1), (4, 1)]
    assert network(torch.randn(2, 3, size, size)).realness.shape == (2, map_side, map_side)
    slopes = {module.negative_slope for module in network.modules() if isinstance(module, nn.LeakyReLU)}
    assert slopes == {0.2}


@pytest.mark.parametrize("name", ["cyclegan", "stargan"])
def test_images_do_not_fade_on_their_way_through_a_recipes_discriminator(name) -> None:
    torch.manual_seed(0)
    config = GanConfig.from_params({**SPACES[name].recipe, "image_size": 64, "discriminator.width": 16})
    network = PatchDiscriminator(config) if name == "cyclegan" else StarDiscriminator(config, (2,))
    with torch.no_grad():
        assert network.trunk(torch.rand(4, 3, 64, 64) * 2 - 1).std(dim=0).mean() > 0.01


def test_hs_patch_is_seventy_pixels_wide() -> None:
    """A score of the published 70 x 70 patch changes with the pixels of its patch alone."""
    network = PatchDiscriminator(tiny_translator(image_size=128, discriminator__norm="none")).eval()
    images = torch.randn(1, 3, 128, 128, requires_grad=True)
    network(images).realness[0, 7, 7].backward()
    rows = images.grad[0].abs().sum(dim=(0, 2)).nonzero()[:, 0]
    assert rows.max() - rows.min() + 1 == 70


def test_is_discriminator_layer_by_layer() -> None:
    network = StarDiscriminator(
        tiny_translator("stargan", image_size=64, discriminator__width=64, discriminator__norm="none"), (12, 11)
    )
    trunk = [conv(3, 64, 4), conv(64, 128, 4), conv(128, 256, 4), conv(256, 512, 4)]
    assert layers(network) == [*trunk, conv(512, 1, 3), conv(512, 12, 4), conv(512, 11, 4)]
    judged = network(torch.randn(2, 3, 64, 64))
    assert judged.realness.shape == (2, 4, 4)
    assert [tuple(head.shape) for head in judged.tags] == [(2, 12), (2, 11)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("norm", ["batch", "instance", "layer", "none"])
def test_every_size_and_norm(norm, size) -> None:
    changes = {"image_size": size, "generator__norm": norm, "discriminator__norm": norm}
    images, labels = torch.rand(2, 3, size, size) * 2 - 1, torch.tensor([[0, 1], [1, 0]])
    for generator in (
        CycleGenerator(tiny_translator(**changes), 0),
        StarGenerator(tiny_translator("stargan", **changes), (2, 2), (0, 1)),
    ):
        translated = generator(images, labels)
        assert translated.shape == images.shape
        assert translated.abs().max() <= 1
        assert translated.std() > 0
    for network in (PatchDiscriminator(tiny_translator(**changes)),
                    StarDiscriminator(tiny_translator("stargan", **changes), (2, 2))):  # fmt: skip
        assert network(images).realness.isfinite().all()


@pytest.mark.parametrize("asked", [[1, 0, 0, 1, 1], [0] * 5, [1] * 5])
def test_the_asked_class_of_the_target_group_picks_the_direction(asked) -> None:
    generator = CycleGenerator(tiny_translator(), target=1).eval()
    images = torch.rand(5, 3, 16, 16) * 2 - 1
    labels = torch.tensor([[2, label] for label in asked])
    with torch.no_grad():
        translated = generator(images, labels)
        for row, label in enumerate(asked):
            network = generator.a_to_b if label == 1 else generator.b_to_a
            torch.testing.assert_close(translated[row : row + 1], network(images[row : row + 1]))
        assert not torch.allclose(generator.a_to_b(images), generator.b_to_a(images))


@pytest.mark.parametrize("system", ["cyclegan", "stargan"])
def test_an_exported_translator_takes_any_mix_and_number(system) -> None:
    torch.manual_seed(0)
    config = tiny_translator(system)
    generator = (CycleGenerator(config, 0) if system == "cyclegan" else StarGenerator(config, (2, 3), (0,))).eval()
    images, labels = torch.rand(5, 3, 16, 16) * 2 - 1, torch.tensor([[1, 0], [0, 0], [0, 2], [1, 1], [0, 0]])
    count = torch.export.Dim("count")
    program = torch.export.export(generator, (images[:2], labels[:2]), dynamic_shapes=({0: count}, {0: count}))
    with torch.no_grad():
        for rows in (slice(0, 5), slice(1, 3), slice(0, 4)):
            torch.testing.assert_close(
                program.module()(images[rows], labels[rows]), generator(images[rows], labels[rows])
            )


@pytest.mark.parametrize("norm", ["batch", "instance", "layer", "none"])
def test_stargan_heeds_the_targets_and_nothing_else(norm) -> None:
    torch.manual_seed(0)
    config = tiny_translator("stargan", generator__norm=norm, generator__width=8, generator__init="lecun")
    generator = StarGenerator(config, (3, 2, 2), (0, 2)).eval()
    images = torch.rand(1, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        first, *others = (
            generator(images, torch.tensor([row])) for row in ([0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1])
        )
    moved = [(first - other).abs().mean().item() for other in others]
    assert moved[0] == 0
    assert min(moved[1:]) > 0.005


def test_spectral_norm_and_dropout_reach_every_layer() -> None:
    config = tiny_translator(
        discriminator__spectral_norm=True, discriminator__dropout=0.1, generator__dropout=0.5, generator__blocks=3
    )
    network = PatchDiscriminator(config)
    assert sum(hasattr(module, "parametrizations") for module in network.modules()) == 3
    assert sum(isinstance(module, nn.AlphaDropout) for module in network.modules()) == 2
    rates = [module.p for module in CycleGenerator(config, 0).a_to_b.modules() if isinstance(module, nn.Dropout)]
    assert rates == [0.5] * (1 + 2 + 3 + 2)
