"""Modes that a generator covers: ``python -m benchmarks.modes digits --kimg 60``.

``gaussians`` is a mixture of 25 Gaussians in the plane, a 5 x 5 grid, as images: a point is drawn as a spot at its
place, and read back as the spot's centre. ``digits`` is Stacked MNIST (Metz et al. 2017) with drawn digits: each
channel shows one of ten, 1,000 modes in all, which a small classifier counts. ``r3gan`` is its recipe without tags at a
reduced width; ``bce`` has the same networks, optimizer, schedules and seeds with the plain GAN loss and no penalty,
``bce_r1`` with R1 alone.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.registry import SPACES
from trainables.config import GanConfig, Value
from trainables.systems.build import build_system
from trainables.training.loop import TrainingData, TrainingLoop

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from trainables.networks.generator import Generator

SIZE = 16
SPREAD = 0.12
"""Standard deviation of the places of a mode, in pixels; the modes are 20 of them apart."""
RADIUS = 1.5
"""Standard deviation of the brightness of a spot, in pixels."""
CENTRES = np.array([(x, y) for x in np.linspace(2.7, 12.3, 5) for y in np.linspace(2.7, 12.3, 5)])
SEGMENTS = {  # corners on a grid of two squares, one above the other
    "top": ((0, 0), (1, 0)), "middle": ((0, 1), (1, 1)), "bottom": ((0, 2), (1, 2)), "upper left": ((0, 0), (0, 1)),
    "upper right": ((1, 0), (1, 1)), "lower left": ((0, 1), (0, 2)), "lower right": ((1, 1), (1, 2)),
}  # fmt: skip
ABSENT = (
    ("middle",), ("top", "middle", "bottom", "upper left", "lower left"), ("upper left", "lower right"),
    ("upper left", "lower left"), ("top", "bottom", "lower left"), ("upper right", "lower left"), ("upper right",),
    ("middle", "bottom", "upper left", "lower left"), (), ("lower left",),
)  # fmt: skip
"""Segments that each digit lacks."""
PENALTY_WEIGHT = 10.0
"""Of R1 + R2: with 0.1, r3gan keeps 51 of the 1,000 digits after 60 kimg."""
LOSSES: dict[str, dict[str, str]] = {
    "r3gan": {},
    "bce": {"losses.adversarial": "bce", "losses.penalty": "none"},
    "bce_r1": {"losses.adversarial": "bce", "losses.penalty": "r1"},
}


def draw_spots(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return grey images ``(n, 16, 16)`` in [0, 1] of one spot each, at places ``(n, 2)`` (x, y) in pixels."""
    pixels = np.arange(SIZE) - places[:, :, None]
    x, y = np.exp(-(pixels**2) / 2 / RADIUS**2).transpose(1, 0, 2)
    spots: NDArray[np.float64] = y[:, :, None] * x[:, None]
    return spots


def draw_gaussians(count: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """Return images ``(count, 16, 16, 3)`` of points of the mixture; every mode equally often."""
    places = CENTRES[np.arange(count) % len(CENTRES)] + random.normal(0, SPREAD, (count, 2))
    grey = (255 * draw_spots(places)).round().astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=3)


def count_gaussians(images: Tensor) -> tuple[int, float]:
    """Return how many modes images ``(n, 3, 16, 16)`` in [-1, 1] cover, and the share of images in one.

    An image is in a mode if it differs from a grey spot by at most a tenth of the spot's energy, and its centre is
    within four standard deviations. A mode is covered if it has at least a fifth of its share of the images.
    """
    bright = images.double().clamp(-1, 1).numpy() / 2 + 0.5
    weights = (bright**2).sum(axis=1) + 1e-9  # squares: a faint background does not move the centre
    along = np.arange(SIZE)
    places = np.stack([weights.sum(axis=1) @ along, weights.sum(axis=2) @ along], axis=1)
    places /= weights.sum(axis=(1, 2))[:, None]
    spots = draw_spots(places)[:, None]
    like_one = ((bright - spots) ** 2).sum(axis=(1, 2, 3)) <= 0.1 * 3 * (spots**2).sum(axis=(1, 2, 3))
    distances = np.linalg.norm(places[:, None] - CENTRES, axis=2)
    inside = like_one & (distances.min(axis=1) <= 4 * SPREAD)
    found = np.bincount(distances.argmin(axis=1)[inside], minlength=len(CENTRES))
    return int((found >= len(images) / len(CENTRES) / 5).sum()), float(inside.mean())


def draw_digits(labels: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.uint8]:
    """Return one channel ``(n, 16, 16)`` per label: digits of seven segments, of varying place, size and stroke."""
    scale = 4  # drawn larger and reduced, for smooth edges
    drawn = []
    for label in labels:
        width, height = random.uniform(5, 7) * scale, random.uniform(4.5, 5.5) * scale
        left, top = random.uniform(2.5, 6.5) * scale, random.uniform(1.5, 3.5) * scale
        slant, stroke = random.uniform(-0.1, 0.2), int(random.integers(6, 10))
        canvas = Image.new("L", (SIZE * scale, SIZE * scale))
        pen = ImageDraw.Draw(canvas)
        for name, ends in SEGMENTS.items():
            if name not in ABSENT[label]:
                line = [(left + x * width + (1 - y) * slant * height, top + y * height) for x, y in ends]
                pen.line(line, fill=255, width=stroke)
        drawn.append(np.asarray(canvas.resize((SIZE, SIZE), Image.Resampling.BOX)))
    return np.stack(drawn)


def stack_digits(count: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """Return images ``(count, 16, 16, 3)``: three random digits of a pool of 3,000."""
    pool = draw_digits(np.arange(3000) % 10, random)
    return np.stack([pool[random.integers(len(pool), size=count)] for _ in range(3)], axis=3)


def train_classifier(random: np.random.Generator, steps: int = 400) -> tuple[nn.Module, float]:
    """Return a classifier of single channels ``(n, 1, 16, 16)`` in [-1, 1], and its accuracy on other digits."""
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)
    )
    labels = np.arange(6000) % 10
    images = torch.from_numpy(draw_digits(labels, random)).unsqueeze(1) / 127.5 - 1
    classes, optimizer = torch.from_numpy(labels), torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(steps):
        chosen = torch.from_numpy(random.integers(5000, size=128))
        optimizer.zero_grad()
        F.cross_entropy(network(images[chosen]), classes[chosen]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        return network, (network(images[5000:]).argmax(1) == classes[5000:]).double().mean().item()


@torch.no_grad()
def count_digits(images: Tensor, classifier: nn.Module) -> tuple[int, float]:
    """Return how many of the 1,000 modes images ``(n, 3, 16, 16)`` show, and the mean confidence of the classifier."""
    shares = classifier(images.clamp(-1, 1).flatten(0, 1).unsqueeze(1)).softmax(1).view(len(images), 3, 10)
    digits = shares.argmax(2)
    return len(set((digits * torch.tensor([100, 10, 1])).sum(1).tolist())), shares.max(2).values.mean().item()


def make_loop(loss: str, pixels: NDArray[np.uint8], kimg: float, seed: int = 0, **changes: Value) -> TrainingLoop:
    """Return the loop of r3gan's recipe without tags and with another loss, on images ``(n, 16, 16, 3)``."""
    small: dict[str, Value] = {
        "image_size": SIZE, "generator.conditioning": "none", "discriminator.conditioning": "none",
        "generator.width": 16, "discriminator.width": 16, "generator.max_width": 64, "discriminator.max_width": 64,
        "training.flip": False, "training.diff_augment": False, "training.batch_size": 32,
        "optimizer.generator_lr": 1e-3, "optimizer.discriminator_lr": 1e-3,
    }  # fmt: skip
    torch.manual_seed(seed)
    config = GanConfig.from_params({**SPACES["r3gan"].recipe, **small, **LOSSES[loss], **changes})
    labels = torch.zeros(len(pixels), 1, dtype=torch.int64)
    data = TrainingData(torch.from_numpy(pixels), labels, labels)
    return TrainingLoop(build_system(config, (1,)), data, config, int(kimg * 1000))


@torch.no_grad()
def draw(loop: TrainingLoop, count: int) -> Tensor:
    """Return images ``(count, 3, 16, 16)`` of the averaged generator."""
    network, labels = cast("Generator", loop.average.eval()), torch.zeros(500, 1, dtype=torch.int64)
    noise_dim = loop.config.generator.noise_dim
    return torch.cat([network.image(torch.randn(500, noise_dim), labels) for _ in range(count // 500)])


def main() -> None:
    """Train each loss for the same number of images, and print the covered modes as they come."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", choices=("gaussians", "digits"))
    parser.add_argument("--losses", nargs="*", default=("r3gan", "bce"), choices=LOSSES)
    parser.add_argument("--kimg", type=float, default=30.0)
    parser.add_argument("--parts", type=int, default=5, help="times that modes are counted")
    parser.add_argument("--samples", type=int, default=20_000, help="generated images per count")
    parser.add_argument("--set", nargs="*", default=(), help="parameters, as optimizer.generator_lr=0.001")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    random = np.random.default_rng(options.seed)
    torch.manual_seed(options.seed)
    count: Callable[[Tensor], tuple[int, float]] = count_gaussians
    if options.data == "digits":
        classifier, accuracy = train_classifier(random)
        print(f"classifier: {accuracy:.1%} of other digits right")
        count = lambda images: count_digits(images, classifier)  # noqa: E731 - one of two ways to count
    pixels = stack_digits(20_000, random) if options.data == "digits" else draw_gaussians(20_000, random)
    real = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
    print("real images: {} modes, {:.3f}".format(*count(real)))
    rows = []
    for loss in options.losses:
        changes = {"losses.penalty_weight": PENALTY_WEIGHT}
        changes |= dict(setting.split("=", 1) for setting in options.set)
        loop, began = make_loop(loss, pixels, options.kimg, options.seed, **changes), time.perf_counter()
        for part in range(1, options.parts + 1):
            loop.train_until(int(options.kimg * 1000 * part / options.parts))
            modes, share = count(draw(loop, options.samples))
            rows.append({"loss": loss, "images": loop.images_seen, "modes": modes, "share": share})
            print(
                f"{loss:7} {loop.images_seen:7} images {time.perf_counter() - began:6.0f} s: {modes} modes, {share:.3f}"
            )
    if options.output:
        options.output.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
