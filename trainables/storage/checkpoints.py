"""Checkpoints with verified content, and the other files of a trial."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import torch

from trainables.errors import UserError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from trainables.storage.storage import Storage

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "generator.safetensors"
"""Weights of the averaged generator at the last evaluation; the file's metadata hold ``kimg``."""
BEST_FILE = "best.safetensors"
"""Weights of the averaged generator at the evaluation with the lowest distance."""
RESULTS_FILE = "results.jsonl"
"""Every result of a trial, written before its checkpoint, since the driver may die before it has logged a result."""
CHECKPOINTS = "checkpoints"
"""Folder of the checkpoints that training can resume from."""
KEPT = 2
"""Checkpoints kept per trial: the last, and the one before it in case the last is damaged."""

_NAME = re.compile(CHECKPOINTS + r"/(\d{6,})-([0-9a-f]{64})\.pt")


@dataclass(frozen=True)
class Restored:
    """Whether a checkpoint was loaded, and one line about newer ones that could not be used."""

    found: bool
    problem: str = ""


class Checkpoints:
    """Saves and restores the state of one trial: ``checkpoints/<number>-<SHA-256>.pt``.

    The number grows with every save. The hash is part of the name, so that a file and its hash appear together. A file
    that is truncated, half written or altered does not match its name and is skipped.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._good: list[str] = []

    def save(self, state: dict[str, Any]) -> None:
        """Store a state of tensors and plain values, then remove all but the last two good checkpoints.

        Raises:
            UserError: the state cannot be stored; existing checkpoints are unchanged.
        """
        existing = self._names()
        with self.storage.scratch() as folder:
            path = folder / "checkpoint.pt"
            digest = _write(state, path)
            name = f"{CHECKPOINTS}/{1 + max(map(_number, existing), default=0):06d}-{digest}.pt"
            self.storage.put(path, name)
        self._good = [*self._good, name][-KEPT:]
        for old in existing:
            if old not in self._good:
                self.storage.delete(old)

    def restore(self, take: Callable[[dict[str, Any]], None], reset: Callable[[], None]) -> Restored:
        """Restore the newest intact checkpoint.

        Args:
            take: loads a state; it raises an exception to reject it.
            reset: undoes a partial load after ``take`` has raised.

        Raises:
            UserError: the storage does not answer; training must not start from the beginning because of that.
        """
        problems = []
        for name in sorted(self._names(), key=_number, reverse=True):
            try:
                take(self._read(name))
            except (UserError, MemoryError, torch.OutOfMemoryError):
                raise
            except Exception as error:  # unpickling an altered file can raise any exception
                problems.append(f"checkpoint {_number(name)} cannot be used ({first_line(error)})")
                reset()
            else:
                self._good = [name]
                return Restored(True, "; ".join(problems))
        return Restored(False, "; ".join(problems))

    def exist(self) -> bool:
        """Whether there is any checkpoint, intact or damaged."""
        return bool(self._names())

    def _names(self) -> list[str]:
        return [name for name in self.storage.list(CHECKPOINTS) if _NAME.fullmatch(name)]

    def _read(self, name: str) -> dict[str, Any]:
        with self.storage.fetched(name) as path:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if digest not in name:
                raise ValueError("it was cut short or altered: its SHA-256 is another")
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            return state


def write_results(storage: Storage, results: Sequence[dict[str, Any]]) -> None:
    """Store the results of a trial, one JSON object per line."""
    with storage.writing(RESULTS_FILE) as partial:
        partial.write_text("".join(f"{json.dumps(result)}\n" for result in results), encoding="utf-8")


def read_results(storage: Storage) -> list[dict[str, Any]]:
    """Read the results that a trial has stored so far. Damaged lines are skipped: the checkpoint has all results."""
    if not storage.exists(RESULTS_FILE):
        return []
    results = []
    for line in storage.read(RESULTS_FILE).decode(errors="replace").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            results.append(json.loads(line))
    return [result for result in results if isinstance(result, dict)]


def _number(name: str) -> int:
    match = _NAME.fullmatch(name)
    assert match is not None, name
    return int(match[1])


def _write(state: dict[str, Any], path: Path) -> str:
    """Write a state to a file and return the file's SHA-256."""
    with path.open("wb") as file:
        hashing = _Hashing(file)
        try:
            torch.save(state, hashing)  # type: ignore[arg-type] # it has the methods that torch needs of a file
        except RuntimeError:  # torch replaces the cause, for instance a full disk, by its own error
            if hashing.fault is None:
                raise
            raise hashing.fault from None
    return hashing.hash.hexdigest()


class _Hashing:
    """File wrapper that hashes everything written to the file."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.hash = file, hashlib.sha256()
        self.fault: OSError | None = None

    def write(self, content: bytes) -> int:
        self.hash.update(content)
        try:
            return self.file.write(content)
        except OSError as error:
            self.fault = error
            raise

    def flush(self) -> None:
        self.file.flush()
