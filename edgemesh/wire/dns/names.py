"""Domain names: from text, from labels, from a message with compression."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from edgemesh.wire.dns.codes import HEADER_BYTES

ROOT: Final = b"\0"
# RFC 1035 section 2.3.4.
LONGEST_LABEL: Final = 63
LONGEST_NAME: Final = 255
# A name has at most 127 labels, so an honest chain of pointers is no longer (section 4.1.4).
MOST_POINTERS: Final = 127


class FormatError(ValueError):
    """Bytes or text that are not what RFC 1035 allows."""


def from_labels(labels: Iterable[bytes]) -> bytes:
    """The name with these labels, the leftmost first.

    Raises:
        FormatError: a label is empty or too long, or the name is.
    """
    parts = []
    for label in labels:
        if not 0 < len(label) <= LONGEST_LABEL:
            raise FormatError(f"a label has 1 to {LONGEST_LABEL} bytes, not {len(label)}")
        parts.append(bytes((len(label),)) + label)
    name = b"".join(parts) + ROOT
    if len(name) > LONGEST_NAME:
        raise FormatError(f"a name has at most {LONGEST_NAME} bytes, not {len(name)}")
    return name


def from_text(text: str) -> bytes:
    """The canonical name of ``web.default.svc``; a final dot changes nothing.

    Raises:
        FormatError: it is no name of plain ASCII labels.
    """
    stripped = text.removesuffix(".")
    if not stripped:
        return ROOT
    if not stripped.isascii():
        raise FormatError(f"{text!r} has characters outside ASCII")
    return from_labels(stripped.lower().encode("ascii").split(b"."))


def to_labels(name: bytes) -> tuple[bytes, ...]:
    """The labels of a name, the leftmost first."""
    labels = []
    position = 0
    while size := name[position]:
        labels.append(name[position + 1 : position + 1 + size])
        position += 1 + size
    return tuple(labels)


def read_name(message: bytes, offset: int) -> tuple[bytes, int]:
    """Read a possibly compressed name (RFC 1035 section 4.1.4).

    A pointer must lead to before the piece that holds it, so that every chain ends.

    Returns:
        The name as it was written, uncompressed, and the offset behind it.

    Raises:
        FormatError: it runs past the end, is too long, or its pointers are not honest.
    """
    parts: list[bytes] = []
    length = 1
    end = 0
    pointers = 0
    piece = position = offset
    while True:
        if position >= len(message):
            raise FormatError("a name runs past the end of the message")
        size = message[position]
        if size == 0:
            return b"".join(parts) + ROOT, end or position + 1
        if size <= LONGEST_LABEL:
            length += 1 + size
            if length > LONGEST_NAME:
                raise FormatError(f"a name has more than {LONGEST_NAME} bytes")
            # A label that the end cuts off makes the next position fail.
            parts.append(message[position : position + 1 + size])
            position += 1 + size
            continue
        if size < 0xC0 or position + 1 >= len(message):
            raise FormatError("a label of an unknown kind")
        end = end or position + 2
        position = (size & 0x3F) << 8 | message[position + 1]
        pointers += 1
        if not HEADER_BYTES <= position < piece or pointers > MOST_POINTERS:
            raise FormatError("a compression pointer that does not lead back")
        piece = position
