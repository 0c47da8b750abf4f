"""An EdgeCore that behaves as the recorded one, to try a CloudHub with.

Keepalives, acknowledgements, registration, MetaServer's requests and servicebus are there; what
a CloudHub does that CloudCore would not, and that would confuse EdgeCore, is in ``violations``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import trio
from kubeedge_cloudcore import a_stamp
from kubeedge_pace import Pace
from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    wrap_client_stream,
)

from edgemesh.bus.pki.contexts import client_context
from edgemesh.bus.pki.identity import Identity
from edgemesh.model.bus_settings import DEFAULT_PROJECT
from edgemesh.wire.kubeedge import answers, application, router, session
from edgemesh.wire.message import (
    Group,
    Message,
    MessageError,
    Operation,
    Route,
    decode_message,
    encode_message,
    new_message,
)

_CLOUD_SOURCES = {
    answers.EDGE_CONTROLLER,
    answers.DYNAMIC_CONTROLLER,
    router.ROUTER_SERVICEBUS,
    router.ROUTER_EVENTBUS,
    router.SERVICEBUS,
}

# Without an operation: nobody hears it (captures, point 31).
SILENT_ERROR = Route(source=router.SERVICEBUS, group=Group.USER)

Handler = Callable[[router.Call], router.Reply]


def patch_content(patch: Any) -> str:
    """The content of a patch: a JSON text in a string (strategic merge patch)."""
    return msgspec.json.encode(patch).decode()


@dataclass(eq=False)
class FakeEdgeCore:
    """See `run_edgecore`.

    Attributes:
        node: its name.
        deaf: whether it acknowledges nothing.
        mute: whether its keepalives stop.
        applications: what answers calls of the router, by port.
        objects: what it was pushed and keeps, by resource.
        heard: everything the cloud said, in order, repeated Messages too.
        kept: what was pushed, each Message once: msg_id, operation, resource.
        violations: what CloudCore would not have done.
        ended: set when the connection is over.
    """

    node: str
    connection: WebSocketConnection
    pace: Pace
    headers: Mapping[str, str] = field(default_factory=dict)
    deaf: bool = False
    mute: bool = False
    applications: dict[int, Handler] = field(default_factory=dict)
    objects: dict[str, Any] = field(default_factory=dict)
    heard: list[Message] = field(default_factory=list)
    kept: list[tuple[str, str, str]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    ended: trio.Event = field(default_factory=trio.Event)
    _waiting: dict[str, Message | None] = field(default_factory=dict)
    _changed: trio.Condition = field(default_factory=trio.Condition)

    async def wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait for a state that the cloud's words bring about."""
        async with self._changed:
            while not holds():
                await self._changed.wait()

    async def register(self) -> None:
        """Bring the Node and its Lease to the cloud, as EdgeCore does at its start."""
        lease = f"kube-node-lease/lease/{self.node}"
        await self.ask_meta(Operation.QUERY, lease)
        metadata = {"name": self.node, "labels": {"node-role.kubernetes.io/edge": ""}}
        node = {"metadata": metadata, "spec": {}, "status": {}}
        await self.ask_meta(Operation.INSERT, f"null/node/{self.node}", node)
        spec = {"holderIdentity": self.node, "leaseDurationSeconds": 40}
        named = {"metadata": {"name": self.node, "namespace": "kube-node-lease"}, "spec": spec}
        await self.ask_meta(Operation.INSERT, lease, named)
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        await self.ask_meta(Operation.PATCH, f"null/nodepatch/{self.node}", patch_content(ready))

    async def ask_meta(
        self, operation: Operation, resource: str, content: Any = None
    ) -> answers.Answer:
        """Ask or write as edged does.

        Raises:
            trio.TooSlowError: there was no answer.
        """
        request = new_message(
            a_stamp(),
            source="edged",
            group=Group.META,
            operation=operation,
            resource=resource,
            content=content,
        )
        return answers.read_answer(await self.ask(request))

    async def apply(
        self, key: str, verb: str, *, option: bytes = application.EMPTY_OPTION
    ) -> application.Application:
        """Ask as MetaServer does.

        Raises:
            trio.TooSlowError: there was no answer.
        """
        asked = application.new_application(self.node, key, verb, option=option)
        answered = application.read_application(await self.ask(application.ask(asked, a_stamp())))
        if answered.id != asked.id:
            self.violations.append("an Application was answered with another id")
        return answered

    async def ask(self, request: Message) -> Message:
        """Send a request and wait for what answers it.

        Raises:
            trio.TooSlowError: there was no answer.
        """
        msg_id = request.header.msg_id
        self._waiting[msg_id] = None
        await self.send(request)
        with trio.fail_after(self.pace.call):
            await self.wait_until(lambda: self._waiting[msg_id] is not None)
        answer = self._waiting.pop(msg_id)
        assert answer is not None
        return answer

    async def send(self, message: Message) -> None:
        """Send anything."""
        await self.connection.send_message(encode_message(message).decode())

    async def run(self) -> None:
        """Live until the connection ends."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_alive)
                await self._listen()
                nursery.cancel_scope.cancel()
        except* (ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self.ended.set()

    async def _keep_alive(self) -> None:
        while True:
            await trio.sleep(self.pace.keepalive)
            if not self.mute:
                await self.send(session.keepalive(a_stamp()))

    async def _listen(self) -> None:
        while True:
            frame = await self.connection.get_message()
            if not isinstance(frame, str):
                self.violations.append("a binary frame")
                continue
            try:
                message = decode_message(frame.encode())
            except MessageError as error:
                self.violations.append(str(error))
                continue
            await self._take(message)
            async with self._changed:
                self.heard.append(message)
                self._changed.notify_all()

    async def _take(self, message: Message) -> None:
        route = message.route
        if route.source not in _CLOUD_SOURCES:
            self.violations.append(f"source {route.source!r}")
        if not self.deaf and session.is_acknowledged_by_edge(message):
            await self.send(session.acknowledge(message, a_stamp()))
        parent = message.header.parent_msg_id
        if parent in self._waiting:
            self._waiting[parent] = message
        elif router.is_call(message):
            await self._call(message)
        elif route.group == Group.RESOURCE and not parent:
            self._keep(message)

    def _keep(self, message: Message) -> None:
        route = message.route
        entry = (message.header.msg_id, route.operation, route.resource)
        if entry in self.kept:
            return
        try:
            kind = message.resource.type
        except MessageError as error:
            self.violations.append(str(error))
            return
        self.kept.append(entry)
        value = message.value()
        if route.operation == Operation.DELETE:
            self.objects.pop(route.resource, None)
        else:
            self.objects[route.resource] = value
            if not isinstance(value, dict) or "metadata" not in value:
                self.violations.append(f"a {kind} without metadata")

    async def _call(self, message: Message) -> None:
        called = router.read_call(message)
        handler = self.applications.get(called.target.port)
        if handler is None:
            refused = router.Reply(404, {}, b"error to call service")
            error = router.reply(message, a_stamp(), refused)
            await self.send(msgspec.structs.replace(error, route=SILENT_ERROR))
            return
        await self.send(router.reply(message, a_stamp(), handler(called)))


@asynccontextmanager
async def run_edgecore(
    identity: Identity,
    port: int,
    *,
    pace: Pace | None = None,
    node: str = "",
    host: str = "127.0.0.1",
) -> AsyncIterator[FakeEdgeCore]:
    """Connect one to a CloudHub on 127.0.0.1 and let it live.

    Args:
        identity: as KubeEdge's CA issues it.
        port: of the CloudHub.
        pace: how fast its time goes.
        node: that it says it is, by default that of its identity.
        host: that the CloudHub's certificate is for.

    Raises:
        trio_websocket.HandshakeError: the upgrade was refused.
    """
    name = node or identity.node
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    secured = trio.SSLStream(stream, client_context(identity), server_hostname=host)
    # As Go writes their names.
    fields = [
        ("User-Agent", "Go-http-client/1.1"),
        *(
            (key.capitalize(), value)
            for key, value in session.upgrade_headers(DEFAULT_PROJECT, name)
        ),
    ]
    try:
        async with trio.open_nursery() as nursery:
            connection = await wrap_client_stream(
                nursery,
                secured,
                f"{host}:{port}",
                session.upgrade_path(DEFAULT_PROJECT, name),
                extra_headers=[(key.encode(), value.encode()) for key, value in fields],
            )
            answered = {key.decode(): value.decode() for key, value in connection.handshake_headers}
            edge = FakeEdgeCore(name, connection, pace or Pace(), answered)
            if "sec-websocket-extensions" in answered:
                edge.violations.append("an extension of WebSocket that nobody asked for")
            await edge.send(session.keepalive(a_stamp()))
            nursery.start_soon(edge.run)
            yield edge
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(secured)
