"""One tiny sweep on drawn faces, run once for all tests, with a crashing and a diverging trial in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.gallery.onnx_web import user_cache, web_runtime
from pipeline.home import Home
from tests.support.pipeline.sweep import CRASHES, FIXED, NAME, SEED, Swept, sweep, tiny_settings
from trainables.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def swept(home_with_classifier: Path, faces: Path, local_ray: None) -> Swept:
    """A sweep in which trial ``CRASHES`` crashes and every trial with ``discriminator_lr`` 1.0 diverges."""
    settings = tiny_settings(
        home_with_classifier,
        faces,
        fix=(*FIXED, "losses.adversarial_weight=1000"),
        choices=("optimizer.discriminator_lr=2e-4,1.0",),
        seed=SEED,
    )
    (Home.find(home_with_classifier).sweep(NAME) / f"{NAME}-{CRASHES:05d}" / "config.json").mkdir(parents=True)
    return sweep(settings)


@pytest.fixture(scope="session")
def runtime() -> Path:
    """Files of onnxruntime-web."""
    try:
        return web_runtime(user_cache())
    except UserError as error:
        pytest.skip(str(error))
