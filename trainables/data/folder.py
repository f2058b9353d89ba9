"""What lies in a data folder: picture files by id, tag files, and everything that is neither.

A folder without tags whose pictures lie in subfolders ``A`` and ``B``, or ``trainA`` and ``trainB``, is tagged by
them: one group ``domain`` with the classes ``a`` and ``b``.
"""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from trainables.data.attribute_list import attribute_vocabulary, read_attributes
from trainables.data.defects import Defect
from trainables.data.images import SUFFIXES
from trainables.data.readers import NotTagsError, TagRow, TagTable, merge, read_tags
from trainables.data.tags import REPORT_VOCABULARY, TagGroup, Vocabulary
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence, Set

VOCABULARY_FILE: Final = "vocabulary.json"
TAG_SUFFIXES: Final = frozenset({".csv", ".txt"})
DOMAIN: Final = "domain"
"""Name of the tag group whose two classes a translation goes between."""
DOMAIN_FOLDERS: Final = (("A", "B"), ("trainA", "trainB"))
DOMAINS: Final = Vocabulary((TagGroup(DOMAIN, ("a", "b")),))


@dataclass(frozen=True)
class DataFolder:
    """Picture files by id in natural order, the tags of ids (with or without a picture), and what was found wrong.

    ``attributes`` are the names of an attribute list as it has them, in the order of the vocabulary's groups; none
    where the tags come from elsewhere.
    """

    path: Path
    vocabulary: Vocabulary
    pictures: Mapping[str, Path]
    tags: Mapping[str, TagRow]
    tag_files: tuple[str, ...]
    defects: tuple[Defect, ...]
    attributes: tuple[str, ...] = ()

    @property
    def orphans(self) -> list[str]:
        """Ids that have tags and no picture file."""
        return [name for name in self.tags if name not in self.pictures]


def scan_folder(folder: Path, vocabulary: Vocabulary = REPORT_VOCABULARY) -> DataFolder:
    """List a data folder and read its tags, in the words of its ``vocabulary.json`` or else of ``vocabulary``.

    Pictures may lie anywhere below it; tag files, or an attribute list, and ``vocabulary.json`` lie at its top. Hidden
    files are passed over, links that lead out of the folder are not followed.

    Raises:
        UserError: no such folder, no picture in it, or a tag file or vocabulary that cannot be read.
    """
    files, defects = list_files(folder)
    pictures: list[Path] = []
    texts: list[Path] = []
    for path in files:
        if path.suffix.lower() in SUFFIXES:
            pictures.append(path)
        elif path.parent == folder and path.suffix.lower() in TAG_SUFFIXES:
            texts.append(path)
        elif path == folder / VOCABULARY_FILE:
            vocabulary = Vocabulary.from_file(path)
        else:
            name = path.relative_to(folder).as_posix()
            defects.append(Defect("ignored file", name, "no picture and no tag file at the top"))
    if not pictures:
        links = sorted(defect.name for defect in defects if defect.kind == "link not followed")
        unfollowed = f"; links out of the folder are not followed: {', '.join(links[:3])}" if links else ""
        raise UserError(
            f"data folder {folder} has no pictures; looked for {', '.join(sorted(SUFFIXES))} below it{unfollowed}"
        )
    attributes, tables, ignored = _read_texts(texts, vocabulary, {_stem(path) for path in pictures})
    defects += ignored
    if not tables and (domains := _domain_folders(folder, pictures)):
        return _by_domain(folder, pictures, domains, defects)
    if attributes:
        vocabulary = attribute_vocabulary(attributes)
    tags, conflicts = merge([row for table in tables.values() for row in table.rows])
    problems = [problem for table in tables.values() for problem in table.problems]
    named, repeats = _by_id(folder, [(_stem(path), path) for path in pictures])
    found = (*defects, *repeats, *problems, *conflicts)
    return DataFolder(folder, vocabulary, named, tags, tuple(tables), found, attributes)


def _stem(path: Path) -> str:
    return unicodedata.normalize("NFC", path.stem)


def _path_id(folder: Path, path: Path) -> str:
    return unicodedata.normalize("NFC", path.relative_to(folder).with_suffix("").as_posix())


def _by_id(folder: Path, files: Sequence[tuple[str, Path]]) -> tuple[dict[str, Path], list[Defect]]:
    """Files by id in natural order: the first of those of one id, the others are named."""
    pictures: dict[str, Path] = {}
    repeats = []
    for name, path in files:
        if pictures.setdefault(name, path) is not path:
            first = pictures[name].relative_to(folder)
            repeats.append(Defect("same id twice", path.relative_to(folder).as_posix(), f"{first} is used"))
    return {name: pictures[name] for name in sorted(pictures, key=natural_key)}, repeats


def _domain_folders(folder: Path, pictures: Sequence[Path]) -> tuple[str, str] | None:
    """Names of the two subfolders that are domains, if there are such."""
    tops = {path.relative_to(folder).parts[0] for path in pictures if path.parent != folder}
    return next((pair for pair in DOMAIN_FOLDERS if tops.issuperset(pair)), None)


def _by_domain(
    folder: Path, pictures: Sequence[Path], domains: tuple[str, str], defects: Sequence[Defect]
) -> DataFolder:
    """Ids are paths: most pairs of folders use the same file names in both, and subfolders of one may too."""
    within = [(path, path.relative_to(folder).parts[0]) for path in pictures]
    within = [(path, top) for path, top in within if top in domains and path.parent != folder]
    named, repeats = _by_id(folder, [(_path_id(folder, path), path) for path, _ in within])
    kept = {path for path, _ in within}
    others = [
        Defect("ignored file", path.relative_to(folder).as_posix(), f"in neither {domains[0]} nor {domains[1]}")
        for path in pictures
        if path not in kept
    ]
    tags = {name: TagRow(name, (domains.index(name.partition("/")[0]),)) for name in named}
    files = tuple(f"{name}/" for name in domains)
    return DataFolder(folder, DOMAINS, named, tags, files, (*defects, *others, *repeats))


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


def _read_texts(
    texts: list[Path], vocabulary: Vocabulary, stems: Set[str]
) -> tuple[tuple[str, ...], dict[str, TagTable], list[Defect]]:
    """Names of attributes, tables by file, and the files that are not used: an attribute list beside tags is none."""
    lists = {path: found for path in texts if (found := read_attributes(path))}
    tables, ignored = _tag_tables([path for path in texts if path not in lists], vocabulary, stems)
    attributes: tuple[str, ...] = ()
    if lists and not tables:
        first = next(iter(lists))
        attributes, table = lists.pop(first)
        tables = {first.name: table}
    used = ", ".join(tables)
    ignored += [Defect("ignored file", path.name, f"attribute list; the tags are those of {used}") for path in lists]
    return attributes, tables, ignored


def _tag_tables(texts: list[Path], vocabulary: Vocabulary, stems: Set[str]) -> tuple[dict[str, TagTable], list[Defect]]:
    """Read the tag files among ``texts``; the others are named."""
    tables: dict[str, TagTable] = {}
    ignored: list[Defect] = []
    for path in texts:
        try:
            tables[path.name] = read_tags(path, vocabulary)
        except NotTagsError as error:
            ignored.append(Defect("ignored file", path.name, str(error)))
    prompts = [name for name, table in tables.items() if _looks_like_prompts(table, stems)]
    # Were all of them prompts, they are more likely the tags of other pictures: better a refusal that counts those.
    if len(prompts) < len(tables):
        for name in prompts:
            rows = tables.pop(name).rows
            found = sum(row.id in stems for row in rows)
            ignored.append(
                Defect("ignored file", name, f"prompts: numbered 1 to {len(rows)}, {found} of them name a picture")
            )
    return tables, ignored


def _looks_like_prompts(table: TagTable, stems: Set[str]) -> bool:
    """Whether ids merely count lines, as in a prompt file: its text is otherwise that of a tag file."""
    ids = [row.id for row in table.rows]
    counted = ids == [str(number) for number in range(1, len(ids) + 1)]
    return counted and 2 * sum(name in stems for name in ids) < len(ids)
