"""Query parameters of a request target."""

from __future__ import annotations

from urllib.parse import unquote_plus


def parameter(query: str, name: str) -> str | None:
    """The first value of a query parameter, decoded; None when there is none of that name.

    Names and values are decoded as forms encode them (``+`` is a space, bytes after ``%`` are
    UTF-8, and what is no UTF-8 becomes U+FFFD). A parameter without ``=`` has the value "".

    Source: WHATWG URL, application/x-www-form-urlencoded parsing.
    """
    for part in query.split("&"):
        key, _, value = part.partition("=")
        if part and _decoded(key) == name:
            return _decoded(value)
    return None


def _decoded(text: str) -> str:
    return unquote_plus(text) if "%" in text or "+" in text else text
