"""Rule and RuleEndpoint (rules.kubeedge.io/v1), read strictly as KubeEdge's CRDs have them.

What edgemesh has besides is in annotations, so that an object of ours is accepted by KubeEdge's CRD
but for the type ``service``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import field

from edgemesh.model.policies import Quota
from edgemesh.wire.kubernetes.fields import DnsSubdomain, FieldError
from edgemesh.wire.kubernetes.metadata import ObjectView, View
from edgemesh.wire.quoting import quote

ANNOTATIONS = "rules.edgemesh.io/"

_MAX_PORT = 65535


class RuleEndpointSpec(View, frozen=True, kw_only=True):
    """``spec`` of a RuleEndpoint."""

    rule_endpoint_type: Literal["rest", "eventbus", "servicebus", "service"]
    properties: dict[str, str] = field(default_factory=dict)


class RuleEndpoint(ObjectView, frozen=True, kw_only=True):
    """A RuleEndpoint."""

    spec: RuleEndpointSpec


class RuleSpec(View, frozen=True, kw_only=True):
    """``spec`` of a Rule: names of RuleEndpoints of its namespace, and what of them is meant."""

    source: DnsSubdomain
    source_resource: dict[str, str]
    target: DnsSubdomain
    target_resource: dict[str, str]


class Rule(ObjectView, frozen=True, kw_only=True):
    """A Rule."""

    spec: RuleSpec


def check_rule_endpoint(view: RuleEndpoint) -> None:
    """Refuse a RuleEndpoint that can never work.

    Raises:
        FieldError: a property is missing or wrong.
    """
    properties = view.spec.properties
    match view.spec.rule_endpoint_type:
        case "servicebus":
            _check_port(properties, "service_port", required=True)
        case "service":
            if not properties.get("service"):
                raise FieldError("spec.properties.service", "expected the name of a Service")
            _check_port(properties, "port", required=False)
        case _:
            pass


def check_rule(view: Rule) -> None:
    """Refuse a Rule whose quota is none.

    Raises:
        FieldError: an annotation is wrong.
    """
    quota_of(view)


def quota_of(view: Rule) -> Quota | None:
    """Calls a second that a Rule lets pass, None for all.

    Raises:
        FieldError: an annotation about it is wrong.
    """
    texts = {
        name: view.metadata.annotations.get(f"{ANNOTATIONS}{name}") for name in ("qps", "burst")
    }
    if texts["qps"] is None:
        return None
    numbers = {}
    for name, text in texts.items():
        try:
            numbers[name] = float(texts["qps"] if text is None else text)
        except ValueError:
            numbers[name] = 0.0
        if not 0.0 < numbers[name] < float("inf"):
            where = f"metadata.annotations[{ANNOTATIONS}{name}]"
            raise FieldError(where, f"expected a number above 0, got {quote(text)}")
    return Quota(numbers["qps"], max(int(numbers["burst"]), 1))


def _check_port(properties: Mapping[str, str], name: str, *, required: bool) -> None:
    text = properties.get(name, "")
    if not text and not required:
        return
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= _MAX_PORT):
        problem = f"expected a port from 1 to {_MAX_PORT}, got {quote(text)}"
        raise FieldError(f"spec.properties.{name}", problem)
