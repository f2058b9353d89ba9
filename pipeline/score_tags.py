"""Asked tags of a folder of drawn pictures, judged by a classifier that learns from the real folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from trainables.data.dataset import read_folder
from trainables.data.defects import Defect
from trainables.data.duplicates import near_duplicate_groups
from trainables.data.folder import scan_folder
from trainables.data.pixel_cache import decode_files
from trainables.data.tags import UNKNOWN
from trainables.errors import UserError
from trainables.pictures import as_tensor
from trainables.scoring.tag_report import TagReport, report_tags
from trainables.scoring.tagger import Judge, cached_judge, train_judge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from trainables.data.dataset import TaggedImages
    from trainables.data.tags import Vocabulary

JUDGE_SIZES: Final = (16, 64)
"""Pixels along a side at which tags are judged: as many as the drawn pictures have, within these."""
_AT_ONCE: Final = 1024
"""Pictures turned into floats at once."""


@dataclass(frozen=True)
class AskedTags:
    """``labels`` ``(n, groups)`` of a folder's files, and what was wrong with its tags."""

    vocabulary: Vocabulary
    labels: NDArray[np.int64]
    defects: tuple[Defect, ...]


def read_real(folder: Path, sizes: dict[tuple[int, int], int], cache: Path | None) -> TaggedImages:
    """The real pictures with their tags, at the side of the drawn pictures' commonest size.

    Raises:
        UserError: no tag file, or no picture with complete tags.
    """
    side = min(max(min(next(iter(sizes))), JUDGE_SIZES[0]), JUDGE_SIZES[1])
    loaded = read_folder(folder, side, cache=cache)
    if loaded.attributes:
        raise UserError(
            f"--tags: {folder} has a list of attributes, which are not scored; give a folder with tag files"
        )
    if refusal := loaded.refusal(1.0):  # however many files are bad: they are named
        raise UserError(f"--tags: {refusal}")
    return loaded.images


def read_asked(folder: Path, files: Sequence[Path], vocabulary: Vocabulary) -> AskedTags:
    """What was asked for on each file, by the folder's own tag file, in the words of ``vocabulary``.

    Raises:
        UserError: no tag file, other words, or none of the files has a tag.
    """
    found = scan_folder(folder, vocabulary)
    if found.vocabulary != vocabulary:
        raise UserError(f"--tags: the vocabulary.json of {folder} differs from the real folder's; make them equal")
    if not found.tag_files:
        example = vocabulary.describe((0,) * len(vocabulary.groups))
        raise UserError(f"--tags: {folder} has no tag file at its top (a .csv or .txt with lines '7,{example}')")
    labels = np.full((len(files), len(vocabulary.groups)), UNKNOWN, dtype=np.int64)
    untold = []
    names = {path: name for name, path in found.pictures.items()}
    for place, file in enumerate(files):
        if (name := names.get(file, "")) in found.tags:
            labels[place] = found.tags[name].labels
        else:
            untold.append(Defect("picture without tags", file.relative_to(folder).as_posix()))
    if (labels == UNKNOWN).all():
        raise UserError(f"--tags: {', '.join(found.tag_files)} of {folder} has no usable tag for any of its pictures")
    orphans = [Defect("tags without picture", name) for name in found.orphans]
    return AskedTags(vocabulary, labels, (*untold, *orphans, *found.defects))


def open_judge(images: TaggedImages, cache: Path | None, device: str, progress: Callable[[float, str], None]) -> Judge:
    """The judge for these real pictures: from ``cache``, as sweeps use it, or trained; kept where there is a cache."""
    complete = slice(0, images.complete)
    pixels, labels = images.pixels[complete], images.labels[complete]
    given: dict[str, Any] = {"groups": near_duplicate_groups(pixels), "device": device, "progress": progress}
    if cache is None:
        return train_judge(np.asarray(pixels), labels, images.vocabulary, **given)
    return cached_judge(cache, images.fingerprint, pixels, labels, images.vocabulary, **given)


def judge_tags(judge: Judge, folder: Path, files: Sequence[Path], asked: NDArray[np.int64], size: int) -> TagReport:
    """Judge every file of ``folder``, at ``size`` pixels a side, against what was asked for."""
    pixels = as_tensor(decode_files(folder, files, size).pixels)
    parts = [
        judge.logits(part.permute(0, 3, 1, 2).float().div(127.5).sub(1.0)) for part in torch.split(pixels, _AT_ONCE)
    ]
    shares = [torch.cat(group).double().exp() for group in zip(*parts, strict=True)]
    seen = torch.stack([share.argmax(1) for share in shares], 1)
    return report_tags(seen.numpy(), asked, judge.vocabulary, [share.numpy() for share in shares])
