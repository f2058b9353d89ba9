"""Pictures and small JSON files that trials logged."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, UnidentifiedImageError

from analysis import schema
from analysis.connect import open_tracking

if TYPE_CHECKING:
    from analysis.runs import Sweep


class Artifacts:
    """Reads artifacts of a sweep's runs. What cannot be read is counted in ``unreadable``, not raised."""

    def __init__(self, sweep: Sweep) -> None:
        self.client = open_tracking(tracking=sweep.tracking)
        self.unreadable = 0

    def names(self, run_id: str, folder: str) -> list[str]:
        """Paths of the files of a run's folder, sorted; none where it has no such folder."""
        try:
            return sorted(entry.path for entry in self.client.list_artifacts(run_id, folder) if not entry.is_dir)
        except Exception:  # every kind of artifact store has errors of its own
            self.unreadable += 1
            return []

    def picture(self, run_id: str, name: str) -> Image.Image | None:
        """A picture, decoded."""
        content = self._content(run_id, name)
        if content is not None:
            try:
                with tempfile.TemporaryFile() as file:
                    file.write(content)
                    with Image.open(file) as picture:
                        return picture.convert("RGB")
            except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
                self.unreadable += 1
        return None

    def json(self, run_id: str, name: str) -> dict[str, Any]:
        """A JSON object; empty where the file is no such thing."""
        content = self._content(run_id, name)
        try:
            found = json.loads(content) if content is not None else {}
        except ValueError:
            found = None
        if not isinstance(found, dict):
            self.unreadable += 1
            return {}
        return found

    def last_sample(self, run_id: str) -> Image.Image | None:
        """The last sample grid of a trial."""
        names = self.names(run_id, schema.SAMPLES_FOLDER)
        return self.picture(run_id, names[-1]) if names else None

    def _content(self, run_id: str, name: str) -> bytes | None:
        try:
            with tempfile.TemporaryDirectory() as folder:
                return Path(self.client.download_artifacts(run_id, name, folder)).read_bytes()
        except Exception:  # as above
            self.unreadable += 1
            return None
