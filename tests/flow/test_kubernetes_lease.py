"""Work that one replica does at a time is done by one, whatever happens to who holds the Lease."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import trio
from apiserver.server import ApiServer
from kubernetes_fixtures import LEASES, QUICK, server_with, until

from edgemesh.cloud.access import Access, Answer, UnreachableError, open_access
from edgemesh.cloud.lease import Election

KEY = ("edgemesh", "edgemesh-cloud")


class Line:
    """The way to the server, which can be cut."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self.is_cut = False

    async def request(self, *args: Any, **named: Any) -> Answer:
        if self.is_cut:
            await trio.lowlevel.checkpoint()
            raise UnreachableError("cut")
        return await self._access.request(*args, **named)


@dataclass
class Replica:
    """One that works while it holds the Lease."""

    name: str
    line: Line
    election: Election
    began: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)

    async def work(self) -> None:
        self.began.append(trio.current_time())
        try:
            await trio.sleep_forever()
        finally:
            self.ended.append(trio.current_time())


@asynccontextmanager
async def replica(server: ApiServer, name: str) -> AsyncIterator[Replica]:
    settings = replace(QUICK, server=server.url)
    async with open_access(settings) as access, trio.open_nursery() as nursery:
        line = Line(access)
        election = Election(line, settings, name)  # type: ignore[arg-type]
        made = Replica(name, line, election)
        await nursery.start(election.run, made.work)
        yield made
        nursery.cancel_scope.cancel()


def holder(server: ApiServer) -> str:
    lease = server.objects(LEASES).get(KEY)
    return "" if lease is None else str(lease["spec"]["holderIdentity"])


async def test_the_first_works_and_the_second_waits_until_it_is_given_up() -> None:
    async with server_with() as server, replica(server, "second") as second:
        await until(lambda: second.began)
        async with replica(server, "first") as first:
            await until(lambda: first.election.holder == "second")
            assert not first.began
        assert holder(server) == "second"
        async with replica(server, "third") as third:
            second.line.is_cut = True
            await until(lambda: third.began)
            # Who cannot renew stops before another may begin.
            assert second.ended[0] < third.began[0]
            assert not second.election.held
            assert second.election.problem == "cut"
            second.line.is_cut = False
            await until(lambda: second.election.holder == "third")
            assert len(second.began) == 1
        assert holder(server) == ""
        await until(lambda: len(second.began) == 2)
        assert server.objects(LEASES)[KEY]["spec"]["leaseTransitions"] == 2


async def test_a_lease_that_another_took_is_let_go() -> None:
    async with server_with() as server, replica(server, "a") as a:
        await until(lambda: a.began)
        lease = server.objects(LEASES)[KEY]
        taken = {**lease["spec"], "holderIdentity": "b", "leaseDurationSeconds": 60}
        server.put(LEASES, {**lease, "spec": taken})
        await until(lambda: a.ended)
        await until(lambda: a.election.holder == "b")
        assert holder(server) == "b"
    assert holder(server) == "b"


async def test_of_many_that_begin_at_once_one_works() -> None:
    async with (
        server_with() as server,
        replica(server, "a") as a,
        replica(server, "b") as b,
        replica(server, "c") as c,
    ):
        await until(lambda: all(each.election.holder for each in (a, b, c)))
        assert sum(len(each.began) for each in (a, b, c)) == 1
        assert len({each.election.holder for each in (a, b, c)}) == 1
        assert [each.election.held for each in (a, b, c)].count(True) == 1
