"""What a service manager hears of an agent and of a cloud, each run as it runs them."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cloud_process import cloud_of
from interception_lab import inside
from lab_homes import wait_for
from mesh import Mesh

from edgemesh.lab.network import set_sysctl

pytestmark = pytest.mark.root


def unix_datagrams() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)


@pytest.fixture
def told(mesh: Mesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket of a service manager whose watchdog waits for a second."""
    # Like systemd's (its 50-default.conf): usually ten messages fill a queue, after five seconds.
    set_sysctl(mesh.network.server, "net.unix.max_dgram_qlen", 512)
    with inside(mesh.network.server, unix_datagrams) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "1000000")
        yield sock


def hear(told: socket.socket, name: str) -> dict[str, str]:
    """The next message that tells ``name``; others are passed over."""
    while True:
        message = dict(line.split("=", 1) for line in told.recv(4096).decode().splitlines())
        if name in message:
            return message


def forget_what_was_told(told: socket.socket) -> None:
    told.setblocking(False)
    with suppress(BlockingIOError):
        while told.recv(4096):
            pass


def is_frozen(pid: int) -> bool:
    return "\nState:\tT" in Path(f"/proc/{pid}/status").read_text()


def test_an_agent_tells_that_it_is_ready_alive_and_stopping(
    mesh: Mesh, told: socket.socket
) -> None:
    mesh.start(proxy={"drain_grace_seconds": 7})
    assert hear(told, "READY")["STATUS"] == "0 Services, 0 open flows"
    assert hear(told, "WATCHDOG")["STATUS"] == "0 Services, 0 open flows"
    mesh.stop()
    # The drain, and the half minute that taking all away may last.
    assert hear(told, "STOPPING")["EXTEND_TIMEOUT_USEC"] == "37000000"


def test_a_frozen_agent_gives_no_signs_of_life_until_it_goes_on(
    mesh: Mesh, told: socket.socket
) -> None:
    mesh.start(netfilter={"watchdog_seconds": 0})
    hear(told, "WATCHDOG")
    os.kill(mesh.agent.pid, signal.SIGSTOP)
    wait_for(lambda: is_frozen(mesh.agent.pid), "the agent is frozen")
    forget_what_was_told(told)
    told.settimeout(2)
    with pytest.raises(TimeoutError):
        told.recv(4096)
    told.settimeout(20)
    os.kill(mesh.agent.pid, signal.SIGCONT)
    assert hear(told, "WATCHDOG")


def test_a_cloud_tells_that_it_is_ready_alive_and_stopping(mesh: Mesh, told: socket.socket) -> None:
    with cloud_of(mesh) as cloud:
        cloud.start()
        assert hear(told, "READY")["STATUS"] == "0 nodes are connected"
        assert hear(told, "WATCHDOG")
    assert hear(told, "STOPPING")
