"""The Connection field and what goes with it from one hop to the next only.

RFC 9110 section 7.6.1: fields that Connection names are taken out, and so are Keep-Alive,
Proxy-Connection, and Upgrade and TE where they are not meant for the endpoint. Trailer stays,
for trailers are forwarded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from edgemesh.wire.http1.fields import is_token
from edgemesh.wire.http1.heads import BAD_REQUEST, MalformedHead

_HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "proxy-connection", "te", "upgrade"})
# Taking these out would change where a message goes or where it ends.
_ESSENTIAL: Final = frozenset({"host", "content-length", "transfer-encoding"})
# What is longer is read anew each time, so that the memory of _read is bounded.
_REMEMBERED_LENGTH: Final = 128


@dataclass(frozen=True, slots=True)
class Connection:
    """What holds for one hop.

    Args:
        keep_alive: another message may follow on the connection.
        upgrade: value of Upgrade where it is asked for, else "".
        removed: names of the fields that are taken out if they are there.
        options: what remains of the Connection field, None when it stays as it is.
    """

    keep_alive: bool
    upgrade: str = ""
    removed: frozenset[str] = frozenset()
    options: str | None = None

    def forwards(self, values: Mapping[str, str]) -> bool:
        """Whether the head with these fields may go on as it came."""
        return self.options is None and self.removed.isdisjoint(values)


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
    if _HOP_BY_HOP.isdisjoint(values):
        return _PERSISTENT if minor else _CLOSING
    connection = values.get("connection", "")
    te = values.get("te", "")
    # RFC 9110 section 7.8: HTTP/1.0 knows no Upgrade.
    upgrade = values.get("upgrade", "") if may_upgrade and minor else ""
    if len(connection) + len(te) + len(upgrade) > _REMEMBERED_LENGTH:
        return _read(connection, te, upgrade, minor)
    return _remembered(connection, te, upgrade, minor)


def _read(connection: str, te: str, upgrade: str, minor: int) -> Connection:
    spelled = _options(connection)
    options = {option.lower() for option in spelled}
    upgrades = bool(upgrade) and "upgrade" in options and not _is_h2c(upgrade)
    passing = {"close", "keep-alive"}
    removed = {"keep-alive", "proxy-connection"}
    (passing if upgrades else removed).add("upgrade")
    (passing if te.lower() == "trailers" else removed).add("te")
    return Connection(
        keep_alive="close" not in options and (minor == 1 or "keep-alive" in options),
        upgrade=upgrade if upgrades else "",
        removed=frozenset(removed | options - passing),
        options=None
        if options <= passing
        else ", ".join(option for option in spelled if option.lower() in passing),
    )


_remembered = lru_cache(maxsize=256)(_read)


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
