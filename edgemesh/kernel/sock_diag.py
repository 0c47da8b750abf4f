"""Sockets as the kernel's sock_diag tells them (sock_diag(7)), and their end by SOCK_DESTROY.

Message layout: linux/inet_diag.h and linux/sock_diag.h. What BPF programs keep beside a socket is
told since Linux 5.6, sockets are destroyed since 4.5 (CONFIG_INET_DIAG_DESTROY): their owner's
calls fail with ECONNABORTED, and the peer of a TCP connection gets RST.
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
_INET_DIAG_REQ_SK_BPF_STORAGES, _INET_DIAG_SK_BPF_STORAGES = 2, 20
_SK_DIAG_BPF_STORAGE_REQ_MAP_FD, _SK_DIAG_BPF_STORAGE = 1, 1
_SK_DIAG_BPF_STORAGE_MAP_VALUE: Final = 3
_NLA_F_NESTED, _NLA_TYPE_MASK = 0x8000, 0x3FFF
_HEADER: Final = struct.Struct("=IHHII")  # nlmsghdr
_ATTRIBUTE: Final = struct.Struct("=HH")
_ID_BYTES: Final = 48  # inet_diag_sockid
_REQUEST: Final = struct.Struct(f"=BBBxI{_ID_BYTES}s")  # inet_diag_req_v2
_ANSWER: Final = struct.Struct(f"=BBBB{_ID_BYTES}sIIIII")  # inet_diag_msg
_BUFFER_BYTES: Final = 1 << 18


class Diagnosed(NamedTuple):
    """One TCP socket.

    Args:
        family: of the socket.
        id: that the kernel knows it by, with a cookie: no later one is taken for it.
        storage: what a BPF program keeps beside it.
    """

    family: int
    id: bytes
    storage: bytes


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

    def with_storage(self, family: int, storage_fd: int) -> Iterator[Diagnosed]:
        """The TCP sockets that a BPF program keeps something beside; those of UDP are not told.

        Args:
            family: AF_INET or AF_INET6.
            storage_fd: a descriptor of the map, BPF_MAP_TYPE_SK_STORAGE.

        Raises:
            OSError: the kernel refuses the question.
        """
        wanted = _attribute(_SK_DIAG_BPF_STORAGE_REQ_MAP_FD, struct.pack("=I", storage_fd))
        question = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _ANY_STATE, bytes(_ID_BYTES))
        question += _attribute(_INET_DIAG_REQ_SK_BPF_STORAGES | _NLA_F_NESTED, wanted)
        self._send(_SOCK_DIAG_BY_FAMILY, _NLM_F_DUMP, question)
        for answer in self._answers():
            storage = _storage(answer[_ANSWER.size :])
            if storage:
                told_family, _, _, _, number, *_ = _ANSWER.unpack_from(answer)
                yield Diagnosed(told_family, number, storage)

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


def _storage(attributes: bytes) -> bytes:
    storages = _attributes(attributes).get(_INET_DIAG_SK_BPF_STORAGES, b"")
    return _attributes(_attributes(storages).get(_SK_DIAG_BPF_STORAGE, b"")).get(
        _SK_DIAG_BPF_STORAGE_MAP_VALUE, b""
    )


def _attribute(kind: int, payload: bytes) -> bytes:
    padding = -len(payload) % 4
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(payload), kind) + payload + bytes(padding)


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    start = 0
    while start + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, start)
        found[kind & _NLA_TYPE_MASK] = data[start + _ATTRIBUTE.size : start + size]
        start += max((size + 3) & ~3, _ATTRIBUTE.size)
    return found
