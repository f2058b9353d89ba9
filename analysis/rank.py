"""The trials of a sweep, best first: ``python -m analysis.rank NAME`` or ``rank(load(NAME))`` in a notebook.

Scores are compared as they stand at the end of each trial. A trial that the scheduler stopped early has its score at
its own, smaller budget, which is why ``kimg`` stands beside every score: it might have come further, and is ranked
where it stopped.

A Frechet distance grows as samples become fewer, so distances are compared only between trials whose scores were
measured on equally many pictures: those scored on most, which have come to the end, stand first; those that an early
rung stopped, scored on fewer, follow in an order of their own.

The best of many single runs owes part of its score to luck. After `gansweep confirm` the confirmed configurations
therefore come first, by their mean over fresh seeds; one that failed on a fresh seed comes last. A confirmation of
less than the sweep's full budget stands beside the scores and moves no trial: the best early need not be the best late.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - tyro reads the annotations of RankOptions
from typing import TYPE_CHECKING, Annotated, Any, Final

import tyro

from analysis import schema
from analysis.errors import AnalysisError, AnalysisUsageError
from analysis.rank_json import trial_json
from analysis.runs import SCORES, Sweep, load, nearest
from analysis.script import json_text, run_script

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

    from analysis.confirmation import Confirmation

CONFIRMED: Final = "confirmed."

# pandas, numpy and MLflow are imported where they are used: the command line imports RankOptions only to show help.


@dataclass(frozen=True)
class RankOptions:
    """Rank the trials of a sweep and show the Pareto front of distance and tag accuracy."""

    name: tyro.conf.Positional[str]
    """The sweep."""
    more: tyro.conf.Positional[tuple[str, ...]] = ()
    """More sweeps, to be ranked together with it where they were measured alike."""
    home: Path | None = None
    """Folder of the sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""
    tracking: str | None = None
    """MLflow tracking URI, where the sweep was not tracked in its home."""
    by: str = schema.DISTANCE
    """The score to rank by: distance, tag_accuracy or any other that the sweep logged."""
    json: bool = False
    """Print one JSON object with every trial."""
    csv: Path | None = None
    """Also write every trial to this CSV file."""
    top: int = 30
    """Rows to show; 0 shows all. The recipe and the Pareto front are always shown."""
    allow_mixed: bool = False
    """Rank scores together that were measured in different ways, although they do not compare."""
    under: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME=VALUE: the best within a budget: kimg=50 or seconds=600 (every trial as it was there), parameters=2e6 (of
    the generator), latency=5 (its milliseconds for one picture, where it was trained), or any other number that was
    logged. May be repeated."""
    where: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME=VALUE: only trials with that value of a parameter, or of system. May be repeated."""
    status: str | None = None
    """Only trials of that status, such as complete."""


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
    """Ranked trials first, then failed ones that had a score (no rank), then those that have none (no rank)."""
    fingerprint: dict[str, Any]
    """What the ranked scores were measured with."""
    mixed: bool = False
    """Whether scores of several fingerprints were ranked together."""
    confirmation: Confirmation | None = None
    """That of the full budget; ``None`` before any."""
    short_confirmation: Confirmation | None = None
    """That of a smaller budget, where there is none of the full one: it fills the columns and orders nothing."""

    @property
    def best(self) -> str | None:
        """Key of the best trial, ``None`` when no trial that held to the end has the score."""
        return _first(self.trials)

    @property
    def pareto(self) -> list[str]:
        """Keys of the Pareto front of distance and tag accuracy, in the order of the ranking."""
        return list(self.trials.loc[self.trials["pareto"], "key"])

    @property
    def knee(self) -> str | None:
        """Key of the knee of the front, where giving up a little of one objective brings least of the other."""
        from analysis.pareto import knee

        front = self.trials[self.trials["pareto"]]
        found = knee(_values(front, schema.OBJECTIVES), list(schema.OBJECTIVES.values()))
        return None if found is None else str(front["key"].iloc[found])

    def hypervolume(self) -> dict[str, Any] | None:
        """Area that the front covers: distance times share, up to ``reference``; ``None`` for one objective.

        The reference point is the worst distance of the trials that compare with the front, and a tag accuracy of 0:
        two areas compare only where it is the same.
        """
        from analysis.pareto import hypervolume_2d

        known = _comparable(self.trials, schema.OBJECTIVES)
        if known.empty:
            return None
        reference = (float(known[f"{SCORES}{schema.DISTANCE}"].max()), 0.0)
        area = hypervolume_2d(_values(known, schema.OBJECTIVES), reference)
        return {"value": area, "reference": dict(zip(schema.OBJECTIVES, reference, strict=True))}

    def failures(self) -> dict[str, int]:
        """How many trials failed for which kind of reason, the most frequent first."""
        from analysis.reasons import by_kind

        reasons = self.trials.loc[self.trials["status"] == schema.FAILED, "reason"].fillna("no reason given")
        return {kind.name: kind.trials for kind in by_kind(reasons)}

    def best_by(self, score: str) -> str | None:
        """Key of the trial that is best by another score."""
        from analysis.confirmation import confirmation

        ordered = _ordered(self.sweep.trials, score)
        found = confirmation(self.sweep, score, allow_mixed=True)
        return _first(ordered if _is_short(found, self.sweep, ordered) else _confirmed_first(ordered, found))

    @property
    def shortfall(self) -> str:
        """Why a confirmation orders nothing; empty where there is none that was short."""
        short = self.short_confirmation
        return "" if short is None else not_counted(short, full_budget(self.sweep, self.trials))

    def to_json(self) -> dict[str, Any]:
        """Give the ranking as strict JSON: no NaN and no infinity.

        A score that a trial does not have is ``null``; a parameter that it does not have is left out.
        """
        found, short = self.confirmation or self.short_confirmation, self.short_confirmation
        return {
            "sweep": self.sweep.name,
            "by": self.by,
            "fingerprint": self.fingerprint,
            "mixed_fingerprints": self.mixed,
            "trials": [trial_json(row) for row in self.trials.to_dict("records")],
            "pareto": self.pareto,
            "best": self.best,
            "knee": self.knee,
            "hypervolume": self.hypervolume(),
            "failures": self.failures(),
            "confirmation": found.to_json() if found else {},
            "confirmed": self.confirmation.about() if self.confirmation else None,
            "short_confirmation": {**short.about(), "reason": self.shortfall} if short else None,
        }


def rank(sweep: Sweep, by: str = schema.DISTANCE, allow_mixed: bool = False) -> Ranking:
    """Order the trials of a sweep by a score, confirmed configurations first, and mark the Pareto front.

    Raises:
        AnalysisUsageError: the sweep has no such score.
        AnalysisError: its scores were measured in different ways, and ``allow_mixed`` is not given.
    """
    from analysis.confirmation import confirmation

    _require_score(sweep, by)
    fingerprints = _fingerprints(sweep)
    if len(fingerprints) > 1 and not allow_mixed:
        raise AnalysisError(
            f"the scores of sweep {sweep.name!r} do not compare, they differ in {_differences(fingerprints)}; "
            "--allow-mixed ranks them together all the same"
        )
    found = confirmation(sweep, by, allow_mixed=allow_mixed)
    ordered = _ordered(sweep.trials, by)
    short = found if _is_short(found, sweep, ordered) else None
    trials = _with_confirmed(ordered, found) if short else _confirmed_first(ordered, found)
    trials.insert(1, "pareto", _front(trials))
    agreed, mixed = json.loads(fingerprints[0]) if len(fingerprints) == 1 else sweep.fingerprint, len(fingerprints) > 1
    return Ranking(sweep, by, trials, agreed, mixed, None if short else found, short)


def full_budget(sweep: Sweep, ordered: pd.DataFrame) -> int:
    """Give the budget in kimg of a trial that comes to the end: as asked for, or else the most of any ranked trial."""
    asked = sweep.settings.get("max_kimg")
    most = ordered.loc[ordered["rank"].notna(), "kimg"].max()
    return int(asked) if asked else math.floor(most) if most > 0 else 0


def not_counted(found: Confirmation, full: int) -> str:
    """Why a confirmation of a smaller budget orders nothing."""
    return (
        f"{found.budget} kimg a run is less than the sweep's {full}, and moves no trial; "
        f"`gansweep confirm` without --max-kimg confirms at {full}"
    )


def write_csv(ranking: Ranking, path: Path, *apart: Ranking) -> None:
    """Write every trial with every column, in the order of the ranking, then those ranked ``apart``."""
    import pandas as pd

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.concat([one.trials for one in (ranking, *apart)]).to_csv(path, index=False)
    except OSError as error:
        raise AnalysisError(f"cannot write {path}: {error.strerror or error}") from error


def run(options: RankOptions) -> int:
    """Carry out ``gansweep rank``: results on stdout, the name of a written file on stderr."""
    from analysis.rank_table import print_ranking
    from analysis.select import by_kind, merged, selected

    names = dict.fromkeys((options.name, *options.more))
    sweep = merged([load(name, home=options.home, tracking=options.tracking) for name in names])
    _require_score(sweep, options.by)
    sweep = selected(sweep, under=options.under, where=options.where, status=options.status, by=options.by)
    ranking, *apart = [rank(part, options.by, options.allow_mixed) for part in by_kind(sweep)]
    if options.csv is not None:
        write_csv(ranking, options.csv, *apart)
        print(f"wrote {options.csv}", file=sys.stderr)
    if options.json:
        told = {**ranking.to_json(), "unconditional": apart[0].to_json() if apart else None}
        print(json_text(told))
        return 0
    print_ranking(ranking, top=options.top)
    for other in apart:
        print("\nwithout tags, ranked apart: another task\n")
        print_ranking(other, top=options.top)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a script: ``python -m analysis.rank NAME``."""
    return run_script(RankOptions, run, "rank", argv)


# Order -------------------------------------------------------------------------------------------------------
def _ordered(trials: pd.DataFrame, score: str) -> pd.DataFrame:
    """Sort trials by a score and number those that earn a rank."""
    import numpy as np
    import pandas as pd

    values = _score(trials, score)
    scored = values.notna().to_numpy()
    # A failed trial keeps its last scores, but is never ranked: its networks are lost or ruined since that score,
    # so there is nothing to export, and a configuration that diverges once cannot be recommended.
    failed = (trials["status"] == schema.FAILED).to_numpy()
    group = np.select([~scored, failed], [2, 1], 0)
    sign = -1.0 if schema.direction(score) == "maximize" else 1.0
    samples = trials["samples"].fillna(0.0) if schema.needs_equal_samples(score) else 0.0 * values.fillna(0.0)
    # Equal scores: the earlier trial first.
    order = np.lexsort((trials["number"], sign * values.fillna(0.0), -samples, group))
    ranked = int((group == 0).sum())
    table = trials.iloc[order].reset_index(drop=True)
    table.insert(0, "rank", pd.Series(table.index + 1, dtype="Int64").where(table.index < ranked))
    return table


def _confirmed_first(ordered: pd.DataFrame, found: Confirmation | None) -> pd.DataFrame:
    """Put confirmed configurations first, in their order, and those that failed on a fresh seed last of the ranked."""
    import numpy as np
    import pandas as pd

    if found is None:
        return ordered
    known = {one.key: one for one in found.configurations}
    places = {one.key: place for place, one in enumerate(found.configurations) if one.compared}
    failed = {key for key, one in known.items() if one.failed}
    middle, after = len(places), len(places) + 1
    ranked = ordered["rank"].notna() | ordered["key"].isin(places)
    place = [
        places.get(key, after if key in failed else middle) if is_ranked else after + 1
        for key, is_ranked in zip(ordered["key"], ranked, strict=True)
    ]
    order = np.argsort(place, kind="stable")
    table = ordered.iloc[order].reset_index(drop=True)
    table["rank"] = pd.Series(table.index + 1, dtype="Int64").where(table.index < int(ranked.sum()))
    return _with_confirmed(table, found)


def _is_short(found: Confirmation | None, sweep: Sweep, ordered: pd.DataFrame) -> bool:
    return found is not None and found.budget < full_budget(sweep, ordered)


def _with_confirmed(table: pd.DataFrame, found: Confirmation | None) -> pd.DataFrame:
    """Add the columns of a confirmation."""
    import pandas as pd

    known = {one.key: one for one in found.configurations} if found else {}
    for offset, name in enumerate(("n", "mean", "sd", "low", "high")):
        values = [getattr(known[key].summary, name) if key in known else None for key in table["key"]]
        table.insert(1 + offset, f"{CONFIRMED}{name}", pd.Series(values, dtype="Int64" if name == "n" else "float64"))
    shares = [known[key].p_best if key in known else None for key in table["key"]]
    apart = [known[key].separable if key in known else None for key in table["key"]]
    table.insert(6, f"{CONFIRMED}p_best", pd.Series(shares, dtype="float64"))
    table.insert(7, f"{CONFIRMED}separable", pd.Series(apart, dtype="boolean"))
    return table


def _first(ordered: pd.DataFrame) -> str | None:
    return str(ordered["key"].iloc[0]) if ordered["rank"].notna().any() else None


def _front(trials: pd.DataFrame) -> Any:
    """Mark the front of the trials that were scored on most pictures.

    A sweep without tag accuracies (an unconditional system) has the one objective it measured.
    """
    from analysis.pareto import pareto_front

    measured = [name for name in schema.OBJECTIVES if _score(trials, name).notna().any()]
    objectives = measured if schema.DISTANCE in measured else list(schema.OBJECTIVES)
    values = _values(trials, objectives)
    values[~trials.index.isin(_comparable(trials, objectives).index)] = math.nan
    return pareto_front(values, [schema.OBJECTIVES[name] for name in objectives])


def _values(trials: pd.DataFrame, objectives: Iterable[str]) -> Any:
    return trials.reindex(columns=[f"{SCORES}{name}" for name in objectives]).astype(float).to_numpy().copy()


def _comparable(trials: pd.DataFrame, objectives: Iterable[str]) -> pd.DataFrame:
    """The trials that have not failed, have every objective and were scored on most pictures."""
    import numpy as np

    values = _values(trials, objectives)
    held = trials["status"] != schema.FAILED
    samples = trials["samples"].where(held & ~np.isnan(values).all(axis=1))
    kept: pd.DataFrame = trials[held & ~(samples < samples.max()) & np.isfinite(values).all(axis=1)]
    return kept


def _score(trials: pd.DataFrame, name: str) -> pd.Series[float]:
    """Give a score of every trial; missing, NaN and infinite (diverged) are all missing."""
    column = trials.reindex(columns=[f"{SCORES}{name}"]).iloc[:, 0].astype(float)
    return column.where(column.abs() < math.inf)


# Refusals ----------------------------------------------------------------------------------------------------
def _require_score(sweep: Sweep, by: str) -> None:
    allowed = list(dict.fromkeys([schema.DISTANCE, *sweep.scores]))
    if by not in allowed:
        raise AnalysisUsageError(
            f"sweep {sweep.name!r} has no score {by!r}{nearest(by, allowed)}; it has: {', '.join(allowed)}"
        )


def _fingerprints(sweep: Sweep) -> list[str]:
    """Give the distinct fingerprints of the trials that have scores, the most frequent first."""
    scored = sweep.trials.reindex(columns=[f"{SCORES}{name}" for name in sweep.scores]).notna().any(axis=1)
    return list(sweep.trials.loc[scored, "fingerprint"].value_counts().index)


def _differences(fingerprints: Sequence[str]) -> str:
    """Say in which fields fingerprints differ: ``samples (1000, 5000)``."""
    parsed = [json.loads(text) for text in fingerprints]
    values = {name: list(dict.fromkeys(str(one.get(name)) for one in parsed)) for name in set().union(*parsed)}
    return "; ".join(f"{name} ({', '.join(found)})" for name, found in sorted(values.items()) if len(found) > 1)


if __name__ == "__main__":
    sys.exit(main())
