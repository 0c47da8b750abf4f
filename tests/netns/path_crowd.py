"""Many connections of one side, as a process of its own: some say, others do not listen.

    path_crowd.py client ADDRESS PORT COUNT
    path_crowd.py endpoint ADDRESS PORT COUNT

It does what lines on standard input name, and answers each with a line of JSON:

    open     connect, or accept, all connections
    greet    say the first word on each; bytes said on each
    greeted  wait for the first word on each; bytes of it that have come
    fill     say on each until nothing more is taken; bytes said on each
    finish   say a little more on each, and the end; bytes said on each
    hear     read everything to the end; bytes heard on each, "wrong" for what was not said

Who says something begins with the number of the connection.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
from collections.abc import Callable, Iterator

from path_plans import content

_PATIENCE_MILLISECONDS = 20_000
# So long nothing more is taken: it is full.
_FULL_MILLISECONDS = 1000
_BUFFER_BYTES = 65_536
_TAIL_BYTES = 100_000
_CHUNK = 1 << 16
_APART_BYTES = 4999
_NUMBER = struct.Struct(">I")


def said_by(number: int, start: int, count: int) -> memoryview:
    """At most so many bytes of what is said on a connection: all tell the same, from elsewhere."""
    return content(0, number * _APART_BYTES + start, count)


class Talker:
    """One connection on which something is said."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.said = 0
        self._number = number

    def say(self, most: int) -> int:
        """Say what is taken at once; how much that is."""
        if self.said < _NUMBER.size:
            data = memoryview(_NUMBER.pack(self._number))[self.said :]
        else:
            data = said_by(self._number, self.said - _NUMBER.size, most)
        count = self.sock.send(data[:most])
        self.said += count
        return count


def greet(talkers: list[Talker]) -> list[int]:
    """Say the number of each, which there is room for."""
    return [talker.say(_NUMBER.size) for talker in talkers]


def greeted(sockets: list[socket.socket]) -> list[int]:
    """Wait for the number of each, and leave it there."""
    for sock in sockets:
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        poll.poll(_PATIENCE_MILLISECONDS)
    return [len(sock.recv(_NUMBER.size, socket.MSG_PEEK)) for sock in sockets]


def fill(talkers: list[Talker]) -> list[int]:
    """Say on all until they are full."""
    by_fd = {talker.sock.fileno(): talker for talker in talkers}
    for fd in _ready(list(by_fd), select.POLLOUT, _FULL_MILLISECONDS):
        if fd is None:
            break
        by_fd[fd].say(_CHUNK)
    return [talker.said for talker in talkers]


def finish(talkers: list[Talker]) -> list[int]:
    """Say the rest and the end."""
    left = {talker.sock.fileno(): (talker, _TAIL_BYTES) for talker in talkers}
    fds = list(left)
    for fd in _ready(fds, select.POLLOUT, _PATIENCE_MILLISECONDS):
        if fd is None:
            break
        talker, more = left[fd]
        more -= talker.say(more)
        left[fd] = talker, more
        if not more:
            talker.sock.shutdown(socket.SHUT_WR)
            fds.remove(fd)
    return [talker.said for talker in talkers]


def hear(sockets: list[socket.socket]) -> list[int | str]:
    """Everything to the end, by the number that a connection begins with."""
    heard: dict[int, int | str] = {}
    by_fd = {sock.fileno(): (sock, bytearray()) for sock in sockets}
    streams: dict[int, tuple[int, int]] = {}
    fds = list(by_fd)
    for fd in _ready(fds, select.POLLIN, _PATIENCE_MILLISECONDS):
        if fd is None:
            break
        sock, begin = by_fd[fd]
        if fd not in streams:
            begin += sock.recv(_NUMBER.size - len(begin))
            if len(begin) == _NUMBER.size:
                streams[fd] = _NUMBER.unpack(begin)[0], 0
            continue
        number, position = streams[fd]
        came = sock.recv(_CHUNK)
        if not came:
            heard.setdefault(number, position + _NUMBER.size)
            fds.remove(fd)
        elif not _is_said(number, position, came):
            heard[number] = "wrong"
        streams[fd] = number, position + len(came)
    return [heard.get(number, "nothing to the end") for number in range(len(sockets))]


def _is_said(number: int, position: int, came: bytes) -> bool:
    while came:
        expected = bytes(said_by(number, position, len(came)))
        if came[: len(expected)] != expected:
            return False
        position += len(expected)
        came = came[len(expected) :]
    return True


def _ready(fds: list[int], event: int, patience: int) -> Iterator[int | None]:
    """Those that are ready, again and again while there are any; None when none was so long."""
    while fds:
        poll = select.poll()
        for fd in fds:
            poll.register(fd, event)
        events = poll.poll(patience)
        if not events:
            yield None
        for fd, _ in events:
            yield fd


def _sized(sock: socket.socket) -> socket.socket:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
    return sock


def _connected(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = _sized(socket.socket(family))
    sock.connect((address, port))
    return sock


def _opener(side: str, address: str, port: int, count: int) -> Callable[[], list[socket.socket]]:
    """What opens the connections: the listener is there at once."""
    if side == "client":
        return lambda: [_connected(address, port) for _ in range(count)]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = _sized(socket.create_server((address, port), family=family, backlog=count))
    return lambda: [listener.accept()[0] for _ in range(count)]


def main(side: str, address: str, port: int, count: int) -> None:
    """Do as told."""
    opener = _opener(side, address, port, count)
    print("ready", flush=True)
    sockets: list[socket.socket] = []
    talkers: list[Talker] = []
    answer: list[int] | list[int | str]
    for line in sys.stdin:
        match line.strip():
            case "open":
                sockets = opener()
                for sock in sockets:
                    sock.setblocking(False)
                talkers = [Talker(sock, number) for number, sock in enumerate(sockets)]
                answer = [len(sockets)]
            case "greet":
                answer = greet(talkers)
            case "greeted":
                answer = greeted(sockets)
            case "fill":
                answer = fill(talkers)
            case "finish":
                answer = finish(talkers)
            case "hear":
                answer = hear(sockets)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
