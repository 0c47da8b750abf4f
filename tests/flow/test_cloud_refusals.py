"""What a hub refuses: by name, counted, told, and without harm to others."""

from __future__ import annotations

import socket
import ssl
import struct
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from cloud_fixtures import Cloud, serving, until
from reserved_ports import reserved_ports
from test_cloud_sessions import closed

from edgemesh.bus.close_codes import CloseCode
from edgemesh.bus.pki.identity import Identity, write_identity
from edgemesh.bus.pki.requests import make_request


async def still_serves(cloud: Cloud) -> None:
    async with cloud.node("witness") as node:
        await node.ask_for_sync()
        await node.until_synced()


async def counted(cloud: Cloud, reason: str, times: int = 1) -> None:
    """Wait until something was refused for this reason so often."""
    await until(lambda: cloud.hub.refusals.by_reason[reason] >= times)
    assert cloud.hub.refusals.by_reason[reason] == times


async def test_a_frame_that_announces_a_gibibyte_is_refused_before_it_is_read(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as cloud, cloud.node() as node:
        header = b"\x81\xff" + struct.pack(">Q", 1 << 30) + b"mask"
        await node.raw(header)
        code, reason = await closed(node)
        assert code == CloseCode.TOO_LARGE
        assert "1073741824 bytes" in reason
        await counted(cloud, "too-large")
        await still_serves(cloud)


@pytest.mark.parametrize("frame", ["{", "[1]", "\u0001", '"text"', "7"])
async def test_text_that_is_no_json_object_ends_the_connection(tmp_path: Path, frame: str) -> None:
    async with serving(tmp_path) as cloud, cloud.node() as node:
        await node.connection.send_message(frame)
        assert (await closed(node))[0] == CloseCode.MALFORMED
        await counted(cloud, "malformed-frame")
        await still_serves(cloud)


@pytest.mark.parametrize("frame", ["{}", '{"header":{},"route":{}}', '{"header":7,"route":{}}'])
async def test_an_object_that_is_no_message_is_passed_over(tmp_path: Path, frame: str) -> None:
    async with serving(tmp_path) as cloud, cloud.node() as node:
        await node.connection.send_message(frame)
        await counted(cloud, "malformed-message")
        await node.ask_for_sync()


async def test_bytes_that_are_no_websocket_end_that_connection_only(tmp_path: Path) -> None:
    async with serving(tmp_path) as cloud:
        async with cloud.node() as node:
            await node.raw(b"\xff\xff\xff\xff\xff\xff\xff\xff")
            await closed(node)
        async with cloud.node("n2") as node:
            # Text that is not UTF-8.
            await node.raw(b"\x81\x82\x00\x00\x00\x00\xff\xfe")
            await closed(node)
        await still_serves(cloud)


@pytest.mark.parametrize(
    ("reason", "operation", "resource", "content_and_route"),
    [
        ("unknown-operation", "explode", "null/node/n1", (None, {})),
        ("unknown-resource", "query", "default/unicorn/x", (None, {})),
        ("other-node", "query", "null/node/n2", (None, {})),
        ("other-node", "update", "null/nodelink/n2", ({"addresses": []}, {})),
        ("other-node", "query", "kube-node-lease/lease/n2", (None, {})),
        ("other-node", "query", "default/pod/web", (None, {})),
        ("not-used-here", "query", "default/configmap/secrets", (None, {})),
        ("forged-source", "query", "null/node/n1", (None, {"source": "edgecontroller"})),
        ("malformed", "query", "a/b/c/d", (None, {})),
        ("invalid", "query", "all/sync", ([1], {"source": "edgehub", "group": "resource"})),
        ("invalid", "update", "null/nodelink/n1", ({"addresses": 1}, {})),
        ("invalid", "update", "null/nodelink/n1", ({"addresses": ["x" * 999]}, {})),
        ("unexpected-answer", "upload", "", ("x", {"parent": "nobody-asked", "group": "user"})),
    ],
)
async def test_a_message_that_is_refused_is_counted_and_the_node_stays(
    tmp_path: Path,
    reason: str,
    operation: str,
    resource: str,
    content_and_route: tuple[Any, dict[str, str]],
) -> None:
    content, route = content_and_route
    async with serving(tmp_path) as cloud, cloud.node() as node:
        await node.send(operation, resource, content, **route)
        await counted(cloud, reason)
        if operation in {"query", "update"} and reason != "invalid":
            # It waits for an answer, so it gets one.
            content = (await node.receive())["content"]
            assert content.get("Err", content)["ErrStatus"]["code"] == 403
        await node.ask_for_sync()
        await node.until_synced()


async def test_a_message_that_comes_again_is_not_done_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as cloud, cloud.node() as node:
        link = {"addresses": ["192.0.2.1:1"]}
        for number in range(2):
            await node.send("update", "null/nodelink/n1", link, msg_id="same", group="resource")
            link = {"addresses": [f"192.0.2.{number + 2}:1"]}
        await counted(cloud, "replayed")
        await node.ask_for_sync()
        first = await node.next()
        while first["route"]["resource"] != "null/node/n1":
            first = await node.next()
        assert first["content"]["metadata"]["annotations"]["edgemesh.io/link"] == "192.0.2.1:1"


async def test_an_acknowledgement_of_nothing_is_no_offence(tmp_path: Path) -> None:
    async with serving(tmp_path) as cloud, cloud.node() as node:
        await node.send("response", "null/node/n1", "OK", group="resource", parent="long-gone")
        await node.ask_for_sync()
        assert not cloud.hub.refusals.by_reason


async def test_an_expired_certificate_does_not_come_in(tmp_path: Path) -> None:
    async with serving(tmp_path) as cloud:
        identity = issued(cloud, seconds=-60)
        with pytest.raises(trio.BrokenResourceError) as told:
            await cloud.request(identity, b"GET / HTTP/1.1\r\n\r\n")
        assert "certificate expired" in str(told.value.__cause__).lower()
        await counted(cloud, "certificate")
        await still_serves(cloud)


async def test_a_certificate_of_another_authority_does_not_come_in(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    async with serving(tmp_path / "a") as ours, serving(tmp_path / "b") as theirs:
        foreign = theirs.identity("n1")
        foreign.bundle.write_bytes(ours.credentials.authority_pem)
        with pytest.raises(trio.BrokenResourceError):
            await ours.request(foreign, b"GET / HTTP/1.1\r\n\r\n")
        await counted(ours, "certificate")


@pytest.mark.parametrize(
    ("changed", "status", "reason", "words"),
    [
        ({"node_id": "n2"}, 403, "other-node", b"the certificate is that of node 'n1'"),
        ({"node_id": ""}, 400, "malformed-upgrade", b"no header node_id"),
        ({"ConnectionUse": ""}, 400, "malformed-upgrade", b"ConnectionUse is not 'msg'"),
        ({"ConnectionUse": "stream"}, 400, "malformed-upgrade", b"ConnectionUse is not 'msg'"),
        ({"Upgrade": "", "Connection": ""}, 400, "malformed-upgrade", b"speaks WebSocket"),
        ({"Sec_WebSocket_Version": "12"}, 400, "malformed-upgrade", b"Version is not '13'"),
        ({"Sec_WebSocket_Key": ""}, 400, "malformed-upgrade", b"speaks WebSocket"),
        ({"Origin": "https://example.org"}, 403, "foreign-origin", b"web pages"),
        ({"Content-Length": "x"}, 400, "malformed-upgrade", b""),
    ],
)
async def test_an_upgrade_that_is_refused_says_why(
    tmp_path: Path, changed: dict[str, str], status: int, reason: str, words: bytes
) -> None:
    async with serving(tmp_path) as cloud:
        answered, body = await cloud.refused_upgrade(cloud.identity("n1"), **changed)
        assert answered == status
        assert words in body
        await counted(cloud, reason)


async def test_names_of_headers_match_in_any_case(tmp_path: Path) -> None:
    async with serving(tmp_path) as cloud:
        headers = {"Node_id": "n1", "Connectionuse": "msg", "Project_id": "p"}
        async with cloud.node(headers=headers, edgemesh=False):
            await until(cloud.hub.sessions.connected)


async def test_one_node_too_many_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path, max_nodes=1) as cloud, cloud.node("n1"):
        status, body = await cloud.refused_upgrade(cloud.identity("n2"))
        assert status == 503
        assert b"1 nodes are connected already (cloud.max_nodes)" in body
        await counted(cloud, "too-many-nodes")


async def test_who_says_nothing_or_no_tls_is_let_go(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    async with serving(tmp_path, handshake_seconds=10) as cloud:
        silent = await trio.open_tcp_stream("127.0.0.1", cloud.port)
        plain = await trio.open_tcp_stream("127.0.0.1", cloud.port)
        half = await trio.open_tcp_stream("127.0.0.1", cloud.port)
        await plain.send_all(b"GET / HTTP/1.1\r\n\r\n")
        await half.send_all(b"\x16\x03\x01\x01\x00\x01")
        await half.send_eof()
        for stream in (plain, half):
            await until_ended(stream)
        await counted(cloud, "no-tls", 2)
        await trio.testing.wait_all_tasks_blocked(0.01)
        mock_clock.jump(10)
        await until_ended(silent)
        await counted(cloud, "handshake-timeout")
        await still_serves(cloud)


async def until_ended(stream: trio.SocketStream) -> None:
    async with stream:
        try:
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError:
            return


async def test_links_are_handed_on_with_their_first_byte_still_to_be_read(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as cloud:
        handed: list[socket.socket] = []
        cloud.hub.door.adopt = handed.append
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.set_alpn_protocols(["edgemesh-link/1"])
        plain = await trio.open_tcp_stream("127.0.0.1", cloud.port)
        stream = trio.SSLStream(plain, context)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shake_hands, stream)
            await until(lambda: handed)
            [sock] = handed
            assert sock.recv(1) == b"\x16"
            sock.close()


async def shake_hands(stream: trio.SSLStream[trio.SocketStream]) -> None:
    with pytest.raises(trio.BrokenResourceError):
        await stream.do_handshake()
    await trio.aclose_forcefully(stream)


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with reserved_ports(1) as [port], socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.RaisesGroup(
            pytest.RaisesExc(Exception, match=f"cloud.hub_listen: 127.0.0.1 port {port}"),
            allow_unwrapped=True,
            flatten_subgroups=True,
        ):
            async with serving(tmp_path, hub_listen=(f"127.0.0.1:{port}",)):
                pass


def issued(cloud: Cloud, *, seconds: float) -> Identity:
    identity = Identity.within(cloud.folder / "expired", "n1")
    made = make_request("n1")
    authority = cloud.credentials.authority
    certificate = authority.issue_node(made.request, "n1", seconds)
    write_identity(identity, certificate, made.key, [authority.der])
    return identity
