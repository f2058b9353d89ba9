"""Networks of systems B to G, counted by hand at the reports' size, and every part at every size."""

import pytest
import torch
from torch import Tensor, nn

from search_spaces.registry import SPACES
from tests.support.tiny import PAIR, random_labels, tiny_config
from trainables.config import GanConfig
from trainables.data.tags import REPORT_PAIRS, REPORT_VOCABULARY
from trainables.networks.blocks import count_parameters
from trainables.networks.conditioning import TagEncoder
from trainables.networks.discriminator import Discriminator
from trainables.systems.build import build_system
from trainables.systems.conditional import ConditionalGan

SIZES = (16, 32, 48, 64, 96, 128)
GENERATORS = ("acgan", "dcgan", "dense", "matching", "srresnet")
TRUNKS = ("dcgan", "matching", "srresnet")
HEADS = ("acgan", "multilabel", "concat", "map", "combo", "projection", "none")
NORMS = ("batch", "instance", "layer", "none")


def conv(inputs: int, outputs: int, kernel: int, *, bias: bool = True) -> int:
    return inputs * outputs * kernel * kernel + outputs * bias


def dense(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def norm(channels: int) -> int:
    return 2 * channels


def layers(network: nn.Module) -> list[int]:
    """Parameters of each layer that has any, in order."""
    leaves = [module for module in network.modules() if not list(module.children())]
    return [count_parameters(leaf) for leaf in leaves if count_parameters(leaf)]


# B at 96 px: 100 + 23 inputs, a map of 12 x 12, 16 blocks of two normed convolutions, a last norm before the skip.
B_GENERATOR = [
    dense(123, 64 * 12 * 12), norm(64),
    *[conv(64, 64, 3), norm(64), conv(64, 64, 3), norm(64)] * 16, norm(64),
    *[conv(64, 256, 3), norm(64)] * 3,
    conv(64, 3, 9),
]  # fmt: skip
# 96 -> 48 -> 24 -> 12 -> 6 -> 3 -> 2; no norm; 23 tags in two heads.
B_DISCRIMINATOR = [
    conv(3, 32, 4), *[conv(32, 32, 3)] * 4,
    conv(32, 64, 4), *[conv(64, 64, 3)] * 8,
    conv(64, 128, 4), *[conv(128, 128, 3)] * 8,
    conv(128, 256, 3), *[conv(256, 256, 3)] * 8,
    conv(256, 512, 3), *[conv(512, 512, 3)] * 8,
    conv(512, 1024, 3),
    dense(1024 * 2 * 2, 1), dense(1024 * 2 * 2, 12), dense(1024 * 2 * 2, 11),
]  # fmt: skip
# C: 40 + 24 inputs to 65,536 = 256 x 16 x 16; no norm.
C_GENERATOR = [
    dense(64, 65_536), conv(256, 64, 3), conv(64, 32, 5), conv(32, 16, 5), conv(16, 3, 1),
]  # fmt: skip
C_DISCRIMINATOR = [
    conv(3, 64, 5), conv(64, 128, 5), conv(128, 256, 3), conv(256, 256, 3), conv(280, 512, 4), dense(512, 1),
]  # fmt: skip
# D: 100 + 25 inputs; hidden widths as in E (ours).
D_GENERATOR = [
    dense(125, 512 * 4 * 4), norm(512),
    conv(512, 256, 4), norm(256), conv(256, 128, 4), norm(128), conv(128, 64, 4), norm(64),
    conv(64, 3, 4),
]  # fmt: skip
D_DISCRIMINATOR = [
    conv(3, 64, 4), conv(64, 128, 4), norm(128), conv(128, 256, 4), norm(256), conv(256, 512, 4), norm(512),
    dense(512 * 4 * 4 + 25, 512), dense(512, 1),
]  # fmt: skip
# E and G: no biases.
E_GENERATOR = [
    100 * 512 * 16, norm(512), 512 * 256 * 16, norm(256), 256 * 128 * 16, norm(128), 128 * 64 * 16, norm(64),
    64 * 3 * 16,
]  # fmt: skip
E_TRUNK = [3 * 64 * 16, 64 * 128 * 16, norm(128), 128 * 256 * 16, norm(256), 256 * 512 * 16, norm(512)]
E_DISCRIMINATOR = [*E_TRUNK, 512 * 16]
# F: 119 combinations; the linear layers have biases, the convolutions none.
F_GENERATOR = [dense(119, 119), 219 * 512 * 16, *E_GENERATOR[1:]]
F_DISCRIMINATOR = [
    *E_TRUNK, dense(119, 119), 119 * 119 * 16, 631 * 512 * 16, norm(512), dense(512, 1),
]  # fmt: skip

COUNTED = {
    # B's G: 1,142,784 + 128 + 16 x 74,112 + 128 + 3 x 147,840 (a norm of the 64 channels left by the shuffle) + 15,555
    "srresnet_acgan": (B_GENERATOR, 2_787_907, B_DISCRIMINATOR, 31_571_064),
    "matching_wgan": (C_GENERATOR, 4_471_459, C_DISCRIMINATOR, 3_389_825),
    "cdcgan": (D_GENERATOR, 3_790_147, D_DISCRIMINATOR, 6_966_465),
    "dcgan": (E_GENERATOR, 3_576_704, E_DISCRIMINATOR, 2_765_568),
    "combo_dcgan": (F_GENERATOR, 4_565_832, F_DISCRIMINATOR, 8_168_921),
    "wgan_gp": (E_GENERATOR, 3_576_704, E_DISCRIMINATOR, 2_765_568),
}


@pytest.mark.parametrize("name", COUNTED)
def test_the_reports_networks_layer_by_layer(name) -> None:
    drawing, drawing_total, judging, judging_total = COUNTED[name]
    system = ConditionalGan(GanConfig.from_params(SPACES[name].recipe), REPORT_VOCABULARY.sizes, REPORT_PAIRS)
    assert layers(system.generator) == drawing
    assert layers(system.discriminator) == judging
    assert count_parameters(system.generator) == sum(drawing) == drawing_total
    assert count_parameters(system.discriminator) == sum(judging) == judging_total


def shapes(network: nn.Module, kind: tuple[type[nn.Module], ...]) -> list[tuple[int, int]]:
    return [(layer.kernel_size[0], layer.stride[0]) for layer in network.modules() if isinstance(layer, kind)]


def recipe_system(name: str) -> ConditionalGan:
    """The recipe's layers at tiny widths."""
    small = {"generator.width": 2, "discriminator.width": 2, "generator.noise_dim": 4}
    return ConditionalGan(GanConfig.from_params({**SPACES[name].recipe, **small}), PAIR.sizes, ((0, 0), (1, 1)))


@pytest.mark.parametrize(
    ("name", "up", "down"),
    [
        (
            "srresnet_acgan",
            [(3, 1)] * (32 + 3) + [(9, 1)],
            [(4, 2), *[(3, 1)] * 4, (4, 2), *[(3, 1)] * 8, (4, 2), *[(3, 1)] * 8, (3, 2), *[(3, 1)] * 8, (3, 2),
             *[(3, 1)] * 8, (3, 2)],
        ),
        ("matching_wgan", [(3, 2), (5, 2), (5, 1), (1, 1)], [(5, 2), (5, 2), (3, 2), (3, 2), (4, 1)]),
        ("cdcgan", [(4, 2)] * 4, [(4, 2)] * 4),
        ("dcgan", [(4, 1), *[(4, 2)] * 4], [*[(4, 2)] * 4, (4, 1)]),
        ("combo_dcgan", [(4, 1), *[(4, 2)] * 4], [*[(4, 2)] * 4, (4, 1), (4, 1)]),
    ],
)  # fmt: skip
def test_the_reports_kernels_and_strides(name, up, down) -> None:
    system = recipe_system(name)
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    assert shapes(system.generator, kinds) == up
    assert shapes(system.discriminator, kinds) == down


@pytest.mark.parametrize(
    ("name", "own", "last", "judging"),
    [
        ("srresnet_acgan", nn.ReLU, nn.Tanh, nn.LeakyReLU),
        ("matching_wgan", nn.ReLU, nn.Sigmoid, nn.ReLU),
        ("cdcgan", nn.ReLU, nn.Tanh, nn.ReLU),
        ("dcgan", nn.ReLU, nn.Tanh, nn.LeakyReLU),
        ("combo_dcgan", nn.ReLU, nn.Tanh, nn.LeakyReLU),
        ("wgan_gp", nn.ReLU, nn.Tanh, nn.LeakyReLU),
    ],
)
def test_the_reports_activations(name, own, last, judging) -> None:
    system, kinds = recipe_system(name), (nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid)
    assert {type(module) for module in system.generator.body.modules() if isinstance(module, kinds)} == {own}
    assert type(system.generator.last[-1]) is last
    found = [module for module in system.discriminator.modules() if isinstance(module, kinds)]
    assert {type(module) for module in found} == {judging}
    assert judging is nn.ReLU or {module.negative_slope for module in found} == {0.2}


def test_cs_alpha_dropout_follows_every_activation() -> None:
    rates = [m.p for m in recipe_system("matching_wgan").discriminator.modules() if isinstance(m, nn.AlphaDropout)]
    assert rates == [0.2] * 5


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("architecture", GENERATORS)
def test_every_body_draws_every_size(architecture, size) -> None:
    system = make(image_size=size, generator__architecture=architecture, generator__blocks=1)
    images = system.generator(torch.randn(2, 4), labels(2))
    assert images.shape == (2, 3, size, size)
    assert images.isfinite().all()
    assert images.std() > 0


@pytest.mark.parametrize("size", SIZES)
def test_a_valid_convolution_first_draws_every_size(size) -> None:
    system = make(image_size=size, generator__architecture="matching", generator__first_layer="convolution")
    assert system.generator(torch.randn(2, 4), labels(2)).shape == (2, 3, size, size)
    assert not [module for module in system.generator.modules() if isinstance(module, nn.Linear)]


@pytest.mark.parametrize("size", [16, 32, 64])
@pytest.mark.parametrize("conditioning", HEADS)
@pytest.mark.parametrize("architecture", TRUNKS)
def test_every_trunk_takes_every_head_and_norm(architecture, conditioning, size) -> None:
    images = torch.randn(2, 3, size, size)
    guessing = conditioning in ("acgan", "multilabel")
    told = conditioning in ("concat", "map", "combo", "projection")
    for kind in NORMS:
        system = make(
            image_size=size,
            generator__conditioning="none" if conditioning == "none" else "code",
            discriminator__architecture=architecture,
            discriminator__conditioning=conditioning,
            discriminator__norm=kind,
        )
        tag_classifier = system.discriminator.eval()
        first, second = (tag_classifier(images, system.encode(torch.tensor([tags] * 2))) for tags in ([0, 0], [2, 1]))
        assert first.realness.shape == (2,)
        assert [tuple(head.shape) for head in first.tags] == ([(2, 3), (2, 2)] if guessing else [])
        assert first.realness.isfinite().all()
        assert torch.equal(first.realness, second.realness) is not told
        counted = {module_kind for module_kind in map(type, tag_classifier.modules()) if "Norm" in module_kind.__name__}
        assert len(counted) == (kind != "none")


@pytest.mark.parametrize("kind", NORMS)
def test_norms_of_a_generator(kind) -> None:
    found = [type(m).__name__ for m in make(generator__norm=kind).generator.modules() if "Norm" in type(m).__name__]
    name = {"batch": "BatchNorm2d", "instance": "PixelwiseInstanceNorm2d", "layer": "GroupNorm"}.get(kind)
    assert found == [name] * 3 if name else not found


def test_dropout_follows_each_normalised_block_of_a_generator() -> None:
    config = tiny_config(image_size=64, generator__architecture="dcgan", generator__dropout=0.5)
    found = [m.p for m in ConditionalGan(config, PAIR.sizes).generator.modules() if isinstance(m, nn.Dropout)]
    assert found == [0.5] * 4  # E: after each of the four normed layers


def test_b_skips_over_its_blocks_and_over_all_of_them() -> None:
    system = make(generator__architecture="srresnet", generator__blocks=3)
    with torch.no_grad():
        middle = system.generator.body[1].eval()
        maps = torch.rand(1, 2, 4, 4)
        for parameter in middle.layers[-2].parameters():  # scale and shift of the last norm
            parameter.zero_()
        assert torch.equal(middle(maps), maps)
        block = middle.layers[0]
        for parameter in block.layers[-1].parameters():
            parameter.zero_()
        assert torch.equal(block(maps), maps)


def test_projection_adds_the_inner_product_with_the_tags() -> None:
    config = tiny_config(discriminator__conditioning="projection")
    head = Discriminator(config, PAIR.sizes, 5).head
    features, codes = torch.randn(3, 4, 4, 4), TagEncoder("one_hot", PAIR.sizes)(labels(3))
    match = torch.einsum("nc,nd,cd->n", features.mean(dim=(2, 3)), codes, head.embedding.weight)
    expected = features.flatten(1) @ head.realness.weight[0] + head.realness.bias + match
    assert torch.allclose(head(features, codes).realness, expected, atol=1e-6)


def test_c_repeats_the_tags_over_the_whole_map() -> None:
    head = make(discriminator__conditioning="map").discriminator.head
    codes = torch.tensor([[1.0, 0, 0, 0, 1]])
    spread = head.spread(codes[:, :, None, None])
    assert spread.shape == (1, 5, 4, 4)
    assert torch.equal(spread, codes[:, :, None, None].expand(1, 5, 4, 4))


@pytest.mark.parametrize("name", COUNTED)
def test_images_do_not_fade_on_their_way_through_a_discriminator(name) -> None:
    """With weights of N(0, 0.02), B's 42 layers without norms let 1e-4 through at this width, and never learnt."""
    small = {"image_size": 64, "discriminator.width": 16, "generator.width": 2, "discriminator.dropout": 0.0}
    torch.manual_seed(0)
    config = GanConfig.from_params({**SPACES[name].recipe, **small})
    trunk = ConditionalGan(config, PAIR.sizes, ((0, 0), (1, 1))).discriminator.trunk
    with torch.no_grad():
        assert trunk(torch.rand(4, 3, 64, 64) * 2 - 1).std(dim=0).mean() > 0.01


def test_spectral_norm_holds_every_weight_to_slope_one() -> None:
    system = make(discriminator__spectral_norm=True, discriminator__conditioning="combo", image_size=32)
    tag_classifier = system.discriminator.train()
    for _ in range(30):
        tag_classifier(torch.randn(4, 3, 32, 32), system.encode(labels(4)))
    weights = [m for m in tag_classifier.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))]
    assert len(weights) == 3 + 2 + 2  # trunk; square and deconvolution of the tags; convolution and output
    for layer in weights:
        transposed = isinstance(layer, nn.ConvTranspose2d)
        matrix = (layer.weight.transpose(0, 1) if transposed else layer.weight).flatten(1)
        assert torch.linalg.matrix_norm(matrix, 2).item() == pytest.approx(1.0, abs=0.05)
    free = make(discriminator__conditioning="combo", image_size=32).discriminator.head.layers[0].weight
    assert torch.linalg.matrix_norm(free.flatten(1), 2).item() != pytest.approx(1.0, abs=0.3)


def test_a_generator_whose_network_works_in_zero_to_one_still_gives_images_in_minus_one_to_one() -> None:
    network = make(generator__final_activation="sigmoid").generator.eval()
    noise = 3 * torch.randn(8, 4)
    own, shown = network(noise, labels(8)), network.image(noise, labels(8))
    assert 0 <= own.min() < own.max() <= 1
    assert torch.allclose(shown, 2 * own - 1)
    plain = make().generator.eval()
    assert torch.equal(plain.image(noise, labels(8)), plain(noise, labels(8)))


def test_a_generator_without_tags_draws_the_same_for_any() -> None:
    system = make(generator__conditioning="none", discriminator__conditioning="none")
    network, noise = system.generator.eval(), torch.randn(2, 4)
    assert torch.equal(network(noise, torch.tensor([[0, 0]] * 2)), network(noise, torch.tensor([[2, 1]] * 2)))


def labels(count: int) -> Tensor:
    return torch.from_numpy(random_labels(count))


def make(**changes) -> ConditionalGan:
    torch.manual_seed(0)
    return ConditionalGan(tiny_config(losses__labels="hard", **changes), PAIR.sizes, ((0, 0), (1, 1)))


@pytest.mark.parametrize("name", [name for name in SPACES if not name.startswith("anything")])
def test_grey_networks_differ_in_their_first_and_last_layers_alone(name: str) -> None:
    sizes = (2,) if SPACES[name].recipe["system"] == "cyclegan" else PAIR.sizes
    small = {"image_size": 16, "generator.width": 2, "discriminator.width": 2, "generator.blocks": 1}
    systems = {
        channels: build_system(
            GanConfig.from_params({**SPACES[name].recipe, **small, "channels": channels}), sizes, (), ((0, 0), (1, 1))
        )
        for channels in (1, 3)
    }
    for part in ("generator", "discriminator"):
        grey, colour = (
            {key: tuple(value.shape) for key, value in getattr(systems[channels], part).state_dict().items()}
            for channels in (1, 3)
        )
        assert grey.keys() == colour.keys()
        differ = {key for key in grey if grey[key] != colour[key]}
        assert differ
        for key in differ:
            changes = [other - one for one, other in zip(grey[key], colour[key], strict=True) if one != other]
            # An unshuffled image has four places per channel.
            unshuffled = part == "discriminator" and SPACES[name].recipe["discriminator.architecture"] == "unshuffle"
            assert set(changes) == {8 if unshuffled else 2}
    images, labels = torch.rand(2, 1, 16, 16), torch.zeros(2, len(sizes), dtype=torch.int64)
    generator = systems[1].generator.eval()
    noise = torch.randn(2, generator.noise_dim) if not generator.translates else images
    assert generator(noise, labels).shape == images.shape
