"""What a service manager hears of a process: the datagrams of sd_notify(3)."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import structlog
import trio
import trio.testing
from plane_fixtures import open_descriptors

from edgemesh.app.notify import ServiceManager, service_manager
from edgemesh.app.watchdog import keep_alive
from edgemesh.model.settings import NetfilterSettings, ProxySettings
from edgemesh.proxy.plane import Plane

WATCHDOG = {"WATCHDOG_USEC": "10000000"}


class Heard:
    """The service manager's end."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def all(self) -> list[dict[str, str]]:
        """What was told since the last look."""
        found = []
        while True:
            try:
                told = self._sock.recv(4096).decode()
            except BlockingIOError:
                return found
            found.append(dict(line.split("=", 1) for line in told.splitlines()))

    def signs(self) -> int:
        """How many of them are signs of life."""
        return sum("WATCHDOG" in each for each in self.all())


@contextmanager
def listening(address: str) -> Iterator[Heard]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(address)
        sock.setblocking(False)
        yield Heard(sock)


@pytest.fixture
def address(tmp_path: Path) -> str:
    return str(tmp_path / "notify")


@pytest.fixture
def queued() -> int:
    """How many datagrams the kernel keeps for who does not listen (unix_recvq_full())."""
    return int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text()) + 1


@pytest.fixture
def heard(address: str) -> Iterator[Heard]:
    with listening(address) as made:
        yield made


def idle_plane() -> Plane:
    netfilter = NetfilterSettings(own_mark=0)
    return Plane(ProxySettings(), netfilter, lambda _report: None, listening=False)


async def keep_an_idle_plane_alive(manager: ServiceManager, seconds: float) -> None:
    """Serve for so long."""
    plane = idle_plane()
    async with trio.open_nursery() as nursery:
        await nursery.start(plane.serve)
        await nursery.start(keep_alive, manager, plane, lambda: "as ever")
        await trio.sleep(seconds)
        nursery.cancel_scope.cancel()


async def test_readiness_and_the_end_are_told_with_a_line_for_people(
    address: str, heard: Heard
) -> None:
    async with service_manager({"NOTIFY_SOCKET": address}) as manager:
        await manager.ready("3 Services")
        await manager.stopping(1.5)
    assert heard.all() == [
        {"READY": "1", "STATUS": "3 Services"},
        {"STOPPING": "1", "STATUS": "draining", "EXTEND_TIMEOUT_USEC": "1500000"},
    ]


async def test_a_service_manager_may_listen_on_an_abstract_socket() -> None:
    name = f"edgemesh-{uuid4().hex}"
    with listening(f"\0{name}") as heard:
        async with service_manager({"NOTIFY_SOCKET": f"@{name}"}) as manager:
            await manager.ready("here")
        assert heard.all() == [{"READY": "1", "STATUS": "here"}]


async def test_without_a_service_manager_nothing_is_told() -> None:
    async with service_manager(WATCHDOG) as manager:
        await manager.ready("here")
        assert manager.watchdog_seconds == 0


async def test_a_service_manager_that_is_not_there_is_told_of_once_and_keeps_nobody(
    address: str,
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with service_manager({"NOTIFY_SOCKET": address, **WATCHDOG}) as manager:
            await manager.ready("here")
    assert [(line["log_level"], line["socket"]) for line in logs] == [("warning", address)]


async def test_a_service_manager_that_does_not_listen_is_not_waited_for(
    address: str, heard: Heard, queued: int, autojump_clock: trio.testing.MockClock
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with service_manager({"NOTIFY_SOCKET": address}) as manager:
            for _ in range(queued + 1):
                await manager.alive("")
    assert [line["problem"] for line in logs] == ["it takes nothing for 5 s"]
    assert heard.signs() == queued


async def test_signs_of_life_come_twice_in_the_watchdogs_time(
    address: str, heard: Heard, autojump_clock: trio.testing.MockClock
) -> None:
    async with service_manager({"NOTIFY_SOCKET": address, **WATCHDOG}) as manager:
        await keep_an_idle_plane_alive(manager, seconds=21)
    ready, *signs = heard.all()
    assert ready == {"READY": "1", "STATUS": "as ever"}
    assert signs == [{"WATCHDOG": "1", "STATUS": "as ever"}] * 5


async def test_a_reactor_that_does_not_turn_gives_no_sign_of_life(
    address: str, heard: Heard, autojump_clock: trio.testing.MockClock
) -> None:
    plane = idle_plane()
    async with service_manager({"NOTIFY_SOCKET": address, **WATCHDOG}) as manager:
        with plane.reactor, trio.move_on_after(3600):
            await keep_alive(manager, plane, lambda: "")
    assert heard.all() == [{"READY": "1", "STATUS": ""}]


@pytest.mark.parametrize(
    "environment", [{}, {**WATCHDOG, "WATCHDOG_PID": str(os.getpid() + 1)}], ids=["none", "other"]
)
async def test_without_a_watchdog_of_its_own_a_process_gives_no_signs_of_life(
    address: str,
    heard: Heard,
    environment: dict[str, str],
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with service_manager({"NOTIFY_SOCKET": address, **environment}) as manager:
        await keep_an_idle_plane_alive(manager, seconds=3600)
    assert heard.signs() == 0


async def test_at_the_end_no_descriptor_is_left(
    address: str, heard: Heard, autojump_clock: trio.testing.MockClock
) -> None:
    before = open_descriptors()
    async with service_manager({"NOTIFY_SOCKET": address, **WATCHDOG}) as manager:
        await keep_an_idle_plane_alive(manager, seconds=1)
    assert heard.signs() == 1
    assert open_descriptors() == before
