"""A CloudCore that behaves as the recorded one, to try an edge with.

TLS and WebSocket are real. What CloudCore does not say it does not say either: who is refused
sees an upgraded connection on which nothing happens. What an edge does that EdgeCore would not
is in ``violations``.
"""

from __future__ import annotations

import ssl
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio
from kubeedge_pace import RESENDS, Pace
from kubeedge_store import FakeStore
from pki_fixtures import a_cloud
from trio_websocket import (
    ConnectionClosed,
    HandshakeError,
    WebSocketConnection,
    WebSocketRequest,
    wrap_server_stream,
)

from edgemesh.bus.pki.authority import Authority
from edgemesh.bus.pki.checks import node_of
from edgemesh.bus.pki.contexts import server_context
from edgemesh.bus.pki.problems import CertificateProblem
from edgemesh.wire.kubeedge import answers, router, session
from edgemesh.wire.message import (
    Message,
    MessageError,
    NotAnObjectError,
    Operation,
    ResourcePath,
    Stamp,
    decode_message,
    encode_message,
)


def a_stamp() -> Stamp:
    return Stamp(str(uuid.uuid4()), time.time_ns() // 1_000_000)


@dataclass(eq=False)
class EdgeSession:
    """One connection of an edge.

    Attributes:
        node: its node_id.
        use: its ConnectionUse.
        accepted: whether it is answered at all.
        heard: everything it said.
        headers: of its upgrade.
        pushed: ids of the Messages that were pushed to it.
        acknowledged: ids of all that it acknowledged; some of them are of answers.
    """

    node: str
    use: str
    accepted: bool
    headers: Mapping[str, str]
    stream: trio.SSLStream[trio.SocketStream]
    connection: WebSocketConnection
    heard: list[Message] = field(default_factory=list)
    keepalive_at: float = field(default_factory=trio.current_time)
    pushed: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    replies: dict[str, Message] = field(default_factory=dict)
    queue: dict[str, Operation] = field(default_factory=dict)
    changed: trio.Condition = field(default_factory=trio.Condition)
    ended: trio.Event = field(default_factory=trio.Event)

    async def notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait for a state that the edge's words bring about."""
        async with self.changed:
            while not holds():
                await self.changed.wait()

    async def said(self, operation: str, resource: str = "") -> Message:
        """Wait for the first Message of this operation (and resource)."""

        def found() -> Message | None:
            return next((each for each in self.heard if _is(each, operation, resource)), None)

        await self.wait_until(lambda: found() is not None)
        message = found()
        assert message is not None
        return message


def _is(message: Message, operation: str, resource: str) -> bool:
    route = message.route
    return route.operation == operation and resource in {"", route.resource}


class FakeCloudCore:
    """See `run_cloudcore`.

    Attributes:
        store: Kubernetes' objects; change them by ``put`` and ``remove`` here.
        sessions: by node, the present ones.
        connections: all there were, refused ones too.
        violations: what EdgeCore would not have done.
        deaf: nodes whose acknowledgements are lost on the way.
        refused: nodes that are met with silence.
    """

    def __init__(
        self, authority: Authority, context: ssl.SSLContext, pace: Pace, *, authorization: bool
    ) -> None:
        self.authority = authority
        self.store = FakeStore()
        self.sessions: dict[str, EdgeSession] = {}
        self.connections: list[EdgeSession] = []
        self.violations: list[str] = []
        self.deaf: set[str] = set()
        self.refused: set[str] = set()
        self.port = 0
        self._context = context
        self._pace = pace
        self._authorization = authorization
        # What each node has been promised: resource -> what happened to it last.
        self._due: defaultdict[str, dict[str, Operation]] = defaultdict(dict)
        self._connected = trio.Condition()

    async def wait_for(self, node: str, after: EdgeSession | None = None) -> EdgeSession:
        """Wait until a node is connected; with another connection than a known one."""
        async with self._connected:
            while self.sessions.get(node) in {None, after}:
                await self._connected.wait()
            return self.sessions[node]

    async def put(self, node: str, resource: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create or replace an object, and push it to a node."""
        operation = Operation.UPDATE if resource in self.store else Operation.INSERT
        stored = self.store.put(resource, body)
        await self._promise(node, resource, operation)
        return stored

    async def remove(self, node: str, resource: str) -> None:
        """Delete an object, and tell a node."""
        self.store.remove(resource)
        await self._promise(node, resource, Operation.DELETE)

    async def cut(self, node: str) -> None:
        """End a node's connection as all CloudCore ends: without a close frame."""
        await self.sessions[node].stream.transport_stream.aclose()

    async def call(self, node: str, request: router.Call) -> router.Reply:
        """Have an edge call an application; one attempt of the router's three.

        Raises:
            trio.TooSlowError: no reply, or none with the operation ``upload``.
        """
        message = router.call(a_stamp(), request)
        edge = self.sessions[node]
        await edge.connection.send_message(encode_message(message).decode())
        with trio.fail_after(self._pace.call):
            await edge.wait_until(lambda: message.header.msg_id in edge.replies)
        return router.read_reply(edge.replies[message.header.msg_id])

    async def send(self, node: str, message: Message) -> None:
        """Send anything, once."""
        await self.sessions[node].connection.send_message(encode_message(message).decode())

    async def _promise(self, node: str, resource: str, operation: Operation) -> None:
        self._due[node][resource] = operation
        edge = self.sessions.get(node)
        if edge is not None:
            await edge.notify()

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection to its end."""
        secured = trio.SSLStream(stream, self._context, server_side=True)
        try:
            await secured.do_handshake()
            async with trio.open_nursery() as nursery:
                request = await wrap_server_stream(nursery, secured)
                edge = await self._admit(request, secured)
                if edge is not None:
                    await self._attend(edge)
                nursery.cancel_scope.cancel()
        except* (CertificateProblem, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        except* (ConnectionClosed, HandshakeError):
            pass
        finally:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(secured)

    async def _admit(
        self, request: WebSocketRequest, stream: trio.SSLStream[trio.SocketStream]
    ) -> EdgeSession | None:
        headers = {name.decode().lower(): value.decode() for name, value in request.headers}
        refusal = _refusal(request.path, headers)
        if refusal:
            await trio.sleep(self._pace.refusal)
            await request.reject(refusal)
            return None
        if "sec-websocket-extensions" in headers:
            self.violations.append("an extension of WebSocket was offered")
        node, use = headers.get("node_id", ""), headers.get("connectionuse", "")
        accepted = bool(node) and use in {"msg", "stream"} and self._is_authorized(stream, node)
        connection = await request.accept()
        edge = EdgeSession(node, use, accepted, headers, stream, connection)
        self.connections.append(edge)
        return edge

    def _is_authorized(self, stream: trio.SSLStream[trio.SocketStream], node: str) -> bool:
        if node in self.refused:
            return False
        if not self._authorization:
            return True
        session_object: Any = stream._ssl_object
        chain = session_object._sslobj.get_unverified_chain()
        # "intermediate certificates are not supported" (captures, point 1)
        return len(chain) == 1 and node_of(stream.getpeercert(binary_form=True)) == node

    async def _attend(self, edge: EdgeSession) -> None:
        if edge.accepted:
            old = self.sessions.get(edge.node)
            self.sessions[edge.node] = edge
            if old is not None:
                await old.stream.transport_stream.aclose()
            # The first push (captures, point 16).
            if f"null/node/{edge.node}" in self.store:
                self._due[edge.node].setdefault(f"null/node/{edge.node}", Operation.UPDATE)
            async with self._connected:
                self._connected.notify_all()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_silence, edge, nursery.cancel_scope)
                if edge.accepted:
                    nursery.start_soon(self._push, edge)
                await self._listen(edge)
                nursery.cancel_scope.cancel()
        finally:
            edge.ended.set()
            if self.sessions.get(edge.node) is edge:
                del self.sessions[edge.node]

    async def _watch_silence(self, edge: EdgeSession, scope: trio.CancelScope) -> None:
        """Only keepalives count (captures, point 7)."""
        while True:
            left = edge.keepalive_at + self._pace.silence - trio.current_time()
            if left <= 0:
                scope.cancel()
                return
            await trio.sleep(left)

    async def _listen(self, edge: EdgeSession) -> None:
        while True:
            frame = await edge.connection.get_message()
            if not edge.accepted or edge.use != "msg":
                continue
            try:
                message = decode_message(frame.encode() if isinstance(frame, str) else frame)
            except NotAnObjectError:
                return
            except MessageError:
                continue
            if not edge.heard and not session.is_keepalive(message):
                self.violations.append("the first frame is no keepalive")
            edge.heard.append(message)
            await self._take(edge, message)
            await edge.notify()

    async def _take(self, edge: EdgeSession, message: Message) -> None:
        if session.is_keepalive(message):
            edge.keepalive_at = trio.current_time()
            return
        parent = session.acknowledged(message)
        if parent:
            if edge.node not in self.deaf:
                edge.acknowledged.add(parent)
            return
        if router.is_reply(message):
            if message.route.operation == Operation.UPLOAD:
                edge.replies.setdefault(message.header.parent_msg_id, message)
            return
        answer = self.store.answer(message, edge.node, a_stamp(), strict=self._authorization)
        if answer is not None:
            await edge.connection.send_message(encode_message(answer).decode())

    async def _push(self, edge: EdgeSession) -> None:
        """One after the other, each until it is acknowledged (captures, points 11 and 12)."""
        due = self._due[edge.node]
        while True:
            await edge.wait_until(lambda: bool(due))
            resource = next(iter(due))
            operation = due.pop(resource)
            message = self._message(resource, operation)
            if not await self._deliver(edge, message):
                # Behind all others now, unless something newer has happened to it meanwhile.
                due.setdefault(resource, operation)

    async def _deliver(self, edge: EdgeSession, message: Message) -> bool:
        msg_id, text = message.header.msg_id, encode_message(message).decode()
        edge.pushed.add(msg_id)
        for _ in range(RESENDS + 1):
            await edge.connection.send_message(text)
            with trio.move_on_after(self._pace.resend):
                await edge.wait_until(lambda: msg_id in edge.acknowledged)
                return True
        return False

    def _message(self, resource: str, operation: Operation) -> Message:
        body = self.store.get(resource)
        path = ResourcePath.parse(resource)
        if body is None:
            gone = self.store.removed.get(resource, {})
            uid = gone.get("metadata", {}).get("uid", "")
            stone = answers.tombstone(path.namespace, path.name, uid)
            return answers.push(a_stamp(), Operation.DELETE, path, stone)
        if operation == Operation.DELETE:  # and created again since
            operation = Operation.INSERT
        revision = body["metadata"]["resourceVersion"]
        return answers.push(a_stamp(), operation, path, body, revision=revision)


def _refusal(path: str, headers: Mapping[str, str]) -> int:
    """The status of a refused upgrade (captures, points 4 and 5), 0 for a good one."""
    if "//" in path:
        return 301
    return 403 if "origin" in headers else 0


@asynccontextmanager
async def run_cloudcore(
    authority: Authority,
    folder: Path,
    *,
    pace: Pace | None = None,
    authorization: bool = True,
    port: int = 0,
) -> AsyncIterator[FakeCloudCore]:
    """Run one on 127.0.0.1.

    Args:
        authority: of its certificate and of its edges'.
        folder: for its certificate.
        pace: how fast its time goes.
        authorization: CloudCore's ``authorization.enable``.
        port: 0 for any, which is in ``port`` then.
    """
    context = server_context(a_cloud(authority, folder))
    core = FakeCloudCore(authority, context, pace or Pace(), authorization=authorization)
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(port, host="127.0.0.1")
        core.port = listener.socket.getsockname()[1]
        await nursery.start(trio.serve_listeners, core.serve, [listener])
        yield core
        nursery.cancel_scope.cancel()
