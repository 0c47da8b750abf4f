"""Two ends of a link in one reactor, and what talks over its streams."""

from __future__ import annotations

import hashlib
import random
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import trio
from pki_fixtures import a_cloud, a_node, an_authority

from edgemesh.bus.link.link import Link
from edgemesh.bus.link.shared import Shared
from edgemesh.bus.link.stream import Stream
from edgemesh.bus.link.tls import LinkTls
from edgemesh.bus.pki.authority import Authority
from edgemesh.bus.pki.identity import Identity
from edgemesh.model.bus_settings import BusSettings
from edgemesh.model.services import Transport
from edgemesh.model.streams import CLOUD
from edgemesh.reactor.reactor import HANGUP_IN, IN, OUT, Reactor
from edgemesh.reactor.virtual import VirtualSocket
from edgemesh.wire.link.opening import Opening
from edgemesh.wire.message import ResourcePath

PATIENCE_SECONDS = 30.0
WEB = Opening(
    "node-a", "node-b", ResourcePath("default", "service", "web"), 80, client="10.244.1.5:40001"
)
DNS = WEB._replace(transport=Transport.UDP)


def no_check(_der: bytes) -> None:
    """Nothing is revoked."""


def utc_now() -> datetime:
    return datetime.now(UTC)


async def until(holds: Callable[[], object]) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await trio.sleep(0.001)


class Clock:
    """The machine's, of which a test may skip some."""

    def __init__(self) -> None:
        self.skipped = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.skipped


@asynccontextmanager
async def a_reactor(clock: Callable[[], float] = time.monotonic) -> AsyncIterator[Reactor]:
    """One that runs, and at whose end nothing is left."""
    with Reactor(0.0001, clock) as reactor:
        async with trio.open_nursery() as nursery:
            await nursery.start(reactor.run)
            yield reactor
            nursery.cancel_scope.cancel()
        assert reactor.bugs == 0


class Pki:
    """A CA, and identities that are made when they are needed."""

    def __init__(self, folder: Path, authority: Authority | None = None) -> None:
        self.authority = authority or an_authority()
        self._folder = folder
        self._tls: dict[str, LinkTls] = {}

    def identity(self, node: str, seconds: float = 3600.0) -> Identity:
        if node == CLOUD:
            return a_cloud(self.authority, self._folder, seconds=seconds)
        return a_node(self.authority, self._folder, node, seconds=seconds)

    def tls(self, node: str) -> LinkTls:
        if node not in self._tls:
            self._tls[node] = LinkTls(self.identity(node))
        return self._tls[node]


def shared_of(
    node: str,
    reactor: Reactor,
    tls: LinkTls,
    check: Callable[[bytes], None] = no_check,
    **of: object,
) -> Shared:
    settings = replace(BusSettings(), **of)  # type: ignore[arg-type]
    return Shared(node, settings, reactor, tls, check=check, wall_clock=utc_now, own_mark=0)


def connected() -> tuple[socket.socket, socket.socket]:
    """Both ends of a TCP connection over loopback, not blocking."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        dialled = socket.create_connection(listener.getsockname())
        accepted = listener.accept()[0]
    for sock in (dialled, accepted):
        sock.setblocking(False)
    return dialled, accepted


class End:
    """The owner of one link, who takes every stream."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.reactor = shared.reactor
        self.ups = 0
        self.downs = 0
        self.changes = 0
        self.link: Link
        self.streams: list[VirtualSocket] = []
        self.openings: list[Opening] = []
        self.takes = True
        self.then: Callable[[VirtualSocket], None] = lambda _sock: None

    def came_up(self, _link: Link) -> None:
        self.ups += 1

    def went_down(self, _link: Link) -> None:
        self.downs += 1

    def changed(self, _link: Link) -> None:
        self.changes += 1

    def wanted(self, _link: Link, stream: Stream, opening: Opening) -> None:
        sock = VirtualSocket(self.reactor, datagrams=stream.datagrams)
        sock.far = stream
        stream.near = sock
        self.streams.append(sock)
        self.openings.append(opening)
        if self.takes:
            sock.accept()
            self.then(sock)

    def open(self, opening: Opening = WEB) -> VirtualSocket:
        sock = VirtualSocket(self.reactor, datagrams=opening.transport is Transport.UDP)

        def ask() -> None:
            stream = self.link.open(opening, sock)
            sock.far = stream

        self.reactor.call(self.link, ask)
        return sock

    def do(self, what: Callable[[], object]) -> None:
        """Within a turn."""

        def work() -> None:
            what()

        self.reactor.call(self.link, work)


class Pair:
    """node-a, who has dialled, and node-b."""

    def __init__(self, reactor: Reactor, pki: Pki, **of: object) -> None:
        self.reactor = reactor
        self.a = End(shared_of("node-a", reactor, pki.tls("node-a"), no_check, **of))
        self.b = End(shared_of("node-b", reactor, pki.tls("node-b"), no_check, **of))
        dialled, accepted = connected()
        self.a.link = Link(self.a.shared, self.a, dialled, "b:1", expected="node-b")
        self.b.link = Link(self.b.shared, self.b, accepted, "a:1")

    def start(self) -> None:
        for end in (self.a, self.b):
            end.do(end.link.start)

    async def is_up(self) -> None:
        await until(lambda: self.a.ups and self.b.ups)

    def close(self) -> None:
        for end in (self.a, self.b):
            end.do(partial(end.link.end, "test is over"))


@asynccontextmanager
async def a_pair(
    pki: Pki, clock: Callable[[], float] = time.monotonic, **of: object
) -> AsyncIterator[Pair]:
    async with a_reactor(clock) as reactor:
        pair = Pair(reactor, pki, **of)
        pair.start()
        await pair.is_up()
        yield pair
        pair.close()
        assert len(reactor) == 0


class Talker:
    """Sends so many random bytes and the end, and takes what comes, until both are done.

    Attributes:
        received: bytes that have come.
        heard: their digest.
        said: the digest of what is sent.
        ended: the other side has ended.
        problem: errno of what broke the stream.
    """

    def __init__(
        self, sock: VirtualSocket, reactor: Reactor, size: int, seed: int, *, reads: bool = True
    ) -> None:
        self.sock = sock
        self._reactor = reactor
        self._chance = random.Random(seed)
        self._left = size
        self._unsent = b""
        self.reads = reads
        self.received = 0
        self.sent = 0
        self._heard = hashlib.sha256()
        self._said = hashlib.sha256()
        self.ended = False
        self.finished = False
        self.problem = 0
        self.reset_after = -1
        self._watch()

    @property
    def heard(self) -> str:
        return self._heard.hexdigest()

    @property
    def said(self) -> str:
        return self._said.hexdigest()

    @property
    def done(self) -> bool:
        return bool(self.problem) or (self.ended and self.finished)

    def on_bug(self, error: Exception) -> None:
        """The reactor counts it."""

    def on_events(self, events: int) -> None:
        try:
            if events & OUT and not self.finished:
                self._send()
            if events & (IN | HANGUP_IN) and self.reads and not self.ended:
                self._receive()
        except BlockingIOError:
            pass
        except OSError as error:
            self.problem = error.errno or -1
            self.close()
            return
        if self.done:
            self.close()
        else:
            self._watch()

    def close(self) -> None:
        if self.sock.fileno() != -1:
            self._reactor.unregister(self.sock.fileno())
            self.sock.close()

    def go_on(self) -> None:
        self.reads = True
        if not self.done:
            self._watch()

    def _watch(self) -> None:
        wanted = 0 if self.finished else OUT
        if self.reads and not self.ended:
            wanted |= IN
        self._reactor.watch(self.sock.fileno(), self, wanted)

    def _send(self) -> None:
        if not self._unsent and self._left:
            size = min(self._left, self._chance.randint(1, 65536))
            self._left -= size
            self._unsent = self._chance.randbytes(size)
            self._said.update(self._unsent)
        if self._unsent:
            taken = self.sock.send(self._unsent)
            self.sent += taken
            self._unsent = self._unsent[taken:]
        if 0 <= self.reset_after <= self.sent:
            raise OSError(-1, "on purpose")
        if not self._unsent and not self._left:
            self.finished = True
            self.sock.shutdown(socket.SHUT_WR)

    def _receive(self) -> None:
        data = self.sock.recv(self._chance.randint(1, 65536))
        if not data:
            self.ended = True
        self.received += len(data)
        self._heard.update(data)
