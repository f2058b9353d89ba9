"""Confirmations and ablations of a tiny sweep, read back with MLflow alone."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
from collections import Counter
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from mlflow.exceptions import MlflowException
from rich.console import Console

from analysis.mlflow_reader.sweep import load
from pipeline.cli.clean import clean_sweep
from pipeline.cli.main import main
from pipeline.home import Home
from pipeline.repeats import ablate as ablate_module
from pipeline.repeats import confirm as confirm_module
from pipeline.repeats import run as run_module
from pipeline.repeats.ablate import make_variants, run_ablation, vary_recipe
from pipeline.repeats.confirm import chosen_configurations, confirmation_plan, top_configurations
from pipeline.repeats.plan import Repeat, params_of, repeat_seed
from pipeline.repeats.searcher import PlanSearcher
from pipeline.resources import Resources
from pipeline.search.trial_attributes import training_seed
from pipeline.settings import SweepSettings
from pipeline.sweep import prepare
from pipeline.sweep import run as sweep_run
from pipeline.sweep.resolve import resolve_sweep
from search_spaces.space import Dimension, Space
from tests.support.pipeline.command_line import Hold, start_cli, until
from tests.support.pipeline.sweep import Swept, sweep, tiny_settings
from tests.support.sweeps import make_sweep
from trainables.config import GanConfig
from trainables.errors import UsageError, UserError

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow.entities import Run

NAME = "again"
FREE = ("optimizer.discriminator_lr", "optimizer.generator_lr")


@pytest.fixture(scope="module")
def searched(home_with_classifier: Path, faces: Path, local_ray: None) -> Swept:
    """A sweep of three trials."""
    return sweep(
        tiny_settings(
            home_with_classifier,
            faces,
            NAME,
            trials=3,
            sampler="random",
            scheduler="none",
            eval_kimg=None,
            max_kimg=1,
        )
    )


@pytest.fixture(scope="module")
def confirmed(searched: Swept) -> dict[str, Any]:
    """The sweep's best configuration and its recipe on two seeds."""
    return confirm(searched, "--top", "1", "--seeds", "2")


def confirm(swept: Swept, *words: str) -> dict[str, Any]:
    return command(swept, "confirm", *words)


def command(swept: Swept, name: str, *words: str) -> dict[str, Any]:
    """What a command prints as JSON."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main([name, swept.settings.name, "--home", str(swept.home.root), "--json", *words]) == 0
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def tags(run: Run, *names: str) -> tuple[str, ...]:
    return tuple(run.data.tags[f"gansweep.{name}"] for name in names)


def test_a_confirmation_trains_the_best_and_the_recipe_on_the_same_seeds(
    searched: Swept, confirmed: dict[str, Any]
) -> None:
    runs = searched.runs("confirmation")
    of = {run.data.tags["gansweep.of"] for run in runs}
    recipe = f"{NAME}-00000"
    assert recipe in of
    assert len(runs) == 2 * len(of)
    seeds = [str(repeat_seed("confirmation", 0, index)) for index in range(2)]
    parents = {run.data.tags["gansweep.key"]: run for run in searched.runs()}
    for key in of:
        own = [run for run in runs if run.data.tags["gansweep.of"] == key]
        assert [tags(run, "key", "seed", "status", "budget") for run in own] == [
            (f"{key}-c{index:02d}", seed, "complete", "1") for index, seed in enumerate(seeds)
        ]
        for run in own:
            assert run.data.tags["mlflow.parentRunId"] == parents[key].info.run_id
            assert run.data.tags["gansweep.variant"] == ("recipe" if key == recipe else "unchanged")
            assert run.data.tags["gansweep.config_hash"] == parents[key].data.tags["gansweep.config_hash"]
            given, before = dict(run.data.params), dict(parents[key].data.params)
            assert given.pop("seed") == run.data.tags["gansweep.seed"] != before.pop("seed")
            assert given == before
            assert (run.data.metrics["kimg"], run.data.metrics["samples"]) == (1.0, 32.0)
    folder = searched.folder / f"{recipe}-c00"
    assert (folder / "generator.safetensors").is_file()
    assert not list(folder.glob("checkpoints/*.pt"))


def test_the_printed_means_are_those_of_the_runs(searched: Swept, confirmed: dict[str, Any]) -> None:
    scores: dict[str, list[float]] = {}
    for run in searched.runs("confirmation"):
        scores.setdefault(run.data.tags["gansweep.of"], []).append(run.data.metrics["distance"])
    means = {key: sum(values) / len(values) for key, values in scores.items()}
    told = load(NAME, home=searched.home.root).repeats
    assert len(told) >= 2 * len(means)
    assert {key: one["mean"] for key, one in confirmed["configurations"].items()} == pytest.approx(
        {key: sum(values[:2]) / 2 for key, values in scores.items() if key in confirmed["configurations"]}
    )
    assert confirmed["best"] == min(
        confirmed["configurations"], key=lambda key: confirmed["configurations"][key]["mean"]
    )
    assert sum(one["p_best"] for one in confirmed["configurations"].values()) == pytest.approx(1.0)


def test_trials_are_as_before(searched: Swept, confirmed: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert len(load(NAME, home=searched.home.root).trials) == len(searched.trials()) == 3
    counts = command(searched, "status")["trials"]
    assert (counts["complete"], counts["interrupted"], counts["running"]) == (3, 0, 0)
    (parent,) = searched.runs("sweep")
    assert tags(parent, "status") == ("complete",)
    assert f"{confirmed['best']}" in parent.data.tags["mlflow.note.content"].splitlines()[2]
    assert "over 2 fresh seeds" in parent.data.tags["mlflow.note.content"]
    assert parent.info.status == "FINISHED"
    assert main(["resume", NAME, "--home", str(searched.home.root)]) == 0
    assert len(searched.runs()) == 3


def test_the_same_command_again_runs_nothing_and_more_adds_what_is_missing(
    searched: Swept, confirmed: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    before = {run.info.run_id: run.info.end_time for run in searched.runs("confirmation")}
    assert (
        confirm(searched, "--top", "1", "--seeds", "2")["configurations"].keys() == confirmed["configurations"].keys()
    )
    assert f"all {len(before)} runs have ended" in " ".join(capsys.readouterr().err.split())
    assert {run.info.run_id: run.info.end_time for run in searched.runs("confirmation")} == before
    larger = confirm(searched, "--top", "3", "--seeds", "3")
    runs = searched.runs("confirmation")
    assert before.items() <= {run.info.run_id: run.info.end_time for run in runs}.items()
    assert set(Counter(run.data.tags["gansweep.of"] for run in runs).values()) == {3}
    assert len(larger["configurations"]) == 3
    assert len({run.data.tags["gansweep.key"] for run in runs}) == len(runs) == 9


def test_the_best_is_exported_with_the_weights_of_its_median_run(
    searched: Swept, confirmed: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ranking = command(searched, "rank")
    best = ranking["confirmed"]["best"]
    assert ranking["best"] == best
    runs = [run for run in searched.runs("confirmation") if run.data.tags["gansweep.of"] == best]
    ordered = sorted(runs, key=lambda run: run.data.metrics["distance"])
    median = ordered[len(ordered) // 2]
    key = median.data.tags["gansweep.key"]
    assert main(["export", NAME, "-o", str(tmp_path / "out"), "--home", str(searched.home.root)]) == 0
    assert f"exported {key} to" in capsys.readouterr().out
    weights = (searched.folder / key / "generator.safetensors").read_bytes()
    assert (tmp_path / "out" / "weights.safetensors").read_bytes() == weights
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["trial"], manifest["run"]) == (best, key)
    assert manifest["scores"]["distance"] == median.data.metrics["distance"]
    assert manifest["confirmation"]["n"] == len(runs)
    assert f"confirmed on {len(runs)} fresh seeds" in (tmp_path / "out" / "README.md").read_text()
    assert main(["export", NAME, "--trial", best, "-o", str(tmp_path / "own"), "--home", str(searched.home.root)]) == 0
    own = (searched.folder / best / "generator.safetensors").read_bytes()
    assert (tmp_path / "own" / "weights.safetensors").read_bytes() == own


def test_clean_keeps_the_weights_that_export_needs(searched: Swept, confirmed: dict[str, Any]) -> None:
    freed = clean_sweep(searched.home, NAME, None, keep=10, dry_run=True).files
    medians = {one["median_run"] for one in command(searched, "rank")["confirmation"].values()}
    repeats = {run.data.tags["gansweep.key"] for run in searched.runs("confirmation")}
    assert {name.split("/")[0] for name in freed if name.endswith("generator.safetensors")} == repeats - medians
    assert {name.split("/")[0] for name in freed if name.endswith("best.safetensors")} >= repeats


@pytest.mark.slow
def test_an_ablation_changes_one_dimension_at_a_time(searched: Swept, confirmed: dict[str, Any]) -> None:
    trials = load(NAME, home=searched.home.root).trials.set_index("key")
    key = f"{NAME}-00001"
    found = command(searched, "ablate", "--trial", key, "--seeds", "2", "--max-kimg", "2", "--only", ",".join(FREE))
    assert found["budget"] == 2
    runs = searched.runs("ablation")
    recipe = trials.loc[f"{NAME}-00000"]
    expected = {"winner": {}, "recipe": {}}
    for name in FREE:
        expected[f"without {name}"] = {name: recipe[f"params.{name}"]}
        expected[f"with {name}"] = {name: trials.loc[key, f"params.{name}"]}
    assert {run.data.tags["gansweep.variant"] for run in runs} == set(expected)
    parent = next(run for run in searched.runs() if run.data.tags["gansweep.key"] == key)
    for run in runs:
        variant, change = run.data.tags["gansweep.variant"], json.loads(run.data.tags["gansweep.variant_params"])
        assert change == pytest.approx(expected[variant])
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["gansweep.of"] == key
        assert run.data.tags["gansweep.key"].endswith("-k2")  # not the sweep's budget
        assert run.data.metrics["kimg"] == 2.0
        base = key if variant == "winner" or variant.startswith("without") else f"{NAME}-00000"
        wanted = {name: trials.loc[base, f"params.{name}"] for name in FREE} | change
        assert {name: float(run.data.params[name]) for name in FREE} == pytest.approx(wanted)
    seeds = {run.data.tags["gansweep.seed"] for run in runs}
    assert seeds == {str(repeat_seed("ablation", 0, index)) for index in range(2)}
    assert len(runs) == 2 * len(expected)
    told = {one["variant"]: one for one in found["variants"]}
    by = {
        variant: [r.data.metrics["distance"] for r in runs if tags(r, "variant") == (variant,)] for variant in expected
    }
    for variant, base in ((f"without {FREE[0]}", "winner"), (f"with {FREE[1]}", "recipe"), ("winner", "recipe")):
        assert told[variant]["base"] == base
        difference = sum(by[variant]) / 2 - sum(by[base]) / 2
        assert told[variant]["difference"]["mean"] == pytest.approx(difference)


@pytest.mark.real_processes
@pytest.mark.slow
def test_a_killed_confirmation_continues_without_lost_or_repeated_runs(
    home_with_classifier: Path, faces: Path, local_ray: None, tmp_path: Path
) -> None:
    swept = sweep(tiny_settings(home_with_classifier, faces, "killed", trials=1, scheduler="none", max_kimg=8))
    words = ["confirm", "killed", "--top", "1", "--seeds", "3", "--home", str(home_with_classifier), "--json"]
    hold = Hold(tmp_path)
    process = start_cli(words, tmp_path, hold=hold)
    hold.wait(process)

    def is_logged() -> bool:
        with contextlib.suppress(MlflowException):  # the driver may hold the database just then
            return any("distance" in run.data.metrics for run in swept.runs("confirmation"))
        return False

    until(is_logged)
    process.kill()
    process.communicate()
    reached = {run.info.run_id: run.data.metrics.get("kimg", 0) for run in swept.runs("confirmation")}
    found = confirm(swept, "--top", "1", "--seeds", "3")
    runs = swept.runs("confirmation")
    assert set(reached) <= {run.info.run_id for run in runs}
    assert [run.data.tags["gansweep.key"] for run in runs] == [f"killed-00000-c{index:02d}" for index in range(3)]
    for run in runs:
        steps = [point.step for point in swept.client.get_metric_history(run.info.run_id, "distance")]
        assert steps == list(range(1, 9))
    assert found["configurations"]["killed-00000"]["n"] == 3


# Plans -------------------------------------------------------------------------------------------------------
def test_seeds_never_meet() -> None:
    training = {training_seed(0, number) for number in range(5000)}
    confirming = {repeat_seed("confirmation", 0, index) for index in range(1000)}
    ablating = {repeat_seed("ablation", 0, index) for index in range(1000)}
    assert len(confirming) == len(ablating) == 1000
    assert max(training) < 2**31 <= min(confirming)
    assert max(confirming) < 2**32 <= min(ablating)
    assert repeat_seed("confirmation", 1, 0) not in confirming


def plan_sweep(*rows: dict[str, Any]) -> Any:
    return make_sweep(
        [{"config_hash": str(i), "samples": 100.0, "recipe": i == 0, **row} for i, row in enumerate(rows)]
    )


def test_a_configuration_is_confirmed_once_and_the_recipe_always() -> None:
    hand = plan_sweep(
        {"scores.distance": 50.0},
        {"scores.distance": 40.0, "config_hash": "b"},
        {"scores.distance": 30.0, "config_hash": "b"},
        {"scores.distance": 35.0, "config_hash": "0"},  # the recipe, proposed again
        {"scores.distance": 45.0},
        {"scores.distance": 1.0, "status": "failed", "reason": "diverged"},
    )
    assert top_configurations(hand, 1) == ["hand-00002", "hand-00000"]
    assert top_configurations(hand, 2) == ["hand-00002", "hand-00000"]
    assert top_configurations(hand, 9) == ["hand-00002", "hand-00000", "hand-00004"]


def test_the_winner_comes_first_then_the_others_that_follow_their_tags(capsys: pytest.CaptureFixture[str]) -> None:
    """The best accuracy is 0.9, so that the floor is 0.72; the lowest distance has 0.1."""
    scores = ((50.0, 0.75), (30.0, 0.9), (20.0, 0.8), (5.0, 0.1))
    hand = plan_sweep(*({"scores.distance": distance, "scores.tag_accuracy": share} for distance, share in scores))
    assert top_configurations(hand, 1) == ["hand-00002", "hand-00000"]
    assert "hand: lowest distance among the 3 of 4 trials" in capsys.readouterr().err
    assert top_configurations(hand, 2) == ["hand-00002", "hand-00001", "hand-00000"]
    capsys.readouterr()
    assert top_configurations(hand, 5) == ["hand-00002", "hand-00001", "hand-00000"]
    assert "3 of 5 configurations reach that tag accuracy; --trial KEY" in capsys.readouterr().err
    assert top_configurations(hand, 2, 0.0) == ["hand-00003", "hand-00002", "hand-00000"]
    assert top_configurations(hand, 2, 0.85) == ["hand-00001", "hand-00000"]


def test_chosen_trials_are_confirmed_with_the_recipe() -> None:
    hand = plan_sweep(
        {"scores.distance": 50.0},
        {"scores.distance": 40.0},
        {"scores.distance": 30.0, "config_hash": "1"},
        {"scores.distance": 20.0, "metrics.mutations": 1.0},
    )
    assert chosen_configurations(hand, ["hand-00002", "hand-00001"]) == ["hand-00002", "hand-00000"]
    assert chosen_configurations(hand, ["hand-00000"]) == ["hand-00000"]
    with pytest.raises(UsageError, match=r"sweep 'hand' has no trial 'hand-0001'; did you mean 'hand-00001'"):
        chosen_configurations(hand, ["hand-0001"])
    with pytest.raises(UsageError, match=r"trial hand-00003 cannot be confirmed: pbt"):
        chosen_configurations(hand, ["hand-00003"])
    with pytest.raises(UsageError, match="--top 2 and --trial hand-00001: give one of the two"):
        confirm_module.run_confirmation("hand", top=2, trials=["hand-00001"])


def test_limits_of_the_sweep_do_not_apply_to_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SweepSettings("acgan", tmp_path, "hand", max_kimg=10, total_kimg=20, time_limit="1h", home=tmp_path)
    path = Home.find(tmp_path).sweep("hand") / "sweep.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"settings": settings.to_json(), "started_with": settings.to_json()}))
    monkeypatch.setattr(confirm_module, "load", lambda *given, **options: plan_sweep({}))
    found, _, budget = confirm_module.load_for_repeats("hand", tmp_path, seeds=5, max_kimg=30)
    assert (found.total_kimg, found.time_limit, budget) == (None, None, 30)
    dataclasses.replace(found, max_kimg=budget)  # as the repeats are run


MUTATED = {"scores.distance": 1.0, "metrics.mutations": 2.0}


def test_mutated_trials_are_not_confirmed_and_a_message_counts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hand = plan_sweep({"scores.distance": 50.0}, {"scores.distance": 40.0}, MUTATED)
    assert top_configurations(hand, 1) == ["hand-00001", "hand-00000"]
    assert top_configurations(plan_sweep({**MUTATED, "scores.distance": 2.0}, {"scores.distance": 3.0}), 1) == [
        "hand-00001", "hand-00000",
    ]  # fmt: skip
    with pytest.raises(UserError, match="every scored trial of sweep 'hand' "):
        top_configurations(plan_sweep(MUTATED), 1)
    settings = SweepSettings("acgan", tmp_path, "hand", image_size=16)
    monkeypatch.setattr(
        confirm_module, "load_for_repeats", lambda *given, **options: (settings, hand, settings.max_kimg)
    )
    monkeypatch.setattr(confirm_module, "params_of", lambda sweep, key: GanConfig().to_params())
    monkeypatch.setattr(confirm_module, "run_plan", lambda *given, **options: "complete")
    confirm_module.run_confirmation("hand", top=1, seeds=1)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hand: 1 trial not considered for confirmation: ")
    monkeypatch.setattr(confirm_module, "load_for_repeats", lambda *given, **options: (settings, hand, 4))
    confirm_module.run_confirmation("hand", top=1, seeds=1)
    assert "hand: 4 kimg a run is less than the sweep's 100: " in capsys.readouterr().err


@pytest.mark.parametrize("trial", ["hand-00001", None])  # the best by default
def test_a_mutated_trial_is_not_ablated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trial: str | None) -> None:
    settings = SweepSettings("acgan", tmp_path, "hand", image_size=16)
    hand = plan_sweep({"scores.distance": 50.0}, MUTATED)
    monkeypatch.setattr(ablate_module, "load_for_repeats", lambda *given, **options: (settings, hand, 4))
    with pytest.raises(UsageError, match=r"trial hand-00001 .*pbt.*--trial"):
        ablate_module.run_ablation("hand", trial=trial)


def test_without_scores_or_a_recipe_there_is_nothing_to_confirm() -> None:
    with pytest.raises(UserError, match="no scored trial to confirm yet"):
        top_configurations(plan_sweep({"scores.distance": None}), 3)
    with pytest.raises(UserError, match="has not run its recipe yet"):
        top_configurations(plan_sweep({"scores.distance": 3.0, "recipe": False}), 3)


def test_parameters_that_were_edited_are_refused(searched: Swept) -> None:
    found = load(NAME, home=searched.home.root)
    edited = dataclasses.replace(found, trials=found.trials.assign(config_hash="0" * 12))
    assert params_of(found, f"{NAME}-00001")["generator.width"] == 4
    with pytest.raises(UserError, match=f"{NAME}-00001 .*hash"):
        params_of(edited, f"{NAME}-00001")


def test_all_configurations_come_before_the_next_seed(searched: Swept) -> None:
    sweep = load(NAME, home=searched.home.root)
    plan = confirmation_plan(sweep, searched.settings, list(sweep.trials["key"]), seeds=2, budget=1)
    assert [repeat.index for repeat in plan] == [0, 0, 0, 1, 1, 1]
    assert len({repeat.seed for repeat in plan}) == 2
    searcher = PlanSearcher(plan[:2])
    assert [searcher.suggest(name)["key"] for name in "ab"] == [plan[0].key, plan[1].key]  # type: ignore[index,call-overload]
    assert (searcher.suggest("c"), searcher.pending, searcher.running) == (PlanSearcher.FINISHED, 0, 2)
    searcher.on_trial_complete("a")
    assert searcher.running == 1


def test_repeats_of_a_timed_trial_see_as_many_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"scores.distance": 1.0, "kimg": kimg, "metrics.cost_kimg": cost, "recipe": kimg == 4.0}
            for kimg, cost in ((4.0, 4.0), (5.0, 2.0), (None, None))]  # fmt: skip
    timed, keys = make_sweep(rows), [f"hand-{number:05d}" for number in range(3)]
    monkeypatch.setattr(confirm_module, "params_of", lambda sweep, key: GanConfig().to_params())
    shares = {}
    for budget in ("seconds", "flops"):
        settings = SweepSettings("acgan", tmp_path, "hand", budget=budget)  # type: ignore[arg-type]
        plan = confirmation_plan(timed, settings, keys, seeds=1, budget=4)
        shares[budget] = [one.config().get("image_share") for one in plan]
    assert shares == {"seconds": [1.0, 2.5, None], "flops": [None] * 3}


def repeat(key: str) -> Repeat:
    return Repeat("confirmation", "hand-00000", "unchanged", 0, 7, GanConfig().to_params(), 4, key)


def test_no_run_starts_while_one_waits_for_an_exclusive_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The searcher sees what the scheduler notes of failures while Tune runs."""
    seen: list[Any] = []

    class Tuner:
        def __init__(self, trainable: Any, tune_config: Any, run_config: Any) -> None:
            self.searcher, self.scheduler = tune_config.search_alg, tune_config.scheduler

        def fit(self) -> None:
            self.scheduler.failures.waiting.add("big")
            seen.extend([self.searcher.suggest("b"), self.searcher.pending])
            self.scheduler.failures.waiting.clear()
            seen.append(self.searcher.suggest("b"))

    monkeypatch.setattr("ray.tune.Tuner", Tuner)
    monkeypatch.setattr(sweep_run, "local_ray", lambda *given: contextlib.nullcontext())
    monkeypatch.setattr(sweep_run, "_trainable", lambda prepared: contextlib.nullcontext())
    for name in ("describe_data", "SweepPage"):
        monkeypatch.setattr(run_module, name, mock.Mock())
    sweep = resolve_sweep(SweepSettings("acgan", tmp_path, "s", image_size=16, max_kimg=4))
    prepared = mock.Mock(sweep=sweep, resources=Resources(1, 0.0, 1, 1, 1))
    prepared.scoring.progress.return_value = ""
    assert run_module._run([repeat("a")], prepared, mock.Mock(), Console(quiet=True)) == "interrupted"  # not ended
    assert seen == [None, 1, repeat("a").config()]


@pytest.mark.parametrize(("fuse", "own", "at_once"), [(None, "5", [5]), (4, "1", [])])
def test_more_runs_than_trials_use_all_slots(
    searched: Swept, monkeypatch: pytest.MonkeyPatch, fuse: int | None, own: str, at_once: list[int]
) -> None:
    """And are checked for what they need at once; those of one process are not at once."""
    settings = dataclasses.replace(searched.settings, concurrent=5)
    checked: list[Resources] = []
    monkeypatch.setattr(run_module, "require_resources", lambda resources, *rest: checked.append(resources))
    monkeypatch.setattr(run_module, "_run", lambda left, prepared, *rest: str(prepared.settings.concurrent))
    plan = [repeat(f"none-{number}") for number in range(7)]
    assert run_module.run_plan(plan, settings, load(NAME, home=searched.home.root), fuse=fuse) == own
    assert [one.slots for one in checked] == at_once


@pytest.mark.parametrize(("fuse", "at_once"), [(None, (3, 8)), (4, (1, 1))])
def test_runs_of_one_process_need_the_memory_of_one(
    searched: Swept, monkeypatch: pytest.MonkeyPatch, fuse: int | None, at_once: tuple[int, int]
) -> None:
    """Not that of a sweep of three processes with eight trials each."""
    settings = dataclasses.replace(searched.settings, trials=24, concurrent=3, fuse="8")
    checked: list[Resources] = []

    def check(resources: Resources, *rest: Any, begun: int) -> None:
        checked.append(resources)
        raise UserError("checked")

    monkeypatch.setattr(prepare, "require_resources", check)
    with pytest.raises(UserError, match="checked"):
        run_module.run_plan([repeat("none")], settings, load(NAME, home=searched.home.root), fuse=fuse)
    assert [(one.slots, one.fused) for one in checked] == [at_once]


def test_a_dimension_follows_the_one_it_depends_on(tmp_path: Path) -> None:
    space = SweepSettings("anything", tmp_path, "s", image_size=16).resolve_space()
    winner = {**space.recipe, "discriminator.conditioning": "concat", "losses.wrong_tags": "balanced"}
    winner["generator.width"] = 32
    found, skipped = make_variants(space, winner)
    changes = {one.name: one.change for one in found}
    assert changes == {
        "winner": {},
        "recipe": {},
        "without generator.width": {"generator.width": 64},
        "without discriminator.conditioning": {"discriminator.conditioning": "acgan", "losses.wrong_tags": "none"},
        "without losses.wrong_tags": {"losses.wrong_tags": "none"},
        "with discriminator.conditioning": {"discriminator.conditioning": "concat"},
    }
    # Without its conditioning the winner differs from the recipe in its width alone: one configuration, trained once.
    assert skipped == {
        "with generator.width": "it is the same configuration as 'without discriminator.conditioning'",
        "with losses.wrong_tags": "it has an effect only where discriminator.conditioning is concat or map or combo "
        "or projection or product and losses.adversarial is bce or lsgan or wgan or hinge",
    }


def test_invalid_variants_are_skipped_with_the_reason(tmp_path: Path) -> None:
    known = SweepSettings("acgan", tmp_path, "s", image_size=16).resolve_space()
    dimensions = (
        Dimension("losses.adversarial", known.recipe["losses.adversarial"], choices=("bce", "wgan")),
        Dimension("losses.penalty", known.recipe["losses.penalty"], choices=("none", "wgan_gp")),
        Dimension("generator.width", 64, choices=(32, 64)),
    )
    recipe = {**known.recipe, "losses.labels": "hard", "generator.width": 64}
    space = Space("hand", "by hand", recipe, dimensions)
    changed = {"losses.adversarial": "wgan", "losses.penalty": "wgan_gp", "generator.width": 32}
    found, skipped = make_variants(space, {**recipe, **changed}, "leave-one-out")
    assert [one.name for one in found] == [
        "winner", "recipe", "without losses.adversarial", "without generator.width",
    ]  # fmt: skip
    assert list(skipped) == ["without losses.penalty"]
    assert "a critic must be held to slope 1" in skipped["without losses.penalty"]
    _, skipped = make_variants(space, {**recipe, **changed}, "add-one", ["losses.adversarial"])
    assert "a critic must be held to slope 1" in skipped["with losses.adversarial"]


def test_the_recipe_is_varied_in_given_values(tmp_path: Path) -> None:
    space = SweepSettings("anything", tmp_path, "s", image_size=16).resolve_space()
    given = ("discriminator.conditioning=concat", "generator.width=32", "generator.width=32", "optimizer.beta1=0")
    found = vary_recipe(space, given)
    assert [one.name for one in found] == [
        "recipe", "with discriminator.conditioning=concat", "with generator.width=32", "with optimizer.beta1=0.0",
    ]  # fmt: skip
    assert found[0].params == space.recipe
    assert found[2].change == {"generator.width": 32}
    assert found[2].params == {**space.recipe, "generator.width": 32}
    for text, said in {
        "generator.width": "expected --with NAME=VALUE",
        "generator.size=3": "no dimension 'generator.size'",
        "generator.width=33": r"generator.width is 33; the space searches",
        "generator.width=64": "is the recipe's own value",
        "losses.wrong_tags=balanced": "has an effect only where discriminator.conditioning is concat",
    }.items():
        with pytest.raises(UsageError, match=said):
            vary_recipe(space, (text,))
    with pytest.raises(UsageError, match="omit --trial, --only and --mode"):
        run_ablation("s", tmp_path, values=("generator.width=32",), mode="add-one")


def test_only_must_name_a_difference_and_the_recipe_has_none(tmp_path: Path) -> None:
    space = SweepSettings("acgan", tmp_path, "s", image_size=16).resolve_space()
    winner = {**space.recipe, "optimizer.generator_lr": 1e-4}
    with pytest.raises(
        UsageError, match=r"--only optimizer.discriminator_lr.*differs from the recipe in optimizer.gen"
    ):
        make_variants(space, winner, only=["optimizer.discriminator_lr"])
    with pytest.raises(UsageError, match="is the recipe itself"):
        make_variants(space, space.recipe)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["confirm", NAME, "--seeds", "0"], "--seeds is 0; allowed: 1 to 1000"),
        (["confirm", NAME, "--top", "0"], "--top is 0; allowed: 1 to 1000"),
        (["confirm", NAME, "--max-kimg", "0"], "--max-kimg is 0; allowed: 1 to"),
        (["ablate", NAME, "--trial", "again-7"], "has no trial 'again-7'; did you mean 'again-0000"),
    ],
)
def test_wrong_requests_are_one_line(
    searched: Swept, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main([*words, "--home", str(searched.home.root)]) == 2
    assert said in capsys.readouterr().err
