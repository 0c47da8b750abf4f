"""Frames written by hand, and what comes back told in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from http2_pair import Pair

from edgemesh.wire.http2 import codes
from edgemesh.wire.http2.codes import ErrorCode
from edgemesh.wire.http2.frames import FRAME_HEADER, frame, settings
from edgemesh.wire.http2.hpack_encoder import encode_block
from edgemesh.wire.http2_preface import PREFACE

END = codes.END_STREAM
WHOLE = codes.END_HEADERS

GET = {":method": "GET", ":scheme": "http", ":path": "/", ":authority": "web"}
POST = {**GET, ":method": "POST"}
OK = {":status": "200"}


class Frame(NamedTuple):
    kind: int
    flags: int
    stream_id: int
    payload: bytes


def split(raw: bytes) -> Iterator[Frame]:
    """The frames of what was written."""
    position = raw.startswith(PREFACE) * len(PREFACE)
    while position < len(raw):
        length_and_type, flags, stream_id = FRAME_HEADER.unpack_from(raw, position)
        begin = position + FRAME_HEADER.size
        position = begin + (length_and_type >> 8)
        assert position <= len(raw)
        yield Frame(length_and_type & 0xFF, flags, stream_id, raw[begin:position])


def words(raw: bytes) -> list[str]:
    """Resets and goodbyes, which is what rules are about."""
    told = []
    for one in split(raw):
        if one.kind == codes.GOAWAY:
            told.append(f"GOAWAY {ErrorCode(int.from_bytes(one.payload[4:8], 'big')).name}")
        elif one.kind == codes.RST_STREAM:
            code = ErrorCode(int.from_bytes(one.payload, "big"))
            told.append(f"RST_STREAM {one.stream_id} {code.name}")
    return told


def block(fields: dict[str, str] | list[tuple[str, str]]) -> bytes:
    items = fields.items() if isinstance(fields, dict) else fields
    return encode_block((name.encode("latin-1"), value.encode("latin-1")) for name, value in items)


def headers(
    stream_id: int,
    fields: dict[str, str] | list[tuple[str, str]] = GET,
    flags: int = END | WHOLE,
) -> bytes:
    return frame(codes.HEADERS, flags, stream_id, block(fields))


def data(stream_id: int, payload: bytes = b"", flags: int = 0) -> bytes:
    return frame(codes.DATA, flags, stream_id, payload)


def number(value: int, size: int = 4) -> bytes:
    return value.to_bytes(size, "big")


def greeted(**limits: object) -> Pair:
    """A pair of which both peers have said hello, with nothing left to be read."""
    pair = Pair(**limits)  # type: ignore[arg-type]
    pair.client.receive(PREFACE + settings([]) + frame(codes.SETTINGS, codes.ACK, 0), 0.0)
    pair.upstream.receive(settings([]) + frame(codes.SETTINGS, codes.ACK, 0), 0.0)
    pair.to_client()
    pair.to_endpoint()
    return pair


def from_client(raw: bytes, pair: Pair | None = None) -> list[str]:
    """What a client is told that sends this after its greeting."""
    pair = pair or greeted()
    pair.client.receive(raw, 0.0)
    told = words(pair.to_client())
    # Whatever a client does, what an endpoint is sent must be in order.
    list(split(pair.to_endpoint()))
    return told


def from_endpoint(raw: bytes, *, request: bytes = b"") -> list[str]:
    """What an endpoint is told that sends this while it has the request on stream 1."""
    pair = greeted()
    pair.client.receive(request or headers(1), 0.0)
    pair.to_endpoint()
    pair.upstream.receive(raw, 0.0)
    return words(pair.to_endpoint())
