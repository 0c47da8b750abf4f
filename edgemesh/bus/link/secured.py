"""TLS over a non-blocking socket: bytes in, bytes out, and nothing of what they mean."""

from __future__ import annotations

import socket
import ssl
from typing import Any

from edgemesh.bus.link.shared import READ_BYTES, Shared
from edgemesh.bus.link.tls import ALPN
from edgemesh.bus.pki.problems import CertificateProblem
from edgemesh.kernel.sockets import fin_on_close

# linux/tcp.h. What the kernel has not sent yet delays whatever comes after it, so it is not given
# more than keeps it busy.
_TCP_NOTSENT_LOWAT = 25
_NOT_SENT_BYTES = 262144


class Secured:
    """One TLS connection.

    Ownership: the socket is the caller's.

    Attributes:
        sock: that it runs over.
        unsent: bytes that the socket did not take yet.
        closed: the other end has said that it sends no more.
        bytes_in, bytes_out: that were read and written.
    """

    __slots__ = (
        "_cipher",
        "_incoming",
        "_outgoing",
        "_rest",
        "_tls",
        "bytes_in",
        "bytes_out",
        "closed",
        "sock",
        "unsent",
    )

    def __init__(
        self, shared: Shared, sock: socket.socket, context: ssl.SSLContext, server_name: str
    ) -> None:
        """Say nothing yet; ``server_name`` is "" at the end that was dialled."""
        self.sock = sock
        self._cipher = shared.cipher
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        # What `read` returns with a buffer is not what its stub says.
        self._tls: Any = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=not server_name,
            server_hostname=server_name or None,
        )
        self._rest = b""
        self.unsent: memoryview = memoryview(b"")
        self.closed = False
        self.bytes_in = 0
        self.bytes_out = 0
        # Last words reach the other end.
        fin_on_close(sock)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, _NOT_SENT_BYTES)

    def shake(self) -> bool:
        """Go on with the handshake; whether it is done. `push` is to be called.

        Raises:
            CertificateProblem: one end does not want the other.
        """
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        if self._tls.selected_alpn_protocol() != ALPN:
            raise CertificateProblem(f"the other end does not speak {ALPN}")
        return True

    def certificate(self) -> bytes:
        """The other end's, in DER.

        Raises:
            CertificateProblem: it has shown none.
        """
        der: bytes | None = self._tls.getpeercert(binary_form=True)
        if not der:
            raise CertificateProblem("the other end has shown no certificate")
        return der

    def write(self, data: bytearray | bytes | memoryview) -> None:
        """Encrypt; `push` is to be called."""
        self._tls.write(data)

    def push(self) -> int:
        """Send as much as the socket takes; how much is left.

        Raises:
            OSError: the connection is gone.
        """
        outgoing = self._outgoing
        while True:
            if not self.unsent:
                if not outgoing.pending:
                    return 0
                self.unsent = memoryview(outgoing.read(READ_BYTES))
            try:
                sent = self.sock.send(self.unsent)
            except BlockingIOError:
                sent = 0
            self.bytes_out += sent
            self.unsent = self.unsent[sent:]
            if self.unsent:
                return len(self.unsent) + outgoing.pending

    def receive(self) -> bool:
        """Read once; false at the end of the stream.

        Raises:
            BlockingIOError: there is nothing.
            OSError: the connection is gone.
        """
        count = self.sock.recv_into(self._cipher)
        self.bytes_in += count
        self._incoming.write(self._cipher[:count])
        return count > 0

    def decrypt(self, plain: memoryview) -> int:
        """Put what was kept, and behind it what has come, into ``plain``; how much it is.

        Raises:
            CertificateProblem: the other end did not want this one after all, or what has come is
                not TLS.
        """
        size = len(self._rest)
        if size:
            plain[:size] = self._rest
            self._rest = b""
        incoming = self._incoming
        tls = self._tls
        try:
            while True:
                count: int = tls.read(READ_BYTES, plain[size:])
                if not count:
                    self.closed = True
                    break
                size += count
                if not incoming.pending:
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.closed = True
        except ssl.SSLError as error:
            # In TLS 1.3 a client hears of its refusal by its first read (RFC 8446 section 4.4.2).
            problem = getattr(tls.context, "problem", None)
            words = str(problem(error)) if problem is not None else str(error.reason)
            raise CertificateProblem(words) from error
        return size

    def keep(self, rest: memoryview) -> None:
        """Keep what is left of ``plain`` for the next `decrypt`."""
        self._rest = bytes(rest)
