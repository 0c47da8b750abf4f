"""RFC 9113 sections 5.2 and 6.9: windows on both levels, both ways, and what waits for them."""

from __future__ import annotations

import pytest
from http2_frames import END, OK, POST, WHOLE, Frame, data, greeted, headers, number, split, words
from http2_pair import Pair

from edgemesh.model.settings import Http2Settings
from edgemesh.wire.http2 import codes
from edgemesh.wire.http2.frames import frame, settings, window_update
from edgemesh.wire.http2_preface import PREFACE

WINDOW = 65536
FULL_FRAME = bytes(16384)


def frames(raw: bytes, kind: int) -> list[Frame]:
    return [one for one in split(raw) if one.kind == kind]


def payloads(raw: bytes) -> bytes:
    return b"".join(one.payload for one in frames(raw, codes.DATA))


def updates(raw: bytes) -> dict[int, int]:
    """Window that is given back, by stream."""
    given: dict[int, int] = {}
    for one in frames(raw, codes.WINDOW_UPDATE):
        increment = int.from_bytes(one.payload, "big")
        given[one.stream_id] = given.get(one.stream_id, 0) + increment
    return given


def uploading(**limits: object) -> Pair:
    """A pair with a request on stream 1 of which the body is to come."""
    pair = greeted(**limits)
    pair.client.receive(headers(1, POST, WHOLE), 0.0)
    pair.to_endpoint()
    return pair


def downloading(**limits: object) -> Pair:
    """A pair with a response on stream 1 of which the body is to come."""
    pair = greeted(**limits)
    pair.client.receive(headers(1), 0.0)
    pair.upstream.receive(headers(1, OK, WHOLE), 0.0)
    pair.to_client()
    pair.to_endpoint()
    return pair


def test_we_send_no_more_than_the_stream_s_window() -> None:
    pair = uploading()
    for _ in range(4):
        pair.client.receive(data(1, FULL_FRAME), 0.0)
    assert len(payloads(pair.to_endpoint())) == 65535


def test_what_waited_goes_on_with_the_window() -> None:
    pair = uploading()
    body = bytes(range(256)) * 256
    for begin in range(0, len(body), 16384):
        pair.client.receive(data(1, body[begin : begin + 16384]), 0.0)
    first = payloads(pair.to_endpoint())
    pair.upstream.receive(window_update(1, 1) + window_update(0, 1), 0.0)
    assert first + payloads(pair.to_endpoint()) == body


def test_we_send_no_more_than_the_connection_s_window() -> None:
    pair = greeted()
    pair.client.receive(headers(1, POST, WHOLE) + headers(3, POST, WHOLE), 0.0)
    pair.upstream.receive(settings([(4, 1 << 20)]), 0.0)
    for stream_id in (1, 3):
        for _ in range(3):
            pair.client.receive(data(stream_id, FULL_FRAME), 0.0)
    assert len(payloads(pair.to_endpoint())) == 65535
    pair.upstream.receive(window_update(0, 1 << 20), 0.0)
    assert len(payloads(pair.to_endpoint())) == 6 * 16384 - 65535


def test_streams_that_wait_for_the_connection_take_turns() -> None:
    pair = greeted()
    pair.client.receive(headers(1, POST, WHOLE) + headers(3, POST, WHOLE), 0.0)
    pair.upstream.receive(settings([(4, 1 << 20)]), 0.0)
    for stream_id in (1, 3):
        for _ in range(4):
            pair.client.receive(data(stream_id, FULL_FRAME), 0.0)
    pair.to_endpoint()
    pair.upstream.receive(window_update(0, 1 << 20), 0.0)
    order = [one.stream_id for one in frames(pair.to_endpoint(), codes.DATA)]
    assert order in ([1, 3, 3, 3, 3], [3, 1, 3, 3, 3]), order


def test_the_end_follows_what_waits() -> None:
    pair = uploading()
    for _ in range(3):
        pair.client.receive(data(1, FULL_FRAME), 0.0)
    pair.client.receive(data(1, FULL_FRAME, END), 0.0)
    first = frames(pair.to_endpoint(), codes.DATA)
    assert not any(one.flags & END for one in first)
    pair.upstream.receive(window_update(1, 10) + window_update(0, 10), 0.0)
    (last,) = frames(pair.to_endpoint(), codes.DATA)
    assert (last.flags & END, len(last.payload)) == (END, 1)


def test_an_empty_end_follows_what_waits() -> None:
    pair = uploading()
    for _ in range(4):
        pair.client.receive(data(1, FULL_FRAME), 0.0)
    pair.to_endpoint()
    pair.client.receive(data(1, b"", END), 0.0)
    assert pair.to_endpoint() == b""
    pair.upstream.receive(window_update(1, 10) + window_update(0, 10), 0.0)
    (last,) = frames(pair.to_endpoint(), codes.DATA)
    assert (last.flags & END, len(last.payload)) == (END, 1)


def test_trailers_follow_what_waits() -> None:
    pair = uploading()
    for _ in range(4):
        pair.client.receive(data(1, FULL_FRAME), 0.0)
    pair.to_endpoint()
    pair.client.receive(headers(1, {"a": "b"}), 0.0)
    assert pair.to_endpoint() == b""
    pair.upstream.receive(window_update(1, 10) + window_update(0, 10), 0.0)
    kinds = [(one.kind, one.flags & END) for one in split(pair.to_endpoint())]
    assert kinds == [(codes.DATA, 0), (codes.HEADERS, END)]


def test_a_smaller_initial_window_makes_those_of_streams_negative() -> None:
    pair = uploading()
    pair.client.receive(data(1, FULL_FRAME), 0.0)
    pair.to_endpoint()
    pair.upstream.receive(settings([(4, 0)]), 0.0)
    pair.client.receive(data(1, b"x"), 0.0)
    assert payloads(pair.to_endpoint()) == b""
    pair.upstream.receive(window_update(1, 16384), 0.0)
    assert payloads(pair.to_endpoint()) == b""
    pair.upstream.receive(window_update(1, 1), 0.0)
    assert payloads(pair.to_endpoint()) == b"x"


def test_an_end_without_data_needs_no_window() -> None:
    pair = uploading()
    pair.client.receive(data(1, FULL_FRAME), 0.0)
    pair.upstream.receive(settings([(4, 0)]), 0.0)
    pair.to_endpoint()
    pair.client.receive(data(1, b"", END), 0.0)
    (last,) = frames(pair.to_endpoint(), codes.DATA)
    assert last.flags & END


def test_a_larger_initial_window_lets_what_waits_go_on() -> None:
    pair = uploading()
    pair.upstream.receive(settings([(4, 0)]), 0.0)
    pair.client.receive(data(1, b"abc"), 0.0)
    assert payloads(pair.to_endpoint()) == b""
    pair.upstream.receive(settings([(4, 2)]), 0.0)
    assert payloads(pair.to_endpoint()) == b"ab"
    pair.upstream.receive(settings([(4, 3)]), 0.0)
    assert payloads(pair.to_endpoint()) == b"c"


def test_settings_that_change_nothing_about_windows_leave_them() -> None:
    pair = uploading()
    pair.upstream.receive(settings([(4, 65535), (3, 7)]), 0.0)
    pair.client.receive(data(1, b"abc"), 0.0)
    assert payloads(pair.to_endpoint()) == b"abc"


def test_window_is_given_back_when_data_has_gone_on() -> None:
    pair = uploading()
    pair.client.receive(data(1, FULL_FRAME) + data(1, FULL_FRAME), 0.0)
    assert updates(pair.to_client()) == {}
    pair.to_endpoint()
    assert updates(pair.to_client()) == {1: 2 * 16384}


def test_no_window_is_given_back_while_the_endpoint_does_not_read() -> None:
    pair = uploading()
    pair.full.add(pair.upstream)
    for _ in range(4):
        pair.client.receive(data(1, FULL_FRAME), 0.0)
        pair.to_endpoint()
    assert updates(pair.to_client()) == {}
    pair.client.receive(data(1, b"x"), 0.0)
    assert words(pair.to_client()) == ["RST_STREAM 1 FLOW_CONTROL_ERROR"]


def test_what_is_kept_for_an_endpoint_that_does_not_read_is_one_window() -> None:
    pair = uploading()
    pair.full.add(pair.upstream)
    sent = written = 0
    window = WINDOW
    while window >= 16384:
        pair.client.receive(data(1, FULL_FRAME), 0.0)
        sent += 16384
        window += updates(pair.to_client()).get(1, 0) - 16384
        written += len(payloads(pair.to_endpoint()))
    assert sent == WINDOW
    kept = sum(map(len, pair.requests[0].upstream.waiting or ()))
    assert written + kept == sent


def test_everything_goes_on_when_the_endpoint_reads_again() -> None:
    pair = uploading()
    pair.full.add(pair.upstream)
    for _ in range(4):
        pair.client.receive(data(1, FULL_FRAME), 0.0)
    first = payloads(pair.to_endpoint())
    pair.upstream.receive(window_update(1, WINDOW) + window_update(0, WINDOW), 0.0)
    assert pair.to_endpoint() == b""
    pair.drain(pair.upstream)
    assert len(first + payloads(pair.to_endpoint())) == WINDOW
    assert updates(pair.to_client())[1] >= WINDOW // 2


def test_a_turn_s_output_is_bounded() -> None:
    pair = uploading(http2=Http2Settings(output_bytes=20000))
    for _ in range(3):
        pair.client.receive(data(1, FULL_FRAME), 0.0)
    assert sum(map(len, pair.upstream.output)) < 20100
    assert len(payloads(pair.to_endpoint())) == 3 * 16384


def test_a_client_that_does_not_read_does_not_keep_the_connection_s_window_from_others() -> None:
    """The endpoint's connection is shared: its window comes back at once."""
    pair = downloading(http2=Http2Settings(connection_window_bytes=65536))
    pair.full.add(pair.client)
    pair.to_client()
    given = 0
    for _ in range(4):
        pair.upstream.receive(data(1, FULL_FRAME), 0.0)
        pair.to_client()
        given += updates(pair.to_endpoint()).get(0, 0)
    assert given == WINDOW
    assert 1 not in updates(pair.to_endpoint())


def test_a_client_s_uploads_share_the_connection_s_window() -> None:
    pair = greeted(http2=Http2Settings(connection_window_bytes=65536))
    pair.full.add(pair.upstream)
    pair.client.receive(b"".join(headers(n, POST, WHOLE) for n in (1, 3)), 0.0)
    pair.to_endpoint()
    for stream_id in (1, 3, 1, 3):
        pair.client.receive(data(stream_id, FULL_FRAME), 0.0)
    pair.to_endpoint()
    assert updates(pair.to_client()) == {}
    pair.client.receive(data(1, b"x"), 0.0)
    assert words(pair.to_client()) == ["GOAWAY FLOW_CONTROL_ERROR"]


def test_what_waits_for_a_stream_that_is_reset_does_not_hold_the_connection_s_window() -> None:
    pair = greeted(http2=Http2Settings(connection_window_bytes=65536))
    pair.client.receive(headers(1, POST, WHOLE), 0.0)
    pair.upstream.receive(settings([(4, 0)]), 0.0)
    for _ in range(4):
        pair.client.receive(data(1, FULL_FRAME), 0.0)
    assert updates(pair.to_client()) == {}
    pair.client.receive(frame(codes.RST_STREAM, 0, 1, number(8)), 0.0)
    assert updates(pair.to_client()) == {0: WINDOW}


def test_padding_is_given_back_though_it_goes_nowhere() -> None:
    pair = uploading()
    for _ in range(200):
        pair.client.receive(data(1, b"\xff" + bytes(255), codes.PADDED), 0.0)
        pair.client.receive(data(1, b"x"), 0.0)
    pair.to_endpoint()
    given = updates(pair.to_client())
    assert given[1] >= 200 * 256 - 32768


def test_window_is_not_given_back_to_a_stream_that_has_ended() -> None:
    pair = uploading()
    pair.client.receive(data(1, FULL_FRAME) + data(1, FULL_FRAME, END), 0.0)
    pair.to_endpoint()
    assert updates(pair.to_client()) == {}


def test_data_under_way_to_a_stream_that_was_reset_counts_for_the_connection() -> None:
    pair = greeted(http2=Http2Settings(connection_window_bytes=65536))
    pair.client.receive(headers(1, {":method": "GET"}, WHOLE), 0.0)
    for _ in range(4):
        pair.client.receive(data(1, FULL_FRAME), 0.0)
    assert updates(pair.to_client()) == {0: WINDOW}


@pytest.mark.parametrize("window", [16384, 1 << 20])
def test_our_window_holds_from_its_acknowledgement_on(window: int) -> None:
    pair = Pair(http2=Http2Settings(stream_window_bytes=window))
    pair.client.receive(PREFACE + settings([]) + headers(1, POST, WHOLE), 0.0)
    (stream,) = pair.client.streams.values()
    assert stream.receive_window == 65535
    pair.client.receive(frame(codes.SETTINGS, codes.ACK, 0), 0.0)
    assert stream.receive_window == window
    pair.client.receive(headers(3, POST, WHOLE), 0.0)
    assert pair.client.streams[3].receive_window == window


def test_our_windows_are_announced() -> None:
    pair = Pair(http2=Http2Settings(stream_window_bytes=70000, connection_window_bytes=100000))
    for written in (pair.to_client(), pair.to_endpoint()):
        (first,) = frames(written, codes.SETTINGS)
        assert number(4, 2) + number(70000) in first.payload
        assert updates(written) == {0: 100000 - 65535}


def test_the_default_window_of_the_connection_is_not_announced() -> None:
    pair = Pair(http2=Http2Settings(connection_window_bytes=65535))
    assert updates(pair.to_client()) == updates(pair.to_endpoint()) == {}
