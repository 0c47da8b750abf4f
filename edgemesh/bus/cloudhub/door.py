"""The hub's port: who comes, by which protocol, with which certificate, and may they come in."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import NamedTuple

import trio

from edgemesh.bus.cloudhub.handshake import shake_hands
from edgemesh.bus.cloudhub.hello import peek_client_hello
from edgemesh.bus.cloudhub.refusals import Reason, Refusals
from edgemesh.bus.cloudhub.requests import EndedEarly, receive_head, request_reader, send_answer
from edgemesh.bus.cloudhub.upgrade import Caller, UpgradeRefused, read_upgrade
from edgemesh.bus.pki.checks import Revoked, check_not_revoked, node_of
from edgemesh.bus.pki.problems import CertificateProblem
from edgemesh.model.bus_settings import CloudSettings
from edgemesh.wire.client_hello import NotClientHello
from edgemesh.wire.host_port import joined
from edgemesh.wire.http1.heads import MalformedHead

LINK_PROTOCOL = "edgemesh-link/1"


class Admission(NamedTuple):
    """A node that may come in.

    Args:
        caller: who it is.
        stream: TLS; the request for the upgrade has been read.
        head: that request.
        ahead: what came behind it.
    """

    caller: Caller
    stream: trio.SSLStream[trio.SocketStream]
    head: bytes
    ahead: bytes


class Door:
    """Takes connections on the hub's port.

    Args:
        settings: limits and times.
        context: makes TLS of the certificate in force.
        revoked: who is shut out now.
        receive: serves an admission to its end.
        refusals: where what is refused is counted.

    Attributes:
        adopt: takes the accepted socket of a link, whose ClientHello is still to be read, and
            owns it; None while links are not served.
    """

    def __init__(
        self,
        settings: CloudSettings,
        context: Callable[[], ssl.SSLContext],
        revoked: Callable[[], Revoked],
        receive: Callable[[Admission], Awaitable[None]],
        refusals: Refusals,
    ) -> None:
        self._settings = settings
        self._context = context
        self._revoked = revoked
        self._receive = receive
        self._refusals = refusals
        self._reader = request_reader()
        self._arriving = 0
        self.adopt: Callable[[socket.socket], None] | None = None

    async def serve(
        self,
        listeners: Sequence[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Take connections until cancelled.

        Ownership: closes the listeners and, but for those of links, all connections.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self._serve, list(listeners))
            task_status.started()

    async def _serve(self, stream: trio.SocketStream) -> None:
        try:
            admission = await self._await_admission(stream)
            if admission is not None:
                await self._receive(admission)
        finally:
            await trio.aclose_forcefully(stream)

    async def _await_admission(self, stream: trio.SocketStream) -> Admission | None:
        address = _peer_of(stream.socket)
        if self._arriving >= self._settings.max_handshakes:
            self._refusals.count(Reason.TOO_MANY, address)
            return None
        self._arriving += 1
        try:
            with trio.fail_after(self._settings.handshake_seconds):
                return await self._arrive(stream, address)
        except trio.TooSlowError:
            self._refusals.count(Reason.HANDSHAKE_TIMEOUT, address)
        except (trio.BrokenResourceError, EndedEarly, OSError):
            # It went away by itself; that is its right.
            pass
        finally:
            self._arriving -= 1
        return None

    async def _arrive(self, plain: trio.SocketStream, address: str) -> Admission | None:
        try:
            hello = await peek_client_hello(plain.socket)
        except NotClientHello:
            self._refusals.count(Reason.NO_TLS, address)
            return None
        if LINK_PROTOCOL in hello.alpn:
            self._hand_over(plain, address)
            return None
        try:
            stream = await shake_hands(plain, self._context())
            certificate = stream.getpeercert(binary_form=True)
            assert certificate is not None, "the context requires one"
            node = node_of(certificate)
        except CertificateProblem as problem:
            self._refusals.count(Reason.CERTIFICATE, address, str(problem))
            return None
        try:
            return await self._read_upgrade(stream, certificate, node, address)
        except UpgradeRefused as refused:
            self._refusals.count(refused.reason, node, str(refused))
            await send_answer(stream, refused.status, "text/plain", str(refused).encode())
        return None

    async def _read_upgrade(
        self,
        stream: trio.SSLStream[trio.SocketStream],
        certificate: bytes,
        node: str,
        address: str,
    ) -> Admission:
        received = bytearray()
        try:
            head = await receive_head(stream, self._reader, received)
        except MalformedHead as malformed:
            raise UpgradeRefused(
                Reason.MALFORMED_UPGRADE, HTTPStatus(malformed.status), malformed.reason
            ) from malformed
        try:
            check_not_revoked(certificate, self._revoked())
        except CertificateProblem as problem:
            raise UpgradeRefused(Reason.REVOKED, HTTPStatus.FORBIDDEN, str(problem)) from problem
        caller = read_upgrade(head, certificate, node, address)
        return Admission(caller, stream, head.raw, bytes(received[head.size :]))

    def _hand_over(self, stream: trio.SocketStream, address: str) -> None:
        if self.adopt is None:
            self._refusals.count(Reason.NO_LINKS, address)
            return
        self.adopt(socket.socket(fileno=stream.socket.detach()))


def _peer_of(sock: trio.socket.SocketType) -> str:
    try:
        host, port, *_ = sock.getpeername()
    except OSError:
        # It was reset between connect and accept.
        return "unknown"
    return joined(host, port)
