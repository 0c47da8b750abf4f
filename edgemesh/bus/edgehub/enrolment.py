"""How a node gets its certificate: with a token first, with the present certificate later."""

from __future__ import annotations

from typing import NamedTuple

import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from edgemesh.bus.edgehub.address import CloudAddress
from edgemesh.bus.edgehub.dialling import Dialler, words_of
from edgemesh.bus.edgehub.problems import CloudProblemError
from edgemesh.bus.http.client import exchange
from edgemesh.bus.http.messages import HttpError, Request, whole_body
from edgemesh.bus.pki.contexts import Expected, MeshContext, client_context, enrolment_context
from edgemesh.bus.pki.enrolment import (
    CA_QUESTION,
    LARGEST_BODY,
    Question,
    certificate_question,
    read_authority,
    read_issued,
)
from edgemesh.bus.pki.identity import Identity, trusted_authorities
from edgemesh.bus.pki.problems import Clock, clock_now
from edgemesh.bus.pki.requests import NewRequest, make_request
from edgemesh.bus.pki.tokens import Token


class Issued(NamedTuple):
    """What makes an identity.

    Args:
        certificate: DER.
        key: PEM.
        authorities: that are trusted, DER.
    """

    certificate: bytes
    key: bytes
    authorities: list[bytes]


class _Answer(NamedTuple):
    status: int
    body: bytes


class EnrolmentClient:
    """Asks one cloud for certificates of one node.

    Args:
        node: this one.
        address: of the enrolment server.
        dialler: opens connections.
        seconds: that the cloud may take over an answer.
        clock: by which certificates are judged.
    """

    def __init__(
        self,
        node: str,
        address: CloudAddress,
        dialler: Dialler,
        seconds: float,
        clock: Clock = clock_now,
    ) -> None:
        self._node = node
        self._address = address
        self._dialler = dialler
        self._seconds = seconds
        self._clock = clock
        # Kept until there is an answer: a token is good for one key.
        self._first: NewRequest | None = None

    async def enrol(self, token: Token) -> Issued:
        """Get a first certificate. Only what the token vouches for is told who this node is.

        Raises:
            CloudProblemError: the cloud cannot be asked.
            CertificateProblem: it is another one, or it refused.
        """
        anyone = enrolment_context((), expected=Expected.ANYONE, clock=self._clock)
        authority = read_authority(token, *await self._ask(anyone, CA_QUESTION))
        context = enrolment_context([authority], clock=self._clock)
        self._first = self._first or make_request(self._node)
        issued = await self._request(context, [authority], self._first, token)
        self._first = None
        return issued

    async def renew(self, identity: Identity) -> Issued:
        """Get another certificate, with another key, on the word of the present one.

        Raises:
            CloudProblemError, CertificateProblem: as `enrol`; or the files cannot be used.
        """
        context = client_context(identity, clock=self._clock)
        new = make_request(self._node)
        return await self._request(context, trusted_authorities(identity), new, None)

    async def _request(
        self,
        context: MeshContext,
        authorities: list[x509.Certificate],
        new: NewRequest,
        token: Token | None,
    ) -> Issued:
        answer = await self._ask(context, certificate_question(self._node, new.request, token))
        certificate = read_issued(self._node, new, authorities[0], *answer, clock=self._clock)
        return Issued(
            certificate, new.key, [each.public_bytes(Encoding.DER) for each in authorities]
        )

    async def _ask(self, context: MeshContext, question: Question) -> _Answer:
        request = Request(
            "GET",
            question.path,
            (("Host", str(self._address)), *question.headers.items()),
            whole_body(question.body),
            len(question.body),
        )
        async with self._dialler.tls(self._address, context) as stream:
            try:
                with trio.fail_after(self._seconds):
                    return await _exchange(stream, request, self._seconds)
            except HttpError as error:
                otherwise = f"{self._address}: {error}"
                problem = words_of(error.__cause__ or error, context, otherwise)
                raise CloudProblemError(problem) from error
            except trio.TooSlowError:
                problem = f"{self._address} gives no answer within {self._seconds:g} s"
                raise CloudProblemError(problem) from None


async def _exchange(stream: trio.abc.Stream, request: Request, seconds: float) -> _Answer:
    async with exchange(stream, request, max_head_bytes=LARGEST_BODY, seconds=seconds) as response:
        body = b""
        async for part in response.body:
            body += part
            if len(body) > LARGEST_BODY:
                raise HttpError(f"the answer has more than {LARGEST_BODY} bytes")
        return _Answer(response.status, body)
