"""How a node's connection to the cloud is made, and how it says why it ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import trio
import trio.testing
from captured import lines
from plain_cloud import NODE, FakeNode, PlainCloud, node_of, plain_cloud

from edgemesh.bus.cloudhub.handshake import shake_hands
from edgemesh.bus.edgehub.address import CloudAddress
from edgemesh.bus.edgehub.problems import CloudProblemError
from edgemesh.bus.edgehub.watched_stream import WatchedStream
from edgemesh.bus.pki.contexts import server_context
from edgemesh.bus.pki.problems import CertificateProblem
from edgemesh.model.errors import OperatorError


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[PlainCloud]:
    async with plain_cloud(tmp_path) as serving:
        yield serving


class Impostor:
    """Speaks TLS as the cloud does, and then something else than WebSocket."""

    def __init__(self, cloud: PlainCloud, answer: bytes) -> None:
        self._cloud = cloud
        self._answer = answer

    async def serve(self, plain: trio.SocketStream) -> None:
        stream = await shake_hands(plain, server_context(self._cloud.identity))
        await stream.receive_some()
        await stream.send_all(self._answer)
        await trio.sleep_forever()


async def refusal(node: FakeNode) -> str:
    """Why no connection can be made."""
    with pytest.raises(CloudProblemError) as caught:
        async with node.connector.connect():
            pass
    return str(caught.value)


async def test_the_upgrade_is_edgecores_and_one_field_of_ours(cloud: PlainCloud) -> None:
    [recorded, *_] = [
        line["upgrade"]
        for line in lines("edge-to-cloudhub.jsonl")
        if "request" in line.get("upgrade", {})
    ]
    async with node_of(cloud).connector.connect() as connected:
        [request] = cloud.upgrades
        sent = {name.decode().lower(): value.decode() for name, value in request.headers}
        assert not connected.edgemesh
        assert connected.local == "127.0.0.1"
    theirs = {name.lower(): value for name, value in recorded["headers"]}
    for name in ("connectionuse", "project_id"):
        assert sent[name] == theirs[name]
    assert sent["node_id"] == NODE
    assert sent["edgemesh-version"] == "1"
    path = recorded["request"].split()[1]
    assert request.path == path.replace(theirs["node_id"], NODE)
    # Captures, point 5: a foreign Origin is refused, and no extension is negotiated.
    assert not {"origin", "sec-websocket-extensions"} & set(sent)


async def test_only_the_leaf_certificate_is_shown(cloud: PlainCloud) -> None:
    """Captures, point 1: CloudCore refuses longer chains in silence."""
    async with node_of(cloud).connector.connect():
        assert cloud.chains == [1]


async def test_a_cloud_of_our_kind_is_known_by_its_answer(cloud: PlainCloud) -> None:
    cloud.answer_fields = {"Edgemesh-Version": "1"}
    async with node_of(cloud).connector.connect() as connected:
        assert connected.edgemesh


async def test_frames_pass_both_ways_as_text_and_those_of_bytes_count_too(
    cloud: PlainCloud,
) -> None:
    async with node_of(cloud).connector.connect() as connected:
        await cloud.until(lambda: bool(cloud.connections))
        await connected.frames.send('{"a":"ä"}')
        assert await cloud.connections[0].get_message() == '{"a":"ä"}'
        await cloud.connections[0].send_message("ö" * 100_000)
        await cloud.connections[0].send_message(b"bytes")
        assert await connected.frames.receive() == "ö".encode() * 100_000
        assert await connected.frames.receive() == b"bytes"
        with trio.fail_after(30):
            await connected.frames.ping()


async def test_a_refused_upgrade_is_told_with_its_status_and_words(cloud: PlainCloud) -> None:
    cloud.reject = (403, b"certificate of node edge-9\n")
    words = await refusal(node_of(cloud))
    assert words == "the cloud refused the connection: HTTP 403, certificate of node edge-9"
    cloud.reject = (400, b"")
    assert await refusal(node_of(cloud)) == "the cloud refused the connection: HTTP 400"


async def test_a_cloud_that_does_not_upgrade_is_left_in_time(
    cloud: PlainCloud, mock_clock: trio.testing.MockClock
) -> None:
    cloud.greets = False
    node = node_of(cloud, dial_seconds=0.5)
    words: list[str] = []

    async def connect() -> None:
        words.append(await refusal(node))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connect)
        await cloud.until(lambda: bool(cloud.upgrades))
        mock_clock.jump(0.5)
    assert words == ["the cloud does not upgrade within 0.5 s"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the cloud sent what is no WebSocket"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", "HTTP 200, hi"),
    ],
)
async def test_a_server_that_speaks_something_else_is_left_at_once(
    cloud: PlainCloud, answer: bytes, words: str
) -> None:
    node = node_of(cloud, dial_seconds=60)
    await node.credentials.ensure()
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    node.connector._address = CloudAddress("localhost", port)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            impostor = Impostor(cloud, answer)
            await nursery.start(trio.serve_listeners, impostor.serve, listeners)
            assert words in await refusal(node)
            nursery.cancel_scope.cancel()


async def test_a_cloud_that_leaves_in_the_midst_of_the_upgrade_is_told_at_once(
    cloud: PlainCloud,
) -> None:
    cloud.greets = False
    node = node_of(cloud, dial_seconds=60)
    words: list[str] = []

    async def connect() -> None:
        words.append(await refusal(node))

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connect)
            await cloud.until(lambda: bool(cloud.upgrades))
            await trio.aclose_forcefully(cloud.streams[-1])
    assert words == ["the cloud closed the connection"]


# Captures, point 8: all cuts by CloudCore are a plain end. Ours say why, by RFC 6455's codes.
@pytest.mark.parametrize(
    ("code", "words"),
    [
        (None, "the cloud closed the connection"),
        (4001, "the cloud closed the connection, took over: from 192.0.2.7"),
    ],
)
async def test_an_end_without_a_word_and_one_with_a_reason_are_told_apart(
    cloud: PlainCloud, code: int | None, words: str
) -> None:
    async def end() -> None:
        if code is None:
            await trio.aclose_forcefully(cloud.streams[-1])
        else:
            await cloud.connections[-1].aclose(code, "from 192.0.2.7")

    async with node_of(cloud).connector.connect() as connected, trio.open_nursery() as nursery:
        await cloud.until(lambda: bool(cloud.connections))
        nursery.start_soon(end)
        with pytest.raises(CloudProblemError) as caught:
            await connected.frames.receive()
    assert str(caught.value) == words


async def test_a_message_beyond_the_limit_ends_the_connection_with_a_reason(
    cloud: PlainCloud,
) -> None:
    async with node_of(cloud, max_message_bytes=1000).connector.connect() as connected:
        await cloud.until(lambda: bool(cloud.connections))
        await cloud.connections[0].send_message("x" * 5000)
        with pytest.raises(CloudProblemError, match="1000 bytes"):
            await connected.frames.receive()


async def test_an_expired_certificate_is_named_by_its_node_and_dates(cloud: PlainCloud) -> None:
    """The cloud's clock is right; this node's stands still, so it does not notice itself."""
    # Certificates are backdated by five minutes: for the node this is within that of the cloud.
    cloud.node_seconds = 100
    cloud.time.offset = timedelta(seconds=-200)
    node = node_of(cloud)
    node.time.offset = timedelta(seconds=-200)
    await node.credentials.ensure()
    cloud.time.offset = timedelta()
    try:
        async with node.connector.connect() as connected:
            await connected.frames.receive()
    except (CloudProblemError, CertificateProblem) as problem:
        words = str(problem)
    assert f"CN=system:node:{NODE}" in words
    assert "expired" in words
    assert "clock says" in words


async def test_a_cloud_for_another_name_is_not_spoken_to(cloud: PlainCloud) -> None:
    node = node_of(cloud)
    await node.credentials.ensure()
    node.connector._address = CloudAddress("127.0.0.2", cloud.hub_port)
    with pytest.raises((CertificateProblem, CloudProblemError), match=r"127\.0\.0\.2"):
        async with node.connector.connect():
            pass
    assert not cloud.upgrades


async def test_names_that_cannot_be_resolved_and_ports_that_nobody_serves_are_named(
    cloud: PlainCloud,
) -> None:
    node = node_of(cloud)
    await node.credentials.ensure()
    node.connector._address = CloudAddress("no-such-host.invalid", 10000)
    assert "no-such-host.invalid" in await refusal(node)
    node.connector._address = CloudAddress("127.0.0.1", 1)
    assert "127.0.0.1:1 cannot be reached: Connection refused" in await refusal(node)


async def test_silence_ends_a_connection_but_not_while_nobody_listens(
    autojump_clock: trio.testing.MockClock,
) -> None:
    near, far = trio.testing.memory_stream_pair()
    watched = WatchedStream(near, 45, str)
    await trio.sleep(1000)
    await far.send_all(b"late")
    assert await watched.receive_some() == b"late"
    began = trio.current_time()
    with pytest.raises(trio.BrokenResourceError):
        await watched.receive_some()
    assert trio.current_time() - began == pytest.approx(45)
    assert watched.problem == "silent for 45 s"
    assert watched.ended.is_set()


async def test_a_peer_that_takes_nothing_ends_a_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    near, far = trio.testing.lockstep_stream_pair()
    watched = WatchedStream(near, 45, str)
    with pytest.raises(trio.BrokenResourceError):
        await watched.send_all(b"x")
    await far.aclose()
    assert watched.problem == "takes nothing for 45 s"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cloud", "cloud:10000"),
        ("cloud.example:7", "cloud.example:7"),
        ("192.0.2.1", "192.0.2.1:10000"),
        ("192.0.2.1:443", "192.0.2.1:443"),
        ("2001:db8::1", "[2001:db8::1]:10000"),
        ("[2001:db8::1]", "[2001:db8::1]:10000"),
        ("[2001:db8::1]:8443", "[2001:db8::1]:8443"),
    ],
)
def test_a_clouds_address_is_a_host_and_perhaps_a_port(text: str, expected: str) -> None:
    assert str(CloudAddress.parse(text)) == expected


@pytest.mark.parametrize(
    "text", ["", ":", "cloud:", "cloud:0", "cloud:x", "cloud:70000", "wss://cloud", "[::1", "a b"]
)
def test_what_is_no_address_is_refused_with_the_setting_named(text: str) -> None:
    with pytest.raises(OperatorError, match=r"bus\.cloud"):
        CloudAddress.parse(text)
