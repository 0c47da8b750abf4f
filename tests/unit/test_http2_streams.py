"""A stream by itself: before it has a partner, and when it is sent a second time."""

from __future__ import annotations

import pytest
from http2_frames import END, OK, POST, WHOLE, data, greeted, headers, number, split
from http2_pair import Pair, PlainRequest

from edgemesh.model.settings import Http2Settings
from edgemesh.wire.http2 import codes
from edgemesh.wire.http2.frames import frame, settings, window_update


class Held(PlainRequest):
    """Lets nothing pass by itself."""

    held: list[tuple[bytes, bool]]

    def start(self, ended: bool) -> None:
        self.held = []
        self.upstream.send_head(self.head.block, end=ended)

    def request_data(self, payload: bytes, ended: bool) -> None:
        self.held.append((payload, ended))


def holding(**limits: object) -> tuple[Pair, Held]:
    """A pair with a request on stream 1 that has no partner yet."""
    pair = greeted(**limits)
    pair.take_request = lambda stream, head, ended: (  # type: ignore[method-assign]
        pair.requests.append(Held(pair, stream, head)) or pair.requests[-1].start(ended)
    )
    pair.client.receive(headers(1, POST, WHOLE), 0.0)
    (request,) = pair.requests
    assert isinstance(request, Held)
    return pair, request


def given_back(pair: Pair) -> dict[int, int]:
    return {
        one.stream_id: int.from_bytes(one.payload, "big")
        for one in split(pair.to_client())
        if one.kind == codes.WINDOW_UPDATE
    }


def test_data_without_a_partner_is_for_the_user() -> None:
    pair, request = holding()
    pair.client.receive(data(1, b"a") + data(1, b"b", END), 0.0)
    assert request.held == [(b"a", False), (b"b", True)]
    assert request.client.remote_ended


def test_data_of_a_request_that_was_answered_already_ends_its_stream() -> None:
    pair, request = holding()
    pair.upstream.receive(headers(1, OK), 0.0)
    pair.client.receive(data(1, b"b", END), 0.0)
    assert request.held == [(b"b", True)]
    assert not pair.client.streams


def test_what_is_sent_twice_is_given_back_once() -> None:
    pair, request = holding()
    payload = bytes(16384)
    for _ in range(2):
        pair.client.receive(data(1, payload), 0.0)
        request.upstream.send_data(payload, False)
    pair.to_endpoint()
    assert given_back(pair) == {1: 32768}
    request.upstream.reset(codes.ErrorCode.CANCEL)
    again = pair.upstream.open(request, request.client, False)
    again.send_head(request.head.block, False)
    request.client.take_back(32768)
    for _ in range(2):
        again.send_data(payload, False)
    pair.to_endpoint()
    assert given_back(pair) == {}


def test_what_nobody_wants_is_given_back_at_once() -> None:
    pair, request = holding()
    pair.client.receive(data(1, bytes(16384)) + data(1, bytes(16384)), 0.0)
    request.client.lose(32768)
    assert given_back(pair) == {1: 32768}


def test_what_waited_on_a_stream_that_is_reset_is_given_back() -> None:
    pair, request = holding(http2=Http2Settings(connection_window_bytes=65536))
    pair.upstream.receive(settings([(4, 0)]), 0.0)
    for _ in range(4):
        pair.client.receive(data(1, bytes(16384)), 0.0)
        request.upstream.send_data(bytes(16384), False)
    request.upstream.reset(codes.ErrorCode.CANCEL)
    assert given_back(pair) == {0: 65536, 1: 65536}


def test_what_waited_without_a_source_is_forgotten() -> None:
    pair, request = holding()
    pair.upstream.receive(settings([(4, 0)]), 0.0)
    request.upstream.partner = None
    request.upstream.send_data(b"x", False)
    request.upstream.reset(codes.ErrorCode.CANCEL)
    assert not pair.upstream.waiting
    assert given_back(pair) == {}


def test_a_response_that_waits_is_forgotten_with_its_stream() -> None:
    pair, request = holding()
    request.client.partner = request.upstream
    pair.client.receive(settings([(4, 0)]), 0.0)
    pair.upstream.receive(headers(1, OK, WHOLE) + data(1, b"abc"), 0.0)
    pair.to_endpoint()
    pair.client.receive(frame(codes.RST_STREAM, 0, 1, number(8)), 0.0)
    assert not pair.client.waiting
    assert request.upstream.owed == 3


def test_trailers_without_data_wait_for_nothing() -> None:
    pair, request = holding()
    request.upstream.send_data(b"", False)
    pair.client.receive(headers(1, {"a": "b"}), 0.0)
    kinds = [(one.kind, one.flags & END) for one in split(pair.to_endpoint())]
    assert kinds == [(codes.HEADERS, 0), (codes.DATA, 0), (codes.HEADERS, END)]


def test_an_end_that_came_while_the_window_was_negative_goes_out_when_data_does() -> None:
    pair, request = holding()
    request.upstream.send_data(b"abc", False)
    pair.upstream.receive(settings([(4, 0)]), 0.0)
    request.upstream.send_data(b"d", False)
    request.upstream.send_data(b"", True)
    pair.to_endpoint()
    pair.upstream.receive(window_update(1, 4), 0.0)
    (last,) = split(pair.to_endpoint())
    assert (last.kind, last.flags, last.payload) == (codes.DATA, END, b"d")


def test_a_stream_knows_whether_it_is_open() -> None:
    pair, request = holding()
    assert request.client.is_open
    pair.client.receive(frame(codes.RST_STREAM, 0, 1, number(8)), 0.0)
    assert not request.client.is_open


def test_all_that_waits_goes_on_with_enough_window() -> None:
    pair, request = holding()
    pair.upstream.receive(settings([(4, 0)]), 0.0)
    for payload in (b"abc", b"def", b"ghi"):
        request.upstream.send_data(payload, False)
    pair.to_endpoint()
    pair.upstream.receive(window_update(1, 7), 0.0)
    assert [one.payload for one in split(pair.to_endpoint())] == [b"abc", b"def", b"g"]


def test_a_stream_may_be_reset_by_who_is_told_of_its_last_head(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair, request = holding()
    pair.client.receive(data(1, b"", END), 0.0)
    request.upstream.send_data(b"", True)
    monkeypatch.setattr(Held, "responded", lambda self, *_, **__: self.upstream.reset(8))
    pair.upstream.receive(headers(1, OK), 0.0)
    assert pair.closed == 1
    assert pair.upstream.fault is None
