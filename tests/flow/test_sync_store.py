"""What the cloud sends is on disk when it is acknowledged, and nothing of it is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from metamanager_fixtures import Body, Served, config_map, endpoint_slice, pod, served, service
from sync_messages import begin, mark, message, pushed, with_uid

from edgemesh.meta.errors import RefusedError
from edgemesh.meta.sync import Synchroniser
from edgemesh.model.objects import ChangeType, ObjectKey, Origin
from edgemesh.model.sync import SyncPosition
from edgemesh.store.rows import Scope
from edgemesh.store.store import Store

ENOUGH = 1 << 20


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as serving:
        yield serving


async def named(store: Store) -> set[str]:
    return {one.key.name for one in await store.read(Scope())}


async def test_a_full_sync_sweeps_what_the_cloud_no_longer_has(world: Served) -> None:
    await world.update(config_map("mine"))
    first = await Synchroniser(world.store).begin()
    await first.write([begin("s", full=True)])
    await first.write([pushed(config_map(name)) for name in "abc"])
    await first.write([mark(7)])
    assert await world.store.sync_position() == SyncPosition("s", 7)

    again = await Synchroniser(world.store).begin()
    await again.write([begin("t", full=True), pushed(config_map("b"))])
    assert await named(world.store) == {"mine", "a", "b", "c"}
    await again.write([mark(3)])
    assert await named(world.store) == {"mine", "b"}
    assert await world.store.sync_position() == SyncPosition("t", 3)


async def test_a_full_sync_that_broke_off_sweeps_nothing_and_is_not_gone_on_with(
    world: Served,
) -> None:
    first = await Synchroniser(world.store).begin()
    await first.write([begin("s", full=True), *(pushed(config_map(name)) for name in "ab")])
    await first.write([mark(7)])
    broken = await Synchroniser(world.store).begin()
    await broken.write([begin("t", full=True), pushed(config_map("c")), mark(5, synced=False)])
    assert await named(world.store) == {"a", "b", "c"}
    assert await world.store.sync_position() == SyncPosition("s", 7)


async def test_what_has_happened_since_is_written_and_noted_as_far_as_it_goes(
    world: Served,
) -> None:
    first = await Synchroniser(world.store).begin()
    await first.write([begin("s", full=True), *(pushed(config_map(name)) for name in "abc")])
    await first.write([mark(7)])
    later = Synchroniser(world.store)
    session = await later.begin()
    assert later.position == SyncPosition("s", 7)
    await session.write([begin("s", full=False), pushed(config_map("a"), "delete")])
    assert await world.store.sync_position() == SyncPosition("s", 7)
    was_synced = [later.synced]
    await session.write([mark(8, synced=False), pushed(config_map("d"))])
    assert await world.store.sync_position() == SyncPosition("s", 8)
    await session.write([mark(9)])
    assert [*was_synced, later.synced] == [False, True]
    assert await named(world.store) == {"b", "c", "d"}


async def test_an_object_keeps_its_uid_and_body_and_is_untouched_when_sent_again(
    world: Served,
) -> None:
    body = with_uid(config_map("a", x="1"), "u-1")
    body["metadata"] |= {"generation": 4, "creationTimestamp": "2026-01-01T00:00:00Z"}
    session = await Synchroniser(world.store).begin()
    await session.write([pushed(body)])
    found = await world.store.get(ObjectKey("ConfigMap", "default", "a"))
    assert found
    assert (found.uid, found.origin) == ("u-1", Origin.SYNCED)
    kept = {
        name: value for name, value in found.body["metadata"].items() if name in body["metadata"]
    }
    assert kept == body["metadata"]
    before = world.store.revision
    await session.write([pushed(body), pushed(body)])
    assert world.store.revision == before


async def test_an_object_that_was_made_anew_is_told_as_a_new_one(world: Served) -> None:
    session = await Synchroniser(world.store).begin()
    await session.write([pushed(with_uid(config_map("a"), "u-1"))])
    seen = world.store.revision
    await session.write([pushed(with_uid(config_map("a"), "u-2"))])
    [change] = (await world.store.changes(seen, Scope(), ENOUGH)).changes[-1:]
    assert (change.type, change.object.uid) == (ChangeType.INSERT, "u-2")
    await session.write([pushed(with_uid(config_map("a"), "u-1"), "delete")])
    assert await named(world.store) == {"a"}


async def test_the_clouds_object_replaces_one_that_was_applied_here_and_not_the_reverse(
    world: Served,
) -> None:
    await world.update(config_map("a", here="yes"))
    session = await Synchroniser(world.store).begin()
    await session.write([pushed(with_uid(config_map("a", here="no"), "u-1"))])
    with pytest.raises(RefusedError, match="ConfigMap default/a comes from the cloud"):
        await world.update(config_map("a", here="again"))
    with pytest.raises(RefusedError, match="ConfigMap default/a comes from the cloud"):
        await world.delete("default/configmap/a")
    await session.write([pushed(config_map("a"), "delete")])
    assert await world.update(config_map("a")) == ["created"]
    await session.write([pushed(config_map("a"), "delete")])
    assert await named(world.store) == {"a"}


def wrong_metadata(**fields: Any) -> Body:
    body = config_map("a")
    return {**body, "metadata": {**body["metadata"], **fields}}


@pytest.mark.parametrize(
    ("resource", "content", "named_problem"),
    [
        ("default/secret/a", {"kind": "Secret"}, "'secret' is unknown"),
        ("nowhere", {}, "is not namespace/type"),
        ("default/configmap/a", "OK", "not an object with metadata"),
        ("default/configmap/a", config_map("b"), "another name"),
        ("default/configmap/a", config_map("a", "elsewhere"), "another name"),
        ("default/configmap/a", {**config_map("a"), "kind": "Service"}, "the content is a Service"),
        ("default/configmap/a", {**config_map("a"), "apiVersion": "v9"}, "apiVersion"),
        ("default/configmap/a", wrong_metadata(uid=7), "metadata.uid"),
        ("default/configmap/a", wrong_metadata(labels={"a": 1}), "metadata.labels"),
        ("default/service/a", {"metadata": {"name": "a"}, "spec": {"ports": 3}}, "spec.ports"),
        ("default/configmap/a", with_uid(config_map("a"), "taken"), "taken is the one of"),
        ("default/configmap/none", None, "not an object"),
    ],
)
async def test_what_cannot_be_stored_is_told_by_name_and_stops_nothing(
    world: Served, resource: str, content: Any, named_problem: str
) -> None:
    synchroniser = Synchroniser(world.store)
    session = await synchroniser.begin()
    bad = message("insert", resource, content)
    good = pushed(with_uid(config_map("good"), "taken"))
    await session.write([good, bad, bad, pushed(config_map("more"))])
    assert await named(world.store) == {"good", "more"}
    assert named_problem in synchroniser.refused[resource]
    await session.write([bad])
    assert synchroniser.written["refused"] == 2


async def test_an_object_that_can_be_stored_after_all_is_no_longer_told_of(world: Served) -> None:
    synchroniser = Synchroniser(world.store)
    session = await synchroniser.begin()
    await session.write([message("insert", "default/configmap/a", "nonsense")])
    assert list(synchroniser.refused) == ["default/configmap/a"]
    await session.write([pushed(config_map("a"))])
    assert not synchroniser.refused


async def test_a_version_that_cannot_be_stored_leaves_the_one_before_it(world: Served) -> None:
    session = await Synchroniser(world.store).begin()
    await session.write([begin("s", full=True), pushed(service("web", clusterIP="10.96.0.7"))])
    await session.write([mark(1)])
    again = await Synchroniser(world.store).begin()
    bad = message("update", "default/service/web", {"metadata": {"name": "web"}, "spec": 1})
    await again.write([begin("s", full=True), bad, mark(2)])
    assert await named(world.store) == {"web"}


async def test_kubeedges_objects_come_without_kind_and_those_of_no_namespace_as_null(
    world: Served,
) -> None:
    node = {"metadata": {"name": "edge-1", "uid": "n-1"}}
    session = await Synchroniser(world.store).begin()
    await session.write([message("update", "null/node/edge-1", node)])
    found = await world.store.get(ObjectKey("Node", "", "edge-1"))
    assert found
    assert (found.body["kind"], found.body["apiVersion"]) == ("Node", "v1")
    # Captures, point 18: what vanished while the node was away comes without kind and version.
    await session.write([message("delete", "null/node/edge-1", node)])
    assert await named(world.store) == set()


async def slices(world: Served) -> dict[str, list[str]]:
    return {
        one["metadata"]["name"]: [
            address for each in one["endpoints"] for address in each["addresses"]
        ]
        for one in await world.query("default/endpointslice")
    }


async def test_the_clouds_endpoint_slices_win_over_those_that_would_follow_here(
    world: Served,
) -> None:
    session = await Synchroniser(world.store).begin()
    web = service("web", clusterIP="10.96.0.7", selector={"app": "web"})
    await session.write([pushed(web), pushed(pod("web-1", "10.1.0.1", app="web"))])
    [(name, addresses)] = (await slices(world)).items()
    assert addresses == ["10.1.0.1"]
    sent = endpoint_slice(name, "web", "10.1.0.1", "10.1.0.2")
    await session.write([pushed(with_uid(sent, "s-1"))])
    assert await slices(world) == {name: ["10.1.0.1", "10.1.0.2"]}
    await session.write([pushed(pod("web-3", "10.1.0.3", app="web"))])
    assert await slices(world) == {name: ["10.1.0.1", "10.1.0.2"]}
    await session.write([pushed(web, "delete"), pushed(with_uid(sent, "s-1"), "delete")])
    assert await slices(world) == {}


async def test_an_address_that_is_taken_here_hinders_no_service_of_the_cloud(
    world: Served,
) -> None:
    await world.update(service("mine", clusterIP="10.96.0.7"))
    session = await Synchroniser(world.store).begin()
    await session.write([pushed(service("theirs", clusterIP="10.96.0.7"))])
    assert await named(world.store) == {"mine", "theirs"}
    await session.write([pushed(service("other", clusterIP="10.96.0.8"))])
    with pytest.raises(RefusedError, match="belongs to Service default/other"):
        await world.update(service("late", clusterIP="10.96.0.8"))


async def test_an_object_with_the_name_of_a_slice_that_would_follow_hinders_nothing(
    world: Served,
) -> None:
    """Of a stranger: it says nothing of the Service, so it does not provide for it."""
    session = await Synchroniser(world.store).begin()
    web = service("web", clusterIP="10.96.0.7", selector={"app": "web"})
    await session.write([pushed(web), pushed(pod("web-1", "10.1.0.1", app="web"))])
    [name] = await slices(world)
    stranger = endpoint_slice(name, "web", "10.9.9.9")
    del stranger["metadata"]["labels"]
    await session.write([pushed(with_uid(stranger, "x-1"))])
    await session.write([pushed(pod("web-2", "10.1.0.2", app="web"))])
    assert await slices(world) == {name: ["10.9.9.9"]}
