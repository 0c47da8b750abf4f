"""A node of ours with a CloudCore that is as strict as the recorded one."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from kubeedge_cloudcore import FakeCloudCore, a_stamp, run_cloudcore
from kubeedge_pace import Pace
from pki_fixtures import a_node, an_authority

from edgemesh.bus.edgehub.address import CloudAddress
from edgemesh.bus.edgehub.connector import Connector
from edgemesh.bus.edgehub.credentials import Credentials
from edgemesh.bus.edgehub.dialling import Dialler
from edgemesh.bus.edgehub.edgehub import Edgehub
from edgemesh.bus.edgehub.enrolment import EnrolmentClient
from edgemesh.bus.pki.authority import Authority
from edgemesh.meta.sync import Synchroniser
from edgemesh.model.bus_settings import BusSettings
from edgemesh.model.objects import KubeObject, ObjectKey
from edgemesh.store.store import Store
from edgemesh.wire.kubeedge import router
from edgemesh.wire.message import Message

NODE = "edge-1"
OWN = f"null/node/{NODE}"
POD = "default/pod/web"
PACE = Pace(second=0.05, stalls=30)


@dataclass
class Edge:
    """A node that joins, and keeps what it is sent."""

    hub: Edgehub
    store: Store
    sync: Synchroniser

    async def object(self, kind: str, namespace: str, name: str) -> KubeObject | None:
        return await self.store.get(ObjectKey(kind, namespace, name))

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for a state of the connection, which tells nobody that it has changed."""
        with trio.fail_after(PACE.stalls):
            while not true():  # noqa: ASYNC110
                await trio.sleep(0.01)

    async def until_pod(self, labels: dict[str, str] | None) -> None:
        """Wait for a Pod with these labels; None: until there is none."""
        with trio.fail_after(PACE.stalls):
            while True:
                revision = self.store.revision
                found = await self.object("Pod", "default", "web")
                if (found.labels if found else None) == labels:
                    return
                await self.store.wait_beyond(revision)


@pytest.fixture
def authority() -> Authority:
    return an_authority()


@asynccontextmanager
async def joining(
    core: FakeCloudCore, authority: Authority, folder: Path, **changed: Any
) -> AsyncIterator[Edge]:
    """Run a node until the block ends."""
    settings = BusSettings(
        cloud=f"localhost:{core.port}",
        keepalive_seconds=PACE.keepalive,
        silence_seconds=PACE.silence * 5,
        first_retry_seconds=0.05,
        max_retry_seconds=0.2,
        **{"accept_seconds": PACE.stalls, **changed},
    )
    address, dialler = CloudAddress.parse(settings.cloud), Dialler(0, PACE.stalls)
    identity = a_node(authority, folder, NODE)
    nobody = EnrolmentClient(NODE, CloudAddress("localhost", 1), dialler, 5)
    credentials = Credentials(settings, identity, nobody, random.random)
    connector = Connector(settings, NODE, address, credentials, dialler)
    store = await Store.open(f"sqlite:///{folder / 'edge.db'}")
    sync = Synchroniser(store)

    async def no_links(_local: str) -> tuple[str, ...]:
        await trio.lowlevel.checkpoint()
        return ()

    hub = Edgehub(settings, NODE, connector.connect, sync, addresses=no_links, chance=random.random)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hub.run)
            yield Edge(hub, store, sync)
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await store.close()


@pytest.fixture
async def core(authority: Authority, tmp_path: Path) -> AsyncIterator[FakeCloudCore]:
    async with run_cloudcore(authority, tmp_path, pace=PACE) as serving:
        serving.store.put(OWN, {})
        yield serving
        assert serving.violations == []


@pytest.fixture
async def edge(core: FakeCloudCore, authority: Authority, tmp_path: Path) -> AsyncIterator[Edge]:
    async with joining(core, authority, tmp_path) as joined:
        await core.wait_for(NODE)
        yield joined


async def test_a_node_joins_and_keeps_what_it_is_pushed(core: FakeCloudCore, edge: Edge) -> None:
    pod = await core.put(NODE, POD, {"metadata": {"labels": {"app": "web"}}, "spec": {}})
    await edge.until_pod({"app": "web"})
    stored = await edge.object("Pod", "default", "web")
    assert stored
    assert stored.uid == pod["metadata"]["uid"]
    assert await edge.object("Node", "", NODE)
    assert (edge.hub.connected, edge.hub.edgemesh, edge.hub.problem) == (True, False, "")
    await core.put(NODE, POD, {"metadata": {"labels": {"app": "other"}}})
    await edge.until_pod({"app": "other"})
    await core.remove(NODE, POD)
    await edge.until_pod(None)


async def test_keepalives_hold_the_connection_and_little_else_is_said(
    mock_clock: trio.testing.MockClock, core: FakeCloudCore, edge: Edge
) -> None:
    session = await core.wait_for(NODE)
    for _ in range(round(1.5 * PACE.silence / PACE.keepalive)):
        mock_clock.jump(PACE.keepalive)
        await trio.testing.wait_all_tasks_blocked(0.01)
    assert core.sessions[NODE] is session
    said = {message.route.operation for message in session.heard}
    # "null" is what MetaServer's lists have for an operation.
    assert said == {"keepalive", "query", "response", "null"}


async def test_what_vanished_while_the_node_was_cut_off_vanishes_here(
    core: FakeCloudCore, edge: Edge
) -> None:
    await core.put(NODE, POD, {"metadata": {"labels": {"app": "web"}}})
    await edge.until_pod({"app": "web"})
    session = core.sessions[NODE]
    await core.cut(NODE)
    await session.ended.wait()
    await core.remove(NODE, POD)
    await core.wait_for(NODE, after=session)
    await edge.until_pod(None)
    assert edge.hub.connections >= 2


async def test_lost_acknowledgements_change_nothing_and_the_newest_state_stays(
    core: FakeCloudCore, edge: Edge
) -> None:
    core.deaf.add(NODE)
    await core.put(NODE, POD, {"metadata": {"labels": {"v": "1"}}})
    await edge.until_pod({"v": "1"})
    await core.put(NODE, POD, {"metadata": {"labels": {"v": "2"}}})
    await edge.until(lambda: edge.hub.counts["repeated"] >= 4)
    core.deaf.clear()
    await edge.until_pod({"v": "2"})
    session = core.sessions[NODE]
    await session.wait_until(lambda: bool(session.acknowledged & session.pushed))


async def test_a_refusal_in_silence_is_told_and_tried_again(
    core: FakeCloudCore, authority: Authority, tmp_path: Path
) -> None:
    core.refused.add(NODE)
    async with joining(core, authority, tmp_path, accept_seconds=1) as edge:
        await edge.until(lambda: f"has not accepted node {NODE}" in edge.hub.problem)
        assert not edge.hub.connected
        core.refused.clear()
        await core.wait_for(NODE)
        await edge.until(lambda: edge.hub.connected)


async def test_a_node_that_the_cluster_does_not_know_is_told(
    core: FakeCloudCore, authority: Authority, tmp_path: Path
) -> None:
    core.store.remove(OWN)
    async with joining(core, authority, tmp_path) as edge:
        await edge.until(lambda: any(f"no Node {NODE}" in each for each in edge.hub.notices))
        await edge.until(lambda: edge.hub.connected)


async def test_calls_of_the_router_are_handed_on_and_answered(
    core: FakeCloudCore, edge: Edge
) -> None:
    async with trio.open_nursery() as nursery:

        def answer(message: Message) -> None:
            reply = router.reply(message, a_stamp(), router.Reply(418, {"A": ["b"]}, b"tea"))
            nursery.start_soon(edge.hub.send, reply)

        edge.hub.on_user = answer
        call = router.Call("POST", router.CallTarget(6666, "/pot"), {}, b"x")
        got = await core.call(NODE, call)
    assert (got.status, got.body) == (418, b"tea")
