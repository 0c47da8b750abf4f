from __future__ import annotations

from pathlib import Path
from typing import Any

from cloud_fixtures import serving, told

from edgemesh.model.objects import ObjectKey


def service(name: str, port: int = 80) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"ports": [{"port": port}], "selector": {"app": name}},
    }


def key(name: str) -> ObjectKey:
    return ObjectKey("Service", "default", name)


async def test_a_new_node_is_sent_all_that_there_is_and_then_that_this_was_all(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as cloud:
        await cloud.apply(service("web"), service("db"))
        async with cloud.node() as node:
            begun = await node.ask_for_sync()
            assert begun["full"] is True
            assert begun["store"] == cloud.store.uid
            frames = await node.until_synced()
            assert {resource for _, resource in told(frames[:-1])} >= {
                "default/service/web",
                "default/service/db",
            }
            assert frames[-1]["content"] == {"revision": cloud.store.revision, "synced": True}


async def test_a_change_reaches_a_node_that_has_everything(tmp_path: Path) -> None:
    async with serving(tmp_path) as cloud, cloud.node() as node:
        await node.ask_for_sync()
        await node.until_synced()
        await cloud.apply(service("web"))
        frames = await node.until_synced()
        assert ("insert", "default/service/web") in told(frames)
        assert frames[0]["content"]["spec"]["ports"] == [{"port": 80}]
        await cloud.apply(service("web", 81))
        assert ("update", "default/service/web") in told(await node.until_synced())
        await cloud.delete(key("web"))
        frames = await node.until_synced()
        assert ("delete", "default/service/web") in told(frames)


async def test_a_node_that_comes_back_is_sent_what_has_happened_since(tmp_path: Path) -> None:
    async with serving(tmp_path) as cloud:
        await cloud.apply(service("stays"), service("goes"))
        async with cloud.node() as node:
            await node.ask_for_sync()
            revision = (await node.until_synced())[-1]["content"]["revision"]
        await cloud.delete(key("goes"))
        await cloud.apply(service("comes"))
        async with cloud.node() as node:
            begun = await node.ask_for_sync(cloud.store.uid, revision)
            assert begun["full"] is False
            assert {
                name for name in told(await node.until_synced()) if "endpointslice" not in name[1]
            } == {
                ("delete", "default/service/goes"),
                ("insert", "default/service/comes"),
                ("update", "all/sync"),
            }


async def test_a_node_of_another_store_is_sent_everything(tmp_path: Path) -> None:
    async with serving(tmp_path) as cloud:
        await cloud.apply(service("web"))
        async with cloud.node() as node:
            begun = await node.ask_for_sync("another", 1)
            assert begun["full"] is True
