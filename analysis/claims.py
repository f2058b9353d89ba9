"""What a sweep says about each claim of the reports: ``gansweep claims NAME`` or ``python -m analysis.claims NAME``.

Each part of a claim is answered by the best evidence there is: ablation pairs, then confirmed configurations that
differ in that dimension alone, then the trials of the sweep, adjusted for all other dimensions (``analysis.effects``).
A part is *supported* or *contradicted* when its 95% interval excludes no effect, and *not separable* otherwise. That
values do not differ is supported when the whole interval is smaller than a tenth of a distance, or 0.05 of a share.
A verdict from less than a quarter of the report's own training reads *at short budget*.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 - tyro reads the annotations of ClaimsOptions
from typing import TYPE_CHECKING, Any, Final

import tyro  # noqa: TC002 - and those of its positional arguments

from analysis.claim_list import CLAIMS, EARLY, Beside, Change, Claim, Contrast, Part, Slope
from analysis.script import print_answer, run_script

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from analysis.axes import Axis
    from analysis.effect import Effect
    from analysis.evidence import Evidence
    from analysis.runs import Sweep

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
class ClaimsOptions:
    """What the sweep says about each claim of the reports."""

    name: tyro.conf.Positional[str]
    """The sweep."""
    home: Path | None = None
    """Folder of the sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""
    tracking: str | None = None
    """MLflow tracking URI, where the sweep was not tracked in its home."""
    json: bool = False
    """Print one JSON object with every claim."""
    all: bool = False
    """Also list the claims that the sweep does not ask."""


@dataclass(frozen=True)
class PartVerdict:
    """What the sweep says about one part of a claim."""

    part: Part
    verdict: str
    reason: str = ""
    """Why there is no answer."""
    effect: Effect | None = None

    def to_json(self) -> dict[str, Any]:
        """Give question and answer as JSON."""
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
    """What the sweep says about a claim."""

    claim: Claim
    verdict: str
    parts: list[PartVerdict] = field(default_factory=list)

    @property
    def kimg(self) -> float | None:
        """The training that the verdict rests on: the longest of its parts'."""
        known = [part.effect.kimg for part in self.parts if part.effect and part.effect.kimg is not None]
        return max(known, default=None)

    @property
    def share_of_budget(self) -> float | None:
        """That training over the report's own; ``None`` where either is unknown."""
        budget = self.claim.budget_kimg
        return None if budget is None or self.kimg is None else self.kimg / budget

    @property
    def wording(self) -> str:
        """The verdict with what must be said about its budget."""
        short = self.share_of_budget is not None and self.share_of_budget < SHORT
        return f"{self.verdict} at short budget" if short else self.verdict

    def to_json(self) -> dict[str, Any]:
        """Give claim, verdict and evidence as JSON."""
        return {
            "id": self.claim.id,
            "systems": self.claim.systems.split(", "),
            "text": self.claim.text,
            "verdict": self.wording,
            "kimg": self.kimg,
            "budget_kimg": self.claim.budget_kimg,
            "share_of_budget": self.share_of_budget,
            "unmeasured": self.claim.unmeasured or None,
            "parts": [part.to_json() for part in self.parts],
        }


def judge_claims(sweep: Sweep) -> list[ClaimVerdict]:
    """Answer every claim, by number.

    Raises:
        AnalysisError: trials were scored in several ways.
    """
    from analysis.evidence import Evidence

    evidence = Evidence(sweep, sorted({part.metric for claim in CLAIMS for part in claim.parts}
                                      | {part.other for claim in CLAIMS for part in claim.parts
                                         if isinstance(part, Beside)}))  # fmt: skip
    return [judge_claim(claim, evidence) for claim in CLAIMS]


def judge_claim(claim: Claim, evidence: Evidence) -> ClaimVerdict:
    """Answer one claim from what a sweep measured."""
    if not claim.parts:
        return ClaimVerdict(claim, NO_DIMENSION)
    if claim.only and claim.only not in evidence.systems:
        return ClaimVerdict(
            claim, NOT_ASKED, [PartVerdict(part, NOT_ASKED, f"only in {claim.only}") for part in claim.parts]
        )
    parts = [_judge_part(part, evidence) for part in claim.parts]
    return ClaimVerdict(claim, combined([part.verdict for part in parts]), parts)


def combined(verdicts: Sequence[str]) -> str:
    """Give the verdict of a claim from those of its parts; what was not asked does not count."""
    asked = [verdict for verdict in verdicts if verdict != NOT_ASKED]
    if not asked:
        return NOT_ASKED
    if SUPPORTED in asked:
        return SUPPORTED if set(asked) == {SUPPORTED} else IN_PART
    return next(verdict for verdict in (CONTRADICTED, NOT_SEPARABLE, NOT_ENOUGH) if verdict in asked)


def judge(effect: Effect, expected: str) -> str:
    """Say whether an effect is what a claim expects."""
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


def _judge_part(part: Part, evidence: Evidence) -> PartVerdict:
    if missing := _not_asked(part, evidence):
        return PartVerdict(part, NOT_ASKED, missing)
    answers: dict[type, Callable[[Any], Effect | None]] = {
        Contrast: evidence.contrast,
        Slope: evidence.slope,
        Change: evidence.change,
        Beside: evidence.beside,
    }
    effect = answers[type(part)](part)
    if effect is None:
        return PartVerdict(part, NOT_ENOUGH, evidence.shortage(part))
    return PartVerdict(part, judge(effect, part.expected), effect=effect)


def _not_asked(part: Part, evidence: Evidence) -> str:
    """Why the sweep says nothing about a part; empty where it may."""
    for metric in [part.metric, *([part.other] if isinstance(part, Beside) else [])]:
        if metric not in evidence.metrics:
            return f"no trial has the score {metric}"
    axis = evidence.axes.get(part.dimension)
    if isinstance(part, Beside):
        return ""
    if axis is None:
        if isinstance(part, Change) and evidence.fixed(part.dimension) in part.values:
            return ""
        return f"{part.dimension} did not vary"
    if isinstance(part, Contrast) and not (_has(axis, part.values) and _has(axis, part.against)):
        return f"the values of {part.dimension} that it compares were not both searched"
    return ""


def _has(axis: Axis, values: Sequence[Any]) -> bool:
    if axis.choices:
        return any(value in axis.choices for value in values)
    return any(axis.low <= value <= axis.high for value in values)


# The command -------------------------------------------------------------------------------------------------
def run(options: ClaimsOptions) -> int:
    """Carry out ``gansweep claims``."""
    from analysis.mutated import left_out
    from analysis.runs import load

    sweep = load(options.name, home=options.home, tracking=options.tracking)
    verdicts, mutated = judge_claims(sweep), left_out(sweep)
    told = {"sweep": sweep.name, "claims": [verdict.to_json() for verdict in verdicts], "left_out": mutated or None}
    said = "\n".join(filter(None, [format_claims(verdicts, everything=options.all), mutated]))
    print_answer(told, said, as_json=options.json)
    return 0


def format_claims(verdicts: Sequence[ClaimVerdict], *, everything: bool = False) -> str:
    """Give verdicts as text: one line per claim, and under it one per part."""
    silent = (NOT_ASKED, NO_DIMENSION)
    shown = [one for one in verdicts if everything or one.verdict not in silent]
    lines = [line for one in shown for line in _claim_lines(one)]
    if hidden := [one.claim.id for one in verdicts if one not in shown]:
        lines.append(f"not asked by this sweep: {', '.join(hidden)}; --all says why")
    return "\n".join(lines)


def _claim_lines(one: ClaimVerdict) -> list[str]:
    share = one.share_of_budget
    budget = "" if one.kimg is None else " (the report's budget is not known)" if share is None else (
        f" ({one.kimg:g} kimg, {share:.0%} of the report's)")  # fmt: skip
    lines = [f"{one.claim.id} ({one.claim.systems}) {one.claim.text}", f"    {one.wording}{budget}"]
    lines += [f"      {_part_line(part)}" for part in one.parts]
    return lines + ([f"      not measured: {one.claim.unmeasured}"] if one.claim.unmeasured else [])


def _part_line(part: PartVerdict) -> str:
    from analysis.effect import compared, measured, rests_on

    effect = part.effect
    if effect is None:
        name = part.part.dimension or part.part.metric
        return f"{name}, {part.part.metric} {part.part.time}: {part.verdict}, {part.reason}"
    where = "" if effect.kimg is None else f" at {effect.kimg:g} kimg"
    when = " early" if part.part.time == EARLY else ""
    return (
        f"{compared(effect)}: {effect.metric}{when} {measured(effect)}{where}, "
        f"{effect.evidence}, {rests_on(effect)}: {part.verdict}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a script: ``python -m analysis.claims NAME``."""
    return run_script(ClaimsOptions, run, "claims", argv)


if __name__ == "__main__":
    sys.exit(main())
