"""Clients that behave badly: ``python misbehaviour.py KIND ADDRESS PORT``, in a namespace.

Says ``at work`` once it is, and goes on until a signal ends it; whoever is cut off calls again.
For ``dead`` the address is that of a Service whose only endpoint never answers, for all others
that of one that lives.
"""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

LORISES = 200
CALLS_OF_THE_DEAD = 1000
_FIRST_LINE = b"GET /" + b"x" * 1_000_000
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

    def call_again(self) -> None:
        self._connection.close()
        self._call()

    def _call(self) -> None:
        self._connection = socket.create_connection(self._address, 10)
        self._connection.setblocking(False)


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
    """Many connections that take their time with every byte of a request."""
    clients = [Client(address) for _ in range(LORISES)]

    def act() -> None:
        for client in clients:
            client.send(b"G")

    return act


def byte_a_second(address: _Address) -> _Act:
    """One connection, one byte at a time."""
    client = Client(address)

    def act() -> None:
        client.send(b"G")

    return act


def dead(address: _Address) -> _Act:
    """A thousand connections to nobody."""
    clients = [Client(address) for _ in range(CALLS_OF_THE_DEAD)]

    def act() -> None:
        for client in clients:
            client.send(b"")

    return act


# What is done, and each how many seconds.
KINDS: dict[str, tuple[Callable[[_Address], _Act], float]] = {
    "first-line": (first_line, 0.02),
    "loris": (loris, 0.1),
    "byte-a-second": (byte_a_second, 1),
    "dead": (dead, 0.5),
}


def main(kind: str, address: str, port: int) -> NoReturn:
    """Misbehave until a signal ends the process."""
    begin, seconds = KINDS[kind]
    act = begin((address, port))
    act()
    print("at work", flush=True)
    while True:
        select.select([], [], [], seconds)
        act()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
