"""The socket of a connection to an endpoint: from dialling to its end, and what is sent on it."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from edgemesh.kernel.sockets import Address, Socket, fin_on_close
from edgemesh.model.policies import Path, RetryOn
from edgemesh.policy.traffic.upstream import Upstream
from edgemesh.proxy.connecting import Connecting, pooled_socket, reason_of, taken_way
from edgemesh.proxy.context import Context
from edgemesh.proxy.http1.pool import PoolKey
from edgemesh.reactor.reactor import HANGUP_IN, IN, OUT, Handler

if TYPE_CHECKING:
    from edgemesh.proxy.http1.carrier import RequestCarrier

ASKED_TO_READ = IN | HANGUP_IN


class EndpointSocket(Handler):
    """What a connection to an endpoint is apart from HTTP.

    Attributes:
        key: where the pool keeps it.
        generation: that of the endpoint's state when it was opened.
        upstream: the Service port, or subset, whose connections it counts among.
        carrier: whose request is on it, None while it waits in the pool.
        unsent: of the request, not taken by the socket yet.
        idle_since: when it was put into the pool.

    Ownership: it closes its socket, unless it was given away by `leave`.
    """

    __slots__ = (
        "_connecting",
        "_context",
        "_fd",
        "_sock",
        "_watched",
        "carrier",
        "generation",
        "idle_since",
        "key",
        "unsent",
        "upstream",
    )

    def __init__(self, context: Context, key: PoolKey, upstream: Upstream) -> None:
        """Prepare; see `dial`."""
        self._context = context
        self._sock: Socket | None = None
        self._fd = -1
        self._connecting: Connecting | None = None
        self._watched = 0
        self.key = key
        self.generation = key[0].generation
        self.upstream = upstream
        self.carrier: RequestCarrier | None = None
        self.unsent: bytes | memoryview = b""
        self.idle_since = 0.0

    @property
    def way(self) -> str:
        """How it goes by the bus, "" where it does not."""
        return "" if self._sock is None else taken_way(self._sock, self.key[2])

    @property
    def is_ready(self) -> bool:
        """Whether more of the request may be read from the carrier."""
        return self._connecting is None and not self.unsent

    def dial(self, seconds: float, client: Address) -> int:
        """Start connecting.

        Args:
            seconds: for it, 0 for as long as the kernel tries.
            client: whose request it is opened for.

        Returns:
            0, or the errno that says why there will be no connection.
        """
        context = self._context
        sock, problem = pooled_socket(context, self.key, self.upstream.port, client)
        if sock is None:
            return problem
        self._sock = sock
        self._fd = sock.fileno()
        self.upstream.open_connection(self.key[0])
        self._connecting = Connecting(context, sock, seconds, self, self._connected)
        return 0

    def _connected(self, problem: int) -> None:
        """Send the request, or tell it that there is no connection."""
        if problem:
            assert self._sock is not None
            self._connect_failed(reason_of(self._sock) or os.strerror(problem))
            return
        meters = self._context.metrics.meters
        meters.held(self.upstream.port, self.key[0], Path.HTTP).connections += 1
        self._connecting = None
        self.watch()
        carrier = self.carrier
        assert carrier is not None
        self.send(carrier.request_bytes())
        carrier.upstream_is_ready()

    def _connect_failed(self, why: str) -> None:
        carrier = self.carrier
        self.close()
        if carrier is not None:
            carrier.failed(RetryOn.CONNECT_FAILURE, why, untouched=True)

    def send(self, data: bytes) -> None:
        """Send some of the request; what the socket does not take is kept as ``unsent``."""
        assert self._sock is not None
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            # Its last words, an early answer perhaps, may be here still: reading tells.
            return
        if sent < len(data):
            self.unsent = memoryview(data)[sent:]
            self.watch()

    def has_ended(self) -> bool:
        """Whether the endpoint has closed a connection that waited, or said something unasked.

        The reactor tells that, too, but perhaps later in this turn.
        """
        assert self._sock is not None
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def send_unsent(self, carrier: RequestCarrier) -> None:
        """Send what waits; when it is gone the carrier may go on."""
        data, self.unsent = self.unsent, b""
        assert isinstance(data, memoryview)
        assert self._sock is not None
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = len(data)
        if sent < len(data):
            self.unsent = data[sent:]
            return
        self.watch()
        carrier.upstream_is_ready()

    def abandon(self) -> None:
        """The request that is on it was given up: no other can follow it."""
        self.carrier = None
        self.close()

    def leave(self) -> Socket:
        """Give the socket away; its place is counted until `released`."""
        sock = self._sock
        assert sock is not None
        self._context.reactor.unregister(self._fd)
        self._sock = None
        self.carrier = None
        return sock

    def close(self, *, reset: bool = True) -> None:
        """Close the connection, with a FIN if nothing is lost by it; a second call does nothing."""
        sock, self._sock = self._sock, None
        if sock is None:
            return
        if self._connecting is not None:
            self._connecting.stop()
        self.carrier = None
        if not reset:
            fin_on_close(sock)
        self._context.reactor.close(sock)
        self.released()

    def released(self) -> None:
        """The socket is closed: another may take its place."""
        self.upstream.close_connection(self.key[0])
        self._context.http.pool.serve_waiting(self.upstream)

    def watch(self) -> None:
        """Register for what this connection can act on now."""
        carrier = self.carrier
        wanted = 0 if carrier is not None and carrier.out.unsent else ASKED_TO_READ
        if self.unsent:
            wanted |= OUT
        if wanted != self._watched:
            self._watched = wanted
            self._context.reactor.watch(self._fd, self, wanted)
