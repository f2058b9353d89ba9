"""Hand the scorer to trials that started before it was prepared."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray

from trainables.errors import ScorerError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from ray.actor import ActorHandle

    from trainables.scoring.scorer import Scorer

WAIT_SECONDS = 4 * 3600.0
"""Seconds after which a trial that waits for the scorer is interrupted."""
CALLERS = 100_000
"""Calls that the actor serves at once: more than processes of trials, each of which asks once."""


class _Board:
    """Ray actor that answers once it has the answer. It never opens it, and so imports no torch."""

    def __init__(self) -> None:
        self._posted = asyncio.Event()
        self._answer: Any = None

    async def post(self, answer: Any) -> None:
        self._answer = answer
        self._posted.set()

    async def read(self) -> Any:
        await self._posted.wait()
        return self._answer


@dataclass(frozen=True)
class LateScorer:
    """Waits for the scorer in the process of a trial."""

    board: ActorHandle[Any]

    def __call__(self) -> Scorer:
        """Return the scorer.

        Raises:
            ScorerError: it could not be prepared, or not within ``WAIT_SECONDS``.
        """
        try:
            answer: Any = ray.get(self.board.read.remote(), timeout=WAIT_SECONDS)
        except ray.exceptions.GetTimeoutError as error:
            raise ScorerError(f"no scorer after {WAIT_SECONDS / 3600:.0f} h of waiting") from error
        if isinstance(answer, str):
            raise ScorerError(answer)
        scorer: Scorer = ray.get(answer[0])
        return scorer


@contextlib.contextmanager
def provide_scorer(future: Future[Any]) -> Iterator[Scorer | Callable[[], Scorer]]:
    """Provide the scorer, or else what trials wait for it with, for the duration of a sweep.

    Args:
        future: its result has the ``scorer``.
    """
    if future.done():
        scorer: Scorer = future.result().scorer
        yield scorer
        return
    kind: Any = ray.remote(_Board).options(num_cpus=0, max_concurrency=CALLERS)
    board = kind.remote()
    kept: list[Any] = []
    over = threading.Event()

    def post(done: Future[Any]) -> None:
        error = done.exception()
        if over.is_set():  # without Ray, a call would start another one
            return
        with contextlib.suppress(Exception):  # the sweep has just ended, and Ray with it
            if error is None:
                kept.append(ray.put(done.result().scorer))
                board.post.remote(list(kept))
            else:
                board.post.remote(first_line(error))

    future.add_done_callback(post)
    try:
        yield LateScorer(board)
    finally:
        over.set()
        ray.kill(board)
