"""The server's side of a connection: its goodbye, its cache, its answers to control frames."""

from __future__ import annotations

import hpack
from http2_frames import GET, OK, POST, WHOLE, data, from_client, greeted, headers, split, words
from http2_pair import BUDGET_BYTES, Pair

from edgemesh.model.settings import Http2Settings, HttpSettings
from edgemesh.wire.http2 import codes
from edgemesh.wire.http2.codes import error_name
from edgemesh.wire.http2.frames import frame, goaway, header_frames, rst_stream, settings
from edgemesh.wire.http2.header_reader import CacheBudget, HeaderReader
from edgemesh.wire.http2.heads import RequestHead


def pongs(raw: bytes) -> list[bytes]:
    return [one.payload for one in split(raw) if one.kind == codes.PING and one.flags & codes.ACK]


def leave(pair: Pair) -> None:
    """Say goodbye, and let the client hear it."""
    pair.client.leave()
    (ping,) = [one for one in split(pair.to_client()) if one.kind == codes.PING]
    pair.client.receive(frame(codes.PING, codes.ACK, 0, ping.payload), 0.0)


def test_a_ping_is_answered_with_its_payload() -> None:
    pair = greeted()
    pair.client.receive(frame(codes.PING, 0, 0, b"12345678"), 0.0)
    assert pongs(pair.to_client()) == [b"12345678"]


def test_settings_are_acknowledged() -> None:
    pair = greeted()
    pair.client.receive(settings([(4, 1)]), 0.0)
    (ack,) = split(pair.to_client())
    assert (ack.kind, ack.flags, ack.payload) == (codes.SETTINGS, codes.ACK, b"")


def test_the_owner_is_woken_once_for_what_is_written_together() -> None:
    pair = greeted()
    before = pair.wakes
    pair.client.receive(3 * frame(codes.PING, 0, 0, bytes(8)), 0.0)
    assert pair.wakes == before + 1


def test_leaving_takes_what_was_under_way_and_then_no_more() -> None:
    pair = greeted()
    pair.client.leave()
    assert words(pair.to_client()) == ["GOAWAY NO_ERROR"]
    assert from_client(headers(1), pair) == []
    leave_ping = frame(codes.PING, codes.ACK, 0, b"edgemesh")
    assert from_client(leave_ping, pair) == ["GOAWAY NO_ERROR"]
    assert not pair.client.is_over
    assert from_client(headers(3), pair) == ["RST_STREAM 3 REFUSED_STREAM"]
    pair.upstream.receive(headers(1, OK), 0.0)
    assert pair.client.is_over


def test_a_second_goodbye_says_nothing_more() -> None:
    pair = greeted()
    leave(pair)
    pair.to_client()
    pair.client.leave()
    assert pair.to_client() == b""
    assert from_client(frame(codes.PING, codes.ACK, 0, b"edgemesh"), pair) == []


def test_an_answer_to_another_ping_is_none_to_the_goodbye_s() -> None:
    pair = greeted()
    pair.client.leave()
    pair.to_client()
    assert from_client(frame(codes.PING, codes.ACK, 0, bytes(8)), pair) == []
    assert not pair.client.is_over


def test_after_a_fault_there_is_no_other_goodbye() -> None:
    pair = greeted()
    assert from_client(headers(2), pair) == ["GOAWAY PROTOCOL_ERROR"]
    assert pair.client.is_over
    pair.client.leave()
    assert pair.to_client() == b""


def test_a_client_that_leaves_is_gone_with_its_last_stream() -> None:
    pair = greeted()
    assert from_client(headers(1) + goaway(0, 0), pair) == []
    assert not pair.client.is_over
    pair.upstream.receive(headers(1, OK), 0.0)
    assert pair.client.is_over


def test_a_fault_names_the_last_stream_that_was_taken() -> None:
    pair = greeted()
    pair.client.receive(headers(1) + headers(7) + headers(2), 0.0)
    (last,) = [one for one in split(pair.to_client()) if one.kind == codes.GOAWAY]
    assert int.from_bytes(last.payload[:4], "big") == 7
    assert b"no client opens" in last.payload


def test_requests_that_cannot_be_read_are_refused_only_while_there_is_room() -> None:
    connect = headers(3, {**GET, ":method": "CONNECT"})
    full = greeted(http2=Http2Settings(max_streams=1))
    told = from_client(headers(1, POST, WHOLE) + connect, full)
    assert told == ["RST_STREAM 3 REFUSED_STREAM"]
    left = greeted()
    leave(left)
    left.to_client()
    assert from_client(connect, left) == ["RST_STREAM 3 REFUSED_STREAM"]


def test_trailers_that_are_too_long_reset_their_stream() -> None:
    pair = greeted()
    told = from_client(headers(1, POST, WHOLE) + headers(1, [("a", "b")] * 101), pair)
    assert told == ["RST_STREAM 1 ENHANCE_YOUR_CALM"]
    assert words(pair.to_endpoint()) == []
    assert not pair.upstream.streams


def test_trailers_after_the_response_end_the_stream() -> None:
    pair = greeted()
    pair.client.receive(headers(1, POST, WHOLE), 0.0)
    pair.upstream.receive(headers(1, OK), 0.0)
    assert 1 in pair.client.streams
    pair.client.receive(headers(1, {"a": "b"}), 0.0)
    assert not pair.client.streams
    assert not pair.upstream.streams


def test_data_after_the_response_ends_the_stream() -> None:
    pair = greeted()
    pair.client.receive(headers(1, POST, WHOLE), 0.0)
    pair.upstream.receive(headers(1, OK), 0.0)
    pair.client.receive(data(1, b"x", codes.END_STREAM), 0.0)
    assert not pair.client.streams
    assert not pair.upstream.streams


def test_a_block_that_needs_it_is_sent_in_several_frames() -> None:
    pair = greeted()
    long = {**GET, **{f"a{n}": "b" * 1000 for n in range(50)}}
    raw = headers(1, long)[9:]
    pair.client.receive(header_frames(1, raw, end_stream=True), 0.0)
    kinds = [(one.kind, one.flags) for one in split(pair.to_endpoint())]
    assert kinds == [
        (codes.HEADERS, codes.END_STREAM),
        (codes.CONTINUATION, 0),
        (codes.CONTINUATION, 0),
        (codes.CONTINUATION, codes.END_HEADERS),
    ]


def test_a_peer_with_a_smaller_table_is_told_once_that_none_is_used() -> None:
    pair = greeted()
    pair.upstream.receive(settings([(1, 100)]), 0.0)
    pair.client.receive(headers(1) + headers(3), 0.0)
    pair.upstream.receive(settings([(1, 50)]), 0.0)
    pair.client.receive(headers(5), 0.0)
    blocks = [one.payload for one in split(pair.to_endpoint()) if one.kind == codes.HEADERS]
    assert [block[:1] == b"\x20" for block in blocks] == [True, False, False]
    assert hpack.Decoder().decode(blocks[0], raw=True) == hpack.Decoder().decode(
        blocks[1], raw=True
    )


def test_a_peer_with_a_larger_table_is_told_nothing() -> None:
    pair = greeted()
    pair.upstream.receive(settings([(1, 65536)]), 0.0)
    pair.client.receive(headers(1), 0.0)
    (head,) = [one for one in split(pair.to_endpoint()) if one.kind == codes.HEADERS]
    assert head.payload == headers(1)[9:]


def test_equal_blocks_are_read_once() -> None:
    pair = greeted()
    pair.client.receive(headers(1) + headers(3), 0.0)
    first, second = pair.requests
    assert first.head is second.head


def test_a_block_means_something_else_once_the_table_has_changed() -> None:
    pair = greeted()
    encoder = hpack.Encoder()
    for stream_id, path in ((1, "/a"), (3, "/a"), (5, "/b"), (7, "/a"), (9, "/b")):
        raw = encoder.encode({**GET, ":path": path}.items())
        pair.client.receive(header_frames(stream_id, raw, end_stream=True), 0.0)
    assert [one.head.path for one in pair.requests] == ["/a", "/a", "/b", "/a", "/b"]


def test_what_is_remembered_is_bounded_and_given_back() -> None:
    pair = greeted(http2=Http2Settings(connection_cache_bytes=10_000))
    for number in range(50):
        pair.client.receive(headers(2 * number + 1, {**GET, ":path": f"/{number}"}), 0.0)
        assert BUDGET_BYTES - pair.budget.left <= 10_000
    assert pair.budget.left < BUDGET_BYTES
    pair.client.release()
    assert pair.budget.left == BUDGET_BYTES


def test_nothing_is_remembered_beyond_what_all_may() -> None:
    budget = CacheBudget(2000)
    http = HttpSettings()
    reader = HeaderReader(
        RequestHead,
        budget,
        list_bytes=http.max_head_bytes,
        list_fields=http.max_fields,
        kept_bytes=65536,
    )
    for number in range(5):
        reader.read(headers(1, {**GET, ":path": f"/{number}"})[9:])
    assert len(reader.kept) == 1
    assert budget.left >= 0


def test_streams_that_were_reset_long_ago_are_still_borne_with() -> None:
    pair = greeted()
    for number in range(400):
        pair.client.receive(headers(2 * number + 1, {"a": "b"}, WHOLE), 0.0)
    pair.to_client()
    assert from_client(data(1, b"x") + data(799, b"x"), pair) == []


def test_an_endpoint_may_answer_what_was_cancelled_many_times() -> None:
    """Others share the connection: what one client cancels must not end it."""
    pair = greeted(http2=Http2Settings(glitch_burst=3000))
    for number in range(2000):
        stream_id = 2 * number + 1
        pair.client.receive(headers(stream_id) + rst_stream(stream_id, 8), 0.0)
    pair.to_endpoint()
    for number in range(2000):
        stream_id = 2 * number + 1
        pair.upstream.receive(headers(stream_id, OK, WHOLE) + data(stream_id, b"x"), 0.0)
    assert pair.upstream.fault is pair.client.fault is None
    assert pair.to_client() == b""


def test_pings_that_follow_data_are_no_flood() -> None:
    pair = greeted()
    pair.client.receive(headers(1, POST, WHOLE), 0.0)
    for _ in range(3000):
        pair.client.receive(data(1, b"x") + frame(codes.PING, 0, 0, bytes(8)), 0.0)
        pair.to_client()
        pair.to_endpoint()
    assert pair.client.fault is None


def test_who_has_seen_a_response_begin_may_reset_as_often_as_it_likes() -> None:
    pair = greeted()
    for number in range(3000):
        stream_id = 2 * number + 1
        pair.client.receive(headers(stream_id), 0.0)
        pair.upstream.receive(headers(stream_id, OK, WHOLE), 0.0)
        pair.client.receive(rst_stream(stream_id, 8), 0.0)
        pair.to_client()
        pair.to_endpoint()
    assert pair.client.fault is None


def test_whether_a_head_is_awaited_is_known() -> None:
    assert Pair().client.in_head_since == 0.0
    pair = greeted()
    assert pair.client.in_head_since is None
    pair.client.receive(headers(1, GET, 0), 5.0)
    pair.client.receive(frame(codes.CONTINUATION, 0, 1), 7.0)
    assert pair.client.in_head_since == 5.0


def test_what_is_sent_by_a_closed_connection_is_given_back_to_who_sent_it() -> None:
    pair = greeted()
    pair.client.receive(headers(1, POST, WHOLE), 0.0)
    pair.to_endpoint()
    pair.full.add(pair.upstream)
    for _ in range(2):
        pair.client.receive(data(1, bytes(16384)), 0.0)
    pair.to_endpoint()
    pair.upstream.release()
    assert any(one.kind == codes.WINDOW_UPDATE for one in split(pair.to_client()))


def test_error_codes_have_names_as_far_as_there_are_some() -> None:
    assert error_name(7) == "REFUSED_STREAM"
    assert error_name(4711) == "4711"


def test_frames_say_what_they_are() -> None:
    (reset,) = split(rst_stream(5, 8))
    assert reset == (codes.RST_STREAM, 0, 5, b"\0\0\0\x08")
    (bye,) = split(goaway(7, 2, "x" * 1000))
    assert bye.payload == b"\0\0\0\7\0\0\0\2" + b"x" * 256
