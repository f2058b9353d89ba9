"""Checkpoints in a folder, and ways to damage them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainables.storage.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def here(folder: Path) -> Storage:
    """Return the folder as a trial's storage."""
    return Storage(str(folder), in_place=True)


def files(folder: Path) -> list[str]:
    """Return the names of the checkpoints in a folder, oldest first."""
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def flip(content: bytes) -> bytes:
    """Flip a bit in the middle of the content."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "garbage": lambda content: b"this is no checkpoint",
    "truncated": lambda content: content[: len(content) // 2],
    "without its end": lambda content: content[:-1],
    "a flipped bit": flip,
    "longer": lambda content: content + b"\0",
}
