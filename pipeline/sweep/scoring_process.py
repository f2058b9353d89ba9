"""The process that prepares the scoring of a sweep in the home's cache: ``python -m pipeline.sweep.scoring_process``.

Reads a request from standard input: ``settings`` of the sweep, ``fingerprint`` of its images, and ``driver``, the
process number of the sweep's driver, with which it ends. Writes lines of progress to standard output, and the reason of
a failure to standard error.
"""

from __future__ import annotations

import functools
import json
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console

from pipeline.console import show_stage
from pipeline.settings import SweepSettings
from pipeline.signals import end_with_parent
from pipeline.sweep.images import load_images
from pipeline.sweep.resolve import resolve_sweep
from pipeline.sweep.scoring import prepare_scoring
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

UPDATE_SECONDS = 2.0
"""Seconds between two lines of progress."""


def main(request: Mapping[str, Any]) -> None:
    """Prepare the scoring.

    Raises:
        UserError: it cannot be prepared, or the images are no longer those of the request.
    """
    end_with_parent(request["driver"])
    sweep = resolve_sweep(SweepSettings.from_json(request["settings"]))
    images = load_images(sweep.data, sweep.space, sweep.places.home.cache)
    if images.fingerprint != request["fingerprint"]:
        raise UserError(f"the images of {sweep.data.folder} changed while the sweep started")
    console = Console(file=sys.stdout, width=200, force_terminal=False)
    prepare_scoring(sweep, images, console, functools.partial(show_stage, every=UPDATE_SECONDS, elapsed=False))


if __name__ == "__main__":
    try:
        main(json.load(sys.stdin))
    except UserError as error:
        sys.exit(str(error))
