"""Addresses in objects, checked."""

from __future__ import annotations

from edgemesh.wire.addresses import canonical_address
from edgemesh.wire.kubernetes.fields import FieldError
from edgemesh.wire.quoting import quote


def check_address(where: str, text: str) -> None:
    """Refuse what is not an IPv4 or IPv6 address.

    Raises:
        FieldError: naming ``where``.
    """
    try:
        canonical_address(text)
    except ValueError:
        raise FieldError(where, f"expected an IPv4 or IPv6 address, got {quote(text)}") from None
