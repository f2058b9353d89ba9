"""Compact files of recorded curves, and the model that is fitted to them."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from benchmarks import recorded_curves, slowest_trials, surrogate
from pipeline.settings import SweepSettings
from pipeline.simulate.recording import Curve, Point, Recording
from tests.support.pipeline.curves import curve, params, space
from tests.support.sweeps import make_sweep

SETTINGS = SweepSettings("acgan", Path("none"), "s", max_kimg=90, eval_kimg=10, scheduler="none")


def test_curves_are_read_as_they_were_written(tmp_path: Path) -> None:
    implied = (({"discriminator.conditioning": ("concat",)}, {"losses.tag_loss_on_fakes": True}),)
    searched = dataclasses.replace(space(), implied=implied)
    concat = {**params("concat", rate=3e-5), "losses.tag_loss_on_fakes": True}
    curves = (
        curve("s-00000", (50.0, 40.0, 30.0), seconds=2.0),
        Curve("s-00001", concat, (Point(10, 12.5, {"distance": 60.0}),), seconds=20.0, status="stopped"),
        Curve("s-00002", params(weight=3.5), (), seconds=3.0),
    )
    file = tmp_path / "curves.csv"
    flops = {("s-00000", kimg): 1e12 * kimg for kimg in (10, 30, 90)}
    recorded_curves.write(Recording(SETTINGS, searched, curves), file, flops)
    assert file.read_text().splitlines()[:2] == [
        "trial,kimg,seconds,flops,distance,tag_accuracy",
        "0,10,20,1e+13,50,0.5",
    ]
    read = recorded_curves.read(file)
    for before, after in zip(curves, read.curves, strict=True):
        assert after.params == before.params
        assert [(p.kimg, p.seconds, p.scores) for p in after.points] == [
            (p.kimg, p.seconds, p.scores) for p in before.points
        ]
        assert (after.seconds, after.status) == (before.seconds, before.status)
    assert read.curves[0].flops_per_kimg == pytest.approx(1e12)
    assert math.isnan(read.curves[1].flops_per_kimg)
    assert (read.settings.max_kimg, read.settings.eval_kimg) == (90, 10)
    assert read.space.dimensions == searched.dimensions
    assert read.space.recipe == searched.recipe
    assert read.space.settled({**searched.recipe, "discriminator.conditioning": "concat"}) == searched.settled(
        {**searched.recipe, "discriminator.conditioning": "concat"}
    )


def test_operations_are_those_of_the_images_whatever_the_unit_of_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    # The second trial sees 20 and 60 kimg of images for 10 and 30 of its budget.
    rows = [("a", 10, "kimg", 10.0), ("a", 10, "flops_per_image", 5.0),
            ("b", 10, "kimg", 20.0), ("b", 10, "flops_per_image", 2.5),
            ("b", 30, "kimg", 60.0), ("b", 30, "flops_per_image", 2.5)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["key", "kimg", "name", "value"])
    monkeypatch.setattr(recorded_curves, "read_curves", lambda sweep, names: table[table["name"].isin(names)])
    assert recorded_curves.recorded_flops(cast("Any", None)) == {
        ("a", 10): 50_000.0, ("b", 10): 50_000.0, ("b", 30): 150_000.0,
    }  # fmt: skip
    table = table[table["name"] == "kimg"]
    assert recorded_curves.recorded_flops(cast("Any", None)) == {}


def recording(*, random: bool) -> Recording:
    """Distances that follow the learning rate, or nothing."""
    rng = np.random.default_rng(0)
    curves = []
    for number in range(60):
        rate, weight = 10 ** rng.uniform(-5, -3), rng.uniform(0, 4)
        level = rng.uniform(10, 60) if random else 30 - 10 * math.log10(rate / 1e-5)
        accuracy = rng.uniform(0.1, 0.9) if random else 0.1 + 0.2 * weight
        curves.append(
            curve(
                f"s-{number:05d}", (level + 20, level + 10, level), accuracies=(accuracy,) * 3, rate=rate, weight=weight
            )
        )
    return Recording(SETTINGS, space(), tuple(curves))


def test_the_surrogate_predicts_what_can_be_predicted_and_says_how_well() -> None:
    fitted = surrogate.fit(recording(random=False))
    assert min(fitted.quality.values()) > 0.9
    source = fitted.source(0)
    slow, fast = (source.pop_nearest(params(rate=rate, weight=2.0)) for rate in (2e-5, 5e-4))
    # 30 - 10 log10(2) and 30 - 10 log10(50) at the end, 20 more at the first evaluation.
    for one, level in ((slow, 27.0), (fast, 13.0)):
        assert [point.kimg for point in one.points] == [10, 30, 90]
        assert one.points[-1].scores["distance"] == pytest.approx(level, rel=0.15)
        assert one.points[0].scores["distance"] == pytest.approx(level + 20, rel=0.15)
        assert one.points[-1].scores["tag_accuracy"] == pytest.approx(0.5, abs=0.1)
        assert one.points[-1].seconds == pytest.approx(90)
        assert math.isnan(one.flops_per_kimg)
    # Of 60 pairs without relation, correlations beyond 0.4 happen once in 600.
    assert max(map(abs, surrogate.fit(recording(random=True)).quality.values())) < 0.4


def test_parameters_are_encoded_by_choice_and_by_position_in_the_range() -> None:
    assert surrogate.encode(space(), params("acgan", rate=1e-4, weight=1.0)) == pytest.approx([1, 0, 0.5, 0.25])
    assert surrogate.encode(space(), params("concat", rate=1e-5)) == pytest.approx([0, 1, 0, surrogate.INACTIVE])


def test_the_share_of_the_slowest_trials() -> None:
    assert slowest_trials.share_of_slowest([3.0, 10.0, *(1.0,) * 8], 0.1) == 10 / 21
    assert slowest_trials.share_of_slowest([3.0, 10.0, *(1.0,) * 9], 0.1) == 13 / 22  # a tenth of eleven: two


def test_equal_images_take_what_the_seconds_per_image_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trials of 20 s each, at 1, 4 and 40 kimg, whose budget is 40 kimg: 800, 200 and 20 s. The fourth diverged."""
    sweep = make_sweep([{}, {}, {}, {"status": "failed"}], settings={"max_kimg": 40, "budget": "flops"})
    rows = [
        (f"hand-{trial:05d}", evaluation, name, value)
        for trial, kimg in enumerate((1.0, 4.0, 40.0, 9.0))
        for evaluation, share, seconds in ((20, 0.5, 5.0), (40, 1.0, 15.0))
        for name, value in (("kimg", share * kimg), ("train_seconds", seconds))
    ]
    monkeypatch.setattr(slowest_trials, "load", lambda *where, **more: sweep)
    monkeypatch.setattr(
        slowest_trials, "curves", lambda *_: pd.DataFrame(rows, columns=["key", "kimg", "name", "value"])
    )
    monkeypatch.setattr("sys.argv", ["slowest_trials", "hand", "--share", "0.34"])
    slowest_trials.main()
    first, operations, images = capsys.readouterr().out.splitlines()
    assert first == "3 complete trials of 4, 1 to 40 kimg each"
    assert "34% take 67% of 1 minutes; a trial 20 to 20 s, median 20" in operations
    assert "34% take 98% of 17 minutes; a trial 20 to 800 s, median 200" in images
