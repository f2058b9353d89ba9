"""What is saved with a sweep, settings and checksums of its images, and the check that a restart changes neither."""

from __future__ import annotations

import dataclasses
import json
import zlib
from typing import TYPE_CHECKING, Any

from pipeline.settings import AUTO_PLACEMENT, RESUME_OVERRIDES, SweepSettings
from search_spaces.space import without_prose
from trainables.config import GanConfig
from trainables.data.addresses import as_address
from trainables.errors import UserError
from trainables.storage.atomic import write_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from search_spaces.space import Space
    from trainables.data.dataset import TaggedImages


SETTINGS_FILE = "sweep.json"
PICTURES_FILE = "pictures.json"
"""Beside the sweep's settings: the vocabulary, and for each image a checksum of its pixels and its tags."""
SHOWN = 3
"""Most names shown for each kind of change."""


def require_same_sweep(
    path: Path, settings: SweepSettings, space: Space, images: TaggedImages, given: SweepSettings | None = None
) -> None:
    """Save what defines a sweep; refuse a name that is used by another sweep.

    Args:
        path: the saved settings.
        settings: with the resources that placement decided.
        space: searched space.
        images: the data.
        given: the settings before placement.

    Raises:
        UserError: the saved sweep differs, with the first differences.
    """
    mine = {
        "settings": {name: value for name, value in settings.to_json().items() if name not in RESUME_OVERRIDES},
        "space": space.to_json(),
        "data": images.fingerprint,
    }
    # Resuming may happen in another folder, and must not adopt the sweep again.
    own = {
        "concurrent": settings.concurrent,
        "data": as_address(settings.data) or str(settings.data.resolve()),
        "adopt": False,
    }
    asked = {name: getattr(given or settings, name) for name in AUTO_PLACEMENT}
    full = {**mine, "started_with": {**settings.public(), **own}, "asked": asked}
    if not path.exists():
        write_images(path.parent, images)
        write_json(path, full)
        return
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        before = {name: saved.get(name) for name in mine}
        options = dict(before["settings"])
        space_before = without_prose(before["space"])
        # Parameters added since the sweep began have the default with which they change nothing.
        space_before["recipe"] = {**GanConfig().to_params(), **space_before["recipe"]}
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    changed = differences(options, json.loads(json.dumps(mine["settings"])))
    if changed:
        first = [f"{option} ({old}, now {new})" for option, (old, new) in changed.items()][:3]
        raise UserError(
            f"sweep {settings.name!r} exists with another {'; '.join(first)}; "
            "use another --name, or the same settings to continue it"
        )
    if before["data"] != mine["data"]:
        what = data_changes(path.parent, images) or f"fingerprint {before['data']}, now {mine['data']}"
        raise UserError(
            f"data folder {settings.data} is not what sweep {settings.name!r} began with: {what}; restore it to "
            "continue, or use another --name"
        )
    if space_before != without_prose(json.loads(json.dumps(mine["space"]))):
        raise UserError(
            f"sweep {settings.name!r} exists with another space (its dimensions or recipe have changed); use another "
            "--name, or the version of gansweep that started it"
        )


def keep_automatic(settings: SweepSettings, path: Path) -> SweepSettings:
    """Return the settings of a sweep that is continued, with the saved choice where they say ``auto``.

    A sweep keeps its precision on another processor; versions before the scheduler ``auto`` saved the name of their
    default.

    Args:
        settings: as given.
        path: the saved settings; ``require_same_sweep`` reports what cannot be read.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(SweepSettings)}
    open_names = [name for name in ("scheduler", "precision") if getattr(settings, name) == "auto"]
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))["settings"]
        return dataclasses.replace(settings, **{name: saved.get(name, defaults[name]) for name in open_names})
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return settings


def differences(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the options in which two saved settings differ, with the value in each.

    An option that an earlier version did not have counts as its default.
    """
    fields = dataclasses.fields(SweepSettings)
    defaults = {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}
    before = {**json.loads(json.dumps(defaults)), **old}
    return {
        f"--{name.replace('_', '-')}": (before.get(name), value)
        for name, value in new.items()
        if before.get(name) != value
    }


def write_images(folder: Path, images: TaggedImages) -> None:
    """Write the checksums of the images."""
    write_json(folder / PICTURES_FILE, _checksums(images))


def data_changes(folder: Path, images: TaggedImages) -> str:
    """Compare images with those of the start, e.g. ``1 image added (new), 2 altered (7, 9)``; ``""`` if unknown."""
    try:
        saved = json.loads((folder / PICTURES_FILE).read_text(encoding="utf-8"))
        before = {str(name): list(mark) for name, mark in dict(saved["pictures"]).items()}
        vocabulary = saved["vocabulary"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
    now = _checksums(images)["pictures"]
    kept = [name for name in now if name in before]
    kinds = {
        "added": [name for name in now if name not in before],
        "removed or unreadable": [name for name in before if name not in now],
        "altered": [name for name in kept if before[name][:1] != now[name][:1]],
        "with other tags": [name for name in kept if before[name][1:] != now[name][1:]],
    }
    changes = [f"{_images(names)} {kind} ({_some(names)})" for kind, names in kinds.items() if names]
    return ", ".join([*changes, *(["another tag vocabulary"] if vocabulary != images.vocabulary.hash else [])])


def _checksums(images: TaggedImages) -> dict[str, Any]:
    marks = {
        name: [zlib.crc32(pixels.tobytes()), images.vocabulary.describe(labels)]
        for name, pixels, labels in zip(images.ids, images.pixels, images.labels.tolist(), strict=True)
    }
    return {"vocabulary": images.vocabulary.hash, "pictures": marks}


def _images(names: Sequence[str]) -> str:
    return f"{len(names)} image{'s' * (len(names) != 1)}"


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"
