"""Floods of frames that are each allowed: cut, and soon (RFC 9113 section 10.5)."""

from __future__ import annotations

import pytest
from http2_frames import END, POST, WHOLE, block, data, greeted, headers, number, split, words
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.model.settings import Http2Settings
from edgemesh.wire.http2 import codes
from edgemesh.wire.http2.codes import ConnectionFault, ErrorCode
from edgemesh.wire.http2.frames import frame, settings, window_update
from edgemesh.wire.http2.glitches import GlitchBudget

FRAMES = 20_000
CALM = "GOAWAY ENHANCE_YOUR_CALM"
OPEN = headers(1, POST, WHOLE)
RESET = number(ErrorCode.CANCEL)

FLOODS = {
    "rapid reset (CVE-2023-44487)": lambda n: (
        headers(2 * n + 1) + frame(codes.RST_STREAM, 0, 2 * n + 1, RESET)
    ),
    "made-you-reset (CVE-2025-8671)": lambda n: (
        headers(2 * n + 1, POST, WHOLE) + window_update(2 * n + 1, 0)
    ),
    "resets of streams that were answered by us": lambda n: (
        headers(2 * n + 1, {**POST, ":method": "CONNECT"}, WHOLE)
        + frame(codes.RST_STREAM, 0, 2 * n + 1, RESET)
    ),
    "PING": lambda n: frame(codes.PING, 0, 0, number(n, 8)),
    "SETTINGS": lambda n: settings([(4, 65535 + n % 2)]),
    "empty SETTINGS": lambda _: settings([]),
    "empty DATA": lambda n: (b"" if n else OPEN) + data(1),
    "nothing but padding": lambda n: (b"" if n else OPEN) + data(1, b"\0", codes.PADDED),
    "PRIORITY": lambda n: frame(codes.PRIORITY, 0, 2 * n + 1, bytes(5)),
    "CONTINUATION": lambda n: (
        frame(codes.CONTINUATION, 0, 1) if n else frame(codes.HEADERS, END, 1, block(POST))
    ),
    "CONTINUATION with something in it (CVE-2024-27316)": lambda n: (
        frame(codes.CONTINUATION, 0, 1, bytes(4000))
        if n
        else frame(codes.HEADERS, END, 1, block(POST))
    ),
    "unknown types": lambda _: frame(0xF0, 0, 0),
    "answers to no SETTINGS": lambda _: frame(codes.SETTINGS, codes.ACK, 0),
    "answers to no PING": lambda _: frame(codes.PING, codes.ACK, 0, bytes(8)),
    "GOAWAY": lambda _: frame(codes.GOAWAY, 0, 0, bytes(8)),
    "malformed requests": lambda n: headers(2 * n + 1, {"a": "b"}),
    "requests that are not served": lambda n: headers(2 * n + 1, {**POST, ":method": "CONNECT"}),
    "streams beyond the limit": lambda n: headers(2 * n + 1, POST, WHOLE),
    "DATA of a stream that was reset": lambda n: (
        data(1, b"x") if n else headers(1, {"a": "b"}, WHOLE)
    ),
    "trailers of a stream that was reset": lambda n: (
        headers(1, {"a": "b"}) if n else headers(1, {"a": "b"}, WHOLE)
    ),
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_a_flood_is_cut_before_a_tenth_of_it_was_taken(flood) -> None:  # noqa: ANN001
    pair = greeted()
    told: list[str] = []
    for sent in range(FRAMES):
        pair.client.receive(flood(sent), 0.001 * sent)
        told += words(pair.to_client())
        list(split(pair.to_endpoint()))
        if pair.client.fault is not None:
            break
    assert told[-1] == CALM
    assert sent < FRAMES / 10


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_what_is_kept_during_a_flood_is_little(flood) -> None:  # noqa: ANN001
    """The client does not read its answers either."""
    pair = greeted()
    for sent in range(FRAMES):
        pair.client.receive(flood(sent), 0.0)
        pair.to_endpoint()
        if pair.client.fault is not None:
            break
    assert sum(map(len, pair.client.output)) < 300_000
    assert len(pair.client.streams) <= 100


def test_who_cancels_and_pings_now_and_then_is_never_cut() -> None:
    pair = greeted()
    for second in range(5000):
        stream_id = 2 * second + 1
        pair.client.receive(
            headers(stream_id)
            + frame(codes.RST_STREAM, 0, stream_id, RESET)
            + frame(codes.PING, 0, 0, bytes(8)),
            float(second),
        )
        pair.to_client()
        pair.to_endpoint()
    assert pair.client.fault is None


def test_the_limits_are_those_of_the_settings() -> None:
    pair = greeted(http2=Http2Settings(glitch_burst=5, glitch_rate=0.0))
    ping = frame(codes.PING, 0, 0, bytes(8))
    pair.client.receive(4 * ping, 1000.0)
    assert pair.client.fault is None
    pair.client.receive(ping, 2000.0)
    assert pair.client.fault is not None


@given(
    burst=st.integers(1, 50),
    rate=st.floats(0, 20),
    pauses=st.lists(st.floats(0, 1), max_size=200),
)
def test_a_budget_lets_through_its_burst_and_its_rate(
    burst: int, rate: float, pauses: list[float]
) -> None:
    budget = GlitchBudget(burst, rate)
    now, passed = 0.0, 0
    for pause in pauses:
        now += pause
        try:
            budget.spend(now, "test")
        except ConnectionFault:
            assert passed >= burst
            break
        passed += 1
    assert passed <= burst + rate * now + 1


def test_the_second_connection_of_a_pair_is_guarded_as_well() -> None:
    pair = greeted()
    for _ in range(2000):
        pair.upstream.receive(frame(codes.PING, 0, 0, bytes(8)), 0.0)
    assert pair.upstream.fault is not None
