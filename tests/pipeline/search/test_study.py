"""The study of a sweep names its objectives."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import optuna

from pipeline.search.study import name_objectives, open_study

if TYPE_CHECKING:
    from pathlib import Path


def test_other_programs_read_the_names_of_the_objectives(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    names = ["distance", "tag_accuracy"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):  # a new sweep, and one that is resumed
            name_objectives(open_study(url, "s", ["minimize", "maximize"]), names)
    assert optuna.load_study(study_name="s", storage=url).metric_names == names
