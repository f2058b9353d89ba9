"""Remove a whole sweep: study, MLflow experiment, trials and settings."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.mlflow_reader.connect import readable_errors, redact_uri
from analysis.script import print_answer
from pipeline.home import Home
from pipeline.search.study import delete_study, has_study
from pipeline.sweep.resume import resume_settings
from pipeline.sweep.saved_settings import SETTINGS_FILE
from pipeline.sweep_lock import lock_sweep
from pipeline.tracking.client import open_client
from pipeline.tracking.ownership import delete_experiment, require_own_experiment
from trainables.errors import UsageError, UserError, first_line

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.cli.options import CleanOptions
    from trainables.storage.storage import Storage


@dataclass(frozen=True)
class Parts:
    """The parts of a sweep that exist."""

    home: Home
    name: str
    tracking: str | None
    """MLflow tracking URI; ``None``: there is no experiment."""
    study: str | None
    """Storage URL; ``None``: there is no study."""
    storage: Storage
    files: int
    """Number of files in the storage."""
    folders: tuple[Path, ...]
    """Folders of settings and artifacts, in this order."""
    damage: str = ""
    """Why its settings, which name what lies elsewhere, cannot be read."""

    @property
    def described(self) -> list[str]:
        """The parts in words, with their places."""
        words = [f"{self.files} files in {self.storage.location}"] if self.files else []
        words += [f"folder {folder}" for folder in self.folders]
        words += [f"study in {redact_uri(self.study)}"] if self.study else []
        words += [f"experiment in {redact_uri(self.tracking)}"] if self.tracking else []
        return words


def find_parts(home: Home, name: str, tracking: str | None, study: str | None) -> Parts:
    """Find what there is of a sweep, also of one whose start failed.

    Raises:
        UsageError: there is no such sweep, or a password is missing.
        UserError: a database or storage does not answer, or the experiment is another home's.
    """
    location, damage = None, ""
    if (home.sweep(name) / SETTINGS_FILE).is_file():
        try:
            settings = resume_settings(name, home.root, tracking=tracking, study=study)
            tracking, study, location = settings.tracking, settings.study, settings.storage
        except UsageError:
            raise
        except UserError as error:
            damage = f"what it may have outside of this home stays: {error}"
    storage = home.storage(name, location)
    folders = tuple(path for path in (home.sweep(name), home.artifacts(name)) if path.is_dir())
    parts = Parts(
        home=home,
        name=name,
        tracking=_tracking(home, name, tracking),
        study=_study(home, name, study),
        storage=storage,
        files=len(storage.list()),
        folders=folders,
        damage=damage,
    )
    if not parts.described:
        raise UsageError(f"no sweep {name!r} in home {home.root}; `gansweep list` shows what there is")
    return parts


def _tracking(home: Home, name: str, tracking: str | None) -> str | None:
    if tracking is None and not home.tracking_file.is_file():
        return None
    client = open_client(home, tracking)
    with readable_errors(client.tracking_uri):
        known = client.get_experiment_by_name(name)
        if known is not None and known.lifecycle_stage != "deleted":
            require_own_experiment(client, home, name)
        return None if known is None else str(client.tracking_uri)


def _study(home: Home, name: str, study: str | None) -> str | None:
    if study is None and not home.study_file.is_file():
        return None
    url = study or home.study
    return url if has_study(url, name) else None


def remove_sweep(parts: Parts) -> None:
    """Remove a sweep; its settings go last, so that a removal that was interrupted can be repeated.

    The lock file stays: a process that waits for the lock of a deleted file would not exclude one that makes a new one.

    Raises:
        UserError: a driver runs the sweep, or a part cannot be removed.
    """
    with lock_sweep(parts.home, parts.name):
        if parts.tracking is not None:
            with readable_errors(parts.tracking):
                delete_experiment(open_client(parts.home, parts.tracking), parts.home, parts.name)
        if parts.study is not None:
            delete_study(parts.study, parts.name)
        if parts.files and parts.storage.location not in (str(folder.absolute()) for folder in parts.folders):
            parts.storage.delete_folder("")
        try:
            for folder in reversed(parts.folders):
                _delete_folder(folder, last=SETTINGS_FILE)
        except OSError as error:
            raise UserError(f"cannot remove {error.filename}: {error.strerror or first_line(error)}") from error


def _delete_folder(folder: Path, last: str) -> None:
    """Delete a folder, and the file ``last`` in it after all else."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == last):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    folder.rmdir()


def remove_whole_sweep(options: CleanOptions) -> int:
    """Run ``gansweep clean --all``.

    Raises:
        UsageError: there is no such sweep, or stdin, on which to ask, is no terminal.
        UserError: a driver runs the sweep, or a part cannot be found or removed.
    """
    parts = find_parts(Home.find(options.home), options.name, options.tracking, options.study)
    what = f"sweep {options.name}: {', '.join(parts.described)}"
    if parts.damage:
        print(parts.damage, file=sys.stderr)
    removed = not options.dry_run and (options.yes or _is_agreed(f"remove {what}?"))
    if removed:
        remove_sweep(parts)
    summary = f"{'removed' if removed else 'would remove' if options.dry_run else 'kept'} {what}"
    about = {"sweep": options.name, "dry_run": options.dry_run, "removed": removed, "parts": parts.described}
    print_answer(about, summary, as_json=options.json)
    return 0 if removed or options.dry_run else 1


def _is_agreed(question: str) -> bool:
    """Ask on the terminal."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("--all asks before it removes a sweep, and stdin is no terminal; give --yes")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
