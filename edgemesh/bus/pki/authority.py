"""The cloud's CA: certificates of nodes and of the cloud's servers, and tokens.

All of it is one value, ``AuthorityState``, which the cloud's store keeps: replicas that share
the store share the CA.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edgemesh.bus.pki.checks import CLIENT, SERVER
from edgemesh.bus.pki.problems import CertificateProblem, Clock, clock_now
from edgemesh.bus.pki.requests import (
    PublicKey,
    key_pem,
    node_subject,
    node_uri,
    read_request,
)
from edgemesh.bus.pki.tokens import Claims, Token, authority_hash, check_jwt, sign_claims

CLOUD_PREFIX = "system:cloud:"
CLOUD_URI = "spiffe://edgemesh/cloud/"

# Clocks at the edge are off by some; a certificate that is not valid yet is refused by its holder.
_BACKDATING = timedelta(minutes=5)
_AUTHORITY_LIFE = timedelta(days=36500)

# Says whether a token of this id is used for the first time, or again for the same key (by its
# hash), and remembers that it was, until the given second since 1970.
Spend = Callable[[str, str, int], bool]


@dataclass(frozen=True, slots=True)
class AuthorityState:
    """What makes a CA the one it is. Secret, but for the certificate.

    Args:
        certificate: PEM.
        key: PEM, PKCS #8.
        token_secret: hexadecimal, signs tokens.
    """

    certificate: str
    key: str = field(repr=False)
    token_secret: str = field(repr=False)

    @classmethod
    def create(cls, clock: Clock = clock_now) -> AuthorityState:
        """Make a new CA: ECDSA P-256 and 100 years, as KubeEdge's."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "edgemesh")])
        start = clock() - _BACKDATING
        certificate = (
            _builder(name, name, key.public_key(), start, start + _AUTHORITY_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        return cls(
            certificate.public_bytes(serialization.Encoding.PEM).decode(),
            key_pem(key).decode(),
            secrets.token_hex(32),
        )


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """A certificate and its key, just made: DER and PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


class Authority:
    """A CA at work.

    Args:
        state: from the store.
        clock: what is issued is valid from now on.

    Raises:
        CertificateProblem: the state is damaged.
    """

    def __init__(self, state: AuthorityState, clock: Clock = clock_now) -> None:
        try:
            key = serialization.load_pem_private_key(state.key.encode(), password=None)
            self.certificate = x509.load_pem_x509_certificate(state.certificate.encode())
            self._secret = bytes.fromhex(state.token_secret)
        except (ValueError, TypeError) as error:
            raise CertificateProblem(f"the stored CA cannot be read: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise CertificateProblem("the stored CA's key is not one of an elliptic curve")
        if key.public_key() != self.certificate.public_key():
            raise CertificateProblem("the stored CA's key is not the one of its certificate")
        self._key = key
        self._clock = clock

    @property
    def der(self) -> bytes:
        """The CA's certificate, as ``GET /ca.crt`` answers it."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def issue_node(self, request: bytes, node: str, seconds: float) -> bytes:
        """Issue the certificate that a node asks for.

        KubeEdge's nodes get what CloudCore would give them. Those of edgemesh take links of
        other nodes too, so theirs are for servers as well and name the node by URI.

        Args:
            request: DER, PKCS #10.
            node: that asks, by its token or its present certificate.
            seconds: how long it is to be valid.

        Raises:
            CertificateProblem: the request is none, or is for another node.
        """
        asked = read_request(request)
        if asked.node != node:
            raise CertificateProblem(f"node {node} asks for a certificate of node {asked.node}")
        names = [node_uri(node)] if asked.edgemesh else []
        usages = [CLIENT, SERVER] if asked.edgemesh else [CLIENT]
        return self._issue(node_subject(node), asked.key, names, usages, seconds)

    def issue_server(self, cloud: str, names: Sequence[str], seconds: float) -> ServerCertificate:
        """Issue a certificate of the cloud; replicas dial each other, so it is for clients too.

        Args:
            cloud: name of the replica.
            names: DNS names and addresses that nodes and replicas dial.
            seconds: how long it is to be valid.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "edgemesh"),
                x509.NameAttribute(NameOID.COMMON_NAME, CLOUD_PREFIX + cloud),
            ]
        )
        alternatives = [_host(name) for name in names]
        alternatives.append(x509.UniformResourceIdentifier(CLOUD_URI + cloud))
        issued = self._issue(subject, key.public_key(), alternatives, [SERVER, CLIENT], seconds)
        return ServerCertificate(issued, key_pem(key))

    def make_token(self, seconds: float, node: str = "", *, once: bool = False) -> str:
        """Make a token to enrol with.

        Args:
            seconds: how long it is good.
            node: that alone may use it, "" for any.
            once: whether it is good for one certificate only.
        """
        claims = Claims(
            exp=int(self._clock().timestamp() + seconds),
            node=node,
            jti=secrets.token_urlsafe(16) if once else "",
        )
        return str(Token(authority_hash(self.der), sign_claims(claims, self._secret)))

    def check_token(self, jwt: str, node: str) -> Claims:
        """Check that a node may enrol with a JWT; whether it was spent, the store knows.

        Raises:
            CertificateProblem: it may not.
        """
        claims = check_jwt(jwt, self._secret, self._clock())
        if claims.node not in {"", node}:
            raise CertificateProblem(f"token is for node {claims.node}, not for {node}")
        return claims

    def now(self) -> datetime:
        """What the CA's clock says."""
        return self._clock()

    def _issue(
        self,
        subject: x509.Name,
        key: PublicKey,
        names: Sequence[x509.GeneralName],
        usages: list[x509.ObjectIdentifier],
        seconds: float,
    ) -> bytes:
        now = self._clock()
        end = min(now + timedelta(seconds=seconds), self.certificate.not_valid_after_utc)
        issuer = self.certificate
        builder = (
            _builder(subject, issuer.subject, key, now - _BACKDATING, end)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PublicKey, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
