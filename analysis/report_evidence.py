"""The evidence of the report as tables: effects, ablations, claims, and the values that fail."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pandas as pd

from analysis.cells import Table, number, percent
from analysis.cells import parameter as parameter_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analysis.claims import ClaimVerdict, PartVerdict
    from analysis.confirmation import Ablation
    from analysis.effect import Effect
    from analysis.failing import Failing
    from analysis.importance import Importances
    from analysis.runs import Sweep

MOST_EFFECTS = 30


def importance_table(found: Importances) -> pd.DataFrame | None:
    """``parameter, method, importance, low, high, above_chance`` for the figure, a row for each parameter and method.

    ``None`` where nothing was measured.
    """
    from analysis.importance import METHODS

    rows = [
        (row.dimension, METHODS[row.method][0], row.value, row.low, row.high, row.above_chance) for row in found.rows
    ]
    columns = ["parameter", "method", "importance", "low", "high", "above_chance"]
    return pd.DataFrame(rows, columns=columns) if rows else None


def importance_notes(found: Sequence[Importances]) -> list[str]:
    """What the bars rest on, or why there are none."""
    notes = []
    for one in found:
        label = one.score.replace("_", " ")
        if one.point is not None:
            where = f"{len(one.point.values)} of {one.point.scored} scored trials, each at {one.point.kimg} kimg"
            notes.append(f"Importance for the {label}: {where}." + (f" Left out, {one.reason}." if one.reason else ""))
        else:
            notes.append(f"No importances for the {label}: {one.reason}.")
    return notes


def effects_table(found: Sequence[Effect]) -> Table | None:
    """One row per comparison, those that are separable first."""
    from analysis.effect import measured, rests_on

    if not found:
        return None
    metrics = list(dict.fromkeys(effect.metric for effect in found))
    groups: dict[tuple[str, str, str], dict[str, Effect]] = {}
    for effect in found:
        groups.setdefault((effect.dimension, effect.value, effect.against), {})[effect.metric] = effect
    ordered = sorted(groups.items(), key=lambda one: not any(effect.separable for effect in one[1].values()))
    rows = []
    for (dimension, value, against), by_metric in ordered[:MOST_EFFECTS]:
        first = next(iter(by_metric.values()))
        known = {name: measured(effect) + " *" * effect.separable for name, effect in by_metric.items()}
        cells = [known.get(name, "-") for name in metrics]
        change = f"{value} against {against}" if against else value
        rows.append([dimension, change, *cells, number(first.kimg), rests_on(first), first.evidence])
    labels = [name.replace("_", " ") for name in metrics]
    left = len(ordered) - len(rows)
    note = (
        "A distance changes by a factor (x0.9: a tenth smaller), a share by a difference; 95% intervals in brackets, "
        "other parameters held equal. * The interval excludes no effect: of 20 parameters that do nothing, one is "
        "expected to look so."
    ) + (f" These stand first; {left} more rows are left out." if left else "")
    headers = ["parameter", "change", *labels, "kimg", "from", "evidence"]
    return Table(headers, rows, frozenset(range(2, 2 + len(labels))), note)


def ablation_table(found: Mapping[str, Ablation]) -> tuple[str, Table]:
    """Title and table of one ablated trial: every variant by the first score, its difference by the others."""
    from analysis.repeat_table import ABLATION_HEADERS, ablation_notes, ablation_rows, difference_text

    (name, first), *others = found.items()
    beside = {
        other: {effect.variant: difference_text(effect.difference, other) for effect in by.effects}
        for other, by in others
    }
    rows = []
    for *cells, base, p, verdict in ablation_rows(first):
        others_too = [known.get(cells[0], "-") for known in beside.values()]
        rows.append([*cells, base.removeprefix("minus the "), p, *others_too, verdict])
    label = name.replace("_", " ")
    headers = ["variant", "n", f"{label} ± sd", ABLATION_HEADERS[3], "minus", ABLATION_HEADERS[5],
               *(f"{other.replace('_', ' ')} [95%]" for other in beside), ""]  # fmt: skip
    note = ". ".join([f"Runs of {first.budget} kimg each", *ablation_notes(first)]) + "."
    return f"Ablation of {first.of}", Table(headers, rows, frozenset(range(1, len(headers) - 1)) - {4}, note)


def claims_table(found: Sequence[ClaimVerdict], sweep: str) -> Table | None:
    """The claims that the sweep asks with their verdicts, a row for each part that was measured apart."""
    from analysis.claims import NO_DIMENSION, NOT_ASKED

    asked = [one for one in found if one.verdict not in (NOT_ASKED, NO_DIMENSION)]
    rows = []
    for one in asked:
        parts = [part for part in one.parts if part.verdict != NOT_ASKED]
        whole = [f"{one.claim.id} ({one.claim.systems})", one.claim.text, one.wording]
        if len(parts) == 1:
            rows.append([*whole, *_part(parts[0])])
        else:
            rows.append([*whole, "", "", "", ""])
            rows += [["", "", part.verdict, *_part(part)] for part in parts]
    if not rows:
        return None
    others = [one.claim.id for one in found if one not in asked]
    note = f"Not asked by this sweep: {', '.join(others)}; gansweep claims {shlex.quote(sweep)} --all says why."
    headers = ["claim", "what it says", "verdict", "measured, with its 95% interval", "from", "kimg", "evidence"]
    return Table(headers, rows, frozenset({5}), note if others else "")


def _part(part: PartVerdict) -> list[str]:
    """What was measured, from how many runs, where and on which evidence."""
    from analysis.claim_list import EARLY
    from analysis.effect import compared, measured, rests_on

    effect = part.effect
    if effect is None:
        return [part.reason, "", "", ""]
    when = " early" if part.part.time == EARLY else ""
    metric = effect.metric.replace("_", " ") + when
    beside = f"{metric} against {effect.against.replace('_', ' ')}:"
    what = f"{compared(effect)}: {metric}" if effect.dimension else beside
    kimg = "" if effect.kimg is None else number(effect.kimg)
    return [f"{what} {measured(effect)}", rests_on(effect), kimg, effect.evidence]


def questions_table(sweep: Sweep) -> Table | None:
    """Which claim each parameter of the space asks."""
    rows = [
        [str(one["name"]), parameter_text(one.get("default")), str(one["claim"])]
        for one in sweep.space.get("dimensions", ())
        if one.get("claim")
    ]
    return Table(["parameter", "in the recipe", "claim"], rows) if rows else None


def failing_table(found: Sequence[Failing]) -> Table | None:
    """How often each value failed, for the parameters with which failing goes."""
    if not found:
        return None
    rows = [
        [one.dimension if place == 0 else "", value.value, f"{value.failed} of {value.trials}", percent(value.share),
         f"{percent(value.low)} to {percent(value.high)}", f"{one.p_value:.2g}" if place == 0 else ""]
        for one in found if one.separable
        for place, value in enumerate(one.values)
    ]  # fmt: skip
    apart = sum(one.separable for one in found)
    others = f"Of {len(found)} parameters that compare, {len(found) - apart} show no difference beyond chance."
    note = f"{others} p is that of chance, times the number of parameters." if apart else others
    headers = ["parameter", "value", "failed", "share", "95% interval", "p"]
    return Table(headers if rows else [], rows, frozenset({2, 3, 4, 5}), note)
