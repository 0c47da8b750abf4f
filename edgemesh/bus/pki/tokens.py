"""Tokens with which nodes enrol, in the form of KubeEdge.

A token is ``sha256hex(CA in DER) "." JWT``. The first part lets the node know the right cloud
before it has a certificate to check it by; the JWT (RFC 7519, HS256) lets the cloud know the
node. KubeEdge's JWT says ``{"exp": ...}`` only; ours may be bound to a node and good for one use.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from datetime import datetime

import msgspec

from edgemesh.bus.pki.problems import CertificateProblem

_HASH = re.compile(r"[0-9a-f]{64}")


class Claims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the JWT of a token says.

    Args:
        exp: seconds since 1970, after which it is worthless.
        node: that alone may enrol with it, "" for any.
        jti: its id where it is good for one use, "" where for many.
    """

    exp: int
    node: str = ""
    jti: str = ""


class Token(msgspec.Struct, frozen=True):
    """A token as a node was given it.

    Args:
        authority: the SHA-256 of the CA's certificate, in lower-case hexadecimal.
        jwt: what the cloud wants to see.
    """

    authority: str
    jwt: str

    def __repr__(self) -> str:
        """Without what is secret in it."""
        return f"Token({self.authority!r}, ...)"

    def __str__(self) -> str:
        """The token as it is handed to a node."""
        return f"{self.authority}.{self.jwt}"

    @classmethod
    def parse(cls, text: str) -> Token:
        """Read a token.

        Raises:
            CertificateProblem: it has another form.
        """
        authority, _, jwt = text.strip().partition(".")
        if not _HASH.fullmatch(authority.lower()) or jwt.count(".") != 2:
            raise CertificateProblem(
                "the token is not one: it has four parts joined by '.', the first of them 64 "
                "hexadecimal digits"
            )
        return cls(authority.lower(), jwt)


class _Head(msgspec.Struct, frozen=True):
    alg: str
    typ: str = ""


_HEAD = msgspec.json.Decoder(_Head)
_CLAIMS = msgspec.json.Decoder(Claims)
_ENCODED_HEAD = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=")


def is_service_account_token(text: str) -> bool:
    """Whether this is a JWT alone, as Kubernetes gives them to Pods: it names no authority."""
    return text.strip().count(".") == 2


def is_ours(jwt: str) -> bool:
    """Whether a JWT claims to be signed as this cloud signs; else somebody else has to judge it.

    What is no JWT at all counts as ours, which is refused.
    """
    try:
        return _HEAD.decode(_decode(jwt.partition(".")[0])).alg == "HS256"
    except (msgspec.DecodeError, binascii.Error, UnicodeError):
        return True


def authority_hash(authority_der: bytes) -> str:
    """The first part of a token: which CA its cloud has."""
    return hashlib.sha256(authority_der).hexdigest()


def sign_claims(claims: Claims, secret: bytes) -> str:
    """Write a JWT."""
    text = _ENCODED_HEAD + b"." + _encode(msgspec.json.encode(claims))
    return (text + b"." + _encode(_signature(text, secret))).decode()


def check_jwt(jwt: str, secret: bytes, now: datetime) -> Claims:
    """Check the signature and the age of a JWT. The words of the refusals are KubeEdge's.

    Raises:
        CertificateProblem: with what is wrong.
    """
    text, _, signature = jwt.rpartition(".")
    if text.count(".") != 1:
        raise CertificateProblem("token is malformed: token contains an invalid number of segments")
    head, _, payload = text.partition(".")
    try:
        algorithm = _HEAD.decode(_decode(head)).alg
        claimed = _decode(signature)
        if algorithm != "HS256":
            raise CertificateProblem(
                f"token signature is invalid: signing method {algorithm} is invalid"
            )
        if not hmac.compare_digest(claimed, _signature(text.encode(), secret)):
            raise CertificateProblem("token signature is invalid: signature is invalid")
        claims = _CLAIMS.decode(_decode(payload))
    except (msgspec.DecodeError, binascii.Error, UnicodeError) as error:
        raise CertificateProblem(f"token is malformed: {error}") from error
    if claims.exp <= now.timestamp():
        raise CertificateProblem("token has invalid claims: token is expired")
    return claims


def _signature(text: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, text, "sha256")


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _decode(text: str) -> bytes:
    padded = text.encode("ascii") + b"=" * (-len(text) % 4)
    return base64.b64decode(padded, altchars=b"-_", validate=True)
