"""Keep secrets out of the log, whoever puts them in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

REDACTED = "[redacted]"

_SECRET_NAME = re.compile(
    r"token|passw|passphrase|secret|authorization|cookie|credential|api[-_]?key|private[-_]?key",
    re.IGNORECASE,
)
_SECRETS_IN_TEXT = (
    # Authorization header values (RFC 9110 section 11.4).
    (re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), rf"\1 {REDACTED}"),
    # The password of a URL (RFC 3986 section 3.2.1), as in a PostgreSQL store's.
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*):[^\s/@]+@", re.IGNORECASE), rf"\1:{REDACTED}@"),
    # JSON Web Tokens, such as service accounts have: two objects and a signature in base64url.
    (re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*"), REDACTED),
    (
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
        ),
        REDACTED,
    ),
)


def redact(value: Any) -> Any:
    """The value, nested ones included, without what looks like a secret by its key or its text."""
    if isinstance(value, str):
        return _redact_text(value)
    if isinstance(value, Mapping):
        return {
            key: REDACTED if _SECRET_NAME.search(str(key)) and item else redact(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item) for item in value]
    return value


def redact_query(query: str) -> str:
    """The query of a URL without what looks like a secret; the rest stays as it was encoded."""
    return "&".join(_redact_parameter(one) for one in query.split("&"))


def _redact_parameter(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    if value and _SECRET_NAME.search(unquote(name)):
        return f"{name}{equals}{REDACTED}"
    return _redact_text(parameter)


def _redact_text(text: str) -> str:
    for secret, replacement in _SECRETS_IN_TEXT:
        text = secret.sub(replacement, text)
    return text
