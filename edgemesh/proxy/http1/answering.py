"""Our own answers as HTTP/1 bytes."""

from __future__ import annotations

from http import HTTPStatus

from edgemesh.proxy.http.answers import Answer

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_NO_BODY = frozenset({204, 304})


def answer_bytes(answer: Answer, method: str, *, close: bool) -> bytes:
    """The whole answer.

    Args:
        answer: what to say.
        method: of the request; an answer to HEAD has no body (RFC 9110 section 9.3.2).
        close: whether the connection ends with it.
    """
    status = answer.status
    lines = [f"HTTP/1.1 {status} {_PHRASES.get(status, '')}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    body = answer.body.encode()
    if status not in _NO_BODY:
        lines.append(f"content-length: {len(body)}")
    if close:
        lines.append("connection: close")
    head = "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n"
    return head if method == "HEAD" or status in _NO_BODY else head + body
