"""Callers that never stop: run as ``python faulted_callers.py ADDRESS RECORDS SEED``.

Each call has an id of its own and ends with one line in RECORDS: answered as it should be, an
error that the caller is told of, or neither by its deadline. A datagram that gets no answer is
lost, as datagrams may be.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import h11
import trio
from faulted_application import next_event, read_body

DEADLINE_SECONDS = 10.0
# Beyond it, for this process to be given its turn.
_GRACE_SECONDS = 1.0
_DATAGRAM_SECONDS = 1.0
_PAUSE_SECONDS = 0.03
_HTTP_PORT, _TCP_PORT, _UDP_PORT = 80, 7000, 5300
_CHUNK_BYTES = 65536


class CallFailed(Exception):  # noqa: N818 - a fact about the mesh
    """The caller is told that there will be no answer."""


class WrongAnswer(Exception):  # noqa: N818 - a fact about the mesh
    """What came back ended well and is not what had to come."""


class Callers:
    """All of them.

    Args:
        address: of the Service.
        records: a descriptor for what became of the calls.
        seed: decides what they send, and is part of their ids.
    """

    def __init__(self, address: str, records: int, seed: int) -> None:
        self._address = address
        self._records = records
        self._seed = seed
        self._chance = random.Random(seed)
        self._made = 0

    async def run(self) -> None:
        """Call until the process is ended."""
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(self._call_http)
            for _ in range(2):
                nursery.start_soon(self._repeat, "TCP", self._call_echo)
            nursery.start_soon(self._repeat, "UDP", self._call_datagram)

    async def _repeat(self, kind: str, call: Callable[[str], Awaitable[None]]) -> None:
        while True:
            await self._judge(kind, call)

    async def _call_http(self) -> None:
        """Call on one connection for as long as it lasts, then on another."""
        while True:
            opened: list[_HttpConnection] = []
            try:
                while await self._http_request(opened):
                    pass
            finally:
                for connection in opened:
                    await trio.aclose_forcefully(connection.stream)

    async def _http_request(self, opened: list[_HttpConnection]) -> bool:
        """Make one request; whether the connection is good for another."""
        method = self._chance.choice(("GET", "POST"))

        async def call(name: str) -> None:
            if not opened:
                stream = await _connected(self._address, _HTTP_PORT)
                opened.append(_HttpConnection(stream))
            body = self._bytes(65536) if method == "POST" else b""
            milliseconds = self._chance.choice((0, 0, 0, 200))
            await opened[0].request(method, f"/{name}/{milliseconds}", body, name)

        good = await self._judge(method, call)
        return good and opened[0].reusable

    async def _judge(self, kind: str, call: Callable[[str], Awaitable[None]]) -> bool:
        self._made += 1
        name = f"{kind}-{self._seed}-{self._made}"
        began = time.monotonic()
        outcome, detail = "answer", ""
        with trio.move_on_after(DEADLINE_SECONDS + _GRACE_SECONDS) as patience:
            try:
                await call(name)
            except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError) as error:
                outcome, detail = "error", _words(error)
            except CallFailed as error:
                outcome, detail = "error", str(error)
            except WrongAnswer as error:
                outcome, detail = "wrong", str(error)
        if patience.cancelled_caught:
            outcome = "silence"
        if kind == "UDP" and outcome == "silence":
            outcome = "lost"
        record = [kind, name, round(began, 3), round(time.monotonic(), 3), outcome, detail]
        os.write(self._records, json.dumps(record).encode() + b"\n")
        await trio.sleep(_PAUSE_SECONDS * (1 if outcome == "answer" else 3))
        return outcome == "answer"

    async def _call_echo(self, name: str) -> None:
        """Send some bytes, end, and hear all of them."""
        sent = name.encode() + b"\n" + self._bytes(524288)
        stream = await _connected(self._address, _TCP_PORT)
        received = bytearray()
        told: list[Exception] = []
        try:
            async with trio.open_nursery(strict_exception_groups=False) as nursery:
                nursery.start_soon(_send_and_end, stream, sent, told)
                async for data in stream:
                    received += data
        finally:
            await trio.aclose_forcefully(stream)
        if told:
            raise told[0]
        if received != sent:
            raise WrongAnswer(f"{len(received)} bytes of {len(sent)} came back")

    async def _call_datagram(self, name: str) -> None:
        sent = name.encode() + b"\n" + self._bytes(1200)
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
            await sock.connect((self._address, _UDP_PORT))
            await sock.send(sent)
            with trio.move_on_after(_DATAGRAM_SECONDS):
                received = await sock.recv(_CHUNK_BYTES)
                if received != sent:
                    raise WrongAnswer(f"{received[:40]!r} came back")
                return
        raise CallFailed("lost")

    def _bytes(self, most: int) -> bytes:
        return self._chance.randbytes(self._chance.randrange(most))


class _HttpConnection:
    """A connection that requests are sent on, one after the other."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._connection = h11.Connection(h11.CLIENT)

    @property
    def reusable(self) -> bool:
        states = (self._connection.our_state, self._connection.their_state)
        if states != (h11.DONE, h11.DONE):
            return False
        self._connection.start_next_cycle()
        return True

    async def request(self, method: str, path: str, body: bytes, name: str) -> None:
        headers = [("Host", "app"), ("Content-Length", str(len(body)))]
        events: list[h11.Event] = [h11.Request(method=method, target=path, headers=headers)]
        events += [h11.Data(data=body), h11.EndOfMessage()]
        connection, stream = self._connection, self.stream
        data = b"".join(connection.send(event) or b"" for event in events)
        async with trio.open_nursery(strict_exception_groups=False) as nursery:
            nursery.start_soon(_send, stream, data)
            head = await next_event(connection, stream)
            if not isinstance(head, h11.Response):
                raise CallFailed("the connection ended before an answer")
            answer = await read_body(connection, stream)
            if head.status_code != 200:
                raise CallFailed(f"{head.status_code} {answer[:120].decode().strip()}")
        if answer != name.encode() + b"\n" + body:
            raise WrongAnswer(f"{answer[:40]!r} came back")


async def _connected(address: str, port: int) -> trio.SocketStream:
    """Without what `trio.open_tcp_stream` adds: names, and addresses tried side by side."""
    sock = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_STREAM)
    try:
        await sock.connect((address, port))
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)


async def _send(stream: trio.SocketStream, data: bytes) -> None:
    try:
        await stream.send_all(data)
    except trio.BrokenResourceError:
        # An answer may have come before, or what is read says why.
        return


async def _send_and_end(stream: trio.SocketStream, data: bytes, told: list[Exception]) -> None:
    """Send all, and the end.

    Of a reset the kernel tells once: who sends, or who receives. The other sees an end.

    Args:
        stream: of a caller who receives meanwhile.
        data: all of it.
        told: what the sender was told of.
    """
    try:
        await stream.send_all(data)
        await stream.send_eof()
    except (trio.BrokenResourceError, OSError) as error:
        told.append(error)


def _words(error: BaseException) -> str:
    cause = error.__cause__ or error
    return os.strerror(cause.errno) if isinstance(cause, OSError) and cause.errno else str(error)


def main() -> None:
    """Call until the process is ended."""
    address, records, seed = sys.argv[1:]
    descriptor = os.open(Path(records), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    trio.run(Callers(address, descriptor, int(seed)).run)


if __name__ == "__main__":
    main()
