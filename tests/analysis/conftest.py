"""A home with sweeps in it, written once for all tests: creating the schema of MLflow's database takes seconds."""

from __future__ import annotations

import pytest
from mlflow import MlflowClient

from analysis import schema
from tests.support.sweeps import History


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    home = tmp_path_factory.mktemp("home")
    return History(home, MlflowClient(f"sqlite:///{home}/mlflow.db"))


@pytest.fixture(scope="session")
def logged(history: History) -> str:
    """A sweep of five trials: the recipe, a better one, a stopped one, a diverged one, one that never scored."""

    def metrics(distance: dict[int, float], accuracy: float) -> dict[str, dict[int, float]]:
        last = max(distance)
        return {
            "distance": distance,
            "fd_efficientnet_lite0": distance,
            "tag_accuracy": {last: accuracy},
            "tag_accuracy_hair": {last: accuracy + 0.05},
            "tag_accuracy_eyes": {last: accuracy + 0.02},
            "kimg": {step: float(step) for step in distance},
            "seconds": {last: 3.7 * last},
            "d_loss": {last: 0.5},
        }

    def params(lr: float, width: int, soft: bool, **more: object) -> dict[str, object]:
        return {"optimizer.lr": lr, "generator.width": width, "losses.soft_labels": soft, "image_size": 64, **more}

    history.log_sweep(
        "faces",
        [
            {"metrics": metrics({20: 80.0, 40: 41.5}, 0.8), "params": params(2e-4, 32, True)},
            {"metrics": metrics({20: 70.0, 40: 30.25}, 0.7), "params": params(1, 64, True)},
            {
                "status": schema.STOPPED,
                "reason": "asha: not among the best third at 20 kimg",
                "metrics": metrics({20: 90.0}, 0.9),
                "params": params(5e-4, 16, False, **{"networks.norm": "1"}),
            },
            {
                "status": schema.FAILED,
                "reason": "diverged: [d_loss] is nan at 33 kimg",
                "metrics": metrics({20: 10.0}, 0.99) | {"d_loss": {20: float("nan")}, "g_loss": {20: float("inf")}},
                "params": params(1e-3, 32, True),
            },
            {"status": schema.FAILED, "reason": "out of memory", "params": params(1e-3, 64, True)},
        ],
    )
    return "faces"
