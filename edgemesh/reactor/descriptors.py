"""Virtual descriptors: what epoll does for the kernel's, done for sockets it knows nothing of.

They are negative numbers, so that none of them is ever taken for one of the kernel's. Readiness is
level-triggered: a descriptor stands in a queue as long as something is ready that its handler has
asked for, and each turn of the reactor goes through the queue once, so that they take turns.
"""

from __future__ import annotations

import os
import select
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgemesh.reactor.reactor import Handler

# Both are told whether they were asked for or not (epoll_ctl(2)).
_ALWAYS = select.EPOLLERR | select.EPOLLHUP
# -1 is what the kernel, and Python with it, says of a socket that is closed.
_FIRST = -2


class Descriptor:
    """One of them.

    Attributes:
        number: below -1.
        ready: events that are ready.
        wanted: those that the handler has asked for.
        handler: None for one that nobody watches.
        newcomer: see `Reactor.watch_newcomer`.
        queued: it stands in a queue, perhaps for nothing by now.
    """

    __slots__ = ("_all", "handler", "newcomer", "number", "queued", "ready", "wanted")

    def __init__(self, descriptors: Descriptors, number: int) -> None:
        """Be ready for nothing; made by `Descriptors.open`."""
        self._all = descriptors
        self.number = number
        self.ready = 0
        self.wanted = 0
        self.handler: Handler | None = None
        self.newcomer = False
        self.queued = False

    def set_ready(self, events: int) -> None:
        """Say what is ready from now on."""
        self.ready = events
        if not self.queued and self.due():
            self._all.queue(self)

    def due(self) -> int:
        """The events that its handler is to be told of now."""
        return self.ready & (self.wanted | _ALWAYS) if self.handler is not None else 0


class Descriptors:
    """All of one reactor.

    Attributes:
        flows, newcomers: queues of those that are ready, the longest waiting first.
        unattended: the reactor waits for the kernel, so it has to be woken for what is ready here.
    """

    def __init__(self, epoll: select.epoll) -> None:
        """Wake who waits for ``epoll``."""
        self.flows: deque[Descriptor] = deque()
        self.newcomers: deque[Descriptor] = deque()
        self.unattended = False
        self._epoll = epoll
        self._numbers = _FIRST
        self._open: dict[int, Descriptor] = {}
        self._wake_fd = -1

    def close(self) -> None:
        """Close what wakes the reactor."""
        self.unattended = False
        if self._wake_fd >= 0:
            os.close(self._wake_fd)
            self._wake_fd = -1

    def watched(self) -> int:
        """How many have a handler."""
        return sum(descriptor.handler is not None for descriptor in self._open.values())

    def open(self) -> Descriptor:
        """A descriptor that is ready for nothing; its number is never used again."""
        if self._wake_fd < 0:
            self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            # Edge-triggered: each write is told once, and nobody has to read.
            self._epoll.register(self._wake_fd, select.EPOLLIN | select.EPOLLET)
        descriptor = Descriptor(self, self._numbers)
        self._open[descriptor.number] = descriptor
        self._numbers -= 1
        return descriptor

    def release(self, descriptor: Descriptor) -> None:
        """Forget one whose socket is closed."""
        descriptor.handler = None
        self._open.pop(descriptor.number, None)

    def watch(self, number: int, handler: Handler, events: int, *, newcomer: bool) -> None:
        """Call ``handler`` when ``events`` are ready, whatever held before."""
        descriptor = self._open[number]
        if descriptor.queued and descriptor.newcomer is not newcomer:
            (self.newcomers if descriptor.newcomer else self.flows).remove(descriptor)
            descriptor.queued = False
        descriptor.newcomer = newcomer
        descriptor.handler = handler
        descriptor.wanted = events
        if not descriptor.queued and descriptor.due():
            self.queue(descriptor)

    def forget(self, number: int) -> None:
        """Call nobody for ``number`` any more; one that is not open is forgotten already."""
        descriptor = self._open.get(number)
        if descriptor is not None:
            descriptor.handler = None

    def readiness(self, number: int) -> int:
        """The events that are ready, watched or not."""
        return self._open[number].ready

    def queue(self, descriptor: Descriptor) -> None:
        """Let one that is due wait for its turn."""
        descriptor.queued = True
        (self.newcomers if descriptor.newcomer else self.flows).append(descriptor)
        if self.unattended:
            self.unattended = False
            os.eventfd_write(self._wake_fd, 1)
