"""What the repeats of a sweep say: confirmed configurations with intervals, ablations with paired differences."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Final

from analysis import schema
from analysis.errors import AnalysisError
from analysis.runs import METRICS, SCORES
from analysis.seeds import (
    LEVEL,
    Difference,
    Summary,
    holm,
    paired_difference,
    probability_of_best,
    separable_from,
    summarise,
)

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

    from analysis.runs import Sweep

_QUANTILE: Final = NormalDist().inv_cdf(0.975)
CORRECTION: Final = "Holm over all pairs"


@dataclass(frozen=True)
class Confirmed:
    """One configuration on its seeds."""

    key: str
    """Of the trial whose configuration it is."""
    summary: Summary
    scores: dict[int, float]
    """By seed, the best first; once compared in the order of the seeds, and of the shared ones alone."""
    median_key: str | None
    """Key of the run with the median score; of an even number, that with the worse of the two middle ones. It stands
    for the configuration as the luckiest run would not."""
    recipe: bool = False
    failed: tuple[str, ...] = ()
    """Why its runs failed, one reason each."""
    unfinished: int = 0
    """Runs that have not ended."""
    compared: bool = False
    """Whether it has no failed run and all seeds that the others are compared on."""
    p_best: float | None = None
    separable: bool | None = None
    """From the best; ``False`` for the best itself, ``None`` where it is not compared."""
    difference: Difference | None = None
    """Its score minus that of the best, seed by seed; ``None`` for the best and where it is not compared."""
    p: float | None = None
    """Of that difference, corrected for all pairs."""


@dataclass(frozen=True)
class Confirmation:
    """The confirmed configurations of a sweep by one score, best first; those that do not compare come last."""

    by: str
    budget: int
    """In kimg. Confirmations at smaller budgets are left out."""
    seeds: tuple[int, ...]
    """Those on which configurations are compared."""
    configurations: tuple[Confirmed, ...]
    left_out: int = 0
    """Runs at smaller budgets."""

    @property
    def best(self) -> str | None:
        """Key of the configuration with the best mean of those that compare."""
        first = self.configurations[0]
        return first.key if first.compared else None

    @property
    def close(self) -> list[str]:
        """Keys of the others that cannot be told from the best."""
        return [one.key for one in self.configurations if one.separable is False and one.key != self.best]

    def about(self) -> dict[str, Any]:
        """What all of it rests on, and what may be said of the best."""
        return {
            "by": self.by,
            "budget": self.budget,
            "seeds": list(self.seeds),
            "level": LEVEL,
            "correction": CORRECTION,
            "best": self.best,
            "not_separable": self.close,
            "compared_with": [one.key for one in self.configurations if one.compared and one.key != self.best],
        }

    def to_json(self) -> dict[str, Any]:
        """Per key, best first: n, mean, sd, interval, p_best, separable and more; no NaN."""
        return {one.key: _confirmed_json(one) for one in self.configurations}


@dataclass(frozen=True)
class Effect:
    """A variant of an ablation against what it was made from, seed by seed."""

    variant: str
    change: dict[str, Any]
    summary: Summary
    base: str = ""
    """``winner`` or ``recipe``; none for the winner itself."""
    difference: Difference | None = None
    """The variant minus its base."""
    p: float | None = None
    """Of the difference, by Holm over all differences of the ablation."""
    separable: bool | None = None
    failed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ablation:
    """What each difference between a trial and the recipe is worth."""

    of: str
    by: str
    budget: int
    effects: tuple[Effect, ...] = field(default=())

    def to_json(self) -> list[dict[str, Any]]:
        """One object per variant; no NaN."""
        return [
            {
                "variant": effect.variant,
                "change": effect.change,
                **_summary_json(effect.summary),
                "base": effect.base or None,
                "difference": _difference_json(effect.difference),
                "p": _finite(effect.p),
                "separable": effect.separable,
                "failed": list(effect.failed),
            }
            for effect in self.effects
        ]


def confirmation(
    sweep: Sweep, by: str = schema.DISTANCE, *, budget: int | None = None, allow_mixed: bool = False
) -> Confirmation | None:
    """Judge the confirmed configurations of a sweep; ``None`` when none has a score yet.

    Configurations are compared on the seeds they share. One with a failed run is left out of the comparison: what
    diverges once cannot be recommended. So is one that has too few runs yet, unless leaving out runs of the others
    keeps more of them (an interrupted confirmation has all configurations on its first seeds).

    Args:
        sweep: with its repeats.
        by: the score.
        budget: in kimg; by default the largest one that was confirmed.
        allow_mixed: compare scores that were measured in different ways.

    Raises:
        AnalysisError: they were measured in different ways.
    """
    runs = _repeats(sweep, schema.KIND_CONFIRMATION, by)
    scored = runs[runs["score"].notna()]
    if budget is not None:
        scored = scored[scored["budget"] == budget]
    if scored.empty:
        return None
    at = int(scored["budget"].max())
    left_out, runs = int((scored["budget"] < at).sum()), runs[runs["budget"] == at]
    if not allow_mixed:
        _require_one_fingerprint(sweep, runs)
    maximize = schema.direction(by) == "maximize"
    found = {str(key): _gathered(str(key), group, by) for key, group in runs.groupby("of")}
    compared, seeds = _comparable(found)
    if compared:
        found |= _compared({key: found[key] for key in compared}, seeds, runs, by)
    sign = -1.0 if maximize else 1.0

    def place(one: Confirmed) -> tuple[bool, bool, float, str]:
        return not one.compared, not one.scores, sign * (one.summary.mean if one.scores else 0.0), one.key

    return Confirmation(by, at, seeds, tuple(sorted(found.values(), key=place)), left_out)


def ablation(
    sweep: Sweep, of: str, by: str = schema.DISTANCE, *, budget: int | None = None, allow_mixed: bool = False
) -> Ablation | None:
    """Judge the ablation of a trial; ``None`` when no run of it has a score yet.

    ``without`` variants are compared with the winner, ``with`` variants and the winner with the recipe.

    Args:
        sweep: with its repeats.
        of: key of the trial.
        by: the score.
        budget: in kimg; by default the largest one.
        allow_mixed: compare scores that were measured in different ways.

    Raises:
        AnalysisError: they were measured in different ways.
    """
    runs = _repeats(sweep, schema.KIND_ABLATION, by)
    runs = runs[runs["of"] == of]
    scored = runs[runs["score"].notna() & ((runs["budget"] == budget) if budget is not None else True)]
    if scored.empty:
        return None
    at = int(scored["budget"].max())
    runs = runs[runs["budget"] == at]
    if not allow_mixed:
        _require_one_fingerprint(sweep, runs)
    seeds = sorted(set(runs["seed"]))
    table = {
        str(variant): [float(group.set_index("seed")["score"].get(seed, math.nan)) for seed in seeds]
        for variant, group in runs.groupby("variant", sort=False)
    }
    bases = {name: _base(name) for name in table if _base(name) in table}
    differences = {name: paired_difference(table[base], table[name]) for name, base in bases.items()}
    adjusted = dict(zip(differences, holm([one.p for one in differences.values()]), strict=True))
    effects = []
    for name in sorted(table, key=_order):
        group = runs[runs["variant"] == name]
        p = float(adjusted[name]) if name in adjusted else None
        effects.append(
            Effect(
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
    return Ablation(of, by, at, tuple(effects))


# From runs to configurations ---------------------------------------------------------------------------------
def _repeats(sweep: Sweep, kind: str, by: str) -> pd.DataFrame:
    """The repeats of a kind with the columns ``score`` (of complete runs, finite) and ``error``."""
    runs = sweep.repeats[sweep.repeats["kind"] == kind].copy()
    score = runs.reindex(columns=[f"{SCORES}{by}"]).iloc[:, 0].astype(float)
    runs["score"] = score.where((runs["status"] == schema.COMPLETE) & (score.abs() < math.inf))
    runs["error"] = [_error(row, by) for _, row in runs.iterrows()]
    return runs


def _error(row: pd.Series[Any], by: str) -> float:
    """Standard error of a run's score over its sampling noise, from its 95% interval."""
    low, high = (row.get(f"{METRICS}{schema.INTERVAL}{by}/{end}") for end in ("low", "high"))
    return math.nan if low is None or high is None else float(high - low) / (2 * _QUANTILE)


def _summary(by: str, values: ArrayLike, errors: ArrayLike) -> Summary:
    """``summarise``, with the interval of a share cut to where shares lie: t knows no bounds."""
    found = summarise(values, errors)
    if not by.startswith(schema.SHARES) or math.isnan(found.low):
        return found
    return replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))


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


def _comparable(found: dict[str, Confirmed]) -> tuple[list[str], tuple[int, ...]]:
    """Configurations without a failed run and seeds that all of them have, so many that most runs are used."""
    sound = sorted((one for one in found.values() if one.scores and not one.failed), key=lambda one: -len(one.scores))
    choices: list[tuple[list[str], tuple[int, ...]]] = [([], ())]
    for count in range(1, len(sound) + 1):
        shared = set.intersection(*(set(one.scores) for one in sound[:count]))
        choices.append(([one.key for one in sound[:count]], tuple(sorted(shared))))
    return max(choices, key=lambda choice: (len(choice[0]) * len(choice[1]), len(choice[1])))


def _compared(found: dict[str, Confirmed], seeds: tuple[int, ...], runs: pd.DataFrame, by: str) -> dict[str, Confirmed]:
    maximize = schema.direction(by) == "maximize"
    by_seed = runs.set_index(["of", "seed"])
    errors, keys = by_seed["error"], by_seed["key"]
    table = {key: [one.scores[seed] for seed in seeds] for key, one in found.items()}
    noise = {key: [float(errors[key, seed]) for seed in seeds] for key in found}
    shares = probability_of_best(list(table.values()), list(noise.values()), maximize=maximize)
    summaries = {key: _summary(by, table[key], noise[key]) for key in found}
    sign = -1.0 if maximize else 1.0
    best = min(found, key=lambda key: (sign * summaries[key].mean, key))
    told = separable_from(best, table)
    compared = {}
    for (key, one), share in zip(found.items(), shares, strict=True):
        best_first = [seed for seed in one.scores if seed in seeds]
        difference, p, apart = told.get(key, (None, math.nan, False))
        compared[key] = replace(
            one,
            summary=summaries[key],
            scores={seed: one.scores[seed] for seed in seeds},
            median_key=str(keys[key, best_first[len(seeds) // 2]]),
            compared=True,
            p_best=float(share),
            separable=apart,
            difference=difference,
            p=_finite(p),
        )
    return compared


def _require_one_fingerprint(sweep: Sweep, runs: pd.DataFrame) -> None:
    found = sorted({str(text) for text in runs.loc[runs["score"].notna(), "fingerprint"]})
    if len(found) > 1:
        parsed = [json.loads(text) for text in found]
        names = sorted(name for name in set().union(*parsed) if len({str(one.get(name)) for one in parsed}) > 1)
        raise AnalysisError(
            f"the repeats of sweep {sweep.name!r} do not compare, they were measured with different "
            f"{', '.join(names)}; --allow-mixed ranks them together all the same"
        )


def _base(variant: str) -> str:
    if variant.startswith("without "):
        return schema.WINNER
    return "" if variant == schema.RECIPE_VARIANT else schema.RECIPE_VARIANT


def _order(variant: str) -> tuple[int, str]:
    """The winner and the recipe, then what was taken away, then what was added."""
    places = (variant == schema.WINNER, variant == schema.RECIPE_VARIANT, variant.startswith("without "))
    return -sum(weight * place for weight, place in zip((4, 2, 1), places, strict=True)), variant


# JSON --------------------------------------------------------------------------------------------------------
def _confirmed_json(one: Confirmed) -> dict[str, Any]:
    return {
        **_summary_json(one.summary),
        "p_best": one.p_best,
        "separable": one.separable,
        "compared": one.compared,
        "p": _finite(one.p),
        "difference": _difference_json(one.difference),
        "recipe": one.recipe,
        "failed": list(one.failed),
        "unfinished": one.unfinished,
        "scores": {str(seed): score for seed, score in one.scores.items()},
        "median_run": one.median_key,
    }


def _summary_json(summary: Summary) -> dict[str, Any]:
    plain = asdict(summary)
    low, high = _finite(plain.pop("low")), _finite(plain.pop("high"))
    numbers = {name: _finite(value) if isinstance(value, float) else value for name, value in plain.items()}
    return {**numbers, "interval": None if low is None else [low, high]}


def _difference_json(difference: Difference | None) -> dict[str, Any] | None:
    if difference is None or not difference.n:
        return None
    low, high = _finite(difference.low), _finite(difference.high)
    interval = None if low is None else [low, high]
    return {"n": difference.n, "mean": difference.mean, "interval": interval, "p_signs": difference.p_signs}


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
