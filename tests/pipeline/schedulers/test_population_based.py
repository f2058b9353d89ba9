"""Population-based training: sources, ranges of mutations, and a whole sweep."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.cli.main import main
from pipeline.schedulers.population_based import PbtExploiter, PopulationRule, perturbed, same_networks
from search_spaces.registry import find_space
from search_spaces.space import Dimension, Space
from tests.support.pipeline.sweep import FIXED, sweep, tiny_settings
from trainables.config import GanConfig
from trainables.storage.atomic import write_json
from trainables.storage.checkpoints import CHECKPOINTS, Checkpoints
from trainables.storage.storage import Storage
from trainables.trial.pbt_mutations import MUTABLE, read_mutations

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RECIPE = GanConfig.from_params({"optimizer.generator_lr": 1e-3, "updates.generator_steps": 2}).to_params()
RATE = Dimension("optimizer.generator_lr", 1e-3, low=1e-4, high=1.1e-3, log=True)
STEPS = Dimension("updates.generator_steps", 2, low=1, high=4)
AFTER = Dimension("updates.discriminator_steps", 1, low=1, high=5, when={"updates.generator_steps": (1,)})
WIDTH = Dimension("generator.width", 64, choices=(32, 64))
SPACE = Space("hand", "by hand", RECIPE, (WIDTH, RATE, STEPS, AFTER))


def recorded(distances: dict[str, float], kimg: int = 10) -> PopulationRule:
    rule = PopulationRule([10, 20])
    for key, distance in distances.items():
        assert rule.report(key, kimg, {"distance": distance})
    return rule


# Who copies whom -----------------------------------------------------------------------------------------------


def test_the_worst_quarter_copies_the_best_quarter() -> None:
    rule = recorded({"a": 3.0, "b": 1.0, "c": 8.0, "d": 5.0, "e": 2.0, "f": 6.0, "g": 7.0, "h": 4.0})
    assert {key: rule.exploit_candidates(key, 10) for key in "abcdefgh"} == {
        **{key: [] for key in "abdefh"}, "c": ["b", "e"], "g": ["b", "e"],
    }  # fmt: skip


def test_populations_of_four_copy_and_smaller_ones_do_not() -> None:
    assert recorded({"a": 1.0, "b": 2.0, "c": 3.0}).exploit_candidates("c", 10) == []
    four = recorded({"d": 4.0, "a": 1.0, "b": 2.0, "c": 3.0})
    assert [four.exploit_candidates(key, 10) for key in "abcd"] == [[], [], [], ["a"]]


def test_only_those_that_have_reached_the_rung_count() -> None:
    rule = recorded({"a": 1.0, "b": 2.0, "c": 3.0})
    rule.report("d", 20, {"distance": 9.0})
    assert rule.exploit_candidates("d", 20) == []
    rule.report("d", 10, {"distance": 9.0})
    assert rule.exploit_candidates("d", 10) == ["a"]
    rule.report("d", 10, {"distance": 0.0})  # run again after a restart: it counts once
    assert rule.exploit_candidates("d", 10) == ["a"]
    for key in "abcd":
        rule.report(key, 15, {"distance": 1.0})
    assert rule.exploit_candidates("d", 15) == []  # no rung


# What changes --------------------------------------------------------------------------------------------------


def test_rates_move_by_a_fifth_or_a_quarter_from_the_others_value_and_whole_numbers_by_one() -> None:
    theirs = {**RECIPE, "optimizer.generator_lr": 4e-4, "updates.generator_steps": 3}
    seen = {tuple(perturbed(SPACE, RECIPE, theirs, random.Random(seed)).items()) for seed in range(50)}
    rates = {round(dict(one)["optimizer.generator_lr"], 10) for one in seen}
    assert rates == {3.2e-4, 5e-4}
    # 3 becomes 2, which is what the trial has already, or 4.
    assert {dict(one).get("updates.generator_steps") for one in seen} == {None, 4}
    assert not [one for one in seen if set(dict(one)) - {"optimizer.generator_lr", "updates.generator_steps"}]


def test_a_configuration_of_an_earlier_version_keeps_its_values() -> None:
    old = {name: value for name, value in RECIPE.items() if name != "losses.cycle_weight"}
    assert set(perturbed(SPACE, old, {**old, "optimizer.generator_lr": 4e-4}, random.Random(0))) <= set(old)


def test_values_stay_inside_the_space() -> None:
    for seed in range(50):
        moved = perturbed(SPACE, RECIPE, {**RECIPE, "updates.generator_steps": 4}, random.Random(seed))
        assert moved["optimizer.generator_lr"] in (pytest.approx(8e-4), 1.1e-3)  # not 1.25e-3
        assert moved["updates.generator_steps"] in (3, 4)
        assert isinstance(moved["updates.generator_steps"], int)


def test_fixed_and_categorical_parameters_are_not_copied() -> None:
    fixed = SPACE.without("optimizer.generator_lr", 1e-3).with_choices("updates.generator_steps", ["2", "4"])
    theirs = {**RECIPE, "optimizer.generator_lr": 1e-4, "updates.generator_steps": 4, "losses.tag_weight": 9.0}
    assert perturbed(fixed, RECIPE, theirs, random.Random(0)) == {}


def test_a_value_whose_condition_ends_returns_to_its_default() -> None:
    own = {**RECIPE, "updates.generator_steps": 1, "updates.discriminator_steps": 4}
    found = [perturbed(SPACE, own, {**own, "updates.generator_steps": 2}, random.Random(seed)) for seed in range(50)]
    for one in found:
        if one.get("updates.generator_steps", 1) == 1:
            assert one["updates.discriminator_steps"] in (3, 5)
        else:
            assert one["updates.discriminator_steps"] == 1
    assert {one.get("updates.generator_steps") for one in found} == {None, 3}


def test_networks_are_copied_only_where_they_fit() -> None:
    assert same_networks(RECIPE, {**RECIPE, "optimizer.generator_lr": 1e-5, "losses.tag_weight": 3.0})
    for name, value in (("generator.width", 32), ("discriminator.norm", "none"), ("optimizer.name", "rmsprop")):
        assert not same_networks(RECIPE, {**RECIPE, name: value})


def place(storage: Storage, key: str, **params: Any) -> None:
    about = {"params": {**RECIPE, **{name.replace("__", "."): value for name, value in params.items()}}}
    with storage.below(key).writing("config.json") as path:
        write_json(path, about)
    Checkpoints(storage.below(key)).save({})


def test_a_source_without_checkpoints_is_passed_over(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path), in_place=True)
    for key in ("bad", "diverged", "good"):
        place(storage, key)
    storage.below("diverged").delete_folder(CHECKPOINTS)
    for kimg in range(10):  # whichever is drawn first
        PbtExploiter(storage, SPACE)("bad", kimg, ["diverged", "good"])
    assert [order["source"] for order in read_mutations(storage.below("bad"))] == ["good"] * 10
    PbtExploiter(storage, SPACE)("bad", 10, ["diverged"])
    assert len(read_mutations(storage.below("bad"))) == 10


def test_an_order_names_a_source_that_fits_and_starts_from_its_values_of_now(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path), in_place=True)
    place(storage, "bad")
    place(storage, "wide", generator__width=32)
    place(storage, "good")
    about = json.loads((tmp_path / "good" / "config.json").read_text())
    about["mutations"] = [{"kimg": 5, "source": "x", "params": {"optimizer.generator_lr": 2e-4}}]
    (tmp_path / "good" / "config.json").write_text(json.dumps(about))
    PbtExploiter(storage, SPACE)("bad", 10, ["wide", "good"])
    (order,) = read_mutations(storage.below("bad"))
    assert (order["kimg"], order["source"]) == (10, "good")
    assert order["params"]["optimizer.generator_lr"] in (pytest.approx(1.6e-4), pytest.approx(2.5e-4))
    PbtExploiter(storage, SPACE)("bad", 20, ["good"])
    assert [order["kimg"] for order in read_mutations(storage.below("bad"))] == [10, 20]


@pytest.mark.parametrize("sources", [["wide"], ["gone"], ["wide", "gone"]])
def test_no_order_is_written_without_a_fitting_readable_source(tmp_path: Path, sources: list[str]) -> None:
    storage = Storage(str(tmp_path), in_place=True)
    place(storage, "bad")
    place(storage, "wide", generator__width=32)
    PbtExploiter(storage, SPACE)("bad", 10, sources)
    assert read_mutations(storage.below("bad")) == []


# A sweep -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_population_completes_and_reports_changes(
    home_with_classifier: Path,
    faces: Path,
    local_ray: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report = PopulationRule.report

    def told_of_the_last(self: PopulationRule, key: str, kimg: int, result: Mapping[str, Any]) -> bool:
        """The last trial is the worst at each of its rungs, whatever such short training comes to."""
        worst = {"distance": 1e9} if key.endswith("00007") else {}
        return report(self, key, kimg, {**result, **worst})

    monkeypatch.setattr(PopulationRule, "report", told_of_the_last)
    given = {text.partition("=")[0] for text in FIXED}
    own = [
        f"{d.name}={d.default}"
        for d in find_space("acgan").dimensions
        if d.name not in MUTABLE and d.name not in given and d.name != "image_size"
    ]
    settings = tiny_settings(
        home_with_classifier,
        faces,
        "population",
        scheduler="pbt",
        trials=8,
        max_kimg=4,
        fix=(*FIXED, *own),
        sampler="random",
        concurrent=1,  # in turn: who is worst at a rung would follow from who came there first
    )
    swept = sweep(settings)
    assert "pbt: all trials can exchange networks" in swept.printed
    runs, trials = swept.runs(), swept.trials()
    assert [run.data.metrics["kimg"] for run in runs] == [4] * 8
    changed = [run for run in runs if run.data.metrics.get("mutations")]
    # All others have ended at 4 kimg, which is not too far ahead of its last rung.
    assert "7" in {run.data.tags["gansweep.number"] for run in changed}
    for run in changed:
        key = run.data.tags["gansweep.key"]
        about = json.loads((swept.folder / key / "config.json").read_text())
        orders = [json.loads(line) for line in (swept.folder / key / "mutations.jsonl").read_text().splitlines()]
        # An order stays undone where the source is too far ahead: there are fewer slots than trials.
        orders = [order for order in orders if order in about["mutations"]]
        assert about["mutations"] == orders
        assert run.data.metrics["mutations"] == len(orders)
        assert run.data.params == {
            name: str(value) for name, value in (*about["params"].items(), ("seed", about["seed"]))
        }
        assert trials[int(run.data.tags["gansweep.number"])].user_attrs["outcome"]["mutations"] == len(orders)
        for name, value in {name: value for order in orders for name, value in order["params"].items()}.items():
            assert run.data.metrics[f"mutated/{name}"] == pytest.approx(value)
    capsys.readouterr()
    where = ["--home", str(home_with_classifier)]
    assert main(["rank", "population", *where]) == 0
    assert f"{len(changed)} copied the networks of better trials" in capsys.readouterr().out
    out, key = tmp_path / "export", changed[0].data.tags["gansweep.key"]
    assert main(["export", "population", "--trial", key, "-o", str(out), *where]) == 0
    assert json.loads((out / "config.json").read_text())["mutations"]
    assert "These values did not hold throughout" in (out / "README.md").read_text()
