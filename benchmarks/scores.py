"""Seconds per evaluation in gansweep and in the standard tools for FID.

    python -m benchmarks.scores [--data DIR] [--images 2048] [--weights FILE] [--quick]

Every tool gets the same images in memory, the same weights and precomputed statistics of the real images; it computes
the features of the generated images, then the distance. Without ``--weights`` the weights are random, in the published
format, which costs the same. The second table times the arithmetic alone and compares it with the nuclear norm of the
cross Gram matrix; the third has the change of the features by each optimisation.

Needs the ``dev`` extra; run it from the repository's root on an idle machine.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pytorch_fid.fid_score
import pytorch_fid.inception
import torch
from torch import Tensor
from torch_fidelity import metric_fid
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x
from torchmetrics.image.fid import FrechetInceptionDistance, _compute_fid

from tests.support.inception import faces, write_inception_weights
from trainables.data.images import load_image
from trainables.scoring.extractors.inception import SIZE, folded_layers
from trainables.scoring.extractors.registry import open_extractor
from trainables.scoring.extractors.resize import resize
from trainables.scoring.metrics.frechet import FeatureStatistics, frechet_distance_of_features
from trainables.storage.atomic import write_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

Row = dict[str, Any]
Tool = tuple[Callable[[Tensor], Any], Callable[[Any], float]]
"""Two functions: images -> the tool's statistics of their features, and these -> the distance to the real images."""
PEER_BATCH = 50
"""pytorch-fid's default."""
DIMENSIONS = 2048


def gansweep(name: str, weights: Path | None, precision: str, real: Tensor) -> Tool:
    extractor = open_extractor(name, weights, precision=precision)
    known = FeatureStatistics.of(extractor(real).numpy())
    _ = known.root  # computed once per data set
    return (
        lambda images: extractor(images).numpy(),
        lambda features: frechet_distance_of_features(known, features),
    )


def pytorch_fid_tool(weights: Path, real: NDArray[np.float64]) -> Tool:
    state = torch.load(weights, weights_only=True)
    with mock.patch.object(pytorch_fid.inception, "load_state_dict_from_url", return_value=state):
        network = pytorch_fid.inception.InceptionV3().eval()
    mean, covariance = real.mean(axis=0), np.cov(real, rowvar=False)

    def features(images: Tensor) -> NDArray[np.float64]:
        with torch.no_grad():
            parts = [network(part.float() / 255)[0].squeeze(3).squeeze(2) for part in torch.split(images, PEER_BATCH)]
        return torch.cat(parts).numpy().astype(np.float64)

    def distance(found: NDArray[np.float64]) -> float:
        other = found.mean(axis=0), np.cov(found, rowvar=False)
        return float(pytorch_fid.fid_score.calculate_frechet_distance(mean, covariance, *other))

    return features, distance


def torch_fidelity_tool(weights: Path, real: NDArray[np.float64]) -> Tool:
    network = FeatureExtractorInceptionV3("inception", ["2048"], str(weights))
    known = metric_fid.fid_features_to_statistics(torch.from_numpy(real).float())

    def features(images: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([network(part)[0] for part in torch.split(images, PEER_BATCH)])

    def distance(found: Tensor) -> float:
        statistics = metric_fid.fid_features_to_statistics(found)
        return float(metric_fid.fid_statistics_to_metric(known, statistics, False)[metric_fid.KEY_METRIC_FID])

    return features, distance


def torchmetrics_tool(weights: Path, real: NDArray[np.float64]) -> Tool:
    metric = FrechetInceptionDistance(
        feature_extractor_weights_path=str(weights), antialias=False, reset_real_features=False
    )
    known = torch.from_numpy(real)
    metric.real_features_sum += known.sum(dim=0)
    metric.real_features_cov_sum += known.T @ known
    metric.real_features_num_samples += len(known)

    def features(images: Tensor) -> None:
        with torch.no_grad():
            for part in torch.split(images, PEER_BATCH):
                metric.update(part, real=False)

    return features, lambda _: float(metric.compute())


def make_tools(weights: Path, real: Tensor) -> dict[str, Callable[[], Tool]]:
    """Return functions that open a tool, so that only one at a time holds memory."""
    known = open_extractor("inception", weights)(real).numpy().astype(np.float64)
    return {
        "pytorch-fid": lambda: pytorch_fid_tool(weights, known),
        "torch-fidelity": lambda: torch_fidelity_tool(weights, known),
        "torchmetrics": lambda: torchmetrics_tool(weights, known),
        "gansweep inception": lambda: gansweep("inception", weights, "float32", real),
        "gansweep inception bf16": lambda: gansweep("inception", weights, "bf16", real),
        "gansweep efficientnet": lambda: gansweep("efficientnet", None, "float32", real),
    }


def time_tool(open_tool: Callable[[], Tool], warm_up: Tensor, images: Tensor) -> Row:
    features, distance = open_tool()
    features(warm_up)  # the first run allocates memory
    features, distance = open_tool()  # torchmetrics has counted the warm-up images
    start = time.perf_counter()
    measured = features(images)
    middle = time.perf_counter()
    value = distance(measured)
    end = time.perf_counter()
    return {"seconds": end - start, "features": middle - start, "arithmetic": end - middle, "distance": value}


def evaluations(weights: Path, real: Tensor, fake: Tensor) -> list[Row]:
    rows = []
    for name, open_tool in make_tools(weights, real).items():
        rows.append({"tool": name, **time_tool(open_tool, fake[:8], fake)})
        print(f"  {name}: {rows[-1]['seconds']:.1f} s", flush=True)
    for row in rows:
        row["times faster"] = rows[0]["seconds"] / row["seconds"]
        row["images a second"] = len(fake) / row["features"]
    return rows


def nuclear_norm_distance(real: NDArray[np.float64], fake: NDArray[np.float64]) -> float:
    """Compute the distance independently: ``tr((S1 S2)^(1/2))`` is the nuclear norm of ``X1 X2^T / sqrt(n1 n2)``."""
    centred = [side - side.mean(axis=0) for side in (real, fake)]
    spread = sum(float((side**2).sum()) / (len(side) - 1) for side in centred)
    overlap = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum() / np.sqrt(
        (len(real) - 1) * (len(fake) - 1)
    )
    shift = real.mean(axis=0) - fake.mean(axis=0)
    return float(shift @ shift + spread - 2 * overlap)


def arithmetic(dimensions: int, count: int) -> list[Row]:
    """Time the statistics of ``count`` fake vectors and their distance to the known statistics of real vectors."""
    random = np.random.default_rng(0)
    scales = np.arange(1, dimensions + 1) ** -0.5
    mixing = random.normal(size=(dimensions, dimensions)) / np.sqrt(dimensions)
    real = random.normal(size=(2 * dimensions, dimensions)) * scales @ mixing
    fake = (random.normal(size=(count, dimensions)) * scales + 0.1 * scales) @ mixing * 1.1
    exact = nuclear_norm_distance(real, fake)
    known = FeatureStatistics.of(real)
    _ = known.root
    mean, covariance = known.mean, known.covariance
    tools: dict[str, Callable[[], float]] = {
        "pytorch-fid": lambda: pytorch_fid.fid_score.calculate_frechet_distance(
            mean, covariance, fake.mean(axis=0), np.cov(fake, rowvar=False)
        ),
        "torchmetrics": lambda: float(
            _compute_fid(*map(torch.from_numpy, (mean, covariance, fake.mean(axis=0), np.cov(fake, rowvar=False))))
        ),
        "gansweep": lambda: frechet_distance_of_features(known, fake),
    }
    rows: list[Row] = []
    for name, compute in tools.items():
        start = time.perf_counter()
        value = float(compute())
        seconds = time.perf_counter() - start
        rows.append(
            {"tool": name, "d": dimensions, "n": count, "seconds": seconds, "error": abs(value - exact) / exact}
        )
        rows[-1]["times faster"] = rows[0]["seconds"] / seconds
    return rows


@torch.inference_mode()
def shortcuts(weights: Path, images: Tensor) -> list[Row]:
    """Return the relative error of the features by each optimisation alone."""

    def network() -> FeatureExtractorInceptionV3:
        return FeatureExtractorInceptionV3("inception", ["2048"], str(weights))

    def error(found: Tensor, reference: Tensor) -> float:
        return float((found - reference).norm() / reference.norm())

    def resized(kind: str) -> Tensor:
        pixels = images.float()
        if kind == "product":
            return resize(pixels, SIZE, "tf1")
        by_torch: Tensor = interpolate_bilinear_2d_like_tensorflow1x(pixels, (SIZE, SIZE), align_corners=False)
        return by_torch

    folded = folded_layers(network())

    def run(pixels: Tensor) -> Tensor:
        maps: Tensor = folded((pixels - 128) / 128)
        return maps.mean(dim=(2, 3))

    reference = network()(images)[0]
    product = run(resized("product"))
    efficient = [open_extractor("efficientnet", precision=name)(images) for name in ("float32", "bf16")]
    errors = {
        "folded batch norms": error(run(resized("reference")), reference),
        "resize as products": error(product, run(resized("reference"))),
        "channels-last": error(open_extractor("inception", weights)(images), product),
        "all of these": error(open_extractor("inception", weights)(images), reference),
        "bf16": error(open_extractor("inception", weights, precision="bf16")(images), reference),
        "efficientnet bf16": error(efficient[1], efficient[0]),
    }
    return [{"shortcut": name, "feature error": value} for name, value in errors.items()]


def read_images(folder: Path | None, count: int) -> tuple[Tensor, Tensor]:
    """Return real and generated images, each ``(count, 3, 64, 64)`` uint8; from a folder, two successive parts."""
    if folder is None:
        return faces(count, seed=0), faces(count, seed=1)
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"))
    if len(files) < 2 * count:
        raise SystemExit(f"{folder} holds {len(files)} images, {2 * count} are needed; lower --images")
    pixels = torch.from_numpy(np.stack([load_image(file, 64) for file in files[: 2 * count]])).permute(0, 3, 1, 2)
    return pixels[:count], pixels[count:]


def show(title: str, rows: list[Row]) -> None:
    print(f"\n{title}")
    first = next(iter(rows[0]))
    print("  ".join([f"{first:24}", *(f"{name:>17}" for name in rows[0] if name != first)]))
    for row in rows:
        print("  ".join([f"{row[first]:24}", *(f"{value:17.4g}" for name, value in row.items() if name != first)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of images; default: synthetic faces")
    parser.add_argument("--images", "--pictures", dest="images", type=int, default=2048, help="number per side")
    parser.add_argument("--weights", type=Path, help="Inception-v3 weights; default: random")
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--quick", action="store_true", help="128 images, d = 512: a smoke test")
    parser.add_argument("-o", "--output", type=Path, default=Path("scores.json"), help="JSON file")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    count, dimensions = (128, 512) if options.quick else (options.images, DIMENSIONS)
    real, fake = read_images(options.data, count)
    with tempfile.TemporaryDirectory() as folder:
        weights = options.weights or Path(folder, "inception.pth")
        if options.weights is None:
            write_inception_weights(weights)
        tables = {
            f"one more evaluation on {count} images": evaluations(weights, real, fake),
            f"arithmetic alone, d = {dimensions}": [
                row for n in (dimensions, 500 * dimensions // DIMENSIONS) for row in arithmetic(dimensions, n)
            ],
            "what the shortcuts change": shortcuts(weights, fake[:32]),
        }
    for title, rows in tables.items():
        show(title, rows)
    write_json(options.output, {"threads": torch.get_num_threads(), "torch": torch.__version__, **tables})
    print(f"\nwritten to {options.output}")


if __name__ == "__main__":
    main()
