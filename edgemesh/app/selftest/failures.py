"""Tries what tells of connections that were balanced when they connected: breakers go by it."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

from edgemesh.app.selftest.order import SelfTestOrder
from edgemesh.app.selftest.problem import expect
from edgemesh.app.selftest.service import SERVICE_ID, bound, caller, lead, opened_maps
from edgemesh.kernel.bpf.connect_layout import EventKind
from edgemesh.kernel.bpf.connect_maps import ConnectMaps
from edgemesh.model.services import Transport


def attempt(order: SelfTestOrder) -> None:
    """Call an endpoint that refuses, that answers, and that breaks off.

    Raises:
        NotWorkingError: something is not told.
        OSError: something does not work at all.
    """
    with (
        opened_maps(order) as maps,
        bound(order, socket.AF_INET, socket.SOCK_STREAM) as endpoint,
        bound(order, socket.AF_INET, socket.SOCK_STREAM) as service,
    ):
        lead(maps, Transport.TCP, service, endpoint)
        with caller(order, socket.AF_INET, socket.SOCK_STREAM) as client:
            with suppress(ConnectionRefusedError):
                client.connect(service.getsockname())
            expect(
                _told(maps) == [EventKind.CONNECT_FAILED],
                "that an endpoint refuses a connection is not told",
            )
        endpoint.listen()
        with caller(order, socket.AF_INET, socket.SOCK_STREAM) as client:
            client.connect(service.getsockname())
            counts = maps.endpoint_count(SERVICE_ID)
            expect(
                _told(maps) == [EventKind.CONNECTED] and bool(counts and counts.round_trips),
                "the round trip of a connection is not told",
            )
            server, _ = endpoint.accept()
            server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            server.close()
            with suppress(ConnectionResetError):
                client.recv(1)
            expect(
                _told(maps) == [EventKind.RESET],
                "that an endpoint breaks a connection off is not told",
            )


def _told(maps: ConnectMaps) -> list[EventKind]:
    return [event.kind for event in maps.events() if event.endpoint_id == SERVICE_ID]
