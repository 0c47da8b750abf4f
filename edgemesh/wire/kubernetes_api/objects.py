"""Objects as an API server sends them."""

from __future__ import annotations

from typing import Any

import msgspec

# What msgspec raises for bytes that are no JSON, no UTF-8, or nested too deeply.
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class ApiContentError(ValueError):
    """An answer is not what an API server says; the text tells what is wrong."""


def read_object(raw: bytes | msgspec.Raw, api_version: str, kind: str) -> dict[str, Any]:
    """One object, complete, with what every object has checked.

    An API server leaves ``apiVersion`` and ``kind`` out of the items of a list, and KubeEdge out
    of some events. ``metadata.managedFields`` goes: the API server's own bookkeeping, and often
    the larger half of an object.

    Args:
        raw: JSON.
        api_version: to be put in where it lacks.
        kind: likewise.

    Raises:
        ApiContentError: it is no object with a name.
    """
    try:
        sent = msgspec.json.decode(raw)
    except UNREADABLE as error:
        raise ApiContentError(f"an object is not JSON: {error}") from error
    match sent:
        case {"metadata": {"name": str(name)} as metadata} if name:
            pass
        case _:
            raise ApiContentError(f"expected an object with metadata.name, found {sent!r:.100}")
    for field in ("namespace", "uid", "resourceVersion"):
        if not isinstance(metadata.get(field, ""), str):
            raise ApiContentError(f"metadata.{field} of {name!r:.100} is not a string")
    metadata.pop("managedFields", None)
    return {"apiVersion": api_version, "kind": kind, **sent}
