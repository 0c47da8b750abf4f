"""Services that run in the cloud, as nodes see them: behind one endpoint, which is the cloud."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import replace

from edgemesh.model.services import Endpoint, Service, ServicePort
from edgemesh.model.streams import CLOUD


def beyond_the_cloud(service: Service, ruled: AbstractSet[int], nodes: AbstractSet[str]) -> Service:
    """A Service with the cloud in the place of endpoints that no edge node of the mesh runs.

    The cloud chooses among those; here they count as one, with the weight of all of them.

    Args:
        service: that a Rule leads to, complete.
        ruled: numbers of the ports that the Rule means, none for all.
        nodes: edge nodes of the mesh, and this one.
    """
    addresses = service.cluster_addresses
    if not addresses:
        return service
    ports = tuple(
        port if ruled and port.port not in ruled else _with_cloud(port, addresses, nodes)
        for port in service.ports
    )
    return replace(service, ports=ports)


def _with_cloud(
    port: ServicePort, addresses: tuple[str, ...], nodes: AbstractSet[str]
) -> ServicePort:
    near = tuple(each for each in port.endpoints if each.node in nodes)
    far = [each for each in port.endpoints if each.node not in nodes]
    if near and not far:
        return port
    weight = sum(each.weight for each in far) if far else 1
    cloud = tuple(Endpoint(each, port.port, node=CLOUD, weight=weight) for each in addresses)
    return replace(port, endpoints=near + cloud)
