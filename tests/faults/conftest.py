"""Sweeps in separate processes that tests kill."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.pipeline.driver import STARTED, Driver, fault_settings, require_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def no_driver_outlives_its_test() -> Iterator[None]:
    """End the processes of a test that failed."""
    yield
    while STARTED:
        driver = STARTED.pop()
        if driver.process.poll() is None:
            driver.kill_all()


@pytest.fixture(scope="session")
def undisturbed(home_with_classifier: Path, faces: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Last distances by trial number of a sweep without faults."""
    driver = Driver.start(
        fault_settings(home_with_classifier, faces, "undisturbed"), tmp_path_factory.mktemp("undisturbed")
    )
    code, err = driver.end()
    assert code == 0, err
    return require_whole(driver.swept)
