"""Whether a certificate is what its holder says; every refusal names it and the reason.

The mesh has one level: a CA whose certificate every end holds, and certificates that it issued.
So the chain is one signature, and everything else is in the certificate itself.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from edgemesh.bus.pki.problems import CertificateProblem, name_of, validity

NODE_PREFIX = "system:node:"
NODE_URI = "spiffe://edgemesh/node/"

SERVER = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
_USAGES = {SERVER: "a server", CLIENT: "a client"}

# RFC 5280 section 4.2: whoever does not know a critical extension has to refuse.
_UNDERSTOOD = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
    }
)


@dataclass(frozen=True, slots=True)
class Revoked:
    """What is not accepted any more although it is valid.

    Args:
        nodes: names of nodes; none of their certificates is accepted.
        serials: of single certificates.
    """

    nodes: frozenset[str] = field(default_factory=frozenset)
    serials: frozenset[int] = field(default_factory=frozenset)


def read_certificate(der: bytes) -> x509.Certificate:
    """Decode a certificate.

    Raises:
        CertificateProblem: it is none.
    """
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError as error:
        raise CertificateProblem(f"not a certificate in DER: {error}") from error


def node_of(der: bytes) -> str:
    """The node that a certificate is for: NAME of its common name ``system:node:NAME``.

    Raises:
        CertificateProblem: it is no node's.
    """
    certificate = read_certificate(der)
    node = node_in_subject(certificate.subject)
    if node is None:
        raise CertificateProblem(f"{name_of(certificate)} is no node's")
    return node


def node_in_subject(subject: x509.Name) -> str | None:
    """The node that a subject of KubeEdge's form names, None for any other subject."""
    names = [str(each.value) for each in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if len(names) != 1 or not names[0].startswith(NODE_PREFIX):
        return None
    return names[0].removeprefix(NODE_PREFIX) or None


def check_certificate(
    der: bytes, anchors: Sequence[x509.Certificate], usage: x509.ObjectIdentifier, now: datetime
) -> x509.Certificate:
    """Check that one of the CAs vouches for a certificate, today, for this use.

    A certificate without extended key usages is good for all (RFC 5280 section 4.2.1.12):
    those that KubeEdge's certgen.sh made have none.

    Args:
        der: as the peer showed it; TLS has proved that the peer has its key.
        anchors: certificates of the CAs that are trusted.
        usage: SERVER or CLIENT.
        now: what the clock says.

    Raises:
        CertificateProblem: with what is wrong.
    """
    certificate = read_certificate(der)
    issuer = _issuer(certificate, anchors)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise CertificateProblem(f"{name_of(certificate)} {validity(certificate, now)}")
    if not issuer.not_valid_before_utc <= now <= issuer.not_valid_after_utc:
        raise CertificateProblem(f"the CA's {name_of(issuer)} {validity(issuer, now)}")
    _check_extensions(certificate, usage)
    return certificate


def check_names(certificate: x509.Certificate, host: str) -> None:
    """Check that a server's certificate is for the host that was dialled.

    Args:
        certificate: that was checked otherwise.
        host: DNS name or address; DNS names match without regard to case, wildcards not at all.

    Raises:
        CertificateProblem: it is for other hosts.
    """
    names, addresses = _alternative_names(certificate)
    try:
        matches = ipaddress.ip_address(host) in addresses
    except ValueError:
        matches = host.lower().rstrip(".") in {name.lower().rstrip(".") for name in names}
    if not matches:
        others = ", ".join([*names, *map(str, addresses)]) or "no host at all"
        raise CertificateProblem(f"{name_of(certificate)} is not for {host}, but for {others}")


def check_node(certificate: x509.Certificate, node: str) -> None:
    """Check that a certificate is the one of this node.

    Raises:
        CertificateProblem: it is another's.
    """
    if node_in_subject(certificate.subject) != node:
        raise CertificateProblem(f"{name_of(certificate)} is not the one of node {node}")


def check_not_revoked(der: bytes, revoked: Revoked) -> None:
    """Check that a certificate was not withdrawn.

    Raises:
        CertificateProblem: it was, or its node was.
    """
    certificate = read_certificate(der)
    node = node_in_subject(certificate.subject)
    if node in revoked.nodes:
        raise CertificateProblem(f"{name_of(certificate)} was refused: node {node} is revoked")
    if certificate.serial_number in revoked.serials:
        raise CertificateProblem(
            f"{name_of(certificate)}, serial {certificate.serial_number:x}, is revoked"
        )


def _issuer(certificate: x509.Certificate, anchors: Sequence[x509.Certificate]) -> x509.Certificate:
    for anchor in anchors:
        try:
            certificate.verify_directly_issued_by(anchor)
        except (ValueError, TypeError, InvalidSignature):
            continue  # another name, another kind of key, another key
        if _is_authority(anchor):
            return anchor
    trusted = ", ".join(f'"{anchor.subject.rfc4514_string()}"' for anchor in anchors) or "none"
    raise CertificateProblem(
        f'{name_of(certificate)} was issued by "{certificate.issuer.rfc4514_string()}", '
        f"and not by a CA that is trusted here ({trusted}; CAs of one name differ by their keys)"
    )


def _is_authority(anchor: x509.Certificate) -> bool:
    try:
        return anchor.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _check_extensions(certificate: x509.Certificate, usage: x509.ObjectIdentifier) -> None:
    try:
        extensions = certificate.extensions
    except ValueError as error:
        raise CertificateProblem(f"{name_of(certificate)}: {error}") from error
    for extension in extensions:
        value = extension.value
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise CertificateProblem(
                f"{name_of(certificate)} has a critical extension that is not known here: "
                f"{extension.oid.dotted_string}"
            )
        if isinstance(value, x509.ExtendedKeyUsage) and usage not in value:
            raise CertificateProblem(f"{name_of(certificate)} is not for {_USAGES[usage]}")
        if isinstance(value, x509.KeyUsage) and not value.digital_signature:
            raise CertificateProblem(f"{name_of(certificate)} is not for signing handshakes")


def _alternative_names(
    certificate: x509.Certificate,
) -> tuple[list[str], list[ipaddress.IPv4Address | ipaddress.IPv6Address]]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [], []
    addresses = [
        address
        for address in found.get_values_for_type(x509.IPAddress)
        if isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address)
    ]
    return found.get_values_for_type(x509.DNSName), addresses
