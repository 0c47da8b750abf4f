"""The Connection field and what goes with it from one hop to the next only.

RFC 9110 section 7.6.1: fields that Connection names are taken out, and so are Keep-Alive,
Proxy-Connection, and Upgrade and TE where they are not meant for the endpoint. Trailer stays,
for trailers are forwarded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from edgemesh.wire.http1.fields import is_token
from edgemesh.wire.http1.heads import BAD_REQUEST, MalformedHead

HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "proxy-connection", "te", "upgrade"})
# Taking these out would change where a message goes or where it ends.
_ESSENTIAL: Final = frozenset({"host", "content-length", "transfer-encoding"})
_NONE: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Connection:
    """What holds for one hop.

    Args:
        keep_alive: another message may follow on the connection.
        upgrade: value of Upgrade where it is asked for, else "".
        removed: names of the fields that are taken out, those of them that are there.
        options: what remains of the Connection field, None when it stays as it is.
    """

    keep_alive: bool
    upgrade: str = ""
    removed: frozenset[str] = _NONE
    options: str | None = None

    @property
    def forwardable(self) -> bool:
        """Whether the head may go on as it came."""
        return not self.removed and self.options is None


_PERSISTENT: Final = Connection(keep_alive=True)
_CLOSING: Final = Connection(keep_alive=False)


def read_connection(values: Mapping[str, str], minor: int, *, may_upgrade: bool) -> Connection:
    """Tell what Connection, Upgrade, TE and Keep-Alive say together.

    Args:
        values: fields by name, repeated ones joined.
        minor: of the version; without a word 1.1 keeps a connection and 1.0 does not.
        may_upgrade: whether an Upgrade has a meaning in this message.

    Raises:
        MalformedHead: an option is no token, or names a field that no hop may take out.
    """
    if HOP_BY_HOP.isdisjoint(values):
        return _PERSISTENT if minor else _CLOSING
    spelled = _options(values.get("connection", ""))
    options = {option.lower() for option in spelled}
    upgrade = ""
    if may_upgrade and minor and "upgrade" in options and not _is_h2c(values.get("upgrade", "")):
        upgrade = values.get("upgrade", "")
    passing = {"close", "keep-alive"}
    removed = {"keep-alive", "proxy-connection"}
    (passing if upgrade or "upgrade" not in values else removed).add("upgrade")
    (passing if values.get("te", "").lower() == "trailers" else removed).add("te")
    options_change = not options <= passing
    return Connection(
        keep_alive="close" not in options and (minor == 1 or "keep-alive" in options),
        upgrade=upgrade,
        removed=frozenset(removed | options - passing) & values.keys(),
        options=", ".join(option for option in spelled if option.lower() in passing)
        if options_change
        else None,
    )


def _options(value: str) -> list[str]:
    # Empty elements of a list are ignored (RFC 9110 section 5.6.1.2).
    options = [option for part in value.split(",") if (option := part.strip(" \t"))]
    for option in options:
        if not is_token(option) or option.lower() in _ESSENTIAL:
            raise MalformedHead(BAD_REQUEST, "connection-option")
    return options


def _is_h2c(upgrade: str) -> bool:
    """Whether the upgrade leads to HTTP/2, whose requests nobody here would look at.

    RFC 9113 section 3.1 has made it obsolete; what remains are attacks ("h2c smuggling").
    """
    return any(part.strip(" \t").lower().startswith("h2c") for part in upgrade.split(","))
