"""What an endpoint may not do while it has a request, and what it is told then."""

from __future__ import annotations

import pytest
from http2_frames import (
    END,
    GET,
    OK,
    POST,
    WHOLE,
    data,
    from_endpoint,
    greeted,
    headers,
    number,
    split,
    words,
)

from edgemesh.wire.http2 import codes
from edgemesh.wire.http2.frames import frame, goaway, settings, window_update

PROTOCOL = ["GOAWAY PROTOCOL_ERROR"]
MALFORMED = ["RST_STREAM 1 PROTOCOL_ERROR"]
FINE: list[str] = []
HEAD = {**GET, ":method": "HEAD"}
BEGUN = headers(1, OK, WHOLE)
DONE = headers(1, OK)

CASES = {
    "a response": (DONE, FINE),
    "5.1 idle: HEADERS": (headers(3, OK), PROTOCOL),
    "5.1 idle: DATA": (data(3), PROTOCOL),
    "5.1 idle: RST_STREAM": (frame(codes.RST_STREAM, 0, 3, number(8)), PROTOCOL),
    "5.1 idle: WINDOW_UPDATE": (window_update(3, 1), PROTOCOL),
    "5.1.1 a stream that an endpoint opens": (headers(2, OK), PROTOCOL),
    "5.1 closed: HEADERS": (DONE + headers(1, OK), ["GOAWAY STREAM_CLOSED"]),
    "5.1 closed: DATA": (DONE + data(1), ["GOAWAY STREAM_CLOSED"]),
    "5.1 closed: RST_STREAM": (DONE + frame(codes.RST_STREAM, 0, 1, number(0)), FINE),
    "5.1 closed: WINDOW_UPDATE": (DONE + window_update(1, 1), FINE),
    "6.5.2 ENABLE_PUSH 1 from a server": (settings([(2, 1)]), PROTOCOL),
    "6.5.2 ENABLE_PUSH 0 from a server": (settings([(2, 0)]), FINE),
    "6.6 PUSH_PROMISE": (frame(codes.PUSH_PROMISE, WHOLE, 1, number(2)), PROTOCOL),
    "6.8 GOAWAY": (goaway(1, 0), FINE),
    "8.1 DATA before a head": (data(1, b"x"), MALFORMED),
    "8.1 an end before a head": (data(1, b"", END), MALFORMED),
    "8.1 trailers before a head": (headers(1, {"a": "b"}), MALFORMED),
    "8.1 a second head": (BEGUN + headers(1, OK, WHOLE), MALFORMED),
    "8.1 a second head at the end": (BEGUN + headers(1, OK), MALFORMED),
    "8.1 trailers without an end": (BEGUN + headers(1, {"a": "b"}, WHOLE), MALFORMED),
    "8.1 trailers": (BEGUN + headers(1, {"a": "b"}), FINE),
    "8.1 an interim head first": (headers(1, {":status": "103"}, WHOLE) + DONE, FINE),
    "8.1 two interim heads": (2 * headers(1, {":status": "100"}, WHOLE) + DONE, FINE),
    "8.1 an interim head with an end": (headers(1, {":status": "100"}), MALFORMED),
    "8.1.1 content-length that holds": (
        headers(1, {**OK, "content-length": "2"}, WHOLE) + data(1, b"ab", END),
        FINE,
    ),
    "8.1.1 less than content-length": (
        headers(1, {**OK, "content-length": "3"}, WHOLE) + data(1, b"ab", END),
        MALFORMED,
    ),
    "8.1.1 more than content-length": (
        headers(1, {**OK, "content-length": "1"}, WHOLE) + data(1, b"ab"),
        MALFORMED,
    ),
    "8.1.1 content-length and nothing": (headers(1, {**OK, "content-length": "1"}), MALFORMED),
    "8.1.1 content-length of 304 and nothing": (
        headers(1, {":status": "304", "content-length": "9"}),
        FINE,
    ),
    "8.1.1 trailers before content-length": (
        headers(1, {**OK, "content-length": "3"}, WHOLE) + headers(1, {"a": "b"}),
        MALFORMED,
    ),
    "RFC 9110 15.3.5: 204 with a body": (
        headers(1, {":status": "204"}, WHOLE) + data(1, b"x"),
        MALFORMED,
    ),
    "8.3 :method in a response": (headers(1, {**OK, ":method": "GET"}), MALFORMED),
    "8.3.2 no :status": (headers(1, [("a", "b")]), MALFORMED),
    "8.3.2 :status twice": (headers(1, [*OK.items(), *OK.items()]), MALFORMED),
    "8.3.2 :status of two digits": (headers(1, {":status": "20"}), MALFORMED),
    "8.3.2 :status 000": (headers(1, {":status": "000"}), MALFORMED),
    "8.3.2 :status that is no number": (headers(1, {":status": "OK"}), MALFORMED),
    "8.6 101": (headers(1, {":status": "101"}, WHOLE), MALFORMED),
    "8.2.1 a capital in a name": (headers(1, {**OK, "Server": "x"}), MALFORMED),
    "8.2.1 LF in a value": (headers(1, {**OK, "a": "b\nc"}), MALFORMED),
    "8.2.2 transfer-encoding": (headers(1, {**OK, "transfer-encoding": "chunked"}), MALFORMED),
    "8.2.2 connection": (headers(1, {**OK, "connection": "close"}), MALFORMED),
    "10.5.1 a header list that is too long": (
        headers(1, [*OK.items(), *[("a", "b")] * 100]),
        ["RST_STREAM 1 ENHANCE_YOUR_CALM"],
    ),
}


@pytest.mark.parametrize(("sent", "told"), CASES.values(), ids=CASES)
def test_an_endpoint_that_breaks_a_rule_is_told_so(sent: bytes, told: list[str]) -> None:
    assert from_endpoint(sent) == told


@pytest.mark.parametrize("sent", [DONE, BEGUN + data(1, b"", END), BEGUN + headers(1, {"a": "b"})])
def test_half_closed_endpoints_send_nothing_more(sent: bytes) -> None:
    request = headers(1, POST, WHOLE)
    assert from_endpoint(sent + data(1, b"x"), request=request) == ["RST_STREAM 1 STREAM_CLOSED"]
    assert from_endpoint(sent + headers(1, OK), request=request) == ["RST_STREAM 1 STREAM_CLOSED"]


def test_the_answer_to_head_has_a_length_and_no_body() -> None:
    declared = headers(1, {**OK, "content-length": "9"})
    assert from_endpoint(declared, request=headers(1, HEAD)) == FINE
    with_body = headers(1, OK, WHOLE) + data(1, b"x")
    assert from_endpoint(with_body, request=headers(1, HEAD)) == MALFORMED


def test_an_endpoint_says_hello_first() -> None:
    from http2_pair import Pair

    pair = Pair()
    pair.upstream.receive(headers(1, OK), 0.0)
    assert words(pair.to_endpoint()) == PROTOCOL


def test_a_client_learns_of_an_endpoint_s_reset() -> None:
    pair = greeted()
    pair.client.receive(headers(1), 0.0)
    pair.upstream.receive(frame(codes.RST_STREAM, 0, 1, number(codes.ErrorCode.CANCEL)), 0.0)
    assert words(pair.to_client()) == ["RST_STREAM 1 CANCEL"]
    assert not pair.client.streams
    assert not pair.upstream.streams


def test_an_endpoint_learns_of_a_client_s_reset() -> None:
    pair = greeted()
    pair.client.receive(headers(1) + frame(codes.RST_STREAM, 0, 1, number(8)), 0.0)
    assert words(pair.to_endpoint()) == ["RST_STREAM 1 CANCEL"]


def test_streams_above_the_last_one_of_goaway_are_refused_and_the_others_go_on() -> None:
    pair = greeted()
    pair.client.receive(headers(1) + headers(3) + headers(5), 0.0)
    pair.upstream.receive(goaway(1, 0), 0.0)
    assert pair.upstream.stream_limit == 0
    assert words(pair.to_client()) == ["RST_STREAM 3 REFUSED_STREAM", "RST_STREAM 5 REFUSED_STREAM"]
    pair.upstream.receive(DONE, 0.0)
    assert [one.stream_id for one in split(pair.to_client())] == [1]


def test_a_refused_stream_is_told_as_one() -> None:
    pair = greeted()
    pair.client.receive(headers(1), 0.0)
    pair.upstream.receive(frame(codes.RST_STREAM, 0, 1, number(7)), 0.0)
    assert words(pair.to_client()) == ["RST_STREAM 1 REFUSED_STREAM"]


def test_no_more_streams_are_opened_than_the_endpoint_allows() -> None:
    pair = greeted()
    assert pair.upstream.stream_limit == 100
    pair.upstream.receive(settings([(3, 1)]), 0.0)
    assert pair.upstream.stream_limit == 1
    pair.upstream.receive(settings([(3, 7)]), 0.0)
    assert pair.upstream.stream_limit == 7
    pair.upstream.retire()
    pair.upstream.receive(settings([(3, 8)]), 0.0)
    assert pair.upstream.stream_limit == 0


def test_no_streams_are_opened_after_a_fault() -> None:
    pair = greeted()
    pair.upstream.receive(data(0), 0.0)
    assert pair.upstream.stream_limit == 0


def test_no_streams_are_opened_beyond_the_last_number() -> None:
    pair = greeted()
    pair.upstream._next_stream = codes.LARGEST_STREAM_ID
    pair.client.receive(headers(1), 0.0)
    assert pair.upstream.opened == 2**30
    assert pair.upstream.stream_limit == 0


def test_a_client_that_leaves_says_goodbye() -> None:
    pair = greeted()
    pair.upstream.leave()
    assert words(pair.to_endpoint()) == ["GOAWAY NO_ERROR"]


def test_every_stream_that_is_over_is_told_once() -> None:
    pair = greeted()
    pair.client.receive(headers(1) + headers(3) + headers(5), 0.0)
    pair.upstream.receive(DONE + frame(codes.RST_STREAM, 0, 3, number(8)), 0.0)
    pair.client.receive(frame(codes.RST_STREAM, 0, 5, number(8)), 0.0)
    assert pair.closed == 3
