"""Pods, and the Pod templates of workloads (core/v1)."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import field

from edgemesh.wire.kubernetes.address_checks import check_address
from edgemesh.wire.kubernetes.fields import LabelOrEmpty, Port, PortNameOrEmpty, Protocol
from edgemesh.wire.kubernetes.metadata import (
    ObjectMetadata,
    ObjectView,
    TemplateMetadata,
    View,
)


class ContainerPort(View, frozen=True, kw_only=True):
    """A port that a container tells; Services may call it by its name."""

    container_port: Port
    name: PortNameOrEmpty = ""
    protocol: Protocol = "TCP"


class EnvironmentVariable(View, frozen=True, kw_only=True):
    """A variable with its ``value``, or with a source such as ``fieldRef`` in ``value_from``."""

    name: str
    value: str = ""
    value_from: dict[str, Any] | None = None


class Container(View, frozen=True, kw_only=True):
    """One container of a Pod."""

    name: LabelOrEmpty = ""
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[EnvironmentVariable, ...] = ()
    ports: tuple[ContainerPort, ...] = ()


class NodeRequirement(View, frozen=True, kw_only=True):
    """One condition on a Node's labels or fields."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    values: tuple[str, ...] = ()


class NodeTerm(View, frozen=True, kw_only=True):
    """Conditions that must all hold."""

    match_expressions: tuple[NodeRequirement, ...] = ()
    match_fields: tuple[NodeRequirement, ...] = ()


class NodeSelector(View, frozen=True, kw_only=True):
    """Terms of which one must hold."""

    node_selector_terms: tuple[NodeTerm, ...] = ()


class NodeAffinity(View, frozen=True, kw_only=True):
    """Where a Pod may run."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None


class Affinity(View, frozen=True, kw_only=True):
    """``spec.affinity`` of a Pod, as far as it is about Nodes."""

    node_affinity: NodeAffinity | None = None


class PodSpec(View, frozen=True, kw_only=True):
    """``spec`` of a Pod."""

    containers: tuple[Container, ...] = ()
    node_name: str = ""
    node_selector: dict[str, str] = field(default_factory=dict)
    affinity: Affinity = Affinity()
    hostname: LabelOrEmpty = ""
    subdomain: LabelOrEmpty = ""
    host_network: bool = False


class PodAddress(View, frozen=True, kw_only=True):
    """One address of a Pod."""

    ip: str = ""


class PodCondition(View, frozen=True, kw_only=True):
    """One condition of a Pod, such as ``Ready``."""

    type: str
    status: str = "Unknown"


class PodStatus(View, frozen=True, kw_only=True):
    """``status`` of a Pod."""

    phase: str = ""
    pod_ip: str = field(name="podIP", default="")
    pod_ips: tuple[PodAddress, ...] = field(name="podIPs", default=())
    conditions: tuple[PodCondition, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses; ``podIP`` is the first of ``podIPs`` where both are given."""
        several = tuple(address.ip for address in self.pod_ips if address.ip)
        return several or ((self.pod_ip,) if self.pod_ip else ())

    @property
    def ready(self) -> bool:
        """Whether the condition ``Ready`` is true."""
        return any(
            condition.type == "Ready" and condition.status == "True"
            for condition in self.conditions
        )

    @property
    def finished(self) -> bool:
        """Whether all containers have ended for good; the address may be another Pod's now."""
        return self.phase in ("Succeeded", "Failed")


class OwnerReference(View, frozen=True, kw_only=True):
    """What an object was made by; one of several is the ``controller``."""

    kind: str
    name: str
    controller: bool = False


class PodMetadata(ObjectMetadata, frozen=True, kw_only=True):
    """``metadata`` of a Pod, which tells the workload that it belongs to."""

    owner_references: tuple[OwnerReference, ...] = ()


class Pod(ObjectView, frozen=True, kw_only=True):
    """A Pod."""

    metadata: PodMetadata
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class PodTemplate(View, frozen=True, kw_only=True):
    """What a workload makes its Pods from."""

    metadata: TemplateMetadata = TemplateMetadata()
    spec: PodSpec = PodSpec()


def check_pod(pod: Pod) -> None:
    """Refuse what is not an address.

    Raises:
        FieldError: naming the first such address.
    """
    if pod.status.pod_ip:
        check_address("status.podIP", pod.status.pod_ip)
    for index, address in enumerate(pod.status.pod_ips):
        if address.ip:
            check_address(f"status.podIPs[{index}].ip", address.ip)
