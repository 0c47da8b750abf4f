"""How far the kernel has got with what was written to a TCP connection.

Source: struct tcp_info of linux/tcp.h, SIOCOUTQ of tcp(7); SO_SNDBUFFORCE and SO_BUF_LOCK of
asm-generic/socket.h and socket(7).
"""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
import termios
from contextlib import suppress
from typing import NamedTuple

from edgemesh.kernel.sockets import Socket

TCP_CLOSE = 7  # net/tcp_states.h: both ways are over, as after a reset

_SO_SNDBUFFORCE = 32
_SO_BUF_LOCK = 72  # 5.14
_SEND_BUFFER_LOCKED = 1
_BYTES_ACKED_AT = 120  # tcpi_bytes_acked, 4.1
_LOOKS = 100


class TcpState(NamedTuple):
    """Of one connection, at one moment.

    Args:
        state: of net/tcp_states.h.
        written: bytes that have been written to it, by whomever, from its begin.
    """

    state: int
    written: int


def tcp_state(sock: Socket) -> TcpState:
    """Look at a connection; ``written`` is a lower bound while its peer acknowledges.

    This takes the socket lock: what the kernel had begun to do with a packet is done by then.

    Raises:
        OSError: it is no TCP socket.
    """
    state, acknowledged = _state_and_acknowledged(sock)
    # In this order: what is acknowledged in between is missing, and not counted twice.
    return TcpState(state, acknowledged + _queued(sock))


def bytes_written(sock: Socket) -> int:
    """How many bytes have been written to a connection that nobody writes to now.

    Raises:
        OSError: EAGAIN where acknowledgements come in faster than one can look.
    """
    for _ in range(_LOOKS):
        _, before = _state_and_acknowledged(sock)
        queued = _queued(sock)
        _, after = _state_and_acknowledged(sock)
        if before == after:
            return after + queued
    raise BlockingIOError(errno.EAGAIN, "too many acknowledgements at a time")


def raise_send_buffer(sock: Socket, size: int) -> None:
    """Make the send buffer at least so large (bytes as the kernel counts them).

    Raises:
        OSError: CAP_NET_ADMIN is missing.
    """
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) >= size:
        return
    # The kernel doubles what it is told.
    sock.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, size // 2)
    # Once told it would not let the buffer grow by itself any more. Before 5.14 it does not.
    with suppress(OSError):
        locked = sock.getsockopt(socket.SOL_SOCKET, _SO_BUF_LOCK)
        sock.setsockopt(socket.SOL_SOCKET, _SO_BUF_LOCK, locked & ~_SEND_BUFFER_LOCKED)


def _state_and_acknowledged(sock: Socket) -> tuple[int, int]:
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED_AT + 8)
    (acknowledged,) = struct.unpack_from("=Q", info, _BYTES_ACKED_AT)
    return info[0], int(acknowledged)


def _queued(sock: Socket) -> int:
    answer = fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4))
    return int(struct.unpack("=i", answer)[0])
