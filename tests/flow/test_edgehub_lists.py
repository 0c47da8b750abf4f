"""What a node of ours asks of a CloudCore, which is as strict as the recorded one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from edgehub_fixtures import Written
from kubeedge_cloudcore import FakeCloudCore, run_cloudcore
from kubeedge_pace import Pace
from pki_fixtures import a_node, an_authority

from edgemesh.bus.edgehub.address import CloudAddress
from edgemesh.bus.edgehub.connector import Connector
from edgemesh.bus.edgehub.credentials import Credentials
from edgemesh.bus.edgehub.dialling import Dialler
from edgemesh.bus.edgehub.edgehub import Edgehub, Sync
from edgemesh.bus.edgehub.enrolment import EnrolmentClient
from edgemesh.bus.pki.authority import Authority
from edgemesh.meta.sync import Synchroniser
from edgemesh.model.bus_settings import BusSettings
from edgemesh.model.objects import ObjectKey
from edgemesh.store.store import Store
from edgemesh.wire.message import Message

NODE = "edge-1"
OWN = f"null/node/{NODE}"
POD = "default/pod/web"
NAMES = ("web", "old", "new")
PACE = Pace(0.06, stalls=30)


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
    core: FakeCloudCore, folder: Path, sync: Sync, **changed: Any
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
    hub = Edgehub(settings, NODE, connector.connect, sync, addresses=no_links, chance=lambda: 0.5)
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


def pushed(written: Written) -> list[str]:
    """Resources of what was pushed; what was listed has no revision in its header."""
    return [
        one.route.resource
        for batch in written.batches
        for one in batch
        if one.header.resourceversion
    ]


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
    assert set(pushed(written)) == {OWN, POD}
    assert hub.edgemesh is False


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
        await edge.wait_until(lambda: {OWN, POD} <= set(pushed(slow)))


def service(name: str, revision_of: str = "") -> dict[str, Any]:
    spec = {"ports": [{"port": 80, "protocol": "TCP"}]}
    body = {"apiVersion": "v1", "kind": "Service", "spec": spec}
    return {**body, "metadata": {"name": name, "labels": {"v": revision_of}}}


def pending(written: Written, since: int = 0) -> list[tuple[str, str]]:
    """What was written, but for what was pushed."""
    return [
        (one.route.operation, one.route.resource)
        for batch in written.batches[since:]
        for one in batch
        if one.route.resource not in {OWN, POD}
    ]


async def rounds(core: FakeCloudCore, written: Written, count: int) -> None:
    """Wait for so many further lists to be on disk."""

    def marks() -> int:
        return pending(written).count(("update", "all/sync"))

    edge = await core.wait_for(NODE)
    wanted = marks() + count
    await edge.wait_until(lambda: marks() >= wanted)


async def test_services_are_listed_at_a_cloudcore_and_their_changes_found(
    core: FakeCloudCore, tmp_path: Path, written: Written
) -> None:
    for number in range(450):
        core.store.put(f"default/service/s{number}", service(f"s{number}"))
    async with edgehub(core, tmp_path, written, list_seconds=0.2):
        await rounds(core, written, 1)
        first = pending(written)
        assert first[0] == ("response", "all/sync")
        assert {f"default/service/s{number}" for number in range(450)} < {one for _, one in first}
        await rounds(core, written, 1)
        seen = len(written.batches)
        core.store.put("default/service/s1", service("s1", "2"))
        core.store.put("default/service/new", service("new"))
        core.store.remove("default/service/s2")
        await rounds(core, written, 2)
        assert [one for one in pending(written, seen) if one[1] != "all/sync"] == [
            ("update", "default/service/s1"),
            ("update", "default/service/new"),
            ("delete", "default/service/s2"),
        ]


async def test_what_was_listed_is_stored_and_what_went_while_nobody_looked_goes(
    core: FakeCloudCore, tmp_path: Path
) -> None:
    core.store.put("default/service/web", service("web"))
    core.store.put("default/service/old", service("old"))
    store = await Store.open(f"sqlite:///{tmp_path / 'edge.db'}")

    async def stored() -> set[str]:
        found = {name: await store.get(ObjectKey("Service", "default", name)) for name in NAMES}
        return {name for name, one in found.items() if one is not None}

    async def until(names: set[str]) -> None:
        while await stored() != names:  # noqa: ASYNC110
            await trio.sleep(0.01)

    try:
        async with edgehub(core, tmp_path, Synchroniser(store)):
            await until({"web", "old"})
        core.store.remove("default/service/old")
        sync = Synchroniser(store)
        async with edgehub(core, tmp_path, sync, list_seconds=0.1):
            await until({"web"})
            core.store.put("default/service/new", service("new"))
            await until({"web", "new"})
            core.store.remove("default/service/web")
            await until({"new"})
            assert sync.refused == {}
    finally:
        with trio.CancelScope(shield=True):
            await store.close()


async def test_a_list_that_fails_deletes_nothing(
    core: FakeCloudCore, tmp_path: Path, written: Written
) -> None:
    core.store.put("default/service/web", service("web"))
    async with edgehub(core, tmp_path, written, list_seconds=0.1) as hub:
        await rounds(core, written, 1)
        core.store.broken.add("services")
        while not any("etcdserver: timed out" in notice for notice in hub.notices):  # noqa: ASYNC110
            await trio.sleep(0.01)
        core.store.broken.clear()
        await rounds(core, written, 1)
        assert hub.notices == ()
    assert ("delete", "default/service/web") not in pending(written)


async def test_a_cloudcore_without_lists_is_told_and_pushes_go_on(
    core: FakeCloudCore, tmp_path: Path, written: Written
) -> None:
    core.store.dynamic = False
    async with edgehub(core, tmp_path, written, answer_seconds=0.1, list_seconds=0.1) as hub:
        await core.wait_for(NODE)
        while not hub.notices:  # noqa: ASYNC110
            await trio.sleep(0.01)
        assert hub.notices[0].startswith("the cluster's objects cannot be listed")
        await core.put(NODE, POD, {"spec": {}})
        await core.sessions[NODE].wait_until(lambda: POD in written.resources)


def _is_keepalive(message: Message) -> bool:
    return message.route.operation == "keepalive"
