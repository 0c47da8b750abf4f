"""The connection of a client, of which we are the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

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
from edgemesh.wire.http2.frames import goaway, ping, settings, window_update
from edgemesh.wire.http2.header_reader import CacheBudget, HeaderReader, TooManyFields
from edgemesh.wire.http2.heads import RequestHead, Trailers, Unacceptable
from edgemesh.wire.http2.hpack_table import Field
from edgemesh.wire.http2.stream import Stream
from edgemesh.wire.http2_preface import PREFACE

_BLOCK_FACTOR = 4
_DRAIN_PING = b"edgemesh"
_TOO_LARGE = 431


class RequestTaker(Protocol):
    """Who is told of new requests."""

    def take_request(self, stream: Stream, head: RequestHead, ended: bool) -> None:
        """Set the stream's user, at least; with ``ended`` there is no body."""
        ...

    def refuse_request(self, stream: Stream, status: int, reason: str) -> None:
        """Answer a request whose head is not acceptable; nothing else is told of it."""
        ...


def parse_request(fields: list[Field]) -> RequestHead | Trailers:
    """Only requests have pseudo-header fields, and they begin with them."""
    if fields and fields[0][0][:1] == b":":
        return RequestHead(fields)
    return Trailers(fields)


class ServerConnection(Connection[RequestHead | Trailers]):
    """The server's side.

    Attributes:
        leaving: we have said that we take no more streams.
    """

    __slots__ = ("_last_stream", "_left", "_max_streams", "_take", "leaving")

    def __init__(
        self,
        taker: RequestTaker,
        wake: Callable[[], None],
        budget: CacheBudget,
        http: HttpSettings,
        http2: Http2Settings,
    ) -> None:
        """Greet the client: SETTINGS and the connection's window go into `output`.

        Args:
            taker: see there.
            wake: see Connection.
            budget: see HeaderReader.
            http: limits of heads.
            http2: all other limits.
        """
        reader = HeaderReader(
            parse_request,
            budget,
            list_bytes=http.max_head_bytes,
            list_fields=http.max_fields,
            kept_bytes=http2.connection_cache_bytes,
        )
        super().__init__(
            wake,
            reader,
            http2,
            preface=PREFACE,
            block_limit=_BLOCK_FACTOR * http.max_head_bytes,
            push_allowed=True,
            credits_on_delivery=True,
        )
        self._take = taker
        self._last_stream = 0
        self._max_streams = http2.max_streams
        self.leaving = self._left = False
        self.write(
            settings(
                (
                    (Setting.MAX_CONCURRENT_STREAMS, http2.max_streams),
                    (Setting.INITIAL_WINDOW_SIZE, http2.stream_window_bytes),
                    (Setting.MAX_HEADER_LIST_SIZE, http.max_head_bytes),
                )
            )
        )
        if http2.connection_window_bytes > DEFAULT_WINDOW:
            self.write(window_update(0, http2.connection_window_bytes - DEFAULT_WINDOW))

    def leave(self) -> None:
        """Take no more streams, after those that are under way already (section 6.8)."""
        if not self.leaving and self.fault is None:
            self.leaving = True
            self.write(goaway(LARGEST_STREAM_ID, ErrorCode.NO_ERROR))
            self.write(ping(_DRAIN_PING, ack=False))

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to come or to go but what is in `output`."""
        return self.fault is not None or (not self.streams and (self._left or self.peer_leaves))

    def on_pong(self, payload: bytes) -> None:
        """The client has seen that we leave: what it opened before has come."""
        if not self.leaving or self._left or payload != _DRAIN_PING:
            super().on_pong(payload)
            return
        self._left = True
        self._max_streams = 0
        self.write(goaway(self._last_stream, ErrorCode.NO_ERROR))

    def on_goaway(self, last_stream_id: int, code: int) -> None:  # noqa: ARG002 - we open none
        """The client opens no more streams; those that are open go on."""
        self.peer_leaves = True

    def on_headers(self, stream_id: int, block: bytes, ended: bool) -> None:
        """A request, or trailers."""
        if stream_id <= self._last_stream or not stream_id & 1:
            self._on_later_headers(stream_id, block, ended)
            return
        self._last_stream = stream_id
        head = self._headers.kept.get(block)
        if head is None:
            try:
                head = self._headers.read(block)
            except (Unacceptable, TooManyFields) as fault:
                self._refuse(stream_id, fault, ended)
                return
        if not isinstance(head, RequestHead):
            raise Malformed("a request without pseudo-header fields")
        if len(self.streams) >= self._max_streams:
            raise StreamFault(ErrorCode.REFUSED_STREAM, "too many streams")
        expected = head.content_length
        if ended and expected > 0:
            raise Malformed("a body was declared, and there is none")
        stream = Stream(self, stream_id, self.peer.initial_window, self._initial_receive_window)
        self.streams[stream_id] = stream
        stream.expected = expected
        stream.remote_ended = ended
        self._take.take_request(stream, head, ended)

    def last_peer_stream(self) -> int:
        """The last that the client has opened."""
        return self._last_stream

    def count_nuisance(self, kind: str) -> None:
        """Clients may reset, but not endlessly."""
        self.glitch(kind)

    def is_idle(self, stream_id: int) -> bool:
        """Section 5.1.1: clients open odd streams, and we none."""
        return stream_id > self._last_stream or not stream_id & 1

    def on_remote_end(self, stream: Stream) -> None:
        """The end has gone on with the data."""
        if stream.local_ended:
            self.close_stream(stream)

    def tell_reset(self, stream: Stream, code: int) -> bool:
        """The client wants no response, or cannot get one any more."""
        return stream.user.request_reset(code)

    def _on_later_headers(self, stream_id: int, block: bytes, ended: bool) -> None:
        """Trailers, or what has no place."""
        if not stream_id & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream that no client opens")
        # The table changes with each block, whatever becomes of it.
        head = self._headers.kept.get(block) or self._headers.read(block)
        stream = self.streams.get(stream_id)
        if stream is None:
            self.on_late_frame(stream_id, "HEADERS")
            return
        if stream.remote_ended:
            raise StreamFault(ErrorCode.STREAM_CLOSED, "HEADERS after the end of its stream")
        if not ended or not isinstance(head, Trailers):
            raise Malformed("trailers that are none")
        if stream.expected > 0:
            raise Malformed("content-length is not that of DATA")
        stream.remote_ended = True
        stream.user.request_trailers(head)
        if stream.local_ended:
            self.close_stream(stream)

    def _refuse(self, stream_id: int, fault: Unacceptable | TooManyFields, ended: bool) -> None:
        self.glitch("requests that are not acceptable")
        if len(self.streams) >= self._max_streams:
            raise StreamFault(ErrorCode.REFUSED_STREAM, "too many streams")
        stream = Stream(self, stream_id, self.peer.initial_window, self._initial_receive_window)
        self.streams[stream_id] = stream
        stream.remote_ended = ended
        status = fault.status if isinstance(fault, Unacceptable) else _TOO_LARGE
        self._take.refuse_request(stream, status, fault.reason)
