"""Where everything of a user's sweeps lives: one home folder."""

from __future__ import annotations

import fcntl
import re
import uuid
from dataclasses import dataclass
from pathlib import Path

from analysis.connect import tracking_uri
from trainables.errors import UsageError, UserError, first_line
from trainables.storage import Storage, storage_location

_KEY = r"-\d{5,}(-c\d{2,}(-k\d+)?|-a-[a-z][a-z0-9_.-]*-\d{2,}(-k\d+)?)?"
"""What follows the sweep's name in the key of a trial, a confirmation or an ablation."""
_SWEEP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Home:
    """The databases, caches and trial folders below one folder."""

    root: Path

    @classmethod
    def find(cls, folder: Path | None) -> Home:
        """``folder``, else ``$GANSWEEP_HOME``, else ``./gansweep-runs``."""
        return cls(Path(tracking_uri(folder).removeprefix("sqlite:///")).parent)

    def identity(self) -> str:
        """A random id, kept in the file ``home.id``: it moves with the home, and no two homes share one.

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
    def tracking(self) -> str:
        """URI of the local MLflow database."""
        return tracking_uri(self.root)

    @property
    def study(self) -> str:
        """URL of the local Optuna database."""
        return f"sqlite:///{self.root / 'optuna.db'}"

    @property
    def cache(self) -> Path:
        """Decoded pictures, judges and statistics, shared by all sweeps."""
        return self.root / "cache"

    def sweep(self, name: str) -> Path:
        """Folder of one sweep: its settings, and one folder per trial."""
        return self.root / "trials" / require_sweep_name(name)

    def storage(self, name: str, location: str | None) -> Storage:
        """Where a sweep's trials keep their files, a folder each: below ``--storage``, else in the sweep's folder."""
        if location is None:
            return Storage(str(self.sweep(name).absolute()), in_place=True)
        return Storage(storage_location(location)).below(require_sweep_name(name))

    def lock(self, name: str) -> Path:
        """File that the sweep's driver holds."""
        return self.root / "locks" / require_sweep_name(name)

    def artifacts(self, name: str) -> Path:
        """Where MLflow keeps the sweep's artifacts."""
        return self.root / "artifacts" / require_sweep_name(name)


def require_key(name: str, key: str) -> str:
    """Refuse a key that is none of the sweep's: keys come from the tracking server, and name folders."""
    if not re.fullmatch(re.escape(name) + _KEY, key):
        raise UserError(f"trial key {key!r} is none of sweep {name!r}, whose keys look like {name}-00000")
    return key


def require_sweep_name(name: str) -> str:
    """Refuse a name that could not safely be a folder, a study and an experiment."""
    if name.lower() == "default":
        raise UsageError("sweep name 'default' is taken by MLflow itself; take another")
    if not _SWEEP_NAME.fullmatch(name):
        raise UsageError(
            f"sweep name {name!r}; allowed: 1 to 64 letters, digits, '.', '_' and '-', beginning with a letter or digit"
        )
    return name
