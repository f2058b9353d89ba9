"""Which image an id means: a path below the root, with or without suffix and leading folders, where that is clear."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from trainables.data.images import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


_DEPTH: Final = 32
"""Folders of a path that are looked at, the last ones: a stranger's path may have thousands."""


class Matcher:
    """Looks ids up among the paths of images."""

    def __init__(self, images: Iterable[str]) -> None:
        self._images = list(images)
        self._exact = set(self._images)
        self._bare: dict[str, list[str]] = {}
        self._stems: dict[str, list[str]] = {}
        folders = {name.rpartition("/")[0] for name in self._images}
        self._folders = {run for folder in folders for run in _runs(folder)}
        for name in self._images:
            self._bare.setdefault(without_suffix(name), []).append(name)
            self._stems.setdefault(without_suffix(name).rpartition("/")[2], []).append(name)

    def find(self, key: str) -> list[str]:
        """Images that an id fits: one where it is clear, several where it is not.

        The whole path decides; else the longest part of it, from the file's name upwards, that fits any image. An id
        in ``train/`` never means an image in ``test/``: of folders that it names, those of images count.
        """
        if key in self._exact:
            return [key]
        bare = without_suffix(key)
        for name in (key, bare):
            if name in self._bare:
                return self._bare[name]
        parts = bare.split("/")
        nearby = self._stems.get(parts[-1]) or self._stems.get(key.rpartition("/")[2], [])
        if folder := next((run for run in _runs("/".join(parts[:-1])) if run in self._folders), ""):
            nearby = [name for name in nearby if f"/{folder}/" in f"/{name}"]
        if len(nearby) < 2:
            return nearby
        for start in range(len(parts)):
            tail = "/" + "/".join(parts[start:])
            if fitting := [name for name in nearby if f"/{without_suffix(name)}".endswith(tail)]:
                return fitting
        return nearby

    def ids(self, *, whole: bool) -> dict[str, str]:
        """An id for every image, by name: the stem, or with ``whole`` the path, or more where that is not unique."""
        bare = {name: without_suffix(name) for name in self._images}
        stems = {name: path.rpartition("/")[2] for name, path in bare.items()}
        paths, short = Counter(bare.values()), Counter(stems.values())
        ids = {}
        for name in self._images:
            path = bare[name] if paths[bare[name]] == 1 else name
            ids[name] = stems[name] if not whole and short[stems[name]] == 1 else path
        return ids


def _runs(folder: str) -> Iterator[str]:
    """Parts of a path that are paths: those that begin with its first folder first, of these the longest first."""
    parts = folder.split("/")[-_DEPTH:] if folder else []
    for start in range(len(parts)):
        for end in range(len(parts), start, -1):
            yield "/".join(parts[start:end])


def without_suffix(name: str) -> str:
    """A path without the suffix of an image."""
    stem, _, suffix = name.rpartition(".")
    return stem if f".{suffix.lower()}" in SUFFIXES and stem and not stem.endswith("/") else name
