"""A host in this process: trials come, ask and leave as their proxies do, and each has the results it has alone."""

import asyncio
import platform
import threading
import traceback
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainables.fused.test_trial_group import PARAMS, require_equal
from trainables.errors import UserError
from trainables.fused import actor as host_module
from trainables.fused import fused_loop
from trainables.fused.actor import FORGOTTEN, FusedHost
from trainables.storage.storage import Storage
from trainables.trial.context import TrialContext
from trainables.trial.trial import Trial

pytestmark = pytest.mark.usefixtures("float64")


def config(key: str, **changes: Any) -> dict[str, Any]:
    return {"key": key, "params": {**PARAMS, **changes}, "seed": ord(key)}


class Clock:
    """Stands still until it is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def make_host(context: TrialContext, folder: Path, places: int = 4, **more: Any) -> FusedHost:
    return FusedHost(context, Storage(str(folder), in_place=True), places, **{"patience": 0.2, **more})


async def take_all(host: FusedHost, *configs: dict[str, Any]) -> None:
    tokens = await asyncio.gather(*(host.join(one) for one in configs))
    assert len({token for token in tokens if token}) == len(configs)


async def asked(host: FusedHost, keys: str) -> dict[str, Any]:
    """The answers to questions asked at once; what is raised is an answer too."""
    answers: list[Any] = await asyncio.gather(*(host.step(key) for key in keys), return_exceptions=True)
    return dict(zip(keys, answers, strict=True))


def run(what: Awaitable[Any]) -> Any:
    async def limited() -> Any:
        return await asyncio.wait_for(what, 900)

    return asyncio.run(limited())


WIDE = {"generator.width": 3}


def test_trials_of_several_structures_have_the_results_they_have_alone(context: TrialContext, tmp_path: Path) -> None:
    configs = [config("a"), config("b", **{"optimizer.generator_lr": 1e-3}), config("w", **WIDE)]

    async def proxies() -> list[dict[str, Any]]:
        host = make_host(context, tmp_path / "host")
        await take_all(host, *configs)
        return [await asked(host, "abw"), await asked(host, "abw")]

    first, second = run(proxies())
    for one in configs:
        torch.manual_seed(one["seed"])
        storage = Storage(str(tmp_path / "single" / one["key"]), in_place=True)
        trial = Trial(context, one["params"], one["seed"], storage)
        for answers in (first, second):
            found = answers[one["key"]]
            assert found.pop("node") == platform.node()
            require_equal(found, trial.step())


def programs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many trials each program of several had."""
    sizes: list[int] = []
    ordinary = fused_loop.BatchedNetworks.update

    def counting(stack: fused_loop.BatchedNetworks) -> None:
        sizes.append(len(stack.loops))
        ordinary(stack)

    monkeypatch.setattr(fused_loop.BatchedNetworks, "update", counting)
    return sizes


def test_places_that_are_free_change_nothing_of_how_often_a_trial_is_saved(
    context: TrialContext, tmp_path: Path
) -> None:
    host = make_host(context, tmp_path, places=64)
    asyncio.run(take_all(host, config("a")))
    trial = host._group._members["a"].trial
    assert trial.context.checkpoint_seconds == context.checkpoint_seconds == 300


def test_one_that_comes_in_between_is_trained_along(
    context: TrialContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of 10: an interval has 100 updates; the second comes and asks after the first's 25th."""
    sizes, small = programs(monkeypatch), {"training.batch_size": 10}

    reached, come = threading.Event(), threading.Event()

    async def proxies() -> list[Any]:
        host = make_host(context, tmp_path, patience=600.0)
        ordinary = host._group.step

        def held(keys: Collection[str], pause: Callable[[], bool]) -> Any:
            def at_update_25() -> bool:
                reached.set()
                return come.wait(600) and pause()

            return ordinary(keys, at_update_25)

        monkeypatch.setattr(host._group, "step", held)
        token = await host.join(config("a", **small))
        first = asyncio.create_task(host.step("a"))
        while not reached.is_set():
            await asyncio.sleep(0.001)
        assert host._group._members["a"].trial.loop.updates == 25
        joining = asyncio.create_task(host.join(config("b", **small)))
        await asyncio.sleep(0)
        come.set()
        assert await joining
        second = asyncio.create_task(host.step("b"))
        answer = await first
        await host.leave("a", token)  # else it would be waited for
        return [answer, await second]

    assert [answer["kimg"] for answer in run(proxies())] == [1, 1]
    assert sizes
    assert set(sizes) == {2}


def test_one_that_never_asks_again_holds_up_nobody(context: TrialContext, tmp_path: Path) -> None:
    async def proxies() -> tuple[Any, Any]:
        host = make_host(context, tmp_path)
        await take_all(host, config("a"), config("b"))
        await asked(host, "ab")
        return (await asked(host, "b"))["b"], host._group._members["a"].trial.kimg

    answer, left = run(proxies())
    assert answer["kimg"] == 2
    assert left == 1


def test_a_full_host_refuses_until_one_leaves_or_is_forgotten(context: TrialContext, tmp_path: Path) -> None:
    async def proxies() -> None:
        clock = Clock()
        host = make_host(context, tmp_path, places=2, clock=clock, patience=0.0)
        token = await host.join(config("a"))
        await take_all(host, config("b"))
        assert await host.join(config("c")) is None
        assert await host.offer(config("c")) == (False, True, 2, 0)
        assert await host.join(config("b"))  # again: its process had died
        await host.leave("a", token)
        assert await host.offer(config("c")) == (False, True, 1, 1)
        assert await host.join(config("c"))
        clock.now += FORGOTTEN
        assert not await host.join(config("d"))
        clock.now += 1
        assert await host.offer(config("d")) == (False, True, 2, 2)
        assert await host.join(config("d"))
        assert await host.step("b") is None
        assert host._group.keys == ("c", "d")

    run(proxies())


def test_offers_count_those_that_could_be_one_program(context: TrialContext, tmp_path: Path) -> None:
    async def proxies() -> None:
        host = make_host(context, tmp_path)
        await take_all(host, config("a"), config("b"), {**config("c"), "alone": True})
        assert await host.offer(config("a")) == (True, False, 2, 1)
        assert await host.offer(config("d", **{"losses.tag_weight": 0.5})) == (False, False, 2, 1)
        assert await host.offer(config("w", **WIDE)) == (False, False, 0, 1)
        assert await host.offer({**config("d"), "alone": True}) == (False, False, 0, 1)

    run(proxies())


def test_a_second_attempt_runs_in_a_separate_program(
    context: TrialContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Together they may have wanted too much memory, and would again: there is no third try."""
    sizes = programs(monkeypatch)

    async def proxies() -> list[dict[str, Any]]:
        host = make_host(context, tmp_path)
        await take_all(host, config("a"), {**config("b"), "alone": True})
        return [await asked(host, "ab") for _ in range(2)]

    assert [[answer["kimg"] for answer in answers.values()] for answers in run(proxies())] == [[1, 1], [2, 2]]
    assert sizes == []


def test_one_that_diverges_or_raises_fails_alone(
    context: TrialContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise OSError("no space left")

    async def proxies() -> tuple[dict[str, Any], tuple[str, ...], Any]:
        host = make_host(context, tmp_path)
        await take_all(host, config("a"), config("b"), config("c"))
        monkeypatch.setattr(host._group._members["a"].trial, "_evaluate", full)
        with torch.no_grad():
            next(host._group._members["b"].trial.loop.generator.parameters()).fill_(torch.nan)
        answers = await asked(host, "abc")
        return answers, host._group.keys, await host.step("a")

    answers, left, again = run(proxies())
    assert repr(answers["a"]) == "OSError('no space left')"
    assert answers["b"]["failure"].startswith("diverged: ")
    assert answers["c"]["kimg"] == 1
    assert left == ("b", "c")  # b has an ordinary result, which ends it
    assert again is None


def test_a_program_without_memory_is_every_members_failure_and_the_next_try_goes_on(
    context: TrialContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise MemoryError("cannot allocate memory")

    async def proxies() -> tuple[dict[str, Any], dict[str, Any]]:
        host = make_host(context, tmp_path)
        await take_all(host, config("a"), config("b"))
        await asked(host, "ab")
        with monkeypatch.context() as patch:
            patch.setattr(fused_loop.BatchedNetworks, "update", full)
            first = await asked(host, "ab")
        await take_all(host, *({**config(key), "alone": True} for key in "ab"))
        return first, await asked(host, "ab")

    first, second = run(proxies())
    assert [repr(first[key]) for key in "ab"] == ["MemoryError('cannot allocate memory')"] * 2
    assert [second[key]["kimg"] for key in "ab"] == [2, 2]


def test_what_cannot_be_built_takes_no_place(context: TrialContext, tmp_path: Path) -> None:
    (tmp_path / "a" / "config.json").mkdir(parents=True)

    async def proxies() -> None:
        host = make_host(context, tmp_path, places=1)
        with pytest.raises(Exception, match=r"cannot write config\.json"):
            await host.join(config("a"))
        assert await host.join(config("b"))

    run(proxies())


def test_two_that_come_at_once_do_not_share_the_place_of_one_that_is_forgotten(
    context: TrialContext, tmp_path: Path
) -> None:
    async def proxies() -> None:
        clock = Clock()
        host = make_host(context, tmp_path, places=1, clock=clock)
        await take_all(host, config("a"))
        clock.now += FORGOTTEN + 1
        first, second = await asyncio.gather(host.join(config("b")), host.join(config("c")))
        assert first
        assert second is None
        assert host._group.keys == ("b",)

    run(proxies())


def busy(host: FusedHost) -> threading.Event:
    """Keep the thread that trains from everything else until the event is set."""
    free = threading.Event()
    host._worker.submit(free.wait, 600)
    return free


def test_one_that_waits_to_be_built_is_not_forgotten(context: TrialContext, tmp_path: Path) -> None:
    """The thread scores others for longer than that."""

    async def proxies() -> None:
        clock = Clock()
        host = make_host(context, tmp_path, places=2, clock=clock)
        free = busy(host)
        joining = [asyncio.create_task(host.join(config(key))) for key in "ab"]
        await asyncio.sleep(0)
        clock.now += FORGOTTEN + 1
        assert await host.offer(config("c")) == (False, True, 2, 0)
        assert not await host.join(config("c"))
        free.set()
        assert all(await asyncio.gather(*joining))
        assert host._group.keys == ("a", "b")
        clock.now += FORGOTTEN + 1
        assert await host.offer(config("c")) == (False, True, 2, 2)  # now they could have asked

    run(proxies())


def test_one_that_is_built_when_the_process_is_about_to_end_goes_elsewhere(
    context: TrialContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def proxies() -> None:
        host = make_host(context, tmp_path, end=lambda code: None)
        monkeypatch.setattr(host._group, "works", lambda: False)
        free = busy(host)
        joining = asyncio.create_task(host.join(config("a")))
        await asyncio.sleep(0)
        ending = asyncio.create_task(host._end_if_broken())
        await asyncio.sleep(0)
        free.set()
        await ending
        assert await joining is None
        assert host._group.keys == ()

    run(proxies())


def test_who_waits_no_more_holds_up_nobody(context: TrialContext, tmp_path: Path) -> None:
    async def proxies() -> dict[str, Any]:
        host = make_host(context, tmp_path, clock=Clock())  # which stands still: b is waited for until it asks
        await take_all(host, config("a"), config("b"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(host.step("a"), 0.01)
        return await asked(host, "b")

    assert run(proxies())["b"]["kimg"] == 1


def test_what_breaks_training_off_reaches_all_that_wait_and_the_next_are_trained(
    context: TrialContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*given: object) -> None:
        raise OSError("no more threads")

    async def proxies() -> tuple[dict[str, Any], dict[str, Any]]:
        host = make_host(context, tmp_path)
        await take_all(host, config("a"), config("b"))
        with monkeypatch.context() as patch:
            patch.setattr(host, "_gather", broken)
            first = await asked(host, "ab")
        assert host._group.keys == ()
        await take_all(host, config("a"), config("b"))
        return first, await asked(host, "ab")

    first, second = run(proxies())
    for key in "ab":
        assert type(first[key]) is RuntimeError
        assert str(first[key]) == "training of fused trials failed: OSError: no more threads"
        assert second[key]["kimg"] == 1


def test_an_answer_that_breaks_training_off_leaves_the_answers_before_it(
    context: TrialContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def proxies() -> dict[str, Any]:
        host = make_host(context, tmp_path)
        await take_all(host, config("a"), config("b"))
        ordinary = host._answer

        async def broken(key: str, *given: Any) -> None:
            if key == "b":
                raise KeyError(key)
            await ordinary(key, *given)

        monkeypatch.setattr(host, "_answer", broken)
        return await asked(host, "ab")

    answers = run(proxies())
    assert answers["a"]["kimg"] == 1
    assert type(answers["b"]) is RuntimeError


@pytest.mark.parametrize("works", [True, False])
def test_a_process_whose_gpu_is_broken_answers_and_ends(
    context: TrialContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, works: bool
) -> None:
    """Two have asked and one's error has broken it; the other's interval is 100 updates, not over yet."""
    monkeypatch.setattr(host_module, "FAREWELL", 0.0)

    def broken(*given: object) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    async def proxies() -> None:
        ended: list[int] = []
        host = make_host(context, tmp_path, end=ended.append)
        await take_all(host, config("a"), config("b", **{"training.batch_size": 10}, **WIDE), config("c"))
        monkeypatch.setattr(host._group, "works", lambda: works)
        monkeypatch.setattr(host._group._members["a"].trial, "_evaluate", broken)
        answers = await asked(host, "ab")
        await asyncio.sleep(0.01)
        assert repr(answers["a"]) == "RuntimeError('CUDA error: device-side assert triggered')"
        if works:
            assert answers["b"]["kimg"] == 1
            assert ended == []
            assert (await host.step("c"))["kimg"] == 1  # type: ignore[index]
        else:
            assert answers["b"] is None
            assert ended == [1]
            assert await host.step("c") is None
            assert (await host.offer(config("c"))).free == 0
            assert not await host.join(config("c"))

    run(proxies())


def test_a_process_whose_gpu_cannot_build_a_trial_ends(
    context: TrialContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_module, "FAREWELL", 0.0)
    (tmp_path / "a" / "config.json").mkdir(parents=True)

    async def proxies() -> list[int]:
        ended: list[int] = []
        host = make_host(context, tmp_path, end=ended.append)
        monkeypatch.setattr(host._group, "works", lambda: False)
        with pytest.raises(Exception, match=r"cannot write config\.json"):
            await host.join(config("a"))
        await asyncio.sleep(0.01)
        return ended

    assert run(proxies()) == [1]


def test_a_former_try_that_leaves_late_leaves_the_next_its_place(context: TrialContext, tmp_path: Path) -> None:
    async def proxies() -> None:
        host = make_host(context, tmp_path)
        former, token = await host.join(config("a")), await host.join(config("a"))
        await host.leave("a", former)
        await host.leave("a", None)
        assert host._group.keys == ("a",)
        assert (await host.step("a"))["kimg"] == 1  # type: ignore[index]
        await host.leave("a", token)
        assert host._group.keys == ()
        assert await host.step("a") is None

    run(proxies())


def test_a_second_try_is_offered_no_company_until_its_first_result(context: TrialContext, tmp_path: Path) -> None:
    async def proxies() -> None:
        clock = Clock()
        host = make_host(context, tmp_path, clock=clock)
        second = {**config("a"), "alone": True}
        assert (await host.offer(second)).proven
        await take_all(host, second)
        assert (await host.offer(second)).proven  # itself
        assert not (await host.offer(config("b"))).proven
        assert not (await host.offer({**config("b"), "alone": True})).proven
        await asked(host, "a")
        assert (await host.offer(config("b"))).proven
        await take_all(host, second)  # once more
        assert not (await host.offer(config("b"))).proven
        clock.now += FORGOTTEN + 1
        assert (await host.offer(config("b"))).proven

    run(proxies())


def test_one_that_has_had_its_last_result_is_not_waited_for(context: TrialContext, tmp_path: Path) -> None:
    """The clock stands still: who is waited for at all is waited for for ever."""

    async def proxies() -> Any:
        host = make_host(context, tmp_path, clock=Clock())
        await take_all(host, config("a"))
        assert [(await host.step("a"))["done"] for _ in range(2)] == [False, True]  # type: ignore[index]
        await take_all(host, config("b"))
        first = (await host.step("b"))["kimg"]  # type: ignore[index]
        await take_all(host, config("c"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(host.step("b"), 0.5)
        return first

    assert run(proxies()) == 1


def test_what_failed_keeps_no_memory_where_nobody_waits_for_it(
    context: TrialContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does what led to its error, by ``from`` or on the way of handling another."""
    errors: list[Exception] = []

    def full(*given: object) -> None:
        held = torch.zeros(3)
        errors.append(MemoryError(f"cannot allocate {held.numel()}"))
        raise errors[-1]

    def handled(*given: object) -> None:
        try:
            full()
        except MemoryError as error:
            error.__cause__ = error  # a circle
            full()

    def told(*given: object) -> None:
        try:
            handled()
        except MemoryError as error:
            raise UserError("too large") from error

    async def proxies() -> None:
        host = make_host(context, tmp_path)
        await take_all(host, config("a"))
        monkeypatch.setattr(host._group._members["a"].trial, "_evaluate", told)
        waiting = asyncio.create_task(host.step("a"))
        while not host._training:
            await asyncio.sleep(0.0)
        waiting.cancel()
        await host._training

    run(proxies())
    assert len(errors) == 2
    for error in errors:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        assert [frame.f_code.co_name for frame in frames][-1] == "full"
        assert "held" not in frames[-1].f_locals
