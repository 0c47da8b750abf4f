"""Data planes whose gate counts requests, clients and endpoints that speak HTTP/1.1."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import trio
from bpf_samples import bpf_place
from gate_fixtures import AtOnce
from plane_fixtures import Peer, Server, World, running

from edgemesh.kernel.bpf.gate_maps import Gate
from edgemesh.kernel.bpf.loader import Loading, load
from edgemesh.kernel.bpf.observed_maps import ObservedMaps
from edgemesh.kernel.bpf.programs import GATE, OBSERVED_GATE
from edgemesh.model.meters import Meter
from edgemesh.model.paths import ALL_PATHS
from edgemesh.model.policies import Observe, Path, Policy
from edgemesh.proxy.forward.observer import Observer
from edgemesh.proxy.forward.sockmap import Sockmap

OBSERVED = Policy(path=Path.SPLICE, observe=Observe.HTTP)


class Programs(NamedTuple):
    """What is loaded."""

    gate: Gate
    maps: ObservedMaps


@contextmanager
def open_programs(**settings: Any) -> Iterator[Programs]:
    """A gate of the test's own that counts requests; ``settings`` are of BpfSettings."""
    with bpf_place() as place:
        chosen = replace(place, **settings)
        loaded = load(chosen, owner="operator", loading=Loading(groups=(GATE, OBSERVED_GATE)))
        assert loaded.groups == {"gate": "", "observed_gate": ""}
        with Gate(loaded.map, chosen.backlog_bytes) as gate, ObservedMaps(loaded.map) as maps:
            # Descriptors that are open from the first flow on.
            assert gate.words
            maps.watch(0, 0, 0)
            yield Programs(gate, maps)


@dataclass
class Observing:
    """A plane that counts requests on the way."""

    world: World
    sockmap: Sockmap
    observer: Observer
    maps: ObservedMaps

    async def connected(
        self, policy: Policy = OBSERVED, protocol: str = "http", receive: int = 0
    ) -> tuple[Peer, Peer]:
        """A client and its endpoint, of a flow that is observed."""
        server = self.serve(policy, protocol)
        client = await self.world.call(receive=receive)
        return client, await server.accept()

    def serve(self, policy: Policy = OBSERVED, protocol: str = "http") -> Server:
        server = self.world.serve()
        self.world.service(server.endpoint, policy=policy, application_protocol=protocol)
        return server

    def fill_buckets(self) -> None:
        """Let as many requests pass as quotas do at once, without waiting until they would."""
        for index in range(self.maps.ports):
            self.maps.fill(index)

    @property
    def meter(self) -> Meter:
        """What the requests of the only endpoint with some have come to on this path."""
        self._read()
        counted = self.world.plane.metrics.meters.all()
        spliced = [each.meter for each in counted if each.key.path == "splice"]
        found = [meter for meter in spliced if any(meter.responses)]
        assert len(found) <= 1
        return found[0] if found else Meter()

    def _read(self) -> None:
        for _ in self.observer.read():
            pass

    @property
    def unobserved(self) -> dict[str, int]:
        self._read()
        return dict(self.world.plane.metrics.unobserved)


@asynccontextmanager
async def observing(programs: Programs, **settings: Any) -> AsyncIterator[Observing]:
    """A plane that serves; flows are given back to the gate at once when they have left it."""
    async with running(rule=AtOnce(), **settings) as world:
        sockmap = Sockmap(world.plane, programs.gate)
        sockmap.start()
        observer = Observer(world.plane, sockmap, programs.maps)
        world.plane.decider.available = ALL_PATHS
        async with trio.open_nursery() as nursery:
            await nursery.start(observer.run)
            yield Observing(world, sockmap, observer, programs.maps)
            nursery.cancel_scope.cancel()
        sockmap.stop()


def request(path: str = "/", method: str = "GET", body: bytes = b"") -> bytes:
    framing = f"Content-Length: {len(body)}\r\n" if body else ""
    head = f"{method} {path} HTTP/1.1\r\nHost: web\r\nUser-Agent: test\r\n{framing}\r\n"
    return head.encode() + body


def response(body: bytes = b"well", status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nServer: test\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def exchange(client: Peer, endpoint: Peer, asked: bytes, answer: bytes) -> None:
    """One request and its response, which must arrive as they were sent."""
    await client.send(asked)
    assert await endpoint.receive(len(asked)) == asked
    await endpoint.send(answer)
    assert await client.receive(len(answer)) == answer
