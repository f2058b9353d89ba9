"""A sweep of two systems whose trials get the operations of the recipe: run, resumed, extended and confirmed."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import pytest

from pipeline.cli.main import main
from pipeline.sweep.resume import resume_settings
from tests.support.pipeline.sweep import sweep, tiny_settings

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow.entities import Run

pytestmark = pytest.mark.real_processes


def flops(run: Run) -> float:
    return float(run.data.metrics["flops_per_image"])


@pytest.mark.slow
def test_trials_of_two_systems_get_the_same_operations(
    home_with_classifier: Path, faces: Path, local_ray: None, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "flops"
    small = ("generator.width=4", "discriminator.width=4", "generator.noise_dim=8", "training.batch_size=8")
    settings = tiny_settings(
        home_with_classifier, faces, name, space="anything", fix=small, choices=("system=acgan,lightgan",),
        budget="flops", sampler="random", scheduler="none", trials=4, max_kimg=2, total_kimg=4, seed=1,
    )  # fmt: skip
    first = sweep(settings)
    assert first.status == "complete"
    assert "--total-kimg 4 is used: 2 of the 4 trials do not start" in " ".join(first.printed.split())
    swept = sweep(resume_settings(name, home_with_classifier, total_kimg=8))
    runs = swept.runs()
    assert [run.data.tags["gansweep.status"] for run in runs] == ["complete"] * 4
    assert {run.data.params["system"] for run in runs} == {"acgan", "lightgan"}
    assert len({flops(run) for run in runs}) > 1
    for run in runs:
        images = 2000 * flops(runs[0]) / flops(run)  # the recipe's are 2,000
        assert run.data.metrics["kimg"] == pytest.approx(images / 1000, abs=0.001)
        assert run.data.metrics["cost_kimg"] == 2
        history = swept.client.get_metric_history(run.info.run_id, "kimg")
        assert [point.step for point in history] == [1, 2]
        assert history[0].value == pytest.approx(history[1].value / 2, abs=0.001)

    where = ["--home", str(home_with_classifier)]
    assert main(["extend", name, "--max-kimg", "4", "--total-kimg", "16", *where]) == 0
    for before, run in zip(runs, swept.runs(), strict=True):  # without a stopping rule all go on
        assert run.data.metrics["kimg"] == pytest.approx(2 * before.data.metrics["kimg"], abs=0.002)
        assert run.data.metrics["cost_kimg"] == 4
        assert [point.step for point in swept.client.get_metric_history(run.info.run_id, "distance")] == [1, 2, 3, 4]

    assert main(["confirm", name, "--top", "1", "--seeds", "1", *where]) == 0
    for run in swept.runs("confirmation"):
        of = next(one for one in swept.runs() if one.data.tags["gansweep.key"] == run.data.tags["gansweep.of"])
        assert run.data.metrics["kimg"] == of.data.metrics["kimg"]
        assert run.data.tags["gansweep.status"] == "complete"

    capsys.readouterr()
    assert main(["rank", name, "--json", *where]) == 0
    ranked = json.loads(capsys.readouterr().out)["trials"]
    assert {trial["key"]: trial["flops_per_image"] for trial in ranked} == {
        run.data.tags["gansweep.key"]: flops(run) for run in runs
    }
    assert {trial["cost_kimg"] for trial in ranked} == {4}
    with pytest.raises(Exception, match="--budget"):
        sweep(dataclasses.replace(settings, budget="kimg", max_kimg=4))
