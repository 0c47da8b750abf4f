"""The text that Prometheus reads: format 0.0.4, "Exposition formats" of its documentation.

Written here and not by prometheus-client: that makes an object of every sample, which takes a
second with 10,000 endpoints and cannot be done in pieces; in a thread of its own it holds the
interpreter for 5 ms at a time. A line from a template takes a tenth of that, and a piece is as
small as one endpoint (`edgemesh.observe.slices`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})


class FamilyType(StrEnum):
    """Types of metrics."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name, what it is, and its lines.

    Args:
        name: by Prometheus' conventions: base units, counters end with ``_total``.
        type: see there.
        help: one sentence for people.
        pieces: samples as text; each piece is one or several whole lines.
    """

    name: str
    type: FamilyType
    help: str
    pieces: Iterable[str]

    def text(self) -> Iterator[str]:
        """The family in pieces: what it is, then its samples."""
        meaning = self.help.translate(_HELP_ESCAPES)
        yield f"# HELP {self.name} {meaning}\n# TYPE {self.name} {self.type}\n"
        yield from self.pieces


def labels(**values: str | int) -> str:
    """Labels as they stand between braces; values are escaped."""
    return ",".join(f'{name}="{str(value).translate(_ESCAPES)}"' for name, value in values.items())


def sample(name: str, labels_text: str, value: float) -> str:
    """One line."""
    return f"{name}{{{labels_text}}} {value}\n" if labels_text else f"{name} {value}\n"


def counter(name: str, meaning: str, values: Iterable[tuple[str, float]]) -> Family:
    """A counter from pairs of labels and value."""
    return Family(name, FamilyType.COUNTER, meaning, _samples(name, values))


def gauge(name: str, meaning: str, values: Iterable[tuple[str, float]]) -> Family:
    """A gauge from pairs of labels and value."""
    return Family(name, FamilyType.GAUGE, meaning, _samples(name, values))


def _samples(name: str, values: Iterable[tuple[str, float]]) -> Iterator[str]:
    return (sample(name, labels_text, value) for labels_text, value in values)
