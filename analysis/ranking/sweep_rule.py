"""The winner's rule applied to a recorded sweep: which tag accuracies count, and what limits them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from analysis import schema
from analysis.mlflow_reader.sweep import PARAMS
from analysis.ranking.order import finite_scores
from analysis.ranking.winner import Expected, Rule, make_rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analysis.mlflow_reader.sweep import Sweep

SETTING: Final = "min_tag_accuracy"


def sweep_rule(sweep: Sweep, budget: int, minimum: float | None = None) -> Rule | None:
    """Return the rule by which the winner of a sweep is chosen; ``None`` if its systems take no tags.

    The mean over fresh seeds replaces the tag accuracy of a confirmed trial's single run.

    Args:
        sweep: with its repeats.
        budget: full budget of a trial in kimg; confirmations at a smaller one do not count.
        minimum: floor of the tag accuracy, 0 to 1; default: the sweep's setting, else that of ``make_rule``.

    Raises:
        AnalysisUsageError: a minimum out of range.
    """
    from analysis.repeats.confirmation import confirmed_means

    accuracy = finite_scores(sweep.trials, schema.TAG_ACCURACY)
    if not (accuracy.notna().any() or _is_conditional(sweep)):
        return None
    ranked = (sweep.trials["status"] != schema.FAILED) & finite_scores(sweep.trials, schema.DISTANCE).notna()
    keys = sweep.trials.loc[ranked, "key"]
    accuracies = dict(zip(keys, accuracy[ranked], strict=True))
    means = confirmed_means(sweep, schema.TAG_ACCURACY, budget)
    again = sweep.repeats[sweep.repeats["of"].isin(means)].groupby("of")["samples"].max()
    counts = (sweep.trials.set_index("key")["samples"], again)
    samples = {str(key): float(count) for counted in counts for key, count in counted.dropna().items()}
    minimum = sweep.settings.get(SETTING) if minimum is None else minimum
    return make_rule(accuracies | means, expected_accuracy(sweep.data), minimum=minimum, samples=samples)


def expected_accuracy(data: Mapping[str, Any]) -> Expected:
    """Return what limits the tag accuracies of a sweep with this ``data.json``."""
    from analysis.ranking.tag_classifier_check import JOINT, check_tag_classifier

    check = check_tag_classifier(data)
    if check is not None:
        return Expected(check.accuracy, None if data.get("targets") else check.chance, check.at_chance)
    return Expected(((data.get("judge") or {}).get("accuracy") or {}).get(JOINT))


def _is_conditional(sweep: Sweep) -> bool:
    column = f"{PARAMS}generator.conditioning"
    return column in sweep.trials and bool((sweep.trials[column].fillna("none") != "none").any())
