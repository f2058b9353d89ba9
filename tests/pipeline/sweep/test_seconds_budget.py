"""A sweep whose trials get the seconds of the recipe: run, extended and confirmed. No test says how many these are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pipeline.cli.main import main
from tests.support.pipeline.sweep import sweep, tiny_settings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real_processes


@pytest.mark.slow
def test_a_trial_keeps_the_images_of_its_seconds(home_with_classifier: Path, faces: Path, local_ray: None) -> None:
    name = "seconds"
    settings = tiny_settings(
        home_with_classifier, faces, name, budget="seconds", sampler="random", scheduler="none", trials=2,
        objectives="distance",
    )  # fmt: skip
    swept = sweep(settings)
    assert swept.status == "complete"
    keys = [run.data.tags["gansweep.key"] for run in swept.runs()]
    shares = [json.loads((swept.folder / key / "config.json").read_text())["image_share"] for key in keys]
    assert shares[0] == 1.0
    assert shares[1] > 0
    where = ["--home", str(home_with_classifier)]
    assert main(["extend", name, "--max-kimg", "4", *where]) == 0  # both go on: there is no stopping rule
    for run, share in zip(swept.runs(), shares, strict=True):
        history = swept.client.get_metric_history(run.info.run_id, "kimg")
        assert [point.step for point in history] == [1, 2, 3, 4]  # kimg of the recipe
        assert [point.value for point in history] == pytest.approx([cost * share for cost in (1, 2, 3, 4)], abs=0.001)
        assert run.data.metrics["cost_kimg"] == 4

    assert main(["confirm", name, "--trial", keys[1], "--seeds", "1", *where]) == 0
    of = dict(zip(keys, swept.runs(), strict=True))
    repeats = swept.runs("confirmation")
    assert keys[1] in [run.data.tags["gansweep.of"] for run in repeats]
    for run in repeats:
        expected = of[run.data.tags["gansweep.of"]].data.metrics["kimg"]
        assert run.data.metrics["kimg"] == pytest.approx(expected, abs=0.001)
