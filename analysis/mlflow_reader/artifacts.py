"""Read images and small JSON files that trials logged."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, UnidentifiedImageError

from analysis import schema
from analysis.mlflow_reader.connect import open_tracking

if TYPE_CHECKING:
    from analysis.mlflow_reader.sweep import Sweep


class Artifacts:
    """Reads artifacts of a sweep's runs. Unreadable files are counted in ``unreadable`` instead of raising."""

    def __init__(self, sweep: Sweep) -> None:
        self.client = open_tracking(tracking=sweep.tracking)
        self.unreadable = 0

    def names(self, run_id: str, folder: str) -> list[str]:
        """Return the sorted paths of the files in a run's folder; empty if there is no such folder."""
        try:
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
            with tempfile.TemporaryDirectory() as folder:
                return Path(self.client.download_artifacts(run_id, name, folder)).read_bytes()
        except Exception:  # as above
            self.unreadable += 1
            return None
