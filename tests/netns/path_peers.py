"""One side of connections, as a process of its own: plays its part of one plan after the other.

    path_peers.py client ADDRESS PORT
    path_peers.py endpoint ADDRESS PORT

A line ``NUMBER LARGEST`` on standard input names a plan; a line of JSON on standard output tells
how it went, see `Outcome`. An endpoint says that it listens before.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time
from contextlib import closing
from dataclasses import asdict, dataclass

from path_plans import Part, content, plan

_PATIENCE_SECONDS = 20.0
_LINGER_ZERO = struct.pack("ii", 1, 0)
_BUFFER_BYTES = 1 << 18


@dataclass
class Outcome:
    """How one side fared.

    Args:
        said: bytes that its kernel took.
        heard: bytes that came.
        wrong_at: where what came was first not what was said, -1 for nowhere.
        ending: ``end`` of stream, ``reset`` by the other side, ``broken off`` by this one, or
            ``silence`` for longer than anything here takes.
    """

    said: int = 0
    heard: int = 0
    wrong_at: int = -1
    ending: str = ""


class Side:
    """One side of one connection."""

    def __init__(self, sock: socket.socket, part: Part, heard_stream: int) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._part = part
        self._heard_stream = heard_stream
        self._buffer = bytearray(_BUFFER_BYTES)
        self._says = iter(part.says)
        self._say = next(self._says, None)
        self._left = self._say.size if self._say else 0
        self._may_say_at: float | None = None
        self._said_all = False
        self._rests = list(part.rests)
        self._rests_until = 0.0
        self.outcome = Outcome()

    def play(self) -> Outcome:
        """Say and hear until both streams have ended, or one is broken off."""
        silent_since = time.monotonic()
        while not self._over():
            now = time.monotonic()
            before = (self.outcome.said, self.outcome.heard, self._said_all)
            wakes = self._wanted(now)
            if self._over():
                break
            self._poll(wakes, now)
            if before != (self.outcome.said, self.outcome.heard, self._said_all):
                silent_since = time.monotonic()
            elif time.monotonic() - silent_since > _PATIENCE_SECONDS:
                self.outcome.ending = "silence"
        return self.outcome

    def _over(self) -> bool:
        ending = self.outcome.ending
        return bool(ending) and (ending != "end" or self._said_all)

    def _wanted(self, now: float) -> tuple[bool, bool, float]:
        """Whether to read and to write, and when that changes by itself."""
        wakes = now + 1
        if self._rests and self.outcome.heard >= self._rests[0][0]:
            self._rests_until = now + self._rests.pop(0)[1]
        reads = not self.outcome.ending and now >= self._rests_until
        if now < self._rests_until:
            wakes = min(wakes, self._rests_until)
        writes = self._may_say(now)
        if self._may_say_at is not None and not writes:
            wakes = min(wakes, self._may_say_at)
        return reads, writes, wakes

    def _may_say(self, now: float) -> bool:
        if self._said_all:
            return False
        if self._say is None:
            self._end()
            return False
        if self.outcome.heard < self._say.after:
            return False
        if self._may_say_at is None:
            self._may_say_at = now + self._say.pause
        return now >= self._may_say_at

    def _end(self) -> None:
        self._said_all = True
        if self._part.resets:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            self.outcome.ending = "broken off"
            return
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.outcome.ending = "reset"

    def _poll(self, wanted: tuple[bool, bool, float], now: float) -> None:
        reads, writes, wakes = wanted
        events = (select.POLLIN if reads else 0) | (select.POLLOUT if writes else 0)
        poll = select.poll()
        if events:
            poll.register(self._sock, events)
        # Rounded up, so that what is waited for has come then.
        happened = poll.poll(max(0, int((wakes - now) * 1000) + 1))
        happened_events = happened[0][1] if happened else 0
        if reads and happened_events & ~select.POLLOUT:
            self._hear()
        if writes and happened_events & ~select.POLLIN:
            self._speak()

    def _hear(self) -> None:
        try:
            count = self._sock.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError:
            self.outcome.ending = "reset"
            return
        if not count:
            self.outcome.ending = self.outcome.ending or "end"
            return
        self._compare(memoryview(self._buffer)[:count])
        self.outcome.heard += count

    def _compare(self, came: memoryview) -> None:
        position = self.outcome.heard
        while came and self.outcome.wrong_at < 0:
            expected = content(self._heard_stream, position, len(came))
            here = came[: len(expected)]
            if bytes(here) != bytes(expected):
                pairs = zip(here, expected, strict=True)
                first = next(index for index, (one, two) in enumerate(pairs) if one != two)
                self.outcome.wrong_at = position + first
            position += len(here)
            came = came[len(here) :]

    def _speak(self) -> None:
        assert self._say is not None
        try:
            count = self._sock.send(content(self._part.stream, self.outcome.said, self._left))
        except BlockingIOError:
            return
        except OSError:
            self.outcome.ending = "reset"
            return
        self.outcome.said += count
        self._left -= count
        while not self._left:
            self._say = next(self._says, None)
            self._may_say_at = None
            if self._say is None:
                return
            self._left = self._say.size


def play(sock: socket.socket, part: Part, other: Part) -> None:
    """Play and tell."""
    with closing(sock):
        outcome = Side(sock, part, other.stream).play()
    print(json.dumps(asdict(outcome)), flush=True)


def main(side: str, address: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    if side == "client":
        for line in sys.stdin:
            talk = plan(*map(int, line.split()))
            sock = socket.socket(family)
            sock.settimeout(_PATIENCE_SECONDS)
            sock.connect((address, port))
            play(sock, talk.client, talk.endpoint)
        return
    with socket.create_server((address, port), family=family) as listener:
        print("ready", flush=True)
        for line in sys.stdin:
            talk = plan(*map(int, line.split()))
            listener.settimeout(_PATIENCE_SECONDS)
            play(listener.accept()[0], talk.endpoint, talk.client)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
