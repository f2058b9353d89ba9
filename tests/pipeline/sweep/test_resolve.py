"""The parts of a resolved sweep, by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.home import Home
from pipeline.resources import ResourceRequest
from pipeline.settings import SweepSettings
from pipeline.sweep.resolve import resolve_sweep
from trainables.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def test_each_part_comes_from_its_settings(tmp_path: Path) -> None:
    settings = SweepSettings(
        "acgan", tmp_path / "faces", "s", trials=7, image_size=16, max_kimg=9, samples=100, rung_samples=50,
        concurrent=2, cpus_per_trial=3, gpus_per_trial="0.5", fuse="4", time_limit="2m", total_kimg=40,
        max_trial_seconds=5.0, end_hopeless="won", precision="bf16", checkpoint_seconds=60, fid_infinity=True, seed=8,
        fix={"generator.width": 32}, attributes="hair", max_bad_share=0.1, home=tmp_path / "home",
    )  # fmt: skip
    sweep = resolve_sweep(settings)
    assert sweep.space.recipe["generator.width"] == 32
    assert (sweep.data.folder, sweep.data.image_size, sweep.data.max_bad_share) == (tmp_path / "faces", 16, 0.1)
    assert sweep.data.selection.attributes == "hair"
    assert (sweep.scoring.extractor.name, sweep.scoring.samples, sweep.scoring.infinity) == ("efficientnet", 100, True)
    assert (sweep.scoring.seed, sweep.scoring.cascade) == (8, None)
    assert (sweep.training.precision, sweep.training.checkpoint_seconds) == ("bf16", 60)
    assert sweep.training.failure_rules == ("won",)
    assert (sweep.budget.max_kimg, sweep.budget.total_kimg, sweep.budget.seconds) == (9, 40, 120.0)
    assert (sweep.budget.trial_seconds, sweep.budget.rungs) == (5.0, (1, 3))
    assert [(one.kimg, one.samples) for one in sweep.budget.evaluations] == [(1, 50), (3, 50), (9, 100)]
    assert sweep.request == ResourceRequest(trials=7, cpus=3, gpus=0.5, fused=4, concurrent=2)


def test_automatic_resources_are_left_to_placement(tmp_path: Path) -> None:
    request = resolve_sweep(SweepSettings("acgan", tmp_path, "s")).request
    assert (request.gpus, request.fused, request.concurrent) == (None, 1, None)
    assert resolve_sweep(SweepSettings("acgan", tmp_path, "s", fuse="auto")).request.fused is None


def test_places_are_in_the_home_unless_given(tmp_path: Path) -> None:
    home = Home(tmp_path)
    own = resolve_sweep(SweepSettings("acgan", tmp_path, "s", home=tmp_path)).places
    assert (own.folder, own.tracking, own.study) == (home.sweep("s"), None, home.study)
    assert (own.artifacts, own.storage.location) == (home.artifacts("s"), str(home.sweep("s")))
    url, folder = "postgresql://db/optuna", tmp_path / "disk"
    given = SweepSettings(
        "acgan", tmp_path, "s", home=tmp_path, tracking="http://127.0.0.1:5000", study=url, storage=str(folder),
        address="auto",
    )  # fmt: skip
    places = resolve_sweep(given).places
    assert (places.tracking, places.study, places.address) == ("http://127.0.0.1:5000", url, "auto")
    assert (places.artifacts, places.storage.location) == (None, str(folder / "s"))


def test_an_unknown_parameter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"generator\.wide"):
        resolve_sweep(SweepSettings("acgan", tmp_path, "s", fix={"generator.wide": 32}))
