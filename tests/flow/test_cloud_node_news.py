"""What edgemesh nodes are told of each other: little, in batches, and nothing else waits for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio
import trio.testing
from cloud_fixtures import Cloud, Frame, Node, serving, told, until
from test_cloud_sync import service

from edgemesh.model.errors import OperatorError
from edgemesh.model.objects import ObjectKey

Clock = trio.testing.MockClock
QUIET = 0.2
# Longer than any test: what waits goes only when it is made to.
SLOW = {"node_news_quiet_seconds": 60, "node_news_seconds": 60, "node_news_most_seconds": 60}


def node_object(name: str, **parts: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, **parts}


def report(name: str, at: str) -> dict[str, Any]:
    """A Node as its kubelet writes it again and again."""
    conditions = [{"type": "Ready", "status": "True", "lastHeartbeatTime": at}]
    addresses = [{"type": "InternalIP", "address": "192.0.2.1"}]
    return node_object(name, status={"conditions": conditions, "addresses": addresses})


async def synced(node: Node, cloud: Cloud, revision: int = 0) -> list[Frame]:
    await node.ask_for_sync(cloud.store.uid if revision else "", revision)
    return await node.until_synced()


async def it_is_quiet(cloud: Cloud, clock: Clock) -> None:
    """Let pass what is waited for after the last news, once all nodes know the earlier ones."""
    await until(lambda: not cloud.hub.sessions.are_behind())
    clock.jump(QUIET)


async def test_many_nodes_are_told_of_in_one_frame(tmp_path: Path, mock_clock: Clock) -> None:
    async with serving(tmp_path, node_news_quiet_seconds=QUIET) as cloud, cloud.node() as node:
        await synced(node, cloud)
        for number in range(5):
            await cloud.apply(node_object(f"e{number}"))
        await it_is_quiet(cloud, mock_clock)
        frames = await node.until_synced()
        assert [resource for _, resource in told(frames[:-1])] == [
            f"null/node/e{number}" for number in range(5)
        ]
        assert frames[-1]["content"]["revision"] == cloud.store.revision


async def test_a_service_does_not_wait_for_news_of_nodes(tmp_path: Path) -> None:
    async with serving(tmp_path, **SLOW) as cloud, cloud.node() as node:
        marked = (await synced(node, cloud))[-1]["content"]["revision"]
        await cloud.apply(node_object("e1"))
        await cloud.apply(service("web"))
        frames = await node.until_synced()
        assert ("insert", "default/service/web") in told(frames)
        assert not [one for one in told(frames) if "null/node/" in one[1]]
        # Where the node goes on if it breaks off now: before what it was not told.
        assert frames[-1]["content"]["revision"] == marked


async def test_what_waits_is_told_to_a_node_that_comes_back_meanwhile(
    tmp_path: Path, mock_clock: Clock
) -> None:
    async with serving(tmp_path, node_news_quiet_seconds=QUIET) as cloud:
        async with cloud.node() as node:
            await synced(node, cloud)
            await cloud.apply(node_object("e1"))
            await cloud.apply(service("web"))
            revision = (await node.until_synced())[-1]["content"]["revision"]
        async with cloud.node() as node:
            frames = await synced(node, cloud, revision)
            await it_is_quiet(cloud, mock_clock)
            while ("update", "null/node/e1") not in told(frames):
                frames += await node.until_synced()


async def test_a_full_sync_names_a_node_whose_news_wait_and_a_deletion_that_waits_follows(
    tmp_path: Path, mock_clock: Clock
) -> None:
    async with serving(tmp_path, node_news_quiet_seconds=QUIET) as cloud:
        async with cloud.node() as other:
            await synced(other, cloud)
            await cloud.apply(node_object("e1"), node_object("e2"))
            await it_is_quiet(cloud, mock_clock)
            await other.until_synced()
        await cloud.apply(node_object("e1", spec={"unschedulable": True}))
        await cloud.delete(ObjectKey("Node", "", "e2"))
        async with cloud.node() as node:
            before = await synced(node, cloud)
            # Nothing that is there is taken for gone, and what is gone is told to be.
            assert {("update", "null/node/e1"), ("update", "null/node/e2")} <= set(told(before))
            await it_is_quiet(cloud, mock_clock)
            after = await node.until_synced()
            assert told(after[:-1]) == [("update", "null/node/e1"), ("delete", "null/node/e2")]


async def test_a_kubelets_reports_are_no_news(tmp_path: Path) -> None:
    async with serving(tmp_path, node_news_quiet_seconds=0.01) as cloud, cloud.node() as node:
        await synced(node, cloud)
        await cloud.apply(report("e1", "2026-11-22T20:00:00Z"))
        [first, _] = await node.until_synced()
        assert first["content"]["status"] == {
            "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]
        }
        await cloud.apply(report("e1", "2026-11-22T20:00:10Z"))
        await cloud.apply(node_object("e2"))
        assert ("update", "null/node/e1") not in told(await node.until_synced())
        changed = report("e1", "2026-11-22T20:00:20Z")
        changed["metadata"]["labels"] = {"topology.kubernetes.io/zone": "z2"}
        await cloud.apply(changed)
        assert ("update", "null/node/e1") in told(await node.until_synced())


async def test_a_node_of_kubeedge_is_sent_its_whole_node_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path, **SLOW) as cloud, cloud.node("e1", edgemesh=False) as node:
        await cloud.apply(report("e1", "2026-11-22T20:00:00Z"))
        assert "conditions" in (await node.next())["content"]["status"]


async def test_more_is_told_once_most_have_taken_in_what_was_told_before(tmp_path: Path) -> None:
    pace = {"node_news_quiet_seconds": 0.05, "node_news_seconds": 0.1}
    async with serving(tmp_path, **pace) as cloud, cloud.node() as node:
        await synced(node, cloud)
        await cloud.apply(node_object("e1"))
        held = [await node.receive(), await node.receive()]
        await cloud.apply(node_object("e2"))
        with trio.move_on_after(0.5) as quiet:
            await node.connection.get_message()
        assert quiet.cancelled_caught
        await node.acknowledge(held[-1])
        assert told(await node.until_synced())[0] == ("update", "null/node/e2")


async def test_nodes_that_take_in_nothing_do_not_hold_up_the_others_for_long(
    tmp_path: Path,
) -> None:
    pace = {"node_news_quiet_seconds": 0.05, "node_news_most_seconds": 0.5}
    async with serving(tmp_path, **pace) as cloud, cloud.node() as node, cloud.node("n2") as frozen:
        await synced(node, cloud)
        await frozen.ask_for_sync()
        await until(cloud.hub.sessions.are_behind)
        for name in ("e1", "e2"):
            await cloud.apply(node_object(name))
            assert told(await node.until_synced())[0] == ("update", f"null/node/{name}")


async def test_a_node_is_told_where_it_stands_before_it_has_missed_too_much(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as cloud, cloud.node() as node:
        await synced(node, cloud)
        every = cloud.hub.changes.mark_every
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "default"}}
        for start in range(0, every + 1, 500):
            maps = [
                {**body, "metadata": {"name": f"m{start + n}", "namespace": "default"}}
                for n in range(500)
            ]
            await cloud.apply(*maps)
        [mark] = await node.until_synced()
        assert mark["content"]["revision"] > every


async def test_one_node_whose_links_cannot_be_noted_does_not_hinder_others(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as cloud:
        notes = cloud.hub.link_notes
        problems: list[str] = []

        async def note(node: str) -> None:
            try:
                await notes.note(node, {"edgemesh.io/link": "192.0.2.1:10006"})
            except OperatorError as problem:
                problems.append(f"{node}: {problem}")

        async with trio.open_nursery() as nursery:
            for name in ("n1", "Not A Name", "n2"):
                nursery.start_soon(note, name)
        assert len(problems) == 1
        assert problems[0].startswith("Not A Name: ")
        for name in ("n1", "n2"):
            assert await cloud.store.get(ObjectKey("Node", "", name)) is not None
