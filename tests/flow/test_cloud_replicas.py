"""Two replicas in one process, over one PostgreSQL."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from cloud_fixtures import (
    PATIENCE_SECONDS,
    Cloud,
    Node,
    serving_at,
    told,
    until,
    until_asked,
)
from postgres_cluster import Cluster, running_cluster
from test_cloud_sessions import closed, question
from test_cloud_sync import service

from edgemesh.bus.close_codes import CloseCode
from edgemesh.bus.cloudhub.replicas import Replicas
from edgemesh.bus.router.nodes import NodeAwayError, NodeSilentError
from edgemesh.wire.message import Message


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster() as running:
        yield running


@pytest.fixture(autouse=True)
def _no_replica_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who stands still for a moment is not taken for dead, often as all say that they live."""
    monkeypatch.setattr("edgemesh.bus.cloudhub.replicas._PERIODS", 150)


@asynccontextmanager
async def two_replicas(folder: Path, cluster: Cluster) -> AsyncIterator[tuple[Cloud, Cloud]]:
    url = cluster.new_database()
    for name in ("a", "b"):
        (folder / name).mkdir()
    async with (
        serving_at(folder / "a", url, name="a", presence_seconds=0.2) as a,
        serving_at(folder / "b", url, name="b", presence_seconds=0.2) as b,
    ):
        await until(lambda: len(replicas(a).living) == len(replicas(b).living) == 2)
        yield a, b


def replicas(cloud: Cloud) -> Replicas:
    assert cloud.hub.replicas is not None
    return cloud.hub.replicas


async def until_at(cloud: Cloud, node: str, place: str) -> None:
    """Wait until a replica knows where a node is."""

    async def is_there() -> bool:
        found = await replicas(cloud).where(node)
        return (found.name if found else "") == place

    await until_asked(is_there)


async def test_replicas_share_the_authority(tmp_path: Path, cluster: Cluster) -> None:
    async with two_replicas(tmp_path, cluster) as (a, b):
        assert a.credentials.authority_pem == b.credentials.authority_pem
        async with b.node("n1", identity=a.identity("n1")) as node:
            await node.ask_for_sync()


async def test_what_is_applied_at_one_replica_reaches_nodes_of_the_other(
    tmp_path: Path, cluster: Cluster
) -> None:
    async with two_replicas(tmp_path, cluster) as (a, b), b.node("n1") as node:
        await node.ask_for_sync()
        await node.until_synced()
        await a.apply(service("web"))
        frames = await node.until_synced()
        assert ("insert", "default/service/web") in told(frames)


async def test_a_node_that_changes_the_replica_goes_on_where_it_was(
    tmp_path: Path, cluster: Cluster
) -> None:
    async with two_replicas(tmp_path, cluster) as (a, b):
        await a.apply(service("old"))
        async with a.node("n1") as node:
            begun = await node.ask_for_sync()
            resources: set[str] = set()
            # The hub hears of what was applied a moment later, and is at revision 0 until then.
            while "default/service/old" not in resources:
                frames = await node.until_synced()
                resources |= {resource for _, resource in told(frames)}
            revision = frames[-1]["content"]["revision"]
        await a.apply(service("new"))
        async with b.node("n1") as node:
            begun = await node.ask_for_sync(begun["store"], revision)
            assert begun["full"] is False
            resources = set()
            # The other replica may hear of it a moment later.
            while "default/service/new" not in resources:
                resources |= {resource for _, resource in told(await node.until_synced())}
            assert "default/service/old" not in resources


async def test_a_replica_that_is_late_to_tell_of_a_node_does_not_end_its_next_connection(
    tmp_path: Path, cluster: Cluster
) -> None:
    async with two_replicas(tmp_path, cluster) as (a, b), trio.open_nursery() as nursery:
        busy = threading.Event()
        nursery.start_soon(a.store.write_rows, lambda _connection: busy.wait(10))
        async with a.node("n1"):
            await until(lambda: a.hub.sessions.get("n1"))
        await until(lambda: not len(a.hub.sessions))
        async with b.node("n1"):
            await until_at(b, "n1", "b")
            busy.set()
            # What it had to tell it has told before this.
            async with a.node("n2"):
                await until_at(b, "n2", "a")
            session = b.hub.sessions.get("n1")
            assert session is not None
            assert session.farewell is None
            await until_at(a, "n1", "b")


async def test_a_question_finds_a_node_at_another_replica_and_its_answer_comes_back(
    tmp_path: Path, cluster: Cluster
) -> None:
    async with two_replicas(tmp_path, cluster) as (a, b), b.node("n1") as node:
        await until_at(a, "n1", "b")
        answers: list[Message] = []

        async def ask() -> None:
            answers.append(await a.hub.sessions.ask("n1", question(), PATIENCE_SECONDS))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await answer_one(node, "yes")
        assert answers[0].value() == "yes"
        await a.hub.sessions.tell("n1", question())
        assert (await node.receive())["content"] == "?"


async def answer_one(node: Node, content: str) -> None:
    frame = await node.receive()
    assert frame["content"] == "?"
    parent = frame["header"]["msg_id"]
    await node.send("upload", "", content, source="servicebus", group="user", parent=parent)


async def test_a_question_says_whether_a_node_elsewhere_is_silent_or_gone(
    tmp_path: Path, cluster: Cluster
) -> None:
    async with two_replicas(tmp_path, cluster) as (a, b):
        with pytest.raises(NodeAwayError):
            await a.hub.sessions.ask("n1", question(), PATIENCE_SECONDS)
        async with b.node("n1"):
            await until_at(a, "n1", "b")
            with pytest.raises(NodeSilentError):
                await a.hub.sessions.ask("n1", question(), 0.3)
        await until_at(a, "n1", "")
        with pytest.raises(NodeAwayError):
            await a.hub.sessions.ask("n1", question(), PATIENCE_SECONDS)


async def test_a_node_that_connects_to_another_replica_is_ended_at_the_first(
    tmp_path: Path, cluster: Cluster
) -> None:
    async with two_replicas(tmp_path, cluster) as (a, b):
        identity = a.identity("n1")
        async with a.node("n1", identity=identity) as first:
            await until_at(b, "n1", "a")
            async with b.node("n1", identity=identity) as second:
                code, reason = await closed(first)
                assert code == CloseCode.TOOK_OVER
                assert reason == "node n1 has connected again, to b"
                await until_at(a, "n1", "b")
                await second.ask_for_sync()


async def test_who_is_revoked_at_one_replica_is_cut_off_at_the_other(
    tmp_path: Path, cluster: Cluster
) -> None:
    async with two_replicas(tmp_path, cluster) as (a, b), b.node("n1") as node:
        await a.credentials.table.revoke("n1")
        assert (await closed(node))[0] == CloseCode.REVOKED


async def test_replicas_that_forget_each_other_know_their_nodes_again(
    tmp_path: Path, cluster: Cluster
) -> None:
    async with two_replicas(tmp_path, cluster) as (a, b), b.node("n1"):
        await until_at(a, "n1", "b")
        # As if b had been frozen for long: the others have cleared it away.
        await a.store.write_rows(
            lambda connection: connection.exec_driver_sql("DELETE FROM replicas")
        )
        await until_at(a, "n1", "b")


async def test_questions_to_a_replica_that_ends_are_answered_once_or_end_in_time(
    tmp_path: Path, cluster: Cluster
) -> None:
    url = cluster.new_database()
    seen: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    async with serving_at(tmp_path / "a", url, name="a", presence_seconds=0.2) as a:

        async def ask() -> None:
            try:
                await a.hub.sessions.ask("n1", question(), 6)
            except (NodeAwayError, NodeSilentError) as error:
                outcomes[type(error).__name__] += 1
            else:
                outcomes["answered"] += 1

        async def answer_half(node: Node) -> None:
            while True:
                frame = await node.receive()
                seen[frame["header"]["msg_id"]] += 1
                if len(seen) % 2:
                    parent = frame["header"]["msg_id"]
                    await node.send("upload", "", "!", group="user", parent=parent)

        async with (
            trio.open_nursery() as asking,
            serving_at(tmp_path / "b", url, name="b", presence_seconds=0.2) as b,
            b.node("n1") as node,
            trio.open_nursery() as answering,
        ):
            await until_at(a, "n1", "b")
            answering.start_soon(answer_half, node)
            for _ in range(20):
                asking.start_soon(ask)
            await until(lambda: outcomes["answered"] >= 5)
            answering.cancel_scope.cancel()
    assert outcomes.total() == 20
    assert outcomes["answered"] <= (len(seen) + 1) // 2
    assert set(seen.values()) == {1}
