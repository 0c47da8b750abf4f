"""A request's head, checked and read: RFC 9112 sections 3, 5 and 6, RFC 9110 section 7.2.

llhttp, which judges the same head in a third of the time, cannot be the judge here: it knows a
list of methods and refuses every other one. It is the second opinion in the tests.
"""

from __future__ import annotations

import re
from typing import Final

from edgemesh.wire.http1.connection import read_connection
from edgemesh.wire.http1.fields import (
    NAME_CHARACTERS,
    KnownFields,
    by_name,
    is_token,
    match_host,
)
from edgemesh.wire.http1.framing import read_framing, respelled
from edgemesh.wire.http1.heads import (
    BAD_REQUEST,
    EXPECTATION_FAILED,
    FIELDS_TOO_LARGE,
    NOT_IMPLEMENTED,
    VERSION_NOT_SUPPORTED,
    Framing,
    MalformedHead,
    RequestHead,
)
from edgemesh.wire.http1.rebuild import forwarded_head

# Bytes beyond ASCII are no part of a URI, but clients send them and servers take them. A
# fragment is cut off by some and kept by others (CVE-2023-45539).
_match_request_line = re.compile(
    rf"([{NAME_CHARACTERS}]+) "
    r"((/[^\x00-\x20#?\x7f]*|\*)(?:\?([^\x00-\x20#\x7f]*))?)"
    r" HTTP/1\.([01])"
).fullmatch
_is_absolute_form = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:.*").fullmatch
_is_target = re.compile(r"[^\x00-\x20\x7f]+").fullmatch
_is_version = re.compile(r"(?i:http)/[0-9.]+").fullmatch

# RFC 9110 section 9.2.2.
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})


def read_request_line(line: str) -> tuple[str, ...]:
    """Method, target, path, query and minor version of a line, given without its end.

    Raises:
        MalformedHead: it is no request line, or none that is served here.
    """
    matched = _match_request_line(line)
    if matched is None:
        raise _refused_line(line)
    parts = matched.groups(default="")
    method, target = parts[0], parts[1]
    if target[0] == "*" and (target != "*" or method != "OPTIONS"):
        raise MalformedHead(BAD_REQUEST, "request-target")
    if method == "CONNECT":
        raise MalformedHead(NOT_IMPLEMENTED, "connect")
    return parts


def parse_request(raw: bytes, size: int, known: KnownFields, max_fields: int) -> RequestHead:
    """Read a whole head.

    Args:
        raw: from the request line to the empty line.
        size: for RequestHead.size.
        known: field lines.
        max_fields: more of them are refused.

    Raises:
        MalformedHead: it is refused.
    """
    first, *lines = str(raw, "latin-1")[:-4].split("\r\n")
    method, target, path, query, minor_text = read_request_line(first)
    if len(lines) > max_fields:
        raise MalformedHead(FIELDS_TOO_LARGE, "too-many-fields")
    minor = int(minor_text)
    fields = [known[line] for line in lines]
    values = by_name(fields)
    framing, length = read_framing(values, minor)
    connection = read_connection(values, minor, may_upgrade=True)
    framing_field = None if framing is None else respelled(lines, fields, framing, length)
    forwardable = connection.forwards(values) and framing_field is None
    return RequestHead(
        raw=raw,
        size=size,
        method=method,
        target=target,
        path=path,
        query=query,
        minor=minor,
        host=_host(fields, values.get("host"), minor),
        headers=tuple(fields),
        values=values,
        framing=framing or Framing.NONE,
        content_length=length,
        keep_alive=connection.keep_alive,
        expects_continue=_expects_continue(values.get("expect"), minor),
        upgrade=connection.upgrade,
        raw_is_forwardable=forwardable,
        forwarded=raw
        if forwardable
        else forwarded_head(first, lines, fields, connection, framing_field),
        idempotent=method in _IDEMPOTENT,
    )


def _refused_line(line: str) -> MalformedHead:
    """Why a line is no request line that is served here."""
    if "\n" in line:
        return MalformedHead(BAD_REQUEST, "bare-lf")
    if "\r" in line:
        return MalformedHead(BAD_REQUEST, "bare-cr")
    method, _, rest = line.partition(" ")
    target, _, version = rest.rpartition(" ")
    if not is_token(method):
        return MalformedHead(BAD_REQUEST, "method")
    if _is_target(rest) and not _is_version(rest):
        return MalformedHead(VERSION_NOT_SUPPORTED, "no-version")
    if not _is_version(version):
        return MalformedHead(BAD_REQUEST, "request-line")
    if version not in {"HTTP/1.0", "HTTP/1.1"}:
        return MalformedHead(VERSION_NOT_SUPPORTED, "version")
    if " " in target:
        return MalformedHead(BAD_REQUEST, "space-in-target")
    if method == "CONNECT":
        return MalformedHead(NOT_IMPLEMENTED, "connect")
    if _is_absolute_form(target):
        return MalformedHead(BAD_REQUEST, "absolute-form")
    return MalformedHead(BAD_REQUEST, "request-target")


def _host(fields: list[tuple[str, str]], value: str | None, minor: int) -> str:
    if value is None:
        if minor:
            raise MalformedHead(BAD_REQUEST, "no-host")
        return ""
    matched = match_host(value)
    if matched is None:
        several = sum(name == "host" for name, _ in fields) > 1
        raise MalformedHead(BAD_REQUEST, "several-hosts" if several else "host")
    return str(matched[matched.lastindex or 2]).lower()


def _expects_continue(value: str | None, minor: int) -> bool:
    # RFC 9110 section 10.1.1: HTTP/1.0 does not know it.
    if value is None or not minor:
        return False
    if value.lower() != "100-continue":
        raise MalformedHead(EXPECTATION_FAILED, "expectation")
    return True
