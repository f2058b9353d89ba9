"""PED-ANOVA (Watanabe, Bansal and Hutter 2023): how far the best trials' values of a dimension differ from all trials'.

The divergences of Optuna's ``PedAnovaImportanceEvaluator``, but for its factor that all dimensions share, without a
study of Optuna for every bootstrap sample. Densities are Parzen estimators on a grid: of numbers with Scott's
bandwidth, of choices with kernels that keep a share for the others.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PRIOR: Final = 1.0
"""Weight of a wide kernel, in trials."""
_MOST_CELLS: Final = 50


def mark_best(values: NDArray[np.float64], share: float) -> NDArray[np.bool_]:
    """Mark the lowest values, a share of them and those equal to its last one; ``(n,)``."""
    last = math.ceil(share * len(values)) - 1
    marks: NDArray[np.bool_] = values <= np.partition(values, last)[last]
    return marks


def divergence(cells: NDArray[np.int64], count: int, best: NDArray[np.bool_], *, ordered: bool) -> float:
    """Compute the Pearson divergence of the best trials' density from that of all, which grows with importance.

    Args:
        cells: ``(n,)``, the cell of each trial on the dimension's grid.
        count: cells of the grid.
        best: ``(n,)``, marks the best trials.
        ordered: numbers, whose neighbours are alike; otherwise choices.
    """
    density = _density_of_numbers if ordered else _density_of_choices
    everywhere, top = (density(np.bincount(some, minlength=count)) + 1e-12 for some in (cells, cells[best]))
    return float(everywhere @ (top / everywhere - 1) ** 2)


def grid_cells(
    numbers: NDArray[np.float64], low: float, high: float, whole: float | None = None
) -> tuple[NDArray[np.int64], int]:
    """Round numbers to an even grid from ``low`` to ``high``; a number in the middle goes to the lower cell.

    Args:
        numbers: ``(n,)``, on the scale on which they were searched.
        low: their least value.
        high: their greatest one.
        whole: of whole numbers how many cells they need; at most 50 are used.

    Returns:
        The cells ``(n,)``, and their count.
    """
    count = min(_MOST_CELLS, round(whole) if whole else _MOST_CELLS)
    step = (high - low) / max(1, count - 1)
    cells = np.ceil((numbers - low) / step - 0.5).astype(np.int64)
    return np.clip(cells, 0, count - 1), count


def _density_of_numbers(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Probability of each cell: Gaussian kernels of Scott's bandwidth, cut at the ends of the grid."""
    from scipy.special import ndtr

    at = np.flatnonzero(counts)
    weights = counts[at]
    cumulative, total = np.cumsum(weights), int(weights.sum())
    deviation = math.sqrt((at - at @ weights / total) ** 2 @ weights / max(1, total - 1))
    first = at[np.searchsorted(cumulative, total // 4, side="left")]
    third = at[min(len(at) - 1, int(np.searchsorted(cumulative, total * 3 // 4, side="right")))]
    width = 1.059 * min((third - first) / 1.34, deviation) * total**-0.2
    last = len(counts) - 1
    centres = np.append(at, last / 2)
    widths = np.append(np.full(len(at), max(width, 0.5 / 1.64)), last + 1)  # 90% of a kernel's mass in its cell
    edges = ndtr((np.arange(len(counts) + 1)[:, None] - 0.5 - centres) / widths)
    kernels = np.diff(edges, axis=0) / (edges[-1] - edges[0])
    return np.asarray(kernels @ np.append(weights, _PRIOR) / (total + _PRIOR), dtype=np.float64)


def _density_of_choices(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Probability of each choice: a kernel for each that occurs, and an even one."""
    at = np.flatnonzero(counts)
    kernels = np.full((len(at) + 1, len(counts)), _PRIOR / (len(at) + 1))
    kernels[np.arange(len(at)), at] += 1
    kernels /= kernels.sum(axis=1, keepdims=True)
    return np.asarray(np.append(counts[at], _PRIOR) @ kernels / (counts.sum() + _PRIOR), dtype=np.float64)
