"""What a node may ask of the cloud and write there: what is its own, and nothing else.

CloudCore trusts every node with everything unless told otherwise (captures, point 3), and a
refused node waits for an answer in vain. Here each Message is judged by what it names, against
the node of the certificate; a refusal has a name to count it by, and words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from edgemesh.wire.kubeedge.application import (
    PLAIN_KEYS,
    WATCH_SYNC,
    Application,
    Verb,
    is_application,
    read_application,
    read_watches,
)
from edgemesh.wire.kubeedge.session import is_keepalive
from edgemesh.wire.message import Group, Message, MessageError, Operation, ResourcePath

LEASE_NAMESPACE: Final = "kube-node-lease"
SYNC_RESOURCE: Final = "all/sync"
NODE_LINK: Final = "nodelink"

# Modules of the cloud. An edge's acknowledgements keep the source of what they acknowledge; in
# anything else of an edge they are forged.
_CLOUD_SOURCES = frozenset(
    {
        "cloudhub",
        "devicecontroller",
        "dynamiccontroller",
        "edgecontroller",
        "policycontroller",
        "router",
        "router_eventbus",
        "router_rest",
        "router_servicebus",
        "synccontroller",
        "taskmanager",
    }
)
_READING = frozenset({Verb.GET, Verb.LIST, Verb.WATCH})
# Given out one by one, to nodes whose Pods use them.
_CONFIDENTIAL = frozenset({"configmaps", "secrets"})


class Forbidden(StrEnum):
    """Why a Message of a node is refused."""

    FORGED_SOURCE = "forged-source"
    OTHER_NODE = "other-node"
    NOT_USED_HERE = "not-used-here"
    READ_ONLY = "read-only"
    UNKNOWN_OPERATION = "unknown-operation"
    UNKNOWN_RESOURCE = "unknown-resource"
    MALFORMED = "malformed"


class Refused(NamedTuple):
    """A refusal.

    Args:
        reason: to count it by.
        problem: what is wrong, for logs; it names the resource.
    """

    reason: Forbidden
    problem: str


class Holdings(Protocol):
    """What belongs to a node by way of its Pods."""

    def has_pod(self, namespace: str, name: str) -> bool:
        """Whether this Pod is bound to the node."""

    def uses(self, kind: str, namespace: str, name: str) -> bool:
        """Whether a Pod of the node uses this ``configmap`` or ``secret``."""


def refuse(message: Message, node: str, holdings: Holdings) -> Refused | None:
    """Judge a Message that came from a node; None when it may.

    Args:
        message: as it came.
        node: of the certificate.
        holdings: of this node.
    """
    route = message.route
    if is_keepalive(message) or route.operation == Operation.RESPONSE:
        return None
    if route.source in _CLOUD_SOURCES:
        return Refused(Forbidden.FORGED_SOURCE, f"source {route.source!r} is not one of an edge")
    if route.group == Group.USER:
        return _refuse_user(message)
    try:
        if is_application(message):
            return _refuse_applications(message, node, holdings)
        return _refuse_resource(message, node, holdings)
    except MessageError as error:
        return Refused(Forbidden.MALFORMED, str(error))


def _refuse_user(message: Message) -> Refused | None:
    # Which rule an upload meets, the router decides; edges have nothing else to say to it.
    # EdgeCore leaves the operation of its own errors empty (captures, point 31).
    if message.route.operation in {Operation.UPLOAD, ""}:
        return None
    return _unknown_operation(message)


def _refuse_resource(message: Message, node: str, holdings: Holdings) -> Refused | None:
    operation = message.route.operation
    if message.route.resource == SYNC_RESOURCE:
        return None if operation == Operation.QUERY else _unknown_operation(message)
    path = message.resource
    rule = _RULES.get(path.type)
    if rule is None:
        return Refused(
            Forbidden.UNKNOWN_RESOURCE, f"nothing is known here of {message.route.resource!r}"
        )
    if operation not in rule.operations:
        return _unknown_operation(message)
    return rule.refuse(message, path, node, holdings)


def _refuse_own(
    message: Message, path: ResourcePath, node: str, _holdings: Holdings
) -> Refused | None:
    if path.name != node:
        return _others(message.route.resource, node)
    if path.type == "lease" and path.namespace != LEASE_NAMESPACE:
        return _others(message.route.resource, node)
    if message.route.operation in {Operation.INSERT, Operation.UPDATE} and path.type != NODE_LINK:
        return _refuse_content(message, node)
    return None


def _refuse_content(message: Message, node: str) -> Refused | None:
    """An object is stored under the name in its metadata, whatever the resource says."""
    value = message.value()
    metadata = value.get("metadata") if isinstance(value, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if name == node:
        return None
    return _others(f"{message.route.resource} with metadata.name {name!r:.100}", node)


def _refuse_pod(
    message: Message, path: ResourcePath, node: str, holdings: Holdings
) -> Refused | None:
    if holdings.has_pod(path.namespace, path.name):
        return None
    return _others(message.route.resource, node)


def _refuse_used(
    message: Message, path: ResourcePath, _node: str, holdings: Holdings
) -> Refused | None:
    if path.name and holdings.uses(path.type, path.namespace, path.name):
        return None
    return Refused(Forbidden.NOT_USED_HERE, f"no Pod of the node uses {message.route.resource!r}")


def _refuse_applications(message: Message, node: str, holdings: Holdings) -> Refused | None:
    asked: Mapping[str, Application]
    if message.route.resource == WATCH_SYNC:
        asked = read_watches(message)
    else:
        asked = {"": read_application(message)}
    refusals = (_refuse_application(each, node, holdings) for each in asked.values())
    return next((refused for refused in refusals if refused is not None), None)


def _refuse_application(application: Application, node: str, holdings: Holdings) -> Refused | None:
    if application.node != node:
        return _others(f"an Application of node {application.node!r:.100}", node)
    if application.verb not in _READING:
        return Refused(Forbidden.READ_ONLY, f"{application.verb!r:.40} of {application.key!r:.300}")
    if application.key in PLAIN_KEYS:
        return None
    key = application.asked_of
    if key.group or key.resource not in _CONFIDENTIAL:
        return None
    kind = key.resource.removesuffix("s")
    if key.namespace and key.name and holdings.uses(kind, key.namespace, key.name):
        return None
    return Refused(Forbidden.NOT_USED_HERE, f"no Pod of the node uses {application.key!r:.300}")


def _others(what: str, node: str) -> Refused:
    return Refused(Forbidden.OTHER_NODE, f"{what!r:.400} does not belong to node {node}")


def _unknown_operation(message: Message) -> Refused:
    route = message.route
    return Refused(
        Forbidden.UNKNOWN_OPERATION, f"{route.operation!r:.40} of {route.resource!r:.300}"
    )


_Judge = Callable[[Message, ResourcePath, str, Holdings], Refused | None]


class _Rule(NamedTuple):
    operations: frozenset[str]
    refuse: _Judge


def _rule(judge: _Judge, *operations: Operation) -> _Rule:
    return _Rule(frozenset(operations), judge)


_RULES: Final[Mapping[str, _Rule]] = {
    "node": _rule(_refuse_own, Operation.QUERY, Operation.INSERT, Operation.UPDATE),
    "nodepatch": _rule(_refuse_own, Operation.PATCH),
    "nodestatus": _rule(_refuse_own, Operation.UPDATE),
    "lease": _rule(_refuse_own, Operation.QUERY, Operation.INSERT, Operation.UPDATE),
    NODE_LINK: _rule(_refuse_own, Operation.UPDATE),
    "pod": _rule(_refuse_pod, Operation.QUERY, Operation.DELETE),
    "podpatch": _rule(_refuse_pod, Operation.PATCH),
    "podstatus": _rule(_refuse_pod, Operation.UPDATE),
    "configmap": _rule(_refuse_used, Operation.QUERY),
    "secret": _rule(_refuse_used, Operation.QUERY),
}
