"""Changes that a route makes to the headers of requests and responses."""

from __future__ import annotations

from typing import Final

from edgemesh.model.routes import HeaderChanges

Headers = tuple[tuple[str, str], ...]

# They say where a message ends and which connection it is for: whoever forwards it sets them.
# The host is rewritten (``Rewrite.host``), since HTTP/2 has it in another place.
UNCHANGEABLE: Final = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def is_changeable(name: str) -> bool:
    """Whether routes may change a header, by its name in lower case."""
    return name not in UNCHANGEABLE and not name.startswith(":")


def change_headers(headers: Headers, changes: HeaderChanges) -> Headers:
    """Remove, then set, then add headers.

    What is set takes the place of the first header of that name, or else the last place; of two
    values that are set for one name, the first counts (Gateway API v1, HTTPHeaderFilter). What
    ``is_changeable`` does not let change stays as it is.

    Args:
        headers: names in lower case, in order.
        changes: see there.
    """
    if not (changes.remove or changes.set or changes.add):
        return headers
    removed = {name for name in changes.remove if is_changeable(name)}
    wanted = {name: value for name, value in reversed(changes.set) if is_changeable(name)}
    placed: set[str] = set()
    changed: list[tuple[str, str]] = []
    for name, value in headers:
        if name in wanted:
            if name not in placed:
                placed.add(name)
                changed.append((name, wanted[name]))
        elif name not in removed:
            changed.append((name, value))
    missing = [name for name, _ in changes.set if name in wanted and name not in placed]
    changed.extend((name, wanted[name]) for name in dict.fromkeys(missing))
    changed.extend((name, value) for name, value in changes.add if is_changeable(name))
    return tuple(changed)
