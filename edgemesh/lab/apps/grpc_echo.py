"""Answers any unary gRPC call with the message that it carries, and the pod's name in a trailer.

As much of HTTP/2 as one call after the other needs; what comes is not judged (RFC 9113, and
grpc/doc/PROTOCOL-HTTP2.md).
"""

from __future__ import annotations

import os

import hpack
import trio

from edgemesh.lab.apps.reading import Reader
from edgemesh.wire.http2.codes import ACK, DATA, END_HEADERS, END_STREAM, HEADERS, PING, SETTINGS
from edgemesh.wire.http2.frames import (
    FRAME_HEADER,
    SETTINGS_ACK,
    frame,
    header_frames,
    ping,
    settings,
    window_update,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

_MAX_FRAME_BYTES = 16384
_MAX_MESSAGE_BYTES = 16 * 1024 * 1024


async def echo_calls(stream: trio.SocketStream) -> None:
    """Answer the calls of one connection until it ends."""
    reader = Reader(stream)
    try:
        if await reader.take(len(PREFACE)) == PREFACE:
            await stream.send_all(settings(()))
            await _answer(stream, reader)
    except EOFError:
        return


async def read_frame(reader: Reader) -> tuple[int, int, int, bytes]:
    """Kind, flags, stream and payload of the next frame.

    Raises:
        EOFError: there is none, or it is too long.
    """
    length_and_kind, flags, stream_id = FRAME_HEADER.unpack(await reader.take(9))
    length = length_and_kind >> 8
    if length > _MAX_FRAME_BYTES:
        raise EOFError
    return length_and_kind & 0xFF, flags, stream_id & 0x7FFFFFFF, await reader.take(length)


async def _answer(stream: trio.SocketStream, reader: Reader) -> None:
    encoder = hpack.Encoder()
    messages: dict[int, bytes] = {}
    while True:
        kind, flags, stream_id, payload = await read_frame(reader)
        if kind == SETTINGS and not flags & ACK:
            await stream.send_all(SETTINGS_ACK)
        elif kind == PING and not flags & ACK:
            await stream.send_all(ping(payload, ack=True))
        elif kind == HEADERS:
            messages[stream_id] = b""
        elif kind == DATA and payload:
            messages[stream_id] = messages.get(stream_id, b"") + payload
            if len(messages[stream_id]) > _MAX_MESSAGE_BYTES:
                raise EOFError
            credit = window_update(0, len(payload)) + window_update(stream_id, len(payload))
            await stream.send_all(credit)
        if kind in {HEADERS, DATA} and flags & END_STREAM:
            await stream.send_all(_response(encoder, stream_id, messages.pop(stream_id, b"")))


def _response(encoder: hpack.Encoder, stream_id: int, message: bytes) -> bytes:
    head = encoder.encode([(":status", "200"), ("content-type", "application/grpc")])
    trailers = encoder.encode([("grpc-status", "0"), ("pod", os.environ.get("HOSTNAME", ""))])
    pieces = [
        frame(DATA, 0, stream_id, message[begin : begin + _MAX_FRAME_BYTES])
        for begin in range(0, len(message), _MAX_FRAME_BYTES)
    ]
    return b"".join(
        (
            header_frames(stream_id, head, end_stream=False),
            *pieces,
            header_frames(stream_id, trailers, end_stream=True),
        )
    )


def request(path: str, host: str, message: bytes) -> bytes:
    """One call as a client sends it: preface, head and message on stream 1."""
    fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", host),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    block = hpack.Encoder().encode(fields)
    framed = b"\x00" + len(message).to_bytes(4, "big") + message
    head = frame(HEADERS, END_HEADERS, 1, block)
    return PREFACE + settings(()) + head + frame(DATA, END_STREAM, 1, framed)
