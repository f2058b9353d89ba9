"""Exporting a trial's generator as a bundle."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.rank import rank
from analysis.runs import load
from pipeline.bundle import Bundle
from pipeline.generate import draw_panel
from pipeline.home import require_key
from pipeline.manifest import CONFIG, TAGS, WEIGHTS, write_manifest
from pipeline.model_card import model_card
from trainables.checkpoint import CONFIG_FILE, WEIGHTS_FILE
from trainables.data.tags import Vocabulary
from trainables.errors import UsageError, UserError, nearest
from trainables.files import write_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from analysis.rank import Ranking
    from pipeline.home import Home
    from trainables.storage import Storage


def export_trial(
    home: Home,
    sweep_name: str,
    output: Path,
    key: str | None = None,
    tracking: str | None = None,
    *,
    check: Callable[[dict[str, Any]], None] | None = None,
) -> str:
    """Write the best trial, or the one called ``key``, to a folder that appears whole or not at all.

    Returns:
        The exported trial's key.

    Raises:
        UsageError: no such trial.
        UserError: no trial to export, weights that were cleaned away, an output that is not empty.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output} exists and is not empty; take another -o")
    output = output.resolve()
    if output == Path.cwd():
        raise UserError(f"{output} is the folder you stand in, and an export replaces its folder; take another -o")
    ranking = rank(load(sweep_name, home=home.root, tracking=tracking))
    chosen = _choose(ranking, key)
    everything = home.storage(sweep_name, ranking.sweep.settings.get("storage"))
    source = everything.below(require_key(sweep_name, chosen["key"]))
    if not source.exists(WEIGHTS_FILE):
        raise UserError(
            f"trial {chosen['key']} has no weights in {source.location}; export another with --trial, or run it again"
        )
    if check is not None:  # may refuse, before anything is written
        check({**chosen, "trial": chosen["key"], "fingerprint": ranking.fingerprint})
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}")
    partial.mkdir()
    try:
        _write(partial, source, ranking, chosen)
        if output.exists():
            output.rmdir()
        partial.rename(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return str(chosen["key"])


def _choose(ranking: Ranking, key: str | None) -> dict[str, Any]:
    trials = {trial["key"]: trial for trial in ranking.to_json()["trials"]}
    wanted = key or ranking.best
    if wanted is None:
        raise UserError(f"sweep {ranking.sweep.name!r} has no scored trial to export yet")
    if wanted not in trials:
        raise UsageError(f"sweep {ranking.sweep.name!r} has no trial {wanted!r}{nearest(wanted, trials)}")
    return dict(trials[wanted])


def _write(folder: Path, source: Storage, ranking: Ranking, trial: dict[str, Any]) -> None:
    data = ranking.sweep.data
    vocabulary = Vocabulary.from_json(data["vocabulary"])
    source.get(WEIGHTS_FILE, folder / WEIGHTS)
    about = json.loads(source.read(CONFIG_FILE))
    write_json(folder / CONFIG, about)
    write_json(
        folder / TAGS,
        {"vocabulary": vocabulary.to_json(), "hash": vocabulary.hash, "combinations": data["combinations"]},
    )
    facts = {
        "sweep": ranking.sweep.name,
        "trial": trial["key"],
        "exported": datetime.now(UTC).isoformat(timespec="seconds"),
        "scores": trial["scores"],
        "intervals": trial["intervals"],
        "kimg": trial["kimg"],
        "fingerprint": ranking.fingerprint,
    }
    # The bundle must load before it is handed over: the pictures are drawn from what was written.
    write_manifest(folder, facts)
    bundle = Bundle.load(folder)
    draw_panel(bundle, "noise", 0, folder / "samples.png")
    (folder / "README.md").write_text(model_card(facts, trial, about, data), encoding="utf-8")
    write_manifest(folder, facts)
