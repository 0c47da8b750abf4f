"""How a datagram's answer leaves from the address that its client called."""

from __future__ import annotations

import socket
import struct
from typing import Protocol

from edgemesh.kernel.sockets import IP_PKTINFO, Address, answering_socket
from edgemesh.model.flows import Ending
from edgemesh.proxy.context import Context


class Answers(Protocol):
    """Where a session's answers leave."""

    def borrow(self, service: Address) -> None:
        """Make sure that answers can leave from ``service`` until `give_back`.

        Raises:
            OSError: they cannot.
        """
        ...

    def give_back(self, service: Address, ending: Ending) -> None:
        """Let go of ``service``; ``ending`` is that of the session."""
        ...

    def send(self, client: Address, local: Address, data: memoryview) -> None:
        """Answer ``client`` from ``local``, the address at which its datagrams arrive.

        Raises:
            OSError: the client's node says no, or a buffer is full.
        """
        ...


class Answering:
    """Sockets bound to service addresses, shared by the sessions that call them.

    Under REDIRECT there are none: the listener answers, from the address that it was reached
    at, and connection tracking translates that back.

    Ownership: opens and closes the sockets; the listener is the caller's.
    """

    def __init__(self, context: Context, listener: socket.socket, *, redirected: bool) -> None:
        """Hold no socket yet."""
        self._context = context
        self._listener = listener
        self._redirected = redirected
        self._shared: dict[Address, tuple[socket.socket, int]] = {}

    def borrow(self, service: Address) -> None:
        """Make sure that answers can leave from ``service`` until `give_back`.

        Raises:
            OSError: they cannot.
        """
        if self._redirected:
            return
        kept = self._shared.get(service)
        sock, users = kept or (answering_socket(service, self._context.own_mark), 0)
        self._shared[service] = (sock, users + 1)

    def give_back(self, service: Address, ending: Ending) -> None:  # noqa: ARG002 - nobody is told
        """Let go of ``service``; its socket is closed with the last user."""
        if self._redirected:
            return
        sock, users = self._shared.pop(service)
        if users > 1:
            self._shared[service] = (sock, users - 1)
        else:
            self._context.reactor.close(sock)

    def send(self, client: Address, local: Address, data: memoryview) -> None:
        """Answer ``client`` from ``local``, the address at which its datagrams arrive.

        Raises:
            OSError: the client's node says no, or a buffer is full.
        """
        if not self._redirected:
            self._shared[local][0].sendto(data, client)
            return
        if ":" in local[0]:
            packet_info = struct.pack("=16sI", socket.inet_pton(socket.AF_INET6, local[0]), 0)
            control = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, packet_info)]
        else:
            packet_info = struct.pack("=I4s4s", 0, socket.inet_aton(local[0]), b"\0\0\0\0")
            control = [(socket.IPPROTO_IP, IP_PKTINFO, packet_info)]
        self._listener.sendmsg([data], control, 0, client)
