"""What is wrong with a certificate, in words that help whoever has to mend it."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime

from cryptography import x509

Clock = Callable[[], datetime]


class CertificateProblem(Exception):  # noqa: N818 - it is reported as often as it is raised
    """A certificate, a request for one or a token that is not accepted; the text says why."""


def clock_now() -> datetime:
    """The time by which certificates are judged."""
    return datetime.now(UTC)


def name_of(certificate: x509.Certificate) -> str:
    """How a certificate is called in messages: its subject as RFC 4514 writes it, in quotes."""
    return f'certificate "{certificate.subject.rfc4514_string()}"'


def validity(certificate: x509.Certificate, now: datetime) -> str:
    """Between which times a certificate is valid, and what the clock says."""
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return f"is valid from {start:%FT%TZ} to {end:%FT%TZ}, but this node's clock says {now:%FT%TZ}"


def handshake_problem(
    error: ssl.SSLError, own: x509.Certificate | None, now: datetime
) -> CertificateProblem:
    """Tell what OpenSSL says of a failed handshake in terms of certificates.

    Args:
        error: raised by the handshake or, in TLS 1.3, by the first read after it.
        own: the certificate that this side showed, if any: an alert is about it.
        now: what the clock says.
    """
    reason = (error.reason or str(error)).replace("_", " ").lower()
    if isinstance(error, ssl.SSLCertVerificationError):
        # OpenSSL keeps the refused certificate to itself.
        return CertificateProblem(
            f"the certificate that the peer showed was refused: {error.verify_message}; "
            f"this node's clock says {now:%FT%TZ}"
        )
    if "alert" not in reason:
        return CertificateProblem(f"TLS failed: {reason}")
    alert = reason.split("alert ", 1)[-1]
    shown = name_of(own) if own is not None else "no certificate"
    hint = f" (it {validity(own, now)})" if own is not None and "expired" in alert else ""
    return CertificateProblem(f"the peer refused this side, which showed {shown}: {alert}{hint}")
