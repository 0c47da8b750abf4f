"""What every write passes: addresses are given once, and slices follow Services and Pods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from metamanager_fixtures import Served, config_map, endpoint_slice, pod, served, service

from edgemesh.meta.errors import Code, RefusedError
from edgemesh.model.objects import ObjectKey, Origin
from edgemesh.model.settings import MetaSettings
from edgemesh.store.transaction import Transaction
from edgemesh.wire.message import Operation


async def spec(world: Served, name: str) -> dict[str, Any]:
    found = await world.query(f"default/service/{name}")
    return dict(found["spec"])


async def derived(world: Served, of_service: str = "web") -> list[str]:
    """The addresses of the slices that we made."""
    slices = await world.query(
        "all/endpointslice",
        f"kubernetes.io/service-name={of_service},endpointslice.kubernetes.io/managed-by=edgemesh",
    )
    return [address for one in slices for each in one["endpoints"] for address in each["addresses"]]


async def refusal(world: Served, *bodies: dict[str, Any]) -> RefusedError:
    before = await world.query("all/all")
    with pytest.raises(RefusedError) as caught:
        await world.update(*bodies)
    assert await world.query("all/all") == before
    return caught.value


async def test_a_service_keeps_its_address_when_applied_again_and_restarted(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as world:
        assert await world.update(service("web", type="NodePort")) == ["created"]
        first = await spec(world, "web")
        assert first["clusterIP"].startswith("10.")
        assert await world.update(service("web", type="NodePort")) == ["unchanged"]
    async with served(tmp_path) as world:
        changed = service("web", type="NodePort", externalIPs=["192.0.2.1"])
        assert await world.update(changed) == ["configured"]
        second = await spec(world, "web")
    assert second["clusterIP"] == first["clusterIP"]
    assert second["ports"][0]["nodePort"] == first["ports"][0]["nodePort"]


async def test_an_object_as_get_prints_it_can_be_applied_again(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        await world.update(service("web"), config_map("a"))
        shown = await world.query("all/all")
        assert await world.update(*shown) == ["unchanged", "unchanged"]
        copied = {**shown[0], "metadata": {**shown[0]["metadata"], "name": "copy"}}
        await world.update(copied)
        uids = [one["metadata"]["uid"] for one in await world.query("all/configmap")]
        assert len(set(uids)) == 2


async def test_an_address_of_another_service_is_refused_naming_both(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        await world.update(service("web", clusterIP="10.96.7.7"))
        refused = await refusal(world, service("db", clusterIP="10.96.7.7"))
        assert refused.code is Code.CONFLICT
        for named in ("Service default/db", "10.96.7.7", "Service default/web"):
            assert named in refused.problem
        await world.delete("default/service/web")
        assert await world.update(service("db", clusterIP="10.96.7.7")) == ["created"]


async def test_a_node_port_of_another_service_is_refused_naming_both(tmp_path: Path) -> None:
    def with_node_port(name: str, protocol: str) -> dict[str, Any]:
        ports = [{"port": 80, "nodePort": 30080, "protocol": protocol}]
        return service(name, type="NodePort", ports=ports)

    async with served(tmp_path) as world:
        await world.update(with_node_port("web", "TCP"), with_node_port("udp", "UDP"))
        refused = await refusal(world, with_node_port("db", "TCP"))
        for named in ("Service default/db", "TCP/30080", "Service default/web"):
            assert named in refused.problem


async def test_services_beyond_the_range_are_refused(tmp_path: Path) -> None:
    async with served(tmp_path, MetaSettings(service_cidr4="10.96.0.0/27")) as world:
        await world.update(*(service(f"s{number}") for number in range(15)))
        addresses = {one["spec"]["clusterIP"] for one in await world.query("all/service")}
        assert len(addresses) == 15
        assert "no address is free" in (await refusal(world, service("one-more"))).problem


async def test_slices_follow_the_pods_that_a_service_selects(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        await world.update(
            pod("a", "10.1.0.1", app="web"),
            service("web", selector={"app": "web"}),
            pod("other", "10.1.0.9", app="db"),
            pod("elsewhere", "10.1.0.8", "two", app="web"),
        )
        assert await derived(world) == ["10.1.0.1"]
        await world.update(pod("b", "10.1.0.2", app="web", tier="front"))
        assert await derived(world) == ["10.1.0.1", "10.1.0.2"]
        await world.update(pod("a", "10.1.0.1", app="db"))
        assert await derived(world) == ["10.1.0.2"]
        await world.update(service("web", selector={"app": "web", "tier": "back"}))
        assert await derived(world) == []
        await world.update(service("web", selector={"app": "db"}))
        assert await derived(world) == ["10.1.0.1", "10.1.0.9"]
        await world.delete("default/pod/a")
        assert await derived(world) == ["10.1.0.9"]
        await world.delete("default/service/web")
        assert await world.names("all/endpointslice") == []


async def test_a_change_that_no_endpoint_sees_touches_no_slice(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        await world.update(service("web", selector={"app": "web"}), pod("a", "10.1.0.1", app="web"))
        [before] = await world.query("all/endpointslice")
        seen_by_nobody = pod("a", "10.1.0.1", app="web")
        seen_by_nobody["metadata"]["annotations"] = {"note": "x"}
        assert await world.update(seen_by_nobody) == ["configured"]
        assert await world.query("all/endpointslice") == [before]


async def test_slices_of_others_take_the_place_of_ours_while_they_are_there(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as world:
        await world.update(service("web", selector={"app": "web"}), pod("a", "10.1.0.1", app="web"))
        await world.update(endpoint_slice("web-1", "web", "192.0.2.1"))
        assert await derived(world) == []
        await world.update(endpoint_slice("web-1", "another", "192.0.2.1"))
        assert await derived(world) == ["10.1.0.1"]
        endpoints = {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": "web", "namespace": "default"},
            "subsets": [],
        }
        await world.update(endpoints)
        assert await derived(world) == []
        await world.delete("default/endpoints/web")
        assert await derived(world) == ["10.1.0.1"]


async def test_a_service_without_selector_gets_no_slices(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        await world.update(service("web"), pod("a", "10.1.0.1", app="web"))
        assert await world.names("all/endpointslice") == []


async def test_a_derived_slice_is_neither_replaced_nor_deleted_by_hand(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        await world.update(service("web", selector={"app": "web"}), pod("a", "10.1.0.1", app="web"))
        [ours] = await world.query("all/endpointslice")
        assert "follows from" in (await refusal(world, {**ours, "endpoints": []})).problem
        with pytest.raises(RefusedError, match="follows from"):
            await world.delete(f"default/endpointslice/{ours['metadata']['name']}")


async def test_what_comes_from_the_cloud_is_not_replaced_by_hand(tmp_path: Path) -> None:
    key = ObjectKey("ConfigMap", "default", "a")

    def synced(transaction: Transaction) -> None:
        transaction.put(key, config_map("a"), Origin.SYNCED, None)

    async with served(tmp_path) as world:
        await world.store.transact(synced)
        assert "comes from the cloud" in (await refusal(world, config_map("a", x="1"))).problem


async def test_a_stored_pod_that_no_longer_passes_is_named_not_a_crash(tmp_path: Path) -> None:
    bad = pod("old", "10.1.0.1", app="web")
    bad["spec"]["nodeName"] = 7

    def stored_by_an_older_version(transaction: Transaction) -> None:
        transaction.put(ObjectKey("Pod", "default", "old"), bad, Origin.APPLIED, None)

    async with served(tmp_path) as world:
        await world.store.transact(stored_by_an_older_version)
        refused = await refusal(world, service("web", selector={"app": "web"}))
        assert "endpoints of Service default/web: spec.nodeName" in refused.problem


async def test_applying_a_pod_without_status_keeps_the_one_it_has(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        running = pod("a", "10.1.0.1", app="web")
        await world.update(running)
        without = {key: value for key, value in running.items() if key != "status"}
        assert await world.update(without) == ["unchanged"]


async def test_objects_without_a_namespace_go_to_default_and_clusters_to_none(
    tmp_path: Path,
) -> None:
    unplaced = config_map("a")
    del unplaced["metadata"]["namespace"]
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "namespace": "x"}}
    async with served(tmp_path) as world:
        await world.update(unplaced, node)
        assert await world.names("default/configmap") == ["a"]
        [found] = await world.query("null/node")
        assert "namespace" not in found["metadata"]


async def test_fifty_clients_at_once_lose_nothing(tmp_path: Path) -> None:
    async def work(world: Served, number: int) -> None:
        async with world.connect() as client:
            for turn in range(3):
                body = service(f"s{number}-{turn}")
                await client.request(Operation.INSERT, f"default/service/s{number}-{turn}", body)

    async with served(tmp_path) as world:
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(work, world, number)
        services = await world.query("all/service")
        assert len(services) == 150
        assert len({one["spec"]["clusterIP"] for one in services}) == 150
