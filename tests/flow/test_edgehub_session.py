"""What a node says and does on one connection to its cloud."""

from __future__ import annotations

import msgspec
import pytest
import trio
import trio.testing
from edgehub_fixtures import Talk, message, settled, talking

from edgemesh.bus.edgehub.problems import CloudAwayError, NoAnswerError
from edgemesh.bus.stamp import new_stamp
from edgemesh.model.bus_settings import BusSettings
from edgemesh.store.errors import StoreError
from edgemesh.wire.message import (
    Message,
    decode_message,
    encode_message,
    join_frames,
    new_message,
)


async def joined(talk: Talk) -> Message:
    """Answer where the node stands; return its question."""
    question = await talk.cloud.next()
    await talk.cloud.push(
        message(
            "response",
            "all/sync",
            {"store": "s", "full": False, "revision": 7},
            parent=question.header.msg_id,
        )
    )
    await talk.cloud.next()
    return question


async def test_a_keepalive_comes_first_and_then_every_fifteen_seconds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking() as talk:
        first = decode_message((await talk.cloud.next_text()).encode())
        assert first.route.operation == "keepalive"
        assert trio.current_time() == pytest.approx(0, abs=0.001)
        await joined(talk)
        began = trio.current_time()
        beats = [await talk.cloud.next(besides=()) for _ in range(3)]
        assert {beat.route.operation for beat in beats} == {"keepalive"}
        assert trio.current_time() - began == pytest.approx(45, abs=1)
        assert talk.cloud.pings >= 2


async def test_the_node_says_how_far_it_has_followed_and_where_its_links_are_taken(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking() as talk:
        question = await talk.cloud.next()
        assert (question.route.source, question.route.group) == ("edgehub", "resource")
        assert (question.route.operation, question.route.resource) == ("query", "all/sync")
        assert question.value() == {"store": "s", "revision": 7}
        answer = {"store": "s", "full": False, "revision": 9}
        await talk.cloud.push(
            message("response", "all/sync", answer, parent=question.header.msg_id)
        )
        link = await talk.cloud.next()
        assert (link.route.operation, link.route.resource) == ("update", "null/nodelink/edge-1")
        assert link.value()["addresses"] == ["192.0.2.1:10006"]
        assert talk.session.accepted.is_set()
        assert talk.written.resources == ["all/sync"]

        talk.addresses[:] = ["192.0.2.2:10006"]
        assert (await talk.cloud.next()).value()["addresses"] == ["192.0.2.2:10006"]
        await trio.sleep(100)
        assert not [m for m in talk.cloud.sent_so_far() if "nodelink" in m.route.resource]


async def test_a_cloud_that_does_not_answer_is_left(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking(BusSettings(answer_seconds=10)) as talk:
        await trio.sleep(9)
        assert talk.ended == []
        await trio.sleep(2)
        assert talk.ended == ["the cloud does not say within 10 s what it has"]


async def test_a_cloud_that_refuses_to_send_is_left_with_its_words(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking() as talk:
        question = await talk.cloud.next()
        refusal = message("error", "all/sync", "not you", parent=question.header.msg_id)
        await talk.cloud.push(refusal)
        await settled()
        assert talk.ended == ['the cloud refuses to send its objects: "not you"']


async def test_what_is_sent_down_is_acknowledged_in_its_order_once_it_is_stored(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking(stores=False) as talk:
        pushes = [message("insert", f"default/service/s{n}") for n in range(5)]
        await talk.cloud.push(*pushes)
        await trio.sleep(1)
        assert not [m for m in talk.cloud.sent_so_far() if m.route.operation == "response"]
        talk.written.gate.set()
        acknowledged = [await talk.cloud.next(besides=("keepalive", "query")) for _ in pushes]
        assert [one.header.parent_msg_id for one in acknowledged] == [
            one.header.msg_id for one in pushes
        ]
        assert {one.value() for one in acknowledged} == {"OK"}
        assert talk.written.resources == [one.route.resource for one in pushes]


async def test_of_several_messages_in_one_frame_the_last_is_acknowledged(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking() as talk:
        await joined(talk)
        pushes = [message("insert", f"default/service/s{n}") for n in range(3)]
        await talk.cloud.push_raw(
            join_frames([encode_message(one).decode() for one in pushes]).encode()
        )
        assert (await talk.cloud.next()).header.parent_msg_id == pushes[-1].header.msg_id
        await settled()
        assert talk.cloud.sent_so_far() == []
        assert talk.written.resources[-3:] == [one.route.resource for one in pushes]


async def test_nothing_more_is_read_while_the_disk_is_slow(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking(BusSettings(inbox_messages=4), stores=False) as talk:
        with trio.move_on_after(1) as enough:
            for number in range(100):
                await talk.cloud.push(message("insert", f"default/service/s{number}"))
        assert enough.cancelled_caught
        assert talk.counts["received"] <= 10
        talk.written.gate.set()
        await settled()
        assert talk.session.waiting == 0


async def test_large_messages_are_bounded_by_their_bytes_but_one_alone_passes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking(BusSettings(inbox_bytes=1000), stores=False) as talk:
        with trio.move_on_after(1):
            for number in range(10):
                await talk.cloud.push(message("insert", f"default/service/s{number}", "x" * 5000))
        assert talk.session.waiting == 1
        talk.written.gate.set()
        await settled()
        assert len(talk.written.resources) >= 3


async def test_a_message_that_is_repeated_is_stored_once_and_acknowledged_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking() as talk:
        await joined(talk)
        one = message("update", "default/service/a")
        for _ in range(2):
            await talk.cloud.push(one)
            assert (await talk.cloud.next()).header.parent_msg_id == one.header.msg_id
        assert talk.written.resources.count("default/service/a") == 1


async def test_a_store_that_refuses_is_asked_again_and_nothing_acknowledged_before(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking() as talk:
        await joined(talk)
        talk.written.failures = [StoreError("disk is full") for _ in range(3)]
        began = trio.current_time()
        await talk.cloud.push(message("update", "default/service/a"))
        await settled()
        assert talk.session.notices == {"store": "disk is full"}
        assert (await talk.cloud.next()).value() == "OK"
        assert trio.current_time() - began > 2
        assert talk.session.notices == {}


async def test_a_question_gets_its_answer_and_no_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking() as talk:
        await joined(talk)
        answers: list[Message] = []

        async def ask(resource: str) -> None:
            asked = new_message(
                new_stamp(), source="edgehub", group="meta", operation="query", resource=resource
            )
            answers.append(await talk.session.ask(asked, 5))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "default/configmap/a")
            nursery.start_soon(ask, "default/configmap/b")
            for _ in range(2):
                asked = await talk.cloud.next()
                parent = asked.header.msg_id
                await talk.cloud.push(message("response", asked.route.resource, 1, parent=parent))
        assert len({one.route.resource for one in answers}) == 2


async def test_a_question_without_an_answer_ends_in_time_and_a_late_one_is_dropped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking() as talk:
        await joined(talk)
        question = message("query", "default/configmap/a", group="meta")
        with pytest.raises(NoAnswerError, match="within 5 s"):
            await talk.session.ask(question, 5)
        await talk.cloud.push(
            message("response", "default/configmap/a", parent=question.header.msg_id)
        )
        await settled()
        assert talk.counts["ignored"] == 1
        assert talk.ended == []


async def test_who_waits_for_an_answer_hears_that_the_connection_has_ended(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking() as talk:
        await joined(talk)
        talk.cloud.hang_up_after(1)
        with pytest.raises(CloudAwayError, match="the cloud is gone"):
            await talk.session.ask(message("query", "default/configmap/a", group="meta"), 60)
        with pytest.raises(CloudAwayError):
            await talk.session.send(message("upload", "x", group="user"))


async def test_messages_for_applications_are_handed_on_once_and_not_acknowledged(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking() as talk:
        await joined(talk)
        call = message("POST", "6666:/path", group="user")
        await talk.cloud.push(call, call)
        await settled()
        assert [one.header.msg_id for one in talk.handed_on] == [call.header.msg_id]
        assert talk.cloud.sent_so_far() == []
        assert talk.counts["repeated"] == 1


@pytest.mark.parametrize(
    "frame",
    [b"", b"not json", b"[]", b"{}", b'{"header":1,"route":{}}', b"\xff\xfe", b"[" * 10000],
)
async def test_what_is_no_message_is_counted_told_once_and_ends_nothing(
    autojump_clock: trio.testing.MockClock, frame: bytes
) -> None:
    async with talking() as talk:
        await joined(talk)
        for _ in range(3):
            await talk.cloud.push_raw(frame)
        await talk.cloud.push(message("update", "default/service/a"))
        assert (await talk.cloud.next()).value() == "OK"
        assert talk.counts["malformed"] == 3
        assert "what is no Message" in talk.session.notices["malformed"]


async def test_operations_and_groups_that_mean_nothing_here_are_counted_and_ignored(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking() as talk:
        await joined(talk)
        odd = [message("explode", "default/service/a"), message("update", "x", group="twin")]
        await talk.cloud.push(*odd)
        await settled()
        assert talk.counts["ignored"] == 2
        assert talk.cloud.sent_so_far() == []


async def test_a_cancelled_sender_leaves_no_half_frame(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking(BusSettings(outbox_messages=1)) as talk:
        await joined(talk)
        for _ in range(20):
            with trio.move_on_after(0):
                await talk.session.send(message("upload", "x", {"body": "y" * 10000}, group="user"))
        await settled()
        for sent in talk.cloud.sent_so_far():
            assert msgspec.json.decode(bytes(sent.content)) == {"body": "y" * 10000}


async def test_a_state_that_is_older_than_one_that_came_is_acknowledged_and_not_stored(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking() as talk:
        await joined(talk)
        newer = message("update", "default/service/a", "newer", revision="9")
        older = message("update", "default/service/a", "older", revision="8")
        for one in (newer, older):
            await talk.cloud.push(one)
            assert (await talk.cloud.next()).header.parent_msg_id == one.header.msg_id
        assert [m.value() for batch in talk.written.batches[1:] for m in batch] == ["newer"]
