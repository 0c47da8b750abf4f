"""Bulk: bytes are moved by splice(2), through a pipe and without being copied.

A pump whose ends do not read into memory. The pages that a socket has received are linked into a
pipe and from there to the other socket (Linux 6.5 on: MSG_SPLICE_PAGES). What the other socket
does not take stays in the pipe, of one direction at most `ProxySettings.splice_bytes`; a pipe is
held by nobody longer than it has something in it.
"""

from __future__ import annotations

import os
from functools import partial

from edgemesh.kernel.sockets import Socket
from edgemesh.model.flows import Ending, Mover
from edgemesh.proxy.flow import Flow
from edgemesh.proxy.forward.carried import Carried, Direction
from edgemesh.proxy.forward.pipes import Pipe, Pipes
from edgemesh.proxy.forward.pump import End, Pump

_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


def begin_bulk(pipes: Pipes, flow: Flow, carried: Carried) -> None:
    """Splice from now on.

    Args:
        pipes: where pipes are taken from.
        flow: its sockets are registered for nobody who counts on their events.
        carried: where it stands.
    """
    carried.hand_to(Mover.SPLICE)
    if carried.closed:
        flow.finish(Ending.CLOSED, reset=False)
    else:
        Pump(flow, carried, partial(_SplicingEnd, pipes)).start()


class _SplicingEnd(End):
    """An end that splices, and copies only what cannot be spliced."""

    __slots__ = ("_fd", "_in_pipe", "_limit", "_pipe", "_pipes")

    def __init__(self, pipes: Pipes, pump: Pump, sock: Socket, direction: Direction) -> None:
        super().__init__(pump, sock, direction)
        self._fd = sock.fileno()
        self._pipes = pipes
        self._pipe: Pipe | None = None
        self._in_pipe = 0
        self._limit = pump.flow.context.settings.splice_bytes

    def read(self, most: int = 0) -> None:
        """Let the socket give what it has to a pipe, and the other take it from there."""
        pipe = self._pipes.take()
        if pipe is None:
            # Others are stuck with all of them.
            self.pump.hand_over(Mover.RELAY, self)
            return
        try:
            count = os.splice(self._fd, pipe.writer, self._limit, flags=_FLAGS)
        except BlockingIOError:
            count = 0
        except OSError as error:
            self._pipes.give_back(pipe)
            self.pump.reset(self, error)
            return
        if not count:
            # A splice stops before an urgent byte and never gets beyond it (tcp_read_sock());
            # if an end of stream is behind it, it is told too early. Reading is right always.
            self._pipes.give_back(pipe)
            super().read(most)
            return
        self._pipe, self._in_pipe = pipe, count
        self.pump.carried.last_active = self.pump.reactor.now
        self.pump.note(self, count)
        self._send_from(pipe)

    def send_rest(self) -> None:
        """Let the other socket take what waits."""
        if self._pipe is None:
            super().send_rest()
        else:
            self.pump.carried.last_active = self.pump.reactor.now
            self._send_from(self._pipe)

    def _send_from(self, pipe: Pipe) -> None:
        try:
            sent = os.splice(pipe.reader, self.other.sock.fileno(), self._in_pipe, flags=_FLAGS)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.pump.reset(self.other, error)
            return
        self.moved += sent
        self._in_pipe -= sent
        if not self._in_pipe:
            self._pipe = None
            self._pipes.give_back(pipe)
        if self.stuck is not bool(self._in_pipe):
            self.turn_stuck(stuck=not self.stuck)

    def give_up(self) -> Direction:
        """Where this direction stands; what is in the pipe is unsent."""
        if self._pipe is not None:
            parts = []
            while self._in_pipe:
                parts.append(os.read(self._pipe.reader, self._in_pipe))
                self._in_pipe -= len(parts[-1])
            self.unsent = b"".join(parts)
            self._pipes.give_back(self._pipe)
            self._pipe = None
        return super().give_up()

    def drop(self) -> None:
        """Close the pipe that has something in it."""
        if self._pipe is not None:
            self._pipes.discard(self._pipe)
            self._pipe = None
