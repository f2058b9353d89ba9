"""Errors of trials: reported as a result first, then raised; those of dead processes from Ray's exceptions."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from ray import tune
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError, RayTaskError

from pipeline.tune_adapters.reported_errors import ErrorFiles, error_reason, report_errors

if TYPE_CHECKING:
    from pathlib import Path

KILLED = "killed: the trial's process ended, most often because memory ran out or its node was lost"


class Failing(tune.Trainable):  # type: ignore[misc] # Ray's class has no types
    """Raises the configuration's error at the place that it names."""

    def setup(self, config: dict[str, Any], shared: int = 0) -> None:
        self.given, self.steps, self.cleaned = config, shared, 0
        self._fail("setup")

    def _fail(self, place: str) -> None:
        if self.given.get("place") == place:
            raise self.given["error"]

    def step(self) -> dict[str, Any]:
        self.steps += 1
        self._fail("step")
        return {"kimg": self.steps}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.given = new_config
        self._fail("reset")
        return True

    def cleanup(self) -> None:
        self.given["cleaned"] = True


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError("cannot allocate memory"), "out of memory: MemoryError: cannot allocate memory"),
        (ValueError("no\nmore"), "crashed: ValueError: no"),
        (ActorDiedError(), KILLED),
    ],
)
@pytest.mark.parametrize("place", ["setup", "step", "reset"])
def test_an_error_is_reported_and_then_raised(error: Exception, reason: str, place: str) -> None:
    config = {"place": place, "error": error}
    trial = report_errors(Failing)({} if place == "reset" else config)
    if place == "reset":
        assert trial.step() == {"kimg": 1}
        assert trial.reset_config(config)
    assert trial.step() == {"crash": reason}
    for _ in range(2):
        with pytest.raises(type(error)) as caught:
            trial.step()
        assert str(caught.value) == str(error)
    trial.stop()
    assert ("cleaned" in trial.given) is (place != "setup")


def test_without_an_error_nothing_changes() -> None:
    reporting = report_errors(Failing)
    assert (reporting.__name__, issubclass(reporting, Failing)) == ("Failing", True)
    trial = reporting({})
    assert [trial.step(), trial.step()] == [{"kimg": 1}, {"kimg": 2}]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ActorDiedError(), KILLED),
        (ActorUnavailableError("RPC error: Socket closed rpc_code: 14", b"1" * 16), KILLED),
        (RayTaskError("train", "Traceback", MemoryError("2 GiB")), "out of memory: MemoryError: 2 GiB"),
        (RayTaskError("train", "Traceback", KeyError("x")), "crashed: KeyError: 'x'"),
    ],
)
def test_an_error_that_no_trial_reported_is_classified_by_its_type(
    tmp_path: Path, error: Exception, reason: str
) -> None:
    file = tmp_path / "error.pkl"
    file.write_bytes(pickle.dumps(error))
    trial: Any = SimpleNamespace(pickled_error_file=str(file))
    assert ErrorFiles().reason(trial) == reason
    trial.pickled_error_file = None
    assert ErrorFiles().reason(trial) == ""


def test_memory_monitor_of_ray_is_recognised() -> None:
    text = "Memory on the node was 7 GB / 8 GB, which exceeds the memory usage threshold of 0.95."
    error = RayActorError(error_msg=text)
    assert text in str(error)
    assert error_reason(error).startswith("out of memory: ")


def test_a_damaged_error_file_gives_no_reason(tmp_path: Path) -> None:
    file = tmp_path / "error.pkl"
    file.write_bytes(pickle.dumps(ValueError("x"))[:10])
    assert ErrorFiles().reason(SimpleNamespace(pickled_error_file=str(file))) == ""  # type: ignore[arg-type]
