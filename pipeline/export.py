"""Exporting a trial's generator as a bundle."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from analysis.rank import rank
from analysis.rank_json import intervals_of
from analysis.runs import METRICS, SCORES, load
from analysis.schema import SAMPLES_FOLDER
from analysis.select import by_kind
from pipeline.bundle import Bundle
from pipeline.generate import draw_panel, draw_samples
from pipeline.home import require_key
from pipeline.manifest import CONFIG, SHEET, TAGS, WEIGHTS, write_manifest
from pipeline.model_card import model_card
from pipeline.portable import write_portable
from pipeline.speed import measure_speeds
from trainables.checkpoint import CONFIG_FILE, WEIGHTS_FILE
from trainables.data.tags import Vocabulary
from trainables.errors import UsageError, UserError, nearest
from trainables.files import require_free, whole_folder, write_json
from trainables.panels import panel_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
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

    After a confirmation the best is the configuration with the best mean, and the weights are those of its run with
    the median score: neither the search's lucky run nor the luckiest seed. Where the confirmation trained for less
    than the sweep's budget, they are the trial's own.

    Args:
        home: where the sweep is.
        sweep_name: the sweep.
        output: the folder; must not exist, or be empty.
        key: of another trial than the best.
        tracking: MLflow URI, where the sweep was not tracked in its home.
        half: also write a 16-bit ONNX file.
        check: is given what the manifest will say of the trial, and may refuse it before anything is written.

    Returns:
        Key of the trial, or of the confirmation's run, whose weights were exported.

    Raises:
        UsageError: no such trial.
        UserError: no trial to export, weights that were cleaned away or are not those of the last logged score, an
            output that is not empty, a generator that cannot be converted, a confirmation that was measured in another
            way than the search.
    """
    require_free(output)
    ranking, chosen = _choose(
        [rank(part) for part in by_kind(load(sweep_name, home=home.root, tracking=tracking))], key
    )
    if key is None:
        chosen = _representative(ranking, chosen)
    chosen["fingerprint"] = _fingerprint(ranking, chosen)
    everything = home.storage(sweep_name, ranking.sweep.settings.get("storage"))
    source = everything.below(require_key(sweep_name, chosen["run"]))
    if not source.exists(WEIGHTS_FILE):
        raise UserError(
            f"trial {chosen['run']} has no weights in {source.location}; export another with --trial, or run it again"
        )
    if chosen["kimg"] is None or all(value is None for value in chosen["scores"].values()):
        raise UserError(
            f"trial {chosen['run']} has weights and no logged result; try again after its first score, or export "
            "another with --trial"
        )
    if check is not None:
        check({**chosen, "trial": chosen["key"]})
    with whole_folder(output) as partial:
        _write(partial, source, ranking, chosen, half=half)
    return str(chosen["run"])


def _choose(rankings: Sequence[Ranking], key: str | None) -> tuple[Ranking, dict[str, Any]]:
    """The trial called ``key``, or the first ranking's best: where a sweep has both, that of the trials with tags."""
    trials = {trial["key"]: (ranking, trial) for ranking in rankings for trial in ranking.to_json()["trials"]}
    name, wanted = rankings[0].sweep.name, key or rankings[0].best
    if wanted is None:
        kind = " with tags" if len(rankings) > 1 else ""
        raise UserError(f"sweep {name!r} has no scored trial{kind} to export yet; --trial names another")
    if wanted not in trials:
        raise UsageError(f"sweep {name!r} has no trial {wanted!r}{nearest(wanted, trials)}")
    ranking, trial = trials[wanted]
    return ranking, {**trial, "run": wanted}


def _representative(ranking: Ranking, trial: dict[str, Any]) -> dict[str, Any]:
    """The run that stands for a confirmed configuration, with its own scores; without a confirmation the trial.

    So it is after a confirmation of a smaller budget than the sweep's: its runs were not trained to the end.
    """
    found = ranking.confirmation
    if found is None or found.best != trial["key"] or found.budget < ranking.sweep.settings.get("max_kimg", 0):
        return trial
    best = found.configurations[0]
    if best.median_key is None:
        return trial
    row = _row(ranking, best.median_key)
    scores = {name: value for name in trial["scores"] if not math.isnan(value := row.get(f"{SCORES}{name}", math.nan))}
    own = {"run": best.median_key, "scores": scores, "intervals": intervals_of(row), "budget": found.budget}
    own |= {name: row[name] for name in ("kimg", "samples", "seconds")}
    return {**trial, **own, "confirmation": {**found.to_json()[best.key], **found.about()}}


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
            "targets": data.get("targets", ()),
        },
    )
    facts = {
        "sweep": ranking.sweep.name,
        "trial": trial["key"],
        "run": trial["run"],
        "exported": datetime.now(UTC).isoformat(timespec="seconds"),
        "scores": trial["scores"],
        "intervals": trial["intervals"],
        "kimg": trial["kimg"],
        "fingerprint": trial["fingerprint"],
        "confirmation": trial.get("confirmation"),
    }
    # Everything is drawn from what was written, by the way it will be read: what does not load is not handed over.
    write_manifest(folder, facts)
    bundle = Bundle.load(folder)
    _require_weights_of(folder / WEIGHTS, trial)
    facts |= {"translates": bundle.config.translates, "targets": bundle.targets}
    facts["differences"] = write_portable(bundle, folder, half=half)
    write_manifest(folder, facts)
    facts["speed"] = measure_speeds(folder, ["torch", "onnx", "pt2", *(["onnx-fp16"] if half else [])])
    if bundle.config.translates:
        facts["sheet"] = _take_sheet(source, folder / SHEET)
    else:
        draw_samples(bundle, folder / SHEET)
        facts["panels_left_out"] = _draw_panels(bundle, folder / "panels")
    told = {**trial, "class_accuracy": _class_accuracy(_row(ranking, trial["run"]))}
    (folder / "README.md").write_text(model_card(facts, told, about, ranking.sweep), encoding="utf-8")
    write_manifest(folder, facts)


def _take_sheet(source: Storage, path: Path) -> bool:
    """Copy the trial's last sheet of translations, if it is still there: an export has no pictures to translate."""
    sheets = sorted(name for name in source.list(SAMPLES_FOLDER) if name.endswith(".png"))
    if sheets:
        source.get(sheets[-1], path)
    return bool(sheets)


def _draw_panels(bundle: Bundle, folder: Path) -> list[str]:
    """Draw every panel; gives the names of those that would be too large, as with hundreds of classes."""
    left_out = []
    for name in panel_names(bundle.vocabulary) if bundle.config.conditional else ("noise",):
        try:
            draw_panel(bundle, name, 0, folder / f"{name}.png")
        except UsageError:
            left_out.append(name)
    return left_out


def _fingerprint(ranking: Ranking, trial: Mapping[str, Any]) -> dict[str, Any]:
    """What the run's scores were measured with; refuses a run of the confirmation that the search does not share."""
    own: dict[str, Any] = json.loads(_row(ranking, trial["run"])["fingerprint"])
    searched = ranking.fingerprint
    differing = sorted(name for name in {*own, *searched} if own.get(name) != searched.get(name))
    if differing and trial["run"] != trial["key"]:
        told = ", ".join(f"{name} {own.get(name)} and not {searched.get(name)}" for name in differing)
        raise UserError(
            f"run {trial['run']} of the confirmation was not measured as the search was, with {told}; "
            f"--trial {trial['key']} exports the trial itself"
        )
    return own


def _require_weights_of(weights: Path, trial: Mapping[str, Any]) -> None:
    """Refuse weights of a later score than the one that was logged: that of a trial that is still running."""
    from safetensors import safe_open

    with safe_open(weights, framework="np") as file:
        kimg = (file.metadata() or {}).get("kimg", "")
    if kimg and float(kimg) != trial["kimg"]:
        raise UserError(
            f"trial {trial['run']} has trained on since its last logged score: its weights are of {kimg} kimg and the "
            f"score of {trial['kimg']:g}; try again"
        )


def _row(ranking: Ranking, run: str) -> Mapping[Any, Any]:
    """What a trial, or a run of the confirmation, logged."""
    tables = (ranking.trials, ranking.sweep.repeats)
    return next(row for table in tables for row in table[table["key"] == run].to_dict("records"))


def _class_accuracy(row: Mapping[Any, Any]) -> dict[str, dict[str, float]]:
    """By group and class, as far as the run logged it: finished ones do."""
    found: dict[str, dict[str, float]] = {}
    for column, value in row.items():
        if column.startswith(f"{METRICS}class_accuracy/") and not math.isnan(value):
            group, label = column.split("/", 2)[1:]
            found.setdefault(group, {})[label] = float(value)
    return found
