"""Errors of trials as fields of their results, classified where they are raised."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray.exceptions import RayActorError, RayTaskError

from pipeline.trial_status import CRASH, KILLED, OUT_OF_MEMORY, crash_reason

if TYPE_CHECKING:
    from ray.tune import Trainable
    from ray.tune.experiment import Trial

_MEMORY_MONITOR = re.compile(r"memory usage threshold|running low on memory")
"""Ray has no public error type for this: it raises the same ``ActorDiedError`` whether its memory monitor or the system
ended a process, and only the text differs. This is the only place that reads a text of Ray's."""


def report_errors(trainable: type[Trainable]) -> type[Trainable]:
    """Return a subclass that reports an error as a result, with the reason under ``CRASH``, before it raises it.

    Tune passes on the text of an error alone. The next ``step`` raises the error, for Tune to repeat the trial.
    """

    class Reporting(trainable):  # type: ignore[misc, valid-type] # mypy knows no class that is an argument
        _ready = False
        _error: Exception | None = None
        _reported = False

        def setup(self, config: dict[str, Any], **shared: Any) -> None:
            try:
                super().setup(config, **shared)
                self._ready = True
            except Exception as error:
                self._error = error

        def step(self) -> dict[str, Any]:
            if self._error is not None and self._reported:
                raise self._error
            if self._error is None:
                try:
                    result: dict[str, Any] = super().step()
                    return result
                except Exception as error:
                    self._error = error
            self._reported = True
            return {CRASH: error_reason(self._error)}

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            try:
                return bool(super().reset_config(new_config))
            except Exception as error:
                self._error = error
                return True

        def cleanup(self) -> None:
            if self._ready:
                super().cleanup()

    Reporting.__name__, Reporting.__qualname__ = trainable.__name__, trainable.__qualname__
    return Reporting


def error_reason(error: BaseException) -> str:
    """Classify an error that was raised in a trial or by Ray."""
    if isinstance(error, RayTaskError):
        error = error.cause if isinstance(error.cause, BaseException) else error
    if not isinstance(error, RayActorError):
        return crash_reason(error)
    if _MEMORY_MONITOR.search(str(error)):
        return f"{OUT_OF_MEMORY}Ray's memory monitor ended the trial's process"
    return f"{KILLED}the trial's process ended, most often because memory ran out or its node was lost"


class ErrorFiles:
    """Reads the errors of trials that reported none, for their process or node died, from the files that Tune writes.

    Tune writes no file for errors of its own, and leaves the one of an earlier attempt of the trial. So each is read
    once.
    """

    def __init__(self) -> None:
        self._read: dict[str, int] = {}
        """Times of modification, in nanoseconds, of the files that were read."""

    def reason(self, trial: Trial) -> str:
        """Classify the error that has just ended an attempt of the trial; ``""``: Tune has written none."""
        file = trial.pickled_error_file
        try:
            modified = Path(file or "").stat().st_mtime_ns
            if not file or self._read.get(file) == modified:
                return ""
            self._read[file] = modified
            with Path(file).open("rb") as stored:
                error = pickle.load(stored)  # noqa: S301 - written by this process, to a folder of its own
        except Exception:  # a damaged file, or an error that cannot be unpickled, must not end the sweep
            return ""
        return error_reason(error)
