"""Accept and recover: take what the rules divert, and learn where it was going."""

from __future__ import annotations

import errno
import socket

from edgemesh.kernel.sockets import Address, redirected_destination
from edgemesh.model.flows import Ending, Refusal
from edgemesh.model.services import Transport
from edgemesh.observe.log import get_logger
from edgemesh.proxy.context import Context
from edgemesh.proxy.flow import Flow
from edgemesh.proxy.resolve import resolve
from edgemesh.reactor.reactor import IN

# How long accepting pauses when descriptors or memory have run out; epoll would spin otherwise.
_PAUSE_SECONDS = 0.25
# Destinations whose flows share one object; they are few, and those who scan are to find an end.
_DESTINATIONS = 4096
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_log = get_logger("accept")


class TcpAcceptor:
    """The handler of one transparent listener."""

    def __init__(self, context: Context, listener: socket.socket, *, redirected: bool) -> None:
        """Prepare; `start` registers.

        Args:
            context: of the data plane.
            listener: non-blocking and listening; closed by `stop`, if not by the caller before.
            redirected: whether a REDIRECT rule brings the connections; else TPROXY does.
        """
        self._context = context
        self._listener = listener
        self._redirected = redirected
        self._exhausted = False
        self._beginning: Flow | None = None
        self._destinations: dict[Address, Address] = {}

    def start(self) -> None:
        """Accept from now on."""
        self._context.reactor.watch_newcomer(self._listener.fileno(), self, IN)

    def stop(self) -> None:
        """Accept what has been connected already, then nothing more: the listener is closed."""
        while self._accept_some():
            pass
        self._context.reactor.close(self._listener)

    def on_events(self, events: int) -> None:  # noqa: ARG002 - there is but one
        """Accept what has come, as long as the turn's slice lasts."""
        self._accept_some()

    def on_bug(self, error: Exception) -> None:
        """End the flow that was just begun; the others go on."""
        if self._beginning is not None:
            self._beginning.finish(Ending.ERROR, type(error).__name__)
            self._beginning = None

    def _accept_some(self) -> bool:
        """Take at least one, until the slice is over; true when there may be more."""
        reactor = self._context.reactor
        while True:
            try:
                client, address = self._listener.accept()
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause(error)
                # accept(2): errors of the connection itself are to be treated like EAGAIN.
                return False
            self._exhausted = False
            client.setblocking(False)
            self._begin(client, (address[0], address[1]))
            if reactor.slice_is_over():
                return True

    def _begin(self, client: socket.socket, address: tuple[str, int]) -> None:
        context = self._context
        if len(context.flows) >= context.settings.max_connections:
            self._turn_away(client, Refusal.LIMIT)
            return
        try:
            if self._redirected:
                destination = redirected_destination(client)
            else:
                destination = client.getsockname()[:2]
        except OSError:
            # ENOENT: nothing was translated, so the listener itself was called. ENOTCONN and
            # the like: the client is gone already.
            self._turn_away(client, Refusal.SELF_DESTINATION)
            return
        self._beginning = Flow(context, client, address, self._shared(destination))
        resolve(self._beginning)
        self._beginning = None

    def _shared(self, destination: Address) -> Address:
        """The same object for all flows to a place: 146 bytes less for each of them."""
        if len(self._destinations) >= _DESTINATIONS:
            self._destinations.clear()
        return self._destinations.setdefault(destination, destination)

    def _turn_away(self, client: socket.socket, refusal: Refusal) -> None:
        client.close()
        self._context.reports.turned_away(Transport.TCP, refusal)

    def _pause(self, error: OSError) -> None:
        if not self._exhausted:
            self._exhausted = True
            _log.warning("accepting pauses", problem=error.strerror, seconds=_PAUSE_SECONDS)
        reactor = self._context.reactor
        reactor.unregister(self._listener.fileno())
        reactor.after(_PAUSE_SECONDS, self, self._resume)

    def _resume(self) -> None:
        if self._listener.fileno() >= 0:
            self.start()
