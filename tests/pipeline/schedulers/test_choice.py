"""Which stopping rule a sweep has if none is given, and which one it keeps."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import get_args

import pytest

from pipeline.schedulers import RULES, choose_scheduler
from pipeline.settings import SchedulerChoice, SweepSettings
from pipeline.sweep.saved_settings import differences, keep_automatic


def test_by_default_all_objectives_decide() -> None:
    assert choose_scheduler(SweepSettings.scheduler, ["distance", "tag_accuracy"]) == "mo-asha"
    assert choose_scheduler(SweepSettings.scheduler, ["distance"]) == "asha"


@pytest.mark.parametrize("name", RULES)
def test_a_given_scheduler_is_kept(name: str) -> None:
    assert choose_scheduler(name, ["distance", "tag_accuracy"]) == name
    assert name in get_args(SchedulerChoice)


def test_a_sweep_goes_on_with_the_scheduler_it_was_saved_with(tmp_path: Path) -> None:
    """Earlier versions saved ``asha``, their default."""
    settings, path = SweepSettings("acgan", Path("d"), "s"), tmp_path / "sweep.json"
    assert keep_automatic(settings, path) == settings
    path.write_text(json.dumps({"settings": {**settings.to_json(), "scheduler": "asha"}}))
    assert keep_automatic(settings, path) == dataclasses.replace(settings, scheduler="asha")
    median = dataclasses.replace(settings, scheduler="median")
    assert keep_automatic(median, path) == median
    assert differences({"scheduler": "asha"}, {"scheduler": "median"}) == {"--scheduler": ("asha", "median")}
    path.write_text("{")
    assert keep_automatic(settings, path) == settings
