"""RFC 9113 sections 3 to 6, frame by frame: what a client may not do, and what it is told then."""

from __future__ import annotations

import pytest
from http2_frames import END, GET, POST, WHOLE, data, from_client, headers, number, words
from http2_pair import Pair

from edgemesh.wire.http2 import codes
from edgemesh.wire.http2.frames import frame, settings, window_update
from edgemesh.wire.http2_preface import PREFACE

PROTOCOL = ["GOAWAY PROTOCOL_ERROR"]
SIZE = ["GOAWAY FRAME_SIZE_ERROR"]
FLOW = ["GOAWAY FLOW_CONTROL_ERROR"]
FINE: list[str] = []
PADDED = codes.PADDED
PRIORITY = codes.PRIORITY_FLAG
OPEN = headers(1, POST, WHOLE)
DONE = headers(1)
BLOCK = headers(1)[9:]


def setting(name: int, value: int) -> bytes:
    return settings([(name, value)])


CASES = {
    # 4.1, 4.2: frames
    "4.1 an unknown type is passed over": (frame(0xEE, 0xFF, 1, b"x"), FINE),
    "4.1 the reserved bit of a stream is ignored": (
        b"\0\0\0\4\1\x80\0\0\0" + frame(codes.PING, 0, 0, bytes(8)),
        FINE,
    ),
    "4.2 DATA above 16384 bytes": (OPEN + b"\0\x40\1\0\0\0\0\0\1" + bytes(16385), SIZE),
    "4.2 a size above 16384 is refused before it has come": (b"\0\x40\1\0\0\0\0\0\1", SIZE),
    "4.2 HEADERS above 16384 bytes": (b"\xff\xff\xff\1\5\0\0\0\1", SIZE),
    "4.2 DATA of 16384 bytes": (OPEN + data(1, bytes(16384)), FINE),
    # 4.3: header blocks
    "4.3 a block that is no HPACK": (
        frame(codes.HEADERS, END | WHOLE, 1, b"\xff\xff\xff\xff\xff"),
        ["GOAWAY COMPRESSION_ERROR"],
    ),
    "4.3 an index that is not in the table": (
        frame(codes.HEADERS, END | WHOLE, 1, b"\xbe"),
        ["GOAWAY COMPRESSION_ERROR"],
    ),
    "4.3 DATA between HEADERS and CONTINUATION": (
        headers(1, GET, END) + data(1) + frame(codes.CONTINUATION, WHOLE, 1),
        PROTOCOL,
    ),
    "4.3 PING between HEADERS and CONTINUATION": (
        headers(1, GET, END) + frame(codes.PING, 0, 0, bytes(8)),
        PROTOCOL,
    ),
    "4.3 an unknown type between HEADERS and CONTINUATION": (
        headers(1, GET, END) + frame(0xEE, 0, 1),
        PROTOCOL,
    ),
    "4.3 CONTINUATION of another stream": (
        headers(1, GET, END) + frame(codes.CONTINUATION, WHOLE, 3),
        PROTOCOL,
    ),
    # 5.1: states
    "5.1 idle: DATA": (data(1), PROTOCOL),
    "5.1 idle: RST_STREAM": (frame(codes.RST_STREAM, 0, 1, number(8)), PROTOCOL),
    "5.1 idle: WINDOW_UPDATE": (window_update(1, 1), PROTOCOL),
    "5.1 idle: CONTINUATION": (frame(codes.CONTINUATION, WHOLE, 1, BLOCK), PROTOCOL),
    "5.1 idle: PRIORITY": (frame(codes.PRIORITY, 0, 1, bytes(5)), FINE),
    "5.1 half-closed (remote): DATA": (DONE + data(1, b"x"), ["RST_STREAM 1 STREAM_CLOSED"]),
    "5.1 half-closed (remote): HEADERS": (DONE + headers(1), ["RST_STREAM 1 STREAM_CLOSED"]),
    "5.1 half-closed (remote): CONTINUATION": (
        DONE + frame(codes.CONTINUATION, WHOLE, 1, BLOCK),
        PROTOCOL,
    ),
    "5.1 half-closed (remote): WINDOW_UPDATE": (DONE + window_update(1, 1), FINE),
    "5.1 half-closed (remote): PRIORITY": (DONE + frame(codes.PRIORITY, 0, 1, bytes(5)), FINE),
    "5.1 half-closed (remote): RST_STREAM": (
        DONE + frame(codes.RST_STREAM, 0, 1, number(8)),
        FINE,
    ),
    "5.1 closed by the client's reset: DATA": (
        OPEN + frame(codes.RST_STREAM, 0, 1, number(8)) + data(1, b"x"),
        ["GOAWAY STREAM_CLOSED"],
    ),
    "5.1 closed by the client's reset: HEADERS": (
        OPEN + frame(codes.RST_STREAM, 0, 1, number(8)) + headers(1),
        ["GOAWAY STREAM_CLOSED"],
    ),
    "5.1 closed by the client's reset: WINDOW_UPDATE": (
        OPEN + frame(codes.RST_STREAM, 0, 1, number(8)) + window_update(1, 1),
        FINE,
    ),
    "5.1 closed by our reset: what was under way is borne": (
        headers(1, {":method": "GET"}, WHOLE)
        + data(1, b"x")
        + window_update(1, 1)
        + frame(codes.RST_STREAM, 0, 1, number(8)),
        ["RST_STREAM 1 PROTOCOL_ERROR"],
    ),
    "5.1 closed by our reset: trailers that were under way are borne": (
        headers(1, {":method": "GET"}, WHOLE) + headers(1, {"a": "b"}),
        ["RST_STREAM 1 PROTOCOL_ERROR"],
    ),
    "5.1.1 an even stream": (headers(2), PROTOCOL),
    "5.1.1 a stream below one that was opened": (headers(3) + headers(1), ["GOAWAY STREAM_CLOSED"]),
    "5.1.1 stream 0": (headers(0), PROTOCOL),
    "5.1.1 streams that are left out were never opened": (headers(1) + headers(9), FINE),
    "5.1.1 DATA of a stream that was left out": (headers(9) + data(7), ["GOAWAY STREAM_CLOSED"]),
    "5.1.2 more streams than are allowed": (
        b"".join(headers(2 * n + 1, POST, WHOLE) for n in range(101)),
        ["RST_STREAM 201 REFUSED_STREAM"],
    ),
    # 6.1
    "6.1 DATA without a stream": (data(0, b"x"), PROTOCOL),
    "6.1 padding as long as the payload": (OPEN + data(1, b"\4abc", PADDED), PROTOCOL),
    "6.1 padding without its length": (OPEN + data(1, b"", PADDED), SIZE),
    "6.1 nothing but padding": (OPEN + data(1, b"\3abc", PADDED), FINE),
    # 6.2
    "6.2 padding longer than the block": (
        frame(codes.HEADERS, END | WHOLE | PADDED, 1, b"\xff" + BLOCK),
        PROTOCOL,
    ),
    "6.2 padding without its length": (frame(codes.HEADERS, END | WHOLE | PADDED, 1), SIZE),
    "6.2 padding": (
        frame(codes.HEADERS, END | WHOLE | PADDED, 1, b"\2" + BLOCK + b"xx"),
        FINE,
    ),
    "6.2 a priority that is cut off": (
        frame(codes.HEADERS, END | WHOLE | PRIORITY, 1, b"abcd"),
        SIZE,
    ),
    "6.2 padding and priority": (
        frame(codes.HEADERS, END | WHOLE | PADDED | PRIORITY, 1, b"\2" + bytes(5) + BLOCK + b"xx"),
        FINE,
    ),
    "5.3.2 a stream that depends on itself": (
        frame(codes.HEADERS, END | WHOLE | PRIORITY, 1, number(1) + b"\0" + BLOCK),
        FINE,
    ),
    # 6.3
    "6.3 PRIORITY without a stream": (frame(codes.PRIORITY, 0, 0, bytes(5)), PROTOCOL),
    "6.3 PRIORITY of a wrong length": (
        frame(codes.PRIORITY, 0, 1, bytes(4)),
        ["RST_STREAM 1 FRAME_SIZE_ERROR"],
    ),
    # 6.4
    "6.4 RST_STREAM without a stream": (frame(codes.RST_STREAM, 0, 0, number(8)), PROTOCOL),
    "6.4 RST_STREAM of a wrong length": (OPEN + frame(codes.RST_STREAM, 0, 1, bytes(3)), SIZE),
    # 6.5
    "6.5 SETTINGS on a stream": (frame(codes.SETTINGS, 0, 1), PROTOCOL),
    "6.5 SETTINGS of a broken length": (frame(codes.SETTINGS, 0, 0, bytes(5)), SIZE),
    "6.5 an acknowledgement with a payload": (frame(codes.SETTINGS, codes.ACK, 0, bytes(6)), SIZE),
    "6.5 an acknowledgement of nothing": (frame(codes.SETTINGS, codes.ACK, 0), FINE),
    "6.5.2 ENABLE_PUSH 2": (setting(2, 2), PROTOCOL),
    "6.5.2 ENABLE_PUSH 1": (setting(2, 1), FINE),
    "6.5.2 INITIAL_WINDOW_SIZE 2**31": (setting(4, 2**31), FLOW),
    "6.5.2 INITIAL_WINDOW_SIZE 2**31 - 1": (setting(4, 2**31 - 1), FINE),
    "6.5.2 MAX_FRAME_SIZE 16383": (setting(5, 16383), PROTOCOL),
    "6.5.2 MAX_FRAME_SIZE 2**24": (setting(5, 2**24), PROTOCOL),
    "6.5.2 MAX_FRAME_SIZE 2**24 - 1": (setting(5, 2**24 - 1), FINE),
    "6.5.2 an unknown setting": (setting(0xF00D, 1), FINE),
    # 6.6
    "6.6 PUSH_PROMISE from a client": (
        OPEN + frame(codes.PUSH_PROMISE, WHOLE, 1, number(2) + BLOCK),
        PROTOCOL,
    ),
    # 6.7
    "6.7 PING on a stream": (frame(codes.PING, 0, 1, bytes(8)), PROTOCOL),
    "6.7 PING of a wrong length": (frame(codes.PING, 0, 0, bytes(7)), SIZE),
    "6.7 an answer to no PING": (frame(codes.PING, codes.ACK, 0, bytes(8)), FINE),
    # 6.8
    "6.8 GOAWAY on a stream": (frame(codes.GOAWAY, 0, 1, bytes(8)), PROTOCOL),
    "6.8 GOAWAY that is cut off": (frame(codes.GOAWAY, 0, 0, bytes(7)), SIZE),
    "6.8 GOAWAY with words": (frame(codes.GOAWAY, 0, 0, bytes(8) + b"bye"), FINE),
    # 6.9
    "6.9 WINDOW_UPDATE of nothing, connection": (window_update(0, 0), PROTOCOL),
    "6.9 WINDOW_UPDATE of nothing, stream": (
        OPEN + window_update(1, 0),
        ["RST_STREAM 1 PROTOCOL_ERROR"],
    ),
    "6.9 WINDOW_UPDATE of a wrong length": (frame(codes.WINDOW_UPDATE, 0, 0, bytes(3)), SIZE),
    "6.9 WINDOW_UPDATE: its reserved bit is ignored": (window_update(0, 2**31 + 1), FINE),
    "6.9.1 a window above 2**31 - 1, connection": (window_update(0, 2**31 - 1), FLOW),
    "6.9.1 a window above 2**31 - 1, stream": (
        OPEN + window_update(1, 2**31 - 1),
        ["RST_STREAM 1 FLOW_CONTROL_ERROR"],
    ),
    "6.9.2 SETTINGS that make a window too large": (
        OPEN + window_update(1, 2**31 - 1 - 65535) + setting(4, 65536),
        FLOW,
    ),
    # 6.10
    "6.10 CONTINUATION of nothing": (frame(codes.CONTINUATION, WHOLE, 1, BLOCK), PROTOCOL),
    "6.10 CONTINUATION after a complete block": (
        headers(1) + frame(codes.CONTINUATION, WHOLE, 1),
        PROTOCOL,
    ),
    "6.10 CONTINUATION without a stream": (
        headers(1, GET, END) + frame(codes.CONTINUATION, WHOLE, 0),
        PROTOCOL,
    ),
    "6.10 a block in four frames": (
        frame(codes.HEADERS, END, 1, BLOCK[:2])
        + frame(codes.CONTINUATION, 0, 1, BLOCK[2:3])
        + frame(codes.CONTINUATION, 0, 1)
        + frame(codes.CONTINUATION, WHOLE, 1, BLOCK[3:]),
        FINE,
    ),
}


@pytest.mark.parametrize(("sent", "told"), CASES.values(), ids=CASES)
def test_a_client_that_breaks_a_rule_is_told_so(sent: bytes, told: list[str]) -> None:
    assert from_client(sent) == told


@pytest.mark.parametrize(("sent", "told"), CASES.values(), ids=CASES)
def test_it_does_not_matter_in_which_pieces_frames_come(sent: bytes, told: list[str]) -> None:
    pieces = [sent[at : at + 1] for at in range(len(sent))] if len(sent) < 1000 else [sent]
    pair = Pair()
    for piece in (PREFACE + settings([]), frame(codes.SETTINGS, codes.ACK, 0), *pieces):
        pair.client.receive(piece, 0.0)
    assert words(pair.to_client()) == told


GREETINGS = {
    "3.4 no preface": (b"GET / HTTP/1.1\r\n\r\n", PROTOCOL),
    "3.4 a preface that goes wrong at its end": (PREFACE[:-1] + b"x" + settings([]), PROTOCOL),
    "3.4 no SETTINGS after the preface": (PREFACE + headers(1), PROTOCOL),
    "3.4 an acknowledgement is no greeting": (PREFACE + frame(codes.SETTINGS, 1, 0), PROTOCOL),
    "3.4 as it should be": (PREFACE + settings([]), FINE),
    "3.4 a preface in two pieces is waited for": (PREFACE[:10], FINE),
}


@pytest.mark.parametrize(("sent", "told"), GREETINGS.values(), ids=GREETINGS)
def test_a_connection_begins_with_preface_and_settings(sent: bytes, told: list[str]) -> None:
    pair = Pair()
    pair.client.receive(sent, 0.0)
    assert words(pair.to_client()) == told


def test_nothing_is_read_after_a_fault() -> None:
    pair = Pair()
    pair.client.receive(PREFACE + settings([]) + headers(2), 0.0)
    pair.to_client()
    pair.client.receive(headers(1), 0.0)
    assert not pair.client.streams
    assert not pair.to_client()
