from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing
from cloud_fixtures import PATH, PATIENCE_SECONDS, Frame, Node, serving, told, until
from test_cloud_sync import service
from trio_websocket import ConnectionClosed

from edgemesh.bus.close_codes import CloseCode
from edgemesh.bus.cloudhub.session import Session
from edgemesh.bus.pki.contexts import client_context
from edgemesh.bus.router.nodes import NodeAwayError, NodeSilentError
from edgemesh.bus.stamp import new_stamp
from edgemesh.model.objects import ObjectKey
from edgemesh.wire.message import Message, new_message


async def closed(node: Node) -> tuple[int, str]:
    """Wait for the end; the code and the reason that the cloud gave."""
    with trio.fail_after(PATIENCE_SECONDS):
        try:
            while True:
                await node.connection.get_message()
        except ConnectionClosed as ended:
            reason = ended.reason
    assert reason is not None
    return reason.code, reason.reason or ""


def question() -> Message:
    return new_message(
        new_stamp(), source="router", group="user", operation="GET", resource="80:/x", content="?"
    )


async def test_a_second_connection_of_a_node_ends_the_first_and_tells_it_why(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as cloud:
        identity = cloud.identity("n1")
        async with (
            cloud.node(identity=identity) as first,
            cloud.node(identity=identity) as second,
        ):
            code, reason = await closed(first)
            assert code == CloseCode.TOOK_OVER
            assert "node n1 has connected again, from 127.0.0.1:" in reason
            await second.ask_for_sync()
            assert [node.node for node in cloud.hub.sessions.connected()] == ["n1"]


async def test_a_node_of_kubeedge_is_not_told_why_but_sees_the_end(tmp_path: Path) -> None:
    async with serving(tmp_path) as cloud:
        identity = cloud.identity("n1")
        async with (
            cloud.node(identity=identity, edgemesh=False) as first,
            cloud.node(identity=identity, edgemesh=False),
        ):
            assert (await closed(first))[0] == 1006


async def test_a_revoked_node_is_cut_off_at_once_and_not_let_in_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as cloud:
        identity = cloud.identity("n1")
        async with cloud.node(identity=identity) as node, cloud.node("n2") as other:
            await other.ask_for_sync()
            await cloud.credentials.table.revoke("n1")
            code, reason = await closed(node)
            assert code == CloseCode.REVOKED
            assert "node n1 is revoked" in reason
            await other.until_synced()
        status, body = await cloud.refused_upgrade(identity)
        assert status == 403
        assert b"node n1 is revoked" in body
        assert cloud.hub.refusals.by_reason["revoked"] == 1


async def test_a_ping_of_a_node_that_is_being_cut_off_harms_nobody(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    async with serving(tmp_path, silence_seconds=30) as cloud:
        stream = await cloud.tls(client_context(cloud.identity("n1")))
        async with stream:
            await stream.send_all(
                f"GET {PATH} HTTP/1.1\r\nHost: c\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2l4dGVlbiBieXRlcyBpdA==\r\n"
                "ConnectionUse: msg\r\nnode_id: n1\r\nEdgemesh-Version: 1\r\n\r\n".encode()
            )
            await until(lambda: cloud.hub.sessions.get("n1"))
            mock_clock.jump(30)
            received = b""
            while b"no keepalive" not in received:
                received += await stream.receive_some()
            # RFC 6455 section 5.2: a ping without data, masked.
            await stream.send_all(b"\x89\x80mask")
            await trio.testing.wait_all_tasks_blocked(0.01)
            # Nor is its farewell answered.
            mock_clock.jump(1)
            while await stream.receive_some():
                pass
        async with cloud.node("n2") as other:
            await other.ask_for_sync()


async def test_a_node_that_asks_without_end_is_made_to_wait_and_others_are_not(
    tmp_path: Path,
) -> None:
    async with (
        serving(tmp_path, message_burst=5, messages_per_second=10) as cloud,
        cloud.node("n1") as node,
        cloud.node("n2") as other,
    ):
        began = trio.current_time()
        for _ in range(15):
            await node.send("query", "null/node/n1")
        await other.ask_for_sync()
        for _ in range(15):
            await node.receive()
        # Ten of them beyond the burst, a tenth of a second each.
        assert trio.current_time() - began > 0.8


async def test_a_node_without_keepalives_is_cut_off_whatever_else_it_says(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    async with serving(tmp_path, silence_seconds=30) as cloud, cloud.node() as node:
        await speaks(node)
        for _ in range(3):
            mock_clock.jump(9)
            await speaks(node)
        mock_clock.jump(3)
        code, reason = await closed(node)
        assert code == CloseCode.SILENT
        assert "no keepalive for 30 s" in reason
        assert cloud.hub.refusals.by_reason["silent"] == 1


async def speaks(node: Node) -> None:
    """The node says something, and whatever it said before has been heard."""
    await node.send("query", "null/node/n1")
    await node.receive()


async def test_keepalives_keep_a_node(tmp_path: Path, mock_clock: trio.testing.MockClock) -> None:
    async with serving(tmp_path, silence_seconds=30) as cloud, cloud.node() as node:
        for _ in range(10):
            await node.keep_alive()
            await speaks(node)
            mock_clock.jump(20)
        await node.ask_for_sync()


async def test_what_is_not_acknowledged_is_sent_again_and_then_as_it_is_by_then(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, resend_seconds=0.1, resends=2) as cloud, cloud.node() as node:
        await node.ask_for_sync()
        await node.until_synced()
        body = service("web")
        del body["spec"]["selector"]
        await cloud.apply(body)
        first = await node.receive_new()
        assert told([first]) == [("insert", "default/service/web")]
        while await node.receive() != first:
            pass
        await cloud.apply({**body, "spec": {"ports": [{"port": 81}]}})
        newer: Frame = {}
        while newer.get("content", {}).get("spec", {}).get("ports") != [{"port": 81}]:
            newer = await node.receive()
        assert newer["header"]["msg_id"] != first["header"]["msg_id"]
        await node.acknowledge(newer)
        # The older state is not sent any more: nothing waits but the mark.
        session = cloud.hub.sessions.get("n1")
        assert session is not None
        async with trio.open_nursery() as nursery:

            async def take_the_rest() -> None:
                while True:
                    frame = await node.next()
                    assert frame["header"]["msg_id"] != first["header"]["msg_id"]

            nursery.start_soon(take_the_rest)
            await until(lambda: session.waiting == 0)
            nursery.cancel_scope.cancel()


async def test_a_node_has_no_more_unacknowledged_messages_than_its_window(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, in_flight=3, resend_seconds=60) as cloud:
        await cloud.apply(*(service(f"s{number}") for number in range(10)))
        async with cloud.node() as node:
            await node.ask_for_sync()
            held = [await node.receive() for _ in range(3)]
            with trio.move_on_after(0.2) as quiet:
                await node.connection.get_message()
            assert quiet.cancelled_caught
            # They came in one frame: its last one stands for all.
            await node.acknowledge(held[-1])
            await node.receive()


async def test_an_answer_goes_to_who_asked(tmp_path: Path) -> None:
    async with serving(tmp_path) as cloud, cloud.node() as node:
        async with trio.open_nursery() as nursery:
            asked = question()
            answers: list[Message] = []

            async def ask() -> None:
                answers.append(await cloud.hub.sessions.ask("n1", asked, PATIENCE_SECONDS))

            nursery.start_soon(ask)
            frame = await node.receive()
            assert frame["content"] == "?"
            parent = frame["header"]["msg_id"]
            await node.send("upload", "", "!", source="servicebus", group="user", parent=parent)
        assert answers[0].value() == "!"


async def test_a_node_that_does_not_answer_or_goes_or_is_not_there_is_told_apart(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as cloud:
        sessions = cloud.hub.sessions
        with pytest.raises(NodeAwayError, match="node n1 is not connected"):
            await sessions.ask("n1", question(), 5)
        async with cloud.node() as node:
            with pytest.raises(NodeSilentError, match=r"has not answered within 0\.1 s"):
                await sessions.ask("n1", question(), 0.1)
            async with trio.open_nursery() as nursery:

                async def ask() -> None:
                    with pytest.raises(NodeAwayError, match="went away before it answered"):
                        await sessions.ask("n1", question(), 30)

                nursery.start_soon(ask)
                await node.receive()
                await node.receive()
                await node.connection.aclose()


async def test_the_addresses_of_a_nodes_links_reach_all_others_by_its_node(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as cloud, cloud.node("n1") as node, cloud.node("n2") as other:
        await other.ask_for_sync()
        await other.until_synced()
        link = {"addresses": ["192.0.2.1:10006", "[2001:db8::1]:10006"], "version": "9"}
        await node.send("update", "null/nodelink/n1", link, source="edgehub", group="resource")
        frames = await other.until_synced()
        assert told(frames)[0] == ("update", "null/node/n1")
        annotations = frames[0]["content"]["metadata"]["annotations"]
        assert annotations["edgemesh.io/link"] == "192.0.2.1:10006,[2001:db8::1]:10006"
        stored = await cloud.store.get(ObjectKey("Node", "", "n1"))
        assert stored is not None
        assert stored.body["metadata"]["annotations"]["edgemesh.io/version"] == "9"


async def test_nodes_that_are_connected_are_shown_with_what_waits_for_them(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as cloud:
        await cloud.apply(service("web"))
        async with cloud.node("n1") as node, cloud.node("n2", edgemesh=False):
            await node.ask_for_sync()
            held = await node.receive()
            shown = cloud.hub.sessions.connected()
            assert [(one.node, one.kind) for one in shown] == [
                ("n1", "edgemesh"),
                ("n2", "KubeEdge"),
            ]
            assert shown[0].address.startswith("127.0.0.1:")
            assert shown[0].waiting > 0
            await node.acknowledge(held)
            await node.until_synced()
            session = cloud.hub.sessions.get("n1")
            assert isinstance(session, Session)
            await until(lambda: session.waiting == 0)
            assert session.shown().revision == cloud.store.revision
