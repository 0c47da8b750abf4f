"""From Rule and RuleEndpoint objects to what the router goes by, or to what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from edgemesh.model.router import RULE_KINDS, RouterEndpoint, RouterRule, RuleEndpointType
from edgemesh.wire.kubernetes.router_objects import ANNOTATIONS, Rule, RuleEndpoint, quota_of
from edgemesh.wire.quoting import quote

_SOURCE_FIELD = {
    RuleEndpointType.REST: "path",
    RuleEndpointType.EVENTBUS: "topic",
    RuleEndpointType.SERVICEBUS: "target_url",
}
_TARGET_FIELD = {
    RuleEndpointType.REST: "resource",
    RuleEndpointType.EVENTBUS: "topic",
    RuleEndpointType.SERVICEBUS: "path",
}
# These rules concern the one node that is named.
_OF_ONE_NODE = {RuleEndpointType.EVENTBUS, RuleEndpointType.SERVICEBUS}


class RouterProblem(NamedTuple):
    """Why an object has no effect.

    Args:
        field: its path.
        problem: a sentence.
        resolved: false when another object is missing or does not fit, so that it may yet come.
    """

    field: str
    problem: str
    resolved: bool = True

    def __str__(self) -> str:
        """``spec.source: ...``, for messages to people."""
        return f"{self.field}: {self.problem}"


def router_endpoint(view: RuleEndpoint) -> RouterEndpoint:
    """What the router needs of a RuleEndpoint that was checked."""
    metadata = view.metadata
    return RouterEndpoint(
        id=metadata.uid,
        namespace=metadata.namespace,
        name=metadata.name,
        type=RuleEndpointType(view.spec.rule_endpoint_type),
        properties=view.spec.properties,
        project_id=metadata.annotations.get(f"{ANNOTATIONS}project-id", ""),
        is_shared=metadata.annotations.get(f"{ANNOTATIONS}shared") == "true",
    )


def router_rule(
    view: Rule, endpoints: Mapping[tuple[str, str], RouterEndpoint]
) -> RouterRule | RouterProblem:
    """What the router needs of a Rule that was checked.

    Args:
        view: the Rule.
        endpoints: by namespace and name.

    Returns:
        The rule, or why it has no effect.
    """
    metadata, spec = view.metadata, view.spec
    found: list[RouterEndpoint] = []
    for field, name in (("spec.source", spec.source), ("spec.target", spec.target)):
        endpoint = endpoints.get((metadata.namespace, name))
        if endpoint is None:
            problem = f"there is no RuleEndpoint {metadata.namespace}/{name}"
            return RouterProblem(field, problem, resolved=False)
        found.append(endpoint)
    source, target = found
    if (source.type, target.type) not in RULE_KINDS:
        return RouterProblem(
            "spec.target", f"no rule leads from {source.type} to {target.type}", resolved=False
        )
    return _lacking(view, source, target) or RouterRule(
        id=metadata.uid,
        namespace=metadata.namespace,
        name=metadata.name,
        source=source,
        target=target,
        source_resource=spec.source_resource,
        target_resource=spec.target_resource,
        quota=quota_of(view),
        project_id=metadata.annotations.get(f"{ANNOTATIONS}project-id", ""),
        domain_id=metadata.annotations.get(f"{ANNOTATIONS}domain-id", ""),
        in_use=metadata.annotations.get(f"{ANNOTATIONS}in-use") != "false",
    )


def _lacking(view: Rule, source: RouterEndpoint, target: RouterEndpoint) -> RouterProblem | None:
    sides = (
        ("spec.sourceResource", view.spec.source_resource, _SOURCE_FIELD.get(source.type)),
        ("spec.targetResource", view.spec.target_resource, _TARGET_FIELD.get(target.type)),
    )
    for where, resource, name in sides:
        if name is not None and not resource.get(name):
            return RouterProblem(f"{where}.{name}", "is missing or empty")
    if source.type in _OF_ONE_NODE and not view.spec.source_resource.get("node_name"):
        return RouterProblem("spec.sourceResource.node_name", "is missing or empty")
    if target.type is RuleEndpointType.REST:
        url = view.spec.target_resource["resource"]
        if not _is_http_url(url):
            problem = f"expected an http or https URL, got {quote(url)}"
            return RouterProblem("spec.targetResource.resource", problem)
    return None


def _is_http_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        return False
