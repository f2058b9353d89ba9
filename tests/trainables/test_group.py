"""Trials that step together: each result is the one it has alone."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.support.tiny import cheap_context, evaluations
from trainables import fused
from trainables.group import TrialGroup
from trainables.storage import Storage
from trainables.trial import Trial, TrialContext

PARAMS = {
    "generator.width": 2, "generator.noise_dim": 4, "discriminator.width": 2, "training.batch_size": 50,
    "training.ema_decay": 0.9,
}  # fmt: skip
OWN = {"seconds", "images_per_second", "score_seconds", "train_seconds"}
"""Figures of the clock."""


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    """So that what differs beyond rounding shows."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrialContext]:
    with cheap_context(tmp_path_factory.mktemp("cache"), evaluations(2)) as made:
        yield made


def make(context: TrialContext, folder: Path, seed: int, **changes: object) -> Trial:
    return Trial(context, PARAMS | changes, seed, Storage(str(folder), in_place=True))


CHANGES: list[dict[str, object]] = [
    {}, {"optimizer.generator_lr": 1e-3, "losses.tag_weight": 0.5}, {"training.ema_decay": 0.0}, {"generator.width": 3},
]  # fmt: skip
"""The last one's structure is another: it is trained beside the others."""


def group_of(context: TrialContext, folder: Path) -> TrialGroup:
    group = TrialGroup()
    for seed, changes in enumerate(CHANGES):
        group.join(str(seed), lambda seed=seed, changes=changes: make(context, folder / str(seed), seed, **changes))
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
    single = [make(context, tmp_path / "single" / str(seed), seed, **changes) for seed, changes in enumerate(CHANGES)]
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
        trial = group.join(str(seed), lambda seed=seed: make(context, tmp_path / str(seed), seed))
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
        group.join(key, lambda key=key, changes=changes: make(context, tmp_path / key, 1, **changes))

    def full(*given: object) -> None:
        raise MemoryError("cannot allocate memory")

    monkeypatch.setattr(fused._Stack, "update", full)
    results = group.step()
    assert [str(results[key]) for key in "01"] == ["cannot allocate memory"] * 2
    assert results["wide"]["kimg"] == 1  # type: ignore[index]


def broken(*given: object) -> None:
    raise OSError("no space left")


def test_time_runs_out_for_each_by_itself(context: TrialContext, tmp_path: Path) -> None:
    group = TrialGroup()
    hurried = replace(context, max_seconds=1e-9)
    group.join("slow", lambda: make(hurried, tmp_path / "slow", 0))
    group.join("other", lambda: make(context, tmp_path / "other", 1))
    results = group.step()
    assert "out of time" in results["slow"]["failure"]  # type: ignore[index]
    assert results["other"]["kimg"] == 1  # type: ignore[index]
