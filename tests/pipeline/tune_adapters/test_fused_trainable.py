"""How a proxy finds a host and asks it, on hosts that answer by rote."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from ray.core.generated.common_pb2 import ActorDiedErrorContext
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError

from pipeline.tune_adapters import fused_trainable
from pipeline.tune_adapters.fused_trainable import ProxyTrial
from pipeline.tune_adapters.reported_errors import error_reason
from trainables.fused.actor import HostCapacity
from trainables.trial.result_packing import unpack_result

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = {"key": "s-00001", "params": {"generator.width": 4}, "seed": 3, "number": 1}


SILENT = object()
"""The answer of a host that does not answer."""


class Method:
    def __init__(self, host: Host, name: str) -> None:
        self.host, self.name = host, name

    def remote(self, *given: Any) -> Any:
        self.host.heard.append((self.name, *given))
        answers = self.host.answers.get(self.name, [None])
        return Asked(answers.pop(0) if len(answers) > 1 else answers[0])


class Asked:
    """Stands for the answer of a host; each is another, as Ray's are."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def has_come(self) -> bool:
        if isinstance(self.answer, Late):
            self.answer.rounds -= 1
            if self.answer.rounds == 0:
                self.answer = self.answer.answer
        return self.answer is not SILENT and not isinstance(self.answer, Late)


class Late:
    """An answer that comes in this round of asking."""

    def __init__(self, answer: Any, rounds: int) -> None:
        self.answer, self.rounds = answer, rounds


class Host:
    """Says the next of its answers to each method, and the last one for ever."""

    def __init__(self, *offers: Any, **answers: list[Any]) -> None:
        self.answers: dict[str, list[Any]] = {"offer": list(offers), "join": ["token"], **answers}
        self.heard: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Method:
        return Method(self, name)

    def names(self) -> list[str]:
        return [name for name, *_ in self.heard]


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """For how long answers were waited for."""
    seconds: list[float] = []

    def get(asked: Asked) -> Any:
        if isinstance(asked.answer, Exception):
            raise asked.answer
        return asked.answer

    def wait(asked: list[Asked], num_returns: int, timeout: float) -> tuple[list[Asked], list[Asked]]:
        seconds.append(timeout)
        return [one for one in asked if one.has_come()], []

    monkeypatch.setattr(fused_trainable.ray, "get", get)
    monkeypatch.setattr(fused_trainable.ray, "wait", wait)
    monkeypatch.setattr(fused_trainable, "WAIT", 0.0)
    return seconds


def proxy_on(*hosts: Host, **more: Any) -> ProxyTrial:
    found = ProxyTrial.__new__(ProxyTrial)
    found.setup(CONFIG | more, hosts=hosts)  # type: ignore[arg-type]
    return found


OFFERS = {
    "the one that has it": ([HostCapacity(False, True, 7, 1), HostCapacity(True, True, 0, 0)], 1),
    "most fellows": (
        [HostCapacity(False, True, 0, 4), HostCapacity(False, True, 2, 1), HostCapacity(False, True, 3, 1)],
        2,
    ),
    "not where it is full": ([HostCapacity(False, True, 4, 0), HostCapacity(False, True, 1, 1)], 1),
    "else the emptiest": (
        [HostCapacity(False, True, 0, 2), HostCapacity(False, True, 0, 3), HostCapacity(False, True, 0, 1)],
        1,
    ),
    "not beside a second try": ([HostCapacity(False, False, 3, 3), HostCapacity(False, True, 0, 1)], 1),
    "beside one where all else is full": ([HostCapacity(False, True, 3, 0), HostCapacity(False, False, 0, 1)], 1),
    "the one that has it beside one": ([HostCapacity(False, True, 3, 3), HostCapacity(True, False, 0, 0)], 1),
    "one that answers": ([SILENT, HostCapacity(False, True, 0, 1), ActorUnavailableError("away", b"1" * 16)], 1),
}


@pytest.mark.parametrize("name", OFFERS)
def test_a_trial_joins_the_best_host(name: str) -> None:
    offers, best = OFFERS[name]
    hosts = [Host(offer) for offer in offers]
    assert proxy_on(*hosts).host is hosts[best]
    joined = {"key": "s-00001", "params": {"generator.width": 4}, "seed": 3}
    assert [host.heard[1:] for host in hosts] == [[("join", joined)] if host is hosts[best] else [] for host in hosts]


def test_it_takes_the_next_host_and_waits_if_all_are_full() -> None:
    full, free = HostCapacity(False, True, 2, 0), HostCapacity(False, True, 2, 1)
    first, second = Host(full, full, free, join=[None]), Host(full, full, HostCapacity(False, True, 0, 1))
    assert proxy_on(first, second).host is second
    assert first.names() == ["offer"] * 3 + ["join"]


DIED = ActorDiedError(
    ActorDiedErrorContext(actor_id=b"1" * 16, error_message="The actor is dead because its worker process has died.")
)
AWAY = ActorUnavailableError("RPC error: Socket closed rpc_code: 14", b"1" * 16)


@pytest.mark.parametrize("error", [AWAY, ActorDiedError()])
def test_it_tries_another_host_once_if_joining_fails(error: Exception) -> None:
    gone, other = Host(HostCapacity(False, True, 2, 1), join=[error]), Host(HostCapacity(False, True, 0, 1))
    assert proxy_on(gone, other).host is other
    assert gone.names() == ["offer", "join"]
    with pytest.raises(type(error)):
        proxy_on(gone, Host(HostCapacity(False, True, 0, 1), join=[error]))
    with pytest.raises(type(error)):
        proxy_on(gone)
    assert gone.names()[-4:] == ["offer", "join"] * 2


def test_a_second_attempt_waits_for_the_host_that_may_have_the_trial() -> None:
    """Its host has it still, and says so late; one that has never been tried does not wait."""
    free, late = Host(HostCapacity(False, True, 0, 4)), Host(Late(HostCapacity(True, True, 0, 0), 4))
    assert proxy_on(free, late, alone=True).host is late
    assert free.names() == ["offer"] * 4
    assert late.names() == ["offer", "join"]
    late = Host(Late(HostCapacity(True, True, 0, 0), 4))
    assert proxy_on(free, late).host is free


@pytest.mark.parametrize("last", [HostCapacity(False, True, 0, 0), AWAY, ActorDiedError()])
def test_a_second_attempt_joins_another_host_once_none_has_the_trial(last: Any) -> None:
    free, late = Host(HostCapacity(False, True, 0, 4)), Host(Late(last, 3))
    assert proxy_on(free, late, alone=True).host is free
    assert free.names() == ["offer"] * 3 + ["join"]


def set_clock(monkeypatch: pytest.MonkeyPatch, clock: Iterator[int]) -> None:
    """Of proxies alone: other threads may ask what time it is, too."""
    monkeypatch.setattr(
        fused_trainable, "time", SimpleNamespace(monotonic=lambda: float(next(clock)), sleep=time.sleep)
    )


def test_a_second_try_waits_no_longer_than_for_dead_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 50))
    set_clock(monkeypatch, clock)
    free = Host(HostCapacity(False, True, 0, 4))
    assert proxy_on(free, Host(SILENT), alone=True).host is free
    assert free.names() == ["offer"] * 4 + ["join"]  # 50, 100, 150, 200 s


def test_a_host_that_never_answers_is_asked_once_and_waited_for_once(waits: list[float]) -> None:
    silent, full = (
        Host(SILENT),
        Host(HostCapacity(False, True, 0, 0), HostCapacity(False, True, 0, 0), HostCapacity(False, True, 0, 1)),
    )
    assert proxy_on(silent, full).host is full
    assert silent.names() == ["offer"]
    assert waits == [fused_trainable.ANSWER_SECONDS, 0.0, 0.0]


def test_nothing_but_dead_hosts_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 100))
    set_clock(monkeypatch, clock)
    dead = Host(ActorDiedError())
    with pytest.raises(ActorDiedError):
        proxy_on(dead)
    assert len(dead.heard) == 2  # at 100 and 200 s


def test_a_host_that_is_late_once_is_not_a_dead_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are dead; it is full, and says nothing at 200 s."""
    clock = iter(range(0, 10_000, 50))
    set_clock(monkeypatch, clock)
    full = HostCapacity(False, True, 0, 0)
    slow = Host(full, full, full, Late(full, 2), HostCapacity(False, True, 0, 1))
    assert proxy_on(Host(ActorDiedError()), slow).host is slow
    assert slow.names() == ["offer"] * 5 + ["join"]
    slow = Host(full, full, Late(full, 9))
    with pytest.raises(ActorDiedError):  # nothing for 200 s
        proxy_on(Host(ActorDiedError()), slow)


def test_it_joins_again_if_the_host_has_lost_the_trial() -> None:
    host = Host(HostCapacity(False, True, 0, 1), step=[{"kimg": 1}, None, {"kimg": 2}])
    trial = proxy_on(host)
    assert [unpack_result(trial.step()), unpack_result(trial.step())] == [{"kimg": 1}, {"kimg": 2}]
    assert host.names() == ["offer", "join", "step", "step", "offer", "join", "step"]


def test_the_node_of_the_host_is_reported_through_tune() -> None:
    """Tune adds to every result where the proxy runs, which is here."""
    host = Host(HostCapacity(False, True, 0, 1), step=[{"kimg": 1, "node": "worker-7"}])

    class Proxy(ProxyTrial):
        def setup(self, config: dict[str, Any], hosts: Any = ()) -> None:
            super().setup(config, [host])

    result = Proxy(dict(CONFIG)).train()
    assert (result["node"], result["hostname"]) == ("worker-7", platform.node())


def test_an_error_of_the_host_keeps_its_type() -> None:
    raised = RayTaskError("step", "Traceback of the host", MemoryError("cannot allocate memory"))
    trial = proxy_on(Host(HostCapacity(False, True, 0, 1), step=[raised]))
    with pytest.raises(MemoryError, match="cannot allocate memory") as caught:
        trial.step()
    assert type(caught.value) is MemoryError
    assert caught.value.__cause__ is raised


@pytest.mark.parametrize("error", [DIED, AWAY])  # AWAY: one that Ray starts anew
def test_a_host_that_dies_under_it_ends_its_try_as_killed(error: Exception) -> None:
    trial = proxy_on(Host(HostCapacity(False, True, 0, 1), step=[error]))
    with pytest.raises(type(error)) as caught:
        trial.step()
    assert error_reason(caught.value).startswith("killed: ")


def test_another_trial_gives_the_place_back_first() -> None:
    host = Host(HostCapacity(False, True, 0, 1), join=["first", "second"])
    trial = proxy_on(host)
    assert trial.reset_config({**CONFIG, "key": "s-00002", "alone": True})
    trial.cleanup()
    assert host.heard[2] == ("leave", "s-00001", "first")
    assert host.heard[4][1] == {"key": "s-00002", "params": {"generator.width": 4}, "seed": 3, "alone": True}
    assert host.heard[5] == ("leave", "s-00002", "second")


def test_it_needs_no_torch() -> None:
    """There is a process of it for every fused trial."""
    words = (
        "import sys, pipeline.tune_adapters.fused_trainable, pipeline.tune_adapters.reported_errors; "
        "import trainables.fused.actor; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0
