"""What lies in a data folder: picture files by id, tag files, and everything that is neither."""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from trainables.data.defects import Defect
from trainables.data.images import SUFFIXES
from trainables.data.readers import NotTagsError, TagRow, TagTable, merge, read_tags
from trainables.data.tags import REPORT_VOCABULARY, Vocabulary
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VOCABULARY_FILE: Final = "vocabulary.json"
TAG_SUFFIXES: Final = frozenset({".csv", ".txt"})


@dataclass(frozen=True)
class DataFolder:
    """Picture files by id in natural order, the tags of ids (with or without a picture), and what was found wrong."""

    path: Path
    vocabulary: Vocabulary
    pictures: Mapping[str, Path]
    tags: Mapping[str, TagRow]
    tag_files: tuple[str, ...]
    defects: tuple[Defect, ...]

    @property
    def orphans(self) -> list[str]:
        """Ids that have tags and no picture file."""
        return [name for name in self.tags if name not in self.pictures]


def scan_folder(folder: Path, vocabulary: Vocabulary = REPORT_VOCABULARY) -> DataFolder:
    """List a data folder and read its tags, in the words of its ``vocabulary.json`` or else of ``vocabulary``.

    Pictures may lie anywhere below it; tag files and ``vocabulary.json`` lie at its top. Hidden files are passed
    over, links that lead out of the folder are not followed.

    Raises:
        UserError: no such folder, no picture in it, or a tag file or vocabulary that cannot be read.
    """
    files, defects = list_files(folder)
    pictures: dict[str, Path] = {}
    texts: list[Path] = []
    for path in files:
        name = path.relative_to(folder).as_posix()
        stem = unicodedata.normalize("NFC", path.stem)
        if path.suffix.lower() in SUFFIXES:
            if pictures.setdefault(stem, path) is not path:
                defects.append(Defect("same id twice", name, f"{pictures[stem].relative_to(folder)} is used"))
        elif path.parent == folder and path.suffix.lower() in TAG_SUFFIXES:
            texts.append(path)
        elif name == VOCABULARY_FILE:
            vocabulary = Vocabulary.from_file(path)
        else:
            defects.append(Defect("ignored file", name, "no picture and no tag file at the top"))
    if not pictures:
        raise UserError(f"data folder {folder} has no pictures; looked for {', '.join(sorted(SUFFIXES))} below it")
    tables, ignored = _tag_tables(texts, vocabulary, pictures)
    tags, conflicts = merge([row for table in tables.values() for row in table.rows])
    problems = [problem for table in tables.values() for problem in table.problems]
    ordered = {name: pictures[name] for name in sorted(pictures, key=natural_key)}
    return DataFolder(folder, vocabulary, ordered, tags, tuple(tables), (*defects, *ignored, *problems, *conflicts))


def natural_key(text: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key by which "9" comes before "10"."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    return [(0, int(part), "") if part[0] in "0123456789" else (1, 0, part) for part in parts], text


def list_files(folder: Path) -> tuple[list[Path], list[Defect]]:
    """All files of a folder that are not hidden, in natural order, and the links that were not followed.

    Raises:
        UserError: no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"data folder {folder} {'is not a folder' if folder.exists() else 'does not exist'}")
    root = folder.resolve()
    files, defects = [], []
    for path in _walk(folder):
        if path.is_symlink() and (path.is_dir() or not path.resolve().is_relative_to(root)):
            defects.append(Defect("link not followed", path.relative_to(folder).as_posix(), str(path.readlink())))
        else:
            files.append(path)
    return sorted(files, key=lambda path: natural_key(path.relative_to(folder).as_posix())), defects


def _walk(folder: Path) -> Iterator[Path]:
    """Files and links to folders, without what is hidden."""
    for top, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if Path(top, name).is_symlink()]
        yield from (Path(top, name) for name in (*links, *names) if not name.startswith("."))


def _tag_tables(
    texts: list[Path], vocabulary: Vocabulary, pictures: Mapping[str, Path]
) -> tuple[dict[str, TagTable], list[Defect]]:
    """Read the tag files among ``texts``; the others are named."""
    tables: dict[str, TagTable] = {}
    ignored: list[Defect] = []
    for path in texts:
        try:
            tables[path.name] = read_tags(path, vocabulary)
        except NotTagsError as error:
            ignored.append(Defect("ignored file", path.name, str(error)))
    prompts = [name for name, table in tables.items() if _looks_like_prompts(table, pictures)]
    # Were all of them prompts, they are more likely the tags of other pictures: better a refusal that counts those.
    if len(prompts) < len(tables):
        for name in prompts:
            rows = tables.pop(name).rows
            found = sum(row.id in pictures for row in rows)
            ignored.append(
                Defect("ignored file", name, f"prompts: numbered 1 to {len(rows)}, {found} of them name a picture")
            )
    return tables, ignored


def _looks_like_prompts(table: TagTable, pictures: Mapping[str, Path]) -> bool:
    """Whether ids merely count lines, as in a prompt file: its text is otherwise that of a tag file."""
    ids = [row.id for row in table.rows]
    counted = ids == [str(number) for number in range(1, len(ids) + 1)]
    return counted and 2 * sum(name in pictures for name in ids) < len(ids)
