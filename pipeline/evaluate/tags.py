"""Requested tags of a folder of generated images, checked by a classifier trained on the real folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from trainables.data.dataset import read_folder
from trainables.data.defects import Defect
from trainables.data.duplicates import find_duplicates
from trainables.data.folder import scan_folder
from trainables.data.images import PixelFormat
from trainables.data.pixel_cache import decode_files
from trainables.data.tags import UNKNOWN
from trainables.data.tensors import as_tensor
from trainables.errors import UserError
from trainables.scoring.tag_classifier.classifier import TagClassifier, cached_tag_classifier, train_tag_classifier
from trainables.scoring.tag_classifier.tag_accuracy import TagReport, report_tags

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from trainables.data.dataset import TaggedImages
    from trainables.data.tags import Vocabulary

CLASSIFIER_SIZES: Final = (16, 64)
"""Smallest and largest side in pixels at which tags are classified; between them, that of the generated images."""
_AT_ONCE: Final = 1024
"""Images converted to floats at once."""


@dataclass(frozen=True)
class AskedTags:
    """Labels ``(n, groups)`` of a folder's files, and the defects of its tags."""

    vocabulary: Vocabulary
    labels: NDArray[np.int64]
    defects: tuple[Defect, ...]


def read_real(folder: Path, side: int, cache: Path | None) -> TaggedImages:
    """Read the real images with their tags, resized to ``side`` pixels, or the nearest of ``CLASSIFIER_SIZES``.

    Raises:
        UserError: no tag file, or no image with complete tags.
    """
    side = min(max(side, CLASSIFIER_SIZES[0]), CLASSIFIER_SIZES[1])
    loaded = read_folder(folder, side, cache=cache)
    if loaded.attributes:
        raise UserError(
            f"--tags: {folder} has a list of attributes, which are not scored; give a folder with tag files"
        )
    if refusal := loaded.refusal(1.0):  # any share of bad files: they are listed as defects
        raise UserError(f"--tags: {refusal}")
    return loaded.images


def read_asked(folder: Path, files: Sequence[Path], vocabulary: Vocabulary) -> AskedTags:
    """Read the requested tags of each file from the folder's own tag file, in the classes of ``vocabulary``.

    Raises:
        UserError: no tag file, other words, or none of the files has a tag.
    """
    contents = scan_folder(folder, vocabulary)
    if contents.vocabulary != vocabulary:
        raise UserError(f"--tags: the vocabulary.json of {folder} differs from the real folder's; make them equal")
    if not contents.tag_files:
        example = vocabulary.describe((0,) * len(vocabulary.groups))
        raise UserError(f"--tags: {folder} has no labels: expected a .csv or .txt with lines '7,{example}' in it")
    labels = np.full((len(files), len(vocabulary.groups)), UNKNOWN, dtype=np.int64)
    untagged = []
    names = {path: name for name, path in contents.images.items()}
    for row, file in enumerate(files):
        if (name := names.get(file, "")) in contents.tags:
            labels[row] = contents.tags[name].labels
        else:
            untagged.append(Defect("image without tags", file.relative_to(folder).as_posix()))
    if (labels == UNKNOWN).all():
        raise UserError(f"--tags: {', '.join(contents.tag_files)} of {folder} has no usable tag for any of its images")
    orphans = [Defect("tags without image", name) for name in contents.orphans]
    return AskedTags(vocabulary, labels, (*untagged, *contents.lost, *orphans, *contents.defects))


def open_tag_classifier(
    images: TaggedImages, cache: Path | None, device: str, progress: Callable[[float, str], None]
) -> TagClassifier:
    """Return the tag classifier of these real images, from ``cache`` if there is one, else newly trained."""
    complete = slice(0, images.complete)
    pixels, labels = images.pixels[complete], images.labels[complete]
    groups = find_duplicates(images, images.complete, padded=False, cache=cache).groups
    options: dict[str, Any] = {"groups": groups, "device": device, "progress": progress}
    if cache is None:
        return train_tag_classifier(np.asarray(pixels), labels, images.vocabulary, **options)
    return cached_tag_classifier(cache, images.fingerprint, pixels, labels, images.vocabulary, **options)


def classify_tags(
    tag_classifier: TagClassifier, folder: Path, files: Sequence[Path], requested: NDArray[np.int64], size: int
) -> TagReport:
    """Classify every file of ``folder`` at ``size`` pixels a side, and compare with the requested labels."""
    pixels = as_tensor(decode_files(folder, files, PixelFormat(size)).pixels)
    logits = [
        tag_classifier.logits(chunk.permute(0, 3, 1, 2).float().div(127.5).sub(1.0))
        for chunk in torch.split(pixels, _AT_ONCE)
    ]
    shares = [torch.cat(group).double().exp() for group in zip(*logits, strict=True)]
    predicted = torch.stack([share.argmax(1) for share in shares], 1)
    return report_tags(predicted.numpy(), requested, tag_classifier.vocabulary, [share.numpy() for share in shares])
