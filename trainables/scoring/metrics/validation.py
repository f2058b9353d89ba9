"""Validation of features, and pairwise distances in blocks that fit into memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainables.errors import UsageError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

BLOCK_ROWS = 2**14
"""Rows of features that are handled at once where all of them, in float64, would fill the memory."""
BLOCK_NUMBERS = 2**24
"""Distances per block: 128 MiB of float64."""


def check_features(features: NDArray[np.floating], least: int = 2) -> Array:
    """Convert ``features`` to float64 ``(n, d)`` after checking them; raises what ``require_features`` raises."""
    require_features(features, least)
    return features.astype(np.float64, copy=False)


def require_features(features: NDArray[np.floating], least: int = 2) -> None:
    """Check that ``features`` are finite rows, in blocks, so that hardly any memory is needed.

    Raises:
        UsageError: not a matrix, or fewer than ``least`` rows.
        UserError: a row that is not finite.
    """
    if features.ndim != 2 or len(features) < least:
        raise UsageError(f"features of shape {features.shape}; at least {least} images are needed")
    finite = [
        np.isfinite(features[start : start + BLOCK_ROWS]).all(axis=1) for start in range(0, len(features), BLOCK_ROWS)
    ]
    bad = np.flatnonzero(~np.concatenate(finite))
    if len(bad):
        raise UserError(
            f"features of {len(bad)} of {len(features)} images are NaN or infinite, first image {bad[0]}; "
            "scores need finite features: look at the images and at the extractor's precision"
        )


def check_feature_pair(
    real: NDArray[np.floating], fake: NDArray[np.floating], least: int = 2, *, least_real: int | None = None
) -> tuple[Array, Array]:
    """Check and convert both to float64 with equal ``d``; raises what ``check_features`` raises."""
    first, second = check_features(real, least if least_real is None else least_real), check_features(fake, least)
    check_same_dimensions(first.shape[1], second.shape[1])
    return first, second


def check_same_dimensions(first: int, second: int) -> None:
    """Raise ``UsageError`` unless the two numbers of features are equal."""
    if first != second:
        raise UsageError(f"features of {first} and {second} dimensions cannot be compared")


def iter_distance_blocks(first: Array, second: Array) -> Iterator[tuple[slice, Array]]:
    """Yield Euclidean distances, a block of rows at a time.

    Args:
        first: ``(n, d)``.
        second: ``(m, d)``.

    Yields:
        Rows of ``first`` and their distances ``(rows, m)`` to all of ``second``.
    """
    # The expanded square cancels large numbers; centring keeps them small.
    centre = second.mean(axis=0)
    left, right = first - centre, second - centre
    squares_left, squares_right = np.einsum("nd,nd->n", left, left), np.einsum("nd,nd->n", right, right)
    step = max(1, BLOCK_NUMBERS // len(second))
    for start in range(0, len(first), step):
        rows = slice(start, min(start + step, len(first)))
        squares = left[rows] @ right.T
        squares *= -2.0
        squares += squares_left[rows, None]
        squares += squares_right
        np.maximum(squares, 0.0, out=squares)
        yield rows, np.sqrt(squares, out=squares)
