"""bfloat16 in the forward passes of training: near float32, never in what is kept; and float32 knows nothing of it."""

import io
import math

import pytest
import torch

from tests.support.recipes import RECIPES, recipe_loop
from tests.support.tiny import tiny_translator
from trainables.networks.blocks import StridedConv2d
from trainables.precision import forward_pass
from trainables.systems.build import build_system
from trainables.systems.system import Batch, Loss
from trainables.training.loop import TrainingLoop

STEP_OF_BF16 = 2.0**-8
"""Largest relative error of rounding to bfloat16, which keeps 8 bits."""


def batch_of(loop: TrainingLoop) -> Batch:
    torch.manual_seed(1)
    return loop._draw_batch()


def first_losses(loop: TrainingLoop) -> tuple[list[Loss], Loss]:
    """What both networks minimise on one batch, from untrained networks."""
    batch = batch_of(loop)
    return list(loop.system.discriminator_losses(batch)), loop.system.generator_loss(batch)


def gradients(loss: Loss, network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([one.flatten() for one in torch.autograd.grad(loss.total, list(network.parameters()))])


@pytest.mark.parametrize("name", RECIPES)
def test_bf16_is_near_float32_and_not_equal(name) -> None:
    found = {}
    for precision in ("float32", "bf16"):
        loop = recipe_loop(name, precision=precision)
        of_discriminator, of_generator = first_losses(loop)
        found[precision] = torch.stack([loss.total.detach() for loss in (*of_discriminator, of_generator)])
    error = (found["bf16"] - found["float32"]).abs().max() / found["float32"].abs().max()
    # A pass has some twenty roundings one after another; they do not all point one way.
    assert 0 < error < 10 * STEP_OF_BF16


def test_gradients_point_where_those_of_float32_do() -> None:
    found = []
    for precision in ("float32", "bf16"):
        loop = recipe_loop("acgan", precision=precision, losses__labels="hard", generator__embedding_noise=0)
        found.append(gradients(loop.system.generator_loss(batch_of(loop)), loop.generator))
    assert not torch.equal(*found)
    assert torch.cosine_similarity(*found, dim=0) > 0.99


@pytest.mark.parametrize("name", RECIPES)
def test_everything_that_is_kept_is_float32(name) -> None:
    loop = recipe_loop(name, precision="bf16", training__ema_decay=0.9, optimizer__generator_lr=1e-4)
    figures = loop.train_until(24)
    assert all(math.isfinite(value) for value in figures.values())
    states = [network.state_dict() for network in (loop.generator, loop.discriminator, loop.average)]
    states += [of for optimizer in (loop.generator_optimizer, loop.discriminator_optimizer)
               for of in optimizer.state_dict()["state"].values()]  # fmt: skip
    kinds = {value.dtype for state in states for value in state.values() if isinstance(value, torch.Tensor)}
    assert kinds <= {torch.float32, torch.int64}  # the batches that a norm has seen are counted in whole numbers
    assert all(loss.total.dtype == torch.float32 for loss in first_losses(loop)[0])


@pytest.mark.parametrize("penalty", ["r1", "dragan"])
def test_penalties_are_those_of_float32(penalty) -> None:
    """Of real images and the weights alone, so that nothing of a bfloat16 pass reaches them."""
    found = []
    for precision in ("float32", "bf16"):
        loop = recipe_loop("cdcgan", precision=precision, losses__penalty=penalty, updates__split_discriminator=True)
        loss = next(iter(loop.system.discriminator_losses(batch_of(loop))))
        found.append((loss.figures["d_gradient_penalty"], loss.figures["d_loss_real"]))
    assert torch.equal(found[0][0], found[1][0])
    assert found[0][0] > 0
    assert not torch.equal(found[0][1], found[1][1])


def test_a_penalty_at_mixed_images_differs_by_what_the_fakes_do() -> None:
    found = []
    for precision in ("float32", "bf16"):
        loss = first_losses(recipe_loop("wgan_gp", precision=precision))[0][0]
        found.append(loss.figures["d_gradient_penalty"].item())
    assert found[1] == pytest.approx(found[0], rel=STEP_OF_BF16)


@pytest.mark.parametrize("name", RECIPES)
def test_float32_never_enters_autocast(name, monkeypatch) -> None:
    def refuse(*args, **kwargs):
        raise AssertionError("entered")

    monkeypatch.setattr(torch, "autocast", refuse)
    recipe_loop(name).train_until(8)
    with pytest.raises(AssertionError, match="entered"):
        recipe_loop(name, precision="bf16").train_until(8)


def test_images_are_drawn_in_float32() -> None:
    """Drawing for scores, samples and exports goes past the system: the weights alone decide."""
    loop, plain = recipe_loop("dcgan", precision="bf16"), recipe_loop("dcgan")
    batch = batch_of(loop)
    for one in (loop, plain):
        one.average.eval()
    drawn, expected = (one.average.image(batch.noise, batch.tags) for one in (loop, plain))
    assert drawn.dtype == torch.float32
    assert torch.equal(drawn, expected)


def test_bf16_goes_on_bit_for_bit_after_a_stop() -> None:
    loop = recipe_loop("matching_wgan", precision="bf16")
    loop.train_until(24)
    kept = io.BytesIO()
    torch.save(loop.state_dict(), kept)
    loop.train_until(48)
    kept.seek(0)
    other = recipe_loop("matching_wgan", seed=9, precision="bf16")
    other.load_state_dict(torch.load(kept, weights_only=True))
    other.train_until(48)
    for one, two in zip(loop.generator.parameters(), other.generator.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_single_pixel_gives_no_gradient_to_places_that_only_touch_padding(channels_last) -> None:
    """In bfloat16 they would hold whatever lay in memory: now and then NaN."""
    torch.manual_seed(0)
    for _ in range(8):
        layer, maps = StridedConv2d(16, 32, 3, 2, 1), torch.randn(16, 16, 1, 1)
        if channels_last:
            layer, maps = (one.to(memory_format=torch.channels_last) for one in (layer, maps))
        with forward_pass("bf16", maps.device):
            said = layer(maps)
        expected = maps.flatten(1) @ layer.weight[:, :, 1, 1].T + layer.bias
        assert torch.allclose(said.flatten(1), expected, atol=1e-5)
        said.square().sum().backward()
        assert layer.weight.grad is not None
        middle = layer.weight.grad[:, :, 1, 1].clone()
        layer.weight.grad[:, :, 1, 1] = 0
        assert not layer.weight.grad.any()
        assert torch.allclose(middle, 2 * expected.T @ maps.flatten(1), rtol=1e-3, atol=1e-3)


def test_larger_maps_stay_in_bf16() -> None:
    maps = torch.randn(2, 4, 2, 2)
    with forward_pass("bf16", maps.device):
        assert StridedConv2d(4, 4, 3, 2, 1)(maps).dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["cyclegan", "stargan"])
def test_translators_are_near_float32_and_not_equal(name) -> None:
    torch.manual_seed(2)
    labels = torch.tensor([[0, 0], [1, 0], [2, 1], [0, 1]])
    given = Batch(torch.rand(4, 3, 16, 16) * 2 - 1, labels, torch.empty(0), labels.flip(0))
    found = {}
    for precision in ("float32", "bf16"):
        torch.manual_seed(0)
        config = tiny_translator(name, losses__labels="hard", losses__penalty="none", losses__adversarial="lsgan")
        system = build_system(config, (3, 2), (1,), (), precision)
        losses = [*system.discriminator_losses(given), system.generator_loss(given)]
        found[precision] = torch.stack([loss.total.detach() for loss in losses])
        assert found[precision].dtype == torch.float32
    error = (found["bf16"] - found["float32"]).abs().max() / found["float32"].abs().max()
    assert 0 < error < 10 * STEP_OF_BF16
