"""A cloud that does what a test tells it to and nothing else, on loopback, with real TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import trio
from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    WebSocketRequest,
    wrap_server_stream,
)

from edgemesh.bus.cloudhub.handshake import shake_hands
from edgemesh.bus.edgehub.address import CloudAddress
from edgemesh.bus.edgehub.connector import Connector
from edgemesh.bus.edgehub.credentials import Credentials
from edgemesh.bus.edgehub.dialling import Dialler
from edgemesh.bus.edgehub.enrolment import EnrolmentClient
from edgemesh.bus.http.messages import Request, Response, whole_body
from edgemesh.bus.http.server import Respond, ServerLimits, serve_requests
from edgemesh.bus.pki.authority import Authority, AuthorityState
from edgemesh.bus.pki.checks import Revoked
from edgemesh.bus.pki.contexts import server_context
from edgemesh.bus.pki.enrolment import Asked, EnrolmentDesk
from edgemesh.bus.pki.identity import Identity, write_identity
from edgemesh.bus.pki.problems import CertificateProblem
from edgemesh.model.bus_settings import BusSettings

NODE = "edge-1"


class Time:
    """A clock that a test may set."""

    def __init__(self) -> None:
        self.offset = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.offset


@dataclass
class PlainCloud:
    """See the module.

    Attributes:
        upgrades: requests for an upgrade, as they came.
        chains: how many certificates each client has shown.
        issued: certificates that were issued to nodes, by how many.
        answer_fields: of the answer to an upgrade.
        reject: status and body of the answer, in place of an upgrade.
        greets: whether upgrades are answered.
        loses: how many certificates are issued and do not reach who asked.
    """

    authority: Authority
    folder: Path
    time: Time
    hub_port: int = 0
    enrolment_port: int = 0
    node_seconds: float = 3600
    upgrades: list[WebSocketRequest] = field(default_factory=list)
    connections: list[WebSocketConnection] = field(default_factory=list)
    streams: list[trio.SSLStream[trio.SocketStream]] = field(default_factory=list)
    chains: list[int] = field(default_factory=list)
    issued: int = 0
    answer_fields: dict[str, str] = field(default_factory=dict)
    reject: tuple[int, bytes] | None = None
    greets: bool = True
    loses: int = 0
    spent: dict[str, str] = field(default_factory=dict)
    changed: trio.Event = field(default_factory=trio.Event)

    def token(self, **claims: Any) -> str:
        return self.authority.make_token(claims.pop("seconds", 3600), **claims)

    async def until(self, true: Callable[[], bool]) -> None:
        with trio.fail_after(30):
            while not true():
                await self.changed.wait()

    def tell(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    async def serve_hub(self, plain: trio.SocketStream) -> None:
        context = server_context(self.identity, clock=self.time)
        try:
            stream = await shake_hands(plain, context)
            self.streams.append(stream)
            self.chains.append(_chain_length(stream))
            async with trio.open_nursery() as nursery:
                request = await wrap_server_stream(nursery, stream)
                self.upgrades.append(request)
                self.tell()
                await self._greet(request)
                await trio.sleep_forever()
        except* (trio.BrokenResourceError, ConnectionClosed, CertificateProblem):
            # The node has left; what became of it, its side tells.
            pass
        finally:
            self.tell()

    async def _greet(self, request: WebSocketRequest) -> None:
        if not self.greets:
            return
        if self.reject:
            await request.reject(self.reject[0], body=self.reject[1])
            return
        fields = [(name.encode(), value.encode()) for name, value in self.answer_fields.items()]
        self.connections.append(await request.accept(extra_headers=fields))
        self.tell()

    async def serve_enrolment(self, plain: trio.SocketStream) -> None:
        context = server_context(self.identity, require_client=False, clock=self.time)
        desk = EnrolmentDesk(self.authority, self.node_seconds, self._spend)
        try:
            stream = await shake_hands(plain, context)
            answer = partial(self._answer, desk, stream.getpeercert(binary_form=True))
            await serve_requests(stream, answer, ServerLimits())
        except (trio.BrokenResourceError, CertificateProblem):
            return
        finally:
            await trio.aclose_forcefully(plain)

    async def _answer(
        self, desk: EnrolmentDesk, shown: bytes | None, request: Request, respond: Respond
    ) -> None:
        body = b"".join([part async for part in request.body])
        fields = {name.lower(): value for name, value in request.fields}
        answered = desk.answer(
            Asked(request.method, request.target, fields, body, shown), Revoked()
        )
        self.issued += bool(answered.node)
        if answered.node and self.loses:
            self.loses -= 1
            raise trio.BrokenResourceError
        length = len(answered.body)
        await respond(Response(answered.status, (), whole_body(answered.body), length))
        self.tell()

    def _spend(self, token: str, key: str, _until: int) -> bool:
        return self.spent.setdefault(token, key) == key

    @property
    def identity(self) -> Identity:
        return Identity.within(self.folder / "cloud", "cloud")


def _chain_length(stream: trio.SSLStream[trio.SocketStream]) -> int:
    # Public as SSLObject.get_unverified_chain from Python 3.13 on.
    session: Any = stream._ssl_object
    return len(session._sslobj.get_unverified_chain() or ())


@asynccontextmanager
async def plain_cloud(folder: Path) -> AsyncIterator[PlainCloud]:
    """A cloud for the block."""
    time = Time()
    authority = Authority(AuthorityState.create(time), time)
    cloud = PlainCloud(authority, folder, time)
    server = authority.issue_server("cloud", ["localhost", "127.0.0.1"], 10 * 365 * 86400)
    write_identity(cloud.identity, server.certificate, server.key, [authority.der])
    hub = await trio.open_tcp_listeners(0, host="127.0.0.1")
    enrolment = await trio.open_tcp_listeners(0, host="127.0.0.1")
    cloud.hub_port = hub[0].socket.getsockname()[1]
    cloud.enrolment_port = enrolment[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, cloud.serve_hub, hub)
        await nursery.start(trio.serve_listeners, cloud.serve_enrolment, enrolment)
        yield cloud
        nursery.cancel_scope.cancel()


@dataclass
class FakeNode:
    """What a node of ours connects with."""

    settings: BusSettings
    identity: Identity
    credentials: Credentials
    connector: Connector
    time: Time


def node_of(cloud: PlainCloud, *, name: str = NODE, **settings: Any) -> FakeNode:
    """A node that has a token, unless a test takes it away."""
    token_file = cloud.folder / "token"
    token_file.write_text(cloud.token())
    bus = replace(
        BusSettings(cloud=f"localhost:{cloud.hub_port}", token_file=token_file, dial_seconds=30),
        **settings,
    )
    time = Time()
    dialler = Dialler(0, bus.dial_seconds)
    address = CloudAddress.parse(bus.cloud)
    client = EnrolmentClient(
        name, CloudAddress(address.host, cloud.enrolment_port), dialler, bus.answer_seconds, time
    )
    identity = Identity.within(cloud.folder / "node" / "pki", name)
    credentials = Credentials(bus, identity, client, lambda: 0.5, time)
    connector = Connector(bus, name, address, credentials, dialler, clock=time)
    return FakeNode(bus, identity, credentials, connector, time)
