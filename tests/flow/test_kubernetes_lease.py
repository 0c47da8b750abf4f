"""Work that one replica does at a time is done by one, whatever happens to who holds the Lease."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from apiserver.server import ApiServer
from kubernetes_fixtures import LEASES, until
from reflector_fixtures import URL, memory_access

from edgemesh.cloud.access import Access, Answer, UnreachableError
from edgemesh.cloud.lease import Election
from edgemesh.model.kubernetes_settings import KubernetesSettings

SETTINGS = KubernetesSettings(server=URL)
KEY = (SETTINGS.lease_namespace, SETTINGS.lease_name)


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


class Cluster:
    """A server in memory, and its clients, on a clock that jumps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = ApiServer()
        self.server.put("/api/v1/namespaces", {"metadata": {"name": KEY[0]}})
        self._monkeypatch = monkeypatch

    @asynccontextmanager
    async def replica(self, name: str) -> AsyncIterator[Replica]:
        access = memory_access(self.server, SETTINGS, self._monkeypatch)
        async with access as line_to, trio.open_nursery() as nursery:
            line = Line(line_to)
            election = Election(line, SETTINGS, name)  # type: ignore[arg-type]
            made = Replica(name, line, election)
            await nursery.start(election.run, made.work)
            yield made
            nursery.cancel_scope.cancel()

    def lease(self) -> dict[str, Any]:
        return self.server.objects(LEASES).get(KEY, {})

    def holder(self) -> str:
        return str(self.lease()["spec"]["holderIdentity"])


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(monkeypatch)


async def test_the_first_works_and_the_second_waits_until_it_is_given_up(
    cluster: Cluster, autojump_clock: trio.abc.Clock
) -> None:
    async with cluster.replica("second") as second:
        await until(lambda: second.began)
        async with cluster.replica("first") as first:
            await until(lambda: first.election.holder == "second")
            # Longer than a Lease is good for that nobody renews.
            await trio.sleep(3 * SETTINGS.lease_seconds)
            assert not first.began
        assert cluster.holder() == "second"
        async with cluster.replica("third") as third:
            second.line.is_cut = True
            await until(lambda: third.began)
            # Who cannot renew stops before another may begin.
            assert second.ended[0] < third.began[0]
            assert not second.election.held
            assert second.election.problem == "cut"
            second.line.is_cut = False
            await until(lambda: second.election.holder == "third")
            assert len(second.began) == 1
        assert cluster.holder() == ""
        await until(lambda: len(second.began) == 2)
        assert cluster.lease()["spec"]["leaseTransitions"] == 2


async def test_a_lease_that_another_took_is_let_go(
    cluster: Cluster, autojump_clock: trio.abc.Clock
) -> None:
    async with cluster.replica("a") as a:
        await until(lambda: a.began)
        lease = cluster.lease()
        taken = {**lease["spec"], "holderIdentity": "b", "leaseDurationSeconds": 60}
        cluster.server.put(LEASES, {**lease, "spec": taken})
        await until(lambda: a.ended)
        await until(lambda: a.election.holder == "b")
        assert cluster.holder() == "b"
    assert cluster.holder() == "b"


async def test_of_many_that_begin_at_once_one_works(
    cluster: Cluster, autojump_clock: trio.abc.Clock
) -> None:
    async with cluster.replica("a") as a, cluster.replica("b") as b, cluster.replica("c") as c:
        await until(lambda: all(each.election.holder for each in (a, b, c)))
        assert sum(len(each.began) for each in (a, b, c)) == 1
        assert len({each.election.holder for each in (a, b, c)}) == 1
        assert [each.election.held for each in (a, b, c)].count(True) == 1
