"""What can be told of a head before its end has come: that it is too long, or none at all.

Only its first line and its last line feed are looked at, so that a client which sends byte by
byte costs no more than one which does not. The rest is checked when the head is complete.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edgemesh.model.settings import HttpSettings
from edgemesh.wire.http1.fields import NAME_CHARACTERS
from edgemesh.wire.http1.heads import (
    BAD_GATEWAY,
    BAD_REQUEST,
    FIELDS_TOO_LARGE,
    URI_TOO_LONG,
    MalformedHead,
)
from edgemesh.wire.http1.request_head import read_request_line
from edgemesh.wire.http1.response_head import read_status_line


@dataclass(frozen=True, slots=True)
class Kind:
    """How requests and responses differ here.

    Args:
        may_begin: whether a part of a first line may become one.
        read_line: raises MalformedHead for a first line, given without its end.
        malformed, line_too_long, head_too_long: statuses.
    """

    may_begin: Callable[[bytes | bytearray, int], object]
    read_line: Callable[[str], object]
    malformed: int
    line_too_long: int
    head_too_long: int


REQUEST: Final = Kind(
    may_begin=re.compile(
        # The target may be followed by what is no version: that line is read when it is whole.
        rb"\r?|[%s]+(?: [^\x00-\x08\x0a-\x1f\x7f]*\r?)?" % NAME_CHARACTERS.encode()
    ).fullmatch,
    read_line=read_request_line,
    malformed=BAD_REQUEST,
    line_too_long=URI_TOO_LONG,
    head_too_long=FIELDS_TOO_LARGE,
)
RESPONSE: Final = Kind(
    may_begin=re.compile(
        rb"(?:H(?:T(?:T(?:P(?:/(?:1(?:\.(?:[01](?: [^\x00-\x08\x0a-\x1f\x7f]*)?\r?)?)?)?)?)?)?)?)?"
    ).fullmatch,
    read_line=read_status_line,
    malformed=BAD_GATEWAY,
    line_too_long=BAD_GATEWAY,
    head_too_long=BAD_GATEWAY,
)


def check_size(head: bytes, settings: HttpSettings, kind: Kind) -> None:
    """Raise MalformedHead when a complete head, or its first line, is too long."""
    if len(head) <= settings.max_request_line_bytes:
        return
    if head.find(b"\r\n", 0, settings.max_request_line_bytes + 2) < 0:
        raise MalformedHead(kind.line_too_long, "first-line-too-long")
    if len(head) > settings.max_head_bytes:
        raise MalformedHead(kind.head_too_long, "head-too-long")


def check_beginning(
    data: bytes | bytearray, begin: int, settings: HttpSettings, kind: Kind
) -> None:
    """Raise MalformedHead when what has come of a head cannot become one that is served."""
    longest = settings.max_request_line_bytes
    line_end = data.find(b"\n", begin, begin + longest + 2)
    if line_end < 0:
        if len(data) - begin > longest + 1:
            raise MalformedHead(kind.line_too_long, "first-line-too-long")
        if not kind.may_begin(data, begin):
            raise MalformedHead(kind.malformed, "first-line")
        return
    last = data.rfind(b"\n", line_end)
    for line_feed in (line_end, last):
        if data[line_feed - 1 : line_feed] != b"\r" or line_feed == begin:
            raise MalformedHead(kind.malformed, "bare-lf")
    kind.read_line(str(data[begin : line_end - 1], "latin-1"))
    if len(data) - begin > settings.max_head_bytes:
        raise MalformedHead(kind.head_too_long, "head-too-long")
