"""The part of a request that consistent hashing goes by."""

from __future__ import annotations

from edgemesh.model.policies import HashKey, HashSource
from edgemesh.policy.routing.cookies import cookie
from edgemesh.policy.routing.query import parameter
from edgemesh.policy.routing.request import RequestFacts, header_value


def hash_text(key: HashKey | None, request: RequestFacts, client: str) -> str | None:
    """The text whose hash chooses the endpoint; None when the request has none.

    Args:
        key: which part of the request counts; None for the client's address.
        request: see there.
        client: the client's address, without its port.
    """
    if key is None or key.source is HashSource.SOURCE_ADDRESS:
        return client
    if key.source is HashSource.HEADER:
        return header_value(request, key.name)
    if key.source is HashSource.QUERY:
        return parameter(request.query, key.name)
    return cookie(request.value("cookie") or "", key.name)


def wants_cookie(key: HashKey | None, text: str | None) -> bool:
    """Whether the answer gives the client a cookie, since it came without one."""
    return (
        text is None
        and key is not None
        and key.source is HashSource.COOKIE
        and key.cookie_ttl_seconds is not None
    )
