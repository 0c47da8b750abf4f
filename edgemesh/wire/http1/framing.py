"""How long a body is: RFC 9112 section 6, with everything ambiguous refused."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from edgemesh.wire.http1.heads import BAD_REQUEST, NOT_IMPLEMENTED, Framing, MalformedHead

FRAMING_FIELDS: Final = frozenset({"content-length", "transfer-encoding"})
# Beyond it the length turns negative in an endpoint that counts with signed 64 bits.
LARGEST_LENGTH: Final = 2**63 - 1
_is_length = re.compile(r"[0-9]{1,19}").fullmatch


def read_framing(values: Mapping[str, str], minor: int) -> tuple[Framing | None, int]:
    """What Content-Length and Transfer-Encoding say, and the length; None if neither is there.

    Args:
        values: fields by name, repeated ones joined: "5, 5" is refused, wherever it comes from.
        minor: of the version.

    Raises:
        MalformedHead: nobody can tell for sure where the body ends.
    """
    length = values.get("content-length")
    codings = values.get("transfer-encoding")
    if codings is not None:
        if length is not None:
            raise MalformedHead(BAD_REQUEST, "length-and-coding")
        if minor == 0:
            # RFC 9112 section 6.1: its framing is faulty, even if a length were there too.
            raise MalformedHead(BAD_REQUEST, "coding-in-http-1.0")
        _check_codings(codings)
        return Framing.CHUNKED, 0
    if length is None:
        return None, 0
    if not _is_length(length) or int(length) > LARGEST_LENGTH:
        raise MalformedHead(BAD_REQUEST, "content-length")
    count = int(length)
    return (Framing.LENGTH if count else Framing.NONE), count


def _check_codings(codings: str) -> None:
    if codings.lower() == "chunked":
        return
    names = [coding.strip(" \t").lower() for coding in codings.split(",")]
    # RFC 9112 section 6.3, rule 4: not chunked at last, so the end cannot be determined;
    # section 6.1: chunked twice is wrong. Other codings before it would be allowed.
    if names[-1] != "chunked" or names.count("chunked") > 1 or "" in names:
        raise MalformedHead(BAD_REQUEST, "transfer-encoding")
    raise MalformedHead(NOT_IMPLEMENTED, "transfer-coding")


def respelled(
    lines: Sequence[str], fields: Sequence[tuple[str, str]], framing: Framing, length: int
) -> tuple[str, str] | None:
    """The field that frames a body, by name and value; None when it is spelled like that.

    RFC 9112 allows blanks around ``chunked``, and capitals, and zeros before a length. A server
    that does not know them sees the body end elsewhere, so they are not sent on.

    Args:
        lines: the field lines.
        fields: the same, read.
        framing: what read_framing made of them.
        length: see framing.
    """
    name, value = ("content-length", str(length))
    if framing is Framing.CHUNKED:
        name, value = ("transfer-encoding", "chunked")
    line = lines[[found for found, _ in fields].index(name)]
    spelled = line[len(name) + 1 :]
    return None if spelled in (value, f" {value}") else (name, value)
