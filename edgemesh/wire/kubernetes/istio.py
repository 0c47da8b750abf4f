"""Istio's traffic objects (networking.istio.io)."""

from __future__ import annotations

from typing import Literal

from edgemesh.wire.kubernetes.metadata import ObjectView, View


class LoadBalancerSettings(View, frozen=True, kw_only=True):
    """How an endpoint is chosen; "" when ``simple`` is not given."""

    simple: Literal[
        "",
        "UNSPECIFIED",
        "LEAST_CONN",
        "LEAST_REQUEST",
        "RANDOM",
        "ROUND_ROBIN",
        "PASSTHROUGH",
    ] = ""


class DestinationTrafficPolicy(View, frozen=True, kw_only=True):
    """``spec.trafficPolicy`` of a DestinationRule."""

    load_balancer: LoadBalancerSettings = LoadBalancerSettings()


class DestinationRuleSpec(View, frozen=True, kw_only=True):
    """``spec`` of a DestinationRule."""

    host: str
    traffic_policy: DestinationTrafficPolicy = DestinationTrafficPolicy()


class DestinationRule(ObjectView, frozen=True, kw_only=True):
    """How calls to a host are treated once they are routed there."""

    spec: DestinationRuleSpec
