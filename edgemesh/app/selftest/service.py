"""A Service for the self-test, and the maps that lead its callers to its endpoint.

The Service's address is a place on the loopback interface that this process holds and where
nobody listens: a call that is not balanced is refused or unheard, and disturbs nobody.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from edgemesh.app.selftest.order import SelfTestOrder
from edgemesh.kernel.bpf.connect_maps import ConnectMaps
from edgemesh.model.connect import ConnectEndpoint, ConnectPort
from edgemesh.model.services import ServiceAddress, Transport

# The last number: no agent's Service ports come that far.
SERVICE_ID = 2**32 - 1
_LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


@contextmanager
def opened_maps(order: SelfTestOrder) -> Iterator[ConnectMaps]:
    """The maps, which hold for as long as this lasts, and are empty then."""
    with ConnectMaps(order.loaded) as maps:
        maps.renew_lease(order.bpf.self_test_seconds)
        try:
            yield maps
        finally:
            maps.renew_lease(0)
            maps.clear()


def lead(
    maps: ConnectMaps, transport: Transport, service: socket.socket, endpoint: socket.socket
) -> None:
    """Have calls of one socket's address led to the other's."""
    address, port = service.getsockname()[:2]
    there = (ConnectEndpoint(SERVICE_ID, address, endpoint.getsockname()[1], 1.0),)
    four, six = (there, ()) if service.family == socket.AF_INET else ((), there)
    maps.put(ConnectPort(SERVICE_ID, (ServiceAddress(address, transport, port),), four, six))


@contextmanager
def bound(
    order: SelfTestOrder, family: socket.AddressFamily, kind: socket.SocketKind
) -> Iterator[socket.socket]:
    """A socket with a place of its own on the loopback interface."""
    with caller(order, family, kind) as sock:
        sock.bind((_LOOPBACK[family], 0))
        yield sock


@contextmanager
def caller(
    order: SelfTestOrder, family: socket.AddressFamily, kind: socket.SocketKind
) -> Iterator[socket.socket]:
    """A socket that does not wait for long."""
    with socket.socket(family, kind) as sock:
        sock.settimeout(order.patience_seconds)
        yield sock
