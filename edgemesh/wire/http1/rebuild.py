"""Heads written anew, where something has to change; all else stays as it was spelled."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from edgemesh.model.routes import HeaderChanges
from edgemesh.wire.http1.connection import Connection
from edgemesh.wire.http1.fields import is_field_value, is_token, match_host
from edgemesh.wire.http1.heads import RequestHead, ResponseHead

# They frame the message or belong to one hop; a policy that changed them would break both.
UNCHANGEABLE: Final = frozenset(
    {
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

_not_in_targets = re.compile(r"[^\x21\x22\x24-\x7e\x80-\xff]").sub

# A field's name in lower case, and its line.
_Line = tuple[str, str]


def may_change(name: str, value: str = "") -> bool:
    """Whether a policy may remove a field (name in lower case), or set it to this value."""
    if name == "host":
        return match_host(value) is not None
    return name not in UNCHANGEABLE and bool(is_token(name)) and bool(is_field_value(value))


def rebuild_request(
    head: RequestHead,
    *,
    target: str | None = None,
    host: str | None = None,
    changes: Sequence[HeaderChanges] = (),
    extra: Sequence[tuple[str, str]] = (),
) -> bytes:
    """The head as it is sent on, without the fields that are for one hop only.

    Args:
        head: what came.
        target: instead of the target; what a target cannot hold is percent-encoded.
        host: instead of the value of Host, with a port if there shall be one.
        changes: applied one after the other. Like a host, what may_change refuses is left as it
            is: that is reported where the policy is read.
        extra: fields to append, whatever their names.
    """
    first, lines = _split(head.forwarded)
    if target is not None:
        first = f"{head.method} {_not_in_targets(_percent_encoded, target)} HTTP/1.{head.minor}"
    if host is not None and may_change("host", host):
        _set(lines, "host", host)
    return _changed(first, lines, changes, extra)


def rebuild_response(
    head: ResponseHead,
    *,
    changes: Sequence[HeaderChanges] = (),
    extra: Sequence[tuple[str, str]] = (),
) -> bytes:
    """The head as it is sent on; arguments as in rebuild_request."""
    first, lines = _split(head.forwarded)
    return _changed(first, lines, changes, extra)


def forwarded_head(
    first: str,
    lines: Sequence[str],
    fields: Sequence[tuple[str, str]],
    connection: Connection,
    respelled: tuple[str, str] | None = None,
) -> bytes:
    """A head without the fields that are for one hop only.

    Args:
        first: the request line or the status line.
        lines: the field lines.
        fields: the same, read.
        connection: says which of them go.
        respelled: a field to be written with this value.
    """
    kept = [
        (name, line)
        for (name, _), line in zip(fields, lines, strict=True)
        if name not in connection.removed
    ]
    if connection.options:
        _set(kept, "connection", connection.options)
    elif connection.options is not None:
        _remove(kept, "connection")
    if respelled is not None:
        _set(kept, *respelled)
    return _written(first, kept)


def _split(head: bytes) -> tuple[str, list[_Line]]:
    first, *lines = str(head, "latin-1")[:-4].split("\r\n")
    return first, [(line.partition(":")[0].lower(), line) for line in lines]


def _changed(
    first: str,
    lines: list[_Line],
    changes: Sequence[HeaderChanges],
    extra: Sequence[tuple[str, str]],
) -> bytes:
    for change in changes:
        _apply(lines, change)
    lines += [(name, f"{name}: {value}") for name, value in extra]
    return _written(first, lines)


def _written(first: str, lines: list[_Line]) -> bytes:
    return "\r\n".join([first, *(line for _, line in lines), "", ""]).encode("latin-1")


def _apply(lines: list[_Line], change: HeaderChanges) -> None:
    for name in change.remove:
        # A request without Host, or with two of them, would be malformed.
        if name != "host" and may_change(name):
            _remove(lines, name)
    for name, value in change.set:
        if may_change(name, value):
            _set(lines, name, value)
    for name, value in change.add:
        if name != "host" and may_change(name, value):
            lines.append((name, f"{name}: {value}"))


def _remove(lines: list[_Line], name: str) -> None:
    lines[:] = [line for line in lines if line[0] != name]


def _set(lines: list[_Line], name: str, value: str) -> None:
    """Replace a field where it stands first, with its spelling, or append it."""
    for index, (found, line) in enumerate(lines):
        if found == name:
            lines[index] = (name, f"{line.partition(':')[0]}: {value}")
            lines[index + 1 :] = [other for other in lines[index + 1 :] if other[0] != name]
            return
    lines.append((name, f"{name}: {value}"))


def _percent_encoded(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode())
