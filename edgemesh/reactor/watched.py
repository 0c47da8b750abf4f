"""An epoll set, and who handles what is in it."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgemesh.reactor.reactor import Handler


class Watched:
    """An epoll set, and the handlers of the descriptors in it.

    Ownership: `epoll` is closed by who made this.
    """

    __slots__ = ("epoll", "handlers")

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.handlers: dict[int, Handler] = {}

    def put(self, fd: int, handler: Handler, events: int) -> None:
        if fd in self.handlers:
            self.epoll.modify(fd, events)
        else:
            self.epoll.register(fd, events)
        self.handlers[fd] = handler

    def drop(self, fd: int) -> None:
        if self.handlers.pop(fd, None) is not None:
            self.epoll.unregister(fd)
