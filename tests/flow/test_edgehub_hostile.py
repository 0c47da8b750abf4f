"""Whatever a cloud sends, a node's connection ends in one kind of error, and the node goes on."""

from __future__ import annotations

import base64
import hashlib
import re

import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgemesh.bus.edgehub.problems import CloudProblemError
from edgemesh.bus.edgehub.watched_stream import WatchedStream
from edgemesh.bus.edgehub.websocket import Upgrade, open_websocket

# RFC 6455 section 1.3.
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
QUICKLY = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


async def answer(far: trio.abc.Stream, sent: list[bytes], *, upgrade: bool) -> None:
    """Be the server: upgrade or not, then send, then leave."""
    request = bytes(await far.receive_some())
    found = re.search(rb"(?i)sec-websocket-key: *(\S+)", request)
    assert found
    if upgrade:
        key = base64.b64encode(hashlib.sha1(found[1] + _GUID).digest())
        head = b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        await far.send_all(head + b"Sec-WebSocket-Accept: " + key + b"\r\n\r\n")
    try:
        for part in sent:
            await far.send_all(part)
        await far.aclose()
    except trio.BrokenResourceError:
        # The node has heard enough.
        return


async def outcome(sent: list[bytes], *, upgrade: bool) -> tuple[list[bytes], str]:
    """What a node receives, and why it ends."""
    near, far = trio.testing.memory_stream_pair()
    received: list[bytes] = []
    problem = ""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: answer(far, sent, upgrade=upgrade))
        try:
            async with open_websocket(
                WatchedStream(near, 5, str),
                Upgrade("cloud", "/", {}),
                seconds=5,
                max_message_bytes=1000,
            ) as websocket:
                try:
                    while True:
                        received.append(await websocket.receive())
                except CloudProblemError as ended:
                    problem = str(ended)
        except CloudProblemError as never:
            problem = str(never)
        nursery.cancel_scope.cancel()
    return received, problem


@QUICKLY
@given(st.lists(st.binary(max_size=200), max_size=8))
async def test_any_bytes_in_place_of_an_upgrade(
    autojump_clock: trio.testing.MockClock, sent: list[bytes]
) -> None:
    assert (await outcome(sent, upgrade=False))[1]


FRAME_STARTS = st.sampled_from([0x81, 0x82, 0x80, 0x01, 0x00, 0x88, 0x89, 0x8A, 0xC1, 0x83, 0x8B])
FRAMES = st.builds(
    lambda start, length, payload: bytes([start, length]) + payload,
    FRAME_STARTS,
    st.integers(0, 255),
    st.binary(max_size=130),
)


@QUICKLY
@given(st.lists(FRAMES | st.binary(max_size=50), max_size=8))
async def test_any_frames_after_it(
    autojump_clock: trio.testing.MockClock, sent: list[bytes]
) -> None:
    assert (await outcome(sent, upgrade=True))[1]


async def test_a_frame_that_announces_a_gigabyte_ends_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    huge = bytes([0x82, 127]) + (1 << 30).to_bytes(8, "big")
    received, problem = await outcome([b"\x81\x02ok", huge, *[b"x" * 1000] * 5], upgrade=True)
    assert received == [b"ok"]
    assert "1000 bytes" in problem
