"""One end of a WebSocket: ``python websocket_peers.py serve|call ADDRESS PORT NUMBER SEED``.

Either end sends so many messages while it receives the other's, and pings now and then. The
server says ``listening``; both say at the end, as JSON, what they have seen.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import trio
from websockets.trio.client import connect
from websockets.trio.connection import Connection
from websockets.trio.server import ServerConnection, serve

# Where the length of a frame gets another form (RFC 6455 section 5.2), and both ends.
SIZES = (0, 125, 126, 65535, 65536, 1 << 20)
SIZES_EVERY = 1000
LONG_EVERY = 100
PING_EVERY = 500
PATH = "/chat?room=1"
# For the begin and the end of a connection, which on a busy machine take longer than usual.
PATIENCE_SECONDS = 60.0

CONNECTION: dict[str, Any] = {
    "compression": None,
    "ping_interval": None,
    "open_timeout": PATIENCE_SECONDS,
    "close_timeout": PATIENCE_SECONDS,
}

# What either end sends is made of the seed of both, and of this.
FROM = {"serve": "server", "call": "client"}


def messages(seed: str, number: int) -> Iterator[str | bytes]:
    """The same for the same seed: bytes and text by turns, mostly short."""
    source = random.Random(seed)
    noise = source.randbytes(2 << 20)
    for index in range(number):
        turn = index % SIZES_EVERY
        if turn < len(SIZES):
            size = SIZES[turn]
        else:
            size = int(2 ** source.uniform(0, 20 if index % LONG_EVERY == 0 else 12))
        start = source.randrange(1 << 20)
        data = noise[start : start + size]
        yield data if index % 2 else data.hex()[:size]


class Digest:
    """Of messages in their order: of what kind, how long, and what is in them."""

    def __init__(self) -> None:
        self.count = 0
        self._hash = hashlib.sha256()

    def add(self, message: str | bytes) -> None:
        data = message.encode() if isinstance(message, str) else message
        self._hash.update(f"{type(message).__name__} {len(data)} ".encode())
        self._hash.update(data)
        self.count += 1

    def value(self) -> str:
        return self._hash.hexdigest()


def digest(seed: str, number: int) -> str:
    """Of all messages of a seed."""
    made = Digest()
    for message in messages(seed, number):
        made.add(message)
    return made.value()


class End:
    """What one end does, and what it has seen."""

    def __init__(self, seed: str, number: int) -> None:
        self._seed = seed
        self._number = number
        self._received = Digest()
        self._pongs = 0

    async def send(self, connection: Connection) -> None:
        for index, message in enumerate(messages(self._seed, self._number)):
            await connection.send(message)
            if index % PING_EVERY == 0:
                await (await connection.ping()).wait()
                self._pongs += 1

    async def receive(self, connection: Connection) -> None:
        for _ in range(self._number):
            self._received.add(await connection.recv())

    async def talk(self, connection: Connection) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.send, connection)
            nursery.start_soon(self.receive, connection)

    def tell(self, connection: Connection) -> None:
        seen = {
            "received": self._received.value(),
            "pongs": self._pongs,
            "close_code": connection.close_code,
        }
        print(json.dumps(seen), flush=True)


async def serve_once(end: End, address: str, port: int) -> None:
    over = trio.Event()

    async def handle(connection: ServerConnection) -> None:
        assert connection.request is not None
        assert connection.request.path == PATH
        await end.talk(connection)
        # The client closes, so nothing but that is left.
        async for message in connection:
            raise AssertionError(message)
        end.tell(connection)
        over.set()

    listen = partial(serve, handle, port, host=address, **CONNECTION)
    async with trio.open_nursery() as nursery:
        await nursery.start(listen)
        print("listening", flush=True)
        await over.wait()
        nursery.cancel_scope.cancel()


async def call(end: End, address: str, port: int) -> None:
    uri = f"ws://{address}:{port}{PATH}"
    async with connect(uri, proxy=None, **CONNECTION) as connection:
        await end.talk(connection)
        await connection.aclose(1000)
    end.tell(connection)


def main(role: str, address: str, port: int, number: int, seed: str) -> None:
    end = End(f"{seed} {FROM[role]}", number)
    trio.run(serve_once if role == "serve" else call, end, address, port)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
