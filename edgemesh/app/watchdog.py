"""The service manager's watchdog: it is told that the process is alive while the reactor turns."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from edgemesh.app.notify import ServiceManager
from edgemesh.proxy.plane import Plane
from edgemesh.reactor.reactor import IN


async def keep_alive(
    manager: ServiceManager,
    plane: Plane,
    status: Callable[[], str],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Tell that the service is ready, then that it is alive, until cancelled.

    No sign of life is given before the reactor has handled an event of ours: neither a loop that
    hangs nor a reactor that does not turn passes for alive.

    Args:
        manager: who is told.
        plane: serves already.
        status: one line for people, asked for with each sign.
        task_status: started once readiness is told.
    """
    await manager.ready(status())
    task_status.started()
    if not manager.watchdog_seconds:
        return
    with _pulse(plane) as pulse:
        while True:
            await pulse.beat()
            await manager.alive(status())
            await trio.sleep(manager.watchdog_seconds / 2)


class _Pulse:
    """An event that is handled in the reactor's turns, as those of flows are."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._handled = trio.Event()

    async def beat(self) -> None:
        """Wait until the reactor has handled one more event."""
        self._handled = trio.Event()
        os.eventfd_write(self._descriptor, 1)
        await self._handled.wait()

    def on_events(self, _events: int) -> None:
        os.eventfd_read(self._descriptor)
        self._handled.set()

    def on_bug(self, _error: Exception) -> None:
        """Nothing is held; the reactor has logged it, and no further sign of life is given."""


@contextmanager
def _pulse(plane: Plane) -> Iterator[_Pulse]:
    descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    pulse = _Pulse(descriptor)

    def end() -> None:
        plane.at_end.remove(end)
        plane.reactor.unregister(descriptor)
        os.close(descriptor)

    plane.reactor.watch(descriptor, pulse, IN)
    # When all is cancelled at once the plane may end first, and its reactor with it.
    plane.at_end.append(end)
    try:
        yield pulse
    finally:
        if end in plane.at_end:
            end()
