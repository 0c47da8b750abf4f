"""Whatever comes from a node that has a certificate, the hub serves the others."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from cloud_fixtures import Cloud, serving
from test_cloud_refusals import still_serves

MASK = b"mask"


def frame(opcode: int, payload: bytes, *, first: int = 0x80, masked: bool = True) -> bytes:
    """RFC 6455 section 5.2, with any bits in its first byte."""
    length = len(payload)
    small = min(126, length)
    header = bytes([first | opcode, (0x80 if masked else 0) | small])
    header += length.to_bytes(2) if small == 126 else b""
    body = bytes(byte ^ MASK[i % 4] for i, byte in enumerate(payload)) if masked else payload
    return header + (MASK if masked else b"") + body


FRAMES = {
    "a close without a code": frame(8, b""),
    "a close with half a code": frame(8, b"\x03"),
    "a close with a code that nobody may send": frame(8, (1005).to_bytes(2)),
    "a close whose reason is not UTF-8": frame(8, (1000).to_bytes(2) + b"\xff\xfe"),
    "two closes": frame(8, b"") * 2,
    "a close and a ping": frame(8, b"") + frame(9, b"x"),
    "a ping that is too long": frame(9, b"x" * 126),
    "a ping in fragments": frame(9, b"x", first=0),
    "pings without end": frame(9, b"x") * 200,
    "a pong for nothing": frame(10, b"x"),
    "a continuation of nothing": frame(0, b"x"),
    "a beginning within a message": frame(1, b"{", first=0) + frame(1, b"}", first=0),
    "an opcode that does not exist": frame(3, b"x"),
    "a control opcode that does not exist": frame(11, b"x"),
    "reserved bits": frame(1, b"{}", first=0xF0),
    "no mask": frame(1, b"{}", masked=False),
    "text that is not UTF-8": frame(1, b"\xff\xfe"),
    "half a character": frame(1, b"\xc3", first=0) + frame(0, b"x"),
    "binary JSON": frame(2, b"{}"),
    "JSON within JSON": frame(1, b'{"a":' * 10000),
    "an empty text": frame(1, b""),
    "a beginning without an end": frame(1, b"{", first=0),
}


async def sent(cloud: Cloud, name: str, data: bytes) -> None:
    """Send bytes in the place of frames, read what comes, and go without a word."""
    async with cloud.node(name) as node:
        try:
            await node.raw(data)
            with trio.move_on_after(0.05):
                while True:
                    await node.connection.get_message()
        except Exception:  # noqa: BLE001 - however it ends, the hub is what counts
            pass


@pytest.mark.parametrize("data", FRAMES.values(), ids=FRAMES.keys())
async def test_frames_that_break_rules_harm_nobody_else(tmp_path: Path, data: bytes) -> None:
    async with serving(tmp_path) as cloud:
        await sent(cloud, "n1", data)
        await still_serves(cloud)


def flipped(data: bytes, lot: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(lot.randrange(1, 4)):
        changed[lot.randrange(len(changed))] ^= 1 << lot.randrange(8)
    return bytes(changed)


def cut(data: bytes, lot: random.Random) -> bytes:
    return data[: lot.randrange(len(data))]


@pytest.mark.parametrize("spoil", [flipped, cut])
async def test_frames_that_are_spoiled_by_lot_harm_nobody_else(
    tmp_path: Path, spoil: Callable[[bytes, random.Random], bytes]
) -> None:
    lot = random.Random(5)
    async with serving(tmp_path) as cloud:
        for number in range(40):
            data = b"".join(lot.choices(list(FRAMES.values()), k=3))[:4096]
            await sent(cloud, f"n{number}", spoil(data, lot))
        await still_serves(cloud)
