"""Check the claims of the source reports against a sweep: ``gansweep claims NAME``, ``python -m analysis.claims NAME``.

Each part of a claim is checked against the best available evidence: ablation pairs, then confirmed configurations
that differ in that dimension only, then the trials of the sweep, adjusted for all other dimensions
(``analysis.effects.marginal``). A part is *supported* or *contradicted* when its 95% interval excludes no effect, and
*not separable* otherwise, with the smallest effect that would have been seen: half the width of the interval, for n
pairs t(n - 1) s / sqrt(n). A claim that values do not differ is supported when the whole interval lies within 10% of a
distance, or within 0.05 of a share. A verdict at less than a quarter of the report's own training is marked *at short
budget*.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from analysis import schema
from analysis.claim_checks.claims import CLAIMS, EARLY, Claim, Contrast, Part, ScoreContrast, Slope, TrainingChange
from analysis.claim_checks.designs import DESIGNS, PAIRS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from analysis.claim_checks.estimator import ClaimEstimator
    from analysis.effects.dimensions import Axis
    from analysis.effects.effect import Effect
    from analysis.mlflow_reader.sweep import Sweep

SUPPORTED: Final = "supported"
IN_PART: Final = "supported in part"
CONTRADICTED: Final = "contradicted"
NOT_SEPARABLE: Final = "not separable"
NOT_ENOUGH: Final = "not enough trials"
NOT_ASKED: Final = "not asked"
NO_DIMENSION: Final = "no dimension asks it"
SHORT: Final = 0.25
"""Share of the report's budget below which a verdict says so."""
SAME_RATIO: Final = 1.1
SAME_DIFFERENCE: Final = 0.05


@dataclass(frozen=True)
class PartVerdict:
    """The verdict on one part of a claim."""

    part: Part
    verdict: str
    reason: str = ""
    """Why there is no effect."""
    effect: Effect | None = None

    def to_json(self) -> dict[str, Any]:
        """Convert to a JSON object."""
        return {
            "dimension": self.part.dimension or None,
            "metric": self.part.metric,
            "expected": self.part.expected,
            "time": self.part.time,
            "verdict": self.verdict,
            "reason": self.reason or None,
            "effect": self.effect.to_json() if self.effect else None,
        }


@dataclass(frozen=True)
class ClaimVerdict:
    """The verdict on a claim."""

    claim: Claim
    verdict: str
    parts: list[PartVerdict] = field(default_factory=list)
    unit: str = "kimg"
    """Of ``kimg``. Those of the recipe, where images are not what trials get alike, do not compare with a report's."""
    system: str = ""
    """Of the sweep's recipe."""
    seeds: int = 0
    """Seeds on which the sweep has run the claim's design."""

    @property
    def kimg(self) -> float | None:
        """The longest training, in kimg, of any part's effect."""
        known = [part.effect.kimg for part in self.parts if part.effect and part.effect.kimg is not None]
        return max(known, default=None)

    @property
    def share_of_budget(self) -> float | None:
        """``kimg`` as a share of the report's own training; ``None`` if either is unknown."""
        budget = self.claim.budget_kimg
        return None if budget is None or self.kimg is None or self.unit != "kimg" else self.kimg / budget

    @property
    def wording(self) -> str:
        """The verdict, marked if its budget is short."""
        short = self.share_of_budget is not None and self.share_of_budget < SHORT
        return f"{self.verdict} at short budget" if short else self.verdict

    def to_json(self) -> dict[str, Any]:
        """Convert to a JSON object."""
        return {
            "id": self.claim.id,
            "systems": self.claim.systems.split(", "),
            "text": self.claim.text,
            "verdict": self.wording,
            "kimg": self.kimg,
            "budget_kimg": self.claim.budget_kimg,
            "share_of_budget": self.share_of_budget,
            "unmeasured": self.claim.unmeasured or None,
            "design": design.to_json() if (design := DESIGNS.get(self.claim.id)) else None,
            "parts": [part.to_json() for part in self.parts],
        }


def check_claims(sweep: Sweep) -> list[ClaimVerdict]:
    """Check every claim, in the order of their numbers.

    Raises:
        AnalysisError: the trials' scores have several fingerprints.
    """
    from analysis.claim_checks.estimator import ClaimEstimator

    estimator = ClaimEstimator(sweep, sorted({part.metric for claim in CLAIMS for part in claim.parts}
                                      | {part.other for claim in CLAIMS for part in claim.parts
                                         if isinstance(part, ScoreContrast)}))  # fmt: skip
    unit = schema.budget_unit(sweep.settings)
    system = str(next(iter(sweep.trials.loc[sweep.trials["recipe"].astype(bool), "system"]), ""))
    return [
        dataclasses.replace(check_claim(claim, estimator), unit=unit, system=system, seeds=_seeds(sweep, claim))
        for claim in CLAIMS
    ]


def _seeds(sweep: Sweep, claim: Claim) -> int:
    """Count the seeds on which a sweep has run the design of a claim."""
    values = design.values if (design := DESIGNS.get(claim.id)) else ()
    variants = [f"with {value}" for value in values] or [schema.UNCHANGED, schema.RECIPE_VARIANT]
    runs = sweep.repeats[sweep.repeats["kind"] == (schema.KIND_ABLATION if values else schema.KIND_CONFIRMATION)]
    return max(int(runs.loc[runs["variant"] == variant, "seed"].nunique()) for variant in variants)


def check_claim(claim: Claim, estimator: ClaimEstimator) -> ClaimVerdict:
    """Check one claim."""
    if not claim.parts:
        return ClaimVerdict(claim, NO_DIMENSION)
    if claim.only and claim.only not in estimator.systems:
        return ClaimVerdict(
            claim, NOT_ASKED, [PartVerdict(part, NOT_ASKED, f"only in {claim.only}") for part in claim.parts]
        )
    parts = [_check_part(part, estimator) for part in claim.parts]
    return ClaimVerdict(claim, combine_verdicts([part.verdict for part in parts]), parts)


def combine_verdicts(verdicts: Sequence[str]) -> str:
    """Combine the verdicts of a claim's parts, ignoring parts that were not asked."""
    tested = [verdict for verdict in verdicts if verdict != NOT_ASKED]
    if not tested:
        return NOT_ASKED
    if SUPPORTED in tested:
        return SUPPORTED if set(tested) == {SUPPORTED} else IN_PART
    return next(verdict for verdict in (CONTRADICTED, NOT_SEPARABLE, NOT_ENOUGH) if verdict in tested)


def decide_verdict(effect: Effect, expected: str) -> str:
    """Compare an effect with what a claim expects: ``less``, ``more`` or ``same``."""
    ratio = effect.unit == "ratio"
    none = 1.0 if ratio else 0.0
    if expected == "same":
        ends = (1 / SAME_RATIO, SAME_RATIO) if ratio else (-SAME_DIFFERENCE, SAME_DIFFERENCE)
        if ends[0] <= effect.low and effect.high <= ends[1]:
            return SUPPORTED
        return CONTRADICTED if effect.separable else NOT_SEPARABLE
    if not effect.separable:
        return NOT_SEPARABLE
    return SUPPORTED if (effect.estimate < none) == (expected == "less") else CONTRADICTED


def _check_part(part: Part, estimator: ClaimEstimator) -> PartVerdict:
    if missing := _not_asked(part, estimator):
        return PartVerdict(part, NOT_ASKED, missing)
    answers: dict[type, Callable[[Any], Effect | None]] = {
        Contrast: estimator.contrast,
        Slope: estimator.slope,
        TrainingChange: estimator.training_change,
        ScoreContrast: estimator.score_contrast,
    }
    effect = answers[type(part)](part)
    if effect is None:
        return PartVerdict(part, NOT_ENOUGH, estimator.explain_shortage(part))
    return PartVerdict(part, decide_verdict(effect, part.expected), effect=effect)


def _not_asked(part: Part, estimator: ClaimEstimator) -> str:
    """Explain why the sweep does not test a part; empty if it does."""
    for metric in [part.metric, *([part.other] if isinstance(part, ScoreContrast) else [])]:
        if metric not in estimator.metrics:
            return f"no trial has the score {metric}"
    axis = estimator.axes.get(part.dimension)
    if isinstance(part, ScoreContrast):
        return ""
    if axis is None:
        if isinstance(part, TrainingChange) and estimator.fixed(part.dimension) in part.values:
            return ""
        return f"{part.dimension} did not vary"
    if isinstance(part, Contrast) and not (_has(axis, part.values) and _has(axis, part.against)):
        return f"the values of {part.dimension} that it compares were not both searched"
    return ""


def _has(axis: Axis, values: Sequence[Any]) -> bool:
    if axis.choices:
        return any(value in axis.choices for value in values)
    return any(axis.low <= value <= axis.high for value in values)


def format_claims(verdicts: Sequence[ClaimVerdict], sweep: str, *, everything: bool = False) -> str:
    """Format verdicts as text: one line per claim, one per part, and the commands that answer an open one."""
    silent = (NOT_ASKED, NO_DIMENSION)
    listed = [one for one in verdicts if everything or one.verdict not in silent]
    lines = [line for one in listed for line in [*_claim_lines(one), *_design_lines(one, sweep)]]
    if hidden := [one.claim.id for one in verdicts if one not in listed]:
        lines.append(f"not tested by this sweep: {', '.join(hidden)}; --all lists the reasons")
    return "\n".join(lines)


def _claim_lines(one: ClaimVerdict) -> list[str]:
    share = one.share_of_budget
    budget = "" if one.kimg is None else " (the report's budget is not known)" if share is None else (
        f" ({one.kimg:g} kimg, {share:.0%} of the report's)")  # fmt: skip
    if one.kimg is not None and one.unit != "kimg":
        budget = f" ({one.kimg:g} {one.unit})"
    lines = [f"{one.claim.id} ({one.claim.systems}) {one.claim.text}", f"    {one.wording}{budget}"]
    lines += [f"      {_part_line(part, one.unit)}" for part in one.parts]
    return lines + ([f"      not measured: {one.claim.unmeasured}"] if one.claim.unmeasured else [])


def _design_lines(one: ClaimVerdict, sweep: str) -> list[str]:
    """Give the command that answers the open parts of a claim, on twice the seeds that this sweep has."""
    from analysis.effects.effect import ABLATION

    design = DESIGNS.get(one.claim.id)
    unanswered = [part for part in one.parts if part.verdict in (NOT_SEPARABLE, NOT_ENOUGH, NOT_ASKED)]
    if design is None or one.verdict in (SUPPORTED, CONTRADICTED) or not unanswered:
        return []
    dimensions = {part.part.dimension for part in unanswered}
    if one.system != design.system:
        command = design.command("NAME", dimensions=dimensions)
        return [f"      to answer it, in a sweep of {design.system}: {command}"] if command else []
    pairs = [part.effect.trials for part in unanswered if part.effect and part.effect.evidence == ABLATION]
    command = design.command(sweep, max(PAIRS, 2 * max(one.seeds, *pairs, 0)), dimensions)
    return [f"      to answer it: {command}"] if command else []


def _part_line(part: PartVerdict, unit: str) -> str:
    from analysis.effects.effect import comparison_text, interval_text, sample_size_text, smallest_text

    effect = part.effect
    if effect is None:
        name = part.part.dimension or part.part.metric
        return f"{name}, {part.part.metric} {part.part.time}: {part.verdict}, {part.reason}"
    where = "" if effect.kimg is None else f" at {effect.kimg:g} {unit}"
    when = " early" if part.part.time == EARLY else ""
    seen = ""
    if part.verdict == NOT_SEPARABLE:
        known = math.isfinite(effect.smallest_separable)
        seen = f"; {smallest_text(effect)} or beyond would have been seen" if known else "; no difference varies"
    return (
        f"{comparison_text(effect)}: {effect.metric}{when} {interval_text(effect)}{where}, "
        f"{effect.evidence}, {sample_size_text(effect)}: {part.verdict}{seen}"
    )
