"""Answers to a list: one page, or all."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from edgemesh.wire.kubernetes_api.objects import UNREADABLE, ApiContentError


class ListPage(NamedTuple):
    """A page of a list.

    Args:
        items: each object's JSON, not looked into; they keep the whole answer in memory.
        revision: that the list shows, "" when the server does not say.
        following: the token to ask for the next page with, "" when this was the last.
        local: whether MetaServer answered out of what it keeps itself: its cloud is away, and the
            list may lack any object. An answer without ``metadata`` is such a one too; MetaServer
            gives the same for a resource that does not exist (captures, table and point 29).
    """

    items: list[msgspec.Raw]
    revision: str
    following: str
    local: bool


class _Metadata(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")
    # Gone from API servers since Kubernetes 1.20; MetaServer writes it for local rows only.
    self_link: str = ""


class _List(msgspec.Struct):
    kind: str
    metadata: _Metadata | None = None
    items: list[msgspec.Raw] | None = None


_decoder = msgspec.json.Decoder(_List)


def read_list(data: bytes) -> ListPage:
    """Read the body of a list's answer.

    Raises:
        ApiContentError: it is no list.
    """
    try:
        listed = _decoder.decode(data)
    except UNREADABLE as error:
        raise ApiContentError(f"the answer is no list: {error}") from error
    if not listed.kind.endswith("List"):
        raise ApiContentError(f"expected a list, found kind {listed.kind!r:.100}")
    metadata = listed.metadata or _Metadata()
    return ListPage(
        listed.items or [],
        metadata.resource_version,
        metadata.continue_,
        bool(metadata.self_link) or not metadata.resource_version,
    )
