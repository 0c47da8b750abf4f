"""Field lines: names and values, and what is wrong with one that is refused.

The checks are those of RFC 9112 section 5 and RFC 9110 section 5.5 with nothing tolerated: no
line folding, no blank before the colon, no control characters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from edgemesh.wire.http1.heads import BAD_REQUEST, MalformedHead

NAME_CHARACTERS: Final = r"!#$%&'*+\-.^_`|~0-9A-Za-z"
is_token: Final = re.compile(rf"[{NAME_CHARACTERS}]+").fullmatch
is_field_value: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*").fullmatch
# Narrower than RFC 3986 section 3.2.2, which allows commas and percent signs: a list or an
# encoded name is not what a service is called by.
match_host: Final = re.compile(
    r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9A-Za-z._-]{0,255}))(?::[0-9]{0,5})?"
).fullmatch

BLANKS: Final = " \t"
# A longer line is read each time, so that the memory of KnownFields is bounded.
_REMEMBERED_LENGTH: Final = 256

# CGI and WSGI servers read "_" as "-" (RFC 3875 section 4.1.18), so these would frame a message
# there that is framed otherwise here.
_NEVER_WITH_UNDERSCORE: Final = frozenset(
    {"content-length", "transfer-encoding", "keep-alive", "proxy-connection"}
)


class KnownFields(dict[str, tuple[str, str]]):
    """Field lines, as they came, to names in lower case and values.

    It reads a line that it does not know, and learns it: most lines of most heads repeat. Once
    it is full it forgets all.

    Args:
        entries: upper bound.
    """

    def __init__(self, entries: int) -> None:
        super().__init__()
        self._entries = entries

    def __missing__(self, line: str) -> tuple[str, str]:
        field = read_field(line)
        if len(line) <= _REMEMBERED_LENGTH:
            if len(self) >= self._entries:
                self.clear()
            self[line] = field
        return field


def read_field(line: str) -> tuple[str, str]:
    """Name in lower case and value of a line, given as latin-1 and without its end.

    Raises:
        MalformedHead: it is refused.
    """
    name, colon, value = line.partition(":")
    value = value.strip(BLANKS)
    if not colon or not is_token(name) or not is_field_value(value):
        raise MalformedHead(BAD_REQUEST, _what_is_wrong(line))
    lowered = name.lower()
    if "_" in lowered and lowered.replace("_", "-") in _NEVER_WITH_UNDERSCORE:
        raise MalformedHead(BAD_REQUEST, "underscore-in-name")
    return lowered, value


def by_name(fields: Sequence[tuple[str, str]]) -> Mapping[str, str]:
    """Values by name; those of repeated fields are joined, in order."""
    values = dict(fields)
    if len(values) == len(fields):
        return values
    joined: dict[str, str] = {}
    for name, value in fields:
        if name in joined:
            # RFC 9110 section 5.3; cookies are no list (RFC 6265 section 5.4).
            joined[name] += ("; " if name == "cookie" else ", ") + value
        else:
            joined[name] = value
    return joined


def _what_is_wrong(line: str) -> str:
    if "\n" in line:
        return "bare-lf"
    if "\r" in line:
        return "bare-cr"
    if line[:1] in {" ", "\t"}:
        return "obs-fold"
    name, colon, _ = line.partition(":")
    if not colon:
        return "no-colon"
    if not name:
        return "empty-field-name"
    if name != name.rstrip(BLANKS):
        return "space-before-colon"
    return "control-character" if is_token(name) else "field-name"
