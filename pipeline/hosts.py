"""The processes in which fused trials are trained, for as long as a sweep runs."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ray.actor import ActorHandle

    from pipeline.settings import SweepSettings
    from trainables.storage import Storage
    from trainables.trial import TrialContext

PROXY_CORES = 1e-4
"""Share of a core that a proxy asks for, the least that Ray knows: nodes without cores, as the driver's may be, get
none. Its memory counts in preflight."""


def host_cores(cpus: int, places: int) -> float:
    """What a process of so many places asks for of a slot's cores: as many proxies fit beside it twice.

    Those of trials that have ended are there for a moment yet. It is so little less that no node of fewer than 78 cores
    takes one process more than it has slots.
    """
    return round(cpus - 2 * places * PROXY_CORES, 4)


@contextlib.contextmanager
def fused_hosts(
    context: TrialContext, storage: Storage, settings: SweepSettings
) -> Iterator[tuple[ActorHandle[Any], ...]]:
    """One host for each slot, with the slot's cores and GPUs. One that dies is started anew, and empty."""
    import ray

    from trainables.host import FusedHost

    shared, places = ray.put(context), settings.fused()

    class Host(FusedHost):
        """Fetches what it needs itself: Ray warns of arguments that may not be there for one that is started anew."""

        def __init__(self) -> None:
            super().__init__(ray.get(shared), storage, places)

    kind: Any = ray.remote(Host).options(
        num_cpus=host_cores(settings.cpus_per_trial, places), num_gpus=settings.gpus() or 0.0, max_restarts=-1
    )
    hosts = tuple(kind.remote() for _ in range(settings.slots()))
    try:
        yield hosts
    finally:
        for host in hosts:  # a cluster outlives the sweep
            ray.kill(host)


def proxy_trainable(hosts: tuple[ActorHandle[Any], ...]) -> Any:
    """What Tune starts for each fused trial."""
    from ray import tune

    from pipeline.proxy import ProxyTrial

    resources = tune.PlacementGroupFactory([{"CPU": PROXY_CORES}])
    return tune.with_resources(tune.with_parameters(ProxyTrial, hosts=hosts), resources)
