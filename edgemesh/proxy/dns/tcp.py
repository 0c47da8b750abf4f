"""Connections: queries one after the other, until the client is silent or done."""

from __future__ import annotations

import trio

from edgemesh.model.settings import DnsSettings
from edgemesh.proxy.dns.framing import MessageReader, send_message
from edgemesh.proxy.dns.responder import Deferred, Responder


class StreamServer:
    """Serves connections, a bounded number at a time: beyond it the oldest gives way."""

    def __init__(self, settings: DnsSettings, responder: Responder) -> None:
        self._idle_timeout_seconds = settings.tcp_idle_timeout_seconds
        self._most_connections = settings.tcp_max_connections
        self._responder = responder
        self._connections: dict[trio.CancelScope, None] = {}

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer one client's queries in their order (RFC 7766 section 6.2.1).

        Ownership: closes the connection.
        """
        if len(self._connections) >= self._most_connections:
            oldest = next(iter(self._connections))
            oldest.cancel()
            del self._connections[oldest]
        with trio.CancelScope() as scope:
            self._connections[scope] = None
            try:
                await self._answer_all(stream)
            except trio.BrokenResourceError:
                # The client is gone; nobody is left to be told.
                pass
            finally:
                self._connections.pop(scope, None)
                await trio.aclose_forcefully(stream)

    async def _answer_all(self, stream: trio.SocketStream) -> None:
        reader = MessageReader(stream)
        while True:
            message = None
            with trio.move_on_after(self._idle_timeout_seconds):
                message = await reader.receive()
            reply = b"" if message is None else await self._answer(message)
            if not reply:
                return
            with trio.move_on_after(self._idle_timeout_seconds) as sending:
                await send_message(stream, reply)
            if sending.cancelled_caught:
                return

    async def _answer(self, message: bytes) -> bytes:
        reply = self._responder.answer_stream(message)
        if not isinstance(reply, Deferred):
            return reply
        arrived = trio.Event()
        replies: list[bytes] = []

        def deliver(late: bytes) -> None:
            replies.append(late)
            arrived.set()

        reply.deliver = deliver
        await arrived.wait()
        return replies[0]
