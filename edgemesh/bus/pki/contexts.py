"""TLS of the bus: contexts that show our certificate alone and check the peer's by name.

Two things are done differently than ``ssl`` would by itself, for one reason. CloudCore refuses
clients that send more than their own certificate ("intermediate certificates are not
supported"), and OpenSSL adds the CA to what it sends as soon as the CA is in the context's own
store; ``ssl`` has no switch for that. So a client's context has no store: its handshake ends
with a check of the server's certificate by ``checks``, before anything was sent under it and
before the caller hears of the connection. TLS 1.3 has then not even shown the server who we are.
A server's context has a store, as OpenSSL asks for a client's certificate only with one.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, NoReturn

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from edgemesh.bus.pki.checks import SERVER, check_certificate, check_names, check_node
from edgemesh.bus.pki.identity import Identity, own_certificate, trusted_authorities
from edgemesh.bus.pki.problems import CertificateProblem, Clock, clock_now, handshake_problem


class Expected(Enum):
    """What ``server_hostname`` of a connection says about the server."""

    HOST = "host"  # its certificate is for this DNS name or address
    NODE = "node"  # it is this node
    ANYONE = "anyone"  # nothing is known about it yet: only for fetching the CA


class CheckedSession(ssl.SSLObject):
    """One TLS connection whose handshake is over only when the peer's certificate was checked."""

    def do_handshake(self) -> None:
        """Go on with the handshake.

        Raises:
            ssl.SSLWantReadError, ssl.SSLWantWriteError: as always.
            CertificateProblem: one of the two sides refused the other's certificate.
        """
        context = self.context
        assert isinstance(context, MeshContext)
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            raise context.problem(error) from error
        if not self.server_side:
            context.check_server(self.getpeercert(binary_form=True), self.server_hostname)


class MeshContext(ssl.SSLContext):
    """A context of the bus; made by ``client_context`` and ``server_context`` only."""

    sslobject_class = CheckedSession
    anchors: Sequence[x509.Certificate] = ()
    own: x509.Certificate | None = None
    expected = Expected.HOST
    clock: Clock = staticmethod(clock_now)

    def wrap_socket(self, *_: Any, **__: Any) -> NoReturn:
        """Not supported: the check of the peer is in ``wrap_bio``'s objects."""
        raise TypeError("TLS of the bus runs over wrap_bio only")

    def problem(self, error: ssl.SSLError) -> CertificateProblem:
        """Tell what OpenSSL says of a handshake or of a first read, for an operator."""
        return handshake_problem(error, self.own, self.clock())

    def check_server(self, der: bytes | None, name: str | None) -> None:
        """Check the certificate that a server showed.

        Raises:
            CertificateProblem: it is not the expected one.
        """
        if self.expected is Expected.ANYONE:
            return
        if not der or not name:
            raise CertificateProblem("the server showed no certificate, or has no name to check")
        certificate = check_certificate(der, self.anchors, SERVER, self.clock())
        if self.expected is Expected.NODE:
            check_node(certificate, name)
        else:
            check_names(certificate, name)


def client_context(
    identity: Identity,
    alpn: Sequence[str] = (),
    *,
    expected: Expected = Expected.HOST,
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    clock: Clock = clock_now,
) -> MeshContext:
    """TLS of a client with a certificate.

    The caller passes ``server_hostname`` to ``wrap_bio`` (or ``trio.SSLStream``): the host that it
    dials or, for Expected.NODE, the name of the node.

    Args:
        identity: whose files are read now; a new context is needed for a new certificate.
        alpn: protocols that are offered.
        expected: what server_hostname says.
        minimum: links ask for TLS 1.3; CloudCore may have 1.2 only.
        clock: by which certificates are judged.

    Raises:
        CertificateProblem: the files cannot be used.
    """
    context = enrolment_context(trusted_authorities(identity), clock=clock, expected=expected)
    context.minimum_version = minimum
    _show(context, identity)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def enrolment_context(
    anchors: Iterable[x509.Certificate],
    *,
    expected: Expected = Expected.HOST,
    clock: Clock = clock_now,
) -> MeshContext:
    """TLS of a client that has no certificate yet.

    Args:
        anchors: trusted CAs; none together with Expected.ANYONE, to fetch the CA itself.
        expected: what server_hostname says.
        clock: by which the server's certificate is judged.
    """
    context = MeshContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # CheckedSession does it; see above
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.anchors = tuple(anchors)
    context.options |= ssl.OP_NO_RENEGOTIATION  # the certificate was checked once
    context.expected = expected
    context.clock = clock
    return context


def server_context(
    identity: Identity,
    alpn: Sequence[str] = (),
    *,
    require_client: bool = True,
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    clock: Clock = clock_now,
) -> MeshContext:
    """TLS of a server that knows its clients by their certificates.

    Who the client is and whether it was revoked, the caller asks after the handshake:
    ``checks.node_of`` and ``checks.check_not_revoked`` of ``getpeercert(binary_form=True)``.
    In TLS 1.3 a client learns of its refusal by its first read; ``MeshContext.problem`` has the
    words for it.

    Args:
        identity: whose files are read now.
        alpn: protocols that are taken, best first.
        require_client: whether a client without a certificate is refused.
        minimum: links ask for TLS 1.3.
        clock: what is said of refused certificates.

    Raises:
        CertificateProblem: the files cannot be used.
    """
    context = MeshContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = minimum
    context.clock = clock
    context.verify_mode = ssl.CERT_REQUIRED if require_client else ssl.CERT_OPTIONAL
    authorities = trusted_authorities(identity)
    context.load_verify_locations(
        cadata="".join(each.public_bytes(Encoding.PEM).decode() for each in authorities)
    )
    # A resumed session would not look at the certificate again.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    _show(context, identity)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def _show(context: MeshContext, identity: Identity) -> None:
    context.own = own_certificate(identity)
    context.load_cert_chain(identity.certificate, identity.key)
