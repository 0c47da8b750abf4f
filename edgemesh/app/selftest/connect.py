"""Tries the path ``connect``: a call of a Service reaches its endpoint and does not notice."""

from __future__ import annotations

import socket

from edgemesh.app.selftest.order import SelfTestOrder
from edgemesh.app.selftest.problem import NotWorkingError, expect
from edgemesh.app.selftest.service import bound, caller, lead, opened_maps
from edgemesh.kernel.bpf.connect_maps import ConnectMaps
from edgemesh.kernel.sockets import ipv6_available
from edgemesh.model.services import Transport

_WORDS = b"edgemesh"


def attempt(order: SelfTestOrder) -> None:
    """Call a Service that has one endpoint, by TCP and UDP.

    Raises:
        NotWorkingError: something does not do what it should.
        OSError: something does not work at all.
    """
    families = [socket.AF_INET, *([socket.AF_INET6] if ipv6_available() else [])]
    with opened_maps(order) as maps:
        for family in families:
            _try_tcp(order, maps, family)
            _try_udp(order, maps, family)


def _try_tcp(order: SelfTestOrder, maps: ConnectMaps, family: socket.AddressFamily) -> None:
    with (
        bound(order, family, socket.SOCK_STREAM) as endpoint,
        bound(order, family, socket.SOCK_STREAM) as service,
        caller(order, family, socket.SOCK_STREAM) as client,
    ):
        endpoint.listen()
        lead(maps, Transport.TCP, service, endpoint)
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


def _try_udp(order: SelfTestOrder, maps: ConnectMaps, family: socket.AddressFamily) -> None:
    with (
        bound(order, family, socket.SOCK_DGRAM) as endpoint,
        bound(order, family, socket.SOCK_DGRAM) as service,
        caller(order, family, socket.SOCK_DGRAM) as client,
    ):
        lead(maps, Transport.UDP, service, endpoint)
        client.sendto(_WORDS, service.getsockname())
        try:
            words, sender = endpoint.recvfrom(len(_WORDS))
        except TimeoutError:
            raise NotWorkingError("a datagram to a Service is not led to its endpoint") from None
        endpoint.sendto(words, sender)
        _, answering = client.recvfrom(len(_WORDS))
        expect(
            answering == service.getsockname(),
            "a datagram does not come from the address that was called",
        )
