from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from analysis import schema
from analysis.claim_checks.claims import CLAIMS, Claim, ScoreContrast, Slope, TrainingChange
from analysis.claim_checks.designs import DESIGNS
from analysis.claim_checks.verdicts import (
    CONTRADICTED,
    IN_PART,
    NO_DIMENSION,
    NOT_ASKED,
    NOT_ENOUGH,
    NOT_SEPARABLE,
    SUPPORTED,
    ClaimVerdict,
    PartVerdict,
    check_claims,
    combine_verdicts,
    decide_verdict,
    format_claims,
)
from analysis.claims import main
from analysis.effects.effect import Effect
from analysis.mlflow_reader.sweep import load
from pipeline.repeats.ablate import vary_recipe
from pipeline.settings import SweepSettings
from search_spaces.registry import SPACES
from tests.support.simulated import ablation, simulate
from tests.support.sweeps import make_sweep

if TYPE_CHECKING:
    from pathlib import Path

    from analysis.mlflow_reader.sweep import Sweep
    from tests.support.sweeps import History


def claim_ids(text: str) -> list[str]:
    """Give the claims that a dimension's ``claim`` names: ``"2 (A, B), 18 (D) ..."`` gives ``["2", "18"]``.

    A number alone names all that share it: ``9 (A, D, E)`` gives ``["9a", "9b", "9c"]``.
    """
    named = re.findall(r"((?:\d+[a-c]?, )*\d+[a-c]?) \([A-I](?:, [A-I])*\)", text)
    ids = [number for group in named for number in group.split(", ")]
    return [known for number in ids for known in (_lettered(number) or [number])]


def _lettered(number: str) -> list[str]:
    return [claim.id for claim in CLAIMS if claim.id[:-1] == number and claim.id[-1].isalpha()]


def verdict(sweep: Sweep, number: str) -> ClaimVerdict:
    (found,) = [one for one in check_claims(sweep) if one.claim.id == number]
    return found


def effect(low: float, estimate: float, high: float, unit: str = "ratio") -> Effect:
    none = 1.0 if unit == "ratio" else 0.0
    separable = not low <= none <= high
    return Effect("d", "a", "b", "distance", unit, estimate, low, high, separable, 40, (20, 20), 66.0, 1000, "marginal")


# The list ----------------------------------------------------------------------------------------------------
def test_every_claim_is_there_once() -> None:
    numbers = [claim.id for claim in CLAIMS]
    lettered = {"9": "abc", "14": "ab"}
    expected = [f"{n}{letter}" for n in range(1, 25) for letter in lettered.get(str(n), [""])]
    assert numbers == expected


def test_claims_and_dimensions_name_each_other() -> None:
    by_id = {claim.id: claim for claim in CLAIMS}
    named: dict[str, set[str]] = {claim.id: set() for claim in CLAIMS}
    for space in SPACES.values():
        for dimension in space.dimensions:
            ids = claim_ids(dimension.claim)
            assert ids or dimension.claim.startswith("ours"), (space.name, dimension.name)
            assert set(ids) <= set(by_id), (space.name, dimension.name)
            asking = [one for one in ids if dimension.name in asked(by_id[one])]
            assert asking or not ids, (space.name, dimension.name, ids)
            for one in ids:
                named[one].add(dimension.name)
    for claim in CLAIMS:
        if claim.parts and (not claim.only or claim.only in SPACES):
            assert named[claim.id], claim.id
            missing = {part.dimension for part in claim.parts if part.dimension} - named[claim.id]
            assert not missing, (claim.id, missing)
        assert claim.parts or claim.unmeasured


def asked(claim: Claim) -> set[str]:
    return {part.dimension for part in claim.parts} | set(claim.related)


def test_values_of_claims_are_values_of_the_spaces() -> None:
    choices: dict[str, set[Any]] = {}
    for space in SPACES.values():
        for dimension in space.dimensions:
            choices.setdefault(dimension.name, set()).update(dimension.choices)
            if not dimension.choices and dimension.kind == "int":
                choices[dimension.name] |= set(range(int(dimension.low or 0), int(dimension.high or 0) + 1))
    for claim in CLAIMS:
        for part in claim.parts:
            for side in ("values", "against"):
                wanted = set(getattr(part, side, ()))
                assert not wanted or wanted & choices[part.dimension], (claim.id, part)


def test_numbers_are_read_from_what_dimensions_say() -> None:
    assert claim_ids("2 (A, B), 18 (D) AC-GAN follows tags better") == ["2", "18"]
    assert claim_ids("4, 6 (A) Embeddings") == ["4", "6"]
    assert claim_ids("9 (A, D, E) Update ratio: one to four") == ["9a", "9b", "9c"]
    assert claim_ids("19 (E) lr 2e-5 is stable") == ["19"]
    assert claim_ids("ours: Zhao et al. 2020, for small data") == []


def test_budgets_in_kimg() -> None:
    budgets = {claim.id: claim.budget_kimg for claim in CLAIMS}
    assert budgets["9b"] == 698  # 19 epochs of 36,740 images
    assert pytest.approx(698, abs=0.1) == 19 * 36.740
    assert budgets["22"] == 20_000 * 64 / 1000
    assert budgets["12"] == 500 * 45_628 / 1000
    assert budgets["17"] is None


# Verdicts ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("given", "expected", "answer"),
    [
        (effect(0.8, 0.9, 0.95), "less", SUPPORTED),
        (effect(0.8, 0.9, 0.95), "more", CONTRADICTED),
        (effect(0.8, 0.9, 1.05), "less", NOT_SEPARABLE),
        (effect(0.8, 0.9, 0.95), "same", CONTRADICTED),
        (effect(0.8, 0.9, 1.2), "same", NOT_SEPARABLE),
        (effect(0.95, 1.0, 1.05), "same", SUPPORTED),
        (effect(0.92, 0.95, 0.98), "same", SUPPORTED),
        (effect(0.01, 0.1, 0.2, "difference"), "more", SUPPORTED),
        (effect(0.01, 0.1, 0.2, "difference"), "less", CONTRADICTED),
        (effect(-0.04, 0.0, 0.04, "difference"), "same", SUPPORTED),
    ],
)
def test_an_interval_decides(given: Effect, expected: str, answer: str) -> None:
    assert decide_verdict(given, expected) == answer


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ([SUPPORTED, NOT_ASKED], SUPPORTED),
        ([SUPPORTED, NOT_SEPARABLE], IN_PART),
        ([SUPPORTED, CONTRADICTED], IN_PART),
        ([NOT_SEPARABLE, CONTRADICTED], CONTRADICTED),
        ([NOT_ENOUGH, NOT_SEPARABLE], NOT_SEPARABLE),
        ([NOT_ENOUGH, NOT_ASKED], NOT_ENOUGH),
        ([NOT_ASKED, NOT_ASKED], NOT_ASKED),
    ],
)
def test_parts_make_a_verdict(parts: list[str], whole: str) -> None:
    assert combine_verdicts(parts) == whole


def test_a_simulated_sweep_gets_the_verdicts_of_its_truth() -> None:
    sweep = simulate(200, seed=1)
    width = verdict(sweep, "1")  # wider is better by e^0.3 a doubling
    assert width.verdict == SUPPORTED
    assert [part.verdict for part in width.parts] == [SUPPORTED, NOT_ASKED]
    assert width.parts[1].reason == "discriminator.width did not vary"
    wasserstein = verdict(sweep, "14a")  # e^0.25 worse; no early point, no tag accuracy, no failures
    assert [part.verdict for part in wasserstein.parts] == [NOT_ENOUGH, NOT_ASKED, NOT_ASKED, NOT_SEPARABLE]
    assert verdict(sweep, "23").verdict == NO_DIMENSION
    assert verdict(sweep, "21").verdict == NOT_ASKED
    assert verdict(sweep, "20").verdict == NOT_ASKED
    few = verdict(simulate(8), "1")
    assert few.verdict == NOT_ENOUGH
    assert few.parts[0].reason == "at most 8 trials scored at one point; 12 are needed"


def dropout_sweep(ratio: float, kimg: float = 100.0) -> Sweep:
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(40):
        dropout = float(rng.choice([0.0, 0.5]))
        distance = 20 * ratio ** (dropout / 0.5) * np.exp(rng.normal(0, 0.1))
        rows.append({"scores.distance": distance, "params.generator.dropout": dropout, "kimg": kimg, "samples": 500.0})
    dimension = {"name": "generator.dropout", "kind": "choice", "choices": [0.0, 0.5], "default": 0.0}
    return make_sweep(rows, space={"dimensions": [dimension]})


def test_supported_contradicted_and_neither() -> None:
    assert verdict(dropout_sweep(1.5), "20").verdict == SUPPORTED
    assert verdict(dropout_sweep(0.7), "20").verdict == CONTRADICTED
    assert verdict(dropout_sweep(1.0), "20").verdict == NOT_SEPARABLE


def test_short_budgets_are_said() -> None:
    short, long = verdict(dropout_sweep(1.5, 100.0), "20"), verdict(dropout_sweep(1.5, 175.0), "20")
    assert (short.wording, long.wording) == ("supported at short budget", "supported")
    assert short.share_of_budget == pytest.approx(100 / 698)
    text = format_claims([short], "hand")
    assert "supported at short budget (100 kimg, 14% of the report's)" in text
    assert "generator.dropout 0.5 against 0: distance x1." in text
    assert "marginal, 40 trials: supported" in text


def test_pairs_are_better_evidence_than_trials() -> None:
    sweep = dropout_sweep(1.5)
    runs = ablation(
        sweep, "generator.dropout", [0.0, 0.5], 5, lambda value, seed: 20 * 0.5 ** (value / 0.5) * (1 + 0.01 * seed)
    )
    object.__setattr__(sweep, "repeats", runs.assign(kimg=300.0))
    ablated = verdict(sweep, "20")
    assert ablated.verdict == CONTRADICTED
    found = ablated.parts[0].effect
    assert found is not None
    assert (found.evidence, found.trials, found.kimg) == ("ablation", 5, 300.0)
    assert found.estimate == pytest.approx(0.5)


def test_what_is_not_separable_says_what_would_have_been(capsys: pytest.CaptureFixture[str]) -> None:
    sweep = dropout_sweep(1.5)
    logs = {0.0: [0.1, -0.1, 0.2, -0.2, 0.0, 0.1], 0.5: [0.2, -0.2, 0.3, -0.3, 0.1, 0.0]}
    runs = ablation(sweep, "generator.dropout", [0.0, 0.5], 6, lambda value, seed: 20 * np.exp(logs[value][seed]))
    object.__setattr__(sweep, "repeats", runs)
    found = verdict(sweep, "20")
    assert found.verdict == NOT_SEPARABLE
    half = 2.5706 * np.std([0.1, -0.1, 0.1, -0.1, 0.1, -0.1], ddof=1) / np.sqrt(6)  # t(5) from a table
    assert found.parts[0].effect is not None
    assert found.parts[0].effect.smallest_separable == pytest.approx(np.exp(half), rel=1e-4)
    text = format_claims([found], "hand")
    assert f"x{np.exp(half):.3g} or x{np.exp(-half):.3g} or beyond would have been seen" in text
    # Six pairs are there, and the sweep is of another system than the design.
    assert (
        "to answer it, in a sweep of dcgan: gansweep ablate NAME --with generator.dropout=0.5 --seeds 6\n"
        in f"{text}\n"
    )
    recipe = sweep.trials.assign(system="dcgan", recipe=sweep.trials["number"] == 0)
    own = format_claims([verdict(dataclasses.replace(sweep, trials=recipe, repeats=runs), "20")], "hand")
    assert "to answer it: gansweep ablate hand --with generator.dropout=0.5 --seeds 12\n" in f"{own}\n"
    assert "would have been seen" not in format_claims([verdict(dropout_sweep(1.5), "20")], "hand")


def open_verdict(number: str, verdicts: list[str], whole: str, **fields: Any) -> ClaimVerdict:
    (claim,) = [claim for claim in CLAIMS if claim.id == number]
    parts = [PartVerdict(part, verdict, "why") for part, verdict in zip(claim.parts, verdicts, strict=True)]
    return ClaimVerdict(claim, whole, parts, **fields)


def test_commands_answer_the_open_parts_alone() -> None:
    seeds = [SUPPORTED, NOT_ENOUGH, NOT_SEPARABLE]  # claim 9b: one dimension
    in_part = format_claims([open_verdict("9b", seeds, IN_PART, system="dcgan", seeds=6)], "e")
    assert "to answer it: gansweep ablate e --with updates.discriminator_steps=3 --seeds 12" in in_part
    width = open_verdict("1", [SUPPORTED, NOT_SEPARABLE], IN_PART, system="acgan")
    assert "to answer it: gansweep ablate a --with discriminator.width=32 --seeds 6" in format_claims([width], "a")
    one_run = open_verdict("14b", [NOT_SEPARABLE], NOT_SEPARABLE, system="wgan_gp", seeds=4)
    assert "to answer it: gansweep confirm g --top 1 --seeds 8" in format_claims([one_run], "g")
    elsewhere = dataclasses.replace(one_run, system="acgan")
    assert "in a sweep of wgan_gp: gansweep confirm NAME --top 1 --seeds 6" in format_claims([elsewhere], "g")
    for settled in ([SUPPORTED, CONTRADICTED], IN_PART), ([CONTRADICTED, NOT_ENOUGH], CONTRADICTED):
        assert "to answer it" not in format_claims([open_verdict("1", *settled, system="acgan")], "a")


def test_seeds_of_a_design_are_those_of_its_own_runs() -> None:
    sweep = dropout_sweep(1.5)
    runs = ablation(sweep, "generator.dropout", [0.5], 8, lambda value, seed: 20.0 + seed)
    variants = ["with generator.dropout=0.5"] * 5 + ["recipe"] * 2 + ["with losses.labels=soft"]
    mixed = dataclasses.replace(sweep, repeats=runs.assign(variant=variants))
    assert (verdict(mixed, "20").seeds, verdict(mixed, "8").seeds, verdict(mixed, "14b").seeds) == (5, 1, 0)


def test_every_claim_with_a_dimension_has_a_design_that_its_parts_ask_for(tmp_path: Path) -> None:
    by_id = {claim.id: claim for claim in CLAIMS}
    assert set(DESIGNS) == {claim.id for claim in CLAIMS if claim.parts}
    for number, design in DESIGNS.items():
        space = SweepSettings(design.system, tmp_path, "s", image_size=32).resolve_space()
        compared = vary_recipe(space, design.values)[1:]
        assert len(compared) == len(design.values)
        for variant in compared:
            name = next(iter(variant.name.removeprefix("with ").split("=")))
            values = {variant.params[name], space.recipe[name]}
            parts = [part for part in by_id[number].parts if part.dimension == name]
            assert parts, (number, name)
            contrasts = [part for part in parts if not isinstance(part, Slope)]
            asked = [part for part in contrasts if values & set(part.values) and values & set(part.against)]
            assert asked or not contrasts, (number, variant.name)
        if not design.values:
            assert any(isinstance(part, ScoreContrast | TrainingChange) for part in by_id[number].parts)


def test_confirmed_configurations_that_differ_in_one_dimension_count() -> None:
    sweep = dropout_sweep(1.5)
    runs = ablation(sweep, "generator.dropout", [0.0, 0.5], 4, lambda value, seed: 20 + 10 * value + 0.1 * seed)
    runs = runs.assign(kind="confirmation", of=runs["variant"], seed=range(8))
    object.__setattr__(sweep, "repeats", runs)
    found = verdict(sweep, "20").parts[0].effect
    assert found is not None
    assert (found.evidence, found.trials, found.arms) == ("confirmation", 8, (4, 4))
    logs = [np.mean(np.log([20 + 10 * value + 0.1 * seed for seed in range(4)])) for value in (0.5, 0.0)]
    assert found.estimate == pytest.approx(np.exp(logs[0] - logs[1]))
    assert found.low > 1
    object.__setattr__(sweep, "repeats", runs.assign(**{"params.other": runs["variant"]}))
    other = verdict(sweep, "20").parts[0].effect
    assert other is not None
    assert other.evidence == "marginal"


def with_curves(sweep: Sweep, points: dict[int, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a sweep made by hand the histories that ``points[kimg]`` makes of each row."""
    rows = [
        {"key": row["key"], "kimg": kimg, "samples": 500.0, **scores(row)}
        for row in sweep.trials.to_dict("records")
        for kimg, scores in points.items()
    ]
    table = pd.DataFrame(rows)
    monkeypatch.setattr("analysis.claim_checks.estimator.learning_curves", lambda sweep, names: table)


def test_early_claims_are_judged_early(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    sweep = simulate(80, seed=3)

    def scores(kimg: int) -> Any:
        good = 0.7 if kimg < 50 else 1.4
        return lambda row: {
            "distance": 30 * (good if row["params.losses.adversarial"] == "wgan" else 1) * np.exp(rng.normal(0, 0.05))
        }

    with_curves(sweep, {20: scores(20), 100: scores(100)}, monkeypatch)
    early = verdict(sweep, "14a").parts[0]
    assert early.verdict == SUPPORTED
    assert early.effect is not None
    assert early.effect.kimg == 20
    collapse = verdict(sweep, "14b")  # twice as far as it was
    assert collapse.verdict == SUPPORTED
    found = collapse.parts[0].effect
    assert found is not None
    assert (found.evidence, found.value, found.against) == ("same trials", "wgan at 100 kimg", "20 kimg")
    assert found.low < 2 < found.high
    assert found.trials == (sweep.trials["params.losses.adversarial"] == "wgan").sum()


def test_two_scores_of_the_same_trials() -> None:
    rows = [{"scores.tag_accuracy_hair": 0.8 + 0.01 * (-1) ** i, "scores.tag_accuracy_eyes": 0.6} for i in range(20)]
    beside = verdict(make_sweep(rows), "22")
    assert isinstance(beside.parts[0].part, ScoreContrast)
    found = beside.parts[0].effect
    assert found is not None
    assert found.low < 0.2 < found.high
    assert beside.verdict == SUPPORTED
    assert verdict(make_sweep([{"scores.distance": 1.0}]), "22").verdict == NOT_ASKED


def test_failing_is_a_metric() -> None:
    sweep = dropout_sweep(1.0)
    space = {"dimensions": [{"name": "generator.oversize", "kind": "choice", "choices": [False, True]}]}
    trials = sweep.trials.assign(**{"params.generator.oversize": [True, False] * 20})
    trials.loc[trials["params.generator.oversize"] & (trials["number"] < 30), "status"] = schema.FAILED
    unstable = verdict(dataclasses.replace(sweep, trials=trials, space=space), "7")
    assert unstable.parts[0].verdict == SUPPORTED
    found = unstable.parts[0].effect
    assert found is not None
    assert (found.metric, found.estimate) == ("failed", pytest.approx(15 / 20))


def test_a_recorded_ablation_answers_early_claims_and_those_about_training(history: History) -> None:
    """Five evaluations of each of six pairs; only the early distance, the grid and the time differ."""
    kimg = [10, 20, 30, 40, 50]

    def run(norm: bool, seed: int) -> dict[str, Any]:
        worse = 1.5 if norm else 1.0
        wobble = 1 + 0.01 * seed * (1 + norm)
        return {
            "params": {"generator.final_norm": norm},
            "metrics": {
                "distance": {k: (100 * worse if k < 30 else 50) * wobble for k in kimg},
                "kid": {k: 2.0 - 0.03 * k / worse + 0.001 * seed for k in kimg},
                "saturated": dict.fromkeys(kimg, 0.1 + 0.001 * seed * (1 if norm else -1)),
                "grid_energy": dict.fromkeys(kimg, 2 * worse * wobble),
                "samples": {k: 2048 if k == 50 else 512 for k in kimg},
                "tag_accuracy_hair": {k: 0.02 * k for k in kimg},
                "tag_accuracy_eyes": {k: min(0.012 * k, 0.5) for k in kimg},
                "kimg": dict(zip(kimg, kimg, strict=True)),
            },
        }

    history.log_sweep("pairs", [run(False, 0)])
    for seed in range(6):
        for norm in (False, True):
            variant = "with generator.final_norm=true" if norm else "recipe"
            key = f"pairs-00000-a-{'with' if norm else 'recipe'}-{seed:02d}"
            history.log_repeat("pairs", run(norm, seed), key=key, of="pairs-00000", kind="ablation", variant=variant,
                               seed=seed, budget=50)  # fmt: skip
    space = {"dimensions": [{"name": "generator.final_norm", "kind": "choice", "choices": [False, True]}]}
    sweep = dataclasses.replace(load("pairs", home=history.home), space=space)
    parts = {part.part.metric: part for part in verdict(sweep, "3").parts}
    assert {name: part.verdict for name, part in parts.items()} == {
        "distance": SUPPORTED, "kimg_to_recognisable": SUPPORTED, "grid_energy": SUPPORTED, "saturated": SUPPORTED,
    }  # fmt: skip
    early = parts["distance"].effect
    assert early is not None
    assert (early.evidence, early.trials, early.kimg, early.samples) == ("ablation", 6, 10, 512)
    logs = [np.log((1 + 0.01 * seed) / (1.5 * (1 + 0.02 * seed))) for seed in range(6)]
    assert early.estimate == pytest.approx(np.exp(np.mean(logs)))
    for name in ("kimg_to_recognisable", "grid_energy"):
        assert parts[name].effect is not None
        assert parts[name].effect.kimg == 50
    order = verdict(sweep, "22").parts[1]  # half of 0.95 at 23.75 kimg, half of 0.9 at 37.5
    assert order.verdict == SUPPORTED
    assert order.effect is not None
    assert (order.effect.estimate, order.effect.trials) == (pytest.approx(23.75 / 37.5), 7)


def test_json_has_every_claim(history: History, logged: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([logged, "--home", str(history.home), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["sweep"] == logged
    assert [claim["id"] for claim in printed["claims"]] == [claim.id for claim in CLAIMS]
    assert {"verdict", "parts", "budget_kimg", "share_of_budget"} <= set(printed["claims"][0])
    assert main([logged, "--home", str(history.home)]) == 0
    assert "--all" in capsys.readouterr().out
    assert main([logged, "--home", str(history.home), "--all"]) == 0
    assert "the panels of each trial show it" in capsys.readouterr().out


def test_errors_are_one_line(history: History, logged: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nowhere", "--home", str(history.home)]) == 2
    assert capsys.readouterr().err.startswith("gansweep: error: no sweep 'nowhere'")
    mixed = make_sweep([{"scores.distance": 1.0}, {"scores.distance": 1.0, "fingerprint": "{}"}])
    with pytest.raises(Exception, match="measured in 2 ways"):
        check_claims(mixed)


def test_importing_the_options_is_light() -> None:
    modules = "'mlflow', 'pandas', 'numpy'"
    heavy = f"import sys, analysis.claims; print([m for m in ({modules}) if m in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "[]", done.stderr
