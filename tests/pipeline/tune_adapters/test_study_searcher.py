"""The study as a searcher, driven by hand without Ray, and read back through Optuna alone."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher

from analysis.ranking.ranking import rank
from pipeline.cli.status import sweep_status
from pipeline.search.samplers import make_sampler
from pipeline.search.study import objectives, open_study
from pipeline.search.trial_attributes import training_seed, trial_key
from pipeline.settings import SweepSettings
from pipeline.tune_adapters.study_searcher import StudySearcher
from tests.support.sweeps import make_sweep
from trainables.errors import DiskError, UserError
from trainables.trial.result_packing import pack_result

if TYPE_CHECKING:
    from collections.abc import Callable

    from search_spaces.space import Space

    Searchers = Callable[..., StudySearcher]

WAYS = ("minimize", "maximize")
FULL = {"kimg": 10, "distance": 12.5, "tag_accuracy": 0.75, "d_loss": 1.0}
SHORT = {"kimg": 4, "distance": 30.25, "tag_accuracy": 0.5}
DIVERGED = {"kimg": 4, "seconds": 1.0, "failure": "diverged: d_loss is nan after 4.5 kimg", "done": True}


@pytest.fixture
def space() -> Space:
    return SweepSettings("acgan", Path("d"), "s", image_size=16).resolve_space()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/optuna.db"


@pytest.fixture
def searcher(space: Space, url: str, tmp_path: Path) -> Searchers:
    """A searcher as a new driver process would make it."""

    def make(trials: int = 3, seed: int = 0, sampler: str = "random", max_kimg: int = 10) -> StudySearcher:
        study = open_study(url, "s", objectives(space).values(), make_sampler(sampler, seed, space))
        return StudySearcher(study, space, sweep="s", trials=trials, seed=seed, max_kimg=max_kimg)

    return make


def recorded(url: str) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="s", storage=url).trials


def ask(searcher: StudySearcher, trial_id: str) -> dict[str, Any]:
    config = searcher.suggest(trial_id)
    assert isinstance(config, dict)
    return config


def test_the_first_trial_is_exactly_the_recipe(searcher: Searchers, space: Space, url: str) -> None:
    asked = searcher()
    first, second = ask(asked, "a"), ask(asked, "b")
    assert first["params"] == dict(space.recipe)
    assert (first["recipe"], first["number"], first["key"]) == (True, 0, "s-00000")
    assert second["params"] != dict(space.recipe)
    assert (second["recipe"], second["number"], second["key"]) == (False, 1, "s-00001")
    # What Optuna was asked for and what the trial runs are the same values.
    for config, trial in zip((first, second), recorded(url), strict=True):
        assert trial.params == {name: config["params"][name] for name in trial.params}
        assert trial.number == config["number"]


def test_a_recipe_with_another_default_is_the_first_trial(url: str, tmp_path: Path) -> None:
    changed = SweepSettings("acgan", tmp_path, "s", set=("generator.width=16",), fix=("training.flip=true",))
    space = changed.resolve_space()
    study = open_study(url, "s", objectives(space).values(), make_sampler("tpe", 0, space))
    config = ask(StudySearcher(study, space, sweep="s", trials=1, seed=0, max_kimg=10), "a")
    assert config["params"]["generator.width"] == 16
    assert config["params"]["training.flip"] is True
    assert config["recipe"] is True


def test_it_issues_the_requested_trials_and_then_finishes(searcher: Searchers) -> None:
    asked = searcher(trials=2)
    assert asked.pending == 2
    ask(asked, "a")
    ask(asked, "b")
    assert (asked.pending, asked.running) == (0, 2)
    assert asked.suggest("c") == Searcher.FINISHED


@pytest.mark.parametrize(
    ("result", "error", "state", "values", "attributes"),
    [
        (FULL, False, TrialState.COMPLETE, [12.5, 0.75], {"status": "complete", "reason": "", "kimg": 10}),
        (
            SHORT, False, TrialState.PRUNED, None,
            {"status": "stopped", "reason": "stopped by the scheduler at 4 kimg", "kimg": 4,
             "distance": 30.25, "tag_accuracy": 0.5},
        ),
        (
            DIVERGED, False, TrialState.FAIL, None,
            {"status": "failed", "reason": "diverged: d_loss is nan after 4.5 kimg", "kimg": 4},
        ),
        (None, True, TrialState.FAIL, None, {"status": "failed"}),
        (None, False, TrialState.FAIL, None, {"status": "failed", "reason": "ended before its first result"}),
    ],
)  # fmt: skip
def test_ends_of_trials_are_recorded_with_their_state(
    searcher: Searchers,
    url: str,
    result: dict[str, Any] | None,
    error: bool,
    state: TrialState,
    values: list[float] | None,
    attributes: dict[str, Any],
) -> None:
    asked = searcher()
    ask(asked, "a")
    asked.on_trial_complete("a", result, error=error)
    trial = recorded(url)[0]
    assert (trial.state, trial.values) == (state, values)
    assert attributes.items() <= trial.user_attrs["outcome"].items()
    assert asked.running == 0


def test_packed_results_are_unpacked(searcher: Searchers, url: str) -> None:
    """All but the deciding figures are packed in one text; the study keeps the number of mutations from it."""
    asked = searcher()
    ask(asked, "a")
    asked.on_trial_result("a", pack_result({**FULL, "mutations": 2, "figure": 0.5}))
    asked.on_trial_complete("a", pack_result({**FULL, "mutations": 3, "figure": 0.5}))
    (trial,) = recorded(url)
    assert trial.user_attrs["outcome"]["mutations"] == 3
    assert trial.state == TrialState.COMPLETE


def test_a_trial_whose_disk_is_full_continues_at_the_next_start(searcher: Searchers, url: str) -> None:
    first = searcher(trials=3)
    config = ask(first, "a")
    first.failures.reasons["a"] = "environment: no space left"
    first.on_trial_complete("a", error=True)
    assert recorded(url)[0].state == TrialState.RUNNING
    assert first.suggest("b") == Searcher.FINISHED  # it would meet the same fault
    assert first.running == 1
    with pytest.raises(DiskError, match=r"sweep 'faces' was interrupted: no space left; then the same command"):
        first.failures.require_disk("faces")
    second = searcher(trials=3)
    assert second.pending == 3
    assert ask(second, "a") == config


def test_a_crash_is_recorded_as_failed(searcher: Searchers, url: str) -> None:
    asked = searcher()
    ask(asked, "a")
    asked.on_trial_complete("a", SHORT, error=True)
    assert recorded(url)[0].state == TrialState.FAIL
    assert recorded(url)[0].user_attrs["outcome"]["reason"].startswith("crashed: ")


def test_a_reported_crash_keeps_the_last_scores_and_kimg(searcher: Searchers, url: str) -> None:
    """A trial reports its error as a result without scores before it raises it."""
    asked = searcher()
    ask(asked, "a")
    asked.on_trial_result("a", SHORT)
    asked.on_trial_result("a", {"crash": "crashed: ValueError: no"})
    asked.failures.reasons["a"] = "crashed: ValueError: no"
    asked.on_trial_complete("a", error=True)
    assert recorded(url)[0].user_attrs["outcome"] == {
        "status": "failed", "reason": "crashed: ValueError: no", "kimg": 4, "distance": 30.25, "tag_accuracy": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize("sampler", ["nsga2", "gp"])
def test_a_stopped_trial_is_complete_for_samplers_that_learn_from_complete_ones(
    searcher: Searchers, url: str, sampler: str
) -> None:
    asked = searcher(sampler=sampler)
    for trial_id, result in (("a", SHORT), ("b", DIVERGED)):
        ask(asked, trial_id)
        asked.on_trial_complete(trial_id, result)
    stopped, failed = recorded(url)[:2]
    assert (stopped.state, stopped.values) == (TrialState.COMPLETE, [30.25, 0.5])
    assert (stopped.user_attrs["outcome"]["status"], stopped.user_attrs["outcome"]["kimg"]) == ("stopped", 4)
    assert failed.state == TrialState.FAIL


def test_repeated_and_unknown_ends_change_nothing(searcher: Searchers, url: str) -> None:
    asked = searcher()
    ask(asked, "a")
    asked.on_trial_complete("a", FULL)
    asked.on_trial_complete("a", DIVERGED)
    asked.on_trial_complete("who", DIVERGED)
    assert [trial.state for trial in recorded(url)] == [TrialState.COMPLETE]


def test_a_trial_of_a_dead_driver_is_issued_again_unchanged(searcher: Searchers, url: str) -> None:
    dead = searcher(trials=4)
    before = [ask(dead, name) for name in "abc"]
    dead.on_trial_complete("b", FULL)
    alive = searcher(trials=4)
    assert alive.pending == 3
    again = [ask(alive, name) for name in "xyz"]
    assert again[:2] == [before[0], before[2]]
    assert again[2]["number"] == 3
    assert alive.suggest("w") == Searcher.FINISHED
    for name in "xyz":
        alive.on_trial_complete(name, FULL)
    assert [trial.state for trial in recorded(url)] == [TrialState.COMPLETE] * 4
    assert searcher(trials=4).pending == 0


def test_a_driver_that_died_between_asking_and_issuing_loses_no_trial(searcher: Searchers, space: Space) -> None:
    dead = searcher(trials=3)
    dead.study.ask()  # the recipe, drawn from the queue and never issued
    dead.study.ask()
    alive = searcher(trials=3)
    assert alive.pending == 3
    issued = [ask(alive, name) for name in "abc"]
    assert [config["number"] for config in issued] == [0, 1, 2]
    assert issued[0]["params"] == dict(space.recipe)
    assert issued[0]["recipe"] is True
    assert set(issued[1]["params"]) == set(space.recipe)


def test_training_seeds_differ_between_trials_and_between_sweeps() -> None:
    seeds = [training_seed(sweep, number) for sweep in range(20) for number in range(100)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert training_seed(3, 7) == training_seed(3, 7)


def test_equal_seeds_suggest_equal_trials_and_other_seeds_others(space: Space, tmp_path: Path) -> None:
    def proposals(file: str, seed: int) -> list[dict[str, Any]]:
        study = open_study(f"sqlite:///{tmp_path}/{file}.db", "s", WAYS, make_sampler("tpe", seed, space))
        asked = StudySearcher(study, space, sweep="s", trials=4, seed=seed, max_kimg=10)
        return [ask(asked, str(place))["params"] for place in range(4)]

    assert proposals("a", 1) == proposals("b", 1)
    assert proposals("c", 2)[1:] != proposals("a2", 1)[1:]
    assert proposals("d", 2)[0] == proposals("e", 3)[0] == dict(space.recipe)


def test_equal_configurations_have_equal_hashes(searcher: Searchers) -> None:
    asked = searcher()
    first, second = ask(asked, "a"), ask(asked, "b")
    assert first["config_hash"] != second["config_hash"]
    assert ask(searcher(), "x")["config_hash"] == first["config_hash"]


def test_keys_name_the_sweep_and_five_digits() -> None:
    assert trial_key("faces", 42) == "faces-00042"


def test_the_study_minimises_distance_and_maximises_tag_accuracy(searcher: Searchers, url: str) -> None:
    searcher()
    study = optuna.load_study(study_name="s", storage=url)
    assert [way.name for way in study.directions] == ["MINIMIZE", "MAXIMIZE"]


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("sqlite:////nowhere/at/all/optuna.db", "/nowhere/at/all/optuna.db"),
        ("nonsense://x", "nonsense://x"),
        ("postgresql://127.0.0.1:9/none", "postgresql://127.0.0.1:9/none"),
    ],
)
def test_an_unreachable_storage_is_one_line(url: str, named: str) -> None:
    with pytest.raises(UserError) as caught:
        open_study(url, "s", WAYS)
    assert f"cannot open the study database {named}: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_password_of_a_storage_is_shown() -> None:
    with pytest.raises(UserError) as caught:
        open_study("postgresql://me:secret@127.0.0.1:9/none", "s", WAYS)
    assert "secret" not in str(caught.value)


def test_ray_may_copy_and_pickle_it(searcher: Searchers) -> None:
    asked = searcher()
    ask(asked, "a")
    copy.deepcopy(asked)
    pickle.loads(pickle.dumps(asked))  # noqa: S301 - our own bytes
    asked.save("nowhere")
    asked.restore("nowhere")
    assert asked.running == 1


def unconditional(folder: Path) -> Space:
    return SweepSettings("dcgan", folder, "s", image_size=16).resolve_space()


def test_an_unconditional_space_has_distance_as_its_only_objective(space: Space, tmp_path: Path) -> None:
    assert objectives(space) == {"distance": "minimize", "tag_accuracy": "maximize"}
    for name in ("dcgan", "wgan_gp", "anything_unconditional"):
        assert objectives(SweepSettings(name, tmp_path, "s").resolve_space()) == {"distance": "minimize"}
    for name in ("srresnet_acgan", "matching_wgan", "cdcgan", "combo_dcgan", "anything"):
        assert list(objectives(SweepSettings(name, tmp_path, "s").resolve_space())) == ["distance", "tag_accuracy"]


@pytest.mark.parametrize("sampler", ["tpe", "prior", "random", "nsga2", "gp", "qmc", "grid"])
def test_a_study_of_an_unconditional_space_has_one_direction(url: str, tmp_path: Path, sampler: str) -> None:
    space = unconditional(tmp_path)
    study = open_study(url, "s", objectives(space).values(), make_sampler(sampler, 0, space))
    asked = StudySearcher(study, space, sweep="s", trials=3, seed=0, max_kimg=10)
    for trial_id, distance in (("a", 12.5), ("b", 10.0)):
        ask(asked, trial_id)
        asked.on_trial_complete(trial_id, {"kimg": 10, "distance": distance})
    stored = optuna.load_study(study_name="s", storage=url)
    assert [way.name for way in stored.directions] == ["MINIMIZE"]
    assert [trial.values for trial in recorded(url)] == [[12.5], [10.0]]
    assert stored.best_trial.number == 1
    assert "tag_accuracy" not in recorded(url)[0].user_attrs["outcome"]


def test_trials_without_tag_accuracy_are_ranked_by_distance() -> None:
    sweep = make_sweep([{"scores.distance": 30.0}, {"scores.distance": 10.0}, {"scores.distance": 20.0}])
    ranking = rank(sweep)
    assert ranking.best == "hand-00001"
    ordered = [trial["key"] for trial in ranking.to_json()["trials"]]
    assert ordered == ["hand-00001", "hand-00002", "hand-00000"]
    assert "tag_accuracy" not in sweep_status(sweep)["best"]


# ---- extended sweeps ----


def finish(searcher: StudySearcher, distances: dict[str, float | None], kimg: int = 10) -> None:
    """Ask for as many trials as there are distances; those without one are stopped early."""
    for name in distances:
        ask(searcher, name)
    for name, distance in distances.items():
        reached = kimg if distance is not None else 4
        searcher.on_trial_complete(name, {"kimg": reached, "distance": distance or 99.0, "tag_accuracy": 0.5})


def test_the_best_third_of_the_complete_trials_continue_under_their_keys(searcher: Searchers, url: str) -> None:
    finish(searcher(trials=6), {"a": 5.0, "b": 3.0, "c": None, "d": 4.0, "e": 1.0, "f": 6.0})
    before = {trial.number: trial for trial in recorded(url)}
    again = searcher(trials=7, max_kimg=30)
    # Five completed 10 kimg, of which 5 / 3, rounded up, are 2: trials 4 and 1.
    assert again.continue_best(10, 3) == ["s-00004", "s-00001"]
    assert again.pending == 3
    first, second, new = (ask(again, name) for name in "xyz")
    assert [one["key"] for one in (first, second)] == ["s-00004", "s-00001"]
    for one, number in ((first, 4), (second, 1)):
        assert one["params"] == before[number].user_attrs["params"]
        assert one["number"] == number
    assert new["number"] not in before
    assert again.suggest("more") == Searcher.FINISHED
    # The seed is that of the key, as it was.
    assert first["seed"] == training_seed(0, 4)


def test_the_choice_of_continued_trials_does_not_depend_on_earlier_starts(searcher: Searchers, url: str) -> None:
    finish(searcher(trials=4), {"a": 5.0, "b": 3.0, "c": 2.0, "d": 4.0})
    for _ in range(2):  # the driver dies before it has issued any, and starts again
        again = searcher(trials=4, max_kimg=30)
        assert again.continue_best(10, 3) == ["s-00002", "s-00001"]
        assert again.pending == 2
    ask(again, "x")
    after = searcher(trials=4, max_kimg=30)  # and again, with one of them running
    assert after.continue_best(10, 3) == ["s-00002", "s-00001"]
    assert after.pending == 2
    keys = [ask(after, name)["key"] for name in "yz"]
    assert sorted(keys) == ["s-00001", "s-00002"]
    for name, distance in (("y", 1.0), ("z", 1.5)):
        after.on_trial_complete(name, {"kimg": 30, "distance": distance, "tag_accuracy": 0.5})
    done = searcher(trials=4, max_kimg=30)
    assert done.continue_best(10, 3) == ["s-00002", "s-00001"]
    assert done.pending == 0
    assert len(recorded(url)) == 6


def test_a_continued_trial_has_not_ended(searcher: Searchers) -> None:
    finish(searcher(trials=3), {"a": 5.0, "b": 3.0, "c": 4.0})
    again = searcher(trials=3, max_kimg=30)
    again.continue_best(10, 3)
    assert sorted(key for key, _ in again.ended()) == ["s-00000", "s-00002"]
    ask(again, "x")
    again.on_trial_complete("x", {"kimg": 30, "distance": 1.0, "tag_accuracy": 0.5})
    assert sorted(key for key, _ in again.ended()) == ["s-00000", "s-00001", "s-00002"]


def test_without_a_scheduler_all_complete_trials_continue(searcher: Searchers) -> None:
    finish(searcher(trials=3), {"a": 5.0, "b": None, "c": 4.0})
    assert searcher(trials=3, max_kimg=30).continue_best(10, 1) == ["s-00002", "s-00000"]


# ---- studies of earlier versions ----


def add_earlier(url: str, number: int, state: TrialState, **attributes: Any) -> None:
    """Add a trial as earlier versions wrote it: status, reason, scores and kimg are user attributes of their own."""
    study = optuna.create_study(study_name="s", storage=url, directions=WAYS, load_if_exists=True)
    values = [attributes["distance"], attributes["tag_accuracy"]] if state == TrialState.COMPLETE else None
    trial = optuna.create_trial(
        state=state,
        values=values,
        params={"generator.width": 8},
        distributions={"generator.width": optuna.distributions.IntDistribution(4, 16)},
        user_attrs={"params": {"generator.width": 8}, **attributes},
        system_attrs={"gansweep:mark": f"mark {number}"},
    )
    study.add_trial(trial)


def test_a_study_of_an_earlier_version_continues(searcher: Searchers, url: str, space: Space) -> None:
    scores = {"distance": 5.0, "tag_accuracy": 0.5}
    add_earlier(url, 0, TrialState.COMPLETE, status="complete", reason="", kimg=10, **scores)
    add_earlier(url, 1, TrialState.PRUNED, status="stopped", reason="at 4 kimg", kimg=4, **scores)
    add_earlier(url, 2, TrialState.FAIL, status="failed", reason="diverged: d_loss", kimg=1)
    add_earlier(url, 3, TrialState.RUNNING)
    asked = searcher(trials=5, max_kimg=30)
    assert {key: (end.status, end.reason) for key, end in asked.ended()} == {
        "s-00000": ("complete", ""),
        "s-00001": ("stopped", "at 4 kimg"),
        "s-00002": ("failed", "diverged: d_loss"),
    }
    assert (asked.pending, asked.continue_best(10, 3)) == (2, ["s-00000"])
    assert asked.pending == 3
    unfinished = optuna.load_study(study_name="s", storage=url).trials[3]
    assert unfinished.user_attrs["params"] == {"generator.width": 8}


def test_kimg_of_earlier_versions_counts_towards_the_total(space: Space, url: str) -> None:
    add_earlier(url, 0, TrialState.PRUNED, status="stopped", reason="", kimg=4, distance=5.0, tag_accuracy=0.5)
    for total, pending in ((13, 0), (14, 2)):  # 4 were used, and one more trial takes 10
        study = open_study(url, "s", WAYS, make_sampler("random", 0, space))
        asked = StudySearcher(study, space, sweep="s", trials=3, seed=0, max_kimg=10, total_kimg=total)
        assert asked.pending == pending
