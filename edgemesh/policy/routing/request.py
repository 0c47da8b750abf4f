"""What routing reads of a request, and of who sent it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class RequestFacts(Protocol):
    """The head of a request, whatever HTTP version carried it.

    ``host`` is in lower case and has no port; ``path`` is as it was sent, up to the query;
    ``query`` is what follows ``?``, not decoded.
    """

    @property
    def method(self) -> str: ...

    @property
    def host(self) -> str: ...

    @property
    def path(self) -> str: ...

    @property
    def query(self) -> str: ...

    def value(self, name: str) -> str | None:
        """The value of a header, by its name in lower case; None when it was not sent."""
        ...


def header_value(request: RequestFacts, name: str) -> str | None:
    """The value of a header, or of a pseudo-header of HTTP/2, whatever HTTP version it is.

    ``:authority`` is the host, as Istio's ``authority`` conditions mean it; ``:path`` comes with
    the query (RFC 9113 section 8.3.1).
    """
    if not name.startswith(":"):
        return request.value(name)
    if name == ":authority":
        return request.host
    if name == ":method":
        return request.method
    if name == ":path":
        return f"{request.path}?{request.query}" if request.query else request.path
    return None


class Caller(NamedTuple):
    """The Pod that a request or a connection comes from: its namespace and its labels."""

    namespace: str
    labels: Mapping[str, str]


def comes_from(caller: Caller | None, namespace: str, labels: tuple[tuple[str, str], ...]) -> bool:
    """Whether a caller is one that is meant.

    Args:
        caller: None when it is not known; then only everybody means it.
        namespace: "" for any.
        labels: that it has to have.
    """
    if caller is None:
        return not (namespace or labels)
    return (not namespace or caller.namespace == namespace) and all(
        caller.labels.get(name) == value for name, value in labels
    )
