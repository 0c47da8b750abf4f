"""What goes into the maps of the connect path, as bytes."""

from __future__ import annotations

import mmap
import socket
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edgemesh.kernel.bpf import connect_layout as layout
from edgemesh.kernel.bpf.connect_tables import Standing, Table
from edgemesh.kernel.bpf.programs import constants
from edgemesh.model.bpf_settings import BpfSettings
from edgemesh.model.connect import ConnectEndpoint, ConnectPort
from edgemesh.model.flows import Refusal
from edgemesh.model.services import ServiceAddress, Transport

FOUR = ConnectEndpoint(7, "10.0.0.1", 8080, 1.0)
SIX = ConnectEndpoint(8, "fd00::1", 8080, 1.0)
CALLED = tuple(ServiceAddress(each, Transport.TCP, 80) for each in ("10.96.0.1", "fd00:96::1"))


def standing(port: ConnectPort) -> Standing:
    four = Table(1, port.four, port.even, port.affinity_seconds > 0)
    six = Table(2, port.six, port.even, port.affinity_seconds > 0)
    return Standing(port, four, six)


def entries(port: ConnectPort) -> list[tuple[int, ...]]:
    """Table, slots and flags of each address."""
    return [layout.ENTRY.unpack(value)[2:5] for _, value in standing(port).entries()]


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_written_as_an_ipv6_socket_would(address: object) -> None:
    packed = layout.packed_address(str(address))
    assert packed == socket.inet_pton(socket.AF_INET6, f"::ffff:{address}")


@given(st.ip_addresses(v=6))
def test_an_ipv6_address_is_written_as_it_is(address: object) -> None:
    assert layout.packed_address(str(address)) == socket.inet_pton(socket.AF_INET6, str(address))


def test_each_address_leads_to_the_table_of_its_family() -> None:
    port = ConnectPort(1, CALLED, (FOUR, FOUR), (SIX,), even=True)
    assert entries(port) == [(1, 2, layout.EntryFlag.TURNS), (2, 1, layout.EntryFlag.TURNS)]


def test_calls_of_a_family_without_endpoints_are_left_alone_or_refused() -> None:
    port = ConnectPort(1, CALLED[1:], (FOUR,))
    assert entries(port) == [(2, 0, layout.EntryFlag.LEFT_ALONE)]
    assert entries(replace(port, refusal=Refusal.NO_ENDPOINT)) == [(2, 0, 0)]


def test_a_table_says_the_same_until_something_of_it_changes() -> None:
    port = ConnectPort(1, CALLED, (FOUR,), even=True)
    table = standing(port).four
    assert table.serves(replace(port, rate=5.0, max_connections=3), (FOUR,))
    assert not table.serves(port, (FOUR._replace(share=2.0),))
    assert not table.serves(replace(port, even=False), (FOUR,))
    assert not table.serves(replace(port, affinity_seconds=5), (FOUR,))


def test_slots_are_found_by_endpoint_only_where_there_is_affinity() -> None:
    port = ConnectPort(1, CALLED, (FOUR,))
    assert list(standing(port).four.members()) == []
    sticky = standing(replace(port, affinity_seconds=5)).four
    assert list(sticky.members()) == [(layout.MEMBER.pack(1, 7), layout.NUMBER.pack(0))]


@given(st.integers(1, 10_000_000))
def test_the_ring_buffer_holds_the_events_and_is_of_a_size_that_the_kernel_takes(
    events: int,
) -> None:
    pages = constants(BpfSettings(connect_events=events))["EVENT_PAGES"]
    assert pages * mmap.PAGESIZE >= events * (8 + layout.EVENT.size)
    assert pages.bit_count() == 1
