"""Changes that a route makes to the headers of requests and responses."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from edgemesh.model.routes import HeaderChanges
from edgemesh.wire.http1.rebuild import may_change

Headers = tuple[tuple[str, str], ...]

_HOST: Final = "host"


def change_headers(headers: Headers, changes: HeaderChanges) -> Headers:
    """Remove, then set, then add headers.

    What is set takes the place of the first header of that name, or else the last place; of two
    values that are set for one name, the first counts (Gateway API v1, HTTPHeaderFilter). What
    ``may_change`` refuses stays as it is, and so does the host: routes rewrite that, since HTTP/2
    has it in another place.

    Args:
        headers: names in lower case, in order.
        changes: see there.
    """
    changes = _possible(changes)
    wanted = dict(reversed(changes.set))
    placed: set[str] = set()
    changed: list[tuple[str, str]] = []
    for name, value in headers:
        if name in wanted:
            if name not in placed:
                placed.add(name)
                changed.append((name, wanted[name]))
        elif name not in changes.remove:
            changed.append((name, value))
    missing = dict.fromkeys(name for name, _ in changes.set if name not in placed)
    changed.extend((name, wanted[name]) for name in missing)
    return (*changed, *changes.add)


@lru_cache(maxsize=4096)
def _possible(changes: HeaderChanges) -> HeaderChanges:
    return HeaderChanges(
        tuple(name for name in changes.remove if name != _HOST and may_change(name)),
        tuple(pair for pair in changes.set if pair[0] != _HOST and may_change(*pair)),
        tuple(pair for pair in changes.add if pair[0] != _HOST and may_change(*pair)),
    )
