"""What a service manager is told: readiness, a line of status, and that this process is alive.

The protocol is that of sd_notify(3): datagrams of ``NAME=value`` lines to the unix socket that the
environment names. systemd speaks it, and so do others who start services.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import trio

from edgemesh.observe.log import get_logger

# A manager whose queue is full for so long is not waited for: calls matter more.
_PATIENCE_SECONDS = 5.0
_MICROSECONDS = 1_000_000

_log = get_logger("notify")


class ServiceManager:
    """Who has started this process and wants to be told of it; made by `service_manager`.

    Without one, nothing happens. What cannot be told is logged, and no more: a service manager
    that wants to hear acts on silence itself.
    """

    def __init__(self, to: trio.socket.SocketType | None, watchdog_seconds: float) -> None:
        """Be able to tell; see `service_manager`.

        Args:
            to: connected to the service manager, None where there is none.
            watchdog_seconds: silence after which it takes this process for hung; 0 for never.
        """
        self.watchdog_seconds = watchdog_seconds
        self._to = to

    async def ready(self, status: str) -> None:
        """Tell that the service is there, so that what comes after it may begin."""
        await self._tell("READY=1", f"STATUS={status}")

    async def stopping(self, grace_seconds: float) -> None:
        """Tell that the end has begun, and may take so long."""
        microseconds = round(grace_seconds * _MICROSECONDS)
        await self._tell("STOPPING=1", "STATUS=draining", f"EXTEND_TIMEOUT_USEC={microseconds}")

    async def alive(self, status: str) -> None:
        """Give a sign of life, due every half of `watchdog_seconds` (sd_watchdog_enabled(3))."""
        await self._tell("WATCHDOG=1", f"STATUS={status}")

    async def _tell(self, *lines: str) -> None:
        if self._to is None:
            return
        problem = f"it takes nothing for {_PATIENCE_SECONDS:g} s"
        with trio.move_on_after(_PATIENCE_SECONDS):
            try:
                await self._to.send("\n".join(lines).encode())
            except OSError as error:
                problem = str(error.strerror)
            else:
                return
        _log.warning("the service manager cannot be told", problem=problem)


@asynccontextmanager
async def service_manager(
    environment: Mapping[str, str] = os.environ,
) -> AsyncIterator[ServiceManager]:
    """The service manager that the environment tells of, or one that nobody hears.

    Args:
        environment: ``NOTIFY_SOCKET`` is the path of a unix socket, ``@`` for the null byte of
            abstract ones; ``WATCHDOG_USEC`` holds for the process ``WATCHDOG_PID``.

    Ownership: closes the socket at the end.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    if not address:
        yield ServiceManager(None, 0)
        return
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        try:
            await to.connect(f"\0{address[1:]}" if address.startswith("@") else address)
        except OSError as error:
            _log.warning("no service manager", socket=address, problem=error.strerror)
            yield ServiceManager(None, 0)
            return
        yield ServiceManager(to, _watchdog_seconds(environment))


def _watchdog_seconds(environment: Mapping[str, str]) -> float:
    microseconds = environment.get("WATCHDOG_USEC", "")
    # Children inherit the environment, and are not meant.
    meant = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(microseconds) / _MICROSECONDS if meant and microseconds.isdecimal() else 0.0
