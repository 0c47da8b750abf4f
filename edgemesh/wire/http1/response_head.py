"""A response's head, checked and read: RFC 9112 sections 4, 5 and 6."""

from __future__ import annotations

import re
from dataclasses import replace

from edgemesh.wire.http1.connection import read_connection
from edgemesh.wire.http1.fields import KnownFields, by_name
from edgemesh.wire.http1.framing import FRAMING_FIELDS, read_framing, respelled
from edgemesh.wire.http1.heads import BAD_GATEWAY, Framing, MalformedHead, ResponseHead
from edgemesh.wire.http1.rebuild import forwarded_head

# Servers that leave the reason away often leave the blank before it away too.
_match_status_line = re.compile(
    r"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?"
).fullmatch

SWITCHING_PROTOCOLS = 101
_NOT_MODIFIED = 304
_BODILESS = frozenset({204, _NOT_MODIFIED})
# 426 tells what to upgrade to (RFC 9110 section 15.5.22).
_MAY_UPGRADE = frozenset({SWITCHING_PROTOCOLS, 426})


def read_status_line(line: str) -> tuple[str, ...]:
    """Minor version, status and reason of a line, given without its end.

    Raises:
        MalformedHead: it is no status line.
    """
    matched = _match_status_line(line)
    if matched is None:
        raise MalformedHead(BAD_GATEWAY, "status-line")
    return matched.groups(default="")


def parse_response(raw: bytes, known: KnownFields, max_fields: int) -> ResponseHead:
    """Read a whole head.

    Args:
        raw: from the status line to the empty line.
        known: field lines.
        max_fields: more of them are refused.

    Raises:
        MalformedHead: it is refused; always with 502.
    """
    try:
        return _parse(raw, known, max_fields)
    except MalformedHead as bad:
        raise MalformedHead(BAD_GATEWAY, bad.reason) from None


def _parse(raw: bytes, known: KnownFields, max_fields: int) -> ResponseHead:
    first, *lines = str(raw, "latin-1")[:-4].split("\r\n")
    minor_text, status_text, reason = read_status_line(first)
    minor, status = int(minor_text), int(status_text)
    if len(lines) > max_fields:
        raise MalformedHead(BAD_GATEWAY, "too-many-fields")
    fields = [known[line] for line in lines]
    values = by_name(fields)
    announced, length = read_framing(values, minor)
    may_upgrade = status in _MAY_UPGRADE
    connection = read_connection(values, minor, may_upgrade=may_upgrade)
    framing = announced or Framing.UNTIL_CLOSE
    if status == SWITCHING_PROTOCOLS:
        framing = Framing.TUNNEL
    elif status < 200 or status in _BODILESS:
        framing = Framing.NONE
    framing_field = None if announced is None else respelled(lines, fields, announced, length)
    if announced is not None and announced is not framing and status != _NOT_MODIFIED:
        # RFC 9110 sections 8.6 and 15.2: neither 1xx nor 204 may announce a body. Who does it
        # may send it too, so what comes behind is not taken for an answer, here or later on.
        connection = replace(
            connection, keep_alive=False, removed=connection.removed | FRAMING_FIELDS
        )
        framing_field = None
    forwardable = connection.forwards(values) and framing_field is None
    return ResponseHead(
        raw=raw,
        size=len(raw),
        minor=minor,
        status=status,
        reason=reason,
        headers=tuple(fields),
        values=values,
        framing=framing,
        content_length=length,
        keep_alive=connection.keep_alive,
        interim=status < 200 and status != SWITCHING_PROTOCOLS,
        upgrade=connection.upgrade,
        raw_is_forwardable=forwardable,
        forwarded=raw
        if forwardable
        else forwarded_head(first, lines, fields, connection, framing_field),
    )
