"""The home: the folder of all sweeps of a user."""

from __future__ import annotations

import fcntl
import re
import tempfile
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.mlflow_reader.connect import DATABASE, home_folder
from analysis.mlflow_reader.sqlite_url import sqlite_url
from trainables.errors import UsageError, UserError, first_line
from trainables.storage.storage import Storage, storage_location

if TYPE_CHECKING:
    from pathlib import Path

_KEY = r"-\d{5,}(-c\d{2,}(-k\d+)?|-a-[a-z][a-z0-9_.-]*-\d{2,}(-k\d+)?)?"
"""Suffix that follows the sweep's name in the key of a trial, a confirmation or an ablation."""
SCRATCH_NAME = "gansweep-doctor"
"""Experiment that `doctor` writes and deletes, and prefix of its studies and folders."""
_SWEEP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Home:
    """The databases, caches and trial folders below one folder."""

    root: Path

    @classmethod
    def find(cls, folder: Path | None) -> Home:
        """``folder``, else ``$GANSWEEP_HOME``, else ``./gansweep-runs``."""
        return cls(home_folder(folder))

    def identity(self) -> str:
        """Return the random id in the file ``home.id``, which is created if needed and moves with the home.

        Raises:
            UserError: the file cannot be read or written.
        """
        path = self.root / "home.id"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with path.open("a+", encoding="ascii") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # two sweeps may start in a new home at once
                file.seek(0)
                known = file.read().strip()
                if not known:
                    known = uuid.uuid4().hex
                    file.write(f"{known}\n")
                return known
        except (OSError, ValueError) as error:
            raise UserError(f"cannot read or write {path}: {first_line(error)}; give another --home") from error

    @property
    def tracking_file(self) -> Path:
        """The local MLflow database."""
        return self.root / DATABASE

    @property
    def study_file(self) -> Path:
        """The local Optuna database."""
        return self.root / "optuna.db"

    @property
    def tracking(self) -> str:
        """URI of the local MLflow database."""
        return sqlite_url(self.tracking_file)

    @property
    def study(self) -> str:
        """URL of the local Optuna database."""
        return sqlite_url(self.study_file)

    @property
    def cache(self) -> Path:
        """Decoded images, tag classifiers and statistics, shared by all sweeps."""
        return self.root / "cache"

    def require_writable_cache(self) -> None:
        """Create the cache and write to it, before anything that takes long is computed for it.

        Raises:
            UserError: it cannot be written to.
        """
        try:
            self.cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.cache) as file:
                file.write(b"\0")
                file.flush()
        except OSError as error:
            reason = error.strerror or first_line(error)
            raise UserError(f"cannot write to cache {self.cache}: {reason}; give another --home") from error

    def sweep(self, name: str) -> Path:
        """Return the folder of a sweep: its settings, and one folder per trial."""
        return self.root / "trials" / require_sweep_name(name)

    def storage(self, name: str, location: str | None) -> Storage:
        """Return the storage of a sweep's trials: below ``location``, or in the sweep's folder if that is ``None``."""
        if location is None:
            return Storage(str(self.sweep(name).absolute()), in_place=True)
        return Storage(storage_location(location)).below(require_sweep_name(name))

    def lock(self, name: str) -> Path:
        """Return the file that the sweep's driver locks."""
        return self.root / "locks" / require_sweep_name(name)

    def artifacts(self, name: str) -> Path:
        """Return the folder of the sweep's artifacts in MLflow."""
        return self.root / "artifacts" / require_sweep_name(name)


def require_key(name: str, key: str) -> str:
    """Refuse a key that does not belong to the sweep: keys come from the tracking server and name folders."""
    if not re.fullmatch(re.escape(name) + _KEY, key):
        raise UserError(f"trial key {key!r} does not belong to sweep {name!r}, whose keys look like {name}-00000")
    return key


def require_sweep_name(name: str) -> str:
    """Refuse a name that is not safe as the name of a folder, a study and an experiment."""
    for reserved, owner in (("default", "MLflow"), (SCRATCH_NAME, "`gansweep doctor`")):
        if name.lower() == reserved:
            raise UsageError(f"sweep name {name!r} is reserved by {owner}; choose another")
    if not _SWEEP_NAME.fullmatch(name):
        raise UsageError(
            f"sweep name {name!r}; allowed: 1 to 64 letters, digits, '.', '_' and '-', beginning with a letter or digit"
        )
    return name
