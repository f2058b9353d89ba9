"""Class folders (``root/<class>/**/x.jpg``, also below ``train/`` and ``test/``) and the folders of two domains."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from trainables.data.archives.walk import Kind, is_folder
from trainables.data.defects import Defect
from trainables.data.discovery.columns import CLASS
from trainables.data.discovery.resolve import raw_rows
from trainables.data.discovery.rows import RawLabels
from trainables.data.layouts.base import LabelledSource, UnusableLabelsError, image_files, labelled
from trainables.data.tag_files.readers import TagRow
from trainables.data.tags import TagGroup, Vocabulary
from trainables.data.words import class_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainables.data.archives.listing import Listing

DOMAIN: Final = "domain"
"""Name of the tag group whose two classes a translation goes between."""
DOMAIN_FOLDERS: Final = (("A", "B"), ("trainA", "trainB"))
DOMAINS: Final = Vocabulary((TagGroup(DOMAIN, ("a", "b")),))
SPLITS: Final = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
_REPEATS: Final = re.compile(r"\d+_(?=.)")
"""``10_name``, where 10 is how often kohya's scripts show an image in an epoch."""
_CHUNK: Final = re.compile(r"\d{4,}")
_FEW: Final = 2
"""Images that a folder must have, in the mean, to be a class rather than one thing."""


class DomainFolders:
    """Images in subfolders ``A`` and ``B``, or ``trainA`` and ``trainB``."""

    name = "folders of two domains"

    def read(self, listing: Listing, vocabulary: Vocabulary | None) -> LabelledSource | None:
        """Read images of both folders; all others are named."""
        tops = {name.partition("/")[0] for name in listing.images if "/" in name}
        domains = next((pair for pair in DOMAIN_FOLDERS if tops.issuperset(pair)), None)
        if domains is None or (vocabulary is not None and vocabulary != DOMAINS):
            return None
        images = {
            name: file
            for name, file in image_files(listing).items()
            if "/" in name and name.partition("/")[0] in domains
        }
        others = [name for name in listing.images if name not in images]
        return LabelledSource(
            layout=self.name,
            vocabulary=DOMAINS,
            rows=tuple(TagRow(name, (domains.index(name.partition("/")[0]),)) for name in images),
            files=tuple(f"{name}/" for name in domains),
            images=images,
            defects=tuple(Defect("ignored file", name, f"in neither {domains[0]} nor {domains[1]}") for name in others),
            path_ids=True,
        )


class ClassFolders:
    """A subfolder for each class."""

    name = "class folders"

    def read(self, listing: Listing, vocabulary: Vocabulary | None) -> LabelledSource | None:
        """Read the class of each image from the first folder that is no split, no shard and not common to all.

        Raises:
            UnusableLabelsError: there are folders, and they are no classes.
        """
        folders, depth = _class_folders(listing)
        counts = Counter(folder for folder in folders.values() if folder)
        names = list(counts)
        if not names:
            return None
        if len(names) == 1:
            raise UnusableLabelsError(f"{names[0]}/ is the only folder of images; class folders are two or more")
        if len(splits := [name for name in names if name.lower() in SPLITS]) > 1:
            raise UnusableLabelsError(f"{', '.join(splits)} are splits, not classes")
        if 2 * counts.total() < len(folders):
            raise UnusableLabelsError(
                f"{counts.total():,} of {len(folders):,} images are in class folders ({', '.join(names[:3])}); "
                "the others lie beside these folders"
            )
        if all(_CHUNK.fullmatch(name) for name in names):
            raise UnusableLabelsError(f"folders {', '.join(names[:3])} are numbered parts of a data set, not classes")
        if counts.total() < _FEW * len(counts) and len(counts) > 20:
            raise UnusableLabelsError(
                f"{len(counts):,} folders hold {counts.total():,} images; a class needs {_FEW} or more in the mean"
            )
        if all(_REPEATS.match(name) for name in names):
            folders = {name: _REPEATS.sub("", folder, count=1) for name, folder in folders.items()}
        rows = raw_rows((name, CLASS, class_name(folder)) for name, folder in folders.items() if class_name(folder))
        shown = sorted({f"{folder}/" for folder in folders.values() if folder})
        labels = RawLabels(rows, defects=tuple(_empty_folders(listing, depth, set(names))))
        return labelled(self.name, listing, labels, vocabulary, shown, path_ids=True)


def _empty_folders(listing: Listing, depth: int, classes: set[str]) -> Iterator[Defect]:
    """Folders beside the class folders that have no image; those that cannot be listed are named already."""
    if not is_folder(listing.root) or listing.shards:
        return
    closed = {defect.name for defect in listing.defects if defect.kind == Kind.UNREADABLE.value}
    parents = {"/".join(name.split("/")[:depth]) for name in listing.images}
    for parent in sorted(parents):
        for folder in sorted((listing.root / parent).iterdir()) if is_folder(listing.root / parent) else ():
            if folder.name.startswith(".") or folder.name in classes or not is_folder(folder):
                continue
            if (name := folder.relative_to(listing.root).as_posix()) not in closed:
                yield Defect("class folder without images", f"{name}/")


def in_class_folders(listing: Listing, split: str) -> bool:
    """Whether most images of a split lie in two or more folders that are not numbered parts of it."""
    folders = [folder for name, folder in _class_folders(listing)[0].items() if name.startswith(f"{split}/")]
    classes = [folder for folder in folders if folder and not _CHUNK.fullmatch(folder)]
    return len(set(classes)) > 1 and 2 * len(classes) >= len(folders)


def _class_folders(listing: Listing) -> tuple[dict[str, str], int]:
    """The folder of each image that may be its class, empty where it lies in none; and how many folders are above."""
    parts = {name: name.split("/")[:-1] for name in listing.images}
    depth = 0
    if listing.shards and all(folders and folders[0] in listing.shards for folders in parts.values()):
        parts, depth = {name: folders[1:] for name, folders in parts.items()}, 1
    while len(tops := {folders[0] if folders else "" for folders in parts.values()}) and tops != {""}:
        below = {folders[1] for folders in parts.values() if len(folders) > 1}
        splits = all(top.lower() in SPLITS for top in tops)
        if not below or not (splits or len(tops) == 1):
            break
        parts, depth = {name: folders[1:] for name, folders in parts.items()}, depth + 1
    return {name: folders[0] if folders else "" for name, folders in parts.items()}, depth
