"""Ray actors that train fused trials, for the duration of a sweep."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ray.actor import ActorHandle

    from pipeline.resources import Resources
    from trainables.storage.storage import Storage
    from trainables.trial.context import TrialContext

PROXY_CORES = 1e-4
"""CPU request of a proxy, the smallest that Ray supports, so that nodes without cores (maybe the driver's) get none.
The preflight check counts a proxy's memory."""


def host_cores(cpus: int, places: int) -> float:
    """Return the CPU request of an actor, which leaves room for two proxies per place on the worker slot.

    The proxy of an ended trial exists for a moment longer. The difference is so small that no node with fewer than 78
    cores gets more actors than it has worker slots.
    """
    return round(cpus - 2 * places * PROXY_CORES, 4)


@contextlib.contextmanager
def fused_hosts(
    context: TrialContext, storage: Storage, resources: Resources
) -> Iterator[tuple[ActorHandle[Any], ...]]:
    """Provide one actor per worker slot, with its cores and GPUs. Ray restarts one that dies, without its trials."""
    import ray

    from trainables.fused.actor import FusedHost

    shared, places = ray.put(context), resources.fused

    class Host(FusedHost):
        """Fetches the context itself: Ray warns about constructor arguments that a restarted actor may have lost."""

        def __init__(self) -> None:
            super().__init__(ray.get(shared), storage, places)

    kind: Any = ray.remote(Host).options(
        num_cpus=host_cores(resources.cpus, places), num_gpus=resources.gpus, max_restarts=-1
    )
    hosts = tuple(kind.remote() for _ in range(resources.slots))
    try:
        yield hosts
    finally:
        for host in hosts:  # a cluster outlives the sweep
            ray.kill(host)


def proxy_trainable(hosts: tuple[ActorHandle[Any], ...]) -> Any:
    """Return the trainable that Tune starts for each fused trial."""
    from ray import tune

    from pipeline.tune_adapters.fused_trainable import ProxyTrial
    from pipeline.tune_adapters.reported_errors import report_errors

    resources = tune.PlacementGroupFactory([{"CPU": PROXY_CORES}])
    return tune.with_resources(tune.with_parameters(report_errors(ProxyTrial), hosts=hosts), resources)
