"""The reactor: one trio task that waits on an epoll set of its own and calls handlers.

A trio task switch for every message costs more than the message itself, so the data plane's
sockets are not known to trio. trio waits for one thing, that the epoll set has something, and
keeps what it is best at: lifetime, cancellation, and running everything else in between.

House rules for handlers:
- They are synchronous and never block.
- epoll is level-triggered: what a handler leaves unread comes again in the next turn.
- One event is one bounded piece of work. That is what makes the turn fair.
- Flows come first. Whatever is not forwarded yet (listeners, connections that are looked at or
  dialled for) is a newcomer: together they get a slice of the turn, so that a thousand calls at
  once cost the flows there are no more than one slice at a time. Deadlines get slices as well.
- A socket is closed by `Reactor.close`, which waits for the end of the turn: a file descriptor
  must not be reused while events of its former owner are still in the batch.

Descriptors below -1 are those of virtual sockets (`virtual.py`): they are watched in the same way,
and have their events in the same turns.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

import trio

from edgemesh.observe.log import get_logger
from edgemesh.reactor.descriptors import Descriptor, Descriptors
from edgemesh.reactor.timers import TICK_SECONDS, Timer, TimerWheel
from edgemesh.reactor.watched import Watched

IN = select.EPOLLIN
OUT = select.EPOLLOUT
HANGUP_IN = select.EPOLLRDHUP
HANGUP = select.EPOLLHUP
ERROR = select.EPOLLERR

_BATCH = 256
# Newcomers and deadlines are attended to for so long before flows have their turn again.
_SLICE_SECONDS = 0.0001
# Under a load of flows newcomers get so many times what those take instead, if it is more: an
# accept and a dial cost about twice as much as a round trip.
_NEWCOMERS_SHARE = 2
# Asked for at once: what a slice has no time for is asked for again.
_NEWCOMERS_BATCH = 8
# One stretch of turns may not keep trio's other tasks waiting for longer than this.
_STRETCH_SECONDS = 0.002
# Re-polling pays when it finds work at least about every second time; the balance says whether
# it did lately, and every so often it is tried again.
_REPOLL_BALANCE_MAX = 16
_REPOLL_PROBE_EVERY = 32

_log = get_logger("reactor")


class Handler(Protocol):
    """What is registered for a file descriptor."""

    def on_events(self, events: int) -> None:
        """Do one bounded piece of work."""
        ...

    def on_bug(self, error: Exception) -> None:
        """Release everything; `on_events` or a timer has raised what it never should."""
        ...


class Closable(Protocol):
    """A socket, as far as the reactor has to know it."""

    def fileno(self) -> int:
        """Its descriptor."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class Reactor:
    """Sockets, their handlers and their deadlines. Starts nothing: see `run`.

    Ownership: a context manager that closes the epoll sets; sockets belong to their handlers,
    which close them by `close`.

    Attributes:
        clock: monotonic, in seconds.
        now: its last reading, at the begin of this turn.
        turns: how often there was something to do.
        bugs: exceptions that handlers and timers should not have raised.
        descriptors: those of virtual sockets.
    """

    def __init__(self, repoll_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Make the epoll sets; that of newcomers is a member of that of flows.

        Args:
            repoll_seconds: how long to look again after a turn that found work; 0 for never.
            clock: monotonic, in seconds.
        """
        self.clock = clock
        self.now = clock()
        self._flows = Watched()
        self._newcomers = Watched()
        self._newcomers_fd = self._newcomers.epoll.fileno()
        self._flows.epoll.register(self._newcomers_fd, IN)
        self.descriptors = Descriptors(self._flows.epoll)
        self._virtual_flows = self.descriptors.flows
        self._virtual_newcomers = self.descriptors.newcomers
        self._slice_end = self.now
        self._closing: list[Closable] = []
        self._soon: deque[tuple[Handler, Callable[[], None]]] = deque()
        self._wheel: TimerWheel[Handler] = TimerWheel(self.now)
        self._wheel_used = trio.Event()
        self._repoll_seconds = repoll_seconds
        self.turns = 0
        self.bugs = 0

    def __enter__(self) -> Self:
        """Nothing is to be done yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close what handlers have left to be closed, and the epoll sets."""
        self._close_all()
        self.descriptors.close()
        self._newcomers.epoll.close()
        self._flows.epoll.close()

    def __len__(self) -> int:
        """How many file descriptors are registered."""
        kernels = len(self._flows.handlers) + len(self._newcomers.handlers)
        return kernels + self.descriptors.watched()

    def watch(self, fd: int, handler: Handler, events: int) -> None:
        """Call ``handler`` when ``events`` are ready on ``fd``, whatever held for it before.

        Errors and a hang-up of both directions are always reported, also with no events.
        """
        if fd < 0:
            self.descriptors.watch(fd, handler, events, newcomer=False)
            return
        self._newcomers.drop(fd)
        self._flows.put(fd, handler, events)

    def watch_newcomer(self, fd: int, handler: Handler, events: int) -> None:
        """The same for what is not forwarded yet: flows are attended to before it."""
        if fd < 0:
            self.descriptors.watch(fd, handler, events, newcomer=True)
            return
        self._flows.drop(fd)
        self._newcomers.put(fd, handler, events)

    def unregister(self, fd: int) -> None:
        """Forget ``fd``; events of it that are still in the batch are dropped."""
        if fd < 0:
            self.descriptors.forget(fd)
            return
        self._newcomers.drop(fd)
        self._flows.drop(fd)

    def is_ready(self, fd: int, events: int) -> bool:
        """Whether one of ``events``, or an error, is ready on ``fd``, though no turn has told."""
        if fd < 0:
            return bool(self.descriptors.readiness(fd) & (events | ERROR | HANGUP))
        # Those of poll(2) and epoll(7) are the same numbers.
        poller = select.poll()
        poller.register(fd, events)
        return bool(poller.poll(0))

    def slice_is_over(self) -> bool:
        """Whether a newcomer that could go on should leave the rest for the next turn."""
        return self.clock() > self._slice_end

    def close(self, sock: Closable) -> None:
        """Forget the socket now and close it at the end of the turn."""
        self.unregister(sock.fileno())
        self._closing.append(sock)

    def after(
        self, seconds: float, handler: Handler, callback: Callable[[], None]
    ) -> Timer[Handler]:
        """Call ``callback`` after ``seconds``; ``handler`` is told when it raises."""
        if not self._wheel:
            self._wheel_used.set()
        return self._wheel.set(self.now + seconds, handler, callback)

    def soon(self, handler: Handler, callback: Callable[[], None]) -> None:
        """Call ``callback`` at the end of the turn; ``handler`` is told when it raises.

        For a handler that lets another go on: what goes wrong there is not its own fault.
        """
        self._soon.append((handler, callback))

    def turn(self) -> int:
        """Handle what is ready now. Returns how many file descriptors were."""
        events = self._flows.epoll.poll(0, _BATCH)
        if not events and not self._virtual_flows and not self._virtual_newcomers:
            return 0
        self.turns += 1
        self.now = self.clock()
        handlers = self._flows.handlers
        newcomers = False
        for fd, mask in events:
            handler = handlers.get(fd)
            if handler is None:
                newcomers |= fd == self._newcomers_fd
                continue
            try:
                handler.on_events(mask)
            except Exception as error:  # noqa: BLE001 - the connection boundary
                self._bug(handler, error)
        ready = len(events)
        if self._virtual_flows:
            ready += self._attend_to_virtual()
        if newcomers or self._virtual_newcomers:
            ready += len(self._virtual_newcomers)
            self._attend_to_newcomers()
        if self._closing or self._soon:
            self.settle()
        return ready

    def _attend_to_virtual(self) -> int:
        """Handle as many as a batch of those that are ready by now; returns how many."""
        queue = self._virtual_flows
        count = min(len(queue), _BATCH)
        for _ in range(count):
            # A handler may have made a newcomer of one that waits.
            if queue:
                self._handle_virtual(queue.popleft())
        return count

    def _handle_virtual(self, descriptor: Descriptor) -> None:
        """Tell its handler what is ready; what is left of that waits for the next turn."""
        descriptor.queued = False
        events = descriptor.due()
        handler = descriptor.handler
        if not events or handler is None:
            return
        try:
            handler.on_events(events)
        except Exception as error:  # noqa: BLE001 - the connection boundary
            self._bug(handler, error)
        if not descriptor.queued and descriptor.due():
            self.descriptors.queue(descriptor)

    def _attend_to_newcomers(self) -> None:
        """Handle them until their slice is over; what is left stays ready."""
        begin = self.clock()
        self._slice_end = begin + max(_SLICE_SECONDS, _NEWCOMERS_SHARE * (begin - self.now))
        # Who comes first may leave no time for the others.
        if self.turns & 1:
            self._attend_to_virtual_newcomers()
            self._attend_to_kernels_newcomers()
        else:
            self._attend_to_kernels_newcomers()
            self._attend_to_virtual_newcomers()

    def _attend_to_virtual_newcomers(self) -> None:
        queue = self._virtual_newcomers
        for _ in range(len(queue)):
            if not queue or self.slice_is_over():
                return
            self._handle_virtual(queue.popleft())

    def _attend_to_kernels_newcomers(self) -> None:
        handlers = self._newcomers.handlers
        while not self.slice_is_over():
            events = self._newcomers.epoll.poll(0, _NEWCOMERS_BATCH)
            for fd, mask in events:
                handler = handlers.get(fd)
                if handler is None:
                    continue
                try:
                    handler.on_events(mask)
                except Exception as error:  # noqa: BLE001 - the connection boundary
                    self._bug(handler, error)
                if self.slice_is_over():
                    return
            if len(events) < _NEWCOMERS_BATCH:
                return

    def call(self, handler: Handler, callback: Callable[[], None]) -> None:
        """Let another task call into the handlers' world, between turns.

        Time is read, sockets that get closed are closed, and ``handler`` is told of a bug: as
        if ``callback`` were the work of an event.
        """
        self.now = self.clock()
        self._guard(handler, callback)
        self.settle()

    def settle(self) -> None:
        """Do what was left for the end of the turn; not for handlers, who are within one."""
        while self._soon or self._closing:
            while self._soon:
                self._guard(*self._soon.popleft())
            # To close a virtual socket is news for who carries it.
            self._close_all()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled.

        Cancellation: takes effect between turns, never within a handler. What is registered
        stays so, for the caller to release.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run_timers)
            task_status.started()
            await self._run_turns()

    async def _run_turns(self) -> None:
        fd = self._flows.epoll.fileno()
        window = self._repoll_seconds
        clock = self.clock
        balance = _REPOLL_BALANCE_MAX // 2
        skipped = 0
        while True:
            if self._virtual_flows or self._virtual_newcomers:
                await trio.lowlevel.checkpoint()
            else:
                self.descriptors.unattended = True
                await trio.lowlevel.wait_readable(fd)
                self.descriptors.unattended = False
            if not self.turn():
                continue
            if balance <= 0:
                skipped += 1
                if skipped < _REPOLL_PROBE_EVERY:
                    continue
                skipped = 0
            stretch_end = self.now + _STRETCH_SECONDS
            until = clock() + window
            while True:
                if self.turn():
                    balance = min(balance + 1, _REPOLL_BALANCE_MAX)
                    now = clock()
                    if now > stretch_end:
                        break
                    until = now + window
                elif clock() >= until:
                    balance = max(balance - 1, 0)
                    break

    async def _run_timers(self) -> None:
        while True:
            if not self._wheel:
                self._wheel_used = trio.Event()
                await self._wheel_used.wait()
            await trio.sleep(TICK_SECONDS)
            due = self.clock()
            # A process that stood still (a paused machine, no processor) finds at once what came
            # meanwhile and what it waited for too long. What came was in time: turns go first.
            # With the first of these trio asks the kernel, with the second a turn is over.
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
            self.now = self.clock()
            await self._fire(self._wheel.advance(due))

    async def _fire(self, timers: Sequence[Timer[Handler]]) -> None:
        """Call back in slices, with turns in between: a crowd that came at once expires at once."""
        for timer in timers:
            # One that fired before it, or a turn since then, may have cancelled it.
            if timer.callback is not None and timer.owner is not None:
                self._guard(timer.owner, timer.callback)
            if self.clock() - self.now > _SLICE_SECONDS:
                self.settle()
                await trio.lowlevel.checkpoint()
                self.now = self.clock()
        self.settle()

    def _guard(self, handler: Handler, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception as error:  # noqa: BLE001 - the connection boundary, not from an event
            self._bug(handler, error)

    def _bug(self, handler: Handler, error: Exception) -> None:
        self.bugs += 1
        _log.error("bug in a connection", handler=type(handler).__name__, exc_info=error)
        handler.on_bug(error)

    def _close_all(self) -> None:
        closing, self._closing = self._closing, []
        for sock in closing:
            sock.close()
