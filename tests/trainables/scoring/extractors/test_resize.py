"""Resizes as matrix products, against the code that they stand for and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cleanfid.resize import build_resizer
from torch import Tensor
from torch.nn import functional as F
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from trainables.scoring.extractors.resize import resize

SHAPES = [(16, 16), (64, 64), (65, 40), (298, 299), (299, 299), (300, 64), (512, 512)]
LEVEL = 1e-4
"""Of 255: a few roundings of float32."""


def noise(height: int, width: int) -> Tensor:
    """Grey noise: the hardest image to resize, with overshoot where a kernel has any."""
    random = np.random.default_rng(0)
    return torch.from_numpy(random.integers(0, 256, (2, 3, height, width))).float()


def like_clean_fid(pixels: Tensor) -> Tensor:
    resizer = build_resizer("clean")
    return torch.stack([torch.from_numpy(resizer(p.permute(1, 2, 0).byte().numpy())).permute(2, 0, 1) for p in pixels])


REFERENCES = {
    "tf1": lambda x: interpolate_bilinear_2d_like_tensorflow1x(x, (299, 299), align_corners=False),
    "pytorch": lambda x: F.interpolate(x, (299, 299), mode="bilinear", align_corners=False),
    "antialias": lambda x: F.interpolate(x, (299, 299), mode="bilinear", align_corners=False, antialias=True),
    "clean": like_clean_fid,
}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", REFERENCES)
def test_the_product_equals_the_reference(kind, shape) -> None:
    pixels = noise(*shape)
    torch.testing.assert_close(resize(pixels, 299, kind), REFERENCES[kind](pixels), rtol=0, atol=LEVEL)


def test_the_references_differ() -> None:
    """Else the comparison above would prove nothing."""
    resized = [resize(noise(64, 64), 299, kind) for kind in ("tf1", "pytorch", "clean")]
    assert (resized[0] - resized[1]).abs().mean() > 1.0
    assert (resized[1] - resized[2]).abs().mean() > 1.0
    large = noise(512, 512)
    assert (resize(large, 299, "antialias") - resize(large, 299, "pytorch")).abs().mean() > 1.0


def test_two_pixels_become_four_by_hand() -> None:
    pixels = torch.tensor([[[[0.0, 80.0], [0.0, 80.0]]]])
    # Without half-pixel centres the places 0, 1, 2, 3 of four are 0, 0.5, 1, 1.5 of two.
    torch.testing.assert_close(resize(pixels, 4, "tf1")[0, 0, 0], torch.tensor([0.0, 40.0, 80.0, 80.0]))
    # With them they are -0.25, 0.25, 0.75, 1.25.
    torch.testing.assert_close(resize(pixels, 4, "pytorch")[0, 0, 0], torch.tensor([0.0, 20.0, 60.0, 80.0]))


def test_clean_is_cut_to_the_range_of_a_image() -> None:
    edge = torch.zeros(1, 1, 64, 64)
    edge[..., 32:] = 255.0
    resized = resize(edge, 299, "clean")
    assert (resized.min(), resized.max()) == (0.0, 255.0)


@pytest.mark.parametrize("kind", REFERENCES)
def test_images_of_the_size_stay_as_they_are(kind) -> None:
    pixels = noise(299, 299)
    assert torch.equal(resize(pixels, 299, kind), pixels)
