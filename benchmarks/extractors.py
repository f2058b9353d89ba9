"""Agreement of the sizes of EfficientNet-Lite0 with the largest, and of small sample counts with large ones.

    python benchmarks/extractors.py --data DIR

The sets are real images, damaged in several degrees (noise, blur, dropped modes, shifted colours), and samples of three
generators at several points of a short training. Each set is scored against the same real images at 64, 128 and 224 px;
the first table has the Spearman rank correlation of each size with 224 px and with the tag accuracy. The second table
has, for the size that training uses and several sample counts, the distance between real images, and the rank
correlations of distance and KID with the distance at the largest count.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from scipy.stats import spearmanr
from torch.nn import functional as F

from search_spaces.registry import SPACES
from trainables.config import GanConfig
from trainables.data.dataset import TaggedImages, load_folder
from trainables.data.tensors import as_tensor, to_uint8
from trainables.networks.blocks import recalibrate_batch_norm
from trainables.scoring.extractors.registry import open_extractor
from trainables.scoring.metrics.frechet import FeatureStatistics, frechet_distance_of_features
from trainables.scoring.metrics.kid import compute_kid
from trainables.scoring.tag_classifier.classifier import TagClassifier, cached_tag_classifier, tag_agreement
from trainables.systems.conditional import ConditionalGan
from trainables.training.loop import TrainingData, TrainingLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from trainables.networks.generator import Generator

SIZES = {"64": "efficientnet", "128": "efficientnet-128", "224": "efficientnet-224"}
SNAPSHOTS = (2, 5, 10, 20, 40)
Sets = dict[str, tuple["Tensor", "Tensor"]]
"""Images ``(n, 3, s, s)`` uint8 and their labels ``(n, groups)``, by name."""


def damages() -> dict[str, Callable[[Tensor], Tensor]]:
    """Return corruptions of float images in [0, 255], from mild to strong."""

    def noise(sigma: int, p: Tensor) -> Tensor:
        return p + sigma * torch.randn_like(p)

    def blur(radius: int, p: Tensor) -> Tensor:
        small = F.avg_pool2d(p, radius + 1, 1, radius // 2 + radius % 2, count_include_pad=False)
        return F.interpolate(small, p.shape[-2:], mode="bilinear")

    def redden(shift: int, p: Tensor) -> Tensor:
        return p + torch.tensor([shift, 0.0, -shift])[:, None, None]

    def fade(share: float, p: Tensor) -> Tensor:
        return p.mean(1, keepdim=True).lerp(p, share)

    return {
        **{f"noise {sigma}": partial(noise, sigma) for sigma in (4, 8, 16, 32)},
        **{f"blur {radius}": partial(blur, radius) for radius in (1, 2, 4, 8)},
        **{f"red +{shift}": partial(redden, shift) for shift in (8, 16, 32, 64)},
        **{f"saturation {share}": partial(fade, share) for share in (0.75, 0.5, 0.0)},
    }


def real_sets(images: TaggedImages, chosen: np.ndarray) -> Sets:
    pixels = as_tensor(images.pixels[chosen]).permute(0, 3, 1, 2).contiguous()
    tags = as_tensor(images.labels[chosen])
    sets: Sets = {"real": (pixels, tags)}
    for name, damage in damages().items():
        sets[name] = (damage(pixels.float()).round().clamp(0, 255).to(torch.uint8), tags)
    for kept in (0.25, 0.05, 0.01):
        indices = torch.arange(len(pixels)) % max(1, int(kept * len(pixels)))
        sets[f"modes {kept:.0%}"] = (pixels[indices], tags[indices])
    return sets


def drawn_sets(
    images: TaggedImages, system: str, width: int, count: int
) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    """Yield samples of a recipe at reduced width after each of ``SNAPSHOTS`` kimg."""
    params = {
        **SPACES[system].recipe, "image_size": images.size, "generator.width": width, "discriminator.width": width,
        "optimizer.generator_lr": 2e-4, "optimizer.discriminator_lr": 2e-4,
    }  # fmt: skip
    config = GanConfig.from_params(params)
    gan = ConditionalGan(config, images.vocabulary.sizes, ())
    labels = as_tensor(images.labels[: images.complete])
    loop = TrainingLoop(gan, TrainingData(as_tensor(images.pixels[: images.complete]), labels, labels), config)
    tags = labels[torch.randint(len(labels), (count,))]
    average = cast("Generator", loop.average)
    for kimg in SNAPSHOTS:
        loop.train_until(kimg * 1000)

        def draw(requested: Tensor) -> Tensor:
            with torch.no_grad():
                return average.image(torch.randn(len(requested), config.generator.noise_dim), requested)

        recalibrate_batch_norm(average, lambda: draw(tags[torch.randint(len(tags), (64,))]))
        yield f"{system} {kimg} kimg", (torch.cat([to_uint8(draw(part)) for part in torch.split(tags, 128)]), tags)


def correlation(one: list[float], other: list[float]) -> float:
    return float(spearmanr(one, other).statistic)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument(
        "--images", "--pictures", dest="images", type=int, default=512, help="images per set when sizes are compared"
    )
    parser.add_argument("--most", type=int, default=2048, help="images per set when counts are compared")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--cache", type=Path, help="folder that keeps the tag classifier; default: not kept")
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    options = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as scratch:
        cache = options.cache or Path(scratch)
        images = load_folder(options.data, options.size, cache=cache)
        complete = slice(0, images.complete)
        tag_classifier = cached_tag_classifier(
            cache, images.fingerprint, images.pixels[complete], images.labels[complete], images.vocabulary
        )
    order = np.random.default_rng(0).permutation(images.complete)
    sets = real_sets(images, order[: options.most])
    for system in ("acgan", "cdcgan", "wgan_gp"):
        sets |= dict(drawn_sets(images, system, options.width, options.most))
        print(f"trained {system}", flush=True)
    reference = as_tensor(images.pixels[order[options.most :]]).permute(0, 3, 1, 2)
    report: dict[str, Any] = {
        "sizes": compare_sizes(sets, reference, tag_classifier, options.images, images),
        "counts": {},
    }
    report["counts"] = compare_counts(sets, reference, options.most)
    if options.output:
        options.output.write_text(json.dumps(report, indent=1))


def compare_sizes(
    sets: Sets, reference: Tensor, tag_classifier: TagClassifier, count: int, images: TaggedImages
) -> dict[str, object]:
    accuracy = {
        name: tag_agreement(tag_classifier.predict(p[:count].float() / 127.5 - 1), t[:count], images.vocabulary)[
            "tag_accuracy"
        ]
        for name, (p, t) in sets.items()
    }
    distances: dict[str, dict[str, float]] = {}
    for size, name in SIZES.items():
        extractor, began, seen = open_extractor(name), time.perf_counter(), 0
        real = FeatureStatistics.of(extractor(reference[: 4 * count]).numpy())
        distances[size] = {}
        for key, (fakes, _) in sets.items():
            distances[size][key] = frechet_distance_of_features(real, extractor(fakes[:count]).numpy())
            seen += count
        print(f"{size} px: {seen / (time.perf_counter() - began):.0f} images/s with the arithmetic", flush=True)
    print(f"\n{'set':20}" + "".join(f"{size + ' px':>12}" for size in SIZES) + f"{'tags':>9}")
    for key in sets:
        print(f"{key:20}" + "".join(f"{distances[size][key]:12.1f}" for size in SIZES) + f"{accuracy[key]:9.1%}")
    groups = {
        "all": list(sets),
        "damaged reals": [key for key in sets if "kimg" not in key],
        "generators": [key for key in sets if "kimg" in key],
        "acgan": [key for key in sets if key.startswith("acgan")],
    }
    correlations: dict[str, dict[str, dict[str, float]]] = {}
    print(f"\nSpearman, {count} images a set\n{'sets':16}{'':14}" + "".join(f"{size + ' px':>10}" for size in SIZES))
    for group, keys in groups.items():
        largest = [distances["224"][key] for key in keys]
        errors = [-accuracy[key] for key in keys]
        correlations[group] = {
            size: {
                "224 px": correlation([distances[size][key] for key in keys], largest),
                "tag classifier": correlation([distances[size][key] for key in keys], errors),
            }
            for size in SIZES
        }
        for against in ("224 px", "tag classifier"):
            row = "".join(f"{correlations[group][size][against]:10.3f}" for size in SIZES)
            print(f"{group:14} {against:15}{row}")
    return {"distances": distances, "tag_accuracy": accuracy, "spearman": correlations}


def compare_counts(sets: Sets, reference: Tensor, most: int) -> dict[str, dict[str, float]]:
    extractor = open_extractor("efficientnet")
    real_features = extractor(reference).numpy()
    real = FeatureStatistics.of(real_features)
    features = {key: extractor(images).numpy() for key, (images, _) in sets.items()}
    full = [frechet_distance_of_features(real, rows) for rows in features.values()]
    report: dict[str, dict[str, float]] = {}
    print(f"\n{'images':>9}{'floor':>10}{'distance':>10}{'KID':>8}   rank like the distance at {most} (Spearman)")
    for count in (128, 256, 512, 1024, most):
        distance = [frechet_distance_of_features(real, rows[:count]) for rows in features.values()]
        kernel = [compute_kid(real_features[: 2 * most], rows[:count]).value for rows in features.values()]
        report[str(count)] = {
            "floor": distance[list(features).index("real")],
            "distance": correlation(distance, full),
            "kid": correlation(kernel, full),
        }
        print(f"{count:9}" + "{floor:10.1f}{distance:10.3f}{kid:8.3f}".format(**report[str(count)]), flush=True)
    return report


if __name__ == "__main__":
    main()
