"""What the admin server answers, as values."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import msgspec

PLAIN_TEXT: Final = "text/plain; charset=utf-8"
HTML: Final = "text/html; charset=utf-8"
JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Page:
    """One answer.

    Args:
        body: all of it, or text in pieces that are made as they are sent.
        content_type: of the body.
        status: of the answer.
        headers: more of them.
    """

    body: bytes | Iterator[str]
    content_type: str = PLAIN_TEXT
    status: HTTPStatus = HTTPStatus.OK
    headers: tuple[tuple[str, str], ...] = ()


# A page by its path, made anew for each request.
Pages = Mapping[str, Callable[[], Awaitable[Page]]]


def text_page(text: str, status: HTTPStatus = HTTPStatus.OK) -> Page:
    """A line or several."""
    return Page(f"{text}\n".encode(), status=status)


def json_page(value: Any) -> Page:
    """A value as one line of JSON."""
    return Page(msgspec.json.encode(value) + b"\n", JSON)


def refusal(status: HTTPStatus, *headers: tuple[str, str], detail: str = "") -> Page:
    """An error, and what is wrong about the request."""
    text = f"{status.value} {status.phrase}{f': {detail}' if detail else ''}\n"
    return Page(text.encode(), status=status, headers=headers)
