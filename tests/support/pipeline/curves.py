"""Hand-written learning curves over a space of three dimensions."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.settings import SweepSettings
from pipeline.simulate.recording import Curve, Point, Recording
from search_spaces.registry import find_space
from search_spaces.space import Dimension

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search_spaces.space import Space

MAX = 90
RUNGS = (10, 30)


def space() -> Space:
    """Return a space with a choice, a logarithmic range, and a linear range that depends on the choice."""
    acgan = find_space("acgan")
    return dataclasses.replace(
        acgan,
        dimensions=(
            Dimension("discriminator.conditioning", "acgan", choices=("acgan", "concat")),
            Dimension("optimizer.generator_lr", 2e-4, low=1e-5, high=1e-3, log=True),
            Dimension("losses.tag_weight", 1.0, low=0.0, high=4.0, when={"discriminator.conditioning": ("acgan",)}),
        ),
    )


def params(conditioning: str = "acgan", rate: float = 2e-4, weight: float = 1.0) -> dict[str, Any]:
    return {
        **space().recipe,
        "discriminator.conditioning": conditioning,
        "optimizer.generator_lr": rate,
        "losses.tag_weight": weight,
    }


def curve(
    key: str,
    distances: Sequence[float],
    seconds: float = 1.0,
    kimg: Sequence[int] = (*RUNGS, MAX),
    accuracies: Sequence[float] | None = None,
    **values: Any,
) -> Curve:
    """Return a curve with these distances at the rungs and at the end, at ``seconds`` per kimg."""
    points = tuple(
        Point(at, at * seconds, {"distance": distance, "tag_accuracy": accuracies[place] if accuracies else 0.5})
        for place, (at, distance) in enumerate(zip(kimg, distances, strict=False))
    )
    return Curve(key, params(**values), points)


def recorded(curves: Sequence[Curve], **settings: Any) -> Recording:
    options = {"trials": len(curves), "max_kimg": MAX, "scheduler": "none", **settings}
    return Recording(SweepSettings("acgan", Path("faces"), "hand", **options), space(), tuple(curves))
