"""How connections fare is told: an endpoint's failures, and nobody else's."""

from __future__ import annotations

import selectors
import socket
import struct
import subprocess

import pytest
from connect_lab import PATIENCE_SECONDS, PORT, SERVICE, ConnectLab

from edgemesh.kernel.bpf.connect_layout import ConnectEvent, EndpointCounts, EventKind
from edgemesh.lab.network import command_in
from edgemesh.model.connect import ConnectPort

pytestmark = pytest.mark.root
REFUSED, RESET, TIMED_OUT = 111, 104, 110


def counts(lab: ConnectLab) -> EndpointCounts:
    """What was counted for the only endpoint."""
    ((_, only),) = lab.maps.endpoint_counts()
    return only


def deaf(lab: ConnectLab) -> ConnectPort:
    """A Service whose endpoint is there and refuses."""
    server = lab.server()
    port = lab.put([server])
    server.close()
    return port


def fail(lab: ConnectLab) -> None:
    """Make a call that is refused by the endpoint."""
    with pytest.raises(ConnectionRefusedError):
        lab.call()


def test_a_connection_that_is_refused_is_told(connect_lab: ConnectLab) -> None:
    port = deaf(connect_lab)
    fail(connect_lab)
    endpoint = port.four[0].id
    expected = ConnectEvent(EventKind.CONNECT_FAILED, port.id, endpoint, REFUSED)
    assert list(connect_lab.maps.events()) == [expected]
    assert counts(connect_lab)[:4] == (0, 1, 1, 0)


def test_the_agent_is_woken_by_a_failure(connect_lab: ConnectLab) -> None:
    deaf(connect_lab)
    with selectors.DefaultSelector() as waiting:
        waiting.register(connect_lab.maps, selectors.EVENT_READ)
        assert not waiting.select(0)
        fail(connect_lab)
        assert waiting.select(PATIENCE_SECONDS)


def test_a_connection_that_is_reset_is_told(connect_lab: ConnectLab) -> None:
    server = connect_lab.server()
    port = connect_lab.put([server])
    caller = connect_lab.call()
    taken, _ = server.accept()
    reset(taken)
    with pytest.raises(ConnectionResetError):
        caller.recv(1)
    expected = ConnectEvent(EventKind.RESET, port.id, port.four[0].id, RESET)
    assert list(connect_lab.maps.events()) == [expected]
    assert counts(connect_lab)[:4] == (0, 1, 0, 1)


def test_a_success_is_told_after_failures_only(connect_lab: ConnectLab) -> None:
    server = connect_lab.server()
    port = connect_lab.put([server])
    address = server.getsockname()
    server.close()
    fail(connect_lab)
    again = connect_lab.opened.enter_context(
        connect_lab.programs.servers.make(socket.AF_INET, socket.SOCK_STREAM)
    )
    again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    again.bind(address)
    again.listen()
    for _ in range(2):
        connect_lab.call()
    told = [(event.kind, event.endpoint_id) for event in connect_lab.maps.events()]
    endpoint = port.four[0].id
    assert told == [(EventKind.CONNECT_FAILED, endpoint), (EventKind.CONNECTED, endpoint)]


def test_each_success_of_an_endpoint_that_is_watched_is_told(connect_lab: ConnectLab) -> None:
    port = connect_lab.put([connect_lab.server()])
    connect_lab.maps.set_watched(port.four[0].id, True)
    for _ in range(2):
        connect_lab.call()
    assert [event.kind for event in connect_lab.maps.events()] == [EventKind.CONNECTED] * 2


def test_a_connection_that_ends_in_order_is_no_failure(connect_lab: ConnectLab) -> None:
    server = connect_lab.server()
    connect_lab.put([server])
    caller = connect_lab.call()
    taken, _ = server.accept()
    taken.close()
    assert caller.recv(1) == b""
    caller.close()
    assert list(connect_lab.maps.events()) == []
    assert counts(connect_lab)[:4] == (0, 1, 0, 0)


def test_a_connection_that_the_caller_resets_is_no_failure(connect_lab: ConnectLab) -> None:
    server = connect_lab.server()
    connect_lab.put([server])
    caller = connect_lab.call()
    taken, _ = server.accept()
    reset(caller)
    with taken, pytest.raises(ConnectionResetError):
        taken.recv(1)
    assert list(connect_lab.maps.events()) == []
    assert counts(connect_lab)[:4] == (0, 1, 0, 0)


def test_a_connection_that_is_destroyed_here_is_no_failure(connect_lab: ConnectLab) -> None:
    server = connect_lab.server()
    connect_lab.put([server])
    caller = connect_lab.call()
    order = ["ss", "-K", "dport", "=", str(server.getsockname()[1])]
    subprocess.run(
        command_in(connect_lab.programs.namespace, order), check=True, stdout=subprocess.DEVNULL
    )
    with pytest.raises(ConnectionAbortedError):
        caller.recv(1)
    assert list(connect_lab.maps.events()) == []


def test_a_caller_that_gives_up_at_once_is_no_failure(connect_lab: ConnectLab) -> None:
    silent(connect_lab)
    caller = connect_lab.caller()
    caller.setblocking(False)
    with pytest.raises(BlockingIOError):
        caller.connect((SERVICE[4], PORT))
    caller.close()
    assert list(connect_lab.maps.events()) == []
    assert counts(connect_lab)[:4] == (0, 1, 0, 0)


def test_an_endpoint_that_lets_a_caller_wait_until_it_gives_up_has_failed(
    connect_lab: ConnectLab,
) -> None:
    silent(connect_lab)
    caller = connect_lab.caller()
    caller.settimeout(1.1)
    with pytest.raises(TimeoutError):
        caller.connect((SERVICE[4], PORT))
    caller.close()
    (event,) = connect_lab.maps.events()
    assert (event.kind, event.value) == (EventKind.CONNECT_FAILED, TIMED_OUT)


def test_round_trips_are_measured(connect_lab: ConnectLab) -> None:
    connect_lab.put([connect_lab.server()])
    for _ in range(3):
        connect_lab.call()
    told = counts(connect_lab)
    assert told.round_trips == 3
    assert 0 < told.round_trip_seconds < PATIENCE_SECONDS


def silent(lab: ConnectLab) -> None:
    """A Service whose endpoint drops what asks to connect: its queue of connections is full."""
    server = lab.server(backlog=0)
    lab.fill(server)
    lab.put([server])


def reset(taken: socket.socket) -> None:
    """Close with a reset instead of a FIN."""
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    taken.close()
