"""What is written to MLflow, read back with MLflow's own client."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mlflow import MlflowClient
from PIL import Image

from analysis.errors import AnalysisError
from pipeline.home import Home
from pipeline.outcome import Outcome
from pipeline.settings import SweepSettings
from pipeline.tracking import Tracker, open_client, run_name
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow.entities import Run

    from search_spaces.space import Space

SETTINGS = {"space": "acgan", "name": "s", "trials": 3, "fix": ["a=1"], "concurrent": 2}
DATA = {"name": "faces", "fingerprint": "ab12", "pictures": 9, "complete": 7, "partial": 2}
FINGERPRINT = {"samples": 32, "extractor": "efficientnet"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """One database for the module: creating its schema takes seconds. Each test has a sweep of its own."""
    made = Home.find(tmp_path_factory.mktemp("tracked"))
    open_client(made, None)
    return made


@pytest.fixture
def space() -> Space:
    return SweepSettings("acgan", Path("d"), "s", image_size=16).resolve_space()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return re.sub(r"\W+", "-", request.node.name)[:60]


@pytest.fixture
def track(home: Home, space: Space, name: str) -> Callable[..., Tracker]:
    """A tracker of the test's sweep, as a new driver process would make it."""

    def make(**settings: Any) -> Tracker:
        tracker = Tracker(open_client(home, None), name, home.artifacts(name), space)
        tracker.start({**SETTINGS, **settings}, DATA, FINGERPRINT)
        return tracker

    return make


@pytest.fixture
def stored(home: Home, name: str) -> Callable[[str], list[Run]]:
    def find(kind: str) -> list[Run]:
        client = MlflowClient(home.tracking)
        experiment = client.get_experiment_by_name(name)
        runs = client.search_runs([experiment.experiment_id])
        return sorted(
            (run for run in runs if run.data.tags["gansweep.kind"] == kind), key=lambda run: run.info.run_name
        )

    return find


def config(space: Space, number: int = 0, **params: Any) -> dict[str, Any]:
    return {
        "key": f"k-{number:05d}",
        "number": number,
        "recipe": not params,
        "params": {**space.recipe, **params},
        "config_hash": "abc",
        "seed": 77,
        "folder": "/f",
    }


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


def test_a_sweep_may_go_on_with_other_private_settings(track: Callable[..., Tracker], stored: Any) -> None:
    track()
    track(concurrent=1, time_limit="1h")
    assert len(stored("sweep")) == 1


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
    tracker.log_result("k-00000", {"kimg": 10, "distance": 5.5, "done": False, "trial_id": "x"}, Path())
    tracker.log_result("k-00000", {"kimg": 20, **infinite, "tag_accuracy": 0.5}, Path())
    client, run = MlflowClient(home.tracking), stored("trial")[0]
    history = {m: [(p.step, p.value) for p in client.get_metric_history(run.info.run_id, m)] for m in run.data.metrics}
    assert history == {"kimg": [(10, 10.0), (20, 20.0)], "distance": [(10, 5.5)], "tag_accuracy": [(20, 0.5)]}


def test_pictures_become_artifacts(
    track: Callable[..., Tracker], space: Space, stored: Any, home: Home, tmp_path: Path
) -> None:
    tracker = track()
    tracker.start_trial(config(space))
    for name, colour in (("samples/grid.png", "red"), ("panels/hair.png", "blue")):
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", (4, 4), colour).save(tmp_path / name)
    tracker.log_result("k-00000", {"kimg": 1, "pictures": ["samples/grid.png", "panels/hair.png"]}, tmp_path)
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
    tracker.finish_trial("k-00000", Outcome(status, "because"))
    (run,) = stored("trial")
    assert (run.data.tags["gansweep.status"], run.data.tags["gansweep.reason"]) == (status, "because")
    assert run.info.status == mlflow


def test_what_is_still_open_at_the_end_is_interrupted(track: Callable[..., Tracker], space: Space, stored: Any) -> None:
    tracker = track()
    for number in range(2):
        tracker.start_trial(config(space, number))
    tracker.finish_trial("k-00000", Outcome("complete"))
    tracker.finish("interrupted", Outcome("interrupted", "Ctrl-C"))
    assert [run.data.tags["gansweep.status"] for run in stored("trial")] == ["complete", "interrupted"]
    (parent,) = stored("sweep")
    assert (parent.data.tags["gansweep.status"], parent.info.status) == ("interrupted", "KILLED")


def test_a_resumed_trial_that_completes_has_no_reason_left(
    track: Callable[..., Tracker], space: Space, stored: Any
) -> None:
    tracker = track()
    tracker.start_trial(config(space))
    tracker.finish("interrupted", Outcome("interrupted", "Ctrl-C"))
    tracker = track()
    tracker.start_trial(config(space))
    tracker.finish_trial("k-00000", Outcome("complete"))
    (run,) = stored("trial")
    assert (run.data.tags["gansweep.status"], run.data.tags.get("gansweep.reason", "")) == ("complete", "")
    assert run.info.status == "FINISHED"


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
        ({"generator.width": 16, "training.flip": True}, "00007 width=16 flip=True"),
        ({"generator.width": 16, "discriminator.width": 32}, "00007 g_width=16 d_width=32"),
        ({"optimizer.generator_lr": 0.000123456}, "00007 generator_lr=0.00012"),
        # tag_weight has no effect without heads, and so is not named.
        ({"discriminator.conditioning": "concat", "losses.tag_weight": 2.0}, "00007 conditioning=concat"),
        (
            {"generator.width": 16, "generator.noise_dim": 64, "generator.embedding_dim": 4, "training.flip": True,
             "losses.labels": "hard", "optimizer.beta1": 0.0},
            "00007 width=16 embedding_dim=4 noise_dim=64 labels=hard +2",
        ),
    ],
)  # fmt: skip
def test_a_run_is_named_by_what_differs(space: Space, params: dict[str, Any], name: str) -> None:
    assert run_name(7, {**space.recipe, **params}, space) == name
