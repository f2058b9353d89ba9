"""What MLflow's pages show of a sweep, read back with MLflow's own client."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow import MlflowClient
from PIL import Image

from analysis import schema
from analysis.mlflow_reader.sweep import load
from analysis.ranking.ranking import rank
from pipeline.tracking import sweep_page
from pipeline.tracking.sweep_page import SweepPage, mark_ranks
from tests.support.sweeps import History


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    home = tmp_path_factory.mktemp("home")
    return History(home, MlflowClient(f"sqlite:///{home}/mlflow.db"))


def scored(distance: float, accuracy: float, **more: Any) -> dict[str, Any]:
    metrics = {"distance": {10: distance + 1, 40: distance}, "tag_accuracy": {40: accuracy}, "kimg": {40: 40.0}}
    return {"metrics": metrics, "params": {"lr": distance / 100}, **more}


def tracker(history: History, name: str, parent: str, waiting: int = 0) -> Any:
    experiment = history.client.get_experiment_by_name(name)
    assert experiment is not None
    return SimpleNamespace(
        client=history.client, sweep=name, parent=parent, experiment=experiment.experiment_id, written=0,
        sender=SimpleNamespace(spool=[0] * waiting),
    )  # fmt: skip


def trial_tags(history: History, name: str) -> dict[str, dict[str, str]]:
    sweep = load(name, home=history.home)
    return {
        key: history.client.get_run(run).data.tags for key, run in sweep.trials[["key", "mlflow_run_id"]].to_numpy()
    }


def test_the_parent_run_shows_the_ranking(history: History, tmp_path: Path) -> None:
    bad = {"status": schema.FAILED, "reason": "out of |memory| <b>"}
    parent = history.log_sweep("shown", [scored(10, 0.5), scored(8, 0.4), scored(1, 0.9, **bad)])
    runs = load("shown", home=history.home).trials["mlflow_run_id"]
    for run_id in runs:
        history.client.set_terminated(run_id)
    best = runs[1]
    Image.new("RGB", (40, 30), (9, 99, 199)).save(tmp_path / "kimg-000040.png")
    history.client.log_artifact(best, str(tmp_path / "kimg-000040.png"), "samples")
    assert SweepPage(tracker(history, "shown", parent), print).refresh()
    run = history.client.get_run(parent)
    note = run.data.tags["mlflow.note.content"].splitlines()
    assert note[2] == "Best of 3 trials: **shown-00001**, distance **8.00**, tag accuracy **40.0%** at 40 kimg."
    assert [line.split("|")[1:5] for line in note if line.startswith("|")][2:] == [
        ["1", "shown-00001", "winner front", "8.00"], ["2", "shown-00000", "front recipe", "10.00"],
        ["-", "shown-00002", "", "1.00"],
    ]  # fmt: skip
    assert "gansweep export shown -o winner/" in note
    assert "The rule: lowest distance among the 2 of 2 trials with a tag accuracy of at least 40.0%" in "".join(note)
    assert run.data.metrics == {
        "best_distance": 8, "best_tag_accuracy": 0.5, "total_kimg": 120, "trials_complete": 2, "trials_failed": 1,
        "trials_running": 0, "trials_stopped": 0, "trials_interrupted": 0,
    }  # fmt: skip
    assert SweepPage(tracker(history, "shown", parent), print).refresh()
    assert all(len(history.client.get_metric_history(parent, name)) == 1 for name in run.data.metrics)
    assert f"![Pareto front](get-artifact?path=figures/front.png&run_uuid={parent})" in "".join(note)
    table = json.loads(Path(history.client.download_artifacts(parent, "ranking.json", str(tmp_path))).read_text())
    assert table["columns"] == ["rank", "trial", "marks", "distance", "tag_accuracy", "kimg", "status"]
    assert table["data"] == [  # written twice, and not appended
        [1, "shown-00001", "winner front", 8.0, 0.4, 40.0, "complete"],
        [2, "shown-00000", "front recipe", 10.0, 0.5, 40.0, "complete"],
        [None, "shown-00002", "", 1.0, 0.9, 40.0, "failed"],
    ]
    tags = history.client.get_experiment_by_name("shown").tags
    first = tags["mlflow.note.content"].splitlines()[0]
    assert f"the winner is [shown-00001](#/experiments/{run.info.experiment_id}/runs/{best}), distance 8.00" in first
    overview = "artifacts/figures/front-and-samples.png"
    assert f"[front and images](#/experiments/{run.info.experiment_id}/runs/{parent}/{overview})" in first
    view = json.loads(tags["mlflow.sharedViewState.gansweep"])
    assert view["selectedColumns"][:3] == ["metrics.`distance`", "metrics.`tag_accuracy`", "metrics.`kimg`"]
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`distance`", True)
    images = {entry.path for entry in history.client.list_artifacts(parent, schema.FIGURES_FOLDER)}
    names = ("front", "best-so-far-by-time", "best-so-far-by-training", "learning-curves", "timeline", "best-samples")
    assert images == {f"figures/{name}.png" for name in (*names, "front-and-samples")}
    sizes = {}
    for path in images:
        with Image.open(history.client.download_artifacts(parent, path, str(tmp_path))) as image:
            assert image.width > 300
            sizes[path] = image.size
    widths, heights = zip(*(sizes[f"figures/{name}.png"] for name in ("front", "best-samples")), strict=True)
    assert sizes["figures/front-and-samples.png"] == (max(widths), sum(heights))


def test_the_description_shows_the_figures_that_were_drawn_alone(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = {"metrics": {"distance": {40: 8.0}, "kimg": {40: 40.0}}, "params": {"lr": 1.0}}  # takes no tags
    parent = history.log_sweep("tagless", [one])
    page = SweepPage(tracker(history, "tagless", parent), lambda _: None)

    def embedded() -> list[str]:
        note = history.client.get_run(parent).data.tags["mlflow.note.content"]
        assert "Best of 1 trial" in note
        return re.findall(r"get-artifact\?path=([^&]+)&", note)

    assert page.refresh()
    assert embedded() == []
    drawn = {entry.path for entry in history.client.list_artifacts(parent, schema.FIGURES_FOLDER)}
    assert "figures/front.png" not in drawn
    Image.new("RGB", (40, 30), (9, 99, 199)).save(tmp_path / "kimg-000040.png")
    run = load("tagless", home=history.home).trials["mlflow_run_id"][0]
    history.client.log_artifact(run, str(tmp_path / "kimg-000040.png"), "samples")
    assert page.refresh()
    assert embedded() == ["figures/best-samples.png"]
    monkeypatch.setattr(sweep_page, "_drawn", lambda _: 1 / 0)
    assert not page.refresh()
    assert embedded() == []


def test_a_users_own_descriptions_stay(history: History) -> None:
    parent = history.log_sweep("noted", [scored(10, 0.5)])
    client, one = history.client, tracker(history, "noted", parent)
    note = "mlflow.note.content"

    def notes() -> list[str]:
        assert SweepPage(one, print).refresh()
        return [client.get_experiment(one.experiment).tags[note], client.get_run(parent).data.tags[note]]

    def write(text: str) -> None:
        client.set_experiment_tag(one.experiment, note, text)
        client.set_tag(parent, note, text)

    def forget() -> None:
        """Leave the tags of an earlier version."""
        client.delete_experiment_tag(one.experiment, schema.DESCRIBED)
        client.delete_tag(parent, schema.DESCRIBED)

    write("for the **meeting**")
    assert notes() == ["for the **meeting**"] * 2  # written before the first description
    write("")
    first = notes()
    assert all(text.startswith("**noted**: ") and "noted-00000" in text for text in first)
    client.set_tag(load("noted", home=history.home).trials["mlflow_run_id"][0], schema.STATUS, schema.FAILED)
    changed = notes()
    assert all(new != old for new, old in zip(changed, first, strict=True))
    write("**noted**: my own words")
    assert notes() == ["**noted**: my own words"] * 2
    forget()
    write("my own words")
    assert notes() == ["my own words"] * 2
    for text, expected in zip(first, changed, strict=True):
        write(text)
        assert expected in notes()
        forget()


def test_after_a_confirmation_the_page_and_the_champion_are_the_confirmed_best(history: History) -> None:
    parent = history.log_sweep("again", [scored(10, 0.5), scored(8, 0.4)])
    one = SweepPage(tracker(history, "again", parent), print)
    assert one.refresh()
    note = history.client.get_run(parent).data.tags["mlflow.note.content"]
    assert "Best of 2 trials: **again-00001**, distance **8.00**" in note
    for key, scores in {"again-00000": (9, 11, 13), "again-00001": (20, 21, 22)}.items():
        for seed, score in enumerate(scores):
            history.log_repeat("again", scored(score, 0.5), key=f"{key}-c{seed:02d}", of=key, seed=seed)
    assert one.refresh()
    run = history.client.get_run(parent)
    note = run.data.tags["mlflow.note.content"]
    assert "**again-00000**, distance **11.00 ± 2.00**" in note
    assert "over 3 fresh seeds of 40 kimg; in the search distance 10.00" in note
    assert run.data.metrics["confirmed_distance"] == 11
    marks = [schema.CHAMPION in tags for tags in trial_tags(history, "again").values()]
    assert marks == [True, False]


def test_the_champion_follows_its_tags(history: History) -> None:
    parent = history.log_sweep("follows", [scored(10, 0.5), scored(8, 0.1)])
    assert SweepPage(tracker(history, "follows", parent), print).refresh()
    marks = [(tags[schema.RANK], schema.CHAMPION in tags) for tags in trial_tags(history, "follows").values()]
    assert marks == [("2", True), ("1", False)]
    assert SweepPage(tracker(history, "follows", parent), print, min_tag_accuracy=0.0).refresh()
    assert [schema.CHAMPION in tags for tags in trial_tags(history, "follows").values()] == [False, True]


def test_ranks_and_the_champion_follow_the_ranking(history: History) -> None:
    history.log_sweep("tagged", [scored(10, 0.5), scored(8, 0.4)])
    experiment = tracker(history, "tagged", "").experiment
    mark_ranks(history.client, experiment, rank(load("tagged", home=history.home)))
    tags = trial_tags(history, "tagged")
    assert [tags[f"tagged-0000{n}"][schema.RANK] for n in (0, 1)] == ["2", "1"]
    assert [schema.CHAMPION in tags[f"tagged-0000{n}"] for n in (0, 1)] == [False, True]
    # The best turns out to have failed: it has no rank any more.
    run = load("tagged", home=history.home).trials["mlflow_run_id"][1]
    history.client.set_tag(run, schema.STATUS, schema.FAILED)
    mark_ranks(history.client, experiment, rank(load("tagged", home=history.home)))
    tags = trial_tags(history, "tagged")
    assert tags["tagged-00000"][schema.RANK] == "1"
    assert tags["tagged-00000"][schema.CHAMPION] == "true"
    assert schema.RANK not in tags["tagged-00001"]
    assert schema.CHAMPION not in tags["tagged-00001"]


@pytest.mark.parametrize(
    "trials", [[], [{"status": schema.FAILED, "reason": "out of memory"}], [{"status": "running"}]]
)
def test_a_sweep_without_scores_has_a_page(history: History, trials: list[dict[str, Any]], request: Any) -> None:
    name = f"bare-{len(request.node.name)}-{len(trials)}-{len(str(trials))}"
    parent = history.log_sweep(name, trials)
    assert SweepPage(tracker(history, name, parent), print).refresh()
    assert "no winner" in history.client.get_run(parent).data.tags["mlflow.note.content"]


def test_no_failure_is_one_of_the_sweep(history: History) -> None:
    said: list[str] = []
    parent = history.log_sweep("broken", [scored(10, 0.5)])
    broken = tracker(history, "broken", parent)
    broken.parent = "no such run"
    showcase = SweepPage(broken, said.append)
    assert not showcase.refresh()
    assert not showcase.refresh()
    assert len(said) == 1
    assert said[0].startswith("tracking: images and ranking in MLflow are not up to date (")


def test_it_refreshes_when_something_was_written_and_at_the_end(history: History, monkeypatch: Any) -> None:
    refreshed = threading.Semaphore(0)
    one = tracker(history, "shown", "")
    showcase = SweepPage(one, print, every=0.01)
    monkeypatch.setattr(showcase, "_refresh", refreshed.release)
    showcase.start()
    assert not refreshed.acquire(timeout=0.2)  # nothing was written
    one.written = 1
    assert refreshed.acquire(timeout=600)
    showcase.finish()
    assert refreshed.acquire(timeout=600)


def test_a_server_that_is_away_is_not_waited_for(history: History, monkeypatch: Any) -> None:
    called: list[int] = []
    showcase = SweepPage(tracker(history, "shown", "", waiting=3), print)
    monkeypatch.setattr(showcase, "_refresh", lambda: called.append(1))
    showcase.finish()
    assert called == []
