"""Summarize the repeats of a sweep: confirmed configurations with intervals, ablations with paired differences."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Final

from analysis import schema
from analysis.errors import AnalysisError
from analysis.mlflow_reader.sweep import METRICS, SCORES
from analysis.repeats.results import Ablation, AblationEffect, Confirmation, Confirmed, finite
from analysis.repeats.seed_statistics import (
    LEVEL,
    holm,
    paired_difference,
    probability_of_best,
    separable_from,
    summarise,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    import pandas as pd
    from numpy.typing import ArrayLike

    from analysis.mlflow_reader.sweep import Sweep
    from analysis.repeats.seed_statistics import Summary

_QUANTILE: Final = NormalDist().inv_cdf(0.975)


def confirmation(
    sweep: Sweep,
    by: str = schema.DISTANCE,
    *,
    budget: int | None = None,
    allow_mixed: bool = False,
    passing: Collection[str] | None = None,
) -> Confirmation | None:
    """Summarize the confirmed configurations of a sweep; ``None`` when none has a score yet.

    Configurations are compared on the seeds they share. A configuration with a failed run is left out of the
    comparison, because one that diverged once cannot be recommended. One with too few runs is left out too, unless
    dropping runs of the others uses more runs in total (an interrupted confirmation has all configurations on its
    first seeds).

    Args:
        sweep: with its repeats.
        by: the score.
        budget: in kimg; default: the largest confirmed one.
        allow_mixed: compare scores that were measured in different ways.
        passing: keys of the trials among which the winner's rule chooses; default, and if none of them was confirmed:
            all. The best is one of them, and only they are tested against it.

    Raises:
        AnalysisError: the scores were measured in different ways.
    """
    runs = _repeats(sweep, schema.KIND_CONFIRMATION, by)
    scored = runs[runs["score"].notna()]
    if budget is not None:
        scored = scored[scored["budget"] == budget]
    if scored.empty:
        return None
    kimg = int(scored["budget"].max())
    left_out, runs = int((scored["budget"] < kimg).sum()), runs[runs["budget"] == kimg]
    if not allow_mixed:
        _require_one_fingerprint(sweep, runs)
    maximize = schema.direction(by) == "maximize"
    by_key = {str(key): _gathered(str(key), group, by) for key, group in runs.groupby("of")}
    compared, seeds = _comparable(by_key)
    if compared:
        by_key |= _compared({key: by_key[key] for key in compared}, seeds, runs, by, passing or ())
    sign = -1.0 if maximize else 1.0

    def place(configuration: Confirmed) -> tuple[bool, bool, float, str]:
        return (
            not configuration.compared,
            not configuration.scores,
            sign * (configuration.summary.mean if configuration.scores else 0.0),
            configuration.key,
        )

    unit = schema.budget_unit(sweep.settings)
    return Confirmation(by, kimg, seeds, tuple(sorted(by_key.values(), key=place)), left_out, unit)


def confirmed_means(sweep: Sweep, by: str, budget: int) -> dict[str, float]:
    """Return the mean score over fresh seeds by key of the confirmed trials.

    Empty if the largest confirmed budget is below ``budget``, in kimg: such a confirmation is not compared with the
    search.
    """
    runs = _repeats(sweep, schema.KIND_CONFIRMATION, by)
    scored = runs[runs["score"].notna()]
    if scored.empty or scored["budget"].max() < budget:
        return {}
    means = scored[scored["budget"] == scored["budget"].max()].groupby("of")["score"].mean()
    return {str(key): float(mean) for key, mean in means.items()}


def ablation(
    sweep: Sweep, of: str, by: str = schema.DISTANCE, *, budget: int | None = None, allow_mixed: bool = False
) -> Ablation | None:
    """Summarize the ablation of a trial; ``None`` when no run of it has a score yet.

    ``without`` variants are compared with the winner, ``with`` variants and the winner with the recipe.

    Args:
        sweep: with its repeats.
        of: key of the trial.
        by: the score.
        budget: in kimg; default: the largest one.
        allow_mixed: compare scores that were measured in different ways.

    Raises:
        AnalysisError: the scores were measured in different ways.
    """
    runs = _repeats(sweep, schema.KIND_ABLATION, by)
    runs = runs[runs["of"] == of]
    scored = runs[runs["score"].notna() & ((runs["budget"] == budget) if budget is not None else True)]
    if scored.empty:
        return None
    kimg = int(scored["budget"].max())
    runs = runs[runs["budget"] == kimg]
    if not allow_mixed:
        _require_one_fingerprint(sweep, runs)
    seeds = sorted(set(runs["seed"]))
    table = {
        str(variant): [float(group.set_index("seed")["score"].get(seed, math.nan)) for seed in seeds]
        for variant, group in runs.groupby("variant", sort=False)
    }
    bases = {name: _base(name) for name in table if _base(name) in table}
    differences = {name: paired_difference(table[base], table[name]) for name, base in bases.items()}
    adjusted = dict(zip(differences, holm([difference.p for difference in differences.values()]), strict=True))
    effects = []
    for name in sorted(table, key=_order):
        group = runs[runs["variant"] == name]
        p = float(adjusted[name]) if name in adjusted else None
        effects.append(
            AblationEffect(
                name,
                dict(group["variant_params"].iloc[0]),
                _summary(
                    by, table[name], [_error(row, by) for _, row in group.set_index("seed").reindex(seeds).iterrows()]
                ),
                bases.get(name, ""),
                differences.get(name),
                p,
                None if p is None or math.isnan(p) else p < 1 - LEVEL,
                _reasons(group),
            )
        )
    return Ablation(of, by, kimg, tuple(effects), schema.budget_unit(sweep.settings))


# From runs to configurations ---------------------------------------------------------------------------------
def _repeats(sweep: Sweep, kind: str, by: str) -> pd.DataFrame:
    """Return the repeats of a kind with the columns ``score`` (finite, of complete runs) and ``error``."""
    runs = sweep.repeats[sweep.repeats["kind"] == kind].copy()
    score = runs.reindex(columns=[f"{SCORES}{by}"]).iloc[:, 0].astype(float)
    runs["score"] = score.where((runs["status"] == schema.COMPLETE) & (score.abs() < math.inf))
    runs["error"] = [_error(row, by) for _, row in runs.iterrows()]
    return runs


def _error(row: pd.Series[Any], by: str) -> float:
    """Compute the standard error of a run's score over its sampling noise, from its 95% interval."""
    low, high = (row.get(f"{METRICS}{schema.INTERVAL}{by}/{end}") for end in ("low", "high"))
    return math.nan if low is None or high is None else float(high - low) / (2 * _QUANTILE)


def _summary(by: str, values: ArrayLike, errors: ArrayLike) -> Summary:
    """Call ``summarise``, and clip the interval of a share to [0, 1], since Student's t is unbounded."""
    summary = summarise(values, errors)
    if not by.startswith(schema.SHARES) or math.isnan(summary.low):
        return summary
    return replace(summary, low=max(summary.low, 0.0), high=min(summary.high, 1.0))


def _gathered(key: str, runs: pd.DataFrame, by: str) -> Confirmed:
    maximize = schema.direction(by) == "maximize"
    scored = runs[runs["score"].notna()].sort_values(["score", "seed"], ascending=not maximize)
    ended = runs["status"].isin((schema.COMPLETE, schema.FAILED))
    return Confirmed(
        key,
        _summary(by, scored["score"], scored["error"]),
        {int(seed): float(score) for seed, score in zip(scored["seed"], scored["score"], strict=True)},
        str(scored["key"].iloc[len(scored) // 2]) if len(scored) else None,
        recipe=bool(runs["recipe"].any()),
        failed=_reasons(runs),
        unfinished=int((~ended).sum()),
    )


def _reasons(runs: pd.DataFrame) -> tuple[str, ...]:
    failed = runs[(runs["status"] == schema.FAILED) | ((runs["status"] == schema.COMPLETE) & runs["score"].isna())]
    return tuple(str(reason or "no finite score") for reason in failed["reason"])


def _comparable(by_key: dict[str, Confirmed]) -> tuple[list[str], tuple[int, ...]]:
    """Choose configurations without a failed run, and the seeds they share, such that most runs are used."""
    complete = sorted(
        (configuration for configuration in by_key.values() if configuration.scores and not configuration.failed),
        key=lambda configuration: -len(configuration.scores),
    )
    choices: list[tuple[list[str], tuple[int, ...]]] = [([], ())]
    for count in range(1, len(complete) + 1):
        shared = set.intersection(*(set(configuration.scores) for configuration in complete[:count]))
        choices.append(([configuration.key for configuration in complete[:count]], tuple(sorted(shared))))
    return max(choices, key=lambda choice: (len(choice[0]) * len(choice[1]), len(choice[1])))


def _compared(
    by_key: dict[str, Confirmed], seeds: tuple[int, ...], runs: pd.DataFrame, by: str, passing: Collection[str]
) -> dict[str, Confirmed]:
    maximize = schema.direction(by) == "maximize"
    by_seed = runs.set_index(["of", "seed"])
    errors, keys = by_seed["error"], by_seed["key"]
    table = {key: [configuration.scores[seed] for seed in seeds] for key, configuration in by_key.items()}
    noise = {key: [float(errors[key, seed]) for seed in seeds] for key in by_key}
    summaries = {key: _summary(by, table[key], noise[key]) for key in by_key}
    eligible = [key for key in by_key if key in passing] or list(by_key)
    drawn = probability_of_best([table[key] for key in eligible], [noise[key] for key in eligible], maximize=maximize)
    shares = dict(zip(eligible, drawn, strict=True))
    sign = -1.0 if maximize else 1.0
    best = min(eligible, key=lambda key: (sign * summaries[key].mean, key))
    comparisons = separable_from(best, {key: table[key] for key in eligible})
    below = {key: (paired_difference(table[best], table[key]), math.nan, None) for key in by_key if key not in eligible}
    compared = {}
    for key, configuration in by_key.items():
        best_first = [seed for seed in configuration.scores if seed in seeds]
        difference, p, separable = {**comparisons, **below}.get(key, (None, math.nan, False))
        compared[key] = replace(
            configuration,
            summary=summaries[key],
            scores={seed: configuration.scores[seed] for seed in seeds},
            median_key=str(keys[key, best_first[len(seeds) // 2]]),
            compared=True,
            p_best=float(shares[key]) if key in shares else None,
            separable=separable,
            difference=difference,
            p=finite(p),
            follows_tags=key in eligible,
        )
    return compared


def _require_one_fingerprint(sweep: Sweep, runs: pd.DataFrame) -> None:
    fingerprints = sorted({str(text) for text in runs.loc[runs["score"].notna(), "fingerprint"]})
    if len(fingerprints) > 1:
        parsed = [json.loads(text) for text in fingerprints]
        names = sorted(
            name for name in set().union(*parsed) if len({str(fingerprint.get(name)) for fingerprint in parsed}) > 1
        )
        raise AnalysisError(
            f"the repeats of sweep {sweep.name!r} do not compare, they were measured with different "
            f"{', '.join(names)}; --allow-mixed ranks them together all the same"
        )


def _base(variant: str) -> str:
    if variant.startswith("without "):
        return schema.WINNER
    return "" if variant == schema.RECIPE_VARIANT else schema.RECIPE_VARIANT


def _order(variant: str) -> tuple[int, str]:
    """Sort the winner first, then the recipe, the ``without`` variants and the ``with`` variants."""
    marks = (variant == schema.WINNER, variant == schema.RECIPE_VARIANT, variant.startswith("without "))
    return -sum(weight * mark for weight, mark in zip((4, 2, 1), marks, strict=True)), variant
