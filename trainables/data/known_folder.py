"""What was found in a data folder, kept until a file of it is added, removed or changed.

A start that meets the folder as it was asks the file system for the size and the times of every file, and reads none of
them: neither images nor labels, nor the decoded pixels, whose file has a size and a time, too. Where any differ, the
folder is read again, and the pixels are checked byte by byte (``pixel_cache``). ``gansweep doctor`` always does that.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trainables.data.archives.listing import data_files
from trainables.data.archives.walk import Kind, is_folder, walk_folder
from trainables.data.defects import Defect
from trainables.data.discovery.rows import LeftOut
from trainables.data.folder import vocabulary_file
from trainables.data.pixel_cache import map_pixels
from trainables.data.tagged_images import LoadedFolder, TaggedImages
from trainables.data.tags import Vocabulary
from trainables.errors import UserError
from trainables.storage.atomic import atomic_write

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from trainables.data.images import PixelFormat
    from trainables.data.selection import Selection

_FORMAT: Final = 2
_PLAIN: Final = ("image_sizes", "tag_files", "files", "unselected", "attributes", "layout", "refusals", "fit")
"""Attributes of a ``LoadedFolder`` that JSON holds as they are, with lists for tuples."""
_DAMAGED: Final = (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError, UserError)


@dataclass(frozen=True)
class KnownFolder:
    """The record of a folder, read in one way.

    ``stamp`` changes with the name, size or time of change of any file of the folder.
    """

    folder: Path
    record: Path
    stamp: str

    @classmethod
    def of(cls, folder: Path, cache: Path, target: PixelFormat, selection: Selection) -> KnownFolder:
        """Look at the files of ``folder``; the record is for one format of pixels and one selection."""
        read_as = json.dumps([str(folder.resolve()), dataclasses.asdict(target), dataclasses.asdict(selection)])
        name = hashlib.sha256(read_as.encode(errors="surrogateescape")).hexdigest()[:16]
        return cls(folder, cache / f"folder-{name}.json", _stamp(folder))

    def load(self) -> LoadedFolder | None:
        """Return what was found; ``None`` if the folder or the pixels have changed, or the record is damaged."""
        try:
            record = json.loads(self.record.read_bytes())
            pixels = self.record.with_name(record["pixels"]["name"])
            if record["stamp"] != self.stamp or _file_stamp(pixels) != record["pixels"]["stamp"]:
                return None
            return self._assemble(record, pixels)
        except _DAMAGED:
            return None

    def _assemble(self, record: dict[str, Any], pixels: Path) -> LoadedFolder:
        about = record["images"]
        vocabulary = Vocabulary.from_json(about["vocabulary"])
        labels = np.array(about["labels"], dtype=np.int64).reshape(len(about["ids"]), len(vocabulary.groups))
        images = TaggedImages(
            vocabulary=vocabulary,
            pixels=map_pixels(pixels, tuple(record["pixels"]["shape"])),
            labels=labels,
            ids=tuple(about["ids"]),
            complete=about["complete"],
            fingerprint=about["fingerprint"],
            defects=tuple(Defect(*one) for one in about["defects"]),
            targets=tuple(about["targets"]),
        )
        plain = {name: record[name] for name in _PLAIN}
        plain |= {name: tuple(value) for name, value in plain.items() if isinstance(value, list)}
        plain["image_sizes"] = tuple(map(tuple, plain["image_sizes"]))
        return LoadedFolder(
            path=self.folder,
            images=images,
            bad=tuple(Defect(*one) for one in record["bad"]),
            left_out=tuple(LeftOut(*one) for one in record["left_out"]),
            **plain,
        )

    def save(self, loaded: LoadedFolder) -> None:
        """Write what was found.

        Raises:
            UserError: the record cannot be written.
        """
        images = loaded.images
        if images.mapped_file is None:
            return
        record = {
            "stamp": self.stamp,
            "pixels": {
                "name": images.mapped_file.name,
                "shape": images.pixels.shape,
                "stamp": _file_stamp(images.mapped_file),
            },
            "images": {
                "vocabulary": images.vocabulary.to_json(),
                "labels": images.labels.tolist(),
                "ids": images.ids,
                "complete": images.complete,
                "fingerprint": images.fingerprint,
                "defects": [dataclasses.astuple(one) for one in images.defects],
                "targets": images.targets,
            },
            "bad": [dataclasses.astuple(one) for one in loaded.bad],
            "left_out": [dataclasses.astuple(one) for one in loaded.left_out],
            **{name: getattr(loaded, name) for name in _PLAIN},
        }
        try:
            with atomic_write(self.record) as partial:
                partial.write_text(json.dumps(record))
        except OSError as error:
            raise UserError(f"cannot keep what is in {self.folder} in {self.record.parent}: {error}") from error


def _stamp(folder: Path) -> str:
    """Hash of the names, sizes and times of change of all files that are not hidden."""
    digest = hashlib.sha256(f"{_FORMAT} {version('gansweep')}".encode())
    places = [folder] if is_folder(folder) else data_files(folder)
    for place in (*places, vocabulary_file(folder)):
        lines = _entries(place) if is_folder(place) else [f"{place} {_file_stamp(place)}"]
        digest.update("\n".join(lines).encode(errors="surrogateescape"))
    return digest.hexdigest()


def _entries(folder: Path) -> Iterator[str]:
    for path, kind, entry, why in walk_folder(folder):
        link = str(Path(path).readlink()) if entry and entry.is_symlink() else ""
        stamp = "" if kind is Kind.FOLDER or entry is None else _file_stamp(entry)
        yield f"{path} {kind.value} {stamp}{link}{why}"


def _file_stamp(file: Path | os.DirEntry[str]) -> str:
    """Size and times of change; the second one changes even where a program puts the first back."""
    try:
        status = file.stat()
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
