"""The agent's side of the gate: which sockets are in it, and what it has done for each.

The other side is bpf/gate.bpf.c, whose head says how the two keep bytes in order. `Way` and
`Junction` are the words of its ``struct way``, which lie in memory that both sides have.
"""

from __future__ import annotations

import errno
import mmap
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NamedTuple, Self

from edgemesh.kernel.bpf.maps import Map
from edgemesh.kernel.bpf.ringbuf import RingBuffer
from edgemesh.kernel.bpf.syscall import AttachType, prog_query
from edgemesh.kernel.sockets import Socket
from edgemesh.kernel.tcp_state import bytes_written, raise_send_buffer, tcp_state

# struct way of bpf/gate.h, in words.
REDIRECTED, PASSED, RELEASED, BASE, MARK, OLDER, NEWER, LAST_NS, NEXT_SEQ, LOST = range(10)
WAY_WORDS = 10
_HELD = (1 << 64) - 1
_SO_COOKIE = 57  # asm-generic/socket.h
_BPF_NOEXIST = 1
# The send buffer, in multiples of the backlog: the kernel sends what is redirected while less
# than a half of it is taken (sock_writeable()), and counts each packet's own memory, too.
_SEND_BUFFER_BACKLOGS = 4


class Way:
    """One direction of a flow in the gate.

    Attributes:
        number: of its ``struct way``.
        base: bytes that had been written to the target before it was in the gate.
    """

    __slots__ = ("_at", "_words", "base", "number")

    def __init__(self, words: memoryview, number: int, base: int) -> None:
        """Begin with nothing moved and nothing held."""
        self._words = words
        self._at = number * WAY_WORDS
        self.number = number
        self.base = base
        for word in range(WAY_WORDS):
            words[self._at + word] = 0
        words[self._at + BASE] = base

    @property
    def redirected(self) -> int:
        """Bytes that the kernel has taken to the target."""
        return int(self._words[self._at + REDIRECTED])

    @property
    def passed(self) -> int:
        """Bytes that were left to be read by the agent."""
        return int(self._words[self._at + PASSED])

    @property
    def lost(self) -> bool:
        """Whether the kernel had no memory for some of what has come: its flow is to be ended."""
        return bool(self._words[self._at + LOST])

    @property
    def last_redirected(self) -> float:
        """When bytes were redirected last, in seconds of CLOCK_MONOTONIC."""
        return int(self._words[self._at + LAST_NS]) / 1e9

    @property
    def released(self) -> bool:
        """Whether the kernel redirects, or would with less under way."""
        return bool(self._words[self._at + RELEASED] == self._words[self._at + PASSED])

    def shift(self, count: int) -> None:
        """Take so many more bytes for written to the target before all others, while held."""
        self.base += count
        self._words[self._at + BASE] = self.base % (1 << 64)

    def release(self, passed: int) -> None:
        """Let the kernel redirect, all ``passed`` bytes having been written to the target.

        More may have been passed meanwhile: look at `released` when the source's lock has been
        taken. Once it was true and is no more, the direction's number is in `Gate.overflows`.
        """
        self._words[self._at + RELEASED] = passed

    def hold(self) -> None:
        """Have all bytes passed, once the source's lock has been taken."""
        self._words[self._at + RELEASED] = _HELD


class Junction(NamedTuple):
    """Both directions of a flow in the gate."""

    from_client: Way
    from_endpoint: Way


class Gate:
    """The maps of the gate; a context manager that closes them.

    Closing them while sockets are in the gate takes it away from under their bytes: close the
    sockets before.
    """

    def __init__(self, open_map: Callable[[str], Map], backlog_bytes: int) -> None:
        """Open the maps.

        Args:
            open_map: opens one by its name in C.
            backlog_bytes: that the programs were compiled with.

        Raises:
            OSError: the maps are not there.
        """
        with ExitStack() as opened:
            self._targets = opened.enter_context(open_map("gate_targets"))
            self._sources = opened.enter_context(open_map("gate_sources"))
            self._numbers = opened.enter_context(open_map("gate_numbers"))
            self._overflows = opened.enter_context(RingBuffer(open_map("gate_overflows")))
            self._ways = opened.enter_context(open_map("gate_ways"))
            assert self._ways.value_size == WAY_WORDS * 8
            self._opened = opened.pop_all()
        self._words: memoryview | None = None
        self._backlog_bytes = backlog_bytes
        # First numbers of flows that are over, and the first that no flow has had.
        self._free: list[int] = []
        self._next = 0

    def __enter__(self) -> Self:
        """The gate itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the maps."""
        self._opened.close()

    @property
    def words(self) -> memoryview:
        """The memory of all ways, of which each is one `Way`.

        It counts as the agent's with the first flow: where all calls are balanced when they
        connect, that flow never comes.
        """
        if self._words is None:
            size = self._ways.max_entries * WAY_WORDS * 8
            memory = self._opened.enter_context(mmap.mmap(self._ways.fd, size))
            self._words = self._opened.enter_context(memoryview(memory).cast("Q"))
        return self._words

    def fileno(self) -> int:
        """Readable, for epoll, when there are `overflows`."""
        return self._overflows.fileno()

    @property
    def is_whole(self) -> bool:
        """Whether who enters is given the program; somebody may have detached it."""
        return _has_program(self._sources)

    def knows(self, sock: Socket) -> bool:
        """Whether a socket has a way; somebody may have emptied the maps."""
        return self._numbers.lookup(_cookie(sock)) is not None

    def overflows(self) -> Iterator[int]:
        """Take the numbers of ways that have begun to pass what they should redirect, or lost it.

        A number may be told that has another owner by now, or none.
        """
        for record in self._overflows.records():
            yield struct.unpack_from("=I", record)[0]

    def open(self, client: Socket, endpoint: Socket, sources: Map | None = None) -> Junction:
        """Make room for a flow and tell each socket's target; nothing is redirected yet.

        Both must be established, and nobody may write to them.

        Args:
            client: the one socket.
            endpoint: the other.
            sources: the map that gives them another program than the gate's own.

        Raises:
            OSError: ENOSPC when the gate is full; EOPNOTSUPP of a socket that is not established
                any more, or that has what a sockmap cannot take (TLS, MPTCP); ENOEXEC when
                somebody has detached the program.
        """
        if not self._free and self._next + 2 > self._ways.max_entries:
            raise OSError(errno.ENOSPC, "the gate is full")
        if not _has_program(sources or self._sources):
            raise OSError(errno.ENOEXEC, "the gate's program was detached")
        first = self._free[-1] if self._free else self._next
        with ExitStack() as undo:
            junction = Junction(
                self._direct(client, endpoint, first, undo),
                self._direct(endpoint, client, first + 1, undo),
            )
            undo.pop_all()
        if self._free:
            self._free.pop()
        else:
            self._next += 2
        return junction

    def _direct(self, source: Socket, target: Socket, number: int, undo: ExitStack) -> Way:
        raise_send_buffer(target, _SEND_BUFFER_BACKLOGS * self._backlog_bytes)
        way = Way(self.words, number, bytes_written(target))
        key = _cookie(source)
        undo.callback(self._numbers.delete, key)
        self._numbers.update(key, struct.pack("=I", number), _BPF_NOEXIST)
        undo.callback(self._targets.delete, key)
        self._targets.update(key, struct.pack("=i", target.fileno()), _BPF_NOEXIST)
        return way

    def enter(self, sock: Socket, sources: Map | None = None) -> None:
        """Give a socket of an open junction the program, for as long as it is open.

        What it has received before is looked at with the next system call that reads from it,
        or with the next packet (tcp_bpf_recvmsg_parser(), 6.4 and 6.1.37).

        Args:
            sock: of the junction.
            sources: as for `open`.

        Raises:
            OSError: EOPNOTSUPP when its peer has ended its direction, or reset; EBUSY when
                somebody else's program has it.
        """
        program = sources or self._sources
        program.update(_cookie(sock), struct.pack("=i", sock.fileno()), _BPF_NOEXIST)

    def close(self, junction: Junction, client: Socket, endpoint: Socket) -> None:
        """Forget a flow of which no byte is to be moved: its sockets are closed next."""
        for sock in (client, endpoint):
            self._numbers.delete(_cookie(sock))
            tcp_state(sock)  # The program may have had the number already. Not after this.
        self._free.append(junction.from_client.number)


def _has_program(sources: Map) -> bool:
    """Whether who enters is given the program; without, its bytes would lie there unseen."""
    try:
        return bool(prog_query(sources.fd, AttachType.SK_SKB_VERDICT))
    except OSError as error:
        if error.errno == errno.EINVAL:
            return True  # Before 5.18 sockmaps cannot be asked.
        raise


def _cookie(sock: Socket) -> bytes:
    return sock.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8)
