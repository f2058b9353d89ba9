"""What is written to MLflow, read back with MLflow's own client."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from mlflow import MlflowClient
from PIL import Image

from analysis.errors import AnalysisError
from analysis.mlflow_reader.sweep import load
from pipeline.home import Home
from pipeline.tracking.client import open_client
from pipeline.tracking.mlflow_writer import run_name
from pipeline.tracking.tracker import Tracker
from pipeline.trial_status import TrialEnd
from tests.support.pipeline.tracking import DATA, FINGERPRINT, SETTINGS, config
from trainables.errors import UserError
from trainables.storage.checkpoints import write_results

if TYPE_CHECKING:
    from collections.abc import Callable

    from search_spaces.space import Space
    from trainables.storage.storage import Storage


def test_one_parent_and_one_nested_run_per_key_whatever_is_started_again(
    track: Callable[..., Tracker], space: Space, stored: Any
) -> None:
    for _ in range(2):
        tracker = track()
        for _ in range(2):
            tracker.start_trial(config(space))
            tracker.start_trial(config(space, 1, **{"generator.width": 16}))
    (parent,) = stored("sweep")
    trials = stored("trial")
    assert [run.data.tags["gansweep.key"] for run in trials] == ["k-00000", "k-00001"]
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {parent.info.run_id}
    assert {run.data.tags["gansweep.status"] for run in trials} == {"running"}


def test_a_deleted_run_of_the_sweep_is_restored_and_one_removed_for_good_is_made_again(
    track: Callable[..., Tracker], space: Space, stored: Any
) -> None:
    tracker = track()
    tracker.start_trial(config(space))
    (parent,) = stored("sweep")
    tracker.client.delete_run(parent.info.run_id)
    track()
    (restored,) = stored("sweep")
    assert restored.info.run_id == parent.info.run_id
    tracker.client.set_tag(parent.info.run_id, "gansweep.kind", "gone")  # what `mlflow gc` leaves is no run of ours
    track()
    (another,) = stored("sweep")
    (trial,) = stored("trial")
    assert another.info.run_id != parent.info.run_id
    assert trial.data.tags["mlflow.parentRunId"] == another.info.run_id


def test_a_scorer_that_comes_later_completes_the_descriptions(
    track: Callable[..., Tracker], space: Space, stored: Any, home: Home, name: str
) -> None:
    tracker = track(begin=False)
    tracker.start(SETTINGS, {**DATA, "judge": {}}, None)
    tracker.start_trial(config(space))
    assert [run.data.tags.get("gansweep.fingerprint") for run in (*stored("sweep"), *stored("trial"))] == [None, None]
    tracker.record_scorer({**DATA, "judge": {"held_out": 7}}, FINGERPRINT)
    tracker.start_trial(config(space, 1, **{"generator.width": 16}))
    runs = [*stored("sweep"), *stored("trial")]
    assert [json.loads(run.data.tags["gansweep.fingerprint"]) for run in runs] == [FINGERPRINT] * 3
    (path,) = home.artifacts(name).rglob("data.json")
    assert json.loads(path.read_text())["judge"] == {"held_out": 7}


def test_trials_of_a_driver_that_died_before_the_scorer_came_get_their_fingerprint(
    track: Callable[..., Tracker], space: Space, stored: Any
) -> None:
    tracker = track(begin=False)
    tracker.start(SETTINGS, DATA, None)
    tracker.start_trial(config(space))
    track()  # has the scorer from the cache
    (run,) = stored("trial")
    assert json.loads(run.data.tags["gansweep.fingerprint"]) == FINGERPRINT


def test_a_run_records_its_precision(track: Callable[..., Tracker], space: Space, stored: Any) -> None:
    tracker = track()
    tracker.start_trial(config(space))
    tracker.precision, tracker.fused = "bf16", 4
    tracker.start_trial(config(space, 1, **{"generator.width": 16}))
    assert [run.data.tags["gansweep.precision"] for run in stored("trial")] == ["float32", "bf16"]
    assert [run.data.tags["gansweep.fused"] for run in stored("trial")] == ["1", "4"]


def test_a_sweep_may_resume_with_other_private_settings(track: Callable[..., Tracker], stored: Any) -> None:
    track()
    track(concurrent=1, time_limit="1h")
    assert len(stored("sweep")) == 1


def test_a_repeat_is_nested_under_the_run_of_its_trial_and_leaves_the_sweep_alone(
    track: Callable[..., Tracker], space: Space, stored: Any
) -> None:
    tracker = track()
    tracker.start_trial(config(space))
    tracker.finish_trial("k-00000", TrialEnd("complete"))
    tracker.finish("complete", TrialEnd("interrupted"))
    about = {"kind": "confirmation", "of": "k-00000", "variant": "recipe", "seed": "9", "budget": "4"}
    repeat = {f"gansweep.{name}": value for name, value in about.items()}
    again = {**config(space), "key": "k-00000-c00", "name": "00000 seed 0", "seed": 9, "repeat": repeat}
    for last in (False, True):
        tracker = track(begin=False)
        assert tracker.ended == {"k-00000"}
        tracker.start_repeats(DATA, FINGERPRINT)
        tracker.start_trial(again)
        tracker.log_result("k-00000-c00", {"kimg": 1, "distance": 5.0})
        if last:
            tracker.finish_trial("k-00000-c00", TrialEnd("complete"))
        tracker.finish_repeats(TrialEnd("interrupted", "Ctrl-C"))
        (run,) = stored("confirmation")
        assert run.data.tags["gansweep.status"] == ("complete" if last else "interrupted")
    (trial,), (parent,) = stored("trial"), stored("sweep")
    assert run.data.tags["mlflow.parentRunId"] == trial.info.run_id
    assert {name: run.data.tags[f"gansweep.{name}"] for name in about} == about
    assert (run.info.run_name, run.data.params["seed"]) == ("00000 seed 0", "9")
    assert "gansweep.number" not in run.data.tags
    assert (parent.data.tags["gansweep.status"], parent.info.status) == ("complete", "FINISHED")


def test_a_crashed_trial_may_continue_and_a_diverged_one_has_ended(
    track: Callable[..., Tracker], space: Space, stored: Any
) -> None:
    tracker = track()
    ends = {
        0: TrialEnd("failed", "crashed: no"),
        1: TrialEnd("failed", "diverged: d_loss is nan"),
        2: TrialEnd("complete"),
    }
    for number, ended in ends.items():
        tracker.start_trial(config(space, number))
        tracker.finish_trial(f"k-{number:05d}", ended)
    tracker = track()
    assert tracker.ended == {"k-00001", "k-00002"}
    tracker.start_trial(config(space))
    tracker.finish_trial("k-00000", TrialEnd("complete"))
    tracker = track()
    assert "k-00000" in tracker.ended
    assert [run.data.tags["gansweep.reason"] for run in stored("trial")] == ["", "diverged: d_loss is nan", ""]


def test_params_are_flat_and_dotted(track: Callable[..., Tracker], space: Space, stored: Any) -> None:
    track().start_trial(config(space, **{"generator.width": 16, "training.flip": True}))
    params = stored("trial")[0].data.params
    assert set(params) == {*space.recipe, "seed"}
    assert (params["generator.width"], params["training.flip"], params["seed"]) == ("16", "True", "77")
    assert params["optimizer.generator_lr"] == "0.0002"


def test_tags_of_a_trial(track: Callable[..., Tracker], space: Space, stored: Any, name: str) -> None:
    track().start_trial(config(space))
    tags = stored("trial")[0].data.tags
    expected = {"sweep": name, "number": "0", "system": "acgan", "recipe": "true", "config_hash": "abc"}
    assert {key: tags[f"gansweep.{key}"] for key in expected} == expected
    assert json.loads(tags["gansweep.fingerprint"]) == FINGERPRINT


def test_metrics_have_kimg_as_their_step_and_are_finite(
    track: Callable[..., Tracker], space: Space, stored: Any, home: Home
) -> None:
    tracker = track()
    tracker.start_trial(config(space))
    infinite = {"distance": math.nan, "d_loss": math.inf, "g_loss": -math.inf}
    tracker.log_result("k-00000", {"kimg": 10, "distance": 5.5, "done": False, "trial_id": "x"})
    tracker.log_result("k-00000", {"kimg": 20, **infinite, "tag_accuracy": 0.5})
    client, run = MlflowClient(home.tracking), stored("trial")[0]
    history = {m: [(p.step, p.value) for p in client.get_metric_history(run.info.run_id, m)] for m in run.data.metrics}
    scores = {"distance": [(10, 5.5)], "tag_accuracy": [(20, 0.5)]}
    # MLflow's first charts are those of the group that comes first.
    assert history == {"kimg": [(10, 10.0), (20, 20.0)], **scores, **{f"objectives/{m}": scores[m] for m in scores}}
    assert not [column for column in load(tracker.sweep, home=home.root).trials if "objectives" in column]


def test_intervals_are_one_tag_rather_than_charts_of_one_point(
    track: Callable[..., Tracker], space: Space, stored: Any, home: Home, name: str
) -> None:
    tracker = track()
    for number in range(2):
        tracker.start_trial(config(space, number, **{"generator.width": 8 * (1 + number)}))
    many = {f"tag_accuracy_{group:03d}": (0.123456789, 0.234567891) for group in range(200)}  # 9,200 characters
    own = {"distance": (36.0, 43.5), "tag_accuracy_long+short": (0.25, 0.5)}
    for number, pairs in enumerate((own, many)):
        ends = {
            f"interval/{score}/{end}": pair[end == "high"] for score, pair in pairs.items() for end in ("low", "high")
        }
        tracker.log_result(f"k-{number:05d}", {"kimg": 10, "distance": 40.0, **ends})
    first, second = stored("trial")
    assert json.loads(first.data.tags["gansweep.intervals"]) == {score: list(pair) for score, pair in own.items()}
    assert set(first.data.metrics) == {"kimg", "distance", "objectives/distance"}
    # More than MLflow takes in one tag stay metrics.
    assert "gansweep.intervals" not in second.data.tags
    assert len(second.data.metrics) == 3 + 2 * 200
    table = load(name, home=home.root).trials
    low, high = "metrics.interval/tag_accuracy_long+short/low", "metrics.interval/tag_accuracy_007/high"
    assert list(table[low].fillna(-1)) == [0.25, -1]
    assert list(table[high].fillna(-1)) == [-1, 0.234567891]


def test_results_keep_their_order_where_the_clock_is_set_back(
    track: Callable[..., Tracker], space: Space, stored: Any, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    times = iter([now, now + 3600, now + 3600.5, now - 3600])
    monkeypatch.setattr("pipeline.tracking.tracker.time", SimpleNamespace(time=lambda: next(times)))
    tracker = track()
    tracker.start_trial(config(space))
    for kimg in (1, 2, 3):
        tracker.log_result("k-00000", {"kimg": kimg, "distance": 1.0})
    (run,) = stored("trial")
    points = MlflowClient(home.tracking).get_metric_history(run.info.run_id, "distance")
    since = [point.timestamp - int((now + 3600) * 1000) for point in points]
    assert [point.step for point in points] == [1, 2, 3]
    assert since[0] == 0
    assert since == sorted(set(since))
    assert since[2] == since[1] + 1


def test_what_a_worker_stored_and_could_not_report_is_logged_when_its_trial_starts_again(
    track: Callable[..., Tracker], space: Space, stored: Any, home: Home, storage: Storage
) -> None:
    tracker = track()
    tracker.start_trial(config(space))
    results = [{"kimg": kimg, "distance": 10.0 - kimg} for kimg in (1, 2, 3)]
    tracker.log_result("k-00000", results[0])
    write_results(storage.below("k-00000"), results[:2])  # and here its process is killed
    tracker.start_trial(config(space))
    tracker.log_result("k-00000", results[2])
    (run,) = stored("trial")
    points = MlflowClient(home.tracking).get_metric_history(run.info.run_id, "distance")
    assert [(point.step, point.value) for point in points] == [(1, 9.0), (2, 8.0), (3, 7.0)]


def test_images_become_artifacts(
    track: Callable[..., Tracker], space: Space, stored: Any, home: Home, tmp_path: Path, storage: Storage
) -> None:
    tracker = track()
    tracker.start_trial(config(space))
    for name, colour in (("samples/grid.png", "red"), ("panels/hair.png", "blue")):
        Image.new("RGB", (4, 4), colour).save(tmp_path / "one.png")
        storage.put(tmp_path / "one.png", f"k-00000/{name}")
    tracker.log_result("k-00000", {"kimg": 1, "pictures": ["samples/grid.png", "panels/hair.png"]})
    client, run = MlflowClient(home.tracking), stored("trial")[0].info.run_id
    assert [entry.path for entry in client.list_artifacts(run, "samples")] == ["samples/grid.png"]
    assert [entry.path for entry in client.list_artifacts(run, "panels")] == ["panels/hair.png"]
    fetched = client.download_artifacts(run, "samples/grid.png", str(tmp_path / "..")).replace("\\", "/")
    assert Image.open(fetched).getpixel((0, 0)) == (255, 0, 0)


def test_the_parent_describes_the_sweep(
    track: Callable[..., Tracker], space: Space, stored: Any, home: Home, tmp_path: Path
) -> None:
    track()
    client, parent = MlflowClient(home.tracking), stored("sweep")[0]
    for file, content in (("sweep.json", SETTINGS), ("data.json", DATA), ("space.json", space.to_json())):
        path = Path(client.download_artifacts(parent.info.run_id, file, str(tmp_path)))
        assert json.loads(path.read_text()) == json.loads(json.dumps(content))
    assert json.loads(parent.data.tags["gansweep.fingerprint"]) == FINGERPRINT
    assert parent.data.params["trials"] == "3"


def test_the_data_set_is_an_input_once(track: Callable[..., Tracker], space: Space, stored: Any) -> None:
    for _ in range(2):
        track().start_trial(config(space))
    for run in (*stored("sweep"), *stored("trial")):
        (given,) = run.inputs.dataset_inputs
        assert (given.dataset.name, given.dataset.digest) == ("faces", "ab12")
        assert json.loads(given.dataset.profile) == {"pictures": 9, "complete": 7, "partial": 2}


@pytest.mark.parametrize(
    ("status", "mlflow"),
    [("complete", "FINISHED"), ("stopped", "FINISHED"), ("failed", "FAILED"), ("interrupted", "KILLED")],
)
def test_ends(track: Callable[..., Tracker], space: Space, stored: Any, status: str, mlflow: str) -> None:
    tracker = track()
    tracker.start_trial(config(space))
    tracker.finish_trial("k-00000", TrialEnd(status, "because"))
    (run,) = stored("trial")
    assert (run.data.tags["gansweep.status"], run.data.tags["gansweep.reason"]) == (status, "because")
    assert run.info.status == mlflow


def test_what_is_still_open_at_the_end_is_interrupted(track: Callable[..., Tracker], space: Space, stored: Any) -> None:
    tracker = track()
    for number in range(2):
        tracker.start_trial(config(space, number))
    tracker.finish_trial("k-00000", TrialEnd("complete"))
    tracker.finish("interrupted", TrialEnd("interrupted", "Ctrl-C"))
    assert [run.data.tags["gansweep.status"] for run in stored("trial")] == ["complete", "interrupted"]
    (parent,) = stored("sweep")
    assert (parent.data.tags["gansweep.status"], parent.info.status) == ("interrupted", "KILLED")


def test_what_an_interrupted_trial_had_stored_is_logged_before_its_run_is_closed(
    track: Callable[..., Tracker], space: Space, stored: Any, storage: Storage
) -> None:
    tracker = track()
    tracker.start_trial(config(space))
    tracker.log_result("k-00000", {"kimg": 1, "distance": 9.0})
    write_results(storage.below("k-00000"), [{"kimg": 1, "distance": 9.0}, {"kimg": 2, "distance": 2.5}])
    tracker.finish("interrupted", TrialEnd("interrupted", "Ctrl-C"))
    (run,) = stored("trial")
    assert (run.data.metrics["distance"], run.data.metrics["kimg"]) == (2.5, 2)
    assert run.data.tags["gansweep.status"] == "interrupted"


def test_a_resumed_trial_that_completes_has_no_reason_left(
    track: Callable[..., Tracker], space: Space, stored: Any
) -> None:
    tracker = track()
    tracker.start_trial(config(space))
    tracker.finish("interrupted", TrialEnd("interrupted", "Ctrl-C"))
    tracker = track()
    tracker.start_trial(config(space))
    tracker.finish_trial("k-00000", TrialEnd("complete"))
    (run,) = stored("trial")
    assert (run.data.tags["gansweep.status"], run.data.tags.get("gansweep.reason", "")) == ("complete", "")
    assert run.info.status == "FINISHED"


def test_figures_of_the_sweep_are_metrics_of_its_run_and_known_to_the_next_driver(
    track: Callable[..., Tracker], stored: Any
) -> None:
    figures = {"slot_use": 0.75, "slot_seconds": 200.0, "busy_seconds": 150.0}
    tracker = track()
    assert tracker.figures == {}
    tracker.log_sweep({})
    tracker.log_sweep(figures)
    (parent,) = stored("sweep")
    assert parent.data.metrics == figures
    again = track()
    assert again.figures == figures
    again.log_sweep(figures)
    for _ in range(2):
        again.log_sweep(figures | {"slot_seconds": 300.0})
    stored("sweep")  # waits until everything is sent
    assert [len(again.client.get_metric_history(parent.info.run_id, key)) for key in figures] == [2, 2, 2]


def test_another_home_is_refused(
    track: Callable[..., Tracker], space: Space, home: Home, name: str, storage: Storage, tmp_path: Path
) -> None:
    track()
    with pytest.raises(UserError, match="belongs to another home"):
        Tracker(open_client(home, None), Home(tmp_path / "other"), name, space, storage, print)


def test_http_settings_of_the_user_are_kept(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    open_client(home, None)
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert int(os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]) <= 2


def test_a_deleted_experiment_is_refused(track: Callable[..., Tracker], home: Home, name: str) -> None:
    track()
    client = MlflowClient(home.tracking)
    client.delete_experiment(client.get_experiment_by_name(name).experiment_id)
    with pytest.raises(UserError, match=f"'{name[:20]}.*was deleted; restore it or take another --name"):
        track()


def test_a_server_that_does_not_answer_is_one_line(home: Home) -> None:
    with pytest.raises(AnalysisError, match=r"no MLflow server answers at http://127\.0\.0\.1:9") as caught:
        open_client(home, "http://127.0.0.1:9")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({}, "00007 recipe"),
        ({"generator.noise_dim": 128}, "00007 noise_dim=128"),
        ({"generator.width": 16, "training.flip": True}, "00007 width=16 +1"),
        ({"generator.noise_dim": 128, "training.flip": True}, "00007 noise_dim=128 +1"),
        ({"generator.width": 16, "optimizer.beta1": 0.0}, "00007 width=16 beta1=0"),
        ({"generator.width": 16, "discriminator.width": 32}, "00007 g_width=16 +1"),
        ({"optimizer.generator_lr": 0.000123456}, "00007 generator_lr=0.00012"),
        # tag_weight has no effect without heads, and so is not named.
        ({"discriminator.conditioning": "concat", "losses.tag_weight": 2.0}, "00007 conditioning=concat"),
        (
            {"generator.width": 16, "generator.noise_dim": 64, "generator.embedding_dim": 4, "training.flip": True,
             "losses.labels": "hard", "optimizer.beta1": 0.0},
            "00007 width=16 +5",
        ),
        # No difference fits beside the count of the others.
        (
            {"optimizer.generator_lr": 0.000123456, "optimizer.discriminator_lr": 0.000123456}, "00007 2 changes",
        ),
    ],
)  # fmt: skip
def test_a_run_is_named_by_what_differs(space: Space, params: dict[str, Any], name: str) -> None:
    assert run_name(7, {**space.recipe, **params}, space) == name
