"""A node's or a replica's certificate, key and trusted CAs, as files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from edgemesh.bus.pki.problems import CertificateProblem

_SECRET = 0o600
_PRIVATE_FOLDER = 0o700


@dataclass(frozen=True, slots=True)
class Identity:
    """Where the PEM files are that say who this side is and whom it trusts.

    Args:
        node: name of the node, or of the cloud's replica.
        certificate, key: may be one file; ours are, so that one rename replaces both.
        bundle: certificates of the CAs that are trusted, one after the other.
    """

    node: str
    certificate: Path
    key: Path
    bundle: Path

    @classmethod
    def within(cls, folder: Path, node: str) -> Identity:
        """The identity whose files are, or will be, in this folder."""
        own = folder / "identity.pem"
        return cls(node, own, own, folder / "bundle.pem")


def write_identity(
    identity: Identity, certificate: bytes, key: bytes, authorities: Sequence[bytes]
) -> None:
    """Write the files of an identity that lies in one folder, each by rename.

    The bundle comes first: an old certificate with a new bundle works as long as the old CA is in
    it; the other way round nobody would be trusted.

    Args:
        identity: with one file for certificate and key.
        certificate: DER.
        key: PEM.
        authorities: DER.

    Raises:
        OSError: a file cannot be written.
    """
    identity.bundle.parent.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
    write_secret(identity.bundle, b"".join(map(_pem, authorities)))
    write_secret(identity.certificate, _pem(certificate) + key)


def write_secret(path: Path, data: bytes) -> None:
    """Replace a file as a whole, readable by its owner only, and on the disk when this returns.

    Raises:
        OSError: it cannot be written.
    """
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _SECRET)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def has_identity(identity: Identity) -> bool:
    """Whether the files are there; whether they are any good, ``own_certificate`` says."""
    return all(path.exists() for path in (identity.certificate, identity.key, identity.bundle))


def own_certificate(identity: Identity) -> x509.Certificate:
    """Read this side's certificate and check that its key is the one beside it.

    Raises:
        CertificateProblem: the files are missing or damaged, or do not belong together.
    """
    try:
        certificate = x509.load_pem_x509_certificate(identity.certificate.read_bytes())
        key = load_pem_private_key(identity.key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise CertificateProblem(
            f"the certificate in {identity.certificate} cannot be used: {error}"
        ) from error
    if _spki(key.public_key()) != _spki(certificate.public_key()):
        raise CertificateProblem(f"{identity.key} is not the key of {identity.certificate}")
    return certificate


def trusted_authorities(identity: Identity) -> list[x509.Certificate]:
    """Read the certificates of the CAs that are trusted.

    Raises:
        CertificateProblem: the file is missing or damaged.
    """
    try:
        return x509.load_pem_x509_certificates(identity.bundle.read_bytes())
    except (OSError, ValueError) as error:
        raise CertificateProblem(
            f"the trusted CAs in {identity.bundle} cannot be used: {error}"
        ) from error


def renewal_time(certificate: x509.Certificate, share: float) -> datetime:
    """When to ask for a new certificate: after this share of the life of the present one."""
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_before_utc + life * share


def same_key(certificate: x509.Certificate, key: bytes) -> bool:
    """Whether a certificate is for this key (PEM)."""
    private = load_pem_private_key(key, password=None)
    return _spki(private.public_key()) == _spki(certificate.public_key())


def key_hash(certificate: bytes) -> str:
    """The SHA-256 of the public key that a certificate (DER) is for, in hexadecimal."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    return hashlib.sha256(_spki(key)).hexdigest()


def _spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
