"""Recognise an HTTP/1 request by its first line, and read the Host where it has come already.

This tells a protocol, it does not validate a request: the ``http`` path parses the whole head
strictly. Hence a wrong header is none of this file's business, and a Host found here is a hint
for reports, never a reason to route.
"""

from __future__ import annotations

import re

# RFC 9112 section 3 asks for 8,000 octets at least; nginx takes 8,187.
FIRST_LINE_LIMIT = 8192
# The longest registered method, UPDATEREDIRECTREF, has 17 letters.
METHOD_LIMIT = 24

_TOKEN = rb"[!#$%%&'*+\-.^_`|~0-9A-Za-z]{1,%d}" % METHOD_LIMIT
_TARGET = rb"[\x21-\x7e\x80-\xff]+"
_REQUEST_LINE = re.compile(_TOKEN + rb" " + _TARGET + rb" HTTP/1\.[0-9]\r?\n")
_START_OF_REQUEST_LINE = re.compile(
    _TOKEN
    + rb"(?: (?:"
    + _TARGET
    + rb"(?: (?:H(?:T(?:T(?:P(?:/(?:1(?:\.(?:[0-9]\r?)?)?)?)?)?)?)?)?)?)?)?"
)
# The first Host line; else one with a value that is no host, or the end of the head.
_HOST = re.compile(
    rb"\n(?:"
    rb"(?i:host):[ \t]*(?:\[([0-9A-Fa-f:.]+)\]|([0-9A-Za-z._-]{1,255}))(?::[0-9]*)?[ \t]*\r?\n"
    rb"|(?i:host):"
    rb"|\r?\n)"
)


def recognise_request_line(data: bytes) -> bool | None:
    """Whether a connection starts with an HTTP/1 request line; None while it may.

    The line is ``method SP target SP HTTP/1.x`` and ends in CRLF or, as RFC 9112 section 2.2
    lets a recipient accept, in LF. The empty line that the same section tolerates before it is
    not: nobody sends it at the start of a connection. A line beyond FIRST_LINE_LIMIT is none.
    """
    if _REQUEST_LINE.match(data, 0, FIRST_LINE_LIMIT):
        return True
    if len(data) < FIRST_LINE_LIMIT and _START_OF_REQUEST_LINE.fullmatch(data):
        return None
    return False


def read_host(head: bytes) -> str:
    """The host that a request names, without its port, in lower case.

    Args:
        head: a recognised request line and whatever came after it.

    Returns:
        "" when no complete Host line has come before the end of the head, or when its value is
        no host name or address.
    """
    found = _HOST.search(head)
    if found is None or found.lastindex is None:
        return ""
    return str(found[found.lastindex], "ascii").lower()
