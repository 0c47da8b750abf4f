"""Field types that are more than their text."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from edgemesh.wire.http1.rebuild import may_change

_UNIT_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_PART = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(h|ms|us|ns|m|s)"
_DURATION = re.compile(rf"\A(?:0|(?:{_PART}){{1,6}})\Z")
# No deadline is later than that, which Gateway API's five digits of hours come near.
_LONGEST_SECONDS = 100_000 * 3600.0
_PARTS = re.compile(_PART)


class Duration(float):
    """Seconds, written as Go, Istio and Gateway API (GEP-2257) write them: ``1h30m``, ``1.5s``."""

    description: ClassVar[str] = "a duration such as 10s, 500ms or 1h30m"
    shortest: ClassVar[float] = 0.0

    @classmethod
    def parse(cls, value: Any) -> Duration:
        """Read a duration.

        Raises:
            ValueError: it is none.
        """
        if not isinstance(value, str) or not _DURATION.match(value):
            raise ValueError(cls.description)
        parts = _PARTS.findall(value)
        seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)
        if not cls.shortest <= seconds <= _LONGEST_SECONDS:
            raise ValueError(cls.description)
        return cls(seconds)


class Interval(Duration):
    """A time after which something is done again, long enough not to be all that is done."""

    description: ClassVar[str] = "a duration of 10ms or more"
    shortest: ClassVar[float] = 0.01


class ChangeableHeader(str):
    """The name of a header that a route may change.

    The host is rewritten instead, since HTTP/2 has it in another place.
    """

    __slots__ = ()
    description: ClassVar[str] = "the name of a header that routes may change"

    @classmethod
    def parse(cls, value: Any) -> ChangeableHeader:
        """Check a name.

        Raises:
            ValueError: it is none, or belongs to the connection.
        """
        if isinstance(value, str) and value.lower() != "host" and may_change(value.lower(), ""):
            return cls(value)
        raise ValueError(cls.description)


def parse_field(kind: type[Any], value: Any) -> Any:
    """What msgspec calls for a field of one of these types (``dec_hook``)."""
    return kind.parse(value)
