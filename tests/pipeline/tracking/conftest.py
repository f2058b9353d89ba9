"""A database, and trackers of a sweep of each test's own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mlflow import MlflowClient

from pipeline.home import Home
from pipeline.settings import SweepSettings
from pipeline.tracking.client import open_client
from pipeline.tracking.tracker import Tracker
from tests.support.pipeline.tracking import DATA, FINGERPRINT, SETTINGS, settle
from trainables.storage.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlflow.entities import Run

    from search_spaces.space import Space


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """One database for the module, since creating its schema takes seconds. Each test has another sweep."""
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
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path), in_place=True)


@pytest.fixture
def said() -> list[str]:
    """Messages to the user."""
    return []


@pytest.fixture
def trackers() -> Iterator[list[Tracker]]:
    """Every tracker of the test, the one of the last driver at the end."""
    made: list[Tracker] = []
    yield made
    for tracker in made:
        tracker.sender.close()


@pytest.fixture
def track(
    home: Home, space: Space, name: str, storage: Storage, trackers: list[Tracker], said: list[str]
) -> Callable[..., Tracker]:
    """A tracker of the test's sweep, as a new driver process would make it when the last one has died."""

    def make(begin: bool = True, **settings: Any) -> Tracker:
        settle(trackers)
        for dead in trackers:
            dead.sender.close()
        tracker = Tracker(
            open_client(home, None), home, name, space, storage, said.append, artifacts=home.artifacts(name)
        )
        trackers.append(tracker)
        if begin:
            tracker.start({**SETTINGS, **settings}, DATA, FINGERPRINT)
        return tracker

    return make


@pytest.fixture
def stored(home: Home, name: str, trackers: list[Tracker]) -> Callable[[str], list[Run]]:
    def find(kind: str) -> list[Run]:
        settle(trackers)
        client = MlflowClient(home.tracking)
        experiment = client.get_experiment_by_name(name)
        runs = client.search_runs([experiment.experiment_id])
        return sorted(
            (run for run in runs if run.data.tags["gansweep.kind"] == kind), key=lambda run: run.info.run_name
        )

    return find
