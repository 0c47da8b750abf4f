"""The store says what the API server says: changes, lists, and what neither may disturb."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from metamanager_fixtures import Body, Served, endpoint_slice, pod, served, service
from sync_messages import with_uid

from edgemesh.meta.mirror import Mirror
from edgemesh.model.objects import ObjectKey, Origin
from edgemesh.model.reflection import Change, Name, Resource
from edgemesh.model.streams import LINK_ANNOTATION
from edgemesh.model.sync import SyncPosition
from edgemesh.store.errors import StoreError
from edgemesh.store.rows import Scope
from edgemesh.store.transaction import Transaction

SERVICES = Resource("Service", "/api/v1/services")
PODS = Resource("Pod", "/api/v1/pods")
PODS_HERE = PODS._replace(field_selector="spec.nodeName=edge-1")
SLICES = Resource("EndpointSlice", "/apis/discovery.k8s.io/v1/endpointslices")
NODES = Resource("Node", "/api/v1/nodes", namespaced=False)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as serving:
        yield serving


def mirror_of(world: Served) -> Mirror:
    return Mirror(world.store, 0.01)


def there(*bodies: Body) -> list[Change]:
    return [Change(deleted=False, body=body) for body in bodies]


def gone(body: Body) -> list[Change]:
    return [Change(deleted=True, body=body)]


async def names(world: Served, kind: str) -> set[str]:
    return {one.key.name for one in await world.store.read(Scope(kind))}


async def test_a_list_in_parts_leaves_what_it_names_and_nothing_else(world: Served) -> None:
    mirror = mirror_of(world)
    await world.update(service("mine"))
    await mirror.change(SERVICES, there(*(service(name) for name in "abc")))
    await mirror.change(SLICES, there(endpoint_slice("a-1", "a", "10.0.0.1")))
    await mirror.keep_only(SERVICES, {Name("default", "a"), Name("default", "c")})
    assert await names(world, "Service") == {"mine", "a", "c"}
    assert await names(world, "EndpointSlice") == {"a-1"}


async def test_what_selectors_do_not_choose_is_no_part_of_the_list(world: Served) -> None:
    mirror = mirror_of(world)
    elsewhere = pod("far", "10.0.0.9")
    elsewhere["spec"]["nodeName"] = "edge-2"
    await mirror.change(PODS, there(pod("a", "10.0.0.1"), pod("b", "10.0.0.2"), elsewhere))
    await mirror.keep_only(PODS_HERE, [Name("default", "b")])
    assert await names(world, "Pod") == {"b", "far"}
    await mirror.narrow(PODS)
    assert await names(world, "Pod") == {"b", "far"}
    await mirror.narrow(PODS_HERE)
    assert await names(world, "Pod") == {"b"}


async def test_the_last_of_several_changes_counts(world: Served) -> None:
    mirror = mirror_of(world)
    before = world.store.revision
    first = with_uid(service("a"), "u-1")
    again = with_uid(service("a", sessionAffinity="ClientIP"), "u-2")
    await mirror.change(SERVICES, there(first) + gone(first) + there(again))
    found = await world.store.get(ObjectKey("Service", "default", "a"))
    assert found is not None
    assert (found.uid, found.origin) == ("u-2", Origin.SYNCED)
    assert world.store.revision == before + 1
    await mirror.change(SERVICES, gone(first))
    assert await names(world, "Service") == {"a"}
    await mirror.change(SERVICES, gone(again))
    assert not await names(world, "Service")


async def test_uids_and_addresses_may_change_hands_within_one_write(world: Served) -> None:
    mirror = mirror_of(world)

    def at(name: str, address: str) -> Body:
        return with_uid(service(name, clusterIP=address, clusterIPs=[address]), f"u-{name}")

    await mirror.change(SERVICES, there(at("a", "10.96.1.1"), at("b", "10.96.1.2")))
    await mirror.change(SERVICES, there(at("a", "10.96.1.2"), at("b", "10.96.1.1")))
    await mirror.change(
        SERVICES, gone(at("a", "10.96.1.2")) + there(with_uid(at("c", "10.96.1.2"), "u-a"))
    )

    def owners(transaction: Transaction) -> list[ObjectKey | None]:
        return [transaction.owner_of(f"10.96.1.{number}") for number in (1, 2)]

    found, _ = await world.store.transact(owners)
    assert [owner.name for owner in found if owner] == ["b", "c"]


async def test_what_cannot_be_stored_is_told_and_holds_up_nothing(world: Served) -> None:
    mirror = mirror_of(world)
    await mirror.change(SERVICES, there(service("a")))
    wrong = service("a", ports=[{"port": 99999}])
    await mirror.change(SERVICES, there(wrong, service("b")))
    key = ObjectKey("Service", "default", "a")
    assert "99999" in mirror.refused[key]
    kept = await world.store.get(key)
    assert kept is not None
    assert kept.body["spec"]["ports"][0]["port"] == 80
    assert await names(world, "Service") == {"a", "b"}
    await mirror.change(SERVICES, there(service("a"), service("c", ports=[])))
    assert set(mirror.refused) == {ObjectKey("Service", "default", "c")}
    await mirror.keep_only(SERVICES, {Name("default", "a"), Name("default", "b")})
    assert not mirror.refused


async def test_a_uid_that_another_object_has_is_refused(world: Served) -> None:
    mirror = mirror_of(world)
    await mirror.change(SERVICES, there(with_uid(service("a"), "u-1")))
    await mirror.change(SERVICES, there(with_uid(service("b"), "u-1")))
    assert list(mirror.refused.values()) == ["metadata.uid: u-1 is the one of Service default/a"]


async def test_endpoints_are_not_derived_for_what_is_mirrored_but_for_ones_own(
    world: Served,
) -> None:
    mirror = mirror_of(world)
    await mirror.change(SERVICES, there(service("theirs", selector={"app": "x"})))
    await world.update(service("mine", selector={"app": "x"}))
    await mirror.change(PODS, there(pod("p", "10.0.0.1", app="x")))
    [derived] = await world.store.read(Scope("EndpointSlice"))
    assert derived.labels["kubernetes.io/service-name"] == "mine"
    await mirror.change(SERVICES, there(service("mine", selector={"app": "x"})))
    assert not await names(world, "EndpointSlice")


async def test_a_node_keeps_its_links_when_kubernetes_tells_of_it(world: Served) -> None:
    mirror = mirror_of(world)
    told: dict[str, Any] = {"name": "edge-1", "annotations": {LINK_ANNOTATION: "10.0.0.1:10006"}}
    await world.update({"apiVersion": "v1", "kind": "Node", "metadata": told})
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "edge-1", "uid": "u"}}
    await mirror.change(NODES, there(body))
    found = await world.store.get(ObjectKey("Node", "", "edge-1"))
    assert found is not None
    assert found.origin is Origin.SYNCED
    assert found.body["metadata"]["annotations"] == {LINK_ANNOTATION: "10.0.0.1:10006"}
    await mirror.keep_only(NODES, ())
    assert not await names(world, "Node")


async def test_a_write_that_the_database_refuses_is_tried_again(
    world: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = mirror_of(world)
    transact, refusals = world.store.transact, [StoreError("store: write refused: full")] * 2

    async def refusing(work: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return await transact(work)

    monkeypatch.setattr(world.store, "transact", refusing)
    await mirror.change(SERVICES, there(service("a")))
    await mirror.missing(SERVICES)
    assert await names(world, "Service") == {"a"}


async def test_a_node_that_goes_back_to_a_cloud_begins_anew(world: Served) -> None:
    position = SyncPosition("cloud", 7)
    await world.store.transact(lambda transaction: transaction.note_position(position))
    await mirror_of(world).begin()
    assert await world.store.sync_position() == SyncPosition()
