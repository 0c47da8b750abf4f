"""From the cloud's name to a stream of bytes that TLS protects."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import trio

from edgemesh.bus.edgehub.address import CloudAddress
from edgemesh.bus.edgehub.problems import CloudProblemError
from edgemesh.bus.pki.contexts import MeshContext
from edgemesh.kernel.sockets import dialling_socket


class Dialler:
    """Opens connections to one host.

    Args:
        mark: SO_MARK of our own sockets, 0 for none.
        seconds: for connecting and TLS together.
    """

    def __init__(self, mark: int, seconds: float) -> None:
        self._mark = mark
        self._seconds = seconds

    @asynccontextmanager
    async def tls(
        self, address: CloudAddress, context: MeshContext
    ) -> AsyncIterator[trio.SSLStream[trio.SocketStream]]:
        """A connection whose handshake is over, for the block; it is cut at the end of it.

        Raises:
            CloudProblemError: there is none to be had.
            CertificateProblem: one side refused the other.
        """
        try:
            with trio.fail_after(self._seconds):
                stream = await self._open(address, context)
        except trio.TooSlowError:
            raise CloudProblemError(
                f"{address} does not answer within {self._seconds:g} s"
            ) from None
        try:
            yield stream
        finally:
            await trio.aclose_forcefully(stream)

    async def _open(
        self, address: CloudAddress, context: MeshContext
    ) -> trio.SSLStream[trio.SocketStream]:
        plain = await self._connect(address)
        with ExitStack() as until_open:
            until_open.callback(plain.socket.close)
            # Peers leave without TLS's word for it; what they say tells its length otherwise.
            stream = trio.SSLStream(
                plain, context, server_hostname=address.host, https_compatible=True
            )
            try:
                await stream.do_handshake()
            except trio.BrokenResourceError as error:
                otherwise = f"{address} broke off the TLS handshake"
                raise CloudProblemError(words_of(error, context, otherwise)) from error
            until_open.pop_all()
        return stream

    async def _connect(self, address: CloudAddress) -> trio.SocketStream:
        try:
            found = await trio.socket.getaddrinfo(
                address.host, address.port, type=socket.SOCK_STREAM
            )
        except OSError as error:
            raise CloudProblemError(f"{address.host}: {error.strerror or error}") from error
        problem = f"{address} is silent"
        for _, _, _, _, where in found:
            # So that an address that is silent leaves time for the others.
            with trio.move_on_after(self._seconds / len(found)):
                try:
                    return await self._reach(str(where[0]), int(where[1]))
                except OSError as error:
                    problem = f"{address} cannot be reached: {_words(error)}"
        raise CloudProblemError(problem)

    async def _reach(self, address: str, port: int) -> trio.SocketStream:
        sock = trio.socket.from_stdlib_socket(
            dialling_socket(address, socket.SOCK_STREAM, self._mark)
        )
        with ExitStack() as until_connected:
            until_connected.callback(sock.close)
            await sock.connect((address, port))
            until_connected.pop_all()
        return trio.SocketStream(sock)


def words_of(error: BaseException, context: MeshContext, otherwise: str) -> str:
    """What ended a TLS connection.

    Args:
        error: that trio raised.
        context: of the connection.
        otherwise: what to say when TLS says nothing.
    """
    cause = error.__cause__
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
        return str(context.problem(cause))
    while cause is not None:
        if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError):
            return f"{otherwise}: {_words(cause)}"
        cause = cause.__cause__
    return otherwise


def _words(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
