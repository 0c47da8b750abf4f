"""A CA, nodes and clouds made by bus/pki itself, and handshakes between two ends in memory."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edgemesh.bus.pki.authority import Authority, AuthorityState
from edgemesh.bus.pki.contexts import MeshContext
from edgemesh.bus.pki.identity import Identity, own_certificate, write_identity
from edgemesh.bus.pki.requests import NewRequest, key_pem, make_request

HOUR = 3600.0
DAY = timedelta(days=1)


def an_authority(ago: timedelta = timedelta()) -> Authority:
    """A CA, which was made some time ago and whose clock has stood still since."""
    then = datetime.now(UTC) - ago
    return Authority(AuthorityState.create(lambda: then), lambda: then)


def a_node(
    authority: Authority,
    folder: Path,
    node: str = "node-a",
    *,
    seconds: float = HOUR,
    kubeedge: bool = False,
) -> Identity:
    new = kubeedge_request(node) if kubeedge else make_request(node)
    identity = Identity.within(folder / node, node)
    certificate = authority.issue_node(new.request, node, seconds)
    write_identity(identity, certificate, new.key, [authority.der])
    return identity


def a_cloud(
    authority: Authority,
    folder: Path,
    names: Sequence[str] = ("localhost", "127.0.0.1"),
    *,
    seconds: float = HOUR,
) -> Identity:
    issued = authority.issue_server("cloud-1", names, seconds)
    identity = Identity.within(folder / "cloud-1", "cloud-1")
    write_identity(identity, issued.certificate, issued.key, [authority.der])
    return identity


def trusting(identity: Identity, *authorities: Authority) -> Identity:
    """The same certificate, but other CAs are trusted."""
    bundle = identity.bundle.with_name("other-bundle.pem")
    bundle.write_text(
        "".join(
            each.certificate.public_bytes(serialization.Encoding.PEM).decode()
            for each in authorities
        )
    )
    return Identity(identity.node, identity.certificate, identity.key, bundle)


def kubeedge_request(node: str, *, organisation: str = "system:nodes") -> NewRequest:
    """A request as EdgeCore writes it: the subject, and no extension."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{node}"),
        ]
    )
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    der = request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    return NewRequest(key_pem(key), der)


def der_of(identity: Identity) -> bytes:
    return own_certificate(identity).public_bytes(serialization.Encoding.DER)


def same_authority(authority: Authority, start: datetime, end: datetime) -> x509.Certificate:
    """The CA's name and key, but valid at other times."""
    certificate = authority.certificate
    return (
        x509.CertificateBuilder(certificate.issuer, certificate.subject, certificate.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority._key, hashes.SHA256())
    )


def issue_with(authority: Authority, extension: x509.ExtensionType, *, critical: bool) -> bytes:
    """A certificate of this CA with one extension, for trying what no CA of ours issues."""
    now = datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "odd")])
    certificate = (
        x509.CertificateBuilder(authority.certificate.subject, name, key.public_key())
        .serial_number(2)
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(extension, critical=critical)
        .sign(authority._key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.DER)


class Ends:
    """A client and a server joined by memory."""

    def __init__(
        self, client: ssl.SSLContext, server: ssl.SSLContext, name: str | None = "localhost"
    ) -> None:
        self._to_server, self._to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(self._to_client, self._to_server, server_hostname=name)
        self.server = server.wrap_bio(self._to_server, self._to_client, server_side=True)

    def shake_hands(self) -> None:
        """Both handshakes to their ends; what either raises is raised here."""
        unfinished = [self.client, self.server]
        while unfinished:
            for end in list(unfinished):
                try:
                    end.do_handshake()
                except ssl.SSLWantReadError:
                    continue
                unfinished.remove(end)

    def first_read(self, context: MeshContext) -> bytes:
        """What the client reads first, or the words for why it cannot."""
        try:
            return self.client.read(1)
        except ssl.SSLError as error:
            raise context.problem(error) from error

    def shown_to_server(self) -> list[bytes]:
        """All certificates that the client sent."""
        return list(map(bytes, map(_der, self.server._sslobj.get_unverified_chain())))  # type: ignore[attr-defined]


def _der(certificate: object) -> bytes:
    # ssl has no public name for the form before Python 3.13: 1 is PEM, 2 is DER.
    return certificate.public_bytes(2)  # type: ignore[attr-defined, no-any-return]
