"""Cookies: the ones a client sends, and the one that keeps it with its endpoint."""

from __future__ import annotations

from math import ceil

from edgemesh.model.policies import HashKey


def cookie(header: str, name: str) -> str | None:
    """The value of a cookie in a ``Cookie`` header, without quotes; None when it is not there.

    Source: RFC 6265 section 4.2.1. The first of several with one name counts.
    """
    for pair in header.split(";"):
        key, equals, value = pair.partition("=")
        if equals and key.strip() == name:
            return value.strip().removeprefix('"').removesuffix('"')
    return None


def set_cookie(key: HashKey, value: str) -> str:
    """The ``Set-Cookie`` header that gives a client the cookie of a hash key.

    Args:
        key: of source cookie, with a lifetime: 0 for the client's session.
        value: of token characters.

    Source: RFC 6265 section 4.1.
    """
    lifetime = f"; Max-Age={ceil(key.cookie_ttl_seconds)}" if key.cookie_ttl_seconds else ""
    return f"{key.name}={value}{lifetime}; Path={key.cookie_path or '/'}; HttpOnly"
