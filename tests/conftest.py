"""Fixtures of all tests, and the order of the files when several workers run them."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import HealthCheck, settings
from threadpoolctl import threadpool_limits

from tests.support.faces import FACES, PARTIAL, SIZE
from tests.support.servers.browser import chromium
from tests.support.stub_tag_classifier import place_tag_classifier
from trainables.data.synthetic import write_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

pytest_plugins = ["pytester", "tests.support.flaky"]

# Threads that wait for each other on busy cores make tiny networks and matrices ten times slower.
torch.set_num_threads(1)
threadpool_limits(1)

# The same inputs in every run, however long one of them takes.
settings.register_profile(
    "certain", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("certain")
os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "300")  # for drivers in processes of their own, too


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the workers begin with the files of most slow tests, so that none is left with a long file at the end."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
        sweeps = Counter(item.path for item in items if "local_ray" in getattr(item, "fixturenames", ()))
        items.sort(key=lambda item: -5 * slow[item.path] - sweeps[item.path])


@pytest.fixture(scope="module", autouse=True)
def numbers_of_the_module() -> None:
    """What a module's own fixtures draw does not follow from which tests have run before."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def numbers_of_the_test(numbers_of_the_module: None) -> None:
    """Nor does what a test draws."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no test data: {folder} is not there (it is kept outside the repository)")
    return folder


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn faces with every tag, and a few with a tag missing."""
    folder = tmp_path_factory.mktemp("pictures") / "faces"
    write_folder(folder, FACES, seed=0, size=SIZE, partial=PARTIAL)
    return folder


@pytest.fixture(scope="session")
def many_faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """So many drawn faces that translations to every eye colour can be scored."""
    folder = tmp_path_factory.mktemp("pictures") / "many"
    write_folder(folder, 400, seed=0, size=SIZE)
    return folder


@pytest.fixture(scope="session")
def local_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One Ray for every sweep of these tests; its workers stand in an empty folder, as a sweep's own would."""
    import ray

    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("driver"))
    try:
        start_ray()
    finally:
        os.chdir(before)
    yield
    ray.shutdown()


def start_ray(attempts: int = 3) -> None:
    """Ray gives its own processes half a minute to start, which a loaded machine may not have for them at once."""
    import ray

    try:
        ray.init(
            address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1"
        )
    except Exception:
        ray.shutdown()
        if attempts == 1:
            raise
        start_ray(attempts - 1)


@pytest.fixture(scope="session")
def home_with_classifier(tmp_path_factory: pytest.TempPathFactory, faces: Path) -> Path:
    """A home without sweeps whose cache holds a tag classifier for ``faces``."""
    home = tmp_path_factory.mktemp("home")
    place_tag_classifier(home, faces, SIZE)
    return home


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.support.pipeline.exports import write_bundle

    return write_bundle(tmp_path_factory.mktemp("bundle") / "winner")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened
