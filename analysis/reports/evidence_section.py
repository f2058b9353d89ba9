"""The evidence of the report as tables: effects, ablations, claims, and the values that fail."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import TYPE_CHECKING

import pandas as pd

from analysis.formatting import Table, number, percent
from analysis.formatting import parameter as parameter_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analysis.claim_checks.verdicts import ClaimVerdict, PartVerdict
    from analysis.effects.effect import Effect
    from analysis.effects.failure_rates import Failing
    from analysis.effects.importance import Importances
    from analysis.mlflow_reader.sweep import Sweep
    from analysis.repeats.results import Ablation

MOST_EFFECTS = 30


def importance_table(importances: Importances) -> pd.DataFrame | None:
    """``parameter, method, importance, low, high, above_chance`` for the figure, a row for each parameter and method.

    ``None`` where nothing was measured.
    """
    from analysis.effects.importance import METHODS

    rows = [
        (row.dimension, METHODS[row.method][0], row.value, row.low, row.high, row.above_chance)
        for row in importances.rows
    ]
    columns = ["parameter", "method", "importance", "low", "high", "above_chance"]
    return pd.DataFrame(rows, columns=columns) if rows else None


def importance_notes(importances: Sequence[Importances], unit: str = "kimg") -> list[str]:
    """Describe the data behind the importances, or why there are none; ``unit`` is that of the training."""
    notes = []
    for importance in importances:
        label = importance.score.replace("_", " ")
        if importance.point is not None:
            point = importance.point
            basis = f"{len(point.values)} of {point.scored} scored trials, each at {point.kimg} {unit}"
            left_out = f" Left out, {importance.reason}." if importance.reason else ""
            notes.append(f"Importance for the {label}: {basis}.{left_out}")
        else:
            notes.append(f"No importances for the {label}: {importance.reason}.")
    return notes


def effects_table(effects: Sequence[Effect], unit: str = "kimg") -> Table | None:
    """One row per comparison, those that are separable first; ``unit`` is that of the training."""
    from analysis.effects.effect import interval_text, sample_size_text

    if not effects:
        return None
    metrics = list(dict.fromkeys(effect.metric for effect in effects))
    groups: dict[tuple[str, str, str], dict[str, Effect]] = {}
    for effect in effects:
        groups.setdefault((effect.dimension, effect.value, effect.against), {})[effect.metric] = effect
    ordered = sorted(groups.items(), key=lambda group: not any(effect.separable for effect in group[1].values()))
    rows = []
    for (dimension, value, against), by_metric in ordered[:MOST_EFFECTS]:
        first = next(iter(by_metric.values()))
        texts = {name: interval_text(effect) + " *" * effect.separable for name, effect in by_metric.items()}
        cells = [texts.get(name, "-") for name in metrics]
        change = f"{value} against {against}" if against else value
        rows.append([dimension, change, *cells, number(first.kimg), sample_size_text(first), first.evidence])
    labels = [name.replace("_", " ") for name in metrics]
    left = len(ordered) - len(rows)
    note = (
        "A distance changes by a factor (x0.9: a tenth smaller), a share by a difference; 95% intervals in brackets, "
        "other parameters held equal. * The interval excludes no effect: of 20 parameters that do nothing, one is "
        "expected to look so."
    ) + (f" These stand first; {left} more rows are left out." if left else "")
    headers = ["parameter", "change", *labels, unit, "from", "evidence"]
    return Table(headers, rows, frozenset(range(2, 2 + len(labels))), note)


def ablation_table(ablations: Mapping[str, Ablation]) -> tuple[str, Table]:
    """Return title and table of an ablated trial: each variant by the first score, its differences by the others."""
    from analysis.repeats.tables import ABLATION_HEADERS, ablation_notes, ablation_rows, difference_text

    (name, first), *others = ablations.items()
    other_differences = {
        score: {effect.variant: difference_text(effect.difference, score) for effect in by.effects}
        for score, by in others
    }
    rows = []
    for *cells, base, p, verdict in ablation_rows(first):
        others_too = [known.get(cells[0], "-") for known in other_differences.values()]
        rows.append([*cells, base.removeprefix("minus the "), p, *others_too, verdict])
    label = name.replace("_", " ")
    headers = ["variant", "n", f"{label} ± sd", ABLATION_HEADERS[3], "minus", ABLATION_HEADERS[5],
               *(f"{score.replace('_', ' ')} [95%]" for score in other_differences), ""]  # fmt: skip
    note = ". ".join([f"Runs of {first.budget} {first.unit} each", *ablation_notes(first)]) + "."
    return f"Ablation of {first.of}", Table(headers, rows, frozenset(range(1, len(headers) - 1)) - {4}, note)


def claims_table(verdicts: Sequence[ClaimVerdict], sweep: str) -> Table | None:
    """Return the claims that the sweep measured with their verdicts, and a row for each part of a claim.

    Claims without any measurement are listed in the note.
    """
    from analysis.claim_checks.verdicts import NO_DIMENSION, NOT_ASKED

    tested = [verdict for verdict in verdicts if verdict.verdict not in (NOT_ASKED, NO_DIMENSION)]
    measured = [verdict for verdict in tested if any(part.effect is not None for part in verdict.parts)]
    rows = []
    for verdict in measured:
        parts = [part for part in verdict.parts if part.verdict != NOT_ASKED]
        claim_cells = [f"{verdict.claim.id} ({verdict.claim.systems})", verdict.claim.text, verdict.wording]
        if len(parts) == 1:
            rows.append([*claim_cells, *_part(parts[0])])
        else:
            rows += _part_rows(claim_cells, parts)
    if not tested:
        return None
    ids: dict[str, list[str]] = {}
    for verdict in verdicts:
        if verdict not in measured:
            ids.setdefault(verdict.wording if verdict in tested else "not tested by this sweep", []).append(
                verdict.claim.id
            )
    lists = "; ".join(f"{why}: {', '.join(claims)}" for why, claims in ids.items())
    note = f"{lists[:1].upper()}{lists[1:]}. gansweep claims {shlex.quote(sweep)} --all lists the reasons."
    unit = tested[0].unit
    headers = ["claim", "what it says", "verdict", "measured, with its 95% interval", "from", unit, "evidence"]
    return Table(headers if rows else [], rows, frozenset({5}), note if ids else "")


def _part_rows(claim_cells: list[str], parts: Sequence[PartVerdict]) -> list[list[str]]:
    """Return a row for the claim and one for each measured part; parts without a measurement share one line."""
    measured = [part for part in parts if part.effect is not None]
    counts = Counter(part.reason for part in parts if part.effect is None)
    unmeasured = "; ".join(f"{reason} ({count} parts)" if count > 1 else reason for reason, count in counts.items())
    rows = [[*claim_cells, unmeasured, "", "", ""]]
    return rows + [["", "", part.verdict, *_part(part)] for part in measured]


def _part(part: PartVerdict) -> list[str]:
    """Format a part's effect, sample size, kimg and kind of evidence."""
    from analysis.claim_checks.claims import EARLY
    from analysis.effects.effect import comparison_text, interval_text, sample_size_text

    effect = part.effect
    if effect is None:
        return [part.reason, "", "", ""]
    when = " early" if part.part.time == EARLY else ""
    metric = effect.metric.replace("_", " ") + when
    scores = f"{metric} against {effect.against.replace('_', ' ')}:"
    what = f"{comparison_text(effect)}: {metric}" if effect.dimension else scores
    kimg = "" if effect.kimg is None else number(effect.kimg)
    return [f"{what} {interval_text(effect)}", sample_size_text(effect), kimg, effect.evidence]


def questions_table(sweep: Sweep) -> Table | None:
    """List the claim that each parameter of the space tests."""
    rows = [
        [str(dimension["name"]), parameter_text(dimension.get("default")), str(dimension["claim"])]
        for dimension in sweep.space.get("dimensions", ())
        if dimension.get("claim")
    ]
    return Table(["parameter", "in the recipe", "claim"], rows) if rows else None


def failing_table(dimensions: Sequence[Failing]) -> Table | None:
    """List how often each value failed, for parameters associated with failures."""
    if not dimensions:
        return None
    rows = [
        [dimension.dimension if index == 0 else "", value.value, f"{value.failed} of {value.trials}",
         percent(value.share),
         f"{percent(value.low)} to {percent(value.high)}", f"{dimension.p_value:.2g}" if index == 0 else ""]
        for dimension in dimensions if dimension.separable
        for index, value in enumerate(dimension.values)
    ]  # fmt: skip
    apart = sum(dimension.separable for dimension in dimensions)
    others = (
        f"Of {len(dimensions)} parameters that compare, {len(dimensions) - apart} show no difference beyond chance."
    )
    note = f"{others} p is that of chance, times the number of parameters." if apart else others
    headers = ["parameter", "value", "failed", "share", "95% interval", "p"]
    return Table(headers if rows else [], rows, frozenset({2, 3, 4, 5}), note)
