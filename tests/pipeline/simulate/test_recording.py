"""Curves as MLflow holds them, and sweeps that cannot be replayed."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import pipeline.simulate.recording as read
from pipeline.settings import SweepSettings
from pipeline.simulate.recording import recording
from tests.support.sweeps import make_sweep
from trainables.config import GanConfig
from trainables.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from analysis.mlflow_reader.sweep import Sweep

OPTIONS: dict[str, Any] = {"trials": 6, "max_kimg": 90, "scheduler": "none", "image_size": 16}
KIMG = (10, 30, 90)


@pytest.fixture
def sweep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A sweep of trials with the given columns; trial n has distances 100 n + kimg and takes a second per kimg."""

    def make(rows: list[dict[str, Any]], **options: Any) -> Sweep:
        settings = SweepSettings("acgan", tmp_path, "hand", **{**OPTIONS, **options})
        space = settings.resolve_space()
        named = {f"params.{name}": value for name, value in space.recipe.items()}
        found = make_sweep(
            [{"kimg": 90.0, "scores.distance": 1.0, "scores.tag_accuracy": 0.5, **named, **row} for row in rows],
            settings=settings.public(), space=space.to_json(),
        )  # fmt: skip
        points = [
            (key, at, name, value)
            for number, (key, kimg) in enumerate(zip(found.trials["key"], found.trials["kimg"], strict=True))
            for at in KIMG
            if at <= kimg
            for name, value in (("distance", 100.0 * number + at), ("seconds", float(at)), ("tag_accuracy", 0.5))
        ]
        table = pd.DataFrame(points, columns=["key", "kimg", "name", "value"])
        monkeypatch.setattr(
            read, "read_curves",
            lambda sweep, names: table[table["key"].isin(sweep.trials["key"]) & table["name"].isin(names)],
        )  # fmt: skip
        return found

    return make


def test_every_evaluation_becomes_a_point(sweep: Any) -> None:
    found = recording(sweep([{}] * 5))
    assert [one.key for one in found.curves] == [f"hand-{n:05d}" for n in range(5)]
    third = found.curves[2]
    assert [(p.kimg, p.seconds, p.scores["distance"]) for p in third.points] == [
        (10, 10.0, 210.0), (30, 30.0, 230.0), (90, 90.0, 290.0),
    ]  # fmt: skip
    assert (found.best, found.worst, found.left_out) == (90.0, 490.0, 0)
    assert third.params == dict(found.space.recipe)


def test_unfinished_trials_are_left_out_and_failed_ones_end_where_they_did(sweep: Any) -> None:
    failed = {
        "status": "failed", "reason": "diverged", "kimg": 10.0,
        "stretches": json.dumps([{"start": 100.0, "end": 112.0}, {"start": 200.0, "end": 203.0}]),
    }  # fmt: skip
    slow = {"status": "stopped", "reason": "out of time: took more than 5 s", "kimg": 30.0}
    rows = [{}, failed, slow, {"status": "interrupted", "kimg": 30.0}, {"status": "running", "kimg": 10.0}, {}]
    found = recording(sweep(rows))
    assert found.left_out == 2
    assert [(one.key[-1], len(one.points), one.ends) for one in found.curves] == [
        ("0", 3, 90.0), ("1", 1, 15.0), ("2", 2, 30.0), ("5", 3, 90.0),
    ]  # fmt: skip
    assert [one.status for one in found.curves[1:3]] == ["failed", "stopped"]
    assert len(found.finals()) == 2


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        (
            [{}, {}, {"status": "stopped", "reason": "stopped by the scheduler at 10 kimg", "kimg": 10.0}, {}, {}],
            {"scheduler": "asha"},
            r"has 1 trials that its scheduler \(asha\) stopped, for instance hand-00002: .* --scheduler none",
        ),
        ([{}] * 5, {"scheduler": "pbt"}, "population-based"),
        ([{"metrics.mutations": 1.0}] * 5, {}, "population-based"),
        ([{}] * 3, {}, "has 3 trials that ended; .* at least 4 trials"),
        ([{"status": "failed", "kimg": 0.0}, *[{}] * 5], {}, "recipe that failed before"),
    ],
)
def test_sweeps_that_cannot_be_replayed(
    sweep: Any, rows: list[dict[str, Any]], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        recording(sweep(rows, **options))


def test_a_sweep_that_varies_nothing_is_refused(sweep: Any) -> None:
    names = [one["name"] for one in sweep([{}] * 4).space["dimensions"]]
    recipe = sweep([{}] * 4).space["recipe"]
    with pytest.raises(UserError, match="no dimension"):
        recording(sweep([{}] * 5, fix=tuple(f"{name}={recipe[name]}" for name in names)))


def test_dimensions_that_the_data_took_out_are_out_and_other_spaces_are_refused(sweep: Any) -> None:
    whole = sweep([{}] * 5)
    less = {**whole.space, "dimensions": [d for d in whole.space["dimensions"] if d["name"] != "training.extra_data"]}
    found = recording(dataclasses.replace(whole, space=less))
    assert [d.name for d in found.space.dimensions] == [d["name"] for d in less["dimensions"]]
    changed = [{**d, "log": not d["log"]} for d in whole.space["dimensions"]]
    with pytest.raises(UserError, match="searched a space acgan"):
        recording(dataclasses.replace(whole, space={**whole.space, "dimensions": changed}))


def test_a_parameter_that_an_earlier_version_did_not_have_is_out(sweep: Any) -> None:
    whole = sweep([{}] * 5)
    name = "losses.adversarial_weight"
    less = {
        **whole.space,
        "dimensions": [d for d in whole.space["dimensions"] if d["name"] != name],
        "recipe": {key: value for key, value in whole.space["recipe"].items() if key != name},
    }
    found = recording(dataclasses.replace(whole, space=less))
    assert name not in [d.name for d in found.space.dimensions]
    assert found.space.recipe[name] == GanConfig.from_params({"system": "acgan"}).to_params()[name]
