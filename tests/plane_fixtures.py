"""A whole data plane on loopback, clients that call its listener, and endpoints.

In TPROXY mode a connection's destination is its getsockname(), so who calls the listener at
127.0.0.1:PORT calls the Service that the snapshot has there.
"""

from __future__ import annotations

import gc
import os
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import replace

import trio

from edgemesh.kernel.sockets import Address
from edgemesh.model.errors import OperatorError
from edgemesh.model.flows import FlowReport
from edgemesh.model.services import Endpoint, ServicePort, Transport
from edgemesh.model.settings import NetfilterSettings, ProxySettings
from edgemesh.proxy.context import PromotionRule
from edgemesh.proxy.flow import Flow
from edgemesh.proxy.forward.dial import _Dial
from edgemesh.proxy.plane import Plane
from edgemesh.reactor.timers import TICK_SECONDS

PATIENCE_SECONDS = 20.0
_ROUNDS_OF_REST = 150
_TWO_TICKS = 2 * TICK_SECONDS
_LINGER_ZERO = struct.pack("ii", 1, 0)


def open_descriptors() -> int:
    gc.collect()  # What an earlier test dropped is not to be closed while this one counts.
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the shortest way to count


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def waiting_to_be_accepted(listener: socket.socket | trio.socket.SocketType) -> int:
    """How many connections are in its queue."""
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)
    # Of a listener tcpi_unacked (linux/tcp.h) tells this.
    waiting: int = struct.unpack_from("I", info, 24)[0]
    return waiting


class Peer:
    """One end of a connection, in the hands of a test."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self.sock = sock

    @property
    def address(self) -> tuple[str, int]:
        name = self.sock.getsockname()
        return name[0], name[1]

    @property
    def remote(self) -> tuple[str, int]:
        name = self.sock.getpeername()
        return name[0], name[1]

    async def send(self, data: bytes) -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            view = memoryview(data)
            while view:
                view = view[await self.sock.send(view) :]

    def send_what_fits(self, data: bytes) -> int:
        """Send until nothing more is taken; how many bytes were."""
        sent, view = 0, memoryview(data)
        while sent < len(data):
            try:
                sent += socket.socket.send(self.raw, view[sent:], socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
        return sent

    @property
    def raw(self) -> socket.socket:
        return self.sock._sock  # type: ignore[attr-defined,no-any-return]

    async def receive(self, count: int) -> bytes:
        """Exactly so many bytes."""
        parts = bytearray()
        with trio.fail_after(PATIENCE_SECONDS):
            while len(parts) < count:
                part = await self.sock.recv(min(count - len(parts), 1 << 20))
                assert part, f"end of stream after {len(parts)} of {count} bytes"
                parts += part
        return bytes(parts)

    async def receive_all(self) -> bytes:
        """Everything up to the end of the stream."""
        parts = bytearray()
        with trio.fail_after(PATIENCE_SECONDS):
            while part := await self.sock.recv(1 << 20):
                parts += part
        return bytes(parts)

    async def receive_until_reset(self) -> bytes:
        """Everything up to ECONNRESET; an end of the stream is a failure."""
        parts = bytearray()
        with trio.fail_after(PATIENCE_SECONDS):
            while True:
                try:
                    part = await self.sock.recv(1 << 20)
                except ConnectionResetError:
                    return bytes(parts)
                assert part, "end of stream, no reset"
                parts += part

    def half_close(self) -> None:
        self.raw.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


class Server:
    """An endpoint that accepts when the test says so."""

    def __init__(self, sock: trio.socket.SocketType, opened: ExitStack) -> None:
        self.sock = sock
        self._opened = opened
        name = sock.getsockname()
        self.endpoint = Endpoint(name[0], name[1])

    async def accept(self) -> Peer:
        with trio.fail_after(PATIENCE_SECONDS):
            sock, _ = await self.sock.accept()
        self._opened.callback(sock.close)
        return Peer(sock)


def assert_seconds_left(told: str, seconds: int, began: float) -> None:
    """What a client is told to wait is what is left of so many seconds since ``began``."""
    assert seconds - (trio.current_time() - began) <= int(told) <= seconds


class Ignorer:
    """A handler for deadlines that nobody owns."""

    def on_events(self, events: int) -> None:
        """There is no descriptor."""

    def on_bug(self, error: Exception) -> None:
        """The reactor has counted it."""


class World:
    """The plane and what was made around it."""

    def __init__(
        self,
        opened: ExitStack,
        settings: ProxySettings,
        original_destination: Callable[[Address, Address], Address | None] | None = None,
    ) -> None:
        self.reports: list[FlowReport] = []
        self.opened = opened
        self.skipped_seconds = 0.0
        self.plane = Plane(
            settings,
            NetfilterSettings(mode="redirect" if original_destination else "tproxy"),
            self.reports.append,
            original_destination,
            clock=lambda: time.monotonic() + self.skipped_seconds,
        )
        self.port = settings.tcp_port

    def service(self, *endpoints: Endpoint, **port: object) -> None:
        """Make them the Service that clients call at the listener's own address."""
        for address in ("127.0.0.1", "::1"):
            self.service_at((address, self.port), *endpoints, **port)

    def service_at(self, called: tuple[str, int], *endpoints: Endpoint, **port: object) -> None:
        service = ServicePort("default", "echo", "", Transport.TCP, 80, endpoints=endpoints)
        service = replace(service, **port)  # type: ignore[arg-type]
        snapshot = self.plane.decider.snapshot
        self.plane.swap(
            replace(
                snapshot,
                tcp={**snapshot.tcp, called: service},
                ports={**snapshot.ports, service.key: service},
            )
        )

    def serve(self, address: str = "127.0.0.1", backlog: int = 64, receive: int = 0) -> Server:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = trio.socket.socket(family, socket.SOCK_STREAM)
        self.opened.callback(sock.close)
        if receive:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        socket.socket.bind(sock._sock, (address, 0))  # type: ignore[attr-defined]
        sock.listen(backlog)
        return Server(sock, self.opened)

    def client(self, address: str = "127.0.0.1", receive: int = 0) -> Peer:
        """A client that has not called yet."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = trio.socket.socket(family, socket.SOCK_STREAM)
        self.opened.callback(sock.close)
        if receive:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        return Peer(sock)

    async def call(
        self, address: str = "127.0.0.1", source: str = "", receive: int = 0, port: int = 0
    ) -> Peer:
        client = self.client(address, receive)
        if source:
            await client.sock.bind((source, 0))
        with trio.fail_after(PATIENCE_SECONDS):
            await client.sock.connect((address, port or self.port))
        return client

    async def call_in_vain(self, address: str = "127.0.0.1", port: int = 0) -> None:
        """Call and be reset, which may happen before the connect has been noticed."""
        with suppress(ConnectionResetError):
            client = await self.call(address, port=port)
            assert await client.receive_until_reset() == b""

    async def full(self) -> Endpoint:
        """An endpoint whose backlog is full: its kernel drops each SYN, and nobody answers."""
        server = self.serve(backlog=0)
        await self.call(port=server.endpoint.port)
        # The caller may be connected before its last ACK has come here.
        await self.until(lambda: waiting_to_be_accepted(server.sock))
        return server.endpoint

    def closed(self) -> Endpoint:
        """An endpoint where nobody listens: its kernel refuses.

        The socket keeps its port, so that nobody else comes to listen there meanwhile.
        """
        sock = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.opened.callback(sock.close)
        socket.socket.bind(sock._sock, ("127.0.0.1", 0))  # type: ignore[attr-defined]
        name = sock.getsockname()
        return Endpoint(name[0], name[1])

    async def connected(self, receive: int = 0) -> tuple[Peer, Peer]:
        """A client and the endpoint that it reached, of a new Service."""
        server = self.serve(receive=receive)
        self.service(server.endpoint)
        client = await self.call(receive=receive)
        endpoint = await server.accept()
        # The plane may hear later than the endpoint that they are connected, and to it an endpoint
        # that resets before that has refused.
        await self.until(lambda: not self._dials_for(client))
        return client, endpoint

    def _dials_for(self, client: Peer) -> bool:
        return any(
            isinstance(flow, Flow)
            and flow.client_address == client.address
            and isinstance(flow.stage, _Dial)
            for flow in self.plane.flows
        )

    async def until(self, holds: Callable[[], object]) -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            while not holds():  # noqa: ASYNC110 - what is waited for has no event
                await trio.sleep(0.001)

    async def report(self, count: int = 1) -> FlowReport:
        """The last report, when there are ``count``; more of them are a failure."""
        await self.until(lambda: len(self.reports) >= count)
        assert len(self.reports) == count
        return self.reports[-1]

    async def until_one_waits(self) -> None:
        """Return once a call is queued before an endpoint of this node."""
        servers = self.plane.decider.traffic.servers
        await self.until(lambda: any(each.waiting for each in servers()))

    async def comes_to_rest(self) -> None:
        """Return once the reactor has no turns while others have many; a spin never ends."""
        with trio.fail_after(PATIENCE_SECONDS):
            before = -1
            while before != self.plane.reactor.turns:
                before = self.plane.reactor.turns
                for _ in range(_ROUNDS_OF_REST):
                    await trio.lowlevel.checkpoint()

    async def deadlines_pass(self) -> None:
        """Return once all that were due have fired: one that is set now comes after them."""
        fired = trio.Event()
        self.plane.reactor.after(_TWO_TICKS, Ignorer(), fired.set)
        with trio.fail_after(PATIENCE_SECONDS):
            await fired.wait()

    def linger(self, seconds: float) -> None:
        """Let HTTP clients that were refused be read from for so long."""
        self.plane.http.settings = replace(self.plane.http.settings, linger_seconds=seconds)

    def skip(self, seconds: float) -> None:
        """Let so much time pass for the plane's deadlines."""
        self.skipped_seconds += seconds


@asynccontextmanager
async def running(
    original_destination: Callable[[Address, Address], Address | None] | None = None,
    rule: PromotionRule | None = None,
    **settings: object,
) -> AsyncIterator[World]:
    """A plane that serves; at the end everything must be closed, reported and counted.

    With ``original_destination`` it takes datagrams as in redirect mode; ``rule`` tells which
    mover a flow has.
    """
    before = open_descriptors()
    with ExitStack() as opened:
        async with trio.open_nursery() as nursery:
            world = await _start(nursery, opened, original_destination, settings)
            if rule is not None:
                world.plane.promotion = rule
            yield world
            nursery.cancel_scope.cancel()
    plane = world.plane
    assert plane.reactor.bugs == 0
    assert_all_accounted_for(world)
    assert open_descriptors() == before


def assert_all_accounted_for(world: World) -> None:
    """Every flow has one report or was turned away uncounted as open."""
    reports = world.plane.reports
    assert not +reports.open
    assert world.plane.open_flows == 0
    listeners = 4
    assert len(world.plane.reactor) <= listeners
    assert reports.opened.total() == reports.endings.total()
    reported_refusals = sum(report.ending == "refused" for report in world.reports)
    refusals = world.plane.metrics.refusals.by_reason.total()
    refused_flows = refusals - reports.dropped_datagrams - reports.refused_requests
    turned_away = refused_flows - reported_refusals
    assert len(world.reports) + turned_away == reports.opened.total()


async def _start(
    nursery: trio.Nursery,
    opened: ExitStack,
    original_destination: Callable[[Address, Address], Address | None] | None,
    settings: dict[str, object],
) -> World:
    for attempts_left in reversed(range(5)):
        ports = {
            "tcp_port": free_port(socket.SOCK_STREAM),
            "udp_port": free_port(socket.SOCK_DGRAM),
        }
        chosen = replace(ProxySettings(), **{**ports, **settings})  # type: ignore[arg-type]
        world = World(opened, chosen, original_destination)
        try:
            await nursery.start(world.plane.serve)
        except OperatorError:
            # Somebody else took the port in between.
            if not attempts_left:
                raise
        else:
            return world
    raise AssertionError
