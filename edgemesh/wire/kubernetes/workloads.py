"""Deployment, DaemonSet and StatefulSet (apps/v1): what Pods there should be."""

from __future__ import annotations

from typing import Literal

from msgspec import field

from edgemesh.wire.kubernetes.fields import Count
from edgemesh.wire.kubernetes.metadata import ObjectView, View
from edgemesh.wire.kubernetes.pods import PodTemplate


class LabelRequirement(View, frozen=True, kw_only=True):
    """One condition on labels."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()


class LabelSelector(View, frozen=True, kw_only=True):
    """Conditions that must all hold."""

    match_labels: dict[str, str] = field(default_factory=dict)
    match_expressions: tuple[LabelRequirement, ...] = ()


class DaemonSetSpec(View, frozen=True, kw_only=True):
    """``spec`` of a DaemonSet: one Pod on each Node that fits."""

    selector: LabelSelector
    template: PodTemplate


class DeploymentSpec(View, frozen=True, kw_only=True):
    """``spec`` of a Deployment."""

    selector: LabelSelector
    template: PodTemplate
    replicas: Count = 1


class StatefulSetSpec(View, frozen=True, kw_only=True):
    """``spec`` of a StatefulSet; its Pods get names in the Service ``service_name``."""

    selector: LabelSelector
    template: PodTemplate
    replicas: Count = 1
    service_name: str = ""


class DaemonSet(ObjectView, frozen=True, kw_only=True):
    """A DaemonSet."""

    spec: DaemonSetSpec


class Deployment(ObjectView, frozen=True, kw_only=True):
    """A Deployment."""

    spec: DeploymentSpec


class StatefulSet(ObjectView, frozen=True, kw_only=True):
    """A StatefulSet."""

    spec: StatefulSetSpec
