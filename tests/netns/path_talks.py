"""A data plane on a node, and pairs of processes that talk through it by plans.

The network is that of interception_lab, with its rules: clients are in the pod, endpoints in the
server, and the plane runs in this process, so that a test can decide when flows change hands.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import trio
from interception_lab import PORT, SERVER, Lab
from path_peers import Outcome
from path_plans import Plan, plan
from plane_fixtures import World

from edgemesh.lab.cgroups import command_in as in_cgroup
from edgemesh.lab.network import command_in
from edgemesh.model.flows import FlowReport
from edgemesh.model.services import Endpoint, ServiceAddress, Transport

_PEERS = Path(__file__).with_name("path_peers.py")
# What a talk may take beyond the patience of its sides, which is for silence.
_TALK_SECONDS = 300.0


class Place(NamedTuple):
    """Where a couple talks: the Service that the client calls, and its endpoint."""

    service: str
    endpoint: tuple[str, int]


def places(count: int) -> list[Place]:
    """So many, of both families."""
    return [
        Place(
            f"10.96.0.{10 + number}" if number % 2 else f"fd00:96::{10 + number}",
            (SERVER[4 if number % 2 else 6], 8080 + number),
        )
        for number in range(count)
    ]


def targets(count: int) -> list[ServiceAddress]:
    """What rules have to divert for them."""
    return [ServiceAddress(place.service, Transport.TCP, PORT) for place in places(count)]


class Talk(NamedTuple):
    """A plan that was carried out.

    Args:
        number: of the plan.
        plan: see there.
        client, endpoint: how they fared.
        report: of the flow.
    """

    number: int
    plan: Plan
    client: Outcome
    endpoint: Outcome
    report: FlowReport

    def assert_whole(self) -> None:
        """Everything that was said came, in order, and the ends came after it.

        Of who broke off, what came is how its words began, and the other was told.
        """
        told = f"plan {self.number}: {self.client} {self.endpoint} {self.report}"
        assert self.client.wrong_at == self.endpoint.wrong_at == -1, told
        sides = (
            (self.plan.client, self.client, self.plan.endpoint, self.endpoint),
            (self.plan.endpoint, self.endpoint, self.plan.client, self.client),
        )
        for part, outcome, other_part, other in sides:
            if part.resets:
                assert outcome.ending == "broken off", told
                assert other.ending == "reset", told
                assert other.heard <= outcome.said == part.total, told
            elif not other_part.resets:
                assert outcome.ending == "end", told
                assert outcome.said == part.total == other.heard, told
        if self.plan.client.resets:
            assert self.report.ending == "client-reset", told
        elif self.plan.endpoint.resets:
            assert self.report.ending == "endpoint-reset", told
        else:
            assert self.report.ending == "closed", told
            counted = (self.report.bytes_sent, self.report.bytes_received)
            assert counted == (self.plan.client.total, self.plan.endpoint.total), told


def summed_up(talks: Sequence[Talk]) -> str:
    """How much was said, for those who look (pytest -rP)."""
    heard = sum(talk.client.heard + talk.endpoint.heard for talk in talks)
    resets = sum(talk.plan.resets for talk in talks)
    return f"{len(talks)} talks, {resets} of them broken off: {heard:,} bytes arrived"


class Peer:
    """A process in a namespace that answers lines with lines."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process

    @classmethod
    @asynccontextmanager
    async def started(
        cls, namespace: str, program: Path, *arguments: object, cgroup: Path | None = None
    ) -> AsyncIterator[Peer]:
        """Run a program of the tests, in a cgroup; it is ended."""
        command = command_in(namespace, [sys.executable, str(program), *map(str, arguments)])
        if cgroup is not None:
            command = in_cgroup(cgroup, command)
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            yield cls(process)
        finally:
            process.kill()
            assert process.stdio is not None
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
                await process.stdio.aclose()
                await process.wait()

    async def say(self, line: str) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.send_all(f"{line}\n".encode())

    async def hear(self) -> bytes:
        """The next line."""
        assert self._process.stdout is not None
        line = bytearray()
        with trio.fail_after(_TALK_SECONDS):
            while not line.endswith(b"\n"):
                part = await self._process.stdout.receive_some()
                assert part, "it has ended"
                line += part
        return bytes(line)

    async def ask(self, line: str) -> Any:
        """Say a line; what the answer says in JSON."""
        await self.say(line)
        return msgspec.json.decode(await self.hear())


class Couple:
    """A client and an endpoint that have one talk after the other."""

    def __init__(self, world: World, place: Place, client: Peer, endpoint: Peer) -> None:
        self._world = world
        self._place = place
        self._client = client
        self._endpoint = endpoint

    @classmethod
    @asynccontextmanager
    async def at(cls, place: Place, lab: Lab, world: World) -> AsyncIterator[Couple]:
        """The couple of a Service, which is made."""
        async with (
            Peer.started(lab.server, _PEERS, "endpoint", *place.endpoint) as endpoint,
            Peer.started(lab.pod, _PEERS, "client", place.service, PORT) as client,
        ):
            assert await endpoint.hear() == b"ready\n"
            world.service_at(
                (place.service, PORT), Endpoint(*place.endpoint), service=f"at-{place.service}"
            )
            yield cls(world, place, client, endpoint)

    async def talk(self, number: int, largest: int) -> Talk:
        """Carry out one plan."""
        before = len(self._reports())
        await self._endpoint.say(f"{number} {largest}")
        client = msgspec.convert(await self._client.ask(f"{number} {largest}"), Outcome)
        endpoint = msgspec.json.decode(await self._endpoint.hear(), type=Outcome)
        await self._world.until(lambda: len(self._reports()) > before)
        (report,) = self._reports()[before:]
        return Talk(number, plan(number, largest), client, endpoint, report)

    def _reports(self) -> list[FlowReport]:
        host = f"[{self._place.service}]" if ":" in self._place.service else self._place.service
        return [report for report in self._world.reports if report.destination == f"{host}:{PORT}"]
