"""What a real CloudCore was recorded to send, against a node of ours, field by field."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from captured import FRAMES, Captured, lines
from edgehub_fixtures import Cloud, Written
from metamanager_fixtures import Served, served

from edgemesh.bus.edgehub.edgehub import Sync
from edgemesh.bus.edgehub.session import Hooks, Session
from edgemesh.meta.sync import Synchroniser
from edgemesh.model.bus_settings import BusSettings
from edgemesh.model.objects import ObjectKey
from edgemesh.wire.message import Message, decode_message

EDGE = "edge-to-cloudhub.jsonl"


def _with_contents() -> Iterator[Captured]:
    """CloudCore's frames; contents that the recording does not repeat are put back."""
    known: dict[str, Any] = {}
    for each in FRAMES:
        if not each.down or each.place.startswith("router"):
            continue
        resource = each.message.route.resource
        if isinstance(each.content, dict) and "metadata" in each.content:
            known[resource] = each.content
        if isinstance(each.content, dict) and next(iter(each.content), "").startswith("<"):
            namespace, _, name = resource.split("/")
            place = {} if namespace == "null" else {"namespace": namespace}
            content = known.get(resource, {"metadata": {"name": name, **place}})
            frame = {**each.frame, "content": content}
            yield each._replace(frame=frame, message=decode_message(json.dumps(frame).encode()))
        else:
            yield each


DOWN = list(_with_contents())


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as serving:
        yield serving


def stored() -> Written:
    """For tests with a clock that jumps: it does not wait for the threads of a real store."""
    written = Written()
    written.gate.set()
    return written


class Replay:
    """A session of ours at the other end of CloudCore's frames."""

    def __init__(self, node: str, sync: Sync) -> None:
        self.node = node
        self.cloud = Cloud()
        self.sync = sync
        self.handed_on: list[Message] = []
        self.ended: list[str] = []

    async def run(self, settings: BusSettings | None = None) -> None:
        async def no_links() -> tuple[str, ...]:
            await trio.lowlevel.checkpoint()
            return ()

        session = Session(
            self.cloud,
            settings or BusSettings(),
            self.node,
            edgemesh=False,
            position=self.sync.position,
            writer=await self.sync.begin(),
            hooks=Hooks(self.handed_on.append, no_links, lambda: 0.5),
            counts=Counter(),
        )
        self.session = session
        self.ended.append(await session.run())

    async def acknowledgement(self) -> dict[str, Any]:
        """What the node sent next that answers something."""
        with trio.fail_after(30):
            while True:
                frame: dict[str, Any] = json.loads(await self.cloud.next_text())
                if "parent_msg_id" in frame["header"]:
                    return frame

    async def everything_is_stored(self) -> None:
        """Wait until it is: what comes last is acknowledged last."""
        again = next(e for e in DOWN if e.message.route.operation == "update")
        header = {**again.frame["header"], "msg_id": "the last"}
        await self.cloud.push_raw(
            frame_bytes(again._replace(frame={**again.frame, "header": header}))
        )
        while (await self.acknowledgement())["header"]["parent_msg_id"] != "the last":
            pass


def frame_bytes(each: Captured) -> bytes:
    return json.dumps(each.frame, separators=(",", ":")).encode()


def acknowledgements_of_edgecore() -> dict[str, dict[str, Any]]:
    """What EdgeCore acknowledged, by the msg_id of what it was."""
    return {
        each.frame["header"]["parent_msg_id"]: each.frame
        for each in FRAMES
        if each.place.startswith(EDGE)
        and not each.down
        and each.frame["route"].get("operation") == "response"
        and each.content == "OK"
    }


def comparable(frame: dict[str, Any]) -> dict[str, Any]:
    """Without what no two Messages share."""
    header = {
        name: value
        for name, value in frame["header"].items()
        if name not in {"msg_id", "timestamp"}
    }
    return {**frame, "header": header}


async def test_every_message_is_acknowledged_as_edgecore_acknowledged_it(world: Served) -> None:
    expected = acknowledgements_of_edgecore()
    pushed = [
        each
        for each in DOWN
        if each.place.startswith(EDGE) and each.frame["header"]["msg_id"] in expected
    ]
    assert len(pushed) >= 20
    replay = Replay("edge", Synchroniser(world.store))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(replay.run)
        for each in pushed:
            await replay.cloud.push_raw(frame_bytes(each))
            made = await replay.acknowledgement()
            wanted = expected[each.frame["header"]["msg_id"]]
            assert comparable(made) == comparable(wanted), each.place
        nursery.cancel_scope.cancel()


async def test_all_that_a_cloudcore_sent_is_stored_or_told_and_ends_nothing(world: Served) -> None:
    synchroniser = Synchroniser(world.store)
    replay = Replay("pedge3", synchroniser)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(replay.run)
        for each in DOWN:
            await replay.cloud.push_raw(frame_bytes(each))
        await replay.everything_is_stored()
        assert replay.ended == []
        assert replay.session.waiting == 0
        nursery.cancel_scope.cancel()
    assert synchroniser.written["stored"] >= 10
    assert synchroniser.written["deleted"] >= 2
    # The only kind of theirs that a mesh has no use for.
    assert {name.split("/")[1] for name in synchroniser.refused} <= {"secret"}


async def test_the_life_of_a_node_and_its_objects_is_followed_to_their_end(world: Served) -> None:
    """Of the recorded session: what its last Message of each object says is in the store."""
    main = [each for each in DOWN if each.session == "main"]
    pushes = [
        each for each in main if each.message.route.operation in {"insert", "update", "delete"}
    ]
    replay = Replay("pedge3", Synchroniser(world.store))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(replay.run)
        for each in pushes:
            await replay.cloud.push_raw(frame_bytes(each))
            await replay.acknowledgement()
        nursery.cancel_scope.cancel()
    last = {each.message.route.resource: each for each in pushes}
    assert len(last) >= 3
    kinds = {"pod": "Pod", "node": "Node", "configmap": "ConfigMap"}
    for resource, each in last.items():
        namespace, word, name = resource.split("/")
        if word not in kinds:
            continue
        key = ObjectKey(kinds[word], "" if namespace == "null" else namespace, name)
        found = await world.store.get(key)
        if each.message.route.operation == "delete":
            assert found is None, each.place
        else:
            assert found, each.place
            theirs = dict(each.content["metadata"])
            theirs.pop("resourceVersion", None)
            assert found.body["metadata"].items() >= theirs.items(), each.place
            assert found.body.get("spec") == each.content.get("spec"), each.place


async def test_the_second_copy_of_a_repeated_message_is_acknowledged_and_not_stored_again(
    world: Served,
) -> None:
    """Captures, point 13: after a late acknowledgement the same msg_id came once more."""
    [repeated, *_] = [line for line in lines("cloudhub-to-edge.jsonl") if line.get("resend")]
    msg_id = repeated["frame"]["header"]["msg_id"]
    frame = frame_bytes(next(e for e in DOWN if e.message.header.msg_id == msg_id))
    synchroniser = Synchroniser(world.store)
    replay = Replay("pedge3", synchroniser)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(replay.run)
        for _ in range(3):
            await replay.cloud.push_raw(frame)
            made = await replay.acknowledgement()
            assert made["header"]["parent_msg_id"] == msg_id
        assert synchroniser.written["stored"] == 1
        nursery.cancel_scope.cancel()


async def test_a_cloudcore_that_says_nothing_has_not_accepted_the_node(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Captures, point 2: a refusal is a connection that stays open in silence."""
    replay = Replay("pedge3", stored())
    with trio.move_on_after(60):
        await replay.run(BusSettings(accept_seconds=10))
    assert len(replay.ended) == 1
    assert "has not accepted node pedge3" in replay.ended[0]
    assert "10 s" in replay.ended[0]


async def test_a_push_of_the_nodes_own_node_shows_that_it_was_accepted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    [node, *_] = [e for e in DOWN if e.message.route.resource == "null/node/pedge3"]
    replay = Replay("pedge3", stored())
    with trio.move_on_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(replay.run)
            await trio.sleep(5)
            await replay.cloud.push_raw(frame_bytes(node))
            await replay.session.accepted.wait()
    assert replay.ended == []


async def test_a_node_that_the_cluster_does_not_know_is_accepted_and_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    missing = next(e for e in DOWN if e.message.route.resource == "default/node/nosuchnode")
    replay = Replay("nosuchnode", stored())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(replay.run)
        question = await replay.cloud.next()
        asked = next(
            e for e in FRAMES if not e.down and e.frame["route"]["resource"].endswith("nosuchnode")
        )
        assert question.route == asked.message.route
        answer = {**missing.frame}
        answer["header"] = {**answer["header"], "parent_msg_id": question.header.msg_id}
        await replay.cloud.push_raw(json.dumps(answer).encode())
        await replay.session.accepted.wait()
        await trio.sleep(0.1)
        assert "no Node nosuchnode" in replay.session.notices["node"]
        nursery.cancel_scope.cancel()
