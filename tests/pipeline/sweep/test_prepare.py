"""What a sweep says before its first trial."""

from __future__ import annotations

import pytest

from pipeline.sweep.scoring import floor_message
from trainables.scoring.scorer import Floor


@pytest.mark.parametrize(
    ("distance", "shown"), [(0.01234, "0.01234"), (0.12, "0.12"), (12.346, "12.35"), (475.0, "475.00")]
)
def test_the_floor_is_rounded_like_the_scores(distance: float, shown: str) -> None:
    told = floor_message(Floor(256, {"fd_own": distance, "precision": 0.9}, None), "fd_own")
    assert told == f"real against real at 256 images: distance {shown}"
