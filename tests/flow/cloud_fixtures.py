"""A cloud's hub over a real store on loopback ports, and nodes that do exactly as they are told."""

from __future__ import annotations

import json
import ssl
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import trio
import trio.testing
from reserved_ports import reserved_ports
from trio_websocket import WebSocketConnection, wrap_client_stream

from edgemesh.app.cloud_hub import CloudHub
from edgemesh.bus.cloudhub.credentials import Credentials
from edgemesh.bus.pki.contexts import client_context
from edgemesh.bus.pki.identity import Identity, write_identity
from edgemesh.bus.pki.requests import make_request
from edgemesh.meta.controller import Controller
from edgemesh.model.bus_settings import CloudSettings
from edgemesh.model.objects import ObjectKey
from edgemesh.model.settings import MetaSettings, Settings
from edgemesh.store.store import Store

Frame = dict[str, Any]
PATH = "/e632aba927ea4ac2b575ec1603d56f10/node/events"
PATIENCE_SECONDS = 30.0
# No session begins with less than there is because the machine stood still for a moment.
META = MetaSettings(conditions_wait_seconds=PATIENCE_SECONDS)


@dataclass
class Cloud:
    """A hub that is being served."""

    settings: Settings
    store: Store
    credentials: Credentials
    hub: CloudHub
    folder: Path

    @property
    def port(self) -> int:
        return int(self.settings.cloud.hub_listen[0].rpartition(":")[2])

    @property
    def enrolment_port(self) -> int:
        return int(self.settings.cloud.enrolment_listen[0].rpartition(":")[2])

    async def apply(self, *bodies: Frame) -> None:
        """Write objects; this replica's nodes are about to hear of them then."""
        controller = Controller(self.settings.meta)
        await self.store.transact(lambda transaction: controller.apply(transaction, bodies))
        await self.hub.changes.caught_up()

    async def delete(self, *keys: ObjectKey) -> None:
        """The same for what goes."""
        controller = Controller(self.settings.meta)
        await self.store.transact(lambda transaction: controller.delete(transaction, keys))
        await self.hub.changes.caught_up()

    def identity(self, node: str) -> Identity:
        """A certificate of a node, as enrolment gives them."""
        identity = Identity.within(self.folder / "nodes" / node, node)
        authority = self.credentials.authority
        made = make_request(node)
        issued = authority.issue_node(made.request, node, 3600)
        write_identity(identity, issued, made.key, [authority.der])
        return identity

    async def tls(self, context: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream]:
        plain = await trio.open_tcp_stream("127.0.0.1", self.port)
        stream = trio.SSLStream(plain, context, server_hostname="localhost")
        await stream.do_handshake()
        return stream

    async def request(self, identity: Identity, request: bytes) -> tuple[int, bytes]:
        """Send bytes to the hub's port; status and body of the answer."""
        stream = await self.tls(client_context(identity))
        try:
            with trio.fail_after(PATIENCE_SECONDS):
                await stream.send_all(request)
                received = b""
                while data := await stream.receive_some():
                    received += data
        finally:
            await trio.aclose_forcefully(stream)
        head, _, body = received.partition(b"\r\n\r\n")
        return int(head.split()[1]), body

    async def refused_upgrade(self, identity: Identity, **changed: str) -> tuple[int, bytes]:
        """Ask for an upgrade that is not granted; fields are changed, or left out when ""."""
        fields = {
            "Host": "localhost",
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec_WebSocket_Version": "13",
            "Sec_WebSocket_Key": "c2l4dGVlbiBieXRlcyBpdA==",
            "node_id": identity.node,
            "ConnectionUse": "msg",
            **changed,
        }
        lines = [
            f"{name.replace('Sec_WebSocket_', 'Sec-WebSocket-')}: {value}"
            for name, value in fields.items()
            if value
        ]
        request = "\r\n".join([f"GET {PATH} HTTP/1.1", *lines, "", ""])
        return await self.request(identity, request.encode())

    @asynccontextmanager
    async def node(
        self,
        name: str = "n1",
        *,
        identity: Identity | None = None,
        headers: dict[str, str] | None = None,
        edgemesh: bool = True,
    ) -> AsyncIterator[Node]:
        """A connected node."""
        own = {"node_id": name, "project_id": "p", "ConnectionUse": "msg"}
        own |= {"Edgemesh-Version": "1"} if edgemesh else {}
        sent = [(k.encode(), v.encode()) for k, v in (headers or own).items()]
        stream = await self.tls(client_context(identity or self.identity(name)))
        try:
            async with trio.open_nursery() as nursery:
                connection = await wrap_client_stream(
                    nursery, stream, "localhost", PATH, extra_headers=sent
                )
                yield Node(name, connection, stream)
                nursery.cancel_scope.cancel()
        finally:
            await trio.aclose_forcefully(stream)


@dataclass
class Node:
    """The far end of a session; it acknowledges nothing by itself."""

    name: str
    connection: WebSocketConnection
    stream: trio.SSLStream[trio.SocketStream]
    received: list[Frame] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    async def raw(self, data: bytes) -> None:
        """Send bytes below the WebSocket."""
        await self.stream.send_all(data)

    async def send(
        self,
        operation: str,
        resource: str,
        content: Any = None,
        *,
        source: str = "edged",
        group: str = "meta",
        parent: str = "",
        msg_id: str = "",
    ) -> str:
        msg_id = msg_id or str(uuid.uuid4())
        header: Frame = {"msg_id": msg_id, "timestamp": 1}
        if parent:
            header["parent_msg_id"] = parent
        route = {"source": source, "group": group, "operation": operation, "resource": resource}
        frame = {"header": header, "route": route, "content": content}
        await self.connection.send_message(json.dumps(frame))
        return msg_id

    async def receive(self) -> Frame:
        if not self.received:
            with trio.fail_after(PATIENCE_SECONDS):
                frame = json.loads(await self.connection.get_message())
            self.received += frame if isinstance(frame, list) else [frame]
        frame = self.received.pop(0)
        self.seen.add(frame["header"]["msg_id"])
        return frame

    async def receive_new(self) -> Frame:
        """Receive, but for what has come before: an acknowledgement may be late."""
        known = frozenset(self.seen)
        while (frame := await self.receive())["header"]["msg_id"] in known:
            pass
        return frame

    async def acknowledge(self, frame: Frame) -> None:
        route = frame["route"]
        await self.send(
            "response",
            route["resource"],
            "OK",
            source=route["source"],
            group=route["group"],
            parent=frame["header"]["msg_id"],
        )

    async def next(self) -> Frame:
        """Receive and acknowledge."""
        frame = await self.receive()
        await self.acknowledge(frame)
        return frame

    async def keep_alive(self) -> None:
        await self.send("keepalive", "node", "ping", source="websocket", group="resource")

    async def ask_for_sync(self, store: str = "", revision: int = 0) -> Frame:
        """Begin; returns the content of the answer."""
        position = {"store": store, "revision": revision}
        asked = await self.send("query", "all/sync", position, source="edgehub", group="resource")
        frame = await self.receive()
        assert frame["header"]["parent_msg_id"] == asked
        assert frame["route"]["operation"] == "response"
        content: Frame = frame["content"]
        return content

    async def until_synced(self) -> list[Frame]:
        """Everything up to the mark, which is the last."""
        frames = [await self.next()]
        while frames[-1]["route"]["resource"] != "all/sync":
            frames.append(await self.next())
        return frames


async def until(state: Callable[[], object]) -> None:
    """Wait for a state that nobody announces."""
    with trio.fail_after(PATIENCE_SECONDS):
        while not state():
            await _a_moment()


async def until_asked(
    state: Callable[[], Awaitable[object]], seconds: float = PATIENCE_SECONDS
) -> None:
    """The same for a state that has to be asked for."""
    with trio.fail_after(seconds):
        while not await state():
            await _a_moment()


async def _a_moment() -> None:
    # By no clock, for that of a test may stand still.
    await trio.testing.wait_all_tasks_blocked(0.01)


def told(frames: Sequence[Frame]) -> list[tuple[str, str]]:
    """Operations and resources."""
    return [(frame["route"]["operation"], frame["route"]["resource"]) for frame in frames]


@asynccontextmanager
async def serving_at(folder: Path, url: str, **changed: Any) -> AsyncIterator[Cloud]:
    """A hub over the database at a URL, served until the block ends."""
    with reserved_ports(2) as [hub_port, enrolment_port]:
        cloud = CloudSettings(
            name="c1",
            hub_listen=(f"127.0.0.1:{hub_port}",),
            enrolment_listen=(f"127.0.0.1:{enrolment_port}",),
        )
        settings = Settings(state_dir=folder, cloud=replace(cloud, **changed), meta=META)
        async with _served(settings, folder, url) as served:
            yield served


@asynccontextmanager
async def _served(settings: Settings, folder: Path, url: str) -> AsyncIterator[Cloud]:
    cloud = settings.cloud
    store = await Store.open(url, settings.meta)
    try:
        credentials = await Credentials.open(store, cloud, folder / "pki", cloud.name)
        hub = CloudHub(settings, store, credentials, Controller(settings.meta).apply)
        async with trio.open_nursery() as nursery:
            await nursery.start(hub.run)
            yield Cloud(settings, store, credentials, hub, folder)
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await store.close()


def serving(folder: Path, **changed: Any) -> AbstractAsyncContextManager[Cloud]:
    """A hub over a new database in a folder, served until the block ends."""
    return serving_at(folder, f"sqlite:///{folder / 'cloud.db'}", **changed)
