"""The maps of the connect path change under calls, and hold what they are to hold."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest
from connect_lab import (
    PATIENCE_SECONDS,
    PORT,
    SERVICE,
    TCP,
    UDP,
    ConnectLab,
    called_at,
    loaded_programs,
)

from edgemesh.kernel.bpf import connect_layout as layout
from edgemesh.model.connect import ConnectEndpoint, ConnectPort
from edgemesh.model.services import ServiceAddress, Transport

pytestmark = pytest.mark.root


@pytest.fixture
def small_lab() -> Iterator[ConnectLab]:
    limits = {"connect_addresses": 4, "connect_endpoints": 8}
    with loaded_programs(**limits) as programs, ExitStack() as opened:
        yield ConnectLab(programs, opened)


def test_no_call_fails_while_endpoints_change(connect_lab: ConnectLab) -> None:
    # As many as it takes for none to be full: nobody takes connections.
    servers = [connect_lab.server() for _ in range(12)]
    port = connect_lab.put(servers)
    # Long enough that tables go that calls went by.
    end = time.monotonic() + 3.0
    calls: list[int] = []

    def call_again_and_again() -> None:
        made = 0
        try:
            while time.monotonic() < end:
                connect_lab.call().close()
                made += 1
        finally:
            calls.append(made)

    callers = [threading.Thread(target=call_again_and_again) for _ in range(2)]
    for caller in callers:
        caller.start()
    changes = 0
    while time.monotonic() < end:
        changes += 1
        chosen = connect_lab.endpoints(servers[changes % 9 :][:4])
        connect_lab.maps.put(replace(port, four=chosen, even=changes % 3 > 0))
        connect_lab.maps.expire(time.monotonic())
    for caller in callers:
        caller.join()
    assert changes > 100
    assert sum(calls) == connect_lab.maps.port_counts(port.id).passed > 100


def many_services(count: int, each: int) -> list[ConnectPort]:
    """So many Services with so many endpoints."""
    return [
        ConnectPort(
            id=number,
            addresses=(ServiceAddress(address_of(number), Transport.TCP, PORT),),
            four=tuple(
                ConnectEndpoint(number * each + slot, address_of(number), 1024 + slot, 1.0)
                for slot in range(each)
            ),
            even=True,
        )
        for number in range(1, count + 1)
    ]


def address_of(number: int) -> str:
    return f"10.{96 + number // 65536}.{number // 256 % 256}.{number % 256}"


def test_ten_thousand_services_are_put_in_seconds_and_one_in_milliseconds(
    connect_lab: ConnectLab,
) -> None:
    services = many_services(10_000, 5)
    # What the processor took for it: others run beside.
    began = time.process_time()
    connect_lab.maps.put_many(services)
    assert time.process_time() - began < 5.0
    changed = replace(services[5000], four=services[5000].four[1:])
    best = 1.0
    for port in [changed, services[5000]] * 5:
        began = time.monotonic()
        connect_lab.maps.put(port)
        best = min(best, time.monotonic() - began)
    assert best < 0.01


def test_what_is_old_goes_and_what_stands_stays(connect_lab: ConnectLab) -> None:
    servers = [connect_lab.server() for _ in range(2)]
    kept = connect_lab.put(servers, affinity_seconds=100, id=1000)
    connect_lab.maps.put_many(many_services(20, 3))
    connect_lab.maps.remove_many(range(1, 21))
    connect_lab.maps.put(replace(kept, four=kept.four[:1]))
    connect_lab.maps.expire(time.monotonic() + PATIENCE_SECONDS)
    sizes = {
        name: len(list(connect_lab.map(name).keys()))
        for name in ("addresses", "tables", "members", "port_states", "endpoints")
    }
    assert sizes == {"addresses": 4, "tables": 1, "members": 1, "port_states": 1, "endpoints": 1}
    assert list(connect_lab.map("endpoint_flags").keys()) == []


def test_nothing_goes_before_programs_that_run_are_done_with_it(connect_lab: ConnectLab) -> None:
    port = connect_lab.put([connect_lab.server()])
    connect_lab.maps.remove(port.id)
    connect_lab.maps.expire(time.monotonic())
    assert len(list(connect_lab.map("tables").keys())) == 1


def test_when_the_maps_are_full_calls_go_by_what_was_there_before(small_lab: ConnectLab) -> None:
    server = small_lab.server()
    standing = small_lab.put([server])
    with pytest.raises(OSError, match="long") as caught:
        small_lab.maps.put_many([replace(standing, rate=1e-6, burst=1), *many_services(10, 1)])
    assert caught.value.errno == errno.E2BIG
    for _ in range(3):
        small_lab.call().close()
    small_lab.maps.expire(time.monotonic() + PATIENCE_SECONDS)
    small_lab.maps.put(replace(standing, four=small_lab.endpoints([server] * 4)))
    small_lab.call().close()


def test_nothing_is_remembered_of_sockets_that_are_closed(connect_lab: ConnectLab) -> None:
    server = connect_lab.server()
    connect_lab.put([server])
    connect_lab.put([connect_lab.server(kind=UDP)], addresses=called_at(81))
    gone = connect_lab.server()
    connect_lab.put([gone], addresses=called_at(82))
    gone.close()
    for port, kind, closes_first in [(80, TCP, 0), (80, TCP, 1), (81, UDP, 0)]:
        sides = [connect_lab.call(kind=kind, port=port)]
        if kind == TCP:
            sides.append(server.accept()[0])
        for side in (sides[closes_first], *sides):
            side.close()
    caller = connect_lab.caller()
    with pytest.raises(ConnectionRefusedError):
        caller.connect((SERVICE[4], 82))
    caller.close()
    connect_lab.wait_until_over()


def test_connections_beyond_those_that_are_remembered_are_made_uncounted() -> None:
    with loaded_programs(connect_sockets=2) as programs, ExitStack() as opened:
        lab = ConnectLab(programs, opened)
        port = lab.put([lab.server()])
        callers = [lab.call() for _ in range(3)]
        assert lab.maps.port_counts(port.id).open == 2
        for caller in callers:
            caller.close()
        assert lab.maps.port_counts(port.id).open == 0


def test_emptied_maps_leave_calls_alone(connect_lab: ConnectLab) -> None:
    connect_lab.put([connect_lab.server()])
    connect_lab.maps.clear()
    connect_lab.maps.renew_lease(PATIENCE_SECONDS)
    with pytest.raises(OSError, match="unreachable"):
        connect_lab.call()
    connect_lab.put([connect_lab.server()])
    assert connect_lab.call().getpeername() == (SERVICE[4], PORT)


def test_connections_outlive_what_an_agent_before_has_put(connect_lab: ConnectLab) -> None:
    port = connect_lab.put([connect_lab.server()])
    caller = connect_lab.call()
    connect_lab.maps.clear()
    assert caller.getpeername() == (SERVICE[4], PORT)
    connect_lab.maps.renew_lease(PATIENCE_SECONDS)
    connect_lab.maps.put(port)
    caller.close()
    assert connect_lab.maps.port_counts(port.id).open == 0


LAYOUT = {
    "agent": (layout.NUMBER, layout.AGENT),
    "addresses": (layout.CALLED, layout.ENTRY),
    "port_states": (layout.NUMBER, layout.PORT_STATE),
    "tables": (layout.TABLE_SLOT, layout.SLOT),
    "members": (layout.MEMBER, layout.NUMBER),
    "endpoints": (layout.NUMBER, layout.ENDPOINT_STATE),
    "endpoint_flags": (layout.NUMBER, layout.NUMBER),
    "listed": (layout.COOKIE, layout.NUMBER),
    "touched": (layout.TOUCH, layout.NUMBER),
}


@pytest.mark.parametrize("name", LAYOUT)
def test_both_sides_mean_the_same_number_of_bytes(connect_lab: ConnectLab, name: str) -> None:
    key, value = LAYOUT[name]
    found = connect_lab.map(name)
    assert (found.key_size, found.value_size) == (key.size, value.size)
