"""Images per second that reach a training step, taken from memory by index and decoded by a DataLoader.

    python -m benchmarks.datapath [--quick] [--data DIR] [-o datapath.json]

gansweep keeps all images as one uint8 array and takes a batch by its indices. The DCGAN example uses a ``DataLoader``
that opens, decodes, resizes and converts each image with Pillow, here without and with two worker processes. Both give
float batches in [-1, 1]. Without ``--data`` the images are synthetic faces. Wall time is measured, since process time
excludes worker processes; the methods run in turns, the table has medians. Run it from the repository's root on an idle
machine.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from tests.support.tiny import random_labels, tiny_config
from trainables.data.images import load_image
from trainables.data.synthetic import draw_faces
from trainables.data.tags import REPORT_VOCABULARY
from trainables.storage.atomic import write_json
from trainables.systems.conditional import ConditionalGan
from trainables.training.loop import TrainingData, TrainingLoop

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


class Decoded(Dataset["Tensor"]):
    """Images of a folder, decoded on access, as in the DCGAN example."""

    def __init__(self, paths: list[Path], size: int) -> None:
        self.paths = paths
        self.transform = transforms.Compose([
            transforms.Resize(size), transforms.CenterCrop(size), transforms.ToTensor(),
            transforms.Normalize((0.5,) * 3, (0.5,) * 3),
        ])  # fmt: skip

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> Tensor:
        with Image.open(self.paths[place]) as image:
            decoded: Tensor = self.transform(image.convert("RGB"))
        return decoded


def from_memory(paths: list[Path], size: int, batch: int) -> Callable[[], Tensor]:
    """Return the training loop's batches; decoding is not timed, since a sweep decodes once for all trials."""
    pixels = torch.from_numpy(np.stack([load_image(path, size) for path in paths]))
    labels = torch.zeros(len(paths), 2, dtype=torch.int64)
    config = tiny_config(training__batch_size=batch)
    loop = TrainingLoop(ConditionalGan(config, (3, 2)), TrainingData(pixels, labels, labels), config)
    return lambda: loop._draw_batch().images


def decoding(paths: list[Path], size: int, batch: int, workers: int) -> Callable[[], Tensor]:
    loader = DataLoader(Decoded(paths, size), batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0,
                        drop_last=True)  # fmt: skip
    batches = iter(loader)

    def draw() -> Tensor:
        nonlocal batches
        batch: Tensor | None = next(batches, None)
        if batch is None:
            batches = iter(loader)
            batch = next(batches)
        return batch

    return draw


def pace(draw: Callable[[], Tensor], seconds: float) -> float:
    """Return the images per second, measured over at least ``seconds``."""
    seen, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        seen += len(draw())
    return seen / (time.perf_counter() - began)


def drawn_images(folder: Path, count: int, size: int) -> None:
    pixels = draw_faces(random_labels(count, REPORT_VOCABULARY.sizes), 0, size)
    for place, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{place}.jpg", quality=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="256 images, half a second each")
    parser.add_argument("--data", type=Path, help="folder of images; default: synthetic faces")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--images", "--pictures", dest="images", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    count, seconds = (256, 0.5) if options.quick else (options.images, 3.0)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.data or Path(scratch)
        if not options.data:
            drawn_images(folder, count, options.size)
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)[:count]
        ways = {"by index from memory": from_memory(paths, options.size, options.batch)}
        ways |= {
            f"DataLoader, {workers} workers": decoding(paths, options.size, options.batch, workers)
            for workers in (0, 2)
        }  # fmt: skip
        paces: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, way in ways.items():
                way()
                paces[name].append(pace(way, seconds))
    medians = {name: statistics.median(values) for name, values in paces.items()}
    for name, value in medians.items():
        print(f"{name:24}{value:10,.0f} images/s")
    if options.output:
        about: dict[str, Any] = {"size": options.size, "batch": options.batch, "pictures": len(paths)}
        write_json(options.output, {**about, "pictures_per_second": medians})


if __name__ == "__main__":
    main()
