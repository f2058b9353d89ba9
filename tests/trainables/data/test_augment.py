"""Augmentation: where pixels go, by hand."""

import math

import pytest
import torch

from trainables.config import TrainingConfig
from trainables.data import augment
from trainables.data.augment import diff_augment, rotate


def dot(size: int = 16, row: int = 8, column: int = 8, count: int = 1) -> torch.Tensor:
    images = torch.zeros(count, 3, size, size)
    images[:, :, row, column] = 1
    return images


def test_no_rotation_is_the_same_image() -> None:
    images = torch.rand(3, 3, 16, 16)
    assert torch.allclose(rotate(images, 0.0), images, atol=1e-5)


def test_a_rotation_turns_a_plane_by_its_angle(monkeypatch) -> None:
    """Brightness that rises to the right, turned by the angle a, rises by cos a to the right and sin a down or up."""
    ramp = torch.linspace(-1, 1, 32).expand(2, 3, 32, 32)
    monkeypatch.setattr(torch, "rand", lambda *given, **options: torch.tensor([1.0, 0.0]))  # the ends of the range
    turned = rotate(ramp, 5.0)
    middle = turned[:, 0, 8:24, 8:24]
    step = 2 / 31
    across = (middle[:, :, 1:] - middle[:, :, :-1]).mean(dim=(1, 2)) / step
    down = (middle[:, 1:] - middle[:, :-1]).mean(dim=(1, 2)) / step
    assert across.tolist() == pytest.approx([math.cos(math.radians(5))] * 2, abs=1e-3)
    assert down.tolist() == pytest.approx([-math.sin(math.radians(5)), math.sin(math.radians(5))], abs=1e-3)


def test_each_image_is_rotated_by_a_random_angle_within_the_range() -> None:
    torch.manual_seed(0)
    ramp = torch.linspace(-1, 1, 32).expand(400, 3, 32, 32)
    middle = rotate(ramp, 30.0)[:, 0, 12:20, 12:20]
    down = (middle[:, 1:] - middle[:, :-1]).mean(dim=(1, 2))
    across = (middle[:, :, 1:] - middle[:, :, :-1]).mean(dim=(1, 2))
    angles = torch.rad2deg(torch.atan2(down, across))
    assert angles.abs().max() <= 30.1
    assert angles.min() < -29
    assert angles.max() > 29
    assert abs(angles.mean().item()) < 3  # one standard error is 0.87


def test_rotation_mirrors_edges_rather_than_blackening_them() -> None:
    torch.manual_seed(0)
    assert torch.allclose(rotate(torch.ones(8, 3, 16, 16), 45.0), torch.ones(8, 3, 16, 16), atol=1e-5)


@pytest.mark.parametrize("size", [16, 20])
def test_translation_moves_a_dot_by_at_most_an_eighth(size) -> None:
    torch.manual_seed(0)
    moved = augment._translate(dot(size, 8, 9, count=800))
    assert moved.sum(dim=(1, 2, 3)).eq(3).all()
    places = moved[:, 0].nonzero()[:, 1:] - torch.tensor([8, 9])
    most = {16: 2, 20: 3}[size]  # 20 / 8 = 2.5
    for steps in places.T:
        assert steps.unique().tolist() == list(range(-most, most + 1))
        counts = steps.bincount() if steps.min() >= 0 else (steps + most).bincount()
        assert counts.min() > 0.6 * 800 / (2 * most + 1)
    assert len(places.unique(dim=0)) == (2 * most + 1) ** 2


def test_what_is_moved_out_is_lost_and_what_comes_in_is_zero() -> None:
    torch.manual_seed(0)
    moved = augment._translate(torch.ones(200, 1, 16, 16))
    kept = moved[:, 0].flatten(1).sum(dim=1)
    assert kept.min() == 14 * 14
    assert kept.max() == 16 * 16
    rows = moved[:, 0].amax(dim=2).sum(dim=1)
    columns = moved[:, 0].amax(dim=1).sum(dim=1)
    assert torch.equal(rows * columns, kept)  # always one full rectangle


def test_cutout_blackens_one_rectangle_of_at_most_half_the_side() -> None:
    torch.manual_seed(0)
    cut = augment._cut(torch.ones(400, 3, 16, 16))
    assert set(cut.unique().tolist()) == {0.0, 1.0}
    holes = 1 - cut[:, 0]
    heights, widths = holes.amax(dim=2).sum(dim=1), holes.amax(dim=1).sum(dim=1)
    assert torch.equal(heights * widths, holes.sum(dim=(1, 2)))
    assert heights.max() <= 8
    assert widths.max() <= 8
    assert (heights >= 7).float().mean() > 0.4  # a centre between a quarter and three quarters cuts the whole square
    assert heights.min() >= 3
    assert torch.equal(cut[:, 0], cut[:, 1])


def test_recolouring_shifts_and_scales_each_image() -> None:
    torch.manual_seed(0)
    grey = torch.full((2000, 3, 4, 4), 0.25)
    shift = augment._recolour(grey) - grey
    assert (shift.flatten(1).std(dim=1) < 1e-5).all()  # a grey image stays grey
    brightness = shift[:, 0, 0, 0]
    assert brightness.min() == pytest.approx(-0.5, abs=0.01)
    assert brightness.max() == pytest.approx(0.5, abs=0.01)
    assert brightness.mean().item() == pytest.approx(0, abs=0.03)
    # Contrast from a half to three halves, seen on an image without colour.
    half = torch.cat([torch.zeros(2000, 3, 2, 4), torch.ones(2000, 3, 2, 4)], dim=2)
    changed = augment._recolour(half)
    contrast = changed[:, 0, 3, 0] - changed[:, 0, 0, 0]
    assert contrast.min() == pytest.approx(0.5, abs=0.01)
    assert contrast.max() == pytest.approx(1.5, abs=0.01)


def test_augmentation_keeps_shapes_and_is_differentiable() -> None:
    torch.manual_seed(0)
    images = torch.rand(4, 3, 16, 16, requires_grad=True)
    seen = diff_augment(images)
    assert seen.shape == images.shape
    assert not torch.allclose(seen, images)
    seen.sum().backward()
    assert images.grad.isfinite().all()
    assert images.grad.flatten(1).abs().sum(dim=1).min() > 0


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_each_change_reaches_the_given_share_of_the_images(probability, monkeypatch) -> None:
    torch.manual_seed(0)
    for place, name in enumerate(("_recolour", "_translate", "_cut")):
        monkeypatch.setattr(augment, name, lambda images, place=place: images + 10**place)
    digits = diff_augment(torch.zeros(4000, 1, 2, 2), probability)
    assert (digits == digits[:, :, :1, :1]).all()
    numbers = digits[:, 0, 0, 0].long()
    shares = [(numbers // 10**place % 10).double().mean().item() for place in range(3)]
    assert shares == [pytest.approx(probability, abs=0.03)] * 3
    both = ((numbers % 10) * (numbers // 10 % 10)).double().mean().item()
    assert both == pytest.approx(probability**2, abs=0.03)  # independent of each other


def test_the_configuration_decides_what_the_discriminator_sees(monkeypatch) -> None:
    monkeypatch.setattr(augment, "diff_augment", lambda images, probability: probability)
    images = torch.zeros(1)
    kinds = [{}, {"augment_probability": 0.5}, {"augment_schedule": "cosine"}]
    seen = [augment.augment(images, TrainingConfig(diff_augment=True, **kind)) for kind in kinds]
    assert seen == [None, 0.5, 1.0]  # None: always, without a draw
    assert augment.augment(images, TrainingConfig(augment_probability=0.5)) is images
