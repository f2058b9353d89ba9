"""A process that trains the fused trials of one slot: they come, ask for their results and leave when they like.

Whoever gets a handle of the actor imports this file, proxies too: torch is imported only where trials are trained.
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
from trainables.report import NODE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainables.group import Answer
    from trainables.stopwatch import Stopwatch
    from trainables.storage import Storage
    from trainables.trial import Trial, TrialContext

T = TypeVar("T")

PATIENCE = 1.0
"""Seconds for which training waits for a trial that has just come or had its answer, so that it is trained along."""
FORGOTTEN = 60.0
"""Seconds without a question after which a trial gives its place to another. It has lost nothing: its state was saved
with its last answer, and it may come again."""

FAREWELL = 1.0
"""Seconds in which the last answers of a process that ends reach those who asked."""


class Offer(NamedTuple):
    """What a host has for a trial; the largest is the best."""

    known: bool
    """It has the trial: nobody else may train it."""
    proven: bool
    """No second try without a result is there, which may be one that ends its process."""
    fellows: int
    """Trials that it can be one program with."""
    free: int
    """Places."""


@dataclass
class _Place:
    config: GanConfig
    alone: bool
    since: float
    """When it came, or had its last answer."""
    joining: bool = True
    """It is yet to be built: it cannot ask."""
    answered: bool = False
    """It has had a result since it came."""
    ended: bool = False
    """That was its last."""
    asked: asyncio.Future[dict[str, Any] | None] | None = None
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Not a number: another process, started anew, must not give the same."""


class FusedHost:
    """Trains up to ``places`` trials together; an actor of Ray, or used in process.

    All its methods belong to one event loop, and all training to one thread. A trial that asks for its result while
    others are trained is taken along after their next few updates, as is one that comes; one that does not ask is not
    trained, and holds up nobody for longer than ``patience``. A process whose GPU does nothing any more after a trial's
    error ends, for Ray to start it anew. A trial's ``config`` carries ``key``, ``params``,
    ``seed`` and perhaps ``alone``: to be trained in a program of its own.

    Args:
        context: data, scorer and budget.
        storage: holds the trials' folders by key.
        places: most trials at once.
        patience: seconds, as ``PATIENCE``.
        clock: seconds from any start.
        end: ends the process, with an exit code.
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
        from trainables.group import TrialGroup

        self.context, self.storage, self.places, self.patience = context, storage, places, patience
        self._clock, self._end = clock, end
        self._group = TrialGroup(context.device)
        # One thread: torch keeps the number of its threads, and much of its state, for each thread by itself.
        self._worker = ThreadPoolExecutor(max_workers=1)
        self._places: dict[str, _Place] = {}
        self._news = asyncio.Event()
        """Something has come up since training began: it pauses."""
        self._training: asyncio.Task[None] | None = None

    async def offer(self, config: Mapping[str, Any]) -> Offer:
        """What there is for a trial."""
        from trainables.fused import fusable

        mine = self._config(config)
        fellows = sum(
            fusable(place.config, mine) and not place.alone and not config.get("alone")
            for place in self._places.values()
        )
        key, places, forgotten = config["key"], self._places, self._forgotten()
        others = [place for other, place in places.items() if other not in (key, *forgotten)]
        proven = all(place.answered or not place.alone for place in others)
        return Offer(key in places, proven, fellows, self.places - len(places) + len(forgotten))

    async def join(self, config: Mapping[str, Any]) -> str | None:
        """Take a trial in, from its last checkpoint; one of its key that is there already gives it its place.

        Returns:
            What ``leave`` gives the place back for; None where there was no place.

        Raises:
            Exception: whatever building the trial raises.
        """
        key, instead = config["key"], ""
        if key not in self._places and len(self._places) >= self.places:
            forgotten = self._forgotten()
            if not forgotten:
                return None
            instead = forgotten[0]
            del self._places[instead]  # before anything is awaited: another may come meanwhile
        self._cancel(key)
        place = self._places[key] = _Place(self._config(config), bool(config.get("alone")), self._clock())
        self._news.set()
        try:
            await self._on_thread(lambda: self._group.leave(instead))
            await self._on_thread(lambda: self._group.join(key, lambda clock: self._make(config, clock), place.alone))
        except Exception:
            self._forget(key, place)
            await self._end_if_broken()
            raise
        if self._places.get(key) is not place:  # it has come again, or the process is about to end
            if key not in self._places:
                await self._on_thread(lambda: self._group.leave(key))
            return None
        place.joining, place.since = False, self._clock()
        return place.token

    async def step(self, key: str) -> dict[str, Any] | None:
        """A trial's next result, or None where it is not (any more) here.

        Raises:
            Exception: whatever the trial raises; it is out then.
        """
        place = self._places.get(key)
        if place is None:
            return None
        place.asked = asyncio.get_running_loop().create_future()
        self._news.set()
        if self._training is None:
            self._training = asyncio.create_task(self._train())
        result = await place.asked
        return None if result is None else {**result, NODE: platform.node()}

    async def leave(self, key: str, token: str | None) -> None:
        """Forget a trial that has ended or was stopped, unless it has come again since the ``token`` was given."""
        place = self._places.get(key)
        if place is not None and place.token == token:
            self._cancel(key)
            self._forget(key, place)
            await self._on_thread(lambda: self._group.leave(key))

    def _make(self, config: Mapping[str, Any], clock: Stopwatch) -> Trial:
        from trainables.trial import Trial

        own = self.storage.below(config["key"])
        return Trial(self.context, config["params"], config["seed"], own, clock, others=self.storage)

    def _config(self, config: Mapping[str, Any]) -> GanConfig:
        return GanConfig.from_params({**config["params"], "image_size": self.context.images.size})

    def _forgotten(self) -> list[str]:
        """Trials that have not asked for long: their processes have died, most likely."""
        quiet = {key: place for key, place in self._places.items() if not (place.asked or place.joining)}
        return [key for key, place in quiet.items() if self._clock() - place.since > FORGOTTEN]

    def _forget(self, key: str, place: _Place) -> None:
        if self._places.get(key) is place:
            del self._places[key]
            self._news.set()

    def _cancel(self, key: str) -> None:
        """Whoever waits for the trial's answer has died, or it would not leave or come again."""
        place = self._places.get(key)
        if place is not None and place.asked:
            place.asked.cancel()

    async def _on_thread(self, what: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, what)

    async def _train(self) -> None:
        """Train those that ask, until nobody does."""
        try:
            while any(place.asked for place in self._places.values()):
                await self._round()
        except Exception as error:  # else those that ask would wait for ever
            self._give_up(error)
        finally:
            self._training = None

    async def _round(self) -> None:
        """Train until somebody has an answer, or comes or leaves."""
        await self._gather()
        self._news.clear()
        going = {key: place for key, place in self._places.items() if place.asked}
        try:
            answers = await self._on_thread(lambda: self._group.step(going, self._news.is_set))
        except Exception as error:
            answers = dict.fromkeys(going, error)
        for key, answer in answers.items():
            await self._answer(key, going[key], answer)
        if any(isinstance(answer, Exception) for answer in answers.values()):
            await self._end_if_broken()

    async def _end_if_broken(self) -> None:
        """After a trial's error: where every later trial would fail too, have no place for any, and end soon."""
        if await self._on_thread(self._group.works):
            return
        self.places, left = 0, list(self._places.values())
        self._places.clear()
        for place in left:
            if place.asked and not place.asked.done():
                place.asked.set_result(None)  # it has done nothing: it goes elsewhere
        asyncio.get_running_loop().call_later(FAREWELL, self._end, 1)

    def _give_up(self, error: Exception) -> None:
        """Every trial that waits raises what has ended training."""
        for key, place in list(self._places.items()):
            if place.asked is None:
                continue
            if not place.asked.done():
                failure = RuntimeError(f"training of fused trials broke off: {type(error).__name__}: {error}")
                failure.__cause__ = error
                place.asked.set_exception(failure)
            self._forget(key, place)
            self._group.leave(key)

    async def _gather(self) -> None:
        """Wait for those who may ask any moment."""
        while late := [place.since for place in self._places.values() if not place.asked and not place.ended]:
            left = max(late) + self.patience - self._clock()
            if left <= 0:
                return
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), left)

    async def _answer(self, key: str, place: _Place, answer: Answer) -> None:
        if isinstance(answer, Exception):
            _clear(answer)
        if self._places.get(key) is not place or place.asked is None:  # it has left, or come again
            return
        asked, place.asked, place.since = place.asked, None, self._clock()
        if isinstance(answer, Exception):
            self._forget(key, place)
            await self._on_thread(lambda: self._group.leave(key))
        else:
            place.answered, place.ended = True, bool(answer.get("done"))
        if asked.done():  # nobody waits any more
            return
        if isinstance(answer, Exception):
            asked.set_exception(answer)
        else:
            asked.set_result(answer)


def _clear(error: BaseException) -> None:
    """Empty the frames in which it and what led to it were raised: they may hold the memory that was too little."""
    left, seen = [error], set[int]()
    while left:
        one = left.pop()
        seen.add(id(one))
        traceback.clear_frames(one.__traceback__)
        left += [led for led in (one.__cause__, one.__context__) if led is not None and id(led) not in seen]
