"""Tries the path ``connect``: a call of a Service reaches its endpoint and does not notice.

The Service's address is a place on the loopback interface that this process holds and where
nobody listens: a call that is not balanced is refused or unheard, and disturbs nobody.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from edgemesh.app.selftest.order import SelfTestOrder
from edgemesh.app.selftest.problem import NotWorkingError, expect
from edgemesh.kernel.bpf.connect_maps import ConnectMaps
from edgemesh.kernel.bpf.loader import Loaded
from edgemesh.kernel.bpf.pins import CURRENT
from edgemesh.kernel.sockets import ipv6_available
from edgemesh.model.connect import ConnectEndpoint, ConnectPort
from edgemesh.model.services import ServiceAddress, Transport

_LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
_PATIENCE_SECONDS = 0.5
_LEASE_SECONDS = 5.0
_WORDS = b"edgemesh"
# The last number: no agent's Service ports come that far.
_ID = 2**32 - 1


def try_connect(order: SelfTestOrder) -> None:
    """Call a Service that has one endpoint, by TCP and UDP.

    Raises:
        NotWorkingError: something does not do what it should.
        OSError: something does not work at all.
    """
    families = [socket.AF_INET, *([socket.AF_INET6] if ipv6_available() else [])]
    loaded = Loaded(order.bpf.directory / CURRENT, dict.fromkeys(order.groups, ""))
    with ConnectMaps(loaded) as maps:
        maps.renew_lease(_LEASE_SECONDS)
        try:
            for family in families:
                _try_tcp(maps, family)
                _try_udp(maps, family)
        finally:
            maps.renew_lease(0)
            maps.clear()


def _try_tcp(maps: ConnectMaps, family: socket.AddressFamily) -> None:
    with (
        _bound(family, socket.SOCK_STREAM) as endpoint,
        _bound(family, socket.SOCK_STREAM) as service,
        _timed(family, socket.SOCK_STREAM) as client,
    ):
        endpoint.listen()
        _lead(maps, Transport.TCP, service, endpoint)
        try:
            client.connect(service.getsockname())
        except ConnectionRefusedError:
            raise NotWorkingError("a call of a Service is not led to its endpoint") from None
        expect(
            client.getpeername() == service.getsockname(),
            "a client is not told the address that it has called",
        )
        with endpoint.accept()[0] as server:
            server.sendall(_WORDS)
        expect(client.recv(len(_WORDS)) == _WORDS, "the bytes of an endpoint do not arrive")


def _try_udp(maps: ConnectMaps, family: socket.AddressFamily) -> None:
    with (
        _bound(family, socket.SOCK_DGRAM) as endpoint,
        _bound(family, socket.SOCK_DGRAM) as service,
        _timed(family, socket.SOCK_DGRAM) as client,
    ):
        _lead(maps, Transport.UDP, service, endpoint)
        client.sendto(_WORDS, service.getsockname())
        try:
            words, caller = endpoint.recvfrom(len(_WORDS))
        except TimeoutError:
            raise NotWorkingError("a datagram to a Service is not led to its endpoint") from None
        endpoint.sendto(words, caller)
        _, answering = client.recvfrom(len(_WORDS))
        expect(
            answering == service.getsockname(),
            "a datagram does not come from the address that was called",
        )


def _lead(
    maps: ConnectMaps, transport: Transport, service: socket.socket, endpoint: socket.socket
) -> None:
    """Have calls of one socket's address led to the other's."""
    address, port = service.getsockname()[:2]
    there = (ConnectEndpoint(_ID, address, endpoint.getsockname()[1], 1.0),)
    four, six = (there, ()) if service.family == socket.AF_INET else ((), there)
    maps.put(ConnectPort(_ID, (ServiceAddress(address, transport, port),), four, six))


@contextmanager
def _bound(family: socket.AddressFamily, kind: socket.SocketKind) -> Iterator[socket.socket]:
    with _timed(family, kind) as sock:
        sock.bind((_LOOPBACK[family], 0))
        yield sock


@contextmanager
def _timed(family: socket.AddressFamily, kind: socket.SocketKind) -> Iterator[socket.socket]:
    with socket.socket(family, kind) as sock:
        sock.settimeout(_PATIENCE_SECONDS)
        yield sock
