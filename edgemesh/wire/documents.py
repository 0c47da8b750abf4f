"""What the readers of YAML and JSON have in common: documents, places and problems."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_INTEGER = re.compile(
    r"(?P<sign>[-+]?)(0[bB](?P<binary>[01_]+)|0[xX](?P<hexadecimal>[0-9a-fA-F_]+)"
    r"|0[oO]?(?P<octal>[0-7_]+)|(?P<decimal>0|[1-9][0-9_]*))"
)
_BASES = (("decimal", 10), ("octal", 8), ("hexadecimal", 16), ("binary", 2))
# Python turns text into integers in quadratic time; nothing beyond 64 bits is valid anyway.
_LONGEST_INTEGER = 80


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a stream: its number, from 1, and its value of JSON types."""

    number: int
    value: Any


class DocumentError(ValueError):
    """A document cannot be read.

    Args:
        problem: what is wrong.
        document: its number, from 1; 0 when the stream as a whole is meant.
        line, column: where, from 1; 0 when unknown.
    """

    def __init__(self, problem: str, document: int = 0, line: int = 0, column: int = 0) -> None:
        self.problem = problem
        self.document = document
        self.line = line
        self.column = column
        super().__init__(str(self))

    def __str__(self) -> str:
        """``document 2, line 7, column 3: problem``."""
        places = (("document", self.document), ("line", self.line), ("column", self.column))
        where = ", ".join(f"{word} {number}" for word, number in places if number)
        return f"{where}: {self.problem}" if where else self.problem


def parse_integer(text: str) -> int | None:
    """An integer as YAML 1.1 and Kubernetes write it, None when the text is none.

    Base 60 (``22:22``) stays text, as it does in Kubernetes.

    Raises:
        ValueError: it has more than 64 bits.
    """
    match = _INTEGER.fullmatch(text)
    if match is None:
        return None
    digits, base = next((match[name], base) for name, base in _BASES if match[name])
    plain = digits.replace("_", "")
    if not plain:
        return None
    value = int(plain, base) if len(plain) <= _LONGEST_INTEGER else 2**64
    value = -value if match["sign"] == "-" else value
    if not -(2**63) <= value < 2**64:
        raise ValueError("an integer of more than 64 bits")
    return value


def parse_float(text: str) -> float:
    """A finite number.

    Raises:
        ValueError: it is beyond a double, which JSON cannot carry.
    """
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number beyond the range of a double")
    return value
