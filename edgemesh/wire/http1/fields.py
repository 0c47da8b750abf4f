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
# Beyond it a name is looked at each time; the longest registered one has 40 characters.
_REMEMBERED_LENGTH: Final = 64

# CGI and WSGI servers read "_" as "-" (RFC 3875 section 4.1.18), so these would frame a message
# there that is framed otherwise here.
_NEVER_WITH_UNDERSCORE: Final = frozenset(
    {"content-length", "transfer-encoding", "keep-alive", "proxy-connection"}
)


class FieldNames(dict[str, str]):
    """Field names as they are spelled, to their lower case; "" for what is no name.

    It learns, for names repeat; once it is full it forgets all.

    Args:
        entries: upper bound.
    """

    def __init__(self, entries: int) -> None:
        super().__init__()
        self._entries = entries

    def __missing__(self, name: str) -> str:
        if not is_token(name):
            return ""
        lowered = name.lower()
        if _imitates(lowered):
            return ""
        if len(name) <= _REMEMBERED_LENGTH:
            if len(self) >= self._entries:
                self.clear()
            self[name] = lowered
        return lowered


def read_fields(lines: Sequence[str], names: FieldNames) -> list[tuple[str, str]]:
    """Names in lower case and values, in order.

    Args:
        lines: as latin-1, without the CRLF between them.
        names: what is known already.

    Raises:
        MalformedHead: one of them is refused.
    """
    fields = []
    for line in lines:
        name, colon, value = line.partition(":")
        lowered = names[name]
        if not lowered or not colon:
            raise MalformedHead(BAD_REQUEST, _what_is_wrong(line))
        value = value.strip(BLANKS)
        # Most values are plain ASCII, and asking this way is three times as fast.
        if not value.isprintable() and not is_field_value(value):
            raise MalformedHead(BAD_REQUEST, _what_is_wrong(line))
        fields.append((lowered, value))
    return fields


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
    if not is_token(name):
        return "field-name"
    return "underscore-in-name" if _imitates(name.lower()) else "control-character"


def _imitates(lowered: str) -> bool:
    return "_" in lowered and lowered.replace("_", "-") in _NEVER_WITH_UNDERSCORE
