"""Sockets as the kernel's sock_diag tells them (sock_diag(7)), and their end by SOCK_DESTROY.

Message layout: linux/inet_diag.h and linux/sock_diag.h. Sockets are destroyed since Linux 4.5
(CONFIG_INET_DIAG_DESTROY): their owner's calls fail with ECONNABORTED, and the peer of a TCP
connection gets RST.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple, Self

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_SOCK_DESTROY: Final = 21
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_DUMP = 1, 4, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_ANY_STATE: Final = 0xFFFFFFFF
_HEADER: Final = struct.Struct("=IHHII")  # nlmsghdr
_ID_BYTES: Final = 48  # inet_diag_sockid
_COOKIE: Final = struct.Struct("=40xQ")  # its idiag_cookie, the low half first
_LOCAL: Final = struct.Struct("!H2x16s")  # its idiag_sport and idiag_src
_LISTEN, _TIME_WAIT = 10, 6  # linux/tcp_states.h
_REQUEST: Final = struct.Struct(f"=BBBxI{_ID_BYTES}s")  # inet_diag_req_v2
_ANSWER: Final = struct.Struct(f"=BBBB{_ID_BYTES}sIIIII")  # inet_diag_msg
_BUFFER_BYTES: Final = 1 << 18


class Diagnosed(NamedTuple):
    """One TCP socket.

    Args:
        family: of the socket.
        id: that the kernel knows it by, with a cookie: no later one is taken for it.
        state: of ``linux/tcp_states.h``.
    """

    family: int
    id: bytes
    state: int

    @property
    def carries(self) -> bool:
        """Whether it is a connection that is being made, is open, or has something to send."""
        return self.state not in {_LISTEN, _TIME_WAIT}

    @property
    def local(self) -> tuple[str, int]:
        """Its own address and port."""
        port, address = _LOCAL.unpack_from(self.id)
        used = address if self.family == socket.AF_INET6 else address[:4]
        return socket.inet_ntop(self.family, used), port

    @property
    def cookie(self) -> int:
        """As SO_COOKIE tells it; no other socket has it until the next boot."""
        (low_first,) = _COOKIE.unpack(self.id)
        return int(low_first)


class SockDiag:
    """A conversation with the kernel about the sockets of the network namespace we are in.

    Ownership: a context manager; its end closes the socket.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG
        )

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the socket."""
        self._socket.close()

    def tcp(self, family: int) -> Iterator[Diagnosed]:
        """The TCP sockets of a family, AF_INET or AF_INET6.

        Raises:
            OSError: the kernel refuses the question.
        """
        question = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _ANY_STATE, bytes(_ID_BYTES))
        self._send(_SOCK_DIAG_BY_FAMILY, _NLM_F_DUMP, question)
        for answer in self._answers():
            told_family, state, _, _, number, *_ = _ANSWER.unpack_from(answer)
            yield Diagnosed(told_family, number, state)

    def destroy(self, found: Diagnosed) -> bool:
        """End a socket; false when it is gone already.

        Raises:
            OSError: this kernel cannot, or the privilege is missing.
        """
        question = _REQUEST.pack(found.family, socket.IPPROTO_TCP, 0, _ANY_STATE, found.id)
        self._send(_SOCK_DESTROY, _NLM_F_ACK, question)
        try:
            for _ in self._answers():
                pass
        except FileNotFoundError:
            return False
        return True

    def _send(self, kind: int, flags: int, payload: bytes) -> None:
        size = _HEADER.size + len(payload)
        self._socket.send(_HEADER.pack(size, kind, _NLM_F_REQUEST | flags, 0, 0) + payload)

    def _answers(self) -> Iterator[bytes]:
        """What follows the headers of all messages up to the one that ends the answer."""
        while True:
            data = self._socket.recv(_BUFFER_BYTES)
            start = 0
            while start < len(data):
                size, kind, *_ = _HEADER.unpack_from(data, start)
                payload = data[start + _HEADER.size : start + size]
                start += (size + 3) & ~3
                if kind in {_NLMSG_DONE, _NLMSG_ERROR}:
                    (code,) = struct.unpack_from("=i", payload)
                    if code < 0:
                        raise OSError(-code, os.strerror(-code))
                    return
                yield payload
