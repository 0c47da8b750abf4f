"""Sockets of the data plane: transparent listeners, marked dialling, original destinations.

Constants that Python's socket module lacks are from asm-generic/socket.h, linux/in.h,
linux/in6.h and linux/netfilter_ipv4.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import Protocol, overload

IP_PKTINFO = 8
IP_TRANSPARENT = 19
IP_RECVORIGDSTADDR = 20
IP_BIND_ADDRESS_NO_PORT = 24
IPV6_RECVORIGDSTADDR = 74
IPV6_TRANSPARENT = 75
SO_RCVBUFFORCE = 33
SO_COOKIE = 57
SO_ORIGINAL_DST = 80

COOKIE_BYTES = 8

LISTEN_BACKLOG = 4096

# Of what the kernel may keep of a direction. An eighth is left: a buffer that is not full takes
# one more packet, of up to 64 KiB and its overhead.
_RECEIVED_SHARE = 4 / 8
_UNSENT_SHARE = 3 / 8

# struct linger: whether, and for how many seconds.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_FIN_ON_CLOSE = struct.pack("ii", 0, 0)

Address = tuple[str, int]


class Socket(Protocol):
    """What is asked of a connected socket, the kernel's or a virtual one (`reactor.virtual`).

    Its methods are those of `socket.socket`.
    """

    def fileno(self) -> int:
        """Its descriptor."""
        ...

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Take up to ``size`` bytes, or one datagram."""
        ...

    def recv_into(self, buffer: memoryview, size: int = 0, flags: int = 0, /) -> int:
        """Take up to ``size`` bytes, or one datagram."""
        ...

    def send(self, data: bytes | memoryview, flags: int = 0, /) -> int:
        """Hand over as much as is taken."""
        ...

    def shutdown(self, how: int, /) -> None:
        """End one direction or both."""
        ...

    @overload
    def getsockopt(self, level: int, name: int, /) -> int: ...

    @overload
    def getsockopt(self, level: int, name: int, size: int, /) -> bytes: ...

    def getsockopt(self, level: int, name: int, size: int = 0, /) -> int | bytes:
        """The value of an option."""
        ...

    def setsockopt(self, level: int, name: int, value: int | bytes, /) -> None:
        """Set an option."""
        ...

    def getpeername(self) -> Address:
        """Who is at the other end."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def family_of(address: str) -> socket.AddressFamily:
    """AF_INET6 for an address with a colon, AF_INET otherwise."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def ipv6_available() -> bool:
    """Whether this kernel has IPv6 (``ipv6.disable=1`` takes it away)."""
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            return False
        raise
    return True


def is_own_address(address: str) -> bool:
    """Whether an address is one of this host's: only those can be bound without a privilege."""
    with socket.socket(family_of(address), socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((address, 0))
        except OSError:
            return False
    return True


def _allow_foreign_addresses(sock: socket.socket) -> None:
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)


def tcp_listener(family: socket.AddressFamily, port: int, *, transparent: bool) -> socket.socket:
    """A non-blocking listener on all addresses of one family.

    Args:
        family: AF_INET or AF_INET6 (then without IPv4).
        port: 1 to 65535.
        transparent: accept connections to addresses that are not the host's (TPROXY). Needs
            CAP_NET_ADMIN or CAP_NET_RAW.

    Raises:
        OSError: the port is taken, or a capability is missing.

    Ownership: the caller closes it.
    """
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit it (Linux: sk_clone_lock copies the options).
        _prepare_for_relay(sock)
        _bind_all(sock, port, transparent=transparent)
        sock.listen(LISTEN_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def udp_listener(family: socket.AddressFamily, port: int, *, transparent: bool) -> socket.socket:
    """A non-blocking datagram socket on all addresses, told each datagram's destination.

    With ``transparent`` recvmsg() brings the original destination (IP_RECVORIGDSTADDR);
    without, the local address that a REDIRECT rule chose (IP_PKTINFO), from which an answer
    must leave so that conntrack translates it back. Arguments, errors and ownership are those
    of `tcp_listener`.
    """
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            option = IPV6_RECVORIGDSTADDR if transparent else socket.IPV6_RECVPKTINFO
            sock.setsockopt(socket.IPPROTO_IPV6, option, 1)
        else:
            option = IP_RECVORIGDSTADDR if transparent else IP_PKTINFO
            sock.setsockopt(socket.IPPROTO_IP, option, 1)
        _bind_all(sock, port, transparent=transparent)
        # Answering sockets of Services on the same port may bind beside it. Set before, a
        # second agent could, too, and would get our datagrams.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    except OSError:
        sock.close()
        raise
    return sock


def _prepare_for_relay(sock: socket.socket) -> None:
    # The kernel closes the sockets of a process that is killed. A FIN would tell their peers
    # that all has been said, when the rest of it was lost with the process.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # An urgent byte stays in its place; recv() would skip it, and it would be lost.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)


def bound_kernel_memory(sock: socket.socket, limit: int) -> None:
    """Bound what the kernel keeps for a TCP socket whose peer, or whose reader, does not read.

    Before it connects, since the window that it offers depends on it, or of a listener: accepted
    sockets inherit it (sk_clone_lock() copies all of struct tcp_sock).

    Args:
        sock: the one of two through which a flow passes; the other is bounded alike.
        limit: bytes with all overhead for each direction: what came at the one socket and was
            not read, and what was written to the other and not sent. 1 MiB at least.
    """
    # A receive buffer that was set does not grow by itself. A window clamp would not do, since
    # one that grows takes it along (tcp_rcvbuf_grow()). The kernel doubles what it is told.
    received = int(limit * _RECEIVED_SHARE) // 2
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, received)
    except PermissionError:
        # A cloud dials without CAP_NET_ADMIN; net.core.rmem_max then bounds it further.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, received)
    # The send buffer goes on growing with what is on its way. A peer that does not read has all
    # of that, so what is left is what was not sent.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, int(limit * _UNSENT_SHARE))


def _bind_all(sock: socket.socket, port: int, *, transparent: bool) -> None:
    if transparent:
        _allow_foreign_addresses(sock)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind(("::" if sock.family == socket.AF_INET6 else "0.0.0.0", port))  # noqa: S104


def dialling_socket(
    destination: str, kind: socket.SocketKind, mark: int, source: str | None = None
) -> socket.socket:
    """A non-blocking socket that our own rules let pass, to be connected by the caller.

    Args:
        destination: decides the address family.
        kind: SOCK_STREAM or SOCK_DGRAM.
        mark: SO_MARK that exempts it from interception, which needs CAP_NET_ADMIN; 0 for none.
        source: a foreign address to call from, None for the host's own choice.

    Raises:
        OSError: no more descriptors, or a capability is missing.

    Ownership: the caller closes it.
    """
    sock = socket.socket(family_of(destination), kind | socket.SOCK_NONBLOCK)
    try:
        if mark:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        if kind == socket.SOCK_STREAM:
            _prepare_for_relay(sock)
        if source is not None:
            _allow_foreign_addresses(sock)
            # The port is chosen at connect(), by the whole 4-tuple; otherwise one client could
            # use up the ports of its address.
            sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((source, 0))
    except OSError:
        sock.close()
        raise
    return sock


def answering_socket(service: Address, mark: int) -> socket.socket:
    """A non-blocking datagram socket bound to a service's own address, to answer from there.

    It is never connected: TPROXY looks up connected sockets first, and would give it the next
    datagrams of its client past the listener (nf_tproxy_get_sock_v4).

    Raises:
        OSError: the address cannot be bound.

    Ownership: the caller closes it.
    """
    sock = socket.socket(family_of(service[0]), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        _allow_foreign_addresses(sock)
        sock.bind(service)
    except OSError:
        sock.close()
        raise
    return sock


def fin_on_close(sock: Socket) -> None:
    """Let close() end a connection in order; of listeners and dialled sockets it sends RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _FIN_ON_CLOSE)


def redirected_destination(sock: socket.socket) -> Address:
    """Where an accepted connection was going before a REDIRECT rule changed it.

    Raises:
        OSError: ENOENT when nothing was translated: the listener was called directly.
    """
    if sock.family == socket.AF_INET6:
        raw = sock.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28)
    else:
        raw = sock.getsockopt(socket.IPPROTO_IP, SO_ORIGINAL_DST, 16)
    return unpack_address(raw)


def unpack_address(raw: bytes) -> Address:
    """Address and port of a struct sockaddr_in or sockaddr_in6."""
    (family,) = struct.unpack_from("=H", raw)
    (port,) = struct.unpack_from("!H", raw, 2)
    if family == socket.AF_INET6:
        return socket.inet_ntop(socket.AF_INET6, raw[8:24]), port
    return socket.inet_ntop(socket.AF_INET, raw[4:8]), port
