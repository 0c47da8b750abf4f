"""A Node of Kubernetes keeps how the mesh reaches it, whichever is told of first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cloud_fixtures import Cloud, Frame, Node, serving

from edgemesh.meta.mirror import Mirror
from edgemesh.model.objects import KubeObject, ObjectKey, Origin
from edgemesh.model.reflection import Change, Resource

NODES = Resource("Node", "/api/v1/nodes", namespaced=False)
LINK = {"addresses": ["192.0.2.1:10006"], "version": "9"}


async def tell_of_it(cloud: Cloud, **labels: str) -> None:
    """Kubernetes tells of the Node."""
    metadata: dict[str, Any] = {"name": "n1", "uid": "of-kubernetes", "labels": labels}
    body = {"apiVersion": "v1", "kind": "Node", "metadata": metadata}
    await Mirror(cloud.store, 1).change(NODES, [Change(deleted=False, body=body)])
    await cloud.hub.changes.caught_up()


async def tell_its_link(node: Node, other: Node) -> Frame:
    """The node tells how it is reached; what another hears of it, once it knows that."""
    await node.send("update", "null/nodelink/n1", LINK, source="edgehub", group="resource")
    content: Frame = {}
    while "annotations" not in content.get("metadata", {}):
        content = (await other.next())["content"]
    return content


async def stored(cloud: Cloud) -> KubeObject:
    found = await cloud.store.get(ObjectKey("Node", "", "n1"))
    assert found is not None
    return found


@pytest.mark.parametrize("kubernetes_first", [True, False])
async def test_a_node_of_kubernetes_keeps_its_link(
    tmp_path: Path, *, kubernetes_first: bool
) -> None:
    async with serving(tmp_path) as cloud, cloud.node("n1") as node, cloud.node("n2") as other:
        if kubernetes_first:
            await tell_of_it(cloud, zone="a")
        await other.ask_for_sync()
        await other.until_synced()
        told = await tell_its_link(node, other)
        assert told["metadata"]["annotations"]["edgemesh.io/link"] == "192.0.2.1:10006"
        await tell_of_it(cloud, zone="b")
        found = await stored(cloud)
        assert (found.origin, found.uid) == (Origin.SYNCED, "of-kubernetes")
        assert found.labels == {"zone": "b"}
        assert found.body["metadata"]["annotations"] == {
            "edgemesh.io/link": "192.0.2.1:10006",
            "edgemesh.io/version": "9",
        }
