"""Enrolment over HTTPS, both halves, as KubeEdge does it; no bytes are moved here.

``GET /ca.crt`` gives the CA to anybody. ``GET /edge.crt`` with a request for a certificate in
its body gives the certificate, to who has a token or a present certificate of the same node.
Statuses and texts are those that CloudCore (KubeEdge v1.23) was seen to answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import NamedTuple

from cryptography import x509

from edgemesh.bus.pki.authority import Authority, Spend
from edgemesh.bus.pki.checks import (
    CLIENT,
    Revoked,
    check_certificate,
    check_node,
    check_not_revoked,
    node_of,
    read_certificate,
)
from edgemesh.bus.pki.identity import key_hash, same_key
from edgemesh.bus.pki.problems import CertificateProblem, Clock, clock_now, name_of
from edgemesh.bus.pki.requests import NewRequest, check_node_name, read_request
from edgemesh.bus.pki.tokens import Token, authority_hash, is_ours

# A request for an RSA key of 4096 bits has less than a tenth of it.
LARGEST_BODY = 16 * 1024

_CA_PATH = "/ca.crt"
_CERTIFICATE_PATH = "/edge.crt"
_BEARER = "Bearer "


# Says why a node may not enrol with a token that somebody else has signed, "" when it may.
Review = Callable[[str, str], str]


class Asked(NamedTuple):
    """A request to the enrolment server.

    Args:
        method, path: of its first line; the path without a query.
        headers: names in lower case.
        body: at most LARGEST_BODY bytes.
        certificate: that the client showed, DER, None without one.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    certificate: bytes | None


class Answered(NamedTuple):
    """Its answer.

    Args:
        status: of HTTP.
        content_type, body: of its content.
        node: that got a certificate, "" for every other answer.
    """

    status: int
    content_type: str
    body: bytes
    node: str = ""


@dataclass(frozen=True, slots=True)
class EnrolmentDesk:
    """The cloud's half.

    Args:
        authority: that issues.
        seconds: how long certificates of nodes are valid.
        spend: remembers tokens that are good for one use; it may wait for the store.
        review: of ServiceAccounts' tokens; it may wait for the API server. None without one.
    """

    authority: Authority
    seconds: float
    spend: Spend
    review: Review | None = None

    def answer(self, asked: Asked, revoked: Revoked) -> Answered:
        """Answer one request. It signs and may wait for the store: call it in a thread.

        Args:
            asked: the request.
            revoked: as of now.
        """
        if asked.path not in {_CA_PATH, _CERTIFICATE_PATH}:
            return _text(HTTPStatus.NOT_FOUND, "404: Page Not Found")
        if asked.method != "GET":
            return _text(HTTPStatus.METHOD_NOT_ALLOWED, "405: Method Not Allowed")
        if asked.path == _CA_PATH:
            return _binary(self.authority.der)
        return self._certificate(asked, revoked)

    def _certificate(self, asked: Asked, revoked: Revoked) -> Answered:
        node = asked.headers.get("nodename", "")
        if asked.certificate is not None:
            try:
                self._check_present(asked.certificate, node, revoked)
            except CertificateProblem as problem:
                return _text(
                    HTTPStatus.UNAUTHORIZED,
                    f"failed to verify the certificate for edgenode: {node}, err: {problem}",
                )
            return self._issue(asked.body, node or node_of(asked.certificate), revoked)
        jwt = asked.headers.get("authorization", "").removeprefix(_BEARER).strip()
        if not jwt:
            return _text(HTTPStatus.UNAUTHORIZED, "token validation failure, token is empty")
        try:
            # Without the header CloudCore takes the node from the request.
            node = node or read_request(asked.body).node
        except CertificateProblem as problem:
            return _failed(node, problem)
        if self.review is not None and not is_ours(jwt):
            refusal = self.review(jwt, node)
            if refusal:
                return _invalid(refusal)
            return self._issue(asked.body, node, revoked)
        try:
            claims = self.authority.check_token(jwt, node)
        except CertificateProblem as problem:
            return _invalid(problem)
        return self._issue(asked.body, node, revoked, claims.jti, claims.exp)

    def _check_present(self, certificate: bytes, node: str, revoked: Revoked) -> None:
        anchors = [self.authority.certificate]
        checked = check_certificate(certificate, anchors, CLIENT, self.authority.now())
        check_node(checked, node or node_of(certificate))
        check_not_revoked(certificate, revoked)

    def _issue(
        self, request: bytes, node: str, revoked: Revoked, token: str = "", until: int = 0
    ) -> Answered:
        if node in revoked.nodes:
            return _failed(node, CertificateProblem(f"node {node} is revoked"))
        try:
            check_node_name(node)
            issued = self.authority.issue_node(request, node, self.seconds)
        except CertificateProblem as problem:
            return _failed(node, problem)
        # Last, so that a request that failed does not cost a token; an answer that was lost does
        # not either: who asks again with the same key has what it proves that it is.
        if token and not self.spend(token, key_hash(issued), until):
            return _invalid("token is good for one use, and was used")
        return _binary(issued, node)


@dataclass(frozen=True, slots=True)
class Question:
    """What a node sends to the enrolment server.

    Args:
        path: the method is GET.
        headers: besides those of every request.
        body: may be empty.
    """

    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


CA_QUESTION = Question(_CA_PATH)


def read_authority(token: Token, status: int, body: bytes) -> x509.Certificate:
    """Read the answer to CA_QUESTION, which came by TLS that proved nothing.

    Raises:
        CertificateProblem: it is not the CA that the token names.
    """
    if status != HTTPStatus.OK:
        raise CertificateProblem(f"the cloud did not give its CA: {_words(status, body)}")
    if authority_hash(body) != token.authority:
        raise CertificateProblem(
            "the cloud's CA is not the one that the token names: this is another cloud, or the "
            "token is of a CA that was replaced since"
        )
    return read_certificate(body)


def certificate_question(node: str, request: bytes, token: Token | None = None) -> Question:
    """Ask for a certificate: with the token, or on a connection with the present certificate.

    Args:
        node: this one.
        request: DER.
        token: None for a renewal.
    """
    headers = {"NodeName": node}
    if token is not None:
        headers["Authorization"] = _BEARER + token.jwt
    return Question(_CERTIFICATE_PATH, headers, request)


def read_issued(
    node: str,
    new: NewRequest,
    authority: x509.Certificate,
    status: int,
    body: bytes,
    *,
    clock: Clock = clock_now,
) -> bytes:
    """Read the answer to ``certificate_question``: the certificate in DER.

    Raises:
        CertificateProblem: the cloud refused, or what it sent is not the node's certificate.
    """
    if status != HTTPStatus.OK:
        raise CertificateProblem(
            f"the cloud refused a certificate for node {node}: {_words(status, body)}"
        )
    certificate = check_certificate(body, [authority], CLIENT, clock())
    check_node(certificate, node)
    if not same_key(certificate, new.key):
        raise CertificateProblem(f"{name_of(certificate)} is for another key than was asked")
    return body


def _words(status: int, body: bytes) -> str:
    text = body[:300].decode("utf-8", "replace")
    return f"HTTP {status}, {text!r}"


def _invalid(problem: object) -> Answered:
    return _text(HTTPStatus.UNAUTHORIZED, f"token validation failure, err: {problem}")


def _failed(node: str, problem: CertificateProblem) -> Answered:
    return _text(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        f"failed to sign certs for edgenode {node}, err: {problem}",
    )


def _text(status: HTTPStatus, words: str) -> Answered:
    return Answered(status, "text/plain", words.encode())


def _binary(der: bytes, node: str = "") -> Answered:
    return Answered(HTTPStatus.OK, "application/octet-stream", der, node)
