"""Two planes in one process, node-a and node-b, and a bus between them without a network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from plane_fixtures import Server, World, running
from virtual_fixtures import Wire, wired

from edgemesh.model.services import Endpoint, ServicePort, Snapshot, Transport
from edgemesh.model.streams import InboundStream, StreamRequest
from edgemesh.reactor.virtual import VirtualSocket

NODE_A, NODE_B = "node-a", "node-b"
WINDOW = 65536
# Datagrams to node-a's listener have been redirected from there.
UDP_SERVICE = ("10.96.0.10", 53)


class Bus:
    """node-a's `Remote`; what it connects enters the plane of node-b."""

    def __init__(self, a: World, b: World, window: int = WINDOW) -> None:
        self.a, self.b = a, b
        self.routes = {NODE_B: "link"}
        self.asked: list[StreamRequest] = []
        self.wires: list[tuple[Wire, Wire]] = []
        self.window = window
        self.gone = False
        self.enter: Callable[[VirtualSocket, InboundStream], None] = b.plane.enter

    def route(self, node: str) -> str:
        return self.routes.get(node, "")

    def connect(self, request: StreamRequest) -> VirtualSocket | None:
        if self.gone:
            return None
        self.asked.append(request)
        near, far = (
            VirtualSocket(world.plane.reactor, datagrams=request.transport is Transport.UDP)
            for world in (self.a, self.b)
        )
        reactors = self.a.plane.reactor, self.b.plane.reactor
        wires = wired(near, far, reactors, self.window)
        self.wires.append(wires)
        wanted = InboundStream(NODE_A, *request[1:])
        wires[0].tell(lambda: self.enter(far, wanted))
        return near

    def cut(self) -> None:
        """The link is gone, and every stream on it."""
        for wires in self.wires:
            for wire in wires:
                wire.reactor.call(wire, wire.owner.reset)


class Mesh:
    """Both nodes; Services are called at node-a's listener."""

    def __init__(self, a: World, b: World, bus: Bus) -> None:
        self.a, self.b, self.bus = a, b, bus

    def service(self, *endpoints: Endpoint, node: str = NODE_B, **port: object) -> ServicePort:
        """A Service whose endpoints run on ``node``, known at both."""
        service = ServicePort(
            "default",
            "echo",
            "",
            Transport.TCP,
            80,
            endpoints=tuple(replace(each, node=node) for each in endpoints),
        )
        service = replace(service, **port)  # type: ignore[arg-type]
        self.knows(self.a, NODE_A, service)
        self.knows(self.b, NODE_B, service)
        return service

    def knows(self, world: World, node: str, service: ServicePort) -> None:
        is_tcp = service.transport is Transport.TCP
        called = {("127.0.0.1", world.port) if is_tcp else UDP_SERVICE: service}
        world.plane.swap(
            Snapshot(
                node=node,
                tcp=called if is_tcp else {},
                udp={} if is_tcp else called,
                ports={service.key: service},
            )
        )

    def serve(self, **port: object) -> Server:
        """A Service with one endpoint on node-b."""
        # Of the world that ends first, which counts descriptors at its end.
        server = self.a.serve()
        self.service(server.endpoint, **port)  # type: ignore[arg-type]
        return server


@asynccontextmanager
async def meshed(
    window: int = WINDOW, *, datagrams: bool = False, **settings: object
) -> AsyncIterator[Mesh]:
    # No end is given up because the machine stood still while the other was about to answer.
    settings = {"connect_timeout_seconds": 30.0, **settings}
    async with AsyncExitStack() as stack:
        b = await stack.enter_async_context(running(**settings))  # type: ignore[arg-type]
        # What wakes its reactor is opened now, not while the other plane counts descriptors.
        VirtualSocket(b.plane.reactor).close()
        redirected = (lambda *_: UDP_SERVICE) if datagrams else None
        a = await stack.enter_async_context(running(redirected, **settings))  # type: ignore[arg-type]
        bus = Bus(a, b, window)
        a.plane.remote = bus
        yield Mesh(a, b, bus)
        bus.cut()
        for pool in (b.plane.http.pool, b.plane.http2.pool):
            b.plane.reactor.call(pool, pool.close_all)
        await b.until(lambda: not b.plane.open_flows)
