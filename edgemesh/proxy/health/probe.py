"""One probe of one endpoint, from its socket to what it found."""

from __future__ import annotations

import os
import socket
from dataclasses import replace

import trio

from edgemesh.kernel.sockets import Address, dialling_socket, fin_on_close
from edgemesh.model.policies import HealthCheck, ProbeKind
from edgemesh.model.services import Endpoint
from edgemesh.model.settings import Http2Settings, HttpSettings
from edgemesh.proxy.health.exchanges import ask_grpc, ask_http
from edgemesh.wire.grpc_health import HealthCall
from edgemesh.wire.host_port import joined
from edgemesh.wire.http1.reader import HeadReader

# Answers to probes hardly repeat: they have a date.
_HEADS_REMEMBERED = 2


class Prober:
    """Asks endpoints by sockets that our own rules let pass."""

    def __init__(self, mark: int, http: HttpSettings, http2: Http2Settings) -> None:
        """Keep what all probes share.

        Args:
            mark: SO_MARK of our own sockets, 0 for none.
            http: limits of answers.
            http2: those of gRPC.
        """
        self._mark = mark
        self._http = http
        self._http2 = http2
        self._heads = HeadReader(replace(http, head_cache_entries=_HEADS_REMEMBERED))

    async def ask(self, check: HealthCheck, endpoint: Endpoint) -> str | None:
        """Probe an endpoint once.

        Returns:
            What is wrong with it, "" when nothing is; None when we had no socket to ask with,
            which tells nothing about the endpoint.

        Ownership: the socket is closed at the end, also when cancelled.
        """
        address = (endpoint.address, check.port or endpoint.port)
        try:
            sock = dialling_socket(endpoint.address, socket.SOCK_STREAM, self._mark)
        except OSError:
            return None
        fin_on_close(sock)
        with trio.socket.from_stdlib_socket(sock) as connection:
            with trio.move_on_after(check.timeout_seconds):
                return await self._ask(connection, check, address)
            return f"no answer within {check.timeout_seconds:g} s"

    async def _ask(
        self, connection: trio.socket.SocketType, check: HealthCheck, address: Address
    ) -> str:
        try:
            await connection.connect(address)
            return await self._talk(trio.SocketStream(connection), check, joined(*address))
        except OSError as error:
            return os.strerror(error.errno) if error.errno else str(error)
        except trio.BrokenResourceError:
            return "the connection was broken off"

    async def _talk(self, stream: trio.SocketStream, check: HealthCheck, authority: str) -> str:
        if check.kind is ProbeKind.HTTP:
            return await ask_http(stream, check, authority, self._heads)
        if check.kind is ProbeKind.GRPC:
            call = HealthCall(check.service, authority, self._http, self._http2)
            return await ask_grpc(stream, call)
        return ""
