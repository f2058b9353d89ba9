"""Where the processes of fused trials, and those that stand for each, have room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.settings import MOST_FUSED
from pipeline.tune_adapters.fused_actors import PROXY_CORES, host_cores
from tests.pipeline.cluster.test_ray_runtime import drive

if TYPE_CHECKING:
    from pathlib import Path

CORES_OF_NODES = 64


@pytest.mark.parametrize("cpus", [1, 2, 8])
@pytest.mark.parametrize("places", [2, 8, MOST_FUSED])
def test_a_slot_holds_its_process_and_all_that_ask_it_and_a_node_no_more_than_its_slots(cpus: int, places: int) -> None:
    cores = host_cores(cpus, places)
    assert cores + places * PROXY_CORES < cpus
    assert CORES_OF_NODES // cores == CORES_OF_NODES // cpus


PLACE = """
import json, sys
import ray
from ray.cluster_utils import Cluster
from ray.util import placement_group_table
from pipeline.tune_adapters.fused_actors import host_cores, proxy_trainable

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, "wait": False})
for _ in range(2):
    cluster.add_node(num_cpus=1, wait=False)
cluster.wait_for_nodes(timeout=300)
ray.init(address=cluster.address, log_to_driver=False)

class Host:
    def ready(self):
        return ray.get_runtime_context().get_node_id()

kind = ray.remote(Host).options(num_cpus=host_cores(1, 4))
hosts = [kind.remote() for _ in range(2)]
nodes = ray.get([host.ready.remote() for host in hosts])
asked = proxy_trainable(()).default_resource_request({})
proxies = [asked.to_placement_group() for _ in range(8)]
ray.get([proxy.ready() for proxy in proxies])
places = [node for proxy in proxies for node in placement_group_table(proxy)["bundles_to_node_id"].values()]
print(json.dumps([nodes, places]))
ray.shutdown()
cluster.shutdown()
"""


@pytest.mark.slow
def test_hosts_are_placed_on_nodes_with_cores_and_hold_all_proxies(tmp_path: Path) -> None:
    hosts, proxies = drive(PLACE, tmp_path)
    assert len(set(hosts)) == 2
    assert len(proxies) == 8
    assert set(proxies) <= set(hosts)
