"""The enrolment server: nodes get the authority's certificate, and one of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Protocol

import trio

from edgemesh.bus.cloudhub.credentials import Credentials
from edgemesh.bus.cloudhub.handshake import shake_hands
from edgemesh.bus.cloudhub.refusals import Reason, Refusals
from edgemesh.bus.cloudhub.requests import (
    EndedEarly,
    receive_body,
    receive_head,
    request_reader,
    send_answer,
)
from edgemesh.bus.pki.enrolment import LARGEST_BODY, Answered, Asked, EnrolmentDesk
from edgemesh.bus.pki.problems import CertificateProblem
from edgemesh.model.bus_settings import CloudSettings
from edgemesh.observe.log import get_logger
from edgemesh.store.errors import StoreError
from edgemesh.wire.http1.heads import MalformedHead

_PLAIN = "text/plain"

_log = get_logger("cloudhub")


class TokenReviewer(Protocol):
    """Who knows ServiceAccounts' tokens."""

    async def review(self, token: str, node: str) -> str:
        """Why a node may not enrol with a token; "" when it may.

        Args:
            token: a JWT that this cloud has not signed.
            node: that wants to enrol.
        """
        ...


class EnrolmentServer:
    """Serves requests one by one; connections do not last.

    Args:
        settings: limits and times.
        credentials: of the cloud.
        refusals: where what is refused is counted.
    """

    def __init__(
        self, settings: CloudSettings, credentials: Credentials, refusals: Refusals
    ) -> None:
        self._settings = settings
        self._credentials = credentials
        self._refusals = refusals
        self._reader = request_reader()
        self._open = 0
        self._desk = EnrolmentDesk(
            credentials.authority, settings.node_certificate_seconds, self._spend
        )

    def review_with(self, reviewer: TokenReviewer) -> None:
        """Let somebody judge tokens that the cloud has not signed; until then they are refused."""

        def review(token: str, node: str) -> str:
            # Called by the desk, in its thread.
            return trio.from_thread.run(reviewer.review, token, node)

        self._desk = replace(self._desk, review=review)

    async def serve(
        self,
        listeners: Sequence[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled; closes the listeners and all connections."""
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self._serve, list(listeners))
            task_status.started()

    async def _serve(self, plain: trio.SocketStream) -> None:
        if self._open >= self._settings.max_handshakes:
            self._refusals.count(Reason.TOO_MANY, "enrolment")
            await trio.aclose_forcefully(plain)
            return
        self._open += 1
        try:
            with trio.move_on_after(self._settings.handshake_seconds) as patience:
                await self._talk(plain)
            if patience.cancelled_caught:
                self._refusals.count(Reason.HANDSHAKE_TIMEOUT, "enrolment")
        finally:
            self._open -= 1
            await trio.aclose_forcefully(plain)

    async def _talk(self, plain: trio.SocketStream) -> None:
        try:
            stream = await shake_hands(plain, self._credentials.enrolment_context())
            answered = await self._answer(stream)
            await send_answer(stream, answered.status, answered.content_type, answered.body)
            await stream.aclose()
        except CertificateProblem as problem:
            self._refusals.count(Reason.CERTIFICATE, "enrolment", str(problem))
        except (trio.BrokenResourceError, EndedEarly):
            # It went away by itself.
            return

    async def _answer(self, stream: trio.SSLStream[trio.SocketStream]) -> Answered:
        received = bytearray()
        try:
            head = await receive_head(stream, self._reader, received)
            body = await receive_body(stream, head, received, LARGEST_BODY)
        except MalformedHead as malformed:
            self._refusals.count(Reason.MALFORMED_REQUEST, "enrolment", malformed.reason)
            return Answered(malformed.status, _PLAIN, malformed.reason.encode())
        certificate = stream.getpeercert(binary_form=True)
        asked = Asked(head.method, head.path, head.values, body, certificate)
        try:
            answered = await trio.to_thread.run_sync(
                self._desk.answer, asked, self._credentials.revoked
            )
            if answered.node:
                await self._credentials.note_issued(answered.body, answered.node)
        except StoreError as error:
            _log.warning("enrolment cannot be recorded", problem=error.problem)
            return Answered(HTTPStatus.SERVICE_UNAVAILABLE, _PLAIN, b"try again later")
        if answered.status != HTTPStatus.OK:
            who = head.value("nodename") or "enrolment"
            problem = answered.body.decode(errors="replace")
            self._refusals.count(Reason.ENROLMENT, who[:253], problem)
        return answered

    def _spend(self, token: str, key: str, until: int) -> bool:
        """Called by the desk, in its thread."""
        return trio.from_thread.run(self._credentials.table.spend, token, key, until)
