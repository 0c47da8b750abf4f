"""What the maps of the connect path hold, as bytes: the Python side of ``bpf/edgemesh.h``.

Numbers are in the host's byte order, addresses and ports in the network's. An IPv4 address is
written as the IPv6 address that stands for it (RFC 4291 section 2.5.5.2), so that a program of
either family finds it.
"""

from __future__ import annotations

import functools
import ipaddress
import struct
from collections.abc import Mapping
from enum import IntEnum, IntFlag
from typing import Final, NamedTuple

from edgemesh.model.connect import ConnectEndpoint, ConnectPort
from edgemesh.model.flows import Refusal
from edgemesh.model.services import ServiceAddress, Transport
from edgemesh.policy.connect.alias import AliasSlot

NANOSECONDS: Final = 1_000_000_000
# In the order of enum refusal.
REFUSALS: Final = (Refusal.NO_ENDPOINT, Refusal.BREAKER_OPEN, Refusal.OVERFLOW, Refusal.QUOTA)

_PROTOCOLS: Final = {Transport.TCP: 6, Transport.UDP: 17}
# Each is the struct of the same name.
AGENT: Final = struct.Struct("=QIIIxxxx")
CALLED: Final = struct.Struct("=16s2sBx")
ENTRY: Final = struct.Struct("=20sIIIIIIIQQ")
PORT_STATE: Final = struct.Struct("=xxxxIIxxxxQQQQ4Q")
TABLE_SLOT: Final = struct.Struct("=II")
SLOT: Final = struct.Struct("=III2sxx16s")
MEMBER: Final = struct.Struct("=II")
ENDPOINT_STATE: Final = struct.Struct("=IIxxxxxxxxQQQQQQ")
TOUCH: Final = struct.Struct("=II")
EVENT: Final = struct.Struct("=IIII")
NUMBER: Final = struct.Struct("=I")
COOKIE: Final = struct.Struct("=Q")


class Callers(IntEnum):
    """enum callers."""

    ALL = 0
    NOT_LISTED = 1
    LISTED = 2


class EntryFlag(IntFlag):
    """enum entry_flag."""

    TURNS = 1
    LEFT_ALONE = 2


class EndpointFlag(IntFlag):
    """enum endpoint_flag."""

    OUT = 1
    WATCHED = 2
    RETIRED = 4


class Touched(IntEnum):
    """enum touched."""

    PORT = 0
    ENDPOINT = 1


class EventKind(IntEnum):
    """enum event_kind."""

    CONNECT_FAILED = 1
    RESET = 2
    CONNECTED = 3
    ENDED = 4


class PortCounts(NamedTuple):
    """What was counted for a Service port since it was first put into the maps.

    Args:
        open: connections now.
        passed: connections, and first datagrams, that were given an endpoint.
        refused: the others, by reason.
    """

    open: int
    passed: int
    refused: Mapping[Refusal, int]


class EndpointCounts(NamedTuple):
    """What was counted for an endpoint since it was first put into the maps.

    Args:
        open: connections now.
        total: connections, and first datagrams, that it was chosen for.
        failed: connections that were never established, the caller's fault excepted.
        resets: connections that the endpoint broke off or no longer answered on.
        round_trip_seconds: of all that were established, together, at that moment.
        round_trips: how many those are.
        born: tells these counts from those that began at zero before them, or after.
    """

    open: int
    total: int
    failed: int
    resets: int
    round_trip_seconds: float
    round_trips: int
    born: int


class ConnectEvent(NamedTuple):
    """What happened to one connection.

    Args:
        kind: see there.
        port_id: whose connection it was.
        endpoint_id: where it went.
        value: the errno of a failure; of a success the round trip in microseconds; else 0.
    """

    kind: EventKind
    port_id: int
    endpoint_id: int
    value: int


@functools.lru_cache(maxsize=65536)
def packed_address(address: str) -> bytes:
    """The 16 bytes of an address, which is text of either family."""
    parsed = ipaddress.ip_address(address)
    return bytes(10) + b"\xff\xff" + parsed.packed if parsed.version == 4 else parsed.packed


def called(address: ServiceAddress) -> bytes:
    """The key of ``addresses``."""
    port = address.port.to_bytes(2, "big")
    return CALLED.pack(packed_address(address.address), port, _PROTOCOLS[address.transport])


def entry(key: bytes, port: ConnectPort, table: int, slots: int, flags: EntryFlag) -> bytes:
    """The value of ``addresses``.

    A quota is the generic cell rate algorithm's two durations, as in policy/traffic/quota.py.

    Args:
        key: that it is put under.
        port: whose address it is.
        table: where its endpoints are.
        slots: how many there are.
        flags: see there.
    """
    period = max(round(NANOSECONDS / port.rate), 1) if port.rate else 0
    depth = max(port.burst, 1) * period
    refusal = REFUSALS.index(port.refusal or Refusal.NO_ENDPOINT)
    limits = (port.max_connections, port.affinity_seconds, period, depth)
    return ENTRY.pack(key, port.id, table, slots, flags, refusal, *limits)


def new_port_state(born: int) -> bytes:
    """The value of ``port_states`` for a port that nothing was counted for."""
    return PORT_STATE.pack(born, *(0,) * 9)


def new_endpoint_state(born: int) -> bytes:
    """The value of ``endpoints`` for an endpoint that nothing was counted for."""
    return ENDPOINT_STATE.pack(born, *(0,) * 7)


def slot(endpoint: ConnectEndpoint, chance: AliasSlot) -> bytes:
    """The value of ``tables``."""
    port = endpoint.port.to_bytes(2, "big")
    return SLOT.pack(
        endpoint.id, chance.threshold, chance.alias, port, packed_address(endpoint.address)
    )


def port_counts(value: bytes) -> PortCounts:
    """What a value of ``port_states`` says."""
    _born, open_now, _four, _six, _full_at, passed, *refused = PORT_STATE.unpack(value)
    return PortCounts(open_now, passed, dict(zip(REFUSALS, refused, strict=True)))


def endpoint_counts(value: bytes) -> EndpointCounts:
    """What a value of ``endpoints`` says."""
    born, _failures, open_now, total, failed, resets, microseconds, trips = ENDPOINT_STATE.unpack(
        value
    )
    return EndpointCounts(open_now, total, failed, resets, microseconds / 1_000_000, trips, born)


def event(record: bytes) -> ConnectEvent:
    """What a record of ``connect_events`` says."""
    kind, port_id, endpoint_id, value = EVENT.unpack(record[: EVENT.size])
    return ConnectEvent(EventKind(kind), port_id, endpoint_id, value)
