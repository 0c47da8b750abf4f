"""Whatever h2's client and server say to each other arrives through us as it was said.

Any number of exchanges at a time, in any interleaving, with any windows; `h2` is the judge of
what is allowed, on both sides.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    Event,
    InformationalResponseReceived,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    TrailersReceived,
)
from h2.settings import SettingCodes, Settings
from http2_pair import Pair
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemesh.model.settings import Http2Settings

Fields = list[tuple[bytes, bytes]]

NAMES = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12).map(
    lambda name: ("x-" + name).encode()
)
VALUES = st.binary(max_size=40).map(
    lambda raw: bytes(b for b in raw if b > 0x20 and b != 0x7F)
) | st.just(b"v" * 5000)
EXTRA = st.lists(st.tuples(NAMES, VALUES), max_size=6)
BODY = st.lists(st.binary(max_size=100) | st.integers(1, 8000).map(bytes), max_size=3)


@dataclass
class Said:
    """One direction of one exchange."""

    interim: list[Fields] = field(default_factory=list)
    head: Fields = field(default_factory=list)
    body: bytes = b""
    trailers: Fields | None = None
    ended: bool = False


@st.composite
def said(draw: st.DrawFn, pseudo: Fields, *, interim: bool) -> tuple[Said, list[bytes]]:
    parts = draw(BODY)
    message = Said(
        interim=[[(b":status", b"103"), *draw(EXTRA)]] * draw(st.integers(0, 1)) if interim else [],
        head=[*pseudo, *draw(EXTRA)],
        body=b"".join(parts),
        trailers=draw(st.none() | EXTRA.filter(bool)),
        ended=True,
    )
    return message, parts


REQUESTS = st.sampled_from([b"GET", b"POST", b"PUT"]).flatmap(
    lambda method: said(
        [(b":method", method), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"web")],
        interim=False,
    )
)
RESPONSES = st.sampled_from([b"200", b"404", b"503"]).flatmap(
    lambda status: said([(b":status", status)], interim=True)
)


def steps(stream_id: int, message: Said, parts: list[bytes]) -> list[tuple[str, int, object, bool]]:
    """What a peer does to say it: kind, stream, what, whether that is all."""
    made: list[tuple[str, int, object, bool]] = [
        ("head", stream_id, fields, False) for fields in message.interim
    ]
    bare = message.trailers is None and not parts
    made.append(("head", stream_id, message.head, bare))
    for number, part in enumerate(parts):
        last = message.trailers is None and number == len(parts) - 1
        made.append(("data", stream_id, part, last))
    if message.trailers is not None:
        made.append(("head", stream_id, message.trailers, True))
    return made


class Talker:
    """One h2 connection that has its own things to say, stream by stream in order."""

    def __init__(self, connection: H2Connection) -> None:
        self.connection = connection
        self.to_do: dict[int, list[tuple[str, int, object, bool]]] = {}
        self.heard: dict[int, Said] = defaultdict(Said)

    def go_on(self, stream_id: int) -> bool:
        """Take one step if its windows let it; whether it did."""
        kind, _, what, last = self.to_do[stream_id][0]
        if kind == "head":
            self.connection.send_headers(stream_id, what, end_stream=last)
        else:
            assert isinstance(what, bytes)
            window = min(
                self.connection.local_flow_control_window(stream_id),
                self.connection.max_outbound_frame_size,
            )
            if what and window <= 0:
                return False
            if len(what) > window:
                self.connection.send_data(stream_id, what[:window])
                self.to_do[stream_id][0] = (kind, stream_id, what[window:], last)
                return True
            self.connection.send_data(stream_id, what, end_stream=last)
        del self.to_do[stream_id][0]
        if not self.to_do[stream_id]:
            del self.to_do[stream_id]
        return True

    def hear(self, events: list[Event]) -> None:
        for event in events:
            stream_id = getattr(event, "stream_id", None)
            if isinstance(event, (RequestReceived, ResponseReceived)):
                self.heard[stream_id].head = [tuple(one) for one in event.headers]
            elif isinstance(event, InformationalResponseReceived):
                self.heard[stream_id].interim.append([tuple(one) for one in event.headers])
            elif isinstance(event, DataReceived):
                self.heard[stream_id].body += event.data
                self.connection.acknowledge_received_data(event.flow_controlled_length, stream_id)
            elif isinstance(event, TrailersReceived):
                self.heard[stream_id].trailers = [tuple(one) for one in event.headers]
            elif isinstance(event, StreamEnded):
                self.heard[stream_id].ended = True


def carry(pair: Pair, client: Talker, server: Talker, piece: int) -> bool:
    """Move what was written, in pieces of so many bytes; whether anything was."""
    moved = False
    for talker, connection, take in (
        (client, pair.client, pair.to_client),
        (server, pair.upstream, pair.to_endpoint),
    ):
        written = talker.connection.data_to_send()
        for begin in range(0, len(written), piece):
            connection.receive(written[begin : begin + piece], 0.0)
        answered = take()
        talker.hear(talker.connection.receive_data(answered))
        moved |= bool(written or answered)
        assert connection.fault is None
    return moved


def h2_peer(window: int, *, client: bool) -> H2Connection:
    configuration = H2Configuration(
        client_side=client, header_encoding=None, normalize_inbound_headers=False
    )
    connection = H2Connection(configuration)
    connection.local_settings = Settings(
        client=client, initial_values={SettingCodes.INITIAL_WINDOW_SIZE: window}
    )
    connection.initiate_connection()
    return connection


@settings(max_examples=40, deadline=None)
@given(
    exchanges=st.lists(st.tuples(REQUESTS, RESPONSES), min_size=1, max_size=5),
    windows=st.tuples(*[st.sampled_from([1500, 65535, 1 << 20])] * 2),
    piece=st.sampled_from([50, 1000, 1 << 20]),
    seed=st.integers(0, 1 << 32),
)
def test_what_h2_says_to_h2_arrives_equal(
    exchanges: list[tuple[tuple[Said, list[bytes]], tuple[Said, list[bytes]]]],
    windows: tuple[int, int],
    piece: int,
    seed: int,
) -> None:
    order = random.Random(seed)
    pair = Pair(http2=Http2Settings(glitch_burst=1_000_000))
    client = Talker(h2_peer(windows[0], client=True))
    server = Talker(h2_peer(windows[1], client=False))
    while carry(pair, client, server, piece):
        pass
    for number, ((request, parts), _) in enumerate(exchanges):
        client.to_do[2 * number + 1] = steps(2 * number + 1, request, parts)
    answered = 0
    while client.to_do or server.to_do or answered < len(exchanges):
        # Streams may begin at the endpoint in another order than at the client.
        for stream_id in list(server.heard)[answered:]:
            (_, (response, parts)) = exchanges[number_of(pair, stream_id)]
            server.to_do[stream_id] = steps(stream_id, response, parts)
            answered += 1
        ready = [(client, one) for one in startable(client)] + [
            (server, one) for one in server.to_do
        ]
        progress = False
        if ready:
            talker, stream_id = order.choice(ready)
            progress = talker.go_on(stream_id)
            if not progress:
                progress = any(one.go_on(other) for one, other in ready)
        progress |= carry(pair, client, server, piece)
        assert progress
    while carry(pair, client, server, piece):
        pass
    for number, ((request, _), (response, _)) in enumerate(exchanges):
        assert client.heard[2 * number + 1] == response
        assert server.heard[upstream_of(pair, number)] == request
    assert not pair.client.streams
    assert not pair.upstream.streams


def startable(client: Talker) -> list[int]:
    """Streams that may go on: new ones have to begin in order."""
    begun = client.connection.highest_outbound_stream_id or -1
    return [one for one in client.to_do if one <= begun + 2]


def number_of(pair: Pair, upstream_id: int) -> int:
    (request,) = [one for one in pair.requests if one.upstream.id == upstream_id]
    return request.client.id // 2


def upstream_of(pair: Pair, number: int) -> int:
    (request,) = [one for one in pair.requests if one.client.id == 2 * number + 1]
    return request.upstream.id
