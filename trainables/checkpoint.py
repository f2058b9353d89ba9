"""Checkpoints that are whole or not used, and the other files of a trial."""

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

    from trainables.storage import Storage

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "generator.safetensors"
"""Weights of the averaged generator at the last evaluation; ``kimg`` stands in the file's metadata."""
BEST_FILE = "best.safetensors"
"""The same at the evaluation with the lowest distance."""
RESULTS_FILE = "results.jsonl"
"""Every result of a trial, written before its checkpoint: the driver may die before it has logged one."""
CHECKPOINTS = "checkpoints"
"""Folder of the states that training can go on from."""
KEPT = 2
"""Checkpoints of a trial: the last, and the one before, should the last prove damaged."""

_NAME = re.compile(CHECKPOINTS + r"/(\d{6,})-([0-9a-f]{64})\.pt")


@dataclass(frozen=True)
class Restored:
    """Whether a checkpoint was loaded, and in one line what was wrong with newer ones."""

    found: bool
    problem: str = ""


class Checkpoints:
    """Saves and restores the state of one trial: ``checkpoints/<number>-<SHA-256>.pt``.

    The number grows with every save. The hash is part of the name, so that a file and its hash appear together:
    one that was cut short, half written or altered does not match its name and is passed over.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._good: list[str] = []

    def save(self, state: dict[str, Any]) -> None:
        """Store a state of tensors and plain values, then remove all but the last two good ones.

        Raises:
            UserError: it cannot be stored; what was there before stays.
        """
        there = self._names()
        with self.storage.scratch() as folder:
            path = folder / "checkpoint.pt"
            digest = _write(state, path)
            name = f"{CHECKPOINTS}/{1 + max(map(_number, there), default=0):06d}-{digest}.pt"
            self.storage.put(path, name)
        self._good = [*self._good, name][-KEPT:]
        for old in there:
            if old not in self._good:
                self.storage.delete(old)

    def restore(self, take: Callable[[dict[str, Any]], None], reset: Callable[[], None]) -> Restored:
        """Give ``take`` the newest state that is whole and that it accepts; ``reset`` undoes one it refused half-way.

        Raises:
            UserError: the storage does not answer; that is no reason to begin anew.
        """
        problems = []
        for name in sorted(self._names(), key=_number, reverse=True):
            try:
                take(self._read(name))
            except (UserError, MemoryError, torch.OutOfMemoryError):
                raise
            except Exception as error:  # unpickling what somebody altered can raise anything
                problems.append(f"checkpoint {_number(name)} cannot be used ({first_line(error)})")
                reset()
            else:
                self._good = [name]
                return Restored(True, "; ".join(problems))
        return Restored(False, "; ".join(problems))

    def exist(self) -> bool:
        """Whether there is any, whole or not."""
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
    """Store the results of a trial, one JSON object a line."""
    with storage.writing(RESULTS_FILE) as partial:
        partial.write_text("".join(f"{json.dumps(result)}\n" for result in results), encoding="utf-8")


def read_results(storage: Storage) -> list[dict[str, Any]]:
    """The results that a trial has stored so far; a damaged line is left out: the checkpoint holds them all."""
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
    """Write a state; returns the SHA-256 of the file."""
    with path.open("wb") as file:
        hashing = _Hashing(file)
        try:
            torch.save(state, hashing)  # type: ignore[arg-type] # all that torch needs of a file
        except RuntimeError:  # torch hides the reason, for instance a full disk, behind an error of its own
            if hashing.fault is None:
                raise
            raise hashing.fault from None
    return hashing.hash.hexdigest()


class _Hashing:
    """Hashes what passes through to a file."""

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
