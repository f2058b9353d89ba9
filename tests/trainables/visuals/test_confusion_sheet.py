"""The picture of confusion matrices: its cells, colours and size."""

from __future__ import annotations

import numpy as np
import pytest

from trainables.visuals.confusion_sheet import draw_confusions


def pixels_of(counts: list[list[int]]) -> np.ndarray:
    """RGB ``(h, w, 3)`` of the picture of one group with two classes."""
    return np.asarray(draw_confusions({"hat": {"classes": ["a", "b"], "confusion": counts}}), float)


@pytest.mark.parametrize(("counts", "direction"), [([[30, 0], [0, 30]], 1), ([[0, 30], [30, 0]], -1)])
def test_dark_cells_lie_where_the_counts_are(counts: list[list[int]], direction: int) -> None:
    """Two equal squares on a diagonal: the correlation of their rows and columns is 3/4."""
    red, _, blue = pixels_of(counts).transpose(2, 0, 1)
    rows, columns = np.nonzero(blue - red > 60)
    assert np.corrcoef(rows, columns)[0, 1] == pytest.approx(0.75 * direction, abs=0.05)


def test_cells_are_shares_of_their_row_and_rows_never_requested_are_gray() -> None:
    """A quarter is halfway between the colours of nothing and of a half; 44 x 44 pixels per cell, less its number."""
    shown = pixels_of([[25, 75], [0, 0]])
    quarter, gray = ((247 + 107) / 2, (251 + 174) / 2, (255 + 214) / 2), (229, 229, 229)
    # Three quarters of the second cell's row lie halfway between a half's colour and that of all.
    most = ((107 + 8) / 2, (174 + 48) / 2, (214 + 107) / 2)
    for colour, cells in ((quarter, 1), (most, 1), (gray, 2)):
        found = (abs(shown - colour) <= 0.5).all(axis=2).sum()
        assert 0.8 < found / (cells * 44 * 44) < 1.02  # edges of letters have the gray, too


def test_groups_stand_side_by_side_in_a_picture_that_can_be_read() -> None:
    groups = {
        name: {"classes": [f"class {i}" for i in range(size)], "confusion": np.eye(size, dtype=int).tolist()}
        for name, size in (("hair", 12), ("eyes", 11))
    }
    both = draw_confusions(groups)
    alone = [draw_confusions({name: one}) for name, one in groups.items()]
    assert both.width == sum(image.width for image in alone) > 1200
    assert both.height == max(image.height for image in alone) > 600
    left = both.crop((0, 0, alone[0].width, alone[0].height))
    assert np.array_equal(np.asarray(left), np.asarray(alone[0]))
