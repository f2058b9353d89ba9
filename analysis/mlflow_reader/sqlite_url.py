"""URLs of SQLite files, and back: the only place where a path becomes a URL, so that any letter of a path is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from analysis.errors import AnalysisUsageError

_DRIVER: Final = "sqlite+pysqlite"
"""MLflow creates the parent folder of the undecoded path of a URL that begins with ``sqlite:///``."""


def sqlite_url(file: Path) -> str:
    """Return the URL of a SQLite file, with the letters quoted that have a meaning in URLs.

    Raises:
        AnalysisUsageError: a path with a control character, or one that is not text in UTF-8.
    """
    from sqlalchemy import URL

    require_text(file.parent)
    path = str(file)
    plain = f"sqlite:///{path}"
    url = URL.create("sqlite", database=path).render_as_string()
    return plain if url == plain else URL.create(_DRIVER, database=path).render_as_string()


def require_text(folder: Path) -> None:
    """Check that a folder's path can be written in a URL.

    Raises:
        AnalysisUsageError: a path with a control character, or one that is not text in UTF-8.
    """
    if any(ord(letter) < 32 or ord(letter) == 127 or 0xD800 <= ord(letter) < 0xE000 for letter in str(folder)):
        raise AnalysisUsageError(
            f"home {str(folder)!a} contains a control character or bytes that are not UTF-8; give another --home"
        )


def sqlite_file(url: str) -> Path | None:
    """Return the file of a SQLite URL; ``None`` if it is the URL of something else, or of a database in memory."""
    if not url.startswith(("sqlite:", "sqlite+")):
        return None
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parts = make_url(url)
    except ArgumentError:
        return None
    name = parts.database
    return None if not name or name == ":memory:" or "uri" in parts.query else Path(name)
