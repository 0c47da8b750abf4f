"""Rules that lead Messages and calls from one RuleEndpoint to another, as the router uses them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from edgemesh.model.policies import Quota

NO_MAP: Mapping[str, str] = {}


class RuleEndpointType(StrEnum):
    """What a RuleEndpoint stands for; all but ``service`` are KubeEdge's."""

    REST = "rest"
    EVENTBUS = "eventbus"
    SERVICEBUS = "servicebus"
    SERVICE = "service"


# Source and target that a rule may join. KubeEdge's admission webhook allows the first three; its
# router knows the fourth as well. What goes to a service is a stream, not a Message.
RULE_KINDS = frozenset(
    {
        (RuleEndpointType.REST, RuleEndpointType.EVENTBUS),
        (RuleEndpointType.REST, RuleEndpointType.SERVICEBUS),
        (RuleEndpointType.EVENTBUS, RuleEndpointType.REST),
        (RuleEndpointType.SERVICEBUS, RuleEndpointType.REST),
        (RuleEndpointType.REST, RuleEndpointType.SERVICE),
        (RuleEndpointType.SERVICE, RuleEndpointType.SERVICE),
    }
)


@dataclass(frozen=True, slots=True)
class RouterEndpoint:
    """Where Messages come from or go to.

    Args:
        id: the object's uid.
        namespace, name: of the object.
        type: see there.
        properties: ``service_port`` of a servicebus; ``service``, ``namespace`` and ``port`` of a
            service.
        project_id: "" for none.
        is_shared: whether other projects may use it.
    """

    id: str
    namespace: str
    name: str
    type: RuleEndpointType
    properties: Mapping[str, str] = field(default_factory=lambda: NO_MAP)
    project_id: str = ""
    is_shared: bool = False


@dataclass(frozen=True, slots=True)
class RouterRule:
    """One way from a source to a target.

    Args:
        id: the object's uid.
        namespace, name: of the object.
        source, target: the RuleEndpoints.
        source_resource: ``path`` of a rest source; ``topic`` and ``node_name`` of an eventbus;
            ``target_url`` and ``node_name`` of a servicebus.
        target_resource: ``resource``, a URL, of a rest target; ``topic`` of an eventbus; ``path``
            of a servicebus or a service.
        quota: calls that may pass, None for all.
        project_id, domain_id: "" for none.
        in_use: whether it is applied.
    """

    id: str
    namespace: str
    name: str
    source: RouterEndpoint
    target: RouterEndpoint
    source_resource: Mapping[str, str] = field(default_factory=lambda: NO_MAP)
    target_resource: Mapping[str, str] = field(default_factory=lambda: NO_MAP)
    quota: Quota | None = None
    project_id: str = ""
    domain_id: str = ""
    in_use: bool = True

    def __str__(self) -> str:
        """``default/my-rule``, for messages to people."""
        return f"{self.namespace}/{self.name}"
