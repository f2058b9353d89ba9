"""The vision transformer of DINOv2 against NumPy and Pillow, with random weights."""

from __future__ import annotations

import math
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from scipy.special import erf

from trainables.errors import UserError
from trainables.scoring.extractors import dinov2, registry
from trainables.scoring.extractors.registry import open_extractor

if TYPE_CHECKING:
    from pathlib import Path

WIDTH, DEPTH, HEADS = 12, 2, 3


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """Weights under the names of the official files, written out by hand."""
    random = torch.Generator().manual_seed(4)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=random) * 0.3

    weights = {
        "cls_token": draw(1, 1, WIDTH), "pos_embed": draw(1, 1370, WIDTH), "mask_token": draw(1, WIDTH),
        "patch_embed.proj.weight": draw(WIDTH, 3, 14, 14) * 0.3, "patch_embed.proj.bias": draw(WIDTH),
        "norm.weight": 1 + draw(WIDTH), "norm.bias": draw(WIDTH),
    }  # fmt: skip
    for place in range(DEPTH):
        for name, rows, columns in (
            ("attn.qkv", 3 * WIDTH, WIDTH), ("attn.proj", WIDTH, WIDTH),
            ("mlp.fc1", 4 * WIDTH, WIDTH), ("mlp.fc2", WIDTH, 4 * WIDTH),
        ):  # fmt: skip
            weights[f"blocks.{place}.{name}.weight"] = draw(rows, columns)
            weights[f"blocks.{place}.{name}.bias"] = draw(rows)
        for name in ("norm1", "norm2"):
            weights |= {f"blocks.{place}.{name}.weight": 1 + draw(WIDTH), f"blocks.{place}.{name}.bias": draw(WIDTH)}
        weights |= {f"blocks.{place}.ls{which}.gamma": draw(WIDTH) for which in (1, 2)}
    return weights


@pytest.fixture
def file(state: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(dinov2.SIZES, "dinov2", dinov2.Size(WIDTH, DEPTH, HEADS, "dinov2_tiny"))
    torch.save(state, tmp_path / "tiny.pth")
    registry._open.cache_clear()
    return tmp_path / "tiny.pth"


def cubic(distance: float) -> float:
    """The kernel of bicubic interpolation with a = -0.75 (Keys 1981)."""
    x, a = abs(distance), -0.75
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def positions(embedded: np.ndarray) -> np.ndarray:
    """37 x 37 positions at the 16 x 16 places of the official code, whose pixels lie 37 / 16.1 apart."""
    matrix = np.zeros((16, 37))
    for row in range(16):
        centre = (row + 0.5) * 37 / 16.1 - 0.5
        for tap in range(math.floor(centre) - 1, math.floor(centre) + 3):
            matrix[row, min(max(tap, 0), 36)] += cubic(centre - tap)
    grid = embedded[0, 1:].reshape(37, 37, -1)
    moved = np.einsum("ri,sj,ijc->rsc", matrix, matrix, grid).reshape(256, -1)
    return np.concatenate([embedded[0, :1], moved])


def in_numpy(state: dict[str, torch.Tensor], pixels: np.ndarray) -> np.ndarray:
    """Class tokens of pixels ``(n, 224, 224, 3)`` in [0, 255], in float64."""
    w = {name: value.double().numpy() for name, value in state.items()}

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        deviation = np.sqrt(x.var(axis=-1, keepdims=True) + 1e-6)
        return (x - x.mean(axis=-1, keepdims=True)) / deviation * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    x = (pixels / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    patches = x.reshape(len(x), 16, 14, 16, 14, 3).transpose(0, 1, 3, 5, 2, 4).reshape(len(x), 256, -1)
    tokens = patches @ w["patch_embed.proj.weight"].reshape(WIDTH, -1).T + w["patch_embed.proj.bias"]
    first = np.broadcast_to(w["cls_token"], (len(x), 1, WIDTH))
    tokens = np.concatenate([first, tokens], axis=1) + positions(w["pos_embed"])
    for place in range(DEPTH):
        name, each = f"blocks.{place}", WIDTH // HEADS
        qkv = linear(norm(tokens, f"{name}.norm1"), f"{name}.attn.qkv")
        heads = []
        for head in range(HEADS):
            q, k, v = (qkv[..., part * WIDTH + head * each :][..., :each] for part in range(3))
            scores = q @ k.transpose(0, 2, 1) / math.sqrt(each)
            weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
            heads.append(weights / weights.sum(axis=-1, keepdims=True) @ v)
        attended = linear(np.concatenate(heads, axis=-1), f"{name}.attn.proj")
        tokens = tokens + w[f"{name}.ls1.gamma"] * attended
        hidden = linear(norm(tokens, f"{name}.norm2"), f"{name}.mlp.fc1")
        hidden = hidden * 0.5 * (1 + erf(hidden / math.sqrt(2)))
        tokens = tokens + w[f"{name}.ls2.gamma"] * linear(hidden, f"{name}.mlp.fc2")
    return norm(tokens[:, 0], "norm")


def test_features_are_those_of_numpy_at_the_networks_own_size(file: Path, state: dict[str, torch.Tensor]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    extractor = open_extractor("dinov2", file)
    features = extractor(torch.from_numpy(pixels).permute(0, 3, 1, 2)).numpy()
    expected = in_numpy(state, pixels.astype(float))
    assert features.shape == (3, WIDTH)
    assert np.abs(features - expected).max() < 2e-4
    assert np.abs(expected[0] - expected[1]).max() > 0.01


@pytest.mark.parametrize("size", [(64, 64), (300, 300), (40, 96)])
def test_images_of_other_sizes_are_resized_as_pillow_does(
    size: tuple[int, int], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[torch.Tensor] = []
    monkeypatch.setattr(
        dinov2.VisionTransformer, "forward", lambda self, images: (taken.append(images), images.mean(dim=(2, 3)))[1]
    )
    pixels = np.random.default_rng(2).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    open_extractor("dinov2", file)(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    levels = taken[0].permute(0, 2, 3, 1).numpy() * [0.229, 0.224, 0.225] + [0.485, 0.456, 0.406]
    for method, same in ((Image.Resampling.BICUBIC, True), (Image.Resampling.BILINEAR, False)):
        resized = np.stack([np.array(Image.fromarray(image).resize((224, 224), method)) for image in pixels])
        differences = np.abs(levels * 255 - resized)
        # Pillow's coefficients have 22 bits, so single pixels may be rounded to the other side.
        assert (differences.max() < 1.01, differences.mean() < 1e-3) == (same, same)


def test_names_of_scores_and_files(file: Path, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    save_file(state, tmp_path / "tiny.safetensors")
    opened = [open_extractor("dinov2", path) for path in (file, tmp_path / "tiny.safetensors")]
    assert [one.score for one in opened] == ["fd_dinov2", "fd_dinov2"]
    assert opened[0].weights != opened[1].weights
    assert open_extractor("dinov2", file, precision="bf16").score == "fd_dinov2_bf16"
    images = torch.randint(256, (2, 3, 30, 30), dtype=torch.uint8)
    assert torch.equal(opened[0](images), opened[1](images))


def test_official_sizes_have_the_published_numbers_of_parameters() -> None:
    with torch.device("meta"):
        counts = [
            sum(p.numel() for p in dinov2.VisionTransformer(dinov2.SIZES[name]).parameters())
            for name in ("dinov2-base", "dinov2")
        ]
    # The papers' 86 and 300 million, with positions of 518 px, without the mask token.
    assert counts == [86_579_712, 304_367_616]


def test_another_file_is_refused_in_one_line(file: Path, state: dict[str, Any], tmp_path: Path) -> None:
    wider = {**state, "norm.weight": torch.ones(7)}
    without = {name: value for name, value in state.items() if name != "pos_embed"}
    for place, wrong in enumerate((wider, without, {"fc.weight": torch.ones(1)}, {**state, "cls_token": "text"})):
        path = tmp_path / f"{place}.pth"
        torch.save(wrong, path)
        with pytest.raises(UserError, match=f"{place}.pth holds no weights of dinov2") as refused:
            open_extractor("dinov2", path)
        assert "\n" not in str(refused.value)
    (tmp_path / "code.pth").write_bytes(pickle.dumps(print, protocol=2))
    (tmp_path / "other.safetensors").write_bytes(b"no tensors")
    for name in ("code.pth", "other.safetensors", "missing.safetensors"):
        with pytest.raises(UserError, match=name):
            open_extractor("dinov2", tmp_path / name)


def test_weights_that_cannot_be_fetched_say_how_to_give_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(url: str, **_: object) -> None:
        assert url == "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/dinov2_vitb14_pretrain.pth"
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    with pytest.raises(UserError, match=r"DINOv2 weights .*--weights.*no route to host"):
        open_extractor("dinov2-base")
