"""Ray Tune trainable of a fused trial: a proxy that gets its results from the actor that trains it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import ray
from ray import tune
from ray.exceptions import RayActorError, RayTaskError

from trainables.trial.result_packing import pack_result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ray.actor import ActorHandle

    from trainables.fused.actor import HostCapacity

ANSWER_SECONDS = 5.0
"""Seconds that hosts have for their first answer: one that starts imports torch first. They are waited for only once,
since a host that the cluster cannot place never answers."""
WAIT = 0.5
"""Seconds between two rounds of requests while no host has a free place."""
LOST_SECONDS = 180.0
"""Seconds after which a trial fails if all answers came from dead hosts, and a repeated trial stops waiting for a host
that may still train it."""
LOSSES = 2
"""Number of hosts that may die while a trial joins them before it fails: it may be the cause."""


class ProxyTrial(tune.Trainable):
    """Has one of the sweep's hosts train the trial; the proxy itself uses no cores or GPU memory.

    The trial joins the host with most trials that can share a program with it, else the emptiest, and avoids hosts with
    a repeated trial that has had no result yet, since it may end its process. If the host dies while the trial waits
    for a result, the trial fails and Tune repeats it; otherwise it joins another host by itself. Both continue from the
    last checkpoint. A repeated trial is trained in its own program (``config["alone"]``), because which of several
    trials allocated too much memory cannot be known.
    """

    host: ActorHandle[Any]
    """Trains the trial."""
    token: str
    """Identifies the trial's place on the host."""

    def setup(self, config: dict[str, Any], hosts: Sequence[ActorHandle[Any]] = ()) -> None:
        """Join a host."""
        self.hosts = hosts
        self._join(config)

    def step(self) -> dict[str, Any]:
        """Return the trial's next result."""
        key = self._trial["key"]
        while (result := _get(self.host.step.remote(key))) is None:
            self._join(self._trial)
        return pack_result(result)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Leave the host, and join one with another trial."""
        self.cleanup()
        self._join(new_config)
        return True

    def cleanup(self) -> None:
        """Leave the host."""
        self.host.leave.remote(self._trial["key"], self.token)

    def _join(self, config: dict[str, Any]) -> None:
        wanted = ("key", "params", "seed", "alone")
        self._trial: dict[str, Any] = {name: config[name] for name in wanted if name in config}
        began = answered = time.monotonic()
        seconds = ANSWER_SECONDS
        pending: dict[ray.ObjectRef[Any], int] = {}
        known, lost = set[int](), list[RayActorError]()
        while True:
            offers, dead = self._offers(pending, seconds)
            known |= {*offers, *dead}
            now = time.monotonic()
            answered = now if offers else answered
            # The host of the first attempt may still train it, and two must not write to one folder.
            unowned = not config.get("alone") or len(known) == len(self.hosts) or now - began > LOST_SECONDS
            for place in sorted(offers, key=lambda place: offers[place], reverse=True):
                fits = offers[place].known or (unowned and offers[place].free > 0)
                if fits and self._try_join(self.hosts[place], lost):
                    return
            if dead and now - answered > LOST_SECONDS:
                raise next(iter(dead.values()))
            time.sleep(WAIT)
            seconds = WAIT

    def _offers(
        self, pending: dict[ray.ObjectRef[Any], int], seconds: float
    ) -> tuple[dict[int, HostCapacity], dict[int, RayActorError]]:
        """Return the offers of the hosts that answer, by index, and the errors of those that are dead.

        ``pending`` holds the requests that wait for an answer, at most one per host.
        """
        for place, host in enumerate(self.hosts):
            if place not in pending.values():
                pending[host.offer.remote(self._trial)] = place
        answered, _ = ray.wait(list(pending), num_returns=len(pending), timeout=seconds)
        offers: dict[int, HostCapacity] = {}
        dead: dict[int, RayActorError] = {}
        for reference in answered:
            place = pending.pop(reference)
            try:
                offers[place] = _get(reference)
            except RayActorError as error:
                dead[place] = error
        return offers, dead

    def _try_join(self, host: ActorHandle[Any], lost: list[RayActorError]) -> bool:
        """Join a host, and return whether it had a free place; the error of one that dies is added to ``lost``."""
        try:
            token: str | None = _get(host.join.remote(self._trial))
        except RayActorError as error:
            lost.append(error)
            if len(lost) == LOSSES:
                raise
            return False
        if token is None:
            return False
        self.host, self.token = host, token
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Do nothing: the trial saves its state at each evaluation."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Do nothing: the host has loaded the trial's state."""


def _get(reference: ray.ObjectRef[Any]) -> Any:
    """Return a host's answer, or raise the error that it raised."""
    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise error.cause from error
