"""One call of grpc.health.v1.Health/Check, byte by byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.model.settings import Http2Settings, HttpSettings
from edgemesh.wire.grpc_health import HealthCall
from edgemesh.wire.http2.codes import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)
from edgemesh.wire.http2.frames import (
    SETTINGS_ACK,
    frame,
    goaway,
    header_frames,
    ping,
    rst_stream,
    settings,
    window_update,
)
from edgemesh.wire.http2.hpack_decoder import HpackDecoder
from edgemesh.wire.http2.hpack_encoder import encode_block
from edgemesh.wire.http2_preface import PREFACE

GREETING = settings(()) + SETTINGS_ACK


def call(service: str = "") -> HealthCall:
    return HealthCall(service, "10.0.0.1:80", HttpSettings(), Http2Settings())


def head(*fields: tuple[bytes, bytes], end: bool = False, stream: int = 1) -> bytes:
    return header_frames(stream, encode_block(fields), end_stream=end)


OK = head((b":status", b"200"), (b"content-type", b"application/grpc"))
AT_ITS_LIMIT = head(
    (b":status", b"200"),
    (b"grpc-status", b"8"),
    (b"x-edgemesh-reason", b"server-quota"),
    end=True,
)
TRAILERS = head((b"grpc-status", b"0"), end=True)


def data(payload: bytes, flags: int = 0, stream: int = 1) -> bytes:
    return frame(DATA, flags, stream, payload)


def message(payload: bytes) -> bytes:
    return b"\0" + len(payload).to_bytes(4, "big") + payload


def answer(payload: bytes) -> bytes:
    return GREETING + OK + data(message(payload)) + TRAILERS


def outcome(received: bytes, pieces: int = 1) -> str | None:
    asked = call()
    size = -(-len(received) // pieces)
    for begin in range(0, len(received), size):
        asked.receive(received[begin : begin + size], 0.0)
    return asked.problem


def test_the_call_says_who_is_asked_and_for_what() -> None:
    output = call("orders.v1").take_output()
    assert output.startswith(PREFACE)
    begin = output.index(bytes((HEADERS, END_HEADERS))) - 3
    size = int.from_bytes(output[begin : begin + 3], "big")
    fields = HpackDecoder(4096).decode(output[begin + 9 : begin + 9 + size])
    assert dict(map(tuple, fields))[b":path"] == b"/grpc.health.v1.Health/Check"
    assert dict(map(tuple, fields))[b":authority"] == b"10.0.0.1:80"
    assert output[begin + 9 + size :] == frame(DATA, END_STREAM, 1, message(b"\x0a\x09orders.v1"))


def test_the_server_as_a_whole_is_asked_for_by_an_empty_message() -> None:
    assert call().take_output().endswith(frame(DATA, END_STREAM, 1, message(b"")))


def test_a_long_name_has_a_length_of_two_bytes() -> None:
    output = call("s" * 300).take_output()
    assert output.endswith(message(b"\x0a\xac\x02" + b"s" * 300))


def test_output_is_taken_once() -> None:
    asked = call()
    assert asked.take_output()
    assert asked.take_output() == b""


@pytest.mark.parametrize(
    ("received", "problem"),
    [
        (answer(b"\x08\x01"), ""),
        (answer(b"\x08\x02"), "NOT_SERVING"),
        (answer(b"\x08\x03"), "SERVICE_UNKNOWN"),
        (answer(b"\x08\x00"), "UNKNOWN"),
        (answer(b""), "UNKNOWN"),
        (answer(b"\x08\x81\x01"), "status 129"),
        (answer(b"\x12\x02ab\x08\x01\x19" + b"8" * 8 + b"\x25" + b"4" * 4 + b"\x10\x02"), ""),
        (answer(b"\x08"), "an answer that is no HealthCheckResponse"),
        (answer(b"\x12\x09ab"), "an answer that is no HealthCheckResponse"),
        (answer(b"\x0b"), "an answer that is no HealthCheckResponse"),
        (
            GREETING + OK + data(b"\x01" + message(b"")[1:]) + TRAILERS,
            "an answer that is no message",
        ),
        (GREETING + OK + TRAILERS, "an answer that is no message"),
        (
            GREETING + OK + data(b"\x02" + message(b"\x08\x01") + b"\0\0", PADDED) + TRAILERS,
            "",
        ),
        (GREETING + head((b":status", b"103")) + answer(b"\x08\x01"), ""),
        (
            GREETING + head((b":status", b"200"), (b"grpc-status", b"12"), end=True),
            "grpc-status 12",
        ),
        (GREETING + AT_ITS_LIMIT, ""),
        (GREETING + OK + head((b"grpc-status", b"5"), end=True), "grpc-status 5"),
        (GREETING + OK + head((b"x", b"y"), end=True), "an answer without grpc-status"),
        (GREETING + OK + data(message(b"\x08\x01"), END_STREAM), "an answer without grpc-status"),
        (GREETING + head((b":status", b"404"), end=True), "HTTP status 404"),
        (GREETING + OK + data(b"x" * 2000), "an answer that is too long"),
        (GREETING + rst_stream(1, 8), "the call was reset with code 8"),
        (GREETING + goaway(0, 2), "the server turned the call away with code 2"),
        (GREETING + goaway(1, 0) + OK + data(message(b"\x08\x01")) + TRAILERS, ""),
        (answer(b"\x08\x01") + rst_stream(1, 0), ""),
        (GREETING + window_update(0, 5) + ping(b"12345678", ack=True) + OK, None),
        (GREETING + data(b"x"), "broken HTTP/2: DATA where there is no answer"),
        (GREETING + OK + data(b"x", stream=3), "broken HTTP/2: DATA where there is no answer"),
        (
            GREETING + head((b":status", b"200"), stream=3),
            "broken HTTP/2: HEADERS on another stream",
        ),
        (GREETING + head((b":status", b"2x")), "broken HTTP/2: no :status, or not a valid one"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "broken HTTP/2: "),
        (frame(CONTINUATION, END_HEADERS, 1), "broken HTTP/2: "),
        (frame(SETTINGS, 0, 0, b"123"), "broken HTTP/2: SETTINGS of a broken length"),
        (b"", None),
    ],
)
def test_what_the_server_says_is_understood_however_it_is_cut(
    received: bytes, problem: str | None
) -> None:
    for pieces in (1, 2, max(1, len(received))):
        found = outcome(received, pieces) if received else call().problem
        if problem == "broken HTTP/2: ":
            assert found is not None
            assert found.startswith(problem)
        else:
            assert found == problem


def test_settings_and_pings_are_answered() -> None:
    asked = call()
    asked.take_output()
    asked.receive(settings(()) + ping(b"12345678", ack=False), 0.0)
    assert asked.take_output() == SETTINGS_ACK + ping(b"12345678", ack=True)


kinds = st.sampled_from([DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, 77])
frames = st.builds(
    frame, kinds, st.integers(0, 255), st.sampled_from([0, 1, 2, 3]), st.binary(max_size=12)
)


@given(st.lists(frames | st.sampled_from([OK, TRAILERS, data(message(b"\x08\x01"))]), max_size=8))
def test_nothing_that_a_server_sends_raises_or_takes_back_what_was_found(
    sent: list[bytes],
) -> None:
    asked = call()
    found = None
    for each in sent:
        asked.receive(each, 0.0)
        assert found is None or asked.problem == found
        found = asked.problem
