"""What an API server says it serves: ``/apis``, and below it each group's version."""

from __future__ import annotations

import msgspec

from edgemesh.wire.kubernetes_api.objects import UNREADABLE, ApiContentError


class _Version(msgspec.Struct, rename="camel"):
    group_version: str


class _Group(msgspec.Struct):
    versions: list[_Version]


class _Groups(msgspec.Struct):
    groups: list[_Group]


class _Resource(msgspec.Struct):
    name: str


class _Resources(msgspec.Struct):
    resources: list[_Resource]


def read_group_versions(data: bytes) -> frozenset[str]:
    """Every ``group/version`` of an APIGroupList.

    Raises:
        ApiContentError: it is none; KubeEdge's MetaServer answers in protobuf.
    """
    try:
        listed = msgspec.json.decode(data, type=_Groups)
    except UNREADABLE as error:
        raise ApiContentError(f"the answer is no list of groups: {error}") from error
    return frozenset(each.group_version for group in listed.groups for each in group.versions)


def read_resources(data: bytes) -> frozenset[str]:
    """The resources of an APIResourceList, ``rules`` and ``rules/status``.

    Raises:
        ApiContentError: it is none.
    """
    try:
        listed = msgspec.json.decode(data, type=_Resources)
    except UNREADABLE as error:
        raise ApiContentError(f"the answer is no list of resources: {error}") from error
    return frozenset(each.name for each in listed.resources)
