"""What a sweep says before its first trial."""

from __future__ import annotations

import pytest

from pipeline.prepare import told_of_floor
from trainables.scoring.scorer import Floor


@pytest.mark.parametrize(
    ("distance", "shown"), [(0.01234, "0.01234"), (0.12, "0.12"), (12.346, "12.35"), (475.0, "475.00")]
)
def test_the_floor_has_the_digits_of_the_scores_it_stands_beside(distance: float, shown: str) -> None:
    told = told_of_floor(Floor(256, {"fd_own": distance, "precision": 0.9}, None), "fd_own")
    assert told == f"real against real at 256 pictures: distance {shown}"
