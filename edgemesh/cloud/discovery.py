"""Which of the kinds that edgemesh keeps a server serves, and under which path.

An API server tells (``/apis``). KubeEdge's MetaServer tells in protobuf only, and answers a list of
what nobody serves like one of nothing, but without a resourceVersion (captures, table): so it is
asked for lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import NamedTuple

from edgemesh.cloud.access import Access
from edgemesh.cloud.objects import ApiRefusedError
from edgemesh.model.kinds import Kind
from edgemesh.wire.kubernetes_api.discovery import read_group_versions, read_resources
from edgemesh.wire.kubernetes_api.lists import read_list
from edgemesh.wire.kubernetes_api.objects import ApiContentError
from edgemesh.wire.kubernetes_api.status import read_status, retry_after

_CORE = "v1"
# In every cluster for years; a MetaServer is not asked whether it has them.
_BUILT_IN = ("discovery.k8s.io",)


class Served(NamedTuple):
    """A kind that is served.

    Args:
        path: where all of its objects are, ``/apis/rules.kubeedge.io/v1/rules``.
        status: whether their status is written under a path of its own.
    """

    path: str
    status: bool


class Discovered(NamedTuple):
    """What was found out.

    Args:
        served: the best served version of each kind that is served, by the kind's name.
        by_lists: whether lists were asked for, each of which costs KubeEdge's cloud something.
    """

    served: Mapping[str, Served]
    by_lists: bool = False


async def discover(
    access: Access, kinds: Iterable[Kind], known: Mapping[str, Served]
) -> Discovered:
    """Find out what a server serves.

    Args:
        access: to the server.
        kinds: to look for.
        known: that were found before; they need not be asked for again where that costs much.

    Raises:
        ApiRefusedError, UnreachableError: the server does not say.
        ApiContentError: it says what cannot be read.
    """
    groups = await _asked(access, "/apis")
    try:
        versions = read_group_versions(groups or b"")
    except ApiContentError:
        return Discovered(await _by_lists(access, kinds, known), by_lists=True)
    resources: dict[str, frozenset[str]] = {}
    found: dict[str, Served] = {}
    for kind in kinds:
        for version in kind.api_versions:
            if version != _CORE and version not in versions:
                continue
            if version not in resources:
                resources[version] = await _resources(access, version)
            if kind.plural in resources[version]:
                has_status = f"{kind.plural}/status" in resources[version]
                found[kind.name] = Served(_path(version, kind), has_status)
                break
    return Discovered(found)


async def _resources(access: Access, version: str) -> frozenset[str]:
    below = "/api" if version == _CORE else "/apis"
    answer = await _asked(access, f"{below}/{version}")
    # A group's version may go between the two questions.
    return frozenset() if answer is None else read_resources(answer)


async def _by_lists(
    access: Access, kinds: Iterable[Kind], known: Mapping[str, Served]
) -> Mapping[str, Served]:
    found = dict(known)
    for kind in kinds:
        if kind.name in known:
            continue
        for version in kind.api_versions:
            if await _is_listed(access, version, kind):
                found[kind.name] = Served(_path(version, kind), status=False)
                break
    return found


async def _is_listed(access: Access, version: str, kind: Kind) -> bool:
    if version == _CORE or version.startswith(_BUILT_IN):
        return True
    answer = await _asked(access, _path(version, kind), {"limit": "1"})
    return answer is not None and bool(read_list(answer).revision)


async def _asked(access: Access, path: str, query: Mapping[str, str] | None = None) -> bytes | None:
    """What is answered; None where there is nothing of the kind."""
    answer = await access.request("GET", path, query=query)
    if answer.status == HTTPStatus.OK:
        return answer.body
    failure = read_status(answer.body, answer.status)
    if failure.code == HTTPStatus.NOT_FOUND:
        return None
    raise ApiRefusedError(failure, retry_after(answer.headers))


def _path(version: str, kind: Kind) -> str:
    return f"{'/api' if version == _CORE else '/apis'}/{version}/{kind.plural}"
