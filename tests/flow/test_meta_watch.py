"""A watch lists first, then streams, and lists again rather than lose anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from metamanager_fixtures import Served, config_map, served

from edgemesh.meta.client import Client, WatchEvent, WatchEventType, watch
from edgemesh.meta.errors import Code, RefusedError
from edgemesh.model.settings import MetaSettings
from edgemesh.store.watch import Batch
from edgemesh.wire.message import Message, Operation

WHOLE = "all/configmap"


async def subscribed(client: Client, resource: str = WHOLE) -> list[str]:
    """Subscribe; return the names of the list, which ends at "synced"."""
    await client.send(Operation.SUBSCRIBE, resource)
    names = []
    while (message := await client.receive()).route.operation == Operation.INSERT:
        names.append(message.resource.name)
    assert (message.route.operation, message.value()) == (Operation.RESPONSE, "synced")
    return names


def told(message: Message) -> tuple[str, str]:
    return message.route.operation, message.route.resource


async def test_a_watch_lists_then_streams_each_change(tmp_path: Path) -> None:
    async with served(tmp_path) as world, world.connect() as client:
        await world.update(config_map("a"), config_map("b", "two"))
        assert await subscribed(client) == ["a", "b"]
        await world.update(config_map("c"))
        await world.update(config_map("a", x="1"))
        await world.delete("two/configmap/b")
        messages = [await client.receive() for _ in range(3)]
        assert [told(message) for message in messages] == [
            ("insert", "default/configmap/c"),
            ("update", "default/configmap/a"),
            ("delete", "two/configmap/b"),
        ]
        assert [message.header.resourceversion for message in messages] == ["3", "4", "5"]
        assert messages[1].value()["data"] == {"x": "1"}
        assert len({message.header.parent_msg_id for message in messages}) == 1


async def test_a_watch_sees_its_own_namespace_and_kind_only(tmp_path: Path) -> None:
    async with served(tmp_path) as world, world.connect() as client:
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}
        await world.update(config_map("a"), config_map("b", "two"), node)
        assert await subscribed(client, "two/configmap") == ["b"]
        await world.update(config_map("a", x="1"), {**node, "spec": {}}, config_map("c", "two"))
        assert told(await client.receive()) == ("insert", "two/configmap/c")


async def test_a_list_of_many_pages_has_each_object_once(tmp_path: Path) -> None:
    async with served(tmp_path, MetaSettings(page_bytes=1000)) as world:
        names = {f"n{number}" for number in range(200)}
        await world.update(*(config_map(name) for name in names))
        await world.update(*(config_map(name, x="1") for name in list(names)[:100]))
        async with world.connect() as client:
            found = await subscribed(client)
        assert sorted(found) == sorted(names)


async def test_an_unsubscribed_watch_is_silent(tmp_path: Path) -> None:
    async with served(tmp_path) as world, world.connect() as client:
        subscription = await client.send(Operation.SUBSCRIBE, WHOLE)
        synced = await client.receive()
        assert synced.header.parent_msg_id == subscription
        end = Message(
            header=type(synced.header)(msg_id="end", parent_msg_id=subscription, timestamp=1),
            route=type(synced.route)(operation=Operation.UNSUBSCRIBE, resource=WHOLE),
        )
        await client.send_message(end)
        assert (await client.receive()).value() == "OK"
        await world.update(config_map("a"))
        assert await client.request(Operation.QUERY, "default/configmap/a")


async def test_a_watch_of_an_unknown_type_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as world, world.connect() as client:
        await client.send(Operation.SUBSCRIBE, "all/gadget")
        with pytest.raises(RefusedError, match="gadget"):
            await client.receive()
        assert await client.request(Operation.QUERY, "all/all") == []


async def test_a_connection_has_a_bounded_number_of_watches(tmp_path: Path) -> None:
    settings = MetaSettings(max_subscriptions=2)
    async with served(tmp_path, settings) as world, world.connect() as client:
        await subscribed(client)
        await subscribed(client)
        await client.send(Operation.SUBSCRIBE, WHOLE)
        with pytest.raises(RefusedError, match="more than 2 subscriptions"):
            await client.receive()


async def drained(client: Client) -> RefusedError:
    """Read until the watch is cut off; return how that was said."""
    try:
        while True:
            await client.receive()
    except RefusedError as error:
        return error


async def test_a_slow_watcher_is_cut_off_and_others_are_not(tmp_path: Path) -> None:
    # The slow one is cut off for being behind, not for how long a busy disk takes.
    settings = MetaSettings(watch_queue=20, client_timeout_seconds=100)
    async with (
        served(tmp_path, settings) as world,
        world.connect() as slow,
        world.connect() as quick,
    ):
        await subscribed(slow)
        await subscribed(quick)
        # More than its socket holds, so that the slow one's sender stands still.
        for number in range(60):
            await world.update(config_map("big", x=f"{number:05}" * 10_000))
            assert told(await quick.receive())[1] == "default/configmap/big"
        refused = await drained(slow)
        assert refused.code is Code.EXPIRED
        assert "more than 20 changes behind" in refused.problem
        assert await subscribed(slow) == ["big"]


async def test_a_watcher_that_takes_nothing_is_disconnected(tmp_path: Path) -> None:
    settings = MetaSettings(client_timeout_seconds=0.1)
    async with served(tmp_path, settings) as world, world.connect() as stuck:
        # Whoever writes them gets the time that a busy disk takes.
        patient = replace(world, settings=MetaSettings())
        await patient.update(*(config_map(f"n{number}", x="y" * 50_000) for number in range(30)))
        await stuck.send(Operation.SUBSCRIBE, WHOLE)
        await eventually(lambda: world.manager.clients == 0)


class Recorder:
    """What a watch says, and how to wait until it has said enough."""

    def __init__(self) -> None:
        self.events: list[WatchEvent] = []
        self.gate = trio.Event()
        self.gate.set()

    async def take(self, event: WatchEvent) -> None:
        await self.gate.wait()
        self.events.append(event)

    def known(self) -> dict[str, str]:
        """What a watcher that believes every event knows."""
        known: dict[str, str] = {}
        for event in self.events:
            if event.type is WatchEventType.RESET:
                known = {}
            elif event.type is WatchEventType.DELETE:
                known.pop(event.body["metadata"]["name"], None)
            elif event.body is not None:
                known[event.body["metadata"]["name"]] = event.body["metadata"]["resourceVersion"]
        return known

    def count(self, kind: WatchEventType) -> int:
        return sum(event.type is kind for event in self.events)


async def eventually(condition: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await trio.sleep(0.01)


async def test_a_client_that_was_cut_off_lists_again_and_knows_all(tmp_path: Path) -> None:
    settings = MetaSettings(watch_queue=20, page_bytes=1000)
    recorder = Recorder()
    async with served(tmp_path, settings) as world, trio.open_nursery() as nursery:
        nursery.start_soon(watch, world.path, settings, WHOLE, recorder.take)
        await eventually(lambda: recorder.count(WatchEventType.SYNCED) == 1)
        recorder.gate = trio.Event()
        for number in range(60):
            await world.update(config_map(f"n{number}", x="y" * 20_000))
        for number in range(30):
            await world.delete(f"default/configmap/n{number}")
        recorder.gate.set()
        expected = await versions(world)
        await eventually(lambda: recorder.known() == expected)
        assert recorder.count(WatchEventType.RESET) >= 2
        nursery.cancel_scope.cancel()


async def test_a_client_lists_again_when_the_agent_is_restarted(tmp_path: Path) -> None:
    settings = MetaSettings(read_retry_seconds=0.01)
    recorder = Recorder()
    path = tmp_path / "meta.sock"
    async with trio.open_nursery() as nursery:
        async with served(tmp_path, settings) as world:
            await world.update(config_map("a"), config_map("b"))
            nursery.start_soon(watch, path, settings, WHOLE, recorder.take)
            await eventually(lambda: recorder.count(WatchEventType.SYNCED) == 1)
        async with served(tmp_path, settings) as world:
            await world.delete("default/configmap/a")
            await eventually(lambda: list(recorder.known()) == ["b"])
        nursery.cancel_scope.cancel()


async def versions(world: Served) -> dict[str, str]:
    found = await world.query(WHOLE)
    return {one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in found}


async def test_the_agents_own_feed_begins_with_everything_and_loses_nothing(
    tmp_path: Path,
) -> None:
    settings = MetaSettings(page_bytes=1000, history=50)
    async with served(tmp_path, settings) as world:
        await world.update(*(config_map(f"n{number}") for number in range(40)))
        feed = world.manager.subscribe_changes()
        batches: list[Batch] = []
        known: dict[str, int] = {}

        async def follow() -> None:
            async for batch in feed:
                batches.append(batch)
                if batch.reset:
                    known.clear()
                for change in batch.changes:
                    known[change.object.key.name] = change.object.resource_version
                    if change.type.value == "delete":
                        del known[change.object.key.name]

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await eventually(lambda: bool(batches) and batches[-1].synced)
            assert [batch.reset for batch in batches] == [True] + [False] * (len(batches) - 1)
            assert [batch.synced for batch in batches] == [False] * (len(batches) - 1) + [True]
            assert batches[-1].revision == world.store.revision
            # In one transaction, more deletions than are remembered.
            async with world.connect() as client:
                items = [
                    {"kind": "ConfigMap", "namespace": "default", "name": f"n{number}"}
                    for number in range(39)
                ]
                await client.request(Operation.DELETE, "all/all", items)
                await world.update(*(config_map(f"m{number}") for number in range(60)))
            expected = {name: int(version) for name, version in (await versions(world)).items()}
            await eventually(lambda: known == expected)
            nursery.cancel_scope.cancel()


async def test_the_feed_of_an_empty_store_is_synced_at_once(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        batch = await anext(world.manager.subscribe_changes())
        assert batch == Batch([], reset=True, synced=True, revision=0)
