"""The trials of a sweep, best first: ``python -m analysis.rank NAME`` or ``rank(load(NAME))`` in a notebook.

Trials are compared by their last scores. An early-stopped trial is ranked by the score at its own, smaller budget,
although it might have improved, so ``kimg`` is listed with every score.

A Frechet distance grows as samples become fewer, so distances are compared only between trials that were scored on
equally many images: trials scored on most images, which completed their budget, come first; trials stopped at an early
rung, scored on fewer, follow in a separate order.

The best of many single runs owes part of its score to luck. After `gansweep confirm`, the confirmed configurations
therefore come first, by their mean over fresh seeds; one that failed on a fresh seed comes last. A confirmation with
less than the sweep's full budget is listed but changes no rank, because the early best need not be the final best.

The winner is not always the first: ``analysis.ranking.winner`` has the rule.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis import schema
from analysis.errors import AnalysisError, AnalysisUsageError
from analysis.mlflow_reader.sweep import SCORES, Sweep, nearest
from analysis.ranking.order import add_confirmed_columns, finite_scores, order_trials, put_confirmed_first
from analysis.ranking.serialize import trial_json
from analysis.ranking.sweep_rule import sweep_rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

    from analysis.ranking.winner import Rule
    from analysis.repeats.results import Confirmation


@dataclass(frozen=True)
class Ranking:
    """The trials of a sweep in order.

    ``trials`` has the columns of ``Sweep.trials`` after ``rank`` and ``pareto``; after a confirmation also
    ``confirmed.n``, ``.mean``, ``.sd``, ``.low``, ``.high``, ``.p_best`` and ``.separable`` (from the best), which are
    missing where a trial was not confirmed. Its ``scores.*`` remain those of the search.
    """

    sweep: Sweep
    by: str
    trials: pd.DataFrame
    """Ranked trials first, then failed ones with a score, then those without a score; the latter two have no rank."""
    fingerprint: dict[str, Any]
    """Fingerprint of the ranked scores."""
    mixed: bool = False
    """Whether scores with different fingerprints were ranked together."""
    confirmation: Confirmation | None = None
    """Confirmation with the full budget; ``None`` if there is none."""
    short_confirmation: Confirmation | None = None
    """Confirmation with a smaller budget, if there is none with the full one: it fills columns but changes no rank."""
    best: str | None = None
    """Key of the winner by the rule, however the trials are sorted; ``None`` if every trial with a distance failed."""
    rule: Rule | None = None
    """How the winner is chosen; ``None`` for systems without tags, whose winner has the lowest distance."""

    @property
    def winner(self) -> pd.Series[Any]:
        """The row of the best trial; the ranking must have one."""
        return self.trials[self.trials["key"] == self.best].iloc[0]

    @property
    def visible_defects(self) -> str:
        """Defects of the winner's images that real ones do not have; empty if none is known."""
        from analysis.ranking.winner import describe_defects

        if self.best is None:
            return ""
        (holder, *_) = self.sweep.holding([self.best])
        return describe_defects(self.winner, holder)

    @property
    def objectives(self) -> list[str]:
        """Names of what the search optimized; tag accuracy is not among them where the tag classifier is at chance."""
        return _objectives(self.sweep)

    @property
    def pareto(self) -> list[str]:
        """Keys of the Pareto front of the objectives, in the order of the ranking."""
        return list(self.trials.loc[self.trials["pareto"], "key"])

    @property
    def knee(self) -> str | None:
        """Key of the knee of the front, where giving up a little of one objective brings least of the other."""
        from analysis.ranking.pareto import knee

        if len(self.objectives) < 2:
            return None
        front = self.trials[self.trials["pareto"]]
        index = knee(_values(front, schema.OBJECTIVES), list(schema.OBJECTIVES.values()))
        return None if index is None else str(front["key"].iloc[index])

    def hypervolume(self) -> dict[str, Any] | None:
        """Return the hypervolume of the front up to ``reference``; ``None`` for one objective.

        The reference point is the worst distance of the trials comparable with the front, and a tag accuracy of 0. Two
        hypervolumes compare only with the same reference point.
        """
        from analysis.ranking.pareto import hypervolume_2d

        comparable = _comparable(self.trials, schema.OBJECTIVES)
        if comparable.empty or len(self.objectives) < 2:
            return None
        reference = (float(comparable[f"{SCORES}{schema.DISTANCE}"].max()), 0.0)
        area = hypervolume_2d(_values(comparable, schema.OBJECTIVES), reference)
        return {"value": area, "reference": dict(zip(schema.OBJECTIVES, reference, strict=True))}

    def failures(self) -> dict[str, int]:
        """Count the failed trials by kind of reason, the most frequent first."""
        from analysis.ranking.failure_reasons import group_reasons

        reasons = self.trials.loc[self.trials["status"] == schema.FAILED, "reason"].fillna("no reason given")
        return {kind.name: kind.trials for kind in group_reasons(reasons)}

    def best_by(self, score: str) -> str | None:
        """Return the key of the trial that is best by a score.

        By the score of the ranking it is the first trial, confirmed ones before others; by another score it is the
        best of all trials by their scores of the search, because most of them, and perhaps the best, are not confirmed.
        """
        return _first(self.trials if score == self.by else order_trials(self.sweep.trials, score))

    @property
    def shortfall(self) -> str:
        """Why the confirmation does not affect the order; empty unless its budget is smaller than the sweep's."""
        short = self.short_confirmation
        return "" if short is None else shortfall_text(short, full_budget(self.sweep, self.trials))

    def to_json(self) -> dict[str, Any]:
        """Convert to strict JSON, without NaN and infinity.

        A missing score is ``null``; a missing parameter is left out.
        """
        from analysis.ranking.tag_classifier_check import tag_classifier_warning

        confirmed, short = self.confirmation or self.short_confirmation, self.short_confirmation
        return {
            "sweep": self.sweep.name,
            "by": self.by,
            "fingerprint": self.fingerprint,
            "mixed_fingerprints": self.mixed,
            "tag_classifier_warning": tag_classifier_warning(self.sweep.data),
            "visible_defects": self.visible_defects or None,
            "trials": [trial_json(row) for row in self.trials.to_dict("records")],
            "pareto": self.pareto,
            "best": self.best,
            "rule": self.rule.words if self.rule else None,
            "rule_numbers": self.rule.to_json() if self.rule else None,
            "knee": self.knee,
            "hypervolume": self.hypervolume(),
            "failures": self.failures(),
            "confirmation": confirmed.to_json() if confirmed else {},
            "confirmed": self.confirmation.about() if self.confirmation else None,
            "short_confirmation": {**short.about(), "reason": self.shortfall} if short else None,
        }


def rank(
    sweep: Sweep, by: str = schema.DISTANCE, allow_mixed: bool = False, *, min_tag_accuracy: float | None = None
) -> Ranking:
    """Order the trials of a sweep by a score, confirmed configurations first, choose the winner, and mark the front.

    Args:
        sweep: with its repeats.
        by: the score of the order; the winner does not depend on it.
        allow_mixed: rank scores together that were measured in different ways.
        min_tag_accuracy: floor of the winner's tag accuracy, 0 to 1, 0 for none; default: that of the rule.

    Raises:
        AnalysisUsageError: the sweep has no such score, or a floor out of range.
        AnalysisError: its scores have different fingerprints, and ``allow_mixed`` is false.
    """
    require_score(sweep, by)
    fingerprints = _fingerprints(sweep)
    if len(fingerprints) > 1 and not allow_mixed:
        raise AnalysisError(
            f"the scores of sweep {sweep.name!r} do not compare, they differ in {_differences(fingerprints)}; "
            "--allow-mixed ranks them together all the same"
        )
    by_distance = order_trials(sweep.trials, schema.DISTANCE)
    rule = sweep_rule(sweep, full_budget(sweep, by_distance), min_tag_accuracy)
    first, *others = (_arrange(sweep, score, rule, allow_mixed) for score in dict.fromkeys((by, schema.DISTANCE)))
    trials, confirmed, is_short = first
    by_distance = others[0][0] if others else trials
    ranked = by_distance.loc[by_distance["rank"].notna(), "key"]
    best = rule.choose(ranked) if rule else next(iter(ranked), None)
    trials.insert(1, "pareto", _front(trials, _objectives(sweep)))
    agreed, mixed = json.loads(fingerprints[0]) if len(fingerprints) == 1 else sweep.fingerprint, len(fingerprints) > 1
    long, short = (None, confirmed) if is_short else (confirmed, None)
    return Ranking(sweep, by, trials, agreed, mixed, long, short, best, rule)


def _arrange(
    sweep: Sweep, by: str, rule: Rule | None, allow_mixed: bool
) -> tuple[pd.DataFrame, Confirmation | None, bool]:
    """Return the trials in order, their confirmation, and whether its budget is too small to change the order."""
    from analysis.repeats.confirmation import confirmation

    passing = rule.passing if rule and by == schema.DISTANCE else None
    confirmed, ordered = (
        confirmation(sweep, by, allow_mixed=allow_mixed, passing=passing),
        order_trials(sweep.trials, by),
    )
    if _is_short(confirmed, sweep, ordered):
        return add_confirmed_columns(ordered, confirmed), confirmed, True
    return put_confirmed_first(ordered, confirmed), confirmed, False


def full_budget(sweep: Sweep, ordered: pd.DataFrame) -> int:
    """Return the full budget of a trial in kimg: from the settings, else the longest training of a ranked trial."""
    max_kimg = sweep.settings.get("max_kimg")
    longest = ordered.loc[ordered["rank"].notna(), "kimg"].max()
    return int(max_kimg) if max_kimg else math.floor(longest) if longest > 0 else 0


def shortfall_text(confirmed: Confirmation, full: int) -> str:
    """Explain why a confirmation with a smaller budget does not affect the order."""
    return (
        f"{confirmed.budget} {confirmed.unit} a run is less than the sweep's {full}, and moves no trial; "
        f"`gansweep confirm` without --max-kimg confirms at {full}"
    )


# Order -------------------------------------------------------------------------------------------------------
def _is_short(confirmed: Confirmation | None, sweep: Sweep, ordered: pd.DataFrame) -> bool:
    return confirmed is not None and confirmed.budget < full_budget(sweep, ordered)


def _first(ordered: pd.DataFrame) -> str | None:
    return str(ordered["key"].iloc[0]) if ordered["rank"].notna().any() else None


def _objectives(sweep: Sweep) -> list[str]:
    """Return the objectives of a search; sweeps of earlier versions have all that they measured."""
    searched = sweep.data.get("objectives") or schema.OBJECTIVES
    return [name for name in schema.OBJECTIVES if name in searched]


def _front(trials: pd.DataFrame, searched: Sequence[str]) -> Any:
    """Mark the front of the trials that were scored on most images.

    A sweep without tag accuracies (an unconditional system), or whose search leaves them out, has one objective.
    """
    from analysis.ranking.pareto import pareto_front

    measured = [name for name in searched if finite_scores(trials, name).notna().any()]
    objectives = measured if schema.DISTANCE in measured else list(searched)
    values = _values(trials, objectives)
    values[~trials.index.isin(_comparable(trials, objectives).index)] = math.nan
    return pareto_front(values, [schema.OBJECTIVES[name] for name in objectives])


def _values(trials: pd.DataFrame, objectives: Iterable[str]) -> Any:
    return trials.reindex(columns=[f"{SCORES}{name}" for name in objectives]).astype(float).to_numpy().copy()


def _comparable(trials: pd.DataFrame, objectives: Iterable[str]) -> pd.DataFrame:
    """Return the trials that have not failed, have every objective and were scored on most images."""
    import numpy as np

    values = _values(trials, objectives)
    held = trials["status"] != schema.FAILED
    samples = trials["samples"].where(held & ~np.isnan(values).all(axis=1))
    kept: pd.DataFrame = trials[held & ~(samples < samples.max()) & np.isfinite(values).all(axis=1)]
    return kept


# Refusals ----------------------------------------------------------------------------------------------------
def require_score(sweep: Sweep, by: str) -> None:
    """Check that a sweep has a score.

    Raises:
        AnalysisUsageError: the sweep has no such score.
    """
    allowed = list(dict.fromkeys([schema.DISTANCE, *sweep.scores]))
    if by not in allowed:
        raise AnalysisUsageError(
            f"sweep {sweep.name!r} has no score {by!r}{nearest(by, allowed)}; it has: {', '.join(allowed)}"
        )


def _fingerprints(sweep: Sweep) -> list[str]:
    """Return the distinct fingerprints of the trials with scores, the most frequent first."""
    scored = sweep.trials.reindex(columns=[f"{SCORES}{name}" for name in sweep.scores]).notna().any(axis=1)
    return list(sweep.trials.loc[scored, "fingerprint"].value_counts().index)


def _differences(fingerprints: Sequence[str]) -> str:
    """Format the fields in which fingerprints differ: ``samples (1000, 5000)``."""
    parsed = [json.loads(text) for text in fingerprints]
    values = {
        name: list(dict.fromkeys(str(fingerprint.get(name)) for fingerprint in parsed)) for name in set().union(*parsed)
    }
    return "; ".join(
        f"{name} ({', '.join(distinct)})" for name, distinct in sorted(values.items()) if len(distinct) > 1
    )
