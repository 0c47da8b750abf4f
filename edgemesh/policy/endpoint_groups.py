"""Endpoints as they are kept between changes: compact, and the same from every kind of source.

An EndpointSlice is one group and an Endpoints object has one for each subset: every endpoint of
a group serves every port of it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import NamedTuple

from edgemesh.model.services import Endpoint
from edgemesh.wire.addresses import canonical_address
from edgemesh.wire.kubernetes.endpoints import (
    EndpointAddress,
    EndpointConditions,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    ObjectReference,
    SliceEndpoint,
)


class State(IntEnum):
    """Whether an endpoint takes new connections."""

    READY = 0
    # Terminating but still serving: better than nobody, as kube-proxy has it (KEP-1669).
    LAST_RESORT = 1
    NOT_READY = 2


class EndpointRecord(NamedTuple):
    """One place, whatever the port; "" where something is unknown.

    ``zone`` is the one that the source tells; that of the Node stands in for it.
    """

    address: str
    state: State
    node: str
    zone: str
    pod: str
    hostname: str


class PortRecord(NamedTuple):
    """A port of a group; its name is that of the Service's port."""

    name: str
    protocol: str
    port: int


class EndpointGroup(NamedTuple):
    """Endpoints that all serve the same ports."""

    ports: tuple[PortRecord, ...]
    endpoints: tuple[EndpointRecord, ...]


def group_of_slice(endpoint_slice: EndpointSlice) -> EndpointGroup:
    """The group that a slice is; one of names instead of addresses holds no endpoints."""
    addressed = endpoint_slice.endpoints if endpoint_slice.address_type != "FQDN" else ()
    return EndpointGroup(
        _ports(endpoint_slice.ports),
        tuple(_of_slice(endpoint) for endpoint in addressed if endpoint.addresses),
    )


def groups_of_endpoints(endpoints: Endpoints) -> tuple[EndpointGroup, ...]:
    """The groups of an Endpoints object."""
    return tuple(
        EndpointGroup(
            _ports(subset.ports),
            (
                *(_of_address(address, State.READY) for address in subset.addresses),
                *(_of_address(address, State.NOT_READY) for address in subset.not_ready_addresses),
            ),
        )
        for subset in endpoints.subsets
    )


def choose_endpoints(
    candidates: Iterable[tuple[EndpointRecord, int]],
    zones: Mapping[str, str],
    weights: Mapping[str, int],
    *,
    publish: bool,
) -> tuple[Endpoint, ...]:
    """Those that take new connections: the ready ones, else those that serve to the last.

    Args:
        candidates: endpoints, each with its port.
        zones: of Nodes, by name.
        weights: of Pods that have one of their own, by ``namespace/name``.
        publish: ``publishNotReadyAddresses``: readiness does not matter.

    Returns:
        Each address and port once, in their order.
    """
    found = list(candidates)
    if not publish:
        best = min((record.state for record, _ in found), default=State.NOT_READY)
        found = [
            (record, port)
            for record, port in found
            if record.state == best and best != State.NOT_READY
        ]
    chosen = {(record.address, port): record for record, port in found}
    return tuple(
        Endpoint(
            address=address,
            port=port,
            node=record.node,
            zone=record.zone or zones.get(record.node, ""),
            pod=record.pod,
            hostname=record.hostname,
            weight=weights.get(record.pod, 1),
        )
        for (address, port), record in sorted(chosen.items())
    )


def _ports(ports: tuple[EndpointPort, ...]) -> tuple[PortRecord, ...]:
    """Without those that tell no number, which nobody could call."""
    return tuple(
        PortRecord(sys.intern(port.name), port.protocol, port.port) for port in ports if port.port
    )


def _of_slice(endpoint: SliceEndpoint) -> EndpointRecord:
    """Its addresses mean the same place; like kube-proxy we call it by the first."""
    return EndpointRecord(
        sys.intern(canonical_address(endpoint.addresses[0])),
        _state(endpoint.conditions),
        sys.intern(endpoint.node_name),
        sys.intern(endpoint.zone),
        _pod(endpoint.target_ref),
        endpoint.hostname,
    )


def _of_address(address: EndpointAddress, state: State) -> EndpointRecord:
    return EndpointRecord(
        sys.intern(canonical_address(address.ip)),
        state,
        sys.intern(address.node_name),
        "",
        _pod(address.target_ref),
        address.hostname,
    )


def _state(conditions: EndpointConditions) -> State:
    if conditions.ready is not False:
        return State.READY
    if conditions.serving is not False and conditions.terminating:
        return State.LAST_RESORT
    return State.NOT_READY


def _pod(reference: ObjectReference | None) -> str:
    if reference is None or reference.kind != "Pod":
        return ""
    return sys.intern(f"{reference.namespace}/{reference.name}")
