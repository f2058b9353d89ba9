"""Scores of one generator: what all trials of a sweep share, and the numbers they get.

Every trial is scored on the same number of pictures, from the same noise and the same asked tags, so that trials
compare on the same draws.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from trainables.files import whole_file
from trainables.pictures import as_tensor, to_uint8
from trainables.scoring.features import Extractor, open_extractor
from trainables.scoring.frechet import FeatureStatistics, frechet_distance
from trainables.scoring.tagger import tag_agreement

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from trainables.data.dataset import TaggedImages
    from trainables.scoring.tagger import Judge

SAMPLING_BATCH = 128


@dataclass(frozen=True)
class Fingerprint:
    """What must be equal for two distances or accuracies to be comparable."""

    extractor: str
    score: str
    weights: str
    resize: str
    samples: int
    reference: int
    image_size: int
    data: str
    judge: str
    seed_policy: str = "noise and tags fixed per sweep"

    def to_json(self) -> dict[str, str | int]:
        """A plain dict."""
        return asdict(self)


@dataclass(frozen=True)
class Scorer:
    """Scores generators against one reference with one judge. Travels to trials once per node.

    ``tags`` ``(samples, groups)`` are asked for in the data's own proportions; ``seed`` fixes the noise.
    """

    extractor_name: str
    weights: Path | None
    reference: FeatureStatistics
    judge: Judge | None
    tags: NDArray[np.int64]
    seed: int
    fingerprint: Fingerprint

    def score(
        self, draw: Callable[[Tensor, Tensor], Tensor], noise_dim: int, device: str = "cpu", *, conditional: bool = True
    ) -> dict[str, float]:
        """Draw, measure, judge.

        Args:
            draw: noise ``(n, noise_dim)`` and tags ``(n, groups)`` -> pictures ``(n, 3, s, s)`` in [-1, 1].
            noise_dim: length of a noise vector.
            device: where ``draw`` runs.
            conditional: whether ``draw`` heeds tags; without them there is no tag accuracy.

        Returns:
            ``distance`` and the same number under its full name; ``tag_accuracy`` and one per group.
        """
        extractor = open_extractor(self.extractor_name, self.weights, device)
        random = torch.Generator().manual_seed(self.seed)
        noise = torch.randn(len(self.tags), noise_dim, generator=random)
        asked = as_tensor(self.tags)
        features, guesses = [], []
        for codes, tags in zip(torch.split(noise, SAMPLING_BATCH), torch.split(asked, SAMPLING_BATCH), strict=True):
            # Scored as they would be saved: quantised, and cut to the range of a picture.
            pixels = to_uint8(draw(codes.to(device), tags.to(device)))
            features.append(extractor(pixels))
            if conditional and self.judge:
                guesses.append(self.judge.predict(pixels.float().div(127.5).sub(1.0)).cpu())
        distance = frechet_distance(self.reference, FeatureStatistics.of(torch.cat(features).numpy()))
        scores = {"distance": distance, self.fingerprint.score: distance}
        if guesses and self.judge:
            scores |= tag_agreement(torch.cat(guesses), asked, self.judge.vocabulary)
        return scores


def make_scorer(
    images: TaggedImages,
    judge: Judge | None,
    *,
    extractor: str,
    weights: Path | None,
    samples: int,
    seed: int,
    cache: Path,
    device: str = "cpu",
) -> Scorer:
    """Measure the reference (all complete real pictures) once and fix what generators are asked for.

    Pictures with an unusable tag never enter the reference.
    """
    network = open_extractor(extractor, weights, device)
    reference = _cached_statistics(images, network, cache)
    complete = images.labels[: images.complete]
    random = np.random.default_rng(seed)
    fingerprint = Fingerprint(
        extractor=extractor,
        score=network.score,
        weights=network.weights,
        resize=network.resize,
        samples=samples,
        reference=reference.count,
        image_size=images.size,
        data=images.fingerprint,
        judge=judge.fingerprint if judge else "none",
    )
    tags = complete[random.integers(len(complete), size=samples)]
    return Scorer(extractor, weights, reference, judge, tags, seed, fingerprint)


def _cached_statistics(images: TaggedImages, extractor: Extractor, cache: Path) -> FeatureStatistics:
    name = f"statistics-{images.fingerprint}-{extractor.name}-{extractor.weights}.npz"
    path = cache / name
    if path.exists():
        try:
            with np.load(path, allow_pickle=False) as stored:
                return FeatureStatistics(stored["mean"], stored["covariance"], int(stored["count"]), stored["root"])
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
            pass  # a damaged cache file is made anew
    pixels = as_tensor(images.pixels[: images.complete]).permute(0, 3, 1, 2)
    statistics = FeatureStatistics.of(extractor(pixels).numpy())
    with whole_file(path) as partial:
        np.savez(
            partial,
            mean=statistics.mean,
            covariance=statistics.covariance,
            count=statistics.count,
            root=statistics.root,
        )
    return statistics
