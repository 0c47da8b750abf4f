"""Where other ends dial: connections become links."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

from edgemesh.observe.log import get_logger
from edgemesh.reactor.reactor import IN, Handler, Reactor
from edgemesh.reactor.timers import Timer

_log = get_logger("links")
# Accepted within one event.
_BUDGET = 8
# Without descriptors accepting pauses: the kernel would tell of who waits again and again.
_PAUSE_SECONDS = 1.0
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class LinkListener:
    """The handler of one listening socket.

    Ownership: the socket is the caller's; what is accepted belongs to ``take``.
    """

    __slots__ = ("_reactor", "_sock", "_take", "_timer")

    def __init__(
        self, reactor: Reactor, sock: socket.socket, take: Callable[[socket.socket], None]
    ) -> None:
        """Accept nothing before `start`."""
        self._reactor = reactor
        self._sock = sock
        self._take = take
        self._timer: Timer[Handler] | None = None

    def start(self) -> None:
        """Accept from now on."""
        self._timer = None
        self._reactor.watch_newcomer(self._sock.fileno(), self, IN)

    def stop(self) -> None:
        """Accept no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._reactor.unregister(self._sock.fileno())

    def on_events(self, events: int) -> None:  # noqa: ARG002 - a listener has only one
        """Accept a few."""
        for _ in range(_BUDGET):
            try:
                sock, _address = self._sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause(error)
                return
            sock.setblocking(False)
            self._take(sock)

    def on_bug(self, error: Exception) -> None:
        """The reactor has logged it; others may still come."""

    def _pause(self, error: OSError) -> None:
        _log.warning("links cannot be accepted now", problem=error.strerror)
        self._reactor.unregister(self._sock.fileno())
        self._timer = self._reactor.after(_PAUSE_SECONDS, self, self.start)
