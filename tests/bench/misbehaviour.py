"""Clients that behave badly: ``python misbehaviour.py KIND ADDRESS PORT``, in a namespace.

Says ``at work`` once it is, and goes on until a signal ends it; whoever is cut off calls again.
For ``dead`` the address is that of a Service whose endpoint refuses or never answers, for all
others that of one that lives.
"""

from __future__ import annotations

import resource
import select
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle
from typing import NoReturn

SLOW_CLIENTS = 500
PUSHERS = 100
CALLS_OF_THE_DEAD = 1000
_FIRST_LINE = b"GET /" + b"x" * 1_000_000
_REQUEST_LINE = b"GET / HTTP/1.1\r\n"
_HEADER_LINE = b"X-More: later\r\n"
_PUSHED = b"x" * 65536
# Slow clients do not move in step: in each of so many parts of a second some of them do.
_PARTS = 100
_Address = tuple[str, int]
_Act = Callable[[], None]


class Client:
    """One that calls again when its connection is broken."""

    def __init__(self, address: _Address) -> None:
        self._address = address
        self._call()

    def send(self, data: bytes | memoryview) -> int:
        """Send what is taken at once, and throw away what has come; how much was sent."""
        try:
            with suppress(BlockingIOError):
                while self._connection.recv(1 << 20):
                    pass
            return self._connection.send(data) if data else 0
        except BlockingIOError:
            return 0
        except OSError:
            self.call_again()
            return 0

    def push(self) -> None:
        """Send all that is taken, and read nothing."""
        try:
            while True:
                self._connection.send(_PUSHED)
        except BlockingIOError:
            return
        except OSError:
            self.call_again()

    def call_again(self) -> None:
        """Give up what there is and connect anew, without waiting for it."""
        self._connection.close()
        self._call()

    def _call(self) -> None:
        self._connection = socket.socket()
        self._connection.setblocking(False)
        self._connection.connect_ex(self._address)


def first_line(address: _Address) -> _Act:
    """A million bytes that never come to an end of line, again and again."""
    client = Client(address)
    rest = memoryview(_FIRST_LINE)

    def act() -> None:
        nonlocal rest
        rest = rest[client.send(rest) :]
        if not rest:
            client.call_again()
            rest = memoryview(_FIRST_LINE)

    return act


def loris(address: _Address) -> _Act:
    """Many connections that send a header line every second, and never the last."""
    return _each_second(address, _REQUEST_LINE, _HEADER_LINE)


def byte_a_second(address: _Address) -> _Act:
    """Many connections, each with one byte a second."""
    return _each_second(address, b"G", b"G")


def never_reads(address: _Address) -> _Act:
    """Many connections that push until nothing is taken, and read none of what comes."""
    clients = [Client(address) for _ in range(PUSHERS)]

    def act() -> None:
        for client in clients:
            client.push()

    return act


def dead(address: _Address) -> _Act:
    """A thousand calls of nobody, all at once; a second later they are given up for others."""
    clients = [Client(address) for _ in range(CALLS_OF_THE_DEAD)]

    def act() -> None:
        for client in clients:
            client.call_again()

    return act


def _each_second(address: _Address, first: bytes, more: bytes) -> _Act:
    clients = [Client(address) for _ in range(SLOW_CLIENTS)]
    begun: set[Client] = set()
    turns = cycle(clients)

    def act() -> None:
        for _ in range(SLOW_CLIENTS // _PARTS):
            client = next(turns)
            if client.send(more if client in begun else first):
                begun.add(client)

    return act


# What is done, and each how many seconds.
KINDS: dict[str, tuple[Callable[[_Address], _Act], float]] = {
    "first-line": (first_line, 0.02),
    "loris": (loris, 1 / _PARTS),
    "byte-a-second": (byte_a_second, 1 / _PARTS),
    "never-reads": (never_reads, 0.1),
    "dead": (dead, 1),
}


def main(kind: str, address: str, port: int) -> NoReturn:
    """Misbehave until a signal ends the process."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    begin, seconds = KINDS[kind]
    act = begin((address, port))
    act()
    print("at work", flush=True)
    while True:
        select.select([], [], [], seconds)
        act()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
