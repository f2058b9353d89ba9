"""The studies of docs/study as gansweep commands; docs/study/run.py runs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.claim_checks.designs import DESIGNS

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMON = "--trials 1 --image-size 32 --scheduler none --end-hopeless none --rung-samples 512"


@dataclass(frozen=True)
class Study:
    """Commands that answer a question; the first one makes the sweep ``name``."""

    name: str
    question: int
    what: str
    core_minutes: int
    """Estimate, from operations and the rates in docs/study/index.md."""
    steps: tuple[str, ...]


def train_recipe(system: str, kimg: int, every: int, minutes: int, more: str = "", seeds: int = 1) -> Study:
    """Question 1: the recipe of a system on some seeds, scored along training."""
    name = f"systems-{system}"
    first = f"run {system} --name {name} {COMMON} --max-kimg {kimg} --eval-kimg {every} {more}"
    what = f"{system} on {seeds} seed{'s' if seeds > 1 else ''}, {kimg} kimg"
    return Study(name, 1, what, minutes, (first, *([repeat_recipe(name, seeds - 1)] if seeds > 1 else [])))


def repeat_recipe(name: str, seeds: int) -> str:
    """Return the command that trains the recipe on further seeds, whether or not its first run was scored."""
    return f"confirm {name} --trial {name}-00000 --seeds {seeds}"


def check(
    system: str, kimg: int, every: int, minutes: int, changes: Sequence[str], more: str, apart: Sequence[str] = ()
) -> Study:
    """Question 2: the recipe of a system against it with one value changed, six pairs; the recipe alone without any.

    Args:
        system: the system.
        kimg: budget of a run.
        every: kimg between evaluations.
        minutes: estimate.
        changes: ``NAME=VALUE`` each.
        more: further options of `run`.
        apart: changes whose dimension only some data have; they are a step of their own, on the same seeds.
    """
    name = f"claims-{system}"
    first = f"run {system} --name {name} {COMMON} --max-kimg {kimg} --eval-kimg {every} {more}"
    ablations = [f"ablate {name} {with_options(some)} --seeds 6" for some in (changes, apart) if some]
    claims = ", ".join(number for number, design in DESIGNS.items() if design.system == system)
    repeats = ablations or [repeat_recipe(name, 5)]
    return Study(name, 2, f"claims {claims}: {system}, {kimg} kimg a run", minutes, (first, *repeats))


def with_options(changes: Sequence[str]) -> str:
    """Return the options of `ablate` for changed values."""
    return " ".join(f"--with {change}" for change in changes)


def changes_of(*claims: str) -> list[str]:
    """Return the changed values that the designs of claims ask for."""
    return [value for claim in claims for value in DESIGNS[claim].values]


def search(sampler: str) -> Study:
    """Question 3: a search of everything, each trial with the operations of the recipe; its best on five seeds."""
    name = f"search-{sampler}"
    first = (
        f"run anything --name {name} --sampler {sampler} --trials 60 --image-size 32 --budget flops --max-kimg 10 "
        "--rung-samples 512 --scheduler none --choices generator.width=16,32 --choices discriminator.width=16,32 "
        f"{widths(32, 32)}"
    )
    what = f"anything by {sampler}, 60 trials of equal operations"
    return Study(name, 3, what, 170, (first, f"confirm {name} --top 5 --seeds 5"))


def rival(system: str, kimg: int, minutes: int, more: str = "") -> Study:
    """Question 3: the recipe of a system on five seeds, with about as many operations as a trial of the searches."""
    name = f"rival-{system}"
    first = f"run {system} --name {name} {COMMON} --max-kimg {kimg} {more}"
    return Study(name, 3, f"the recipe of {system}, {kimg} kimg", minutes, (first, repeat_recipe(name, 5)))


def widths(generator: int, discriminator: int) -> str:
    """Options that reduce the widths of a recipe, which the reports' own budgets need on two cores."""
    return f"--set generator.width={generator} --set discriminator.width={discriminator}"


ACGAN = ["generator.width=64", "discriminator.width=64", *changes_of("2", "3", "4", "5", "6", "7", "9a", "10")]
DOMAINS = "--domain-a hair=black --domain-b hair=blonde"
STUDIES = (
    train_recipe("dcgan", 698, 50, 55, widths(32, 32), seeds=3),
    train_recipe("wgan_gp", 698, 50, 25, widths(32, 32)),
    train_recipe("combo_dcgan", 1280, 80, 40, widths(16, 16)),
    train_recipe("cdcgan", 500, 35, 35, widths(32, 32)),
    train_recipe("acgan", 400, 30, 35, widths(32, 32)),
    train_recipe("matching_wgan", 300, 25, 60, widths(8, 16)),
    train_recipe("srresnet_acgan", 150, 15, 50, widths(16, 8)),
    train_recipe("cyclegan", 30, 3, 25, f"{DOMAINS} {widths(16, 16)}", seeds=3),
    train_recipe("stargan", 600, 50, 60, f"--attributes hair {widths(16, 16)}"),
    check("dcgan", 175, 35, 75, changes_of("8", "9b", "19", "20"), widths(16, 16)),
    check("cdcgan", 40, 8, 40, changes_of("9c", "17", "18"), widths(16, 16)),
    check("combo_dcgan", 320, 40, 60, [], widths(16, 16)),
    check("wgan_gp", 175, 35, 40, [], widths(32, 32)),
    check("matching_wgan", 10, 2, 60, changes_of("14a", "15", "16"), widths(8, 16)),
    check("acgan", 15, 3, 145, ACGAN, widths(32, 32), changes_of("11")),
    check("srresnet_acgan", 5, 1, 60, changes_of("12", "13"), widths(16, 8)),
    check("cyclegan", 10, 1, 30, changes_of("21"), f"{DOMAINS} {widths(16, 16)}"),
    search("tpe"),
    search("random"),
    rival("lightgan", 17, 12),
    rival("r3gan", 2, 15, widths(16, 16)),
    rival("acgan", 10, 12, widths(32, 32)),
    rival("srresnet_acgan", 11, 23, widths(16, 8)),
    rival("matching_wgan", 20, 18, widths(8, 16)),
    rival("cdcgan", 17, 12, widths(32, 32)),
    rival("dcgan", 23, 12, widths(32, 32)),
    rival("combo_dcgan", 62, 18, widths(16, 16)),
    Study("smoke", 0, "not a study: tries every kind of step on a few images", 2, (
        "run dcgan --name smoke --trials 1 --image-size 16 --max-kimg 2 --eval-kimg 1 --samples 64 --rung-samples 32 "
        "--scheduler none --end-hopeless none --set generator.width=16 --set discriminator.width=16",
        "ablate smoke --with generator.dropout=0.5 --seeds 3",
    )),
)  # fmt: skip
