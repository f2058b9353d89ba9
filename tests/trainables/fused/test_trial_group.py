"""Trials that step together: each result is the one it has alone."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trainables.fused import fused_loop
from trainables.fused.trial_group import TrialGroup
from trainables.storage.storage import Storage
from trainables.trial.context import TrialContext
from trainables.trial.trial import Trial
from trainables.trial.trial_clock import Stopwatch

pytestmark = pytest.mark.usefixtures("float64")

PARAMS = {
    "generator.width": 2, "generator.noise_dim": 4, "discriminator.width": 2, "training.batch_size": 50,
    "training.ema_decay": 0.9,
}  # fmt: skip
OWN = {"seconds", "images_per_second", "score_seconds", "train_seconds", "generator_latency_ms"}
"""Figures of the clock."""


def make(context: TrialContext, folder: Path, seed: int, **changes: object) -> Callable[[Stopwatch], Trial]:
    return lambda clock: Trial(context, PARAMS | changes, seed, Storage(str(folder), in_place=True), clock)


CHANGES: list[dict[str, object]] = [
    {}, {"optimizer.generator_lr": 1e-3, "losses.tag_weight": 0.5}, {"training.ema_decay": 0.0}, {"generator.width": 3},
]  # fmt: skip
"""The last one's structure is another: it is trained beside the others."""


def group_of(context: TrialContext, folder: Path) -> TrialGroup:
    group = TrialGroup()
    for seed, changes in enumerate(CHANGES):
        group.join(str(seed), make(context, folder / str(seed), seed, **changes))
    return group


def require_equal(result: object, expected: dict[str, object]) -> None:
    assert isinstance(result, dict)
    assert result.keys() == expected.keys()
    for name in expected.keys() - OWN:
        value = expected[name]
        near = pytest.approx(value, rel=1e-4, abs=1e-4) if isinstance(value, float) else value
        assert name.startswith("system/") or result[name] == near, name


def test_every_result_is_that_of_the_trial_alone(context: TrialContext, tmp_path: Path) -> None:
    group = group_of(context, tmp_path / "group")
    single = [
        make(context, tmp_path / "single" / str(seed), seed, **changes)(Stopwatch())
        for seed, changes in enumerate(CHANGES)
    ]
    expected: list[list[dict[str, object]]] = []
    for seed, trial in enumerate(single):
        expected.append([])
        torch.manual_seed(seed)  # of the process: trials in turn would draw from one place
        trial._begin()
        for _ in range(2):
            expected[-1].append(trial.step())
    for step in range(2):
        results = group.step()
        for seed in range(len(CHANGES)):
            require_equal(results[str(seed)], expected[seed][step])
    assert {key: answer["done"] for key, answer in group.step().items()} == dict.fromkeys("0123", True)  # type: ignore[index]
    left = {path.name for path in (tmp_path / "group" / "1").iterdir()}
    assert left == {path.name for path in (tmp_path / "single" / "1").iterdir()}


def test_a_group_goes_on_from_checkpoints_and_without_those_that_left(context: TrialContext, tmp_path: Path) -> None:
    whole = group_of(context, tmp_path / "whole")
    expected = [whole.step(), whole.step()][1]
    first = group_of(context, tmp_path / "parts")
    first.step()
    again = group_of(context, tmp_path / "parts")
    again.leave("0")
    assert again.keys == ("1", "2", "3")
    results = again.step()
    assert set(results) == {"1", "2", "3"}
    for key, result in results.items():
        require_equal(result, expected[key])  # type: ignore[arg-type]


def test_what_one_raises_is_its_own(context: TrialContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = TrialGroup()
    for seed in range(3):
        trial = group.join(str(seed), make(context, tmp_path / str(seed), seed))
        if seed == 0:
            monkeypatch.setattr(trial, "_evaluate", broken)
        if seed == 1:
            with torch.no_grad():
                next(trial.loop.generator.parameters()).fill_(torch.nan)
    results = group.step()
    assert str(results["0"]) == "no space left"
    assert "diverged: " in results["1"]["failure"]  # type: ignore[index]
    assert results["2"]["kimg"] == 1  # type: ignore[index]


def test_a_program_that_fails_is_every_members_failure(
    context: TrialContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = TrialGroup()
    for key, changes in (("0", {}), ("1", {}), ("wide", {"generator.width": 3})):
        group.join(key, make(context, tmp_path / key, 1, **changes))

    def full(*given: object) -> None:
        raise MemoryError("cannot allocate memory")

    monkeypatch.setattr(fused_loop.BatchedNetworks, "update", full)
    results = group.step()
    assert [str(results[key]) for key in "01"] == ["cannot allocate memory"] * 2
    assert results["wide"]["kimg"] == 1  # type: ignore[index]


def broken(*given: object) -> None:
    raise OSError("no space left")


def test_time_runs_out_for_each_by_itself(context: TrialContext, tmp_path: Path) -> None:
    group = TrialGroup()
    hurried = replace(context, max_seconds=1e-9)
    group.join("slow", make(hurried, tmp_path / "slow", 0))
    group.join("other", make(context, tmp_path / "other", 1))
    results = group.step()
    assert "out of time" in results["slow"]["failure"]  # type: ignore[index]
    assert results["other"]["kimg"] == 1  # type: ignore[index]


def counted_programs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many trials each program of several had."""
    sizes: list[int] = []
    ordinary = fused_loop.BatchedNetworks.__init__

    def counting(stack: fused_loop.BatchedNetworks, loops: Sequence[object], streams: Sequence[object]) -> None:
        sizes.append(len(loops))
        ordinary(stack, loops, streams)  # type: ignore[arg-type]

    monkeypatch.setattr(fused_loop.BatchedNetworks, "__init__", counting)
    return sizes


def test_one_that_comes_later_is_trained_with_those_on_their_way(
    context: TrialContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of 10: an interval has 100 updates, and a pause comes after 25."""
    small = {"training.batch_size": 10}
    expected = {}
    for seed in (0, 1):
        torch.manual_seed(seed)
        trial = make(context, tmp_path / "single" / str(seed), seed, **small)(Stopwatch())
        expected[str(seed)] = [trial.step(), trial.step()]
    sizes, group = counted_programs(monkeypatch), TrialGroup()
    group.join("0", make(context, tmp_path / "0", 0, **small))
    assert group.step(pause=lambda: True) == {}
    assert group._members["0"].trial.loop.updates == 25
    group.join("1", make(context, tmp_path / "1", 1, **small))
    results = [group.step(), group.step(), group.step(), group.step("1")]
    assert [list(answers) for answers in results] == [["0"], ["1"], ["0"], ["1"]]
    for answers, (key, turn) in zip(results, [("0", 0), ("1", 0), ("0", 1), ("1", 1)], strict=True):
        require_equal(answers[key], expected[key][turn])
    assert set(sizes) == {2}


def test_one_that_shall_be_alone_is_in_no_program(
    context: TrialContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, group = counted_programs(monkeypatch), TrialGroup()
    for key in "abc":
        group.join(key, make(context, tmp_path / key, 1), alone=key == "a")
    assert set(group.step()) == set("abc")
    assert sizes == [2]
    group.leave("c")
    group.step()
    assert sizes == [2]


def test_only_those_that_are_named_are_trained(context: TrialContext, tmp_path: Path) -> None:
    group = TrialGroup()
    for key in "ab":
        group.join(key, make(context, tmp_path / key, 1))
    assert set(group.step(["b"])) == {"b"}
    assert [group._members[key].trial.kimg for key in "ab"] == [0, 1]


def test_one_that_comes_again_takes_the_place_of_its_former_self(context: TrialContext, tmp_path: Path) -> None:
    group = TrialGroup()
    group.join("a", make(context, tmp_path / "a", 1))
    group.step()
    group.step(pause=lambda: True)
    group.join("a", make(context, tmp_path / "a", 1))
    assert group.keys == ("a",)
    assert [group.step()["a"]["kimg"], group.step()["a"]["done"]] == [2, True]  # type: ignore[index]


def test_what_fails_at_a_save_is_that_trials_own(
    context: TrialContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group, small = TrialGroup(), {"training.batch_size": 10}
    for key in "ab":
        group.join(key, make(context, tmp_path / key, 1, **small))
    monkeypatch.setattr(group._members["a"].trial, "save_if_due", broken)
    assert str(group.step()["a"]) == "no space left"
    group.leave("a")
    assert group.step()["b"]["kimg"] == 1  # type: ignore[index]


def test_the_seconds_of_all_trials_are_those_of_the_process(
    context: TrialContext, tmp_path: Path, training_time: list[float]
) -> None:
    """Two fused, one beside them."""
    group = TrialGroup()
    for key, changes in (("a", {}), ("b", {}), ("wide", {"generator.width": 3})):
        group.join(key, make(context, tmp_path / key, 1, **changes))
    answers = group.step()
    spent = {key: answers[key]["train_seconds"] for key in answers}  # type: ignore[index]
    assert spent == {"a": 100.0, "b": 100.0, "wide": 200.0}  # 20 updates each; wide's own are not the others'
    assert {key: answers[key]["seconds"] for key in answers} == spent  # type: ignore[index]
    assert sum(spent.values()) == training_time[0]
    assert answers["a"]["images_per_second"] == 10.0  # type: ignore[index]


WIDE: dict[str, object] = {"generator.width": 3}


def saving(trial: Trial, updates: list[int]) -> Callable[[], None]:
    """Its ``save``, which notes after how many updates that was."""
    ordinary = trial.save

    def save() -> None:
        updates.append(trial.loop.updates)
        ordinary()

    return save


@pytest.mark.parametrize(
    ("trials", "saved"),
    [
        ([{}], [10, 20]),  # a look every five updates, that is at 50, 100, 150 and 200 s
        ([{}] * 2, [10, 20]),
        ([{}] * 4, [10, 20]),
        ([{}, WIDE], [10, 15, 20]),  # at 50, 150, 250 and 350 s: 50 s of the other's lie in between
        ([{}, {}, {}, WIDE], [10, 15, 20]),
    ],
)
def test_each_is_saved_as_often_as_it_would_be_alone(
    context: TrialContext,
    tmp_path: Path,
    training_time: list[float],
    monkeypatch: pytest.MonkeyPatch,
    trials: list[dict[str, object]],
    saved: list[int],
) -> None:
    """Every 100 s of the process, of which each clock counts its part."""
    monkeypatch.setattr(fused_loop, "CHECK_EVERY", 5)
    own, group = replace(context, checkpoint_seconds=100), TrialGroup()
    updates: list[int] = []
    for seed, changes in enumerate(trials):
        trial = group.join(str(seed), make(own, tmp_path / str(seed), seed, **changes))
        if seed == 0:
            monkeypatch.setattr(trial, "save", saving(trial, updates))
    assert "0" in group.step()
    assert updates == [*saved, 20]  # the last with the scores


def test_a_stream_that_cannot_be_entered_is_that_trials_failure(
    context: TrialContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU whose context is broken; the other has its answer."""
    group = TrialGroup()
    for key, changes in (("a", {}), ("wide", {"generator.width": 3})):
        group.join(key, make(context, tmp_path / key, 1, **changes))
    monkeypatch.setattr(group._members["a"].stream, "active", broken)
    assert str(group.step()["a"]) == "no space left"
    group.leave("a")
    assert group.step()["wide"]["kimg"] == 1  # type: ignore[index]


@pytest.mark.parametrize(
    ("raised", "works"),
    [(None, True), (RuntimeError("device-side assert"), False), (torch.OutOfMemoryError("2 MiB"), True)],
)
def test_a_gpu_works_unless_it_raises_at_the_least(
    monkeypatch: pytest.MonkeyPatch, raised: Exception | None, works: bool
) -> None:
    def synchronize(device: torch.device) -> None:
        if raised:
            raise raised

    ones = torch.ones
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    monkeypatch.setattr(torch, "ones", lambda size, device: ones(size))
    group = TrialGroup()
    assert group.works()
    group.device = torch.device("cuda")
    assert group.works() is works
