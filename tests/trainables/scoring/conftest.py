"""Fixtures of the scoring tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.inception import write_inception_weights

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def inception_weights(tmp_path_factory) -> Path:
    """Random weights in the published format of the standard FID's network."""
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    write_inception_weights(path)
    return path
