"""One call of ``grpc.health.v1.Health/Check`` on a connection of its own: bytes in, bytes out.

Sources: grpc/doc/health-checking.md, grpc/doc/PROTOCOL-HTTP2.md, RFC 9113. The two messages have
one field each, so they are read and written here without a library.
"""

from __future__ import annotations

from typing import Final

from edgemesh.model.flows import AT_ITS_LIMIT, REASON_HEADER
from edgemesh.model.settings import Http2Settings, HttpSettings
from edgemesh.wire.http2.client_connection import parse_response
from edgemesh.wire.http2.codes import (
    DATA,
    END_STREAM,
    PADDED,
    ConnectionFault,
    Setting,
    StreamFault,
)
from edgemesh.wire.http2.control_frames import ControlFrameReader
from edgemesh.wire.http2.frames import SETTINGS_ACK, frame, header_frames, ping, settings
from edgemesh.wire.http2.glitches import GlitchBudget
from edgemesh.wire.http2.header_reader import CacheBudget, HeaderReader
from edgemesh.wire.http2.heads import ResponseHead, Trailers
from edgemesh.wire.http2.hpack_encoder import encode_block
from edgemesh.wire.http2.peer_settings import PeerSettings
from edgemesh.wire.http2_preface import PREFACE

_STREAM: Final = 1
# HealthCheckResponse.ServingStatus.
_SERVING: Final = 1
_STATUSES: Final = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
_MESSAGE_HEADER_BYTES: Final = 5
# An answer takes seven bytes; more than this is none.
_LARGEST_ANSWER: Final = 1024
_BLOCK_FACTOR: Final = 4
# Protocol Buffers, "Encoding": wire types and how many bytes those of a fixed size take.
_VARINT: Final = 0
_BYTES: Final = 2
_FIXED: Final = {1: 8, 5: 4}
_FIELD_1_VARINT: Final = 0x08
_FIELD_1_BYTES: Final = b"\x0a"


class HealthCall(ControlFrameReader):
    """The client's side of one call.

    Attributes:
        output: what is to be sent; whoever sends it takes it away.
        problem: None until the call is over, "" when the service serves, else why it does not.
    """

    __slots__ = ("_answer", "_head_came", "_headers", "_peer", "output", "problem")

    def __init__(
        self, service: str, authority: str, http: HttpSettings, http2: Http2Settings
    ) -> None:
        """Begin the call; `output` holds all of it.

        Args:
            service: whose health is asked for, "" for the server's.
            authority: ``host:port`` that the server is called by.
            http: limits of the answer's heads.
            http2: limits of useless frames.
        """
        glitches = GlitchBudget(http2.glitch_burst, http2.glitch_rate)
        super().__init__(b"", _BLOCK_FACTOR * http.max_head_bytes, glitches)
        self._headers = HeaderReader(
            parse_response,
            CacheBudget(0),
            list_bytes=http.max_head_bytes,
            list_fields=http.max_fields,
            kept_bytes=0,
        )
        self._peer = PeerSettings(push_allowed=False)
        self._answer = bytearray()
        self._head_came = False
        self.problem: str | None = None
        self.output = _request(service, authority)

    def receive(self, data: bytes, now: float) -> None:
        """Take what was read.

        Args:
            data: one or more bytes.
            now: monotonic, in seconds.
        """
        try:
            self._read(data, now)
        except ConnectionFault as fault:
            self._end(f"broken HTTP/2: {fault.reason}")

    def take_output(self) -> bytes:
        """What is to be sent now."""
        output, self.output = self.output, b""
        return output

    def on_data(self, data: bytes, begin: int, end: int, flags: int, stream_id: int) -> None:
        """A part of the answer."""
        if flags & PADDED:
            begin, end = self.unpad(data, begin, end)
        self._answer += data[begin:end]
        if stream_id != _STREAM or not self._head_came:
            self._end("broken HTTP/2: DATA where there is no answer")
        elif len(self._answer) > _LARGEST_ANSWER:
            self._end("an answer that is too long")
        elif flags & END_STREAM:
            self._end("an answer without grpc-status")

    def on_headers(self, stream_id: int, block: bytes, ended: bool) -> None:
        """The head of the answer, or its trailers."""
        head = self._headers.read(block)
        if stream_id != _STREAM:
            self._end("broken HTTP/2: HEADERS on another stream")
        elif isinstance(head, ResponseHead):
            self._on_head(head, ended=ended)
        else:
            self._on_status(head)

    def on_stream_fault(self, stream_id: int, fault: StreamFault) -> None:  # noqa: ARG002
        """There is one stream only."""
        self._end(f"broken HTTP/2: {fault.reason}")

    def on_rst_stream(self, stream_id: int, code: int) -> None:  # noqa: ARG002
        """The server will not answer."""
        self._end(f"the call was reset with code {code}")

    def on_goaway(self, last_stream_id: int, code: int) -> None:
        """The server leaves; it may answer first."""
        if last_stream_id < _STREAM:
            self._end(f"the server turned the call away with code {code}")

    def on_settings(self, payload: bytes) -> None:
        """Nothing of it concerns a call of so few bytes."""
        self._peer.update(payload)
        self.output += SETTINGS_ACK

    def on_settings_ack(self) -> None:
        """We had nothing to say that it matters for."""

    def on_ping(self, payload: bytes) -> None:
        """Some servers ask before they answer."""
        self.output += ping(payload, ack=True)

    def on_pong(self, payload: bytes) -> None:
        """We never asked."""

    def on_window_update(self, stream_id: int, increment: int) -> None:
        """The default window has room for the call."""

    def _on_head(self, head: ResponseHead, *, ended: bool) -> None:
        if head.is_interim:
            return
        self._head_came = True
        if head.status != 200:
            self._end(f"HTTP status {head.status}")
        elif ended:
            self._on_status(head)

    def _on_status(self, head: ResponseHead | Trailers) -> None:
        status = head.grpc_status
        if head.value(REASON_HEADER) in AT_ITS_LIMIT:
            self._end("")
        elif status is None:
            self._end("an answer without grpc-status")
        elif status:
            self._end(f"grpc-status {status}")
        else:
            self._end(_meaning(bytes(self._answer)))

    def _end(self, problem: str) -> None:
        if self.problem is None:
            self.problem = problem


def _request(service: str, authority: str) -> bytes:
    block = encode_block(
        (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", b"/grpc.health.v1.Health/Check"),
            (b":authority", authority.encode("latin-1")),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            (b"user-agent", b"edgemesh-health"),
        )
    )
    name = service.encode()
    message = _FIELD_1_BYTES + _varint(len(name)) + name if name else b""
    return b"".join(
        (
            PREFACE,
            settings(((Setting.ENABLE_PUSH, 0),)),
            header_frames(_STREAM, block, end_stream=False),
            frame(DATA, END_STREAM, _STREAM, b"\0" + len(message).to_bytes(4, "big") + message),
        )
    )


def _meaning(answer: bytes) -> str:
    """What is wrong with a service that gives this answer, "" for nothing."""
    message = answer[_MESSAGE_HEADER_BYTES:]
    if answer[:_MESSAGE_HEADER_BYTES] != b"\0" + len(message).to_bytes(4, "big"):
        return "an answer that is no message"
    status = _serving_status(message)
    if status is None:
        return "an answer that is no HealthCheckResponse"
    if status == _SERVING:
        return ""
    return _STATUSES[status] if status < len(_STATUSES) else f"status {status}"


def _serving_status(message: bytes) -> int | None:
    """Field 1 of a HealthCheckResponse, 0 without one; None when it cannot be read."""
    status, position = 0, 0
    while position < len(message):
        key, position = _read_varint(message, position)
        kind = key & 7
        if kind == _VARINT:
            value, position = _read_varint(message, position)
            status = value if key == _FIELD_1_VARINT else status
        elif kind == _BYTES:
            size, position = _read_varint(message, position)
            position += size
        elif kind in _FIXED:
            position += _FIXED[kind]
        else:
            return None
    return status if position == len(message) else None


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    octets = bytearray()
    while value > 0x7F:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    """A number and where it ends; beyond the message when that is cut off."""
    value = shift = 0
    while position < len(message):
        octet = message[position]
        position += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return value, position
        shift += 7
    return 0, len(message) + 1
