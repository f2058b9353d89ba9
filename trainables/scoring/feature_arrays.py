"""What every score demands of its features, and distances between them in blocks that fit into memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainables.errors import UsageError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

BLOCK_NUMBERS = 2**24
"""Distances held at once: 128 MiB of float64."""


def checked(features: NDArray[np.floating], least: int = 2) -> Array:
    """``features`` as float64 ``(n, d)``.

    Raises:
        UsageError: not a matrix, or fewer than ``least`` rows.
        UserError: a row that is not finite.
    """
    if features.ndim != 2 or len(features) < least:
        raise UsageError(f"features of shape {features.shape}; at least {least} pictures are needed")
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise UserError(
            f"features of {len(bad)} of {len(features)} pictures are NaN or infinite, first picture {bad[0]}; "
            "scores need finite features: look at the pictures and at the extractor's precision"
        )
    return features.astype(np.float64, copy=False)


def checked_pair(
    real: NDArray[np.floating], fake: NDArray[np.floating], least: int = 2, *, least_real: int | None = None
) -> tuple[Array, Array]:
    """Both as float64 ``(n, d)`` of one ``d``; errors as in ``checked``."""
    first, second = checked(real, least if least_real is None else least_real), checked(fake, least)
    same_dimensions(first.shape[1], second.shape[1])
    return first, second


def same_dimensions(first: int, second: int) -> None:
    """Raise ``UsageError`` unless the two feature lengths are equal."""
    if first != second:
        raise UsageError(f"features of {first} and {second} dimensions cannot be compared")


def distance_blocks(first: Array, second: Array) -> Iterator[tuple[slice, Array]]:
    """Euclidean distances, some rows at a time.

    Args:
        first: ``(n, d)``.
        second: ``(m, d)``.

    Yields:
        Rows of ``first`` and their distances ``(rows, m)`` to all of ``second``.
    """
    # Squares are differences of large numbers: about the common mean they are as small as they can be.
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
