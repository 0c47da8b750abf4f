"""A node of ours at a CloudCore that keeps to the recorded one in everything, over real TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from edgehub_fixtures import Written
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
from edgemesh.model.bus_settings import BusSettings
from edgemesh.wire.kubeedge import router
from edgemesh.wire.message import Message

NODE = "edge-1"
OWN = f"null/node/{NODE}"
POD = "default/pod/web"
PACE = Pace(0.06)


@pytest.fixture
def authority() -> Authority:
    return an_authority()


@pytest.fixture
async def core(authority: Authority, tmp_path: Path) -> AsyncIterator[FakeCloudCore]:
    async with run_cloudcore(authority, tmp_path, pace=PACE) as core:
        core.store.put(OWN, {})
        yield core
        assert core.violations == []


@asynccontextmanager
async def edgehub(
    core: FakeCloudCore, folder: Path, written: Written, **changed: Any
) -> AsyncIterator[Edgehub]:
    """Our side, with a certificate as CloudCore issues them."""
    settings = BusSettings(
        cloud=f"localhost:{core.port}",
        keepalive_seconds=PACE.keepalive,
        first_retry_seconds=0.01,
        **changed,
    )
    identity = a_node(core.authority, folder, NODE, kubeedge=True)
    dialler = Dialler(0, settings.dial_seconds)
    address = CloudAddress.parse(settings.cloud)
    enrolment = EnrolmentClient(NODE, address, dialler, settings.answer_seconds)
    credentials = Credentials(settings, identity, enrolment, lambda: 0.5)

    async def no_links(_local: str) -> tuple[str, ...]:
        await trio.lowlevel.checkpoint()
        return ()

    connector = Connector(settings, NODE, address, credentials, dialler)
    hub = Edgehub(
        settings, NODE, connector.connect, written, addresses=no_links, chance=lambda: 0.5
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hub.run)
        yield hub
        nursery.cancel_scope.cancel()


@pytest.fixture
def written() -> Written:
    keeper = Written()
    keeper.gate.set()
    return keeper


@pytest.fixture
async def hub(core: FakeCloudCore, tmp_path: Path, written: Written) -> AsyncIterator[Edgehub]:
    async with edgehub(core, tmp_path, written) as hub:
        yield hub


def acknowledged(core: FakeCloudCore, count: int) -> Callable[[], bool]:
    """Whether so many pushes were acknowledged; the answer to the node's query is another one."""

    def holds() -> bool:
        edge = core.sessions[NODE]
        return len(edge.acknowledged & edge.pushed) >= count

    return holds


async def test_a_node_is_let_in_and_acknowledges_what_it_has_stored(
    core: FakeCloudCore, hub: Edgehub, written: Written
) -> None:
    edge = await core.wait_for(NODE)
    assert edge.accepted, "the certificate alone is shown, and it is the node's"
    await core.put(NODE, POD, {"spec": {}})
    await edge.wait_until(acknowledged(core, 2))
    assert set(written.resources) == {OWN, POD}
    assert hub.edgemesh is False


async def test_keepalives_hold_the_connection_for_longer_than_silence_would(
    core: FakeCloudCore, hub: Edgehub
) -> None:
    edge = await core.wait_for(NODE)
    await edge.wait_until(lambda: sum(map(_is_keepalive, edge.heard)) >= 5)
    assert not edge.ended.is_set()
    assert hub.connections == 1


async def test_what_is_sent_again_is_stored_once_and_acknowledged_each_time(
    core: FakeCloudCore, hub: Edgehub, written: Written
) -> None:
    core.deaf.add(NODE)
    edge = await core.wait_for(NODE)

    def said() -> list[str]:
        parents = [one.header.parent_msg_id for one in edge.heard if one.value() == "OK"]
        return [parent for parent in parents if parent in edge.pushed]

    await edge.wait_until(lambda: len(said()) >= 4)
    assert len(set(said())) == 1
    assert written.resources == [OWN]


async def test_while_the_disk_is_slow_nothing_is_acknowledged_and_nothing_is_lost(
    core: FakeCloudCore, tmp_path: Path
) -> None:
    slow = Written()
    async with edgehub(core, tmp_path, slow):
        edge = await core.wait_for(NODE)
        await edge.wait_until(lambda: sum(map(_is_keepalive, edge.heard)) >= 3)
        assert not edge.acknowledged & edge.pushed
        slow.gate.set()
        await core.put(NODE, POD, {"spec": {}})
        await edge.wait_until(lambda: set(slow.resources) == {OWN, POD})


async def test_a_cut_connection_is_made_again_and_the_newest_state_comes(
    core: FakeCloudCore, hub: Edgehub, written: Written
) -> None:
    first = await core.wait_for(NODE)
    await first.wait_until(acknowledged(core, 1))
    await core.cut(NODE)
    await first.ended.wait()
    await core.put(NODE, POD, {"spec": {"v": 1}})
    await core.put(NODE, POD, {"spec": {"v": 2}})
    again = await core.wait_for(NODE, after=first)
    await again.wait_until(lambda: POD in written.resources)
    pods = [one for batch in written.batches for one in batch if one.route.resource == POD]
    assert [one.value()["spec"] for one in pods] == [{"v": 2}]


async def test_calls_of_the_router_are_handed_on_and_answered(
    core: FakeCloudCore, hub: Edgehub
) -> None:
    await core.wait_for(NODE)
    asked: list[Message] = []
    hub.on_user = asked.append
    target = router.CallTarget(6666, "/a")
    async with trio.open_nursery() as nursery:

        async def call() -> None:
            reply = await core.call(NODE, router.Call("GET", target, {}, b""))
            assert reply == router.Reply(204, {}, b"")

        nursery.start_soon(call)
        while not asked:  # noqa: ASYNC110
            await trio.sleep(0.005)
        await hub.send(router.reply(asked[0], a_stamp(), router.Reply(204, {}, b"")))


async def test_who_is_refused_in_silence_says_so(
    authority: Authority, tmp_path: Path, written: Written
) -> None:
    """CloudCore upgrades the connection and never says a word (captures, point 2)."""
    async with run_cloudcore(authority, tmp_path / "core") as core:
        core.refused.add(NODE)
        async with edgehub(core, tmp_path, written, accept_seconds=0.1) as hub:
            while "it has not accepted" not in hub.problem:  # noqa: ASYNC110
                await trio.sleep(0.01)


def _is_keepalive(message: Message) -> bool:
    return message.route.operation == "keepalive"
