"""Trials that run out of memory: tried once more with a node to themselves, then failed, with the reason everywhere."""

from __future__ import annotations

import os
import pickle
from typing import TYPE_CHECKING, Any
from unittest import mock

import optuna
import pytest
from optuna.trial import TrialState
from ray import tune
from ray.exceptions import ActorDiedError

from pipeline.cluster.ray_runtime import Node
from pipeline.search.study import objectives, open_study
from pipeline.tune_adapters.reported_errors import report_errors
from pipeline.tune_adapters.retry import RetryState, exclusive_node
from pipeline.tune_adapters.scheduler import make_scheduler
from pipeline.tune_adapters.study_searcher import StudySearcher
from search_spaces.registry import find_space

if TYPE_CHECKING:
    from pathlib import Path


def nodes(*sizes: tuple[float, float]) -> list[Node]:
    return [Node(f"host-{place}", cpus, gpus, 1e9, str(place)) for place, (cpus, gpus) in enumerate(sizes)]


@pytest.mark.parametrize(
    ("sizes", "asked", "wanted"),
    [
        ([(2, 0)], {"CPU": 1.0}, {"CPU": 2}),
        ([(2, 0), (8, 0), (4, 0)], {"CPU": 1.0}, {"CPU": 8}),  # none of the others is as large
        ([(8, 0), (4, 1)], {"CPU": 1.0, "GPU": 0.25}, {"CPU": 4, "GPU": 1}),  # where there is a GPU
        ([(8, 4)], {"CPU": 2.0, "GPU": 2.0}, {"CPU": 8, "GPU": 2}),
        ([], {"CPU": 2.0}, {"CPU": 2}),  # nodes that a cluster has yet to start
    ],
)
def test_a_second_try_asks_for_all_cores_of_the_largest_node_that_fits(
    sizes: list[tuple[float, float]], asked: dict[str, float], wanted: dict[str, float]
) -> None:
    assert exclusive_node(nodes(*sizes), asked).required_resources == wanted


@pytest.mark.parametrize(
    ("reason", "status"), [("crashed: ValueError: no", "ERROR"), ("out of memory: MemoryError", "RUNNING")]
)
def test_other_crashes_and_last_tries_ask_for_no_more(reason: str, status: str) -> None:
    failures, trial = RetryState(), mock.Mock(trial_id="t", status=status, ERROR="ERROR")
    failures.record_result(trial, {"crash": reason})
    failures.record(trial)
    trial.update_resources.assert_not_called()
    assert (failures.reasons, failures.waiting, failures.reported) == ({"t": reason}, set(), {})


@pytest.mark.parametrize(("status", "alone"), [("ERROR", True), ("RUNNING", None)])
def test_a_fused_trial_is_repeated_in_a_separate_program(status: str, alone: bool | None) -> None:
    failures, reason = RetryState(fused=True), "out of memory: MemoryError"
    trial = mock.Mock(trial_id="t", status=status, ERROR="ERROR", config={"key": "s-00000"})
    failures.record_result(trial, {"crash": reason})
    failures.record(trial)
    assert trial.config.get("alone") is alone
    trial.update_resources.assert_not_called()
    assert (failures.reasons, failures.waiting) == ({"t": reason}, set())


def test_a_reported_reason_is_that_of_one_crash(tmp_path: Path) -> None:
    """The second attempt dies with its process, which reports nothing."""
    file = tmp_path / "error.pkl"
    file.write_bytes(pickle.dumps(ActorDiedError()))
    failures = RetryState()
    trial = mock.Mock(trial_id="t", status="RUNNING", ERROR="ERROR", pickled_error_file=str(file))
    failures.record_result(trial, {"crash": "crashed: ValueError: no"})
    failures.record_result(trial, {"kimg": 1})
    failures.record(trial)
    assert failures.reasons == {"t": "crashed: ValueError: no"}
    os.utime(file, ns=(0, 0))  # Tune writes it again
    failures.record(trial)
    assert failures.reasons["t"].startswith("killed: ")
    failures.record(trial)  # an error of Tune's own, for which it writes no file
    assert failures.reasons == {"t": ""}


def make_searcher(tmp_path: Path, trials: int = 4) -> StudySearcher:
    space = find_space("dcgan")
    study = open_study(f"sqlite:///{tmp_path / 'optuna.db'}", "s", objectives(space).values())
    study.sampler = optuna.samplers.RandomSampler(seed=0)
    return StudySearcher(study, space, sweep="s", trials=trials, seed=0, max_kimg=3)


def test_no_trial_starts_while_one_waits_for_an_exclusive_node(tmp_path: Path) -> None:
    searcher = make_searcher(tmp_path)
    searcher.failures.waiting.add("big")
    assert searcher.suggest("a") is None
    searcher.failures.waiting.clear()
    assert isinstance(searcher.suggest("a"), dict)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("out of memory: MemoryError: 2 GiB", "out of memory: MemoryError: 2 GiB"),
        ("crashed: KeyError: 'x'", "crashed: KeyError: 'x'"),
        ("", "crashed: worker died"),
    ],
)
def test_the_study_records_why_a_trial_crashed(tmp_path: Path, text: str, reason: str) -> None:
    searcher = make_searcher(tmp_path)
    searcher.suggest("a")
    searcher.failures.reasons["a"] = text
    searcher.on_trial_complete("a", error=True)
    (trial,) = searcher.study.trials
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs["outcome"] == {"status": "failed", "reason": reason}


# In Tune -------------------------------------------------------------------------------------------------------


def hungry_trainable() -> type[tune.Trainable]:
    """A class that Ray sends by value: its workers stand elsewhere and cannot import the tests."""

    class Hungry(tune.Trainable):
        """Writes down when it runs. Trial 1 always allocates more than it may, trial 0 only where it has one core."""

        def setup(self, config: dict[str, Any]) -> None:
            self.config, self.kimg = config, 0
            self.cores = self.trial_resources.required_resources["CPU"]

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.setup(new_config)
            return True

        def step(self) -> dict[str, Any]:
            import os
            import resource
            import time
            from pathlib import Path

            import torch

            began = time.monotonic()
            number, before = self.config["number"], resource.getrlimit(resource.RLIMIT_AS)
            try:
                if number == 1 or (number == 0 and self.cores == 1):
                    time.sleep(0.5)  # until the others have begun
                    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
                    resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, before[1]))
                    torch.empty(2**30)
                time.sleep(0.5)
            finally:
                resource.setrlimit(resource.RLIMIT_AS, before)
                with (Path(self.config["log"]) / str(number)).open("a") as file:
                    file.write(f"{began} {time.monotonic()} {self.cores}\n")
            self.kimg += 1
            return {"kimg": self.kimg, "distance": 1.0, "done": self.kimg >= 3}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            """Nothing."""

        def load_checkpoint(self, checkpoint: Any) -> None:
            """Nothing."""

    return Hungry


def run_with_one_retry(
    trainable: Any, searcher: Any, scheduler: Any, folder: Path, *, trials: int, at_once: int | None = None
) -> None:
    """As a sweep does: a trial that fails is tried once more."""
    tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=searcher, scheduler=scheduler, num_samples=trials, max_concurrent_trials=at_once,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder / "tune"), verbose=0, failure_config=tune.FailureConfig(max_failures=1)
        ),
    ).fit()  # fmt: skip


@pytest.mark.slow
def test_a_trial_that_ran_out_of_memory_is_repeated_once_on_an_exclusive_node(local_ray: None, tmp_path: Path) -> None:
    searcher, scheduler = make_searcher(tmp_path, trials=6), make_scheduler("none", (), 3)
    searcher.failures, log = scheduler.failures, tmp_path / "log"
    log.mkdir()
    suggest = searcher.suggest

    def with_log(trial_id: str) -> Any:
        config = suggest(trial_id)
        return {**config, "log": str(log)} if isinstance(config, dict) else config

    searcher.suggest = with_log  # type: ignore[method-assign]
    trainable = tune.with_resources(report_errors(hungry_trainable()), {"cpu": 1})
    run_with_one_retry(trainable, searcher, scheduler, tmp_path, trials=6, at_once=2)
    spans = {
        int(file.name): [tuple(map(float, line.split())) for line in file.read_text().splitlines()]
        for file in log.iterdir()
    }
    # One core at first, then both of the only node; the first then runs to its end, the second fails again.
    assert [cores for *_, cores in spans[0]] == [1, 2, 2, 2]
    assert [cores for *_, cores in spans[1]] == [1, 2]
    assert all([cores for *_, cores in spans[number]] == [1, 1, 1] for number in range(2, 6))
    alone = [(number, begin, end) for number in (0, 1) for begin, end, cores in spans[number] if cores == 2]
    for number, begin, end in alone:
        others = [span for other, found in spans.items() if other != number for span in found]
        assert not [1 for first, last, _ in others if first < end and begin < last]
    states = [(trial.state, trial.user_attrs["outcome"]["reason"].partition(":")[0]) for trial in searcher.study.trials]
    assert states == [(TrialState.COMPLETE, ""), (TrialState.FAIL, "out of memory"), *[(TrialState.COMPLETE, "")] * 4]
    assert not scheduler.failures.waiting


def once_failing_trainable() -> type[tune.Trainable]:
    class Once(tune.Trainable):
        """Has too little memory, unless it is alone."""

        def setup(self, config: dict[str, Any]) -> None:
            self.alone = config.get("alone", False)

        def step(self) -> dict[str, Any]:
            if not self.alone:
                raise MemoryError("cannot allocate memory")
            return {"kimg": 3, "distance": 1.0, "done": True}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            """Nothing."""

        def load_checkpoint(self, checkpoint: Any) -> None:
            """Nothing."""

    return Once


@pytest.mark.slow
def test_the_second_attempt_of_a_fused_trial_is_marked(local_ray: None, tmp_path: Path) -> None:
    searcher, scheduler = make_searcher(tmp_path, trials=1), make_scheduler("none", (), 3)
    searcher.failures = scheduler.failures
    scheduler.failures.fused = True
    trainable = tune.with_resources(
        report_errors(once_failing_trainable()), tune.PlacementGroupFactory([{"memory": 2**20}])
    )
    run_with_one_retry(trainable, searcher, scheduler, tmp_path, trials=1)
    assert [trial.state for trial in searcher.study.trials] == [TrialState.COMPLETE]
