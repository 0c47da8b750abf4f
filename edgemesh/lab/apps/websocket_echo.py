"""Echoes WebSocket messages (RFC 6455), frame by frame, so fragments come back as fragments."""

from __future__ import annotations

import argparse
import base64
import hashlib
import struct
from typing import NamedTuple

import trio

from edgemesh.lab.apps.reading import Reader
from edgemesh.lab.apps.serving import serve_tcp, tell_ready

_MAX_PAYLOAD_BYTES = 16 * 1024 * 1024
_ACCEPT_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_CLOSE, _PING, _PONG = 0x8, 0x9, 0xA  # RFC 6455 section 5.2


class Frame(NamedTuple):
    """One frame: its first byte (FIN, reserved bits, opcode) and its payload, unmasked."""

    first: int
    payload: bytes

    @property
    def opcode(self) -> int:
        """What kind of frame it is."""
        return self.first & 0x0F


def main() -> None:
    """Serve on one port, any path."""
    parser = argparse.ArgumentParser(prog="websocket_echo")
    parser.add_argument("--port", type=int, default=8080)
    trio.run(_serve, parser.parse_args().port)


async def _serve(port: int) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_tcp, echo_messages, port)
        tell_ready()


async def echo_messages(stream: trio.SocketStream) -> None:
    """Echo the messages of one connection until it ends."""
    reader = Reader(stream)
    try:
        if await _shake_hands(stream, await reader.take_head()):
            await _echo(stream, reader)
    except EOFError:
        return


async def _shake_hands(stream: trio.SocketStream, head: bytes) -> bool:
    """Answer the opening request (RFC 6455 section 4.2); whether frames follow."""
    _, *lines = head.decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    key = fields.get("sec-websocket-key", "")
    if not key or fields.get("upgrade", "").lower() != "websocket":
        await stream.send_all(
            b"HTTP/1.1 426 Upgrade Required\r\nupgrade: websocket\r\n"
            b"connection: upgrade, close\r\ncontent-length: 0\r\n\r\n"
        )
        return False
    # RFC 6455 prescribes SHA-1 here; it proves understanding, not identity.
    digest = hashlib.sha1(key.encode() + _ACCEPT_SUFFIX, usedforsecurity=False).digest()
    await stream.send_all(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        b"sec-websocket-accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )
    return True


async def _echo(stream: trio.SocketStream, reader: Reader) -> None:
    while True:
        frame = await _read_frame(reader)
        if frame.opcode == _PONG:
            continue
        if frame.opcode == _PING:
            frame = frame._replace(first=0x80 | _PONG)
        await stream.send_all(_encode(frame))
        if frame.opcode == _CLOSE:
            return


async def _read_frame(reader: Reader) -> Frame:
    first, second = await reader.take(2)
    length = second & 0x7F
    if length == 126:
        (length,) = struct.unpack("!H", await reader.take(2))
    elif length == 127:
        (length,) = struct.unpack("!Q", await reader.take(8))
    if length > _MAX_PAYLOAD_BYTES or not second & 0x80:
        # Too long, or not masked as a client's frame must be (RFC 6455 section 5.1).
        raise EOFError
    mask = await reader.take(4)
    payload = await reader.take(length)
    repeated = (mask * (length // 4 + 1))[:length]
    unmasked = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
    return Frame(first, unmasked.to_bytes(length, "big"))


def _encode(frame: Frame) -> bytes:
    """A server's frame: never masked."""
    length = len(frame.payload)
    if length < 126:
        head = struct.pack("!BB", frame.first, length)
    elif length < 65536:
        head = struct.pack("!BBH", frame.first, 126, length)
    else:
        head = struct.pack("!BBQ", frame.first, 127, length)
    return head + frame.payload


if __name__ == "__main__":
    main()
