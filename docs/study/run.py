"""Runs the studies of docs/study with plain gansweep commands, and rebuilds their tables from the recorded sweeps.

python docs/study/run.py --list
python docs/study/run.py --data FOLDER [--only ID] [--home FOLDER]

What is complete is skipped, and what was interrupted continues. Without --data, only the tables are rebuilt. A table
keeps its rows of studies that are not in this home.
"""

from __future__ import annotations

import argparse
import re
import shlex
import signal
import subprocess
import sys
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from search_tables import DIFFERENCES, confirmed_rows, difference_rows
from studies import STUDIES, Study

from analysis import schema
from analysis.claim_checks.designs import DESIGNS
from analysis.claim_checks.verdicts import ClaimVerdict, check_claims
from analysis.effects.curve_figures import CURVE_FIGURES, add_curve_figures, run_curves
from analysis.effects.effect import comparison_text
from analysis.errors import AnalysisError
from analysis.mlflow_reader.sweep import METRICS, PARAMS, SCORES, Sweep, load
from pipeline.trial_status import is_final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

HERE = Path(__file__).parent
PREFIX = re.compile(f"^({SCORES}|{METRICS}|{PARAMS})")
STOPPED = (130, 143)
"""Exit codes of commands that were interrupted; the same command continues."""
REPEATS = ("address", "concurrent", "min-tag-accuracy", "time-limit")
TAKES = {
    "resume": {f"--{name}" for name in ("address", "concurrent", "fuse", "patience", "time-limit", "total-kimg")},
    "confirm": {f"--{name}" for name in REPEATS},
    "ablate": {f"--{name}" for name in REPEATS},
}
"""Options of `run` by the other commands that take them."""
CURVES = ("distance", "tag_accuracy", "kid", "diversity", "grid_energy", "saturated")


# Running -----------------------------------------------------------------------------------------------------
def run_study(study: Study, data: Path, home: Path, more: str) -> int:
    """Run or continue the steps of a study; returns the exit code of the first one that failed, or 0.

    If the sweep is complete, the next step follows, also where no trial was scored: that is a result.
    """
    failed = 0
    for place, step in enumerate(study.steps):
        sweep = recorded(study.name, home)
        if absent := absent_dimensions(step, sweep):
            print(f"\n{study.name}: {', '.join(absent)} has no effect on these data; left out: gansweep {step}")
        if is_done(step, sweep):
            continue
        words = shlex.split(step)
        if place == 0 and has_begun(study.name, home):
            words = ["resume", study.name]
        words += ["--data", str(data), *options_for(words[0], more), "--home", str(home)]
        print(f"\n$ gansweep {shlex.join(words)}", flush=True)
        code = run_command([sys.executable, "-m", "gansweep", *words])
        if code in STOPPED or (code and not is_done(study.steps[0], recorded(study.name, home))):
            return code
        failed = failed or (code if place else 0)
    return failed


def options_for(command: str, more: str) -> list[str]:
    """Return those of the further options of `run` that another command takes, too, with their values."""
    kept, takes = [], True
    for word in shlex.split(more):
        if word.startswith("--"):
            takes = command == "run" or word.partition("=")[0].replace("_", "-") in TAKES[command]
        if takes:
            kept.append(word)
    return kept


def run_command(command: Sequence[str]) -> int:
    """Run a command to its end; returns its exit code.

    Ctrl-C, which a terminal sends it as well, and SIGTERM, which it gets from here, leave it the time to end in order;
    a second Ctrl-C kills it.
    """
    child = subprocess.Popen(command)
    received: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        received.append(number)
        child.send_signal(number)

    before = signal.signal(signal.SIGTERM, forward)
    try:
        try:
            code = child.wait()
        except KeyboardInterrupt:
            received.append(signal.SIGINT)
            code = child.wait()
    except KeyboardInterrupt:
        child.kill()
        code = child.wait()
    finally:
        signal.signal(signal.SIGTERM, before)
    if received:
        return 128 + received[0]
    return code if code >= 0 else 128 - code


# State -------------------------------------------------------------------------------------------------------
def state_of(study: Study, home: Path) -> str:
    """Return ``not run``, ``begun`` or ``complete``: whether all runs that the steps ask for have ended."""
    sweep = recorded(study.name, home)
    if all(is_done(step, sweep) for step in study.steps):
        return "complete"
    return "begun" if sweep is not None or has_begun(study.name, home) else "not run"


def has_begun(name: str, home: Path) -> bool:
    """Return whether a sweep can be resumed."""
    return (home / "trials" / name / "sweep.json").is_file()


def is_done(step: str, sweep: Sweep | None) -> bool:
    """Return whether all runs that a step asks for have ended; a value without effect on the data asks for none."""
    if sweep is None:
        return False
    words = shlex.split(step)
    if words[0] == "run":
        return sweep.status == schema.COMPLETE
    if absent_dimensions(step, sweep):
        return True
    confirms, seeds = words[0] == "confirm", int(words[words.index("--seeds") + 1])
    kind, by = (schema.KIND_CONFIRMATION, "of") if confirms else (schema.KIND_ABLATION, "variant")
    runs = sweep.repeats[sweep.repeats["kind"] == kind]
    ended = [is_final(status, reason) for status, reason in zip(runs["status"], runs["reason"].fillna(""), strict=True)]
    counts = runs.loc[ended].groupby(runs[by].str.removesuffix(".0"))["seed"].nunique()  # 4 is recorded as 4.0
    # Every configuration begins its first seed before any begins its last one, so those that began are all there are.
    asked = set(runs["of"]) if confirms else {schema.RECIPE_VARIANT, *(f"with {change}" for change in varied(step))}
    return bool(asked) and all(counts.get(one, 0) >= seeds for one in asked)


def varied(step: str) -> list[str]:
    """Return the values of ``--with``."""
    words = shlex.split(step)
    return [value for option, value in pairwise(words) if option == "--with"]


def absent_dimensions(step: str, sweep: Sweep | None) -> list[str]:
    """Return the dimensions that a step varies and that a sweep left out, as without effect on its data."""
    known = {dimension["name"] for dimension in sweep.space.get("dimensions", ())} if sweep else None
    names = [change.partition("=")[0] for change in varied(step)]
    return [name for name in names if known is not None and name not in known]


def recorded(name: str, home: Path) -> Sweep | None:
    """Read a sweep; ``None`` if it has not been run."""
    try:
        return load(name, home=home)
    except AnalysisError:
        return None


# Tables ------------------------------------------------------------------------------------------------------
def write_tables(studies: Sequence[Study], home: Path, folder: Path) -> None:
    """Write the rows of the studies that the home has recorded, one CSV file per table."""
    sweeps = [(study, sweep) for study in studies if (sweep := recorded(study.name, home)) is not None]
    folder.mkdir(parents=True, exist_ok=True)
    tables: dict[str, list[dict[str, Any]]] = {"runs": [], "curves": [], "claims": [], "confirmed": []}
    for study, sweep in sweeps:
        tables["runs"] += run_rows(study, sweep)
        if study.question == 1 and (curves := run_curves(sweep, CURVES)) is not None:
            tables["curves"] += curves.assign(study=study.name).to_dict("records")
        if study.question in (0, 2):
            tables["claims"] += [row for verdict in check_claims(sweep) for row in claim_rows(study, sweep, verdict)]
        if study.question == 3:
            tables["confirmed"] += confirmed_rows(study.name, sweep)
    replaced = {study.name for study, _ in sweeps} | {study.name for study in STUDIES if not study.question}
    for name, rows in tables.items():
        replace_rows(folder / f"{name}.csv", rows, replaced)
    if (file := folder / "confirmed.csv").is_file():
        confirmed = pd.read_csv(file, dtype=str, keep_default_na=False)
        differences = pd.DataFrame(difference_rows(confirmed), columns=DIFFERENCES)
        differences.to_csv(folder / "differences.csv", index=False, float_format="%.6g")


def replace_rows(file: Path, rows: list[dict[str, Any]], replaced: set[str]) -> None:
    """Replace the rows of some studies in a table; the others stay as they are, to the digit."""
    written = pd.DataFrame(rows, columns=None if rows else ["study"]).to_csv(index=False, float_format="%.6g")
    table = pd.read_csv(StringIO(written), dtype=str, keep_default_na=False)
    if file.is_file():
        earlier = pd.read_csv(file, dtype=str, keep_default_na=False)
        kept = earlier[~earlier["study"].isin(replaced)]
        table = pd.concat([kept, table]).fillna("") if len(kept) else table
    elif not rows:
        return
    places = {study.name: place for place, study in enumerate(STUDIES)}
    table = table.sort_values("study", key=lambda names: names.map(places), kind="stable")
    table.to_csv(file, index=False)
    print(f"{file}: {len(table)} rows, {len(rows)} of them of this home")


def run_rows(study: Study, sweep: Sweep) -> Iterator[dict[str, Any]]:
    """Yield one row per trial and repeat: what it was, its last scores and the figures of its learning curve."""
    sweep = add_curve_figures(sweep)
    for runs in (sweep.trials, sweep.repeats):
        known = ("key", "variant", f"{PARAMS}seed", "status", "reason", "kimg", "seconds", "samples")
        figures = tuple(f"{METRICS}{name}" for name in CURVE_FIGURES)
        columns = [name for name in runs if name in known or name.startswith((SCORES, *figures))]
        for row in runs[columns].to_dict("records"):
            yield {"study": study.name, **{PREFIX.sub("", str(name)): value for name, value in row.items()}}


def claim_rows(study: Study, sweep: Sweep, verdict: ClaimVerdict) -> Iterator[dict[str, Any]]:
    """Yield one row per part of a claim whose design is on the sweep's system."""
    design = DESIGNS.get(verdict.claim.id)
    if design is None or design.system not in set(sweep.trials["system"]):
        return
    for part in verdict.parts:
        effect = part.effect
        yield {
            "study": study.name, "claim": verdict.claim.id, "text": verdict.claim.text,
            "claim_verdict": verdict.wording, "metric": part.part.metric, "time": part.part.time,
            "expected": part.part.expected, "verdict": part.verdict, "reason": part.reason,
            "comparison": comparison_text(effect) if effect else part.part.dimension,
            **({"unit": effect.unit, "estimate": effect.estimate, "low": effect.low, "high": effect.high,
                "smallest_separable": effect.smallest_separable, "evidence": effect.evidence,
                "runs": effect.trials, "kimg": effect.kimg} if effect else {}),
        }  # fmt: skip


def main() -> int:
    """Parse the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="print the studies with their commands, and run nothing")
    parser.add_argument("--only", metavar="ID", action="append", choices=[study.name for study in STUDIES])
    parser.add_argument("--data", type=Path, help="folder of tagged images")
    parser.add_argument("--home", type=Path, default=HERE / "runs", help="folder of the sweeps")
    parser.add_argument("--tables", type=Path, default=HERE / "tables", help="folder of the CSV files")
    parser.add_argument(
        "--run-options",
        default="",
        metavar="WORDS",
        help="further options of `run`, and of other commands that take them",
    )
    options = parser.parse_args()
    chosen = [study for study in STUDIES if (study.name in options.only if options.only else study.question)]
    if options.list:
        for study in chosen:
            about = f"question {study.question}; {study.what}; {study.core_minutes} core-minutes"
            print(f"{study.name}: {about}; {state_of(study, options.home)}")
            print(*(f"    gansweep {step}" for step in study.steps), sep="\n")
        return 0
    failed = {}
    for study in chosen if options.data else ():
        if code := run_study(study, options.data.resolve(), options.home.resolve(), options.run_options):
            failed[study.name] = code
            if code in STOPPED:
                break
    write_tables([study for study in STUDIES if study.question or study in chosen], options.home, options.tables)
    for name, code in failed.items():
        print(f"{name} ended with exit code {code}", file=sys.stderr)
    return max(failed.values(), default=0)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # between commands
        sys.exit(130)
