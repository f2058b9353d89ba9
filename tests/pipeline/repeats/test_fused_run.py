"""Runs of a plan as one program: how they are grouped, and what is tracked of each."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from rich.console import Console

from pipeline.repeats import fused_run
from pipeline.repeats.confirm import run_confirmation
from pipeline.repeats.fused_run import group_fusable, run_fused
from pipeline.repeats.plan import Repeat
from pipeline.schedulers.evaluation_schedule import resolve_budget
from pipeline.settings import SweepSettings
from tests.support.tiny import TINY, cheap_context, evaluations
from trainables.config import GanConfig
from trainables.errors import UsageError
from trainables.fused.trial_group import TrialGroup
from trainables.storage.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainables.trial.context import TrialContext


def repeat(key: str, seed: int = 7, **changes: Any) -> Repeat:
    params = GanConfig.from_params({**TINY, "training.batch_size": 50, **changes}).to_params()
    return Repeat("confirmation", "s-00000", "unchanged", seed, seed, params, 2, key)


def test_runs_of_equal_structure_are_grouped_up_to_the_limit() -> None:
    wide = {"generator.width": 3}
    plan = [repeat("a"), repeat("b", **wide), repeat("c", 8), repeat("d", 8, **wide), repeat("e", 9),
            repeat("f", **{"optimizer.generator_lr": 1e-3})]  # fmt: skip

    def keys(most: int) -> list[str]:
        return ["".join(one.key for one in group) for group in group_fusable(plan, most)]

    assert keys(8) == ["acef", "bd"]
    assert keys(2) == ["ac", "bd", "ef"]
    assert keys(1) == list("abcdef")


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrialContext]:
    with cheap_context(tmp_path_factory.mktemp("cache"), evaluations(2)) as made:
        yield made


def carried_out(
    context: TrialContext, folder: Path, monkeypatch: pytest.MonkeyPatch, plan: list[Repeat], **settings: Any
) -> tuple[int, mock.Mock]:
    """The number of runs that are left, and the tracker of all others."""
    monkeypatch.setattr(fused_run, "trial_context", lambda *given: context)
    tracker = mock.Mock()
    tracker.last_kimg.return_value = 0
    prepared = mock.Mock()
    prepared.sweep.places.storage = Storage(str(folder), in_place=True)
    made = SweepSettings("acgan", folder, "s", image_size=16, max_kimg=2, **settings)
    prepared.sweep.budget = resolve_budget(made)
    return run_fused(plan, prepared, tracker, Console(file=io.StringIO()), 2), tracker


def test_every_run_is_tracked_to_its_end(
    context: TrialContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = [repeat("a", 1), repeat("b", 2), repeat("c", 3)]
    left, tracker = carried_out(context, tmp_path, monkeypatch, plan)
    assert left == 0
    assert [call.args[0]["key"] for call in tracker.start_trial.call_args_list] == ["a", "b", "c"]
    logged = [(call.args[0], call.args[1]["kimg"]) for call in tracker.log_result.call_args_list]
    assert logged == [("a", 1), ("b", 1), ("a", 2), ("b", 2), ("c", 1), ("c", 2)]
    ended = {call.args[0]: call.args[1].status for call in tracker.finish_trial.call_args_list}
    assert ended == dict.fromkeys("abc", "complete")
    assert not list(tmp_path.rglob("checkpoints/*"))  # no repeat goes on after its end
    assert (tmp_path / "b" / "generator.safetensors").is_file()


def test_a_run_that_crashes_ends_alone(context: TrialContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ordinary = TrialGroup.step

    def step(group: TrialGroup) -> dict[str, Any]:
        found = ordinary(group)
        return {**found, "a": MemoryError("cannot allocate memory")} if "a" in found else found

    monkeypatch.setattr(TrialGroup, "step", step)
    left, tracker = carried_out(context, tmp_path, monkeypatch, [repeat("a", 1), repeat("b", 2)])
    assert left == 0
    ended = {call.args[0]: (call.args[1].status, call.args[1].reason) for call in tracker.finish_trial.call_args_list}
    assert ended == {
        "a": ("failed", "out of memory: MemoryError: cannot allocate memory"), "b": ("complete", ""),
    }  # fmt: skip


def test_runs_beyond_the_time_limit_do_not_start(
    context: TrialContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, tracker = carried_out(
        context, tmp_path, monkeypatch, [repeat("a", 1), repeat("b", 2), repeat("c", 3)], time_limit="0.000001s"
    )
    assert left == 3
    assert not tracker.finish_trial.called


def test_the_process_has_the_gpu_that_trials_of_the_sweep_shared(
    context: TrialContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: list[float] = []

    def run_group(group: Any, context: TrialContext, *rest: Any) -> int:
        shares.append(context.gpu_share)
        return 0

    monkeypatch.setattr(fused_run, "_run_group", run_group)
    carried_out(dataclasses.replace(context, gpu_share=0.125), tmp_path, monkeypatch, [repeat("a", 1), repeat("b", 2)])
    assert shares == [1.0]


@pytest.mark.parametrize("count", [0, -1, 1001])
def test_a_wrong_number_is_refused(count: int) -> None:
    with pytest.raises(UsageError, match=f"--fuse is {count}; allowed: 1 to 1000"):
        run_confirmation("first", fuse=count)


def test_a_cluster_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SweepSettings("acgan", Path("faces"), "s", address="auto")
    monkeypatch.setattr("pipeline.repeats.confirm.load_for_repeats", lambda *given, **options: (settings, None, 1))
    with pytest.raises(UsageError, match="--fuse 4 trains in this process and the sweep runs on the Ray cluster auto"):
        run_confirmation("s", fuse=4)
