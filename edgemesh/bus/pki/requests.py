"""Requests for certificates (PKCS #10): what a node asks for, and what the cloud makes of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from edgemesh.bus.pki.checks import NODE_PREFIX, NODE_URI, node_in_subject
from edgemesh.bus.pki.problems import CertificateProblem

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

_SMALLEST_RSA = 2048
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
# The rule of Kubernetes for names of nodes: an RFC 1123 subdomain.
_NODE_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
)


class NodeRequest(NamedTuple):
    """What a request asks for.

    Args:
        node: that it names in its subject.
        key: that the certificate is to be for.
        edgemesh: whether it asks for the node's URI too, as our nodes do; KubeEdge's do not.
    """

    node: str
    key: PublicKey
    edgemesh: bool


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A key that was just made, and the request for its certificate.

    Args:
        key: PEM, PKCS #8, not encrypted. It does not leave the node.
        request: DER, PKCS #10.
    """

    key: bytes = field(repr=False)
    request: bytes


def check_node_name(node: str) -> None:
    """Check that a name can be a node's.

    Raises:
        CertificateProblem: it cannot.
    """
    if not _NODE_NAME.fullmatch(node):
        raise CertificateProblem(f"{node!r} is no name of a node (lower case, digits, '-', '.')")


def node_subject(node: str) -> x509.Name:
    """The subject that KubeEdge and Kubernetes know a node by."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
            x509.NameAttribute(NameOID.COMMON_NAME, NODE_PREFIX + node),
        ]
    )


def node_uri(node: str) -> x509.UniformResourceIdentifier:
    """The URI by which certificates of edgemesh name their node, after SPIFFE."""
    return x509.UniformResourceIdentifier(NODE_URI + node)


def make_request(node: str) -> NewRequest:
    """Make a key and the request for a certificate of this node.

    Raises:
        CertificateProblem: the name cannot be a node's.
    """
    check_node_name(node)
    key = ec.generate_private_key(ec.SECP256R1())
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(node_subject(node))
        .add_extension(x509.SubjectAlternativeName([node_uri(node)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return NewRequest(key_pem(key), request.public_bytes(serialization.Encoding.DER))


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Write a private key as PEM, PKCS #8, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def read_request(der: bytes) -> NodeRequest:
    """Check a request: its form, its proof of the key, its subject, the strength of its key.

    Raises:
        CertificateProblem: with what is wrong.
    """
    try:
        request = x509.load_der_x509_csr(der)
        signed = request.is_signature_valid
        key = request.public_key()
    except (ValueError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise CertificateProblem(f"not a certificate request in DER: {error}") from error
    if not signed:
        raise CertificateProblem("the request was not signed with the key that it is for")
    node = node_in_subject(request.subject)
    if node is None:
        raise CertificateProblem(
            f'the request is for "{request.subject.rfc4514_string()}", which is no node'
        )
    check_node_name(node)
    return NodeRequest(node, _strong(key), edgemesh=_asks_for_uri(request, node))


def _strong(key: object) -> PublicKey:
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES):
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _SMALLEST_RSA:
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    raise CertificateProblem(
        f"the request's key is weak or unknown: a NIST curve, Ed25519 or RSA of at least "
        f"{_SMALLEST_RSA} bits is needed"
    )


def _asks_for_uri(request: x509.CertificateSigningRequest, node: str) -> bool:
    try:
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    except ValueError as error:
        raise CertificateProblem(f"the request's extensions cannot be read: {error}") from error
    return node_uri(node).value in names.get_values_for_type(x509.UniformResourceIdentifier)
