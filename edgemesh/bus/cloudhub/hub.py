"""cloudhub: nodes come in, are sent what the store has, and are heard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream
from wsproto.utilities import LocalProtocolError

from edgemesh.bus.close_codes import CloseCode
from edgemesh.bus.cloudhub.door import Admission
from edgemesh.bus.cloudhub.refusals import Reason, Refusals
from edgemesh.bus.cloudhub.requests import send_answer
from edgemesh.bus.cloudhub.session import Session
from edgemesh.bus.cloudhub.sessions import Sessions
from edgemesh.bus.cloudhub.stream import LimitedStream
from edgemesh.bus.cloudhub.upgrade import VERSION, VERSION_HEADER
from edgemesh.model.bus_settings import CloudSettings
from edgemesh.wire.message import Message

# A node that is told why it is cut off has so long to hear it.
_FAREWELL_SECONDS = 1.0


class Hub:
    """Serves nodes that have been let in.

    Args:
        settings: limits and times.
        sessions: who is connected.
        begin: is given every session before it runs.
        handle: is given what a node says.
        refusals: where what is refused is counted.
    """

    def __init__(
        self,
        settings: CloudSettings,
        sessions: Sessions,
        begin: Callable[[Session], None],
        handle: Callable[[Session, Message], Awaitable[None]],
        refusals: Refusals,
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._begin = begin
        self._handle = handle
        self._refusals = refusals

    async def receive(self, admission: Admission) -> None:
        """Serve one node to the end of its connection, which the caller closes."""
        caller = admission.caller
        newcomer = self._sessions.get(caller.node) is None
        if newcomer and len(self._sessions) >= self._settings.max_nodes:
            self._refusals.count(Reason.TOO_MANY_NODES, caller.node)
            await self._turn_away(admission)
            return
        try:
            await self._serve(admission)
        except* (ConnectionClosed, trio.BrokenResourceError, LocalProtocolError):
            # trio-websocket lets some of its own sends fail in its reader: the answer to a ping,
            # say, that arrives while we close.
            pass

    async def _serve(self, admission: Admission) -> None:
        session: Session | None = None
        too_large: list[str] = []

        def refuse(problem: str) -> None:
            self._refusals.count(Reason.TOO_LARGE, admission.caller.node, problem)
            too_large.append(problem)
            if session is not None:
                session.end(CloseCode.TOO_LARGE, problem)

        limit = self._settings.max_message_bytes
        stream = LimitedStream(admission.stream, admission.head, admission.ahead, limit, refuse)
        async with trio.open_nursery() as nursery:
            connection = await self._upgrade(nursery, stream)
            if connection is None:
                # The library has found something wrong that we have not, and does not say so.
                self._refusals.count(Reason.MALFORMED_UPGRADE, admission.caller.node)
            else:
                session = Session(
                    admission.caller, connection, self._settings, self._refusals, self._handle
                )
                if too_large:
                    session.end(CloseCode.TOO_LARGE, too_large[0])
                self._begin(session)
                await self._sessions.run(session)
                await _say_farewell(session, connection)
            nursery.cancel_scope.cancel()

    async def _upgrade(
        self, nursery: trio.Nursery, stream: trio.abc.Stream
    ) -> WebSocketConnection | None:
        limit = self._settings.max_message_bytes
        with trio.move_on_after(self._settings.handshake_seconds):
            request = await wrap_server_stream(nursery, stream, max_message_size=limit)
            headers = [(VERSION_HEADER.encode(), VERSION.encode())]
            return await request.accept(extra_headers=headers)
        return None

    async def _turn_away(self, admission: Admission) -> None:
        text = f"{self._settings.max_nodes} nodes are connected already (cloud.max_nodes)"
        try:
            with trio.move_on_after(self._settings.handshake_seconds):
                await send_answer(admission.stream, 503, "text/plain", text.encode())
        except trio.BrokenResourceError:
            return


async def _say_farewell(session: Session, connection: WebSocketConnection) -> None:
    """Tell an edgemesh node why its connection ends; KubeEdge's know no close frames."""
    if session.farewell is not None and session.caller.edgemesh:
        with trio.move_on_after(_FAREWELL_SECONDS):
            await connection.aclose(*session.farewell)
