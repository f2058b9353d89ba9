"""Process that trains the fused trials of one worker slot: trials join, ask for results and leave at any time.

Every process with a handle of the actor imports this module, so torch is imported only where trials are trained.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import time
import traceback
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from trainables.config import GanConfig
from trainables.trial.result_packing import NODE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainables.fused.trial_group import Answer
    from trainables.storage.storage import Storage
    from trainables.trial.context import TrialContext
    from trainables.trial.trial import Trial
    from trainables.trial.trial_clock import Stopwatch

T = TypeVar("T")

PATIENCE = 1.0
"""Seconds for which training waits for a trial that has just joined or got its result, to train it with the others."""
FORGOTTEN = 60.0
"""Seconds without a request after which another trial may take a trial's place. The trial loses no progress: its state
was saved with its last result, and it may join again."""

FAREWELL = 1.0
"""Seconds for which an ending process waits until its last results are delivered."""


class HostCapacity(NamedTuple):
    """Capacity of a host for a trial; the largest tuple is the best host."""

    known: bool
    """The host already has the trial, so no other host may train it."""
    proven: bool
    """The host has no retried trial that is still without a result and might end the process."""
    fellows: int
    """Trials of the host with which the trial can form one program."""
    free: int
    """Free places."""


@dataclass
class _Place:
    config: GanConfig
    alone: bool
    since: float
    """Time at which the trial joined or got its last result."""
    joining: bool = True
    """The trial is being built and cannot request a result yet."""
    answered: bool = False
    """The trial has got a result since it joined."""
    ended: bool = False
    """The trial has got its last result."""
    request: asyncio.Future[dict[str, Any] | None] | None = None
    """The pending request for the next result."""
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Random rather than a counter: a restarted process must not repeat a token."""


class FusedHost:
    """Trains up to ``places`` trials together, as a Ray actor or in process.

    All methods run on one event loop, and all training on one thread. A trial that joins or requests its result while
    others train is included after their next few updates. A trial without a request is not trained, and delays the
    others by at most ``patience``. If the GPU stops working after a trial's error, the process ends and Ray restarts
    it. A trial's ``config`` carries ``key``, ``params``, ``seed`` and optionally ``alone``, which excludes it from
    programs with other trials.

    Args:
        context: data, scorer and budget.
        storage: holds the trials' folders by key.
        places: the maximum number of trials at once.
        patience: seconds to wait for trials that are about to request a result; see ``PATIENCE``.
        clock: seconds from any start.
        end: ends the process with an exit code.
    """

    def __init__(
        self,
        context: TrialContext,
        storage: Storage,
        places: int,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        from trainables.fused.trial_group import TrialGroup

        self.context, self.storage, self.places, self.patience = context, storage, places, patience
        self._clock, self._end = clock, end
        self._group = TrialGroup(context.device)
        # One thread: torch keeps its number of threads, and much other state, per calling thread.
        self._worker = ThreadPoolExecutor(max_workers=1)
        self._places: dict[str, _Place] = {}
        self._news = asyncio.Event()
        """Set when a trial joins, leaves or requests a result, so that training pauses."""
        self._training: asyncio.Task[None] | None = None

    async def offer(self, config: Mapping[str, Any]) -> HostCapacity:
        """Return the capacity for a trial."""
        from trainables.fused.fused_loop import fusable

        gan_config = self._config(config)
        fellows = sum(
            fusable(place.config, gan_config) and not place.alone and not config.get("alone")
            for place in self._places.values()
        )
        key, places, forgotten = config["key"], self._places, self._forgotten()
        others = [place for other, place in places.items() if other not in (key, *forgotten)]
        proven = all(place.answered or not place.alone for place in others)
        return HostCapacity(key in places, proven, fellows, self.places - len(places) + len(forgotten))

    async def join(self, config: Mapping[str, Any]) -> str | None:
        """Add a trial from its last checkpoint, and replace one with the same key.

        Returns:
            The token for ``leave``, or None if there was no free place.

        Raises:
            Exception: building the trial failed.
        """
        key, evicted = config["key"], ""
        if key not in self._places and len(self._places) >= self.places:
            forgotten = self._forgotten()
            if not forgotten:
                return None
            evicted = forgotten[0]
            del self._places[evicted]  # before the first await, during which another trial may join
        self._cancel(key)
        place = self._places[key] = _Place(self._config(config), bool(config.get("alone")), self._clock())
        self._news.set()
        try:
            await self._on_thread(lambda: self._group.leave(evicted))
            await self._on_thread(lambda: self._group.join(key, lambda clock: self._make(config, clock), place.alone))
        except Exception:
            self._forget(key, place)
            await self._end_if_broken()
            raise
        if self._places.get(key) is not place:  # the trial has joined again, or the process is about to end
            if key not in self._places:
                await self._on_thread(lambda: self._group.leave(key))
            return None
        place.joining, place.since = False, self._clock()
        return place.token

    async def step(self, key: str) -> dict[str, Any] | None:
        """Return a trial's next result, or None if the trial is not here.

        Raises:
            Exception: the trial failed and has been removed.
        """
        place = self._places.get(key)
        if place is None:
            return None
        place.request = asyncio.get_running_loop().create_future()
        self._news.set()
        if self._training is None:
            self._training = asyncio.create_task(self._train())
        result = await place.request
        return None if result is None else {**result, NODE: platform.node()}

    async def leave(self, key: str, token: str | None) -> None:
        """Remove a trial that has ended or was stopped, unless it has joined again since the ``token`` was given."""
        place = self._places.get(key)
        if place is not None and place.token == token:
            self._cancel(key)
            self._forget(key, place)
            await self._on_thread(lambda: self._group.leave(key))

    def _make(self, config: Mapping[str, Any], clock: Stopwatch) -> Trial:
        from trainables.trial.trial import Trial

        folder = self.storage.below(config["key"])
        return Trial(self.context, config["params"], config["seed"], folder, clock, others=self.storage)

    def _config(self, config: Mapping[str, Any]) -> GanConfig:
        return GanConfig.from_params({**config["params"], **self.context.images.shape_params})

    def _forgotten(self) -> list[str]:
        """Return trials without a request for ``FORGOTTEN`` seconds: their processes have probably died."""
        idle = {key: place for key, place in self._places.items() if not (place.request or place.joining)}
        return [key for key, place in idle.items() if self._clock() - place.since > FORGOTTEN]

    def _forget(self, key: str, place: _Place) -> None:
        if self._places.get(key) is place:
            del self._places[key]
            self._news.set()

    def _cancel(self, key: str) -> None:
        """Cancel a pending request: its caller has died, or the trial would not leave or join again."""
        place = self._places.get(key)
        if place is not None and place.request:
            place.request.cancel()

    async def _on_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, call)

    async def _train(self) -> None:
        """Train while any trial has a pending request."""
        try:
            while any(place.request for place in self._places.values()):
                await self._round()
        except Exception as error:  # otherwise the callers would wait forever
            self._give_up(error)
        finally:
            self._training = None

    async def _round(self) -> None:
        """Train until a trial has a result, joins or leaves."""
        await self._gather()
        self._news.clear()
        waiting = {key: place for key, place in self._places.items() if place.request}
        try:
            answers = await self._on_thread(lambda: self._group.step(waiting, self._news.is_set))
        except Exception as error:
            answers = dict.fromkeys(waiting, error)
        for key, answer in answers.items():
            await self._answer(key, waiting[key], answer)
        if any(isinstance(answer, Exception) for answer in answers.values()):
            await self._end_if_broken()

    async def _end_if_broken(self) -> None:
        """After a trial's error, offer no places and end the process soon if the device no longer works."""
        if await self._on_thread(self._group.works):
            return
        self.places, places = 0, list(self._places.values())
        self._places.clear()
        for place in places:
            if place.request and not place.request.done():
                place.request.set_result(None)  # not trained: the trial moves to another host
        asyncio.get_running_loop().call_later(FAREWELL, self._end, 1)

    def _give_up(self, error: Exception) -> None:
        """Raise the error that ended training in every waiting trial."""
        for key, place in list(self._places.items()):
            if place.request is None:
                continue
            if not place.request.done():
                failure = RuntimeError(f"training of fused trials failed: {type(error).__name__}: {error}")
                failure.__cause__ = error
                place.request.set_exception(failure)
            self._forget(key, place)
            self._group.leave(key)

    async def _gather(self) -> None:
        """Wait for trials that are about to request a result, for ``patience`` seconds at most."""
        while since := [place.since for place in self._places.values() if not place.request and not place.ended]:
            remaining = max(since) + self.patience - self._clock()
            if remaining <= 0:
                return
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), remaining)

    async def _answer(self, key: str, place: _Place, answer: Answer) -> None:
        if isinstance(answer, Exception):
            _clear(answer)
        if self._places.get(key) is not place or place.request is None:  # the trial has left, or joined again
            return
        request, place.request, place.since = place.request, None, self._clock()
        if isinstance(answer, Exception):
            self._forget(key, place)
            await self._on_thread(lambda: self._group.leave(key))
        else:
            place.answered, place.ended = True, bool(answer.get("done"))
        if request.done():  # the caller has gone
            return
        if isinstance(answer, Exception):
            request.set_exception(answer)
        else:
            request.set_result(answer)


def _clear(error: BaseException) -> None:
    """Clear the frames of an error and its causes: their variables may hold the memory that ran out."""
    pending, seen = [error], set[int]()
    while pending:
        current = pending.pop()
        seen.add(id(current))
        traceback.clear_frames(current.__traceback__)
        causes = (current.__cause__, current.__context__)
        pending += [cause for cause in causes if cause is not None and id(cause) not in seen]
