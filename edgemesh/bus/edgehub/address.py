"""Where the cloud is, as the setting ``bus.cloud`` says it."""

from __future__ import annotations

import re
from typing import NamedTuple

from edgemesh.model.errors import OperatorError

DEFAULT_PORT = 10000
_HOST = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*")


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
        host, port = _split(text)
        number = int(port) if port.isascii() and port.isdecimal() and len(port) <= 5 else 0
        if not _HOST.fullmatch(host) or not 0 < number < 65536:
            raise OperatorError(
                f"bus.cloud: {text!r} is not HOST or HOST:PORT",
                "as in cloud.example:10000 or [2001:db8::1]:10000",
            )
        return cls(host, number)


def _split(text: str) -> tuple[str, str]:
    default = str(DEFAULT_PORT)
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, rest.removeprefix(":") if rest else default
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, port
    return text, default
