"""A trial continues wherever its process died."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.support.checkpoints import DAMAGES, files, here
from tests.support.servers.cloud import BUCKET
from tests.support.tiny import cheap_context, evaluations, same
from trainables.scoring.results import Scores
from trainables.storage.checkpoints import read_results
from trainables.storage.storage import Storage
from trainables.training import loop
from trainables.trial.ray_trainable import TuneTrial
from trainables.trial.result_packing import unpack_result
from trainables.trial.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from trainables.trial.context import TrialContext

PARAMS = {"generator.width": 2, "generator.noise_dim": 4, "discriminator.width": 2, "training.batch_size": 100}


class Died(BaseException):
    """The process is gone: nothing may catch this."""


class Clock:
    """Stands still until told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrialContext]:
    """Two intervals of ten updates; the state is saved every five."""
    with (
        pytest.MonkeyPatch.context() as patch,
        cheap_context(tmp_path_factory.mktemp("cache"), evaluations(2), checkpoint_seconds=0) as made,
    ):
        patch.setattr(loop, "CHECK_EVERY", 5)
        yield made


def make(context: TrialContext, storage: Storage, seed: int = 1, clock: Clock | None = None, **changes: Any) -> Trial:
    return Trial(context, PARAMS | changes, seed, storage, clock or Clock())


def untimed(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Results without what the clock and the machine add."""
    measured = ("seconds", "train_seconds", "score_seconds", "images_per_second", "generator_latency_ms")
    return [
        {name: value for name, value in result.items() if name not in measured and not name.startswith("system/")}
        for result in results
    ]


def state(trial: Trial) -> dict[str, Any]:
    return {**trial.loop.state_dict(), "kimg": trial.kimg, "results": untimed(trial.results)}


def die_at(trial: Trial, update: int) -> None:
    """Let the process die before the update."""
    ordinary = trial.loop._update

    def update_or_die(figures: Any) -> None:
        if trial.loop.updates == update:
            raise Died
        ordinary(figures)

    trial.loop._update = update_or_die  # type: ignore[method-assign]


def run(trial: Trial) -> list[dict[str, Any]]:
    """Step to the end."""
    results = [trial.step()]
    while not results[-1]["done"]:
        results.append(trial.step())
    return results


def others(storage: Storage) -> set[str]:
    """All but checkpoints."""
    return {name for name in storage.list() if not name.startswith("checkpoints/")}


@pytest.fixture(scope="module")
def reference(context: TrialContext, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """A trial that nothing stopped, and that saved nothing within its intervals."""
    trial = make(replace(context, checkpoint_seconds=1e9), here(tmp_path_factory.mktemp("reference")))
    run(trial)
    return trial


def test_saving_within_an_interval_changes_nothing(context: TrialContext, reference: Trial, tmp_path: Path) -> None:
    trial = make(context, here(tmp_path))
    run(trial)
    assert same(state(trial), state(reference))


@pytest.mark.parametrize(("update", "kept"), [(2, 0), (5, 5), (9, 5), (10, 10), (12, 10), (16, 15), (19, 15)])
def test_a_trial_that_died_goes_on_bit_for_bit(
    context: TrialContext, reference: Trial, tmp_path: Path, update: int, kept: int
) -> None:
    dying = make(context, here(tmp_path))
    die_at(dying, update)
    with pytest.raises(Died):
        run(dying)
    torch.manual_seed(99)
    trial = make(context, here(tmp_path))
    assert trial.load() == (kept > 0)
    assert trial.loop.updates == kept
    results = run(trial)
    assert same(state(trial), state(reference))
    assert untimed(results) == untimed(reference.results)[-len(results) :]
    assert "notice" not in results[0]


VARIANTS: dict[str, dict[str, Any]] = {
    "averaged": {"training.ema_decay": 0.99},
    "decaying": {"optimizer.decay": "linear"},
    "scheduled": {
        "optimizer.decay": "cosine", "optimizer.beta2_final": 0.9, "losses.penalty": "r1",
        "losses.penalty_decay": "cosine", "training.ema_halflife": 0.1, "training.diff_augment": True,
        "training.augment_schedule": "cosine",
    },
    "rmsprop": {"optimizer.name": "rmsprop"},
    "augmented": {"training.flip": True, "training.rotate": 5.0},
    "more steps": {"updates.discriminator_steps": 2, "training.batch_size": 50},
    "unconditional": {"generator.conditioning": "none", "discriminator.conditioning": "none"},
}  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_part_of_the_state_is_kept(context: TrialContext, tmp_path: Path, variant: str) -> None:
    changes = VARIANTS[variant]
    whole = make(context, here(tmp_path / "whole"), **changes)
    run(whole)
    dying = make(context, here(tmp_path / "died"), **changes)
    die_at(dying, whole.loop.updates * 4 // 5)
    with pytest.raises(Died):
        run(dying)
    trial = make(context, here(tmp_path / "died"), **changes)
    assert trial.load()
    assert trial.loop.updates % (whole.loop.updates // 2)  # within an interval
    run(trial)
    assert same(state(trial), state(whole))


def test_the_state_is_saved_when_the_time_has_come_and_at_evaluations(context: TrialContext, tmp_path: Path) -> None:
    clock = Clock()
    trial = make(replace(context, evaluations=evaluations(4, 4), checkpoint_seconds=300), here(tmp_path), clock=clock)
    ordinary = trial.loop._update

    def update(figures: Any) -> None:
        clock.now += 50
        ordinary(figures)

    trial.loop._update = update  # type: ignore[method-assign]
    result = trial.step()
    # 40 updates of 50 s, a look every five: saved at 500, 1000, 1500 and 2000 s, then with the scores
    assert [name[:6] for name in files(tmp_path)] == ["000004", "000005"]
    assert result["seconds"] == 2000


def test_seconds_count_what_was_saved_and_not_what_was_lost(context: TrialContext, tmp_path: Path) -> None:
    for update, before, after in ((6, 0.0, 250.0), (9, 250.0, 250.0)):
        clock = Clock()
        clock.now = 7e6  # clocks of two machines have nothing in common
        trial = make(context, here(tmp_path), clock=clock)
        trial.load()
        assert trial.seconds == before
        die_at(trial, update)
        ordinary = trial.loop._update

        def slow(figures: Any, clock: Clock = clock, ordinary: Callable[[Any], None] = ordinary) -> None:
            ordinary(figures)
            clock.now += 50

        trial.loop._update = slow  # type: ignore[method-assign]
        with pytest.raises(Died):
            trial.step()
        fresh = make(context, here(tmp_path))
        fresh.load()
        assert fresh.seconds == after


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_trial_goes_on_from_the_checkpoint_before_a_damaged_one(
    context: TrialContext, reference: Trial, tmp_path: Path, damage: str
) -> None:
    dying = make(context, here(tmp_path))
    die_at(dying, 16)
    with pytest.raises(Died):
        run(dying)
    last = tmp_path / "checkpoints" / files(tmp_path)[-1]
    last.write_bytes(DAMAGES[damage](last.read_bytes()))
    trial = make(context, here(tmp_path))
    assert trial.load()
    assert trial.loop.updates == 10  # 15 is lost
    results = run(trial)
    assert same(state(trial), state(reference))
    assert results[0]["notice"].endswith("the trial goes on from 1.0 kimg")
    assert "\n" not in results[0]["notice"]
    assert all("notice" not in result for result in read_results(trial.storage))


def test_without_a_good_checkpoint_a_trial_begins_anew(context: TrialContext, reference: Trial, tmp_path: Path) -> None:
    dying = make(context, here(tmp_path))
    die_at(dying, 16)
    with pytest.raises(Died):
        run(dying)
    for name in files(tmp_path):
        (tmp_path / "checkpoints" / name).write_bytes(b"")
    trial = make(context, here(tmp_path))
    assert not trial.load()
    assert read_results(trial.storage) == []
    results = run(trial)
    assert same(state(trial), state(reference))
    assert untimed(read_results(trial.storage)) == untimed(reference.results)
    assert results[0]["notice"].endswith("it begins anew")
    assert "notice" not in results[1]


def test_a_checkpoint_of_another_configuration_leaves_no_trace(
    context: TrialContext, reference: Trial, tmp_path: Path
) -> None:
    other = make(context, here(tmp_path), **{"discriminator.width": 4})  # its generator would fit
    other.step()
    trial = make(context, here(tmp_path))
    assert not trial.load()
    assert "cannot be used" in trial.notice
    run(trial)
    assert same(state(trial), state(reference))


def test_a_trial_that_had_ended_gives_its_last_result_and_scores_nothing(
    context: TrialContext, reference: Trial
) -> None:
    trial = make(context, reference.storage)
    assert trial.load()
    assert trial.step() == {**reference.results[-1], "train_seconds": 0.0, "score_seconds": 0.0}
    assert read_results(trial.storage) == reference.results


@pytest.mark.parametrize("distances", [[3.0, 2.0], [2.0, 3.0], [2.0, 2.0]])
def test_the_weights_with_the_lowest_distance_are_kept(
    context: TrialContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, distances: list[float]
) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file

    left = list(distances)
    monkeypatch.setattr(
        type(context.scorer), "score", lambda *given, **options: Scores(24, {"distance": left.pop(0)}, {})
    )
    weights = []
    for _ in distances:  # by another process each
        trial = make(context, here(tmp_path))
        trial.load()
        trial.step()
        weights.append({name: value.clone() for name, value in trial.loop.average.state_dict().items()})
    best = distances.index(min(distances))
    assert same(load_file(tmp_path / "best.safetensors"), weights[best])
    assert same(load_file(tmp_path / "generator.safetensors"), weights[1])
    with safe_open(tmp_path / "best.safetensors", framework="pt") as file:
        assert file.metadata() == {"kimg": str(best + 1)}


def test_the_best_weights_are_among_those_scored_on_most_images(
    context: TrialContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors import safe_open

    left = [Scores(12, {"distance": 1.0}, {}), Scores(24, {"distance": 9.0}, {})]
    monkeypatch.setattr(type(context.scorer), "score", lambda *given, **options: left.pop(0))
    trial = make(context, here(tmp_path))
    trial.step()
    trial.step()
    with safe_open(tmp_path / "best.safetensors", framework="pt") as file:
        assert file.metadata() == {"kimg": "2"}


# ---- death at every file operation ----


class Deaths:
    """Kills the process before its n-th change of a file, which is after the one before."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.count, self.at = 0, -1
        for name in ("put", "delete"):
            self._wrap(patch, name, getattr(Storage, name))

    def _wrap(self, patch: pytest.MonkeyPatch, name: str, ordinary: Callable[..., None]) -> None:
        def perhaps(*given: Any) -> None:
            self.count += 1
            if self.count - 1 == self.at:
                raise Died
            ordinary(*given)

        patch.setattr(Storage, name, perhaps)


class Driver:
    """Logs as the tracker does: what the journal holds when a trial starts, then each result, each kimg once."""

    def __init__(self) -> None:
        self.logged: dict[int, dict[str, Any]] = {}

    def run(self, context: TrialContext, storage: Storage) -> Trial:
        for result in read_results(storage):
            self.logged.setdefault(result["kimg"], result)
        trial = make(context, storage)
        trial.load()
        while True:
            result = trial.step()
            self.logged.setdefault(result["kimg"], result)
            if result["done"]:
                return trial


def test_no_evaluation_is_repeated_or_missing_wherever_the_process_died(context: TrialContext, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in VARIANTS["unconditional"].items():  # fewer images
            patch.setitem(PARAMS, name, value)
        deaths, whole = Deaths(patch), Driver()
        reference = whole.run(context, here(tmp_path / "whole"))
        operations = deaths.count
        assert operations > 15
        for number in range(operations):
            storage, driver = here(tmp_path / str(number)), Driver()
            deaths.count, deaths.at = 0, number
            with pytest.raises(Died):
                driver.run(context, storage)
            trial = driver.run(context, storage)
            assert same(state(trial), state(reference)), number
            for results in (list(driver.logged.values()), read_results(storage)):
                assert untimed(results) == untimed(reference.results), number
            assert others(storage) == others(reference.storage)
            assert len(files(tmp_path / str(number))) in (2, 3)  # the oldest of three may have outlived the process


# ---- another node ----


def bare_worker() -> TuneTrial:
    """What Tune would set up, without Tune."""
    node = TuneTrial.__new__(TuneTrial)
    node._trial_info = None
    return node


def test_another_node_goes_on_bit_for_bit(
    context: TrialContext, reference: Trial, tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(f"s3://{BUCKET}/sweep")
    config = {"key": "sweep-00000", "params": PARAMS, "seed": 1, "folder": "nowhere"}
    nodes = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / name))
        node = bare_worker()
        node.setup(config, context, storage)
        nodes.append(node)
        if name == "first":
            node.step()
            die_at(node.trial, 16)
            with pytest.raises(Died):
                node.step()
    trial = nodes[1].trial
    assert trial.loop.updates == 15
    nodes[1].step()
    assert same(state(trial), state(reference))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]  # nothing stays on a node
    there = storage.below("sweep-00000").list()
    assert others(storage.below("sweep-00000")) == others(reference.storage)
    assert len([name for name in there if name.startswith("checkpoints/")]) == 2


def test_a_reused_worker_takes_up_another_trial(context: TrialContext, reference: Trial, tmp_path: Path) -> None:
    node = bare_worker()
    node.setup({"key": "s-00000", "params": PARAMS, "seed": 2}, context, here(tmp_path))
    node.step()
    assert node.reset_config({"key": "s-00001", "params": PARAMS, "seed": 1})
    results = [unpack_result(node.step()), unpack_result(node.step())]
    assert untimed(results) == untimed(reference.results)
    assert {path.name for path in tmp_path.iterdir()} == {"s-00000", "s-00001"}
