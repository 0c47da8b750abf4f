"""Where the cloud is, as the setting ``bus.cloud`` says it."""

from __future__ import annotations

import re
from typing import NamedTuple

from edgemesh.model.errors import OperatorError

DEFAULT_PORT = 10000
_PORT = "(?::([0-9]{1,5}))?"
_FORMS = (
    re.compile(rf"([A-Za-z0-9](?:[-A-Za-z0-9.]*[A-Za-z0-9])?){_PORT}"),
    re.compile(rf"\[([0-9A-Fa-f:.]+)\]{_PORT}"),
    re.compile(r"([0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*)()"),
)


class CloudAddress(NamedTuple):
    """A host name or address, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        """``cloud.example:10000`` or ``[2001:db8::1]:10000``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> CloudAddress:
        """Read ``host``, ``host:port``, ``[address]:port`` or an IPv6 address alone.

        Raises:
            OperatorError: it is none of these.
        """
        for form in _FORMS:
            found = form.fullmatch(text)
            if found and 0 < int(found[2] or DEFAULT_PORT) < 65536:
                return cls(found[1], int(found[2] or DEFAULT_PORT))
        raise OperatorError(
            f"bus.cloud: {text!r} is not HOST or HOST:PORT",
            "as in cloud.example:10000 or [2001:db8::1]:10000",
        )
