"""Many clients of a Service and as many connections of its endpoint, see path_crowd.py."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from interception_lab import PORT, Lab
from path_talks import Peer, Place

_CROWD = Path(__file__).with_name("path_crowd.py")


class Crowds:
    """Both sides.

    Attributes:
        clients, endpoints: what they are told is in path_crowd.py.
    """

    def __init__(self, clients: Peer, endpoints: Peer) -> None:
        self.clients = clients
        self.endpoints = endpoints

    async def meet(self) -> None:
        """Let the clients call."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.clients.ask, "open")
            await self.endpoints.ask("open")

    async def finish(self, *, upwards: bool) -> None:
        """Let one side say its last words and the other hear everything: it arrives."""
        talkers, hearers = self.sides(upwards=upwards)
        heard: list[object] = []

        async def hear() -> None:
            heard.extend(await hearers.ask("hear"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hear)
            said = await talkers.ask("finish")
        assert heard == said

    def sides(self, *, upwards: bool) -> tuple[Peer, Peer]:
        """Who talks and who hears, upwards being from client to endpoint."""
        return (self.clients, self.endpoints) if upwards else (self.endpoints, self.clients)


@asynccontextmanager
async def crowds(
    lab: Lab, place: Place, count: int, cgroup: Path | None = None
) -> AsyncIterator[Crowds]:
    """Processes that have not met yet; those of the clients are in a cgroup."""
    async with (
        Peer.started(lab.server, _CROWD, "endpoint", *place.endpoint, count) as endpoints,
        Peer.started(
            lab.pod, _CROWD, "client", place.service, PORT, count, cgroup=cgroup
        ) as clients,
    ):
        for side in (endpoints, clients):
            assert await side.hear() == b"ready\n"
        yield Crowds(clients, endpoints)
