"""Exporting a trial's generator as a bundle."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from analysis.rank import rank
from analysis.runs import METRICS, load
from pipeline.bundle import Bundle
from pipeline.generate import draw_panel, draw_samples
from pipeline.home import require_key
from pipeline.manifest import CONFIG, TAGS, WEIGHTS, write_manifest
from pipeline.model_card import model_card
from pipeline.portable import write_portable
from pipeline.speed import measure_speeds
from trainables.checkpoint import CONFIG_FILE, WEIGHTS_FILE
from trainables.data.tags import Vocabulary
from trainables.errors import UsageError, UserError, nearest
from trainables.files import require_free, whole_folder, write_json
from trainables.panels import panel_names

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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
    half: bool = False,
    check: Callable[[dict[str, Any]], None] | None = None,
) -> str:
    """Write the best trial, or the one called ``key``, to a folder that appears whole or not at all.

    Args:
        home: where the sweep is.
        sweep_name: the sweep.
        output: the folder; must not exist, or be empty.
        key: of another trial than the best.
        tracking: MLflow URI, where the sweep was not tracked in its home.
        half: also write a 16-bit ONNX file.
        check: is given what the manifest will say of the trial, and may refuse it before anything is written.

    Returns:
        The exported trial's key.

    Raises:
        UsageError: no such trial.
        UserError: no trial to export, weights that were cleaned away, an output that is not empty, a generator that
            cannot be converted.
    """
    require_free(output)
    ranking = rank(load(sweep_name, home=home.root, tracking=tracking))
    chosen = _choose(ranking, key)
    everything = home.storage(sweep_name, ranking.sweep.settings.get("storage"))
    source = everything.below(require_key(sweep_name, chosen["key"]))
    if not source.exists(WEIGHTS_FILE):
        raise UserError(
            f"trial {chosen['key']} has no weights in {source.location}; export another with --trial, or run it again"
        )
    if check is not None:
        check({**chosen, "trial": chosen["key"], "fingerprint": ranking.fingerprint})
    with whole_folder(output) as partial:
        _write(partial, source, ranking, chosen, half=half)
    return str(chosen["key"])


def _choose(ranking: Ranking, key: str | None) -> dict[str, Any]:
    trials = {trial["key"]: trial for trial in ranking.to_json()["trials"]}
    wanted = key or ranking.best
    if wanted is None:
        raise UserError(f"sweep {ranking.sweep.name!r} has no scored trial to export yet")
    if wanted not in trials:
        raise UsageError(f"sweep {ranking.sweep.name!r} has no trial {wanted!r}{nearest(wanted, trials)}")
    return dict(trials[wanted])


def _write(folder: Path, source: Storage, ranking: Ranking, trial: dict[str, Any], *, half: bool) -> None:
    data = ranking.sweep.data
    vocabulary = Vocabulary.from_json(data["vocabulary"])
    source.get(WEIGHTS_FILE, folder / WEIGHTS)
    about = json.loads(source.read(CONFIG_FILE))
    write_json(folder / CONFIG, about)
    write_json(
        folder / TAGS,
        {
            "order": vocabulary.names,
            "vocabulary": vocabulary.to_json(),
            "hash": vocabulary.hash,
            "combinations": data["combinations"],
        },
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
    # Everything is drawn from what was written, by the way it will be read: what does not load is not handed over.
    write_manifest(folder, facts)
    bundle = Bundle.load(folder)
    facts["differences"] = write_portable(bundle, folder, half=half)
    write_manifest(folder, facts)
    facts["speed"] = measure_speeds(folder, ["torch", "onnx", "pt2", *(["onnx-fp16"] if half else [])])
    draw_samples(bundle, folder / "samples.png")
    for name in panel_names(vocabulary) if bundle.config.conditional else ("noise",):
        draw_panel(bundle, name, 0, folder / "panels" / f"{name}.png")
    told = {**trial, "class_accuracy": _class_accuracy(ranking, trial["key"])}
    (folder / "README.md").write_text(model_card(facts, told, about, ranking.sweep), encoding="utf-8")
    write_manifest(folder, facts)


def _class_accuracy(ranking: Ranking, key: str) -> dict[str, dict[str, float]]:
    """By group and class, as far as the trial logged it: finished trials do."""
    row = ranking.trials.loc[ranking.trials["key"] == key].iloc[0].dropna()
    found: dict[str, dict[str, float]] = {}
    for column, value in row.items():
        if str(column).startswith(f"{METRICS}class_accuracy/"):
            group, label = str(column).split("/", 2)[1:]
            found.setdefault(group, {})[label] = float(value)
    return found
