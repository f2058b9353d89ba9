"""Where everything of a user's sweeps lives: one home folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from analysis.connect import tracking_uri
from trainables.errors import UsageError, UserError

_SWEEP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Home:
    """The databases, caches and trial folders below one folder."""

    root: Path

    @classmethod
    def find(cls, folder: Path | None) -> Home:
        """``folder``, else ``$GANSWEEP_HOME``, else ``./gansweep-runs``."""
        return cls(Path(tracking_uri(folder).removeprefix("sqlite:///")).parent)

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

    def trial(self, name: str, key: str) -> Path:
        """Folder of one trial; keys come from the tracking server, so they are checked."""
        if not re.fullmatch(re.escape(name) + r"-\d{5,}", key):
            raise UserError(f"trial key {key!r} is none of sweep {name!r}, whose keys look like {name}-00000")
        return self.sweep(name) / key

    def lock(self, name: str) -> Path:
        """File that the sweep's driver holds."""
        return self.root / "locks" / require_sweep_name(name)

    def artifacts(self, name: str) -> Path:
        """Where MLflow keeps the sweep's artifacts."""
        return self.root / "artifacts" / require_sweep_name(name)


def require_sweep_name(name: str) -> str:
    """Refuse a name that could not safely be a folder, a study and an experiment."""
    if name.lower() == "default":
        raise UsageError("sweep name 'default' is taken by MLflow itself; take another")
    if not _SWEEP_NAME.fullmatch(name):
        raise UsageError(
            f"sweep name {name!r}; allowed: 1 to 64 letters, digits, '.', '_' and '-', beginning with a letter or digit"
        )
    return name
