"""Export a trial's generator as a bundle."""

from __future__ import annotations

import json
import math
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from analysis import schema
from analysis.mlflow_reader.artifacts import Artifacts
from analysis.mlflow_reader.sweep import METRICS, SCORES, load
from analysis.ranking.filters import split_by_conditioning
from analysis.ranking.ranking import rank
from analysis.ranking.serialize import intervals_of
from analysis.ranking.winner import require_minimum
from analysis.schema import SAMPLES_FOLDER
from pipeline.bundle.bundle import Bundle
from pipeline.bundle.manifest import CONFIG, DISCRIMINATOR, SHEET, TAGS, WEIGHTS, write_manifest
from pipeline.bundle.onnx_export import write_portable
from pipeline.bundle.throughput import measure_speeds
from pipeline.export.model_card import model_card
from pipeline.generate.generate import draw_panel, draw_samples
from pipeline.home import require_key
from trainables.data.tags import Vocabulary
from trainables.errors import UsageError, UserError, nearest
from trainables.storage.atomic import atomic_directory, require_empty, write_json
from trainables.storage.checkpoints import CONFIG_FILE, WEIGHTS_FILE, Checkpoints
from trainables.visuals.panels import panel_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from analysis.mlflow_reader.sweep import Sweep
    from analysis.ranking.ranking import Ranking
    from pipeline.home import Home
    from trainables.storage.storage import Storage


def export_trial(
    home: Home,
    sweep_name: str,
    output: Path,
    key: str | None = None,
    tracking: str | None = None,
    *,
    half: bool = False,
    check: Callable[[dict[str, Any]], None] | None = None,
    min_tag_accuracy: float | None = None,
) -> str:
    """Write the winner, or the trial called ``key``, to a folder, atomically.

    The winner has the lowest distance among the trials that follow their tags, see ``analysis.ranking.winner``.

    After a confirmation, its means count, and the weights are those of the winner's median-scoring seed, so that you do
    not ship a lucky run. If the confirmation trained for less than the sweep's budget, they are the trial's own.

    Args:
        home: where the sweep is.
        sweep_name: the sweep.
        output: the folder; must not exist, or be empty.
        key: the trial; default: the winner.
        tracking: MLflow URI, if the sweep was not tracked in its home.
        half: also write a 16-bit ONNX file.
        check: called with the trial's entries of the manifest; raises to refuse it before anything is written.
        min_tag_accuracy: floor of the winner's tag accuracy, 0 to 1, 0 for none; default: that of the rule.

    Returns:
        Key of the trial, or of the confirmation's run, whose weights were exported.

    Raises:
        UsageError: no such trial.
        UserError: no trial to export, weights that were cleaned away or are not those of the last logged score, an
            output that is not empty, a generator that cannot be converted, a confirmation that was measured in another
            way than the search.
    """
    require_minimum(min_tag_accuracy)
    require_empty(output)
    parts = split_by_conditioning(load(sweep_name, home=home.root, tracking=tracking))
    ranking, chosen = _choose([rank(part, min_tag_accuracy=min_tag_accuracy) for part in parts], key)
    if key is None:
        chosen = _representative(ranking, chosen)
    rule = ranking.rule
    if rule and rule.warning and not key:
        print(f"warning: {rule.warning}", file=sys.stderr)
    chosen["rule"] = "chosen by name, not by a rule" if key else rule.words if rule else None
    chosen["rule_numbers"] = rule.to_json() if rule else None
    chosen["fingerprint"] = _fingerprint(ranking, chosen)
    everything = home.storage(sweep_name, ranking.sweep.settings.get("storage"))
    source = everything.below(require_key(sweep_name, chosen["run"]))
    _require_weights(chosen, source)
    if check is not None:
        check({**chosen, "trial": chosen["key"]})
    with atomic_directory(output) as partial:
        _write(partial, source, ranking, chosen, half=half)
    return str(chosen["run"])


def _require_weights(chosen: Mapping[str, Any], source: Storage) -> None:
    if not source.exists(WEIGHTS_FILE):
        raise UserError(
            f"trial {chosen['run']} has no weights in {source.location}; export another with --trial, or run it again"
        )
    if chosen["kimg"] is None or all(value is None for value in chosen["scores"].values()):
        raise UserError(
            f"trial {chosen['run']} has weights and no logged result; try again after its first score, or export "
            "another with --trial"
        )


def _choose(rankings: Sequence[Ranking], key: str | None) -> tuple[Ranking, dict[str, Any]]:
    """Return the trial ``key``, or the best one of the first ranking (in a mixed sweep, that of conditional trials)."""
    trials = {trial["key"]: (ranking, trial) for ranking in rankings for trial in ranking.to_json()["trials"]}
    name, trial_key = rankings[0].sweep.name, key or rankings[0].best
    if trial_key is None:
        kind = " with tags" if len(rankings) > 1 else ""
        raise UserError(f"sweep {name!r} has no scored trial{kind} to export yet; --trial names another")
    if trial_key not in trials:
        raise UsageError(f"sweep {name!r} has no trial {trial_key!r}{nearest(trial_key, trials)}")
    ranking, trial = trials[trial_key]
    return ranking, {**trial, "run": trial_key}


def _representative(ranking: Ranking, trial: dict[str, Any]) -> dict[str, Any]:
    """Return the median run of a confirmed configuration with its scores; without a confirmation, the trial itself.

    The trial is also returned if the confirmation has a smaller budget than the sweep, since its runs are shorter.
    """
    confirmation = ranking.confirmation
    if (
        confirmation is None
        or (entry := confirmation.of(trial["key"])) is None
        or not entry.compared
        or entry.median_key is None
        or confirmation.budget < ranking.sweep.settings.get("max_kimg", 0)
    ):
        return trial
    row = _row(ranking, entry.median_key)
    scores = {name: value for name in trial["scores"] if not math.isnan(value := row.get(f"{SCORES}{name}", math.nan))}
    run = {"run": entry.median_key, "scores": scores, "intervals": intervals_of(row), "budget": confirmation.budget}
    run |= {name: row[name] for name in ("kimg", "samples", "seconds")}
    return {**trial, **run, "confirmation": {**confirmation.to_json()[entry.key], **confirmation.about()}}


def _write(folder: Path, source: Storage, ranking: Ranking, trial: dict[str, Any], *, half: bool) -> None:
    data = ranking.sweep.data
    vocabulary = Vocabulary.from_json(data["vocabulary"])
    source.get(WEIGHTS_FILE, folder / WEIGHTS)
    _write_discriminator(source, trial["kimg"], folder / DISCRIMINATOR)
    about = json.loads(source.read(CONFIG_FILE))
    about["fit"] = data.get("fit", "crop")
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
        "images": data.get("pictures"),
        "fingerprint": trial["fingerprint"],
        "confirmation": trial.get("confirmation"),
        "rule": trial["rule"],
        "rule_numbers": trial["rule_numbers"],
    }
    # Draw from the written files, as a user would load them, so that an export that does not load is an error.
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
    card_facts = {**trial, "class_accuracy": _class_accuracy(ranking.sweep, _row(ranking, trial["run"]))}
    (folder / "README.md").write_text(model_card(facts, card_facts, about, ranking.sweep), encoding="utf-8")
    write_manifest(folder, facts)


def _write_discriminator(source: Storage, kimg: float, path: Path) -> None:
    """Write the discriminator's weights, to start other training from, if there is a checkpoint of the same moment."""
    from safetensors.torch import save

    def take(state: dict[str, Any]) -> None:
        # Figures are empty right after an evaluation: a checkpoint between two has trained on.
        if state["kimg"] != kimg or state["loop"]["figures"]["counts"]:
            raise ValueError(f"it is not of the evaluation at {kimg:g} kimg")
        weights = {name: value.contiguous() for name, value in state["loop"]["discriminator"].items()}
        path.write_bytes(save(weights))  # ``save_file`` would make the file unreadable for other users

    Checkpoints(source).restore(take, lambda: None)


def _take_sheet(source: Storage, path: Path) -> bool:
    """Copy the trial's last sample grid of translations if it still exists, as an export has no images to translate."""
    sheets = sorted(name for name in source.list(SAMPLES_FOLDER) if name.endswith(".png"))
    if sheets:
        source.get(sheets[-1], path)
    return bool(sheets)


def _draw_panels(bundle: Bundle, folder: Path) -> list[str]:
    """Draw every panel, and return the names of those that would be too large, e.g. with hundreds of classes."""
    left_out = []
    for name in panel_names(bundle.vocabulary, conditional=bundle.config.conditional):
        try:
            draw_panel(bundle, name, 0, folder / f"{name}.png")
        except UsageError:
            left_out.append(name)
    return left_out


def _fingerprint(ranking: Ranking, trial: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fingerprint of the run's scores; refuse a confirmation run measured unlike the search."""
    measured: dict[str, Any] = json.loads(_row(ranking, trial["run"])["fingerprint"])
    searched = ranking.fingerprint
    differing = sorted(name for name in {*measured, *searched} if measured.get(name) != searched.get(name))
    if differing and trial["run"] != trial["key"]:
        differences = ", ".join(f"{name} {measured.get(name)} and not {searched.get(name)}" for name in differing)
        raise UserError(
            f"run {trial['run']} of the confirmation was measured differently from the search: {differences}; "
            f"--trial {trial['key']} exports the trial itself"
        )
    return measured


def _require_weights_of(weights: Path, trial: Mapping[str, Any]) -> None:
    """Refuse weights that are newer than the last logged score, as of a trial that is still running."""
    from safetensors import safe_open

    with safe_open(weights, framework="np") as file:
        kimg = (file.metadata() or {}).get("kimg", "")
    if kimg and float(kimg) != trial["kimg"]:
        raise UserError(
            f"trial {trial['run']} has trained on since its last logged score: its weights are of {kimg} kimg and the "
            f"score of {trial['kimg']:g}; try again"
        )


def _row(ranking: Ranking, run: str) -> Mapping[Any, Any]:
    """Return the logged row of a trial or of a confirmation run."""
    tables = (ranking.trials, ranking.sweep.repeats)
    return next(row for table in tables for row in table[table["key"] == run].to_dict("records"))


def _class_accuracy(sweep: Sweep, row: Mapping[Any, Any]) -> dict[str, dict[str, float]]:
    """Return the accuracy by group and class, if the run logged it; finished runs do, in a table or as metrics."""
    accuracies: dict[str, dict[str, float]] = {}
    artifacts, run = Artifacts(sweep), str(row["mlflow_run_id"])
    if schema.CLASS_ACCURACY_FILE in artifacts.names(run, ""):
        for group, label, share in artifacts.json(run, schema.CLASS_ACCURACY_FILE).get("data", ()):
            accuracies.setdefault(group, {})[label] = float(share)
    for column, value in row.items():
        if column.startswith(f"{METRICS}{schema.CLASS_ACCURACY}") and not math.isnan(value):
            group, label = column.split("/", 2)[1:]
            accuracies.setdefault(group, {})[label] = float(value)
    return accuracies
