"""Near-duplicate images: re-encoded, recoloured or slightly shifted copies of each other.

Outlines survive new colours, brightness and compression, so images are compared by edge strength: first at 16 x 16
cells, then the likely pairs at 32 x 32 cells over small shifts. A copy enlarged by a tenth or turned is not found.

Up to ``_EXACT`` images the first comparison is of all with all. Beyond, each image is compared with those that share
one of its nearest pivots, images drawn at random: an inverted file, as in Sivic and Zisserman (2003). Its cost grows
with n^1.5, its memory with n.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from trainables.storage.cached_arrays import cached_arrays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from trainables.data.tagged_images import TaggedImages

_METHOD: Final = 1
"""Number of the method below; raise it where results change, so that kept ones of another are not used."""
_COARSE: Final = 16
_FINE: Final = 32
_CANDIDATE: Final = 0.48
"""Coarse correlation from which a pair is looked at closely; a shift by 2% of the side keeps it above."""
_SAME: Final = 0.65
"""Fine correlation from which a pair counts as the same image. Chosen by looking at the pairs of 11,500 anime
faces, where the first pair of different drawings comes at 0.58, and of 1,500 drawn faces, which are all different:
1% of them have a pair above."""
_HALF_SHARED: Final = 100
"""Number of images whose mean is taken off by half: the mean of a few holds too much of each of them."""
_REACH: Final = 2
"""Largest shift tried, in fine cells (6% of the side): pairs further apart are no candidates."""
_PARTNERS: Final = 8
"""Candidates kept per image, so that images drawn from one template cost no more than others."""
_EXACT: Final = 16_384
"""Up to this many images, all are compared with all."""
_PIVOTS_PER_ROOT: Final = 4
"""Pivots per square root of the number of images: finding an image's pivots then costs as much as comparing it."""
_NEAREST: Final = 4
"""Pivots of each image. Copies share one of them: of 4,000 copies of real faces as re-encoded, recoloured or shifted
as in the tests, among 11,500 real faces, 99.7% of those are
found that comparing all with all finds."""
_ROWS: Final = 1024
"""Images or pairs handled at once; bounds memory."""
_WHITE: Final = 245
"""Grey level from which a row or column of pixels is part of a white bar; Lanczos leaves lobes beside the image."""
_BLUR: Final = 3
"""Rows and columns beside a bar that hold its outline."""
_LUMA: Final = np.array([0.299, 0.587, 0.114], dtype=np.float32) / 255.0


@dataclass(frozen=True)
class Duplicates:
    """Copies among ``n`` images.

    ``groups`` ``(n,)`` numbers the images so that near-duplicates share a number; ``identical`` counts those that are
    byte by byte like an earlier one.
    """

    groups: NDArray[np.int64]
    identical: int


def find_duplicates(images: TaggedImages, count: int, *, padded: bool, cache: Path | None) -> Duplicates:
    """Look for copies among the first ``count`` images, or read from ``cache`` what was found in the same images."""
    pixels = images.pixels[:count]

    def find() -> dict[str, NDArray[np.int64]]:
        groups = near_duplicate_groups(pixels, padded=padded)
        return {"groups": groups, "identical": np.array(len(identical_pairs(pixels)))}

    if cache is None:
        found = find()
    else:
        key = hashlib.sha256(f"{_METHOD} {images.fingerprint} {count} {padded}".encode()).hexdigest()[:16]
        found = cached_arrays(cache / f"duplicates-{key}.npz", ["groups", "identical"], find)
    return Duplicates(found["groups"], int(found["identical"]))


def near_duplicate_groups(pixels: NDArray[np.uint8], *, padded: bool = False) -> NDArray[np.int64]:
    """Number RGB or grey images ``(n, s, s, c)`` so that copies of one image share a number, ``(n,)``, from 0.

    Byte-identical images always share one. ``padded`` leaves out white bars, whose outlines are alike in all images.
    """
    edges = functools.partial(_edges, padded=padded)
    count = len(pixels)
    if count == 0:
        return np.zeros(0, dtype=np.int64)
    mean = sum(edges(block).sum(axis=0, dtype=np.float64) for block in _blocks(pixels)) / (count + _HALF_SHARED)
    mean = mean.astype(np.float32)
    signatures = np.concatenate([_unit(_halved(edges(block) - mean)) for block in _blocks(pixels)])
    candidates = _candidates(signatures)
    alike = candidates[_aligned_correlation(pixels, mean, candidates, edges) > _SAME]
    pairs = np.concatenate([alike, identical_pairs(pixels)])
    links = coo_array((np.ones(len(pairs), dtype=np.bool_), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)


def _blocks(pixels: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(pixels), _ROWS):
        yield pixels[start : start + _ROWS]


def identical_pairs(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """``(pairs, 2)``: each image whose pixels occurred before, with their first occurrence."""
    first: dict[bytes, int] = {}
    digests = (hashlib.sha256(image.tobytes()).digest() for image in pixels)
    pairs = [(first.setdefault(digest, place), place) for place, digest in enumerate(digests)]
    return np.array([pair for pair in pairs if pair[0] != pair[1]], dtype=np.int64).reshape(-1, 2)


def _edges(pixels: NDArray[np.uint8], *, padded: bool = False) -> NDArray[np.float32]:
    """Relative edge strength ``(n, _FINE, _FINE)`` of images ``(n, s, s, c)``; rooted, lest single lines rule."""
    grey = pixels @ _LUMA if pixels.shape[-1] == 3 else pixels[..., 0] / np.float32(255.0)
    down, right = np.zeros_like(grey), np.zeros_like(grey)
    down[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    right[:, :, 1:-1] = grey[:, :, 2:] - grey[:, :, :-2]
    pool = _pooling(grey.shape[1])
    steps = np.hypot(down, right)
    if padded:
        steps = _without_bars(steps, pixels)
    strength = np.sqrt(pool @ steps @ pool.T)
    return _unit(strength.reshape(len(grey), -1)).reshape(strength.shape)


def _without_bars(steps: NDArray[np.float32], pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Replace the edge strength ``(n, s, s)`` in white bars and at their outlines by the mean of the rest."""
    white: NDArray[np.bool_] = np.all(pixels >= _WHITE, axis=3)
    bars = np.zeros(steps.shape, dtype=np.bool_)
    for across in (2, 1):
        lines: NDArray[np.bool_] = np.all(white, axis=across)
        bar = np.logical_and.accumulate(lines, axis=1)
        bar |= np.logical_and.accumulate(lines[:, ::-1], axis=1)[:, ::-1]
        for _ in range(_BLUR):
            wider = bar.copy()
            wider[:, 1:] |= bar[:, :-1]
            wider[:, :-1] |= bar[:, 1:]
            bar = wider
        bars |= np.expand_dims(bar, across)
    rest = (steps * ~bars).sum(axis=(1, 2)) / np.maximum((~bars).sum(axis=(1, 2)), 1)
    filled: NDArray[np.float32] = np.where(bars, rest[:, None, None].astype(np.float32), steps)
    return filled


def _pooling(size: int) -> NDArray[np.float32]:
    """Matrix ``(_FINE, size)`` that averages ``size`` pixels into ``_FINE`` cells by the share each cell covers."""
    bounds = np.linspace(0.0, size, _FINE + 1)
    starts, ends = bounds[:-1, None], bounds[1:, None]
    pixel = np.arange(size)
    covered = np.clip(np.minimum(ends, pixel + 1) - np.maximum(starts, pixel), 0.0, None)
    shares: NDArray[np.float32] = (covered / (ends - starts)).astype(np.float32)
    return shares


def _halved(edges: NDArray[np.float32]) -> NDArray[np.float32]:
    """``(n, _FINE, _FINE)`` -> ``(n, _COARSE * _COARSE)`` by averaging."""
    cell = _FINE // _COARSE
    pooled: NDArray[np.float32] = edges.reshape(-1, _COARSE, cell, _COARSE, cell).mean(axis=(2, 4))
    return pooled.reshape(len(edges), -1)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows with mean 0 and length 1, so that products are correlations; a flat row stays (almost) 0."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    unit: NDArray[np.float32] = centred / (np.linalg.norm(centred, axis=1, keepdims=True) + 1e-3)
    return unit


def _candidates(signatures: NDArray[np.float32]) -> NDArray[np.int64]:
    """Pairs ``(pairs, 2)``, lower index first: each image with those of its best partners above ``_CANDIDATE``."""
    everything = np.arange(len(signatures))
    lists = [everything] if len(signatures) <= _EXACT else _pivot_lists(signatures)
    found = [block for members in lists for block in _likely_pairs(signatures, members)]
    pairs, likeness = (np.concatenate(parts) for parts in zip(*found, strict=True))
    if not len(pairs):
        return pairs
    # Of the partners that several lists gave an image, the best; a pair of two lists stands there twice.
    order = np.lexsort((pairs[:, 1], -likeness, pairs[:, 0]))
    pairs = pairs[order]
    pairs = pairs[np.concatenate([[True], (pairs[1:] != pairs[:-1]).any(axis=1)])]
    place = np.arange(len(pairs)) - np.searchsorted(pairs[:, 0], pairs[:, 0])
    return np.unique(np.sort(pairs[place < _PARTNERS], axis=1), axis=0).astype(np.int64)


def _pivot_lists(signatures: NDArray[np.float32]) -> list[NDArray[np.int64]]:
    """For each pivot, the images that have it among their ``_NEAREST``, in ascending order."""
    count = len(signatures)
    random = np.random.default_rng(0)  # the same images give the same groups
    pivots = signatures[random.choice(count, int(_PIVOTS_PER_ROOT * count**0.5), replace=False)]
    nearest = np.empty((count, _NEAREST), dtype=np.int32)
    for start in range(0, count, _ROWS):
        likeness = signatures[start : start + _ROWS] @ pivots.T
        nearest[start : start + _ROWS] = np.argpartition(-likeness, _NEAREST, axis=1)[:, :_NEAREST]
    order = np.argsort(nearest.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(nearest.ravel(), minlength=len(pivots)))
    return np.split(order // _NEAREST, ends[:-1])


def _likely_pairs(
    signatures: NDArray[np.float32], members: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Pairs ``(pairs, 2)`` of ``members`` and their correlations: each image with its best above ``_CANDIDATE``."""
    own = signatures[members]
    last = min(_PARTNERS, len(own)) - 1
    for start in range(0, len(own), _ROWS):
        likeness = own[start : start + _ROWS] @ own.T
        here = np.arange(len(likeness))
        likeness[here, start + here] = -1.0
        crowded = (likeness > _CANDIDATE).sum(axis=1) > _PARTNERS
        floor = np.full(len(likeness), _CANDIDATE, dtype=np.float32)
        floor[crowded] = -np.partition(-likeness[crowded], last, axis=1)[:, last]
        rows, columns = np.nonzero(likeness >= floor[:, None])
        yield np.stack([members[rows + start], members[columns]], axis=1), likeness[rows, columns]


def _aligned_correlation(
    pixels: NDArray[np.uint8],
    mean: NDArray[np.float32],
    pairs: NDArray[np.int64],
    edges: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """``(pairs,)``: the best correlation of two edge maps where they overlap over shifts up to ``_REACH``.

    The search for a pair ends at the first shift above ``_SAME``.
    """
    best = np.full(len(pairs), -1.0, dtype=np.float32)
    steps = range(-_REACH, _REACH + 1)
    shifts = sorted(
        ((down, right) for down in steps for right in steps), key=lambda shift: abs(shift[0]) + abs(shift[1])
    )
    for start in range(0, len(pairs), _ROWS):
        places = np.arange(start, min(start + _ROWS, len(pairs)))
        one, other = (edges(pixels[pairs[places, side]]) - mean for side in (0, 1))
        for down, right in shifts:
            left = best[places] <= _SAME  # what is a copy already is compared no further
            places, one, other = places[left], one[left], other[left]
            if not len(places):
                break
            mine, its = (_unit(_moved(maps, sign * down, sign * right)) for maps, sign in ((one, 1), (other, -1)))
            best[places] = np.maximum(best[places], np.einsum("ij,ij->i", mine, its))
    return best


def _moved(maps: NDArray[np.float32], down: int, right: int) -> NDArray[np.float32]:
    """What of maps ``(n, k, k)`` still overlaps after a shift, flattened to rows."""
    side = maps.shape[1]
    window = maps[:, max(down, 0) : side + min(down, 0), max(right, 0) : side + min(right, 0)]
    return window.reshape(len(maps), -1)
