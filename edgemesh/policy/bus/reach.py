"""Endpoints that the kernel cannot connect to, for they are reached by the bus."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from edgemesh.model.services import Endpoint
from edgemesh.model.streams import CLOUD


def bus_hindrance(endpoints: Iterable[Endpoint], by_bus: AbstractSet[str]) -> str:
    """Why calls have to pass the agent, "" when no endpoint is reached by the bus.

    Args:
        endpoints: of a Service port.
        by_bus: nodes that are reached by it; the cloud always is.
    """
    for endpoint in endpoints:
        if endpoint.node == CLOUD or endpoint.node in by_bus:
            where = "the cloud" if endpoint.node == CLOUD else endpoint.node
            return f"{where} is reached by link"
    return ""


def all_by_bus(endpoints: Iterable[Endpoint], by_bus: AbstractSet[str]) -> bool:
    """Whether every endpoint is, so that no call of them has two sockets of the kernel's."""
    nodes = {endpoint.node for endpoint in endpoints}
    return bool(nodes) and nodes <= by_bus | {CLOUD}
