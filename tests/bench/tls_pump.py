"""One end of a plain TLS 1.3 tunnel, as quick as Python's ssl gets: big reads, ``sendall``.

``python tls_pump.py near|far PEM [ADDRESS PORT TO_ADDRESS TO_PORT]...`` takes connections and makes
one for each: the near end dials TLS, the far end is dialled by TLS. Says ``listening``, and goes on
until a signal ends it. A thread for each connection; it ends when either side has ended. Bytes are
encrypted and decrypted in memory (``ssl.MemoryBIO``): an ``SSLSocket`` makes two system calls for
each record of 16 KiB.
"""

from __future__ import annotations

import select
import socket
import ssl
import sys
from contextlib import closing, suppress
from threading import Thread
from typing import NoReturn

_READ_BYTES = 256 * 1024
_BACKLOG = 128
_Address = tuple[str, int]


class Tls:
    """A TLS connection over a blocking socket."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, *, dialled: bool) -> None:
        self._sock = sock
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=not dialled)
        self._cipher = memoryview(bytearray(_READ_BYTES))

    def shake(self) -> None:
        """Make the handshake."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._push()
                self._read()
            else:
                self._push()
                return

    def send(self, data: memoryview) -> None:
        """Send all of it."""
        self._tls.write(data)
        self._push()

    def receive(self, into: memoryview) -> int:
        """Put what one read of the socket brings ``into`` a buffer with room for it.

        Returns:
            How much it is, 0 when no record is complete.

        Raises:
            EOFError: the other side has ended.
        """
        if not self._read():
            raise EOFError
        return self.decrypt(into)

    def decrypt(self, into: memoryview) -> int:
        """The same for what was read already, as behind the end of the handshake."""
        size = 0
        try:
            while True:
                size += int(self._tls.read(_READ_BYTES, into[size:]))
        except ssl.SSLWantReadError:
            return size

    def _read(self) -> int:
        count = self._sock.recv_into(self._cipher)
        self._incoming.write(self._cipher[:count])
        return count

    def _push(self) -> None:
        data = self._outgoing.read()
        if data:
            self._sock.sendall(data)


class End:
    """One end of the tunnel.

    Args:
        dials: whether it is the near end.
        pem: a file with the far end's certificate and its key.
    """

    def __init__(self, pem: str, *, dials: bool) -> None:
        self._dials = dials
        side = ssl.PROTOCOL_TLS_CLIENT if dials else ssl.PROTOCOL_TLS_SERVER
        self._context = ssl.SSLContext(side)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        if dials:
            # Who the other end is, is not what is measured.
            self._context.check_hostname = False
            self._context.verify_mode = ssl.CERT_NONE
        else:
            self._context.load_cert_chain(pem)

    def listen(self, address: _Address, to: _Address) -> None:
        """Take connections at an address until the process ends, and make one for each."""
        listener = socket.create_server(address, backlog=_BACKLOG)
        Thread(target=self._accept, args=(listener, to), daemon=True).start()

    def _accept(self, listener: socket.socket, to: _Address) -> None:
        while True:
            taken, _ = listener.accept()
            Thread(target=self._carry, args=(taken, to), daemon=True).start()

    def _carry(self, taken: socket.socket, to: _Address) -> None:
        with (
            closing(taken),
            suppress(OSError, EOFError),
            closing(socket.create_connection(to)) as made,
        ):
            for sock in (taken, made):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain, secured = (taken, made) if self._dials else (made, taken)
            tls = Tls(secured, self._context, dialled=self._dials)
            tls.shake()
            _pump(plain, secured, tls)


def _pump(plain: socket.socket, secured: socket.socket, tls: Tls) -> NoReturn:
    """Carry bytes both ways.

    Raises:
        EOFError: one side has ended.
    """
    # What was read at once, and a record that came in two reads.
    buffer = memoryview(bytearray(2 * _READ_BYTES))
    poller = select.poll()
    poller.register(plain, select.POLLIN)
    poller.register(secured, select.POLLIN)
    plain.sendall(buffer[: tls.decrypt(buffer)])
    while True:
        for fd, _ in poller.poll():
            if fd == secured.fileno():
                plain.sendall(buffer[: tls.receive(buffer)])
            elif size := plain.recv_into(buffer[:_READ_BYTES]):
                tls.send(buffer[:size])
            else:
                raise EOFError


def main(side: str, pem: str, *words: str) -> NoReturn:
    """Serve until a signal ends the process."""
    end = End(pem, dials=side == "near")
    for index in range(0, len(words), 4):
        host, port, to_host, to_port = words[index : index + 4]
        end.listen((host, int(port)), (to_host, int(to_port)))
    print("listening", flush=True)
    while True:
        select.select([], [], [])


if __name__ == "__main__":
    main(*sys.argv[1:])
