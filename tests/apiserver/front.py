"""What API server and MetaServer have in common: connections, what came over them, faults."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, TypeVar

import h11
import trio

from apiserver.answers import JSON, Answer, RefusedError, Request
from apiserver.cluster import Cluster
from apiserver.connection import Exchange, Headers, serve_connection
from apiserver.faults import Fault, Faults, Lot, refusal
from apiserver.manners import Manners
from apiserver.resources import parse_path

Send = Callable[[bytes], Awaitable[None]]


class Streamed(Protocol):
    """A watch that was accepted."""

    async def run(self, send: Send) -> None:
        """Tell what changes until the watch ends."""


@dataclass(eq=False)
class Front(Cluster):
    """A server before the cluster.

    Attributes:
        url: where it listens, without a path.
        faults: what goes wrong.
        requests: all that came.
        manners: what a client did that no client must do.
        watches: those that are open now, with their requests.
        connections: that are open now.
        always: headers of all answers.
        accounting: headers of all answers but to strangers.
    """

    always: ClassVar[Headers] = ()
    accounting: ClassVar[Headers] = ()
    url: str = ""
    faults: Faults | None = None
    requests: list[Request] = field(default_factory=list)
    manners: Manners = field(default_factory=Manners)
    watches: dict[trio.CancelScope, Request] = field(default_factory=dict)
    connections: int = 0

    @property
    def violations(self) -> list[str]:
        """What a client did that no client must do, in words."""
        return self.manners.violations

    async def result(self, request: Request) -> Answer | Streamed:
        """What a request is answered with.

        Raises:
            RefusedError: that is a failure.
        """
        raise NotImplementedError

    async def expired(self, request: Request) -> Answer | Streamed:
        """The same, where the lot wants it to be about too old a time."""
        return await self.result(request)

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one connection, of TCP or in memory."""
        self.connections += 1
        try:
            await serve_connection(stream, self._handle)
        except h11.RemoteProtocolError as error:
            self.violations.append(f"not HTTP: {error}")
        finally:
            self.connections -= 1

    def end_watches(self, plural: str = "") -> None:
        """End the open watches, of one type or all, as a server does that goes down in order."""
        for scope, request in list(self.watches.items()):
            target = parse_path(request.path)
            if not plural or (target is not None and target.plural == plural):
                scope.cancel()

    async def _handle(self, exchange: Exchange) -> None:
        request = exchange.request
        self.requests.append(request)
        self.manners.see(request)
        exchange.lot = None if self.faults is None else self.faults.draw(request)
        try:
            result = await self._drawn(request, exchange.lot)
        except RefusedError as error:
            result = error.answer
        if isinstance(result, Answer):
            self.manners.answered(request, result, trio.current_time())
            accounted = () if result.status == 401 else self.accounting
            await exchange.answer(result, (*self.always, *result.headers, *accounted))
        else:
            await self._stream(exchange, result)

    async def _drawn(self, request: Request, lot: Lot | None) -> Answer | Streamed:
        if lot is None:
            return await self.result(request)
        if lot.fault is Fault.EXPIRED:
            return await self.expired(request)
        return refusal(lot) or await self.result(request)

    async def _stream(self, exchange: Exchange, streamed: Streamed) -> None:
        headers = (*self.always, ("Content-Type", JSON), *self.accounting)

        async def run(send: Send) -> None:
            with trio.CancelScope() as scope:
                self.watches[scope] = exchange.request
                try:
                    await streamed.run(send)
                finally:
                    del self.watches[scope]

        await exchange.tell(headers, run)


_Served = TypeVar("_Served", bound=Front)


@asynccontextmanager
async def listening(
    server: _Served, host: str, port: int, tls: ssl.SSLContext | None = None
) -> AsyncIterator[_Served]:
    """Serve on TCP, or on TLS; port 0 is any that is free."""
    (listener,) = await trio.open_tcp_listeners(port, host=host)
    scheme = "http" if tls is None else "https"
    server.url = f"{scheme}://{host}:{listener.socket.getsockname()[1]}"
    served = listener if tls is None else trio.SSLListener(listener, tls, https_compatible=True)
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, server.serve, [served])
        try:
            yield server
        finally:
            nursery.cancel_scope.cancel()
