"""Read images and small JSON files that trials logged."""

from __future__ import annotations

import contextlib
import json
import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, UnidentifiedImageError

from analysis import schema
from analysis.mlflow_reader.bulk import Database
from analysis.mlflow_reader.connect import open_tracking, require_reachable, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from analysis.mlflow_reader.sweep import Sweep


class Artifacts:
    """Reads artifacts of a sweep's runs. Unreadable files are counted in ``unreadable`` instead of raising.

    Local files of runs in a database are read without MLflow, whose import takes seconds.
    """

    def __init__(self, sweep: Sweep) -> None:
        self.uri = tracking_uri(tracking=sweep.tracking)
        require_reachable(self.uri)
        self.database = Database(self.uri) if Database.behind(self.uri) else None
        self.unreadable = 0

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's client, for files that are not local."""
        return open_tracking(tracking=self.uri)

    def names(self, run_id: str, folder: str) -> list[str]:
        """Return the sorted paths of the files in a run's folder; empty if there is no such folder."""
        try:
            if (local := self._folder(run_id)) is not None:
                files = (local / folder).iterdir() if (local / folder).is_dir() else ()
                return sorted(file.relative_to(local).as_posix() for file in files if not file.is_dir())
            return sorted(entry.path for entry in self.client.list_artifacts(run_id, folder) if not entry.is_dir)
        except Exception:  # each kind of artifact store raises errors of its own
            self.unreadable += 1
            return []

    def image(self, run_id: str, name: str) -> Image.Image | None:
        """Return a decoded image; ``None`` if it cannot be read."""
        content = self.content(run_id, name)
        if content is not None:
            try:
                with tempfile.TemporaryFile() as file:
                    file.write(content)
                    with Image.open(file) as image:
                        return image.convert("RGB")
            except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
                self.unreadable += 1
        return None

    def json(self, run_id: str, name: str) -> dict[str, Any]:
        """Return a JSON object; empty if the file is missing or not a JSON object."""
        content = self.content(run_id, name)
        try:
            value = json.loads(content) if content is not None else {}
        except ValueError:
            value = None
        if not isinstance(value, dict):
            self.unreadable += 1
            return {}
        return value

    def last_sample(self, run_id: str) -> Image.Image | None:
        """Return the last sample grid of a trial."""
        names = self.names(run_id, schema.SAMPLES_FOLDER)
        return self.image(run_id, names[-1]) if names else None

    def content(self, run_id: str, name: str) -> bytes | None:
        """Return the bytes of a file; ``None`` if it cannot be read."""
        try:
            if (local := self._folder(run_id)) is not None:
                return (local / name).read_bytes()
            with tempfile.TemporaryDirectory() as folder:
                return Path(self.client.download_artifacts(run_id, name, folder)).read_bytes()
        except Exception:  # as above
            self.unreadable += 1
            return None

    def _folder(self, run_id: str) -> Path | None:
        """Return the local folder of a run's artifacts; ``None`` if MLflow has to find them."""
        if self.database is not None:
            from sqlalchemy.exc import SQLAlchemyError

            with contextlib.suppress(SQLAlchemyError):
                return self.database.artifact_folder(run_id)
        return None
