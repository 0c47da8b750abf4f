"""What EdgeCore was recorded to send, sent to our hub; our answers held against CloudCore's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import captured
from cloud_fixtures import Cloud, Node, serving

from edgemesh.model.objects import ObjectKey

EDGE = "cap-edged"
SESSION = "registration"
FILE = "edge-to-cloudhub.jsonl"

# What a server gives an object, or does to it: never the same twice, or an admission
# controller's; and heartbeats, which we do not store.
_SERVERS = {
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "lastHeartbeatTime",
    "taints",
    "cloudcore",
}


def recorded() -> Iterator[dict[str, Any]]:
    """Lines of the recorded connection."""
    for line in captured.lines(FILE):
        if line["session"] == SESSION and line.get("conn") == 2:
            yield line


def frames(direction: str) -> list[dict[str, Any]]:
    return [line["frame"] for line in recorded() if line["dir"] == direction and "frame" in line]


def is_acknowledgement(frame: dict[str, Any]) -> bool:
    return bool(frame["content"] == "OK")


def comparable(value: Any) -> Any:
    """JSON without what differs from server to server."""
    if isinstance(value, dict):
        return {key: comparable(each) for key, each in value.items() if key not in _SERVERS}
    if isinstance(value, list):
        return [comparable(each) for each in value]
    return value


def handshake() -> dict[str, str]:
    """EdgeCore's own headers, as it spells them; those of WebSocket are the library's."""
    [request] = [line["upgrade"] for line in recorded() if "headers" in line.get("upgrade", {})][:1]
    return {
        name: value
        for name, value in request["headers"]
        if name in {"User-Agent", "Connectionuse", "Node_id", "Project_id"}
    }


async def answered(node: Node, msg_id: str) -> dict[str, Any]:
    """Receive and acknowledge, as EdgeCore does, until the answer is there."""
    while True:
        frame = await node.next()
        if frame["header"].get("parent_msg_id") == msg_id:
            return frame


async def replayed(cloud: Cloud) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Every answer of ours, with the one that CloudCore gave to the same frame."""
    theirs = {
        frame["header"]["parent_msg_id"]: frame
        for frame in frames("cloud->edge")
        if "parent_msg_id" in frame["header"]
    }
    pairs = []
    async with cloud.node(EDGE, headers=handshake(), edgemesh=False) as node:
        for frame in frames("edge->cloud"):
            if is_acknowledgement(frame):
                continue
            await node.connection.send_message(json.dumps(frame))
            answer = theirs.get(frame["header"]["msg_id"])
            if answer is not None:
                pairs.append((await answered(node, frame["header"]["msg_id"]), answer))
    return pairs


async def test_an_edge_registers_as_it_did_with_cloudcore(tmp_path: Path) -> None:
    async with serving(tmp_path) as cloud:
        pairs = await replayed(cloud)
        assert len(pairs) >= 10
        for ours, theirs in pairs:
            assert ours["route"] == theirs["route"]
            assert list(ours["header"]) == list(theirs["header"])
            assert comparable(ours["content"]) == comparable(theirs["content"])
        assert not cloud.hub.refusals.by_reason


async def test_its_node_is_pushed_as_cloudcore_pushes_it(tmp_path: Path) -> None:
    wanted = next(
        frame for frame in frames("cloud->edge") if "parent_msg_id" not in frame["header"]
    )
    insert = next(
        frame
        for frame in frames("edge->cloud")
        if frame["route"]["resource"] == f"null/node/{EDGE}"
        and frame["route"]["operation"] == "insert"
    )
    async with (
        serving(tmp_path) as cloud,
        cloud.node(EDGE, headers=handshake(), edgemesh=False) as node,
    ):
        await node.connection.send_message(json.dumps(insert))
        pushed = await node.next()
        while "parent_msg_id" in pushed["header"]:
            pushed = await node.next()
        assert pushed["route"] == wanted["route"]
        assert list(pushed["header"]) == list(wanted["header"])
        assert comparable(pushed["content"]) == comparable(wanted["content"])


async def test_a_config_map_that_was_asked_for_is_followed_and_its_answer_insisted_on(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, resend_seconds=0.2) as cloud:
        volume = {"name": "v", "configMap": {"name": "cm"}}
        await cloud.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "p", "namespace": "default"},
                "spec": {"nodeName": EDGE, "volumes": [volume]},
            },
            config_map("1"),
        )
        async with cloud.node(EDGE, edgemesh=False) as node:
            assert (await node.next())["route"]["resource"] == "default/pod/p"
            asked = await node.send("query", "default/configmap/cm")
            first = await node.receive_new()
            assert first["header"]["parent_msg_id"] == asked
            assert first["content"]["data"] == {"k": "1"}
            while await node.receive() != first:
                pass
            await node.acknowledge(first)
            await cloud.apply(config_map("2"))
            pushed = await node.receive_new()
            assert pushed["route"]["operation"] == "update"
            assert pushed["content"]["data"] == {"k": "2"}


def config_map(value: str) -> dict[str, Any]:
    metadata = {"name": "cm", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"k": value}}


async def test_an_edge_that_was_away_hears_what_was_deleted_meanwhile(tmp_path: Path) -> None:
    async with serving(tmp_path) as cloud:
        await cloud.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "p", "namespace": "default"},
                "spec": {"nodeName": EDGE},
            }
        )
        await cloud.delete(ObjectKey("Pod", "default", "p"))
        async with cloud.node(EDGE, edgemesh=False) as node:
            pushed = await node.next()
            assert pushed["route"]["operation"] == "delete"
            assert pushed["route"]["resource"] == "default/pod/p"
            assert pushed["content"]["metadata"]["uid"]
