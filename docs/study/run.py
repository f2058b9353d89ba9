"""Runs the studies of docs/study with plain gansweep commands, and rebuilds their tables from the recorded sweeps.

python docs/study/run.py --list
python docs/study/run.py --data FOLDER [--only ID] [--home FOLDER]

What is complete is skipped, and what was interrupted continues. Without --data, only the tables are rebuilt.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis import schema
from analysis.claim_checks.designs import DESIGNS
from analysis.claim_checks.verdicts import ClaimVerdict, check_claims
from analysis.effects.curve_figures import CURVE_FIGURES, add_curve_figures, run_curves
from analysis.effects.effect import comparison_text
from analysis.errors import AnalysisError
from analysis.mlflow_reader.sweep import METRICS, PARAMS, SCORES, Sweep, load
from analysis.repeats.confirmation import confirmation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parent
COMMON = "--trials 1 --image-size 32 --scheduler none --end-hopeless none --rung-samples 512"
PREFIX = re.compile(f"^({SCORES}|{METRICS}|{PARAMS})")
CURVES = ("distance", "tag_accuracy", "kid", "diversity", "grid_energy", "saturated")


@dataclass(frozen=True)
class Study:
    """Commands that answer a question; the first one makes the sweep ``name``."""

    name: str
    question: int
    what: str
    core_minutes: int
    """Estimate, from operations and the rates in docs/study/index.md."""
    steps: tuple[str, ...]


def train_recipe(system: str, kimg: int, every: int, minutes: int, more: str = "") -> Study:
    """Question 1: the recipe of a system on three seeds, scored along training."""
    name = f"systems-{system}"
    first = f"run {system} --name {name} {COMMON} --max-kimg {kimg} --eval-kimg {every} {more}"
    what = f"{system} on three seeds, {kimg} kimg"
    return Study(name, 1, what, minutes, (first, f"confirm {name} --top 1 --seeds 2"))


def check(system: str, kimg: int, every: int, minutes: int, changes: Sequence[str], more: str = "") -> Study:
    """Question 2: the recipe of a system against it with one value changed, six pairs; the recipe alone without any."""
    name = f"claims-{system}"
    first = f"run {system} --name {name} {COMMON} --max-kimg {kimg} --eval-kimg {every} {more}"
    given = " ".join(f"--with {change}" for change in changes)
    repeated = f"ablate {name} {given} --seeds 6" if changes else f"confirm {name} --top 1 --seeds 5"
    claims = ", ".join(number for number, design in DESIGNS.items() if design.system == system)
    return Study(name, 2, f"claims {claims}: {system}, {kimg} kimg a run", minutes, (first, repeated))


def changes_of(*claims: str) -> list[str]:
    """Return the changed values that the designs of claims ask for."""
    return [value for claim in claims for value in DESIGNS[claim].values]


def search(sampler: str) -> Study:
    """Question 3: a search of everything, each trial with the operations of the recipe; its best on five seeds."""
    name = f"search-{sampler}"
    first = (
        f"run anything --name {name} --sampler {sampler} --trials 60 --image-size 32 --budget flops --max-kimg 20 "
        "--rung-samples 512 --scheduler none --choices generator.width=16,32 --choices discriminator.width=16,32 "
        f"{widths(32, 32)}"
    )
    what = f"anything by {sampler}, 60 trials of equal operations"
    return Study(name, 3, what, 140, (first, f"confirm {name} --top 5 --seeds 5"))


def rival(system: str, kimg: int, minutes: int, more: str = "") -> Study:
    """Question 3: the recipe of a system on five seeds, with about as many operations as a trial of the searches."""
    name = f"rival-{system}"
    first = f"run {system} --name {name} {COMMON} --max-kimg {kimg} {more}"
    return Study(name, 3, f"the recipe of {system}, {kimg} kimg", minutes, (first, f"confirm {name} --top 1 --seeds 5"))


def widths(generator: int, discriminator: int) -> str:
    """Options that reduce the widths of a recipe, which the reports' own budgets need on two cores."""
    return f"--set generator.width={generator} --set discriminator.width={discriminator}"


ACGAN = ["generator.width=64", "discriminator.width=64", *changes_of("2", "3", "4", "5", "6", "7", "9a", "10", "11")]
DOMAINS = "--domain-a hair=black --domain-b hair=blonde"
STUDIES = (
    train_recipe("dcgan", 698, 50, 30, widths(32, 32)),
    train_recipe("wgan_gp", 698, 50, 45, widths(32, 32)),
    train_recipe("combo_dcgan", 1280, 80, 80, widths(16, 16)),
    train_recipe("cdcgan", 1000, 70, 55, widths(32, 32)),
    train_recipe("acgan", 400, 30, 40, widths(32, 32)),
    train_recipe("matching_wgan", 300, 25, 45, widths(8, 16)),
    train_recipe("srresnet_acgan", 150, 15, 50, widths(16, 8)),
    train_recipe("cyclegan", 30, 3, 40, f"{DOMAINS} --set generator.width=16 --set discriminator.width=16"),
    train_recipe("stargan", 60, 5, 25, "--attributes hair --set generator.width=16 --set discriminator.width=16"),
    check("dcgan", 175, 15, 95, changes_of("8", "9b", "19", "20"), widths(32, 32)),
    check("cdcgan", 100, 10, 60, changes_of("9c", "17", "18"), widths(32, 32)),
    check("combo_dcgan", 320, 20, 45, [], widths(16, 16)),
    check("wgan_gp", 350, 25, 50, [], widths(32, 32)),
    check("matching_wgan", 40, 4, 65, changes_of("14a", "15", "16"), widths(8, 16)),
    check("acgan", 30, 3, 110, ACGAN, widths(32, 32)),
    check("srresnet_acgan", 15, 1, 75, changes_of("12", "13"), widths(16, 8)),
    check("cyclegan", 10, 1, 60, changes_of("21"), f"{DOMAINS} --set generator.width=16 --set discriminator.width=16"),
    search("tpe"),
    search("random"),
    rival("lightgan", 33, 10),
    rival("r3gan", 4, 15, widths(16, 16)),
    rival("acgan", 20, 10, widths(32, 32)),
    rival("srresnet_acgan", 22, 25, widths(16, 8)),
    rival("matching_wgan", 40, 20, widths(8, 16)),
    rival("cdcgan", 35, 10, widths(32, 32)),
    rival("dcgan", 47, 10, widths(32, 32)),
    rival("combo_dcgan", 125, 20, widths(16, 16)),
    Study("smoke", 0, "not a study: tries every kind of step on a few images", 2, (
        "run dcgan --name smoke --trials 1 --image-size 16 --max-kimg 2 --eval-kimg 1 --samples 64 --rung-samples 32 "
        "--scheduler none --end-hopeless none --set generator.width=16 --set discriminator.width=16",
        "ablate smoke --with generator.dropout=0.5 --seeds 3",
    )),
)  # fmt: skip


# Running -----------------------------------------------------------------------------------------------------
def run_study(study: Study, data: Path, home: Path, more: str) -> int:
    """Run or continue the steps of a study; returns the exit code of the one that failed, or 0."""
    for place, step in enumerate(study.steps):
        words = shlex.split(step)
        if place == 0:
            if is_complete(study.name, home):
                continue
            begun = (home / "trials" / study.name / "sweep.json").is_file()
            words = ["resume", study.name] if begun else [*words, "--data", str(data), *shlex.split(more)]
        words += ["--home", str(home)]
        print(f"\n$ gansweep {shlex.join(words)}", flush=True)
        code = subprocess.run([sys.executable, "-m", "gansweep", *words], check=False).returncode
        if code:
            return code
    return 0


def is_complete(name: str, home: Path) -> bool:
    """Return whether a sweep has run all of its trials."""
    sweep = recorded(name, home)
    return sweep is not None and sweep.status == schema.COMPLETE


def recorded(name: str, home: Path) -> Sweep | None:
    """Read a sweep; ``None`` if it has not been run."""
    try:
        return load(name, home=home)
    except AnalysisError:
        return None


# Tables ------------------------------------------------------------------------------------------------------
def write_tables(home: Path, folder: Path) -> None:
    """Write one CSV file per table, from what the home has recorded."""
    sweeps = [(study, sweep) for study in STUDIES if (sweep := recorded(study.name, home)) is not None]
    folder.mkdir(parents=True, exist_ok=True)
    tables: dict[str, list[dict[str, Any]]] = {"runs": [], "curves": [], "claims": [], "confirmed": []}
    for study, sweep in sweeps:
        tables["runs"] += run_rows(study, sweep)
        if study.question == 1 and (curves := run_curves(sweep, CURVES)) is not None:
            tables["curves"] += curves.assign(study=study.name).to_dict("records")
        if study.question in (0, 2):
            tables["claims"] += [row for verdict in check_claims(sweep) for row in claim_rows(study, sweep, verdict)]
        if study.question == 3 and (found := confirmation(sweep, "distance")) is not None:
            tables["confirmed"] += [
                {"study": study.name, "configuration": one.key, "recipe": one.recipe, "runs": one.summary.n,
                 "distance": one.summary.mean, "low": one.summary.low, "high": one.summary.high}
                for one in found.configurations
            ]  # fmt: skip
    for name, rows in tables.items():
        if rows:
            pd.DataFrame(rows).to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
            print(f"{folder / name}.csv: {len(rows)} rows")


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
    parser.add_argument("--run-options", default="", metavar="WORDS", help="further options of every gansweep run")
    options = parser.parse_args()
    chosen = [study for study in STUDIES if (study.name in options.only if options.only else study.question)]
    if options.list:
        for study in chosen:
            state = "complete" if is_complete(study.name, options.home) else "not run"
            print(f"{study.name}: question {study.question}; {study.what}; {study.core_minutes} core-minutes; {state}")
            print(*(f"    gansweep {step}" for step in study.steps), sep="\n")
        return 0
    failed = {}
    for study in chosen if options.data else ():
        if code := run_study(study, options.data.resolve(), options.home.resolve(), options.run_options):
            failed[study.name] = code
            if code in (130, 143):  # interrupted: the same command continues
                break
    write_tables(options.home, options.tables)
    for name, code in failed.items():
        print(f"{name} ended with exit code {code}", file=sys.stderr)
    return max(failed.values(), default=0)


if __name__ == "__main__":
    sys.exit(main())
