"""What Ray Tune sees of a fused trial: a process that only asks the trial's host."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import ray
from ray import tune
from ray.exceptions import RayActorError, RayTaskError

from trainables.report import folded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ray.actor import ActorHandle

    from trainables.host import Offer

ANSWER_SECONDS = 5.0
"""For which hosts may take to say what they have: one that begins imports torch first. They are waited for once: one
that the cluster has no room for never answers."""
WAIT = 0.5
"""Seconds between two rounds of asking where no host has a place."""
LOST_SECONDS = 180.0
"""After which a trial that has heard of nothing but dead hosts fails, and one that may be on a host that does not
answer is taken by another."""
LOSSES = 2
"""Hosts that die while a trial joins them, after which it fails: it may be what they die of."""


class ProxyTrial(tune.Trainable):
    """Lets one of the sweep's hosts train the trial, at no cost in cores or memory of GPUs.

    The trial is on the host that has most trials that it can be one program with, else on the emptiest; where it can,
    beside no second try that has had no result yet, which may be one that ends its process. Where its host
    dies while it waits for a result, it fails, and Tune tries it again; otherwise it takes another host by itself. All
    go on from the last checkpoint. A second try is trained in a program of its own (``config["alone"]``), for nobody
    can tell which of several trials asked for too much memory.
    """

    host: ActorHandle[Any]
    """Where the trial is."""
    token: str
    """For its place there."""

    def setup(self, config: dict[str, Any], hosts: Sequence[ActorHandle[Any]] = ()) -> None:
        """Find a place."""
        self.hosts = hosts
        self._join(config)

    def step(self) -> dict[str, Any]:
        """The trial's next result."""
        key = self._trial["key"]
        while (result := _answer(self.host.step.remote(key))) is None:
            self._join(self._trial)
        return folded(result)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Stand for another trial."""
        self.cleanup()
        self._join(new_config)
        return True

    def cleanup(self) -> None:
        """Give the place back."""
        self.host.leave.remote(self._trial["key"], self.token)

    def _join(self, config: dict[str, Any]) -> None:
        wanted = ("key", "params", "seed", "alone")
        self._trial: dict[str, Any] = {name: config[name] for name in wanted if name in config}
        began = answered = time.monotonic()
        seconds = ANSWER_SECONDS
        asked: dict[ray.ObjectRef[Any], int] = {}
        heard, lost = set[int](), list[RayActorError]()
        while True:
            offers, dead = self._offers(asked, seconds)
            heard |= {*offers, *dead}
            now = time.monotonic()
            answered = now if offers else answered
            # The first try's host may train on, for nobody: two must not write to one folder.
            nowhere = not config.get("alone") or len(heard) == len(self.hosts) or now - began > LOST_SECONDS
            for place in sorted(offers, key=lambda place: offers[place], reverse=True):
                fits = offers[place].known or (nowhere and offers[place].free > 0)
                if fits and self._joined(self.hosts[place], lost):
                    return
            if dead and now - answered > LOST_SECONDS:
                raise next(iter(dead.values()))
            time.sleep(WAIT)
            seconds = WAIT

    def _offers(
        self, asked: dict[ray.ObjectRef[Any], int], seconds: float
    ) -> tuple[dict[int, Offer], dict[int, RayActorError]]:
        """What each host that answers has, by its place, and the errors of those that are dead.

        ``asked`` are questions that wait for an answer: no host has two of them.
        """
        for place, host in enumerate(self.hosts):
            if place not in asked.values():
                asked[host.offer.remote(self._trial)] = place
        answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=seconds)
        offers: dict[int, Offer] = {}
        dead: dict[int, RayActorError] = {}
        for one in answered:
            place = asked.pop(one)
            try:
                offers[place] = _answer(one)
            except RayActorError as error:
                dead[place] = error
        return offers, dead

    def _joined(self, host: ActorHandle[Any], lost: list[RayActorError]) -> bool:
        """Whether the host has a place; one that dies is one of the ``lost``."""
        try:
            token: str | None = _answer(host.join.remote(self._trial))
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
        """Nothing: the trial saves itself at every evaluation."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: the host has loaded what there is."""


def _answer(asked: ray.ObjectRef[Any]) -> Any:
    """What a host answers, or the error that it raised, whose name and text end the trial's."""
    try:
        return ray.get(asked)
    except RayTaskError as error:
        raise error.cause from error
