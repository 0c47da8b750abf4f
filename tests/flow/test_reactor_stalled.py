"""A process that stood still finds events and deadlines at once: what came in time counts first."""

from __future__ import annotations

import select
import socket

import trio.testing
from link_fixtures import Clock, a_reactor, until

from edgemesh.reactor.reactor import IN, Reactor
from edgemesh.reactor.timers import TICK_SECONDS

DEADLINE_SECONDS = 2.0
# Which of two tasks that can go on trio lets go first is drawn by lot.
TIMES = 20


class Awaited:
    """What waits for a byte, but not for ever."""

    def __init__(self, reactor: Reactor, sock: socket.socket) -> None:
        self._reactor = reactor
        self._sock = sock
        self.end = ""
        reactor.watch_newcomer(sock.fileno(), self, IN)
        self._timer = reactor.after(DEADLINE_SECONDS, self, self.give_up)

    def on_events(self, _events: int) -> None:
        self._timer.cancel()
        self._finish("came")

    def give_up(self) -> None:
        self._finish("given up")

    def on_bug(self, error: Exception) -> None:
        """The reactor has counted it."""

    def _finish(self, end: str) -> None:
        self._reactor.unregister(self._sock.fileno())
        self.end = end


async def test_what_came_while_the_process_stood_still_came_before_its_deadline() -> None:
    clock = Clock()
    async with a_reactor(clock) as reactor:
        for _ in range(TIMES):
            ours, theirs = socket.socketpair()
            with ours, theirs:
                awaited = Awaited(reactor, ours)
                # Now both the turns and the timers wait.
                await trio.testing.wait_all_tasks_blocked()
                theirs.send(b"!")
                clock.skipped += 2 * DEADLINE_SECONDS
                # So does a process stand still.
                select.select([], [], [], 2 * TICK_SECONDS)
                await until(lambda a=awaited: a.end)
                assert awaited.end == "came"
