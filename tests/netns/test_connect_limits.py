"""Quotas and limits of connections hold exactly, whoever calls; what is refused is told why."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import NamedTuple

import pytest
from connect_lab import PATIENCE_SECONDS, PORT, SERVICE, TCP, UDP, ConnectLab, loaded_programs

from edgemesh.kernel.bpf.connect_layout import PortCounts
from edgemesh.kernel.bpf.programs import CONNECT
from edgemesh.lab.cgroups import command_in as command_in_cgroup
from edgemesh.lab.network import command_in as command_in_namespace
from edgemesh.model.flows import Refusal

pytestmark = pytest.mark.root
# Longer than a test takes.
AN_HOUR = 1 / 3600

HOLD = """
import socket, sys
held = [socket.create_connection((sys.argv[1], int(sys.argv[2]))) for _ in range(2)]
print("connected", flush=True)
sys.stdin.read()
"""


def refusals(lab: ConnectLab, port_id: int) -> dict[Refusal, int]:
    """The reasons that were counted."""
    return {why: count for why, count in lab.maps.port_counts(port_id).refused.items() if count}


def test_a_quota_lets_its_burst_pass_at_once(connect_lab: ConnectLab) -> None:
    port = connect_lab.put([connect_lab.server()], rate=AN_HOUR, burst=5)
    for _ in range(5):
        connect_lab.call().close()
    with pytest.raises(ConnectionRefusedError):
        connect_lab.call()
    assert connect_lab.maps.port_counts(port.id).passed == 5
    assert refusals(connect_lab, port.id) == {Refusal.QUOTA: 1}


class Refused(NamedTuple):
    """When a call was refused, monotonic seconds."""

    began: float
    ended: float


def is_let_pass(caller: socket.socket) -> bool:
    try:
        caller.connect((SERVICE[4], PORT))
    except ConnectionRefusedError:
        return False
    return True


def used_up(lab: ConnectLab, caller: socket.socket, port_id: int) -> tuple[Refused, PortCounts]:
    """Call until nothing is left of a quota; what has been counted until then."""
    while True:
        began = time.monotonic()
        if not is_let_pass(caller):
            return Refused(began, time.monotonic()), lab.maps.port_counts(port_id)


def test_a_quota_is_kept_within_two_percent_by_callers_at_the_same_time(
    connect_lab: ConnectLab,
) -> None:
    server = connect_lab.server(kind=UDP)
    # Callers that stand still for some seconds lose nothing of it.
    port = connect_lab.put([server], rate=1000.0, burst=5000)
    callers = [connect_lab.caller(kind=UDP) for _ in range(4)]

    emptied, before = used_up(connect_lab, callers[0], port.id)
    end = time.monotonic() + 2.0

    def call_again_and_again(caller: socket.socket) -> None:
        while time.monotonic() < end:
            is_let_pass(caller)

    threads = [threading.Thread(target=call_again_and_again, args=(each,)) for each in callers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    emptied_again, after = used_up(connect_lab, callers[0], port.id)
    passed = after.passed - before.passed
    assert after.refused[Refusal.QUOTA] - before.refused[Refusal.QUOTA] > passed
    least, most = emptied_again.began - emptied.ended, emptied_again.ended - emptied.began
    assert least * 1000 * 0.98 <= passed <= most * 1000 * 1.001 + 1


def test_a_quota_that_changes_keeps_what_was_used_of_it(connect_lab: ConnectLab) -> None:
    server = connect_lab.server()
    port = connect_lab.put([server], rate=AN_HOUR, burst=2)
    connect_lab.call()
    connect_lab.maps.put(replace(port, max_connections=100))
    connect_lab.call()
    with pytest.raises(ConnectionRefusedError):
        connect_lab.call()


def test_a_quota_that_gets_smaller_owes_nothing_from_before(connect_lab: ConnectLab) -> None:
    port = connect_lab.put([connect_lab.server()], rate=AN_HOUR, burst=100)
    for _ in range(100):
        connect_lab.call().close()
    connect_lab.maps.put(replace(port, rate=1000.0, burst=1))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            connect_lab.call().close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
        else:
            break


def test_no_more_connections_are_open_than_may_be(connect_lab: ConnectLab) -> None:
    port = connect_lab.put([connect_lab.server()], max_connections=2)
    connect_lab.call()
    connect_lab.call()
    with pytest.raises(ConnectionRefusedError):
        connect_lab.call()
    assert connect_lab.maps.port_counts(port.id).open == 2
    assert refusals(connect_lab, port.id) == {Refusal.OVERFLOW: 1}


def test_callers_at_the_same_time_open_no_more_than_may_be(connect_lab: ConnectLab) -> None:
    port = connect_lab.put([connect_lab.server(kind=UDP)], max_connections=50)
    callers = [connect_lab.caller(kind=UDP) for _ in range(200)]

    def connect(some: list[socket.socket]) -> None:
        for caller in some:
            with suppress(ConnectionRefusedError):
                caller.connect((SERVICE[4], PORT))

    threads = [threading.Thread(target=connect, args=(callers[each::4],)) for each in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = connect_lab.maps.port_counts(port.id)
    assert (counts.open, counts.passed, counts.refused[Refusal.OVERFLOW]) == (50, 50, 150)


@pytest.mark.parametrize("kind", [TCP, UDP])
def test_a_connection_counts_until_it_is_closed(connect_lab: ConnectLab, kind: int) -> None:
    port = connect_lab.put([connect_lab.server(kind=kind)], max_connections=1)
    for _ in range(3):
        connect_lab.call(kind=kind).close()
    assert connect_lab.maps.port_counts(port.id).open == 0


def test_a_connection_that_its_endpoint_resets_counts_no_longer(connect_lab: ConnectLab) -> None:
    server = connect_lab.server()
    port = connect_lab.put([server], max_connections=1)
    caller = connect_lab.call()
    taken, _ = server.accept()
    reset(taken)
    with pytest.raises(ConnectionResetError):
        caller.recv(1)
    assert connect_lab.maps.port_counts(port.id).open == 0
    caller.close()
    assert connect_lab.maps.port_counts(port.id).open == 0


def test_connections_of_a_process_that_is_killed_count_no_longer(connect_lab: ConnectLab) -> None:
    port = connect_lab.put([connect_lab.server()])
    place = connect_lab.programs
    argv = [sys.executable, "-c", HOLD, SERVICE[4], str(PORT)]
    argv = command_in_cgroup(place.cgroup, command_in_namespace(place.namespace, argv))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"connected\n"
        assert connect_lab.maps.port_counts(port.id).open == 2
        process.kill()
    assert connect_lab.maps.port_counts(port.id).open == 0


def test_a_socket_that_connects_again_counts_once(connect_lab: ConnectLab) -> None:
    port = connect_lab.put([connect_lab.server(kind=UDP)])
    caller = connect_lab.caller(kind=UDP)
    for _ in range(3):
        caller.connect((SERVICE[4], PORT))
    counts = connect_lab.maps.port_counts(port.id)
    assert (counts.open, counts.passed) == (1, 3)


def test_counts_outlive_a_change_of_the_service(connect_lab: ConnectLab) -> None:
    server = connect_lab.server()
    port = connect_lab.put([server])
    connect_lab.call()
    connect_lab.maps.put(replace(port, four=connect_lab.endpoints([server])))
    connect_lab.maps.expire(time.monotonic() + PATIENCE_SECONDS)
    assert connect_lab.maps.port_counts(port.id).open == 1


def test_a_service_that_comes_back_is_not_counted_down_by_connections_from_before(
    connect_lab: ConnectLab,
) -> None:
    port = connect_lab.put([connect_lab.server()])
    old = connect_lab.call()
    connect_lab.maps.remove(port.id)
    connect_lab.maps.expire(time.monotonic() + PATIENCE_SECONDS)
    connect_lab.maps.put(port)
    connect_lab.call()
    old.close()
    assert connect_lab.maps.port_counts(port.id).open == 1
    assert [counts.open for _, counts in connect_lab.maps.endpoint_counts()] == [1]


@pytest.mark.parametrize("reason", [Refusal.NO_ENDPOINT, Refusal.BREAKER_OPEN])
def test_a_call_without_an_endpoint_is_refused_and_counted(
    connect_lab: ConnectLab, reason: Refusal
) -> None:
    port = connect_lab.put(refusal=reason)
    with pytest.raises(ConnectionRefusedError):
        connect_lab.call()
    assert refusals(connect_lab, port.id) == {reason: 1}


def test_a_datagram_without_an_endpoint_is_refused(connect_lab: ConnectLab) -> None:
    connect_lab.put(refusal=Refusal.NO_ENDPOINT)
    with pytest.raises(ConnectionRefusedError):
        connect_lab.caller(kind=UDP).sendto(b"question", (SERVICE[4], PORT))


def test_where_the_kernel_knows_no_other_errno_a_call_is_not_permitted() -> None:
    old = replace(CONNECT, variants=({"SET_RETVAL": 0},))
    with loaded_programs([old]) as programs, ExitStack() as opened:
        lab = ConnectLab(programs, opened)
        lab.put(refusal=Refusal.NO_ENDPOINT)
        with pytest.raises(PermissionError):
            lab.call()
        lab.put([lab.server()], refusal=Refusal.NO_ENDPOINT)
        assert lab.call().getpeername() == (SERVICE[4], PORT)


def test_only_what_was_counted_for_since_the_last_time_is_told(connect_lab: ConnectLab) -> None:
    port = connect_lab.put([connect_lab.server()])
    assert list(connect_lab.maps.changed_ports()) == []
    caller = connect_lab.call()
    ((told, counts),) = connect_lab.maps.changed_ports()
    assert (told, counts.open) == (port.id, 1)
    assert list(connect_lab.maps.changed_ports()) == []
    caller.close()
    ((told, counts),) = connect_lab.maps.changed_ports()
    assert (told, counts.open) == (port.id, 0)
    ((endpoint, its),) = connect_lab.maps.endpoint_counts()
    assert (endpoint, its.open, its.total) == (port.four[0].id, 0, 1)


def reset(taken: socket.socket) -> None:
    """Close with a reset instead of a FIN."""
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    taken.close()
