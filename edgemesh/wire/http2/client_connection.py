"""The connection to an endpoint, of which we are the client."""

from __future__ import annotations

from collections.abc import Callable

from edgemesh.model.settings import Http2Settings, HttpSettings
from edgemesh.wire.http2.codes import (
    DEFAULT_WINDOW,
    LARGEST_STREAM_ID,
    ConnectionFault,
    ErrorCode,
    Setting,
    StreamFault,
)
from edgemesh.wire.http2.connection import Connection
from edgemesh.wire.http2.field_rules import Malformed
from edgemesh.wire.http2.frames import goaway, settings, window_update
from edgemesh.wire.http2.header_reader import CacheBudget, HeaderReader
from edgemesh.wire.http2.heads import ResponseHead, Trailers
from edgemesh.wire.http2.hpack_table import Field
from edgemesh.wire.http2.stream import NO_BODY_EVER, NO_BODY_YET, Request, Stream
from edgemesh.wire.http2_preface import PREFACE

_BLOCK_FACTOR = 4
_WITHOUT_BODY = (204, 304)


def parse_response(fields: list[Field]) -> ResponseHead | Trailers:
    """Only responses have pseudo-header fields, and they begin with them."""
    if fields and fields[0][0][:1] == b":":
        return ResponseHead(fields)
    return Trailers(fields)


class ClientConnection(Connection[ResponseHead | Trailers]):
    """The client's side.

    Its window as a whole is given back at once: many clients share the connection, and one
    that does not read must not stop the others. What is kept is bounded stream by stream.

    Attributes:
        stream_limit: so many streams may be open now.
    """

    __slots__ = ("_next_stream", "_retired", "_stream_closed", "stream_limit")

    def __init__(
        self,
        wake: Callable[[], None],
        stream_closed: Callable[[], None],
        budget: CacheBudget,
        http: HttpSettings,
        http2: Http2Settings,
    ) -> None:
        """Greet the endpoint: preface, SETTINGS and the connection's window go into `output`.

        Args:
            wake: see Connection.
            stream_closed: is called after every stream that is over.
            budget: see HeaderReader.
            http: limits of heads.
            http2: all other limits.
        """
        reader = HeaderReader(
            parse_response,
            budget,
            list_bytes=http.max_head_bytes,
            list_fields=http.max_fields,
            kept_bytes=http2.connection_cache_bytes,
        )
        super().__init__(
            wake,
            reader,
            http2,
            preface=b"",
            block_limit=_BLOCK_FACTOR * http.max_head_bytes,
            push_allowed=False,
            credits_on_delivery=False,
        )
        self._next_stream = 1
        self._stream_closed = stream_closed
        self._retired = False
        self.stream_limit = self.peer.max_streams
        self.write(
            PREFACE
            + settings(
                (
                    (Setting.ENABLE_PUSH, 0),
                    (Setting.INITIAL_WINDOW_SIZE, http2.stream_window_bytes),
                    (Setting.MAX_HEADER_LIST_SIZE, http.max_head_bytes),
                )
            )
        )
        if http2.connection_window_bytes > DEFAULT_WINDOW:
            self.write(window_update(0, http2.connection_window_bytes - DEFAULT_WINDOW))

    def retire(self) -> None:
        """Open no more streams."""
        self._retired = True
        self.stream_limit = 0

    def open(self, user: Request, partner: Stream, bodiless: bool) -> Stream:
        """A new stream for a request whose head is to be sent next; there must be room.

        Args:
            user: see Stream.
            partner: see Stream.
            bodiless: the response will have no body, whatever its head says.
        """
        stream_id = self._next_stream
        self._next_stream = stream_id + 2
        if self._next_stream > LARGEST_STREAM_ID:
            self.retire()
        stream = Stream(self, stream_id, self.peer.initial_window, self._initial_receive_window)
        stream.user = user
        stream.partner = partner
        stream.expected = NO_BODY_EVER if bodiless else NO_BODY_YET
        self.streams[stream_id] = stream
        return stream

    def close_stream(self, stream: Stream) -> None:
        """There is room for another."""
        if self.streams.pop(stream.id, None) is not None:
            self._stream_closed()

    @property
    def opened(self) -> int:
        """How many streams were opened ever."""
        return self._next_stream // 2

    def leave(self) -> None:
        """Say goodbye; there are no streams any more."""
        self.write(goaway(0, ErrorCode.NO_ERROR))

    def on_headers(self, stream_id: int, block: bytes, ended: bool) -> None:
        """A response's head, or trailers."""
        head = self._headers.kept.get(block)
        if head is None:
            head = self._headers.read(block)
        stream = self.streams.get(stream_id)
        if stream is None:
            if self.is_idle(stream_id):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HEADERS before its stream")
            self.on_late_frame(stream_id, "HEADERS")
            return
        if stream.remote_ended:
            raise StreamFault(ErrorCode.STREAM_CLOSED, "HEADERS after the end of its stream")
        if stream.expected > NO_BODY_YET:
            self._on_trailers(stream, head, ended)
            return
        if not isinstance(head, ResponseHead):
            raise Malformed("a response without pseudo-header fields")
        if head.is_interim:
            if ended:
                raise Malformed("an interim response with an end")
        else:
            stream.expected = _expected_body(head, stream, ended)
            stream.remote_ended = ended
        stream.user.responded(head, ended)
        if ended and stream.local_ended:
            self.close_stream(stream)

    def last_peer_stream(self) -> int:
        """Endpoints open none."""
        return 0

    def count_nuisance(self, kind: str) -> None:
        """Endpoints may: what ends their streams is most often a client's doing."""

    def is_idle(self, stream_id: int) -> bool:
        """Section 5.1.1: we open odd streams, and the endpoint none."""
        return stream_id >= self._next_stream or not stream_id & 1

    def on_remote_end(self, stream: Stream) -> None:
        """The response is complete."""
        if stream.local_ended:
            self.close_stream(stream)
        stream.user.response_ended()

    def tell_reset(self, stream: Stream, code: int) -> bool:
        """The endpoint wants to have nothing more to do with the request."""
        stream.user.response_reset(code, refused=code == ErrorCode.REFUSED_STREAM)
        return stream.expected > NO_BODY_YET

    def on_settings(self, payload: bytes) -> None:
        """The endpoint may allow more or fewer streams."""
        super().on_settings(payload)
        if not self._retired:
            self.stream_limit = self.peer.max_streams

    def fail(self, fault: ConnectionFault) -> None:
        """End the connection with GOAWAY, and open no more streams."""
        super().fail(fault)
        self.retire()

    def on_goaway(self, last_stream_id: int, code: int) -> None:
        """Section 6.8: streams above the last were not looked at; they may go elsewhere."""
        self.peer_leaves = True
        self.retire()
        for stream in [s for s in self.streams.values() if s.id > last_stream_id]:
            stream.forget()
            stream.user.response_reset(code, refused=True)

    def _on_trailers(self, stream: Stream, head: ResponseHead | Trailers, ended: bool) -> None:
        if not ended or not isinstance(head, Trailers):
            raise Malformed("trailers that are none")
        if stream.expected > 0:
            raise Malformed("content-length is not that of DATA")
        stream.remote_ended = True
        if stream.local_ended:
            self.close_stream(stream)
        stream.user.response_trailers(head)


def _expected_body(head: ResponseHead, stream: Stream, ended: bool) -> int:
    """How much DATA may come (RFC 9110 section 8.6, RFC 9113 section 8.1.1)."""
    if stream.expected == NO_BODY_EVER or head.status in _WITHOUT_BODY:
        return 0
    if ended and head.content_length > 0:
        raise Malformed("a body was declared, and there is none")
    return head.content_length
