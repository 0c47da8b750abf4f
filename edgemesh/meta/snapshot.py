"""From changes of objects to the snapshot that the data plane reads.

Theory of operation: each object is decoded once, when it changes, and kept as a compact record.
A change names the Services that it touches; ``build`` makes those anew from the records and
copies the indexes whose entries changed. So one change costs one Service and some copies of
dictionaries, however many Services there are, and the result is the one that a restart comes to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from edgemesh.meta.endpoint_index import EndpointIndex
from edgemesh.meta.pod_index import PodIndex
from edgemesh.meta.policy_index import PolicyIndex
from edgemesh.meta.rule_index import RuleIndex
from edgemesh.meta.service_index import ServiceIndex
from edgemesh.model.conditions import Condition
from edgemesh.model.objects import Change, ChangeType, ObjectKey
from edgemesh.model.paths import ALL_PATHS, AvailablePaths
from edgemesh.model.services import Service, ServiceName, Snapshot, Source, Transport
from edgemesh.model.streams import LINK_ANNOTATION
from edgemesh.policy.bus.beyond import beyond_the_cloud
from edgemesh.policy.callers import SAYS_NOTHING, Said, namespace_says, pod_says
from edgemesh.policy.objects.backends import Neighbours
from edgemesh.policy.objects.conditions import conditions_of, refused
from edgemesh.policy.objects.standing import Target, standing_of
from edgemesh.policy.pods import weight_of
from edgemesh.policy.service_model import (
    ServiceRecord,
    Surroundings,
    complete_service,
    record_service,
)
from edgemesh.wire.kubernetes import FieldError, examine
from edgemesh.wire.kubernetes.core import Namespace, Node
from edgemesh.wire.kubernetes.core import Service as ServiceView
from edgemesh.wire.kubernetes.pods import Pod

_ZONE_LABEL = "topology.kubernetes.io/zone"
# KubeEdge gives the role to nodes that join. A node that Kubernetes knows has its hostname as a
# label; one that only its own link has made known is at the edge, too.
_EDGE_LABEL = "node-role.kubernetes.io/edge"
_HOSTNAME_LABEL = "kubernetes.io/hostname"


class SnapshotBuilder:
    """What the objects say, kept so that a change costs little.

    Args:
        node: this node's name.
        default_source: which address endpoints see where the Service does not say.
        inbound_source: which one they see of calls that reach them at their own address.
        reaches_cloud: whether calls go to the cloud by the bus, for Services that run there.
        intercepts: whether calls of Pods are intercepted where nobody says anything about it.

    Attributes:
        problems: what was passed over, by object: an object that cannot be decoded is as if it
            were not there.
    """

    def __init__(
        self,
        node: str,
        default_source: Source,
        inbound_source: Source = Source.PRESERVE,
        *,
        reaches_cloud: bool = False,
        intercepts: bool = True,
    ) -> None:
        self._node = node
        self._default_source = default_source
        self.problems: dict[ObjectKey, str] = {}
        self._records: dict[ServiceName, ServiceRecord] = {}
        self._endpoints = EndpointIndex()
        policies = self._policies = PolicyIndex()
        self._reaches_cloud = reaches_cloud
        self._rules = RuleIndex()
        # Nodes that are reached by links; this one needs none to itself.
        self._linked = {node}
        self._pods = PodIndex(intercepts=intercepts)
        self._relabelled: set[str] = set()
        self._weights: dict[str, int] = {}
        self._reweighted: set[str] = set()
        self._zones: dict[str, str] = {}
        self._surroundings = Surroundings(
            self._zones,
            self._pods.labels_of,
            self._weights,
            Neighbours(self._recorded, policies.subsets, policies.granted),
        )
        self._touched: set[ServiceName] = set()
        self._built = ServiceIndex(node, inbound_source)

        self._takers: Mapping[str, Callable[[ObjectKey, Any], None]] = {
            "Service": self._take_service,
            "EndpointSlice": self._touching(self._endpoints.put_slice),
            "Endpoints": self._touching(self._endpoints.put_endpoints),
            "DestinationRule": self._touching(policies.put_rule),
            "TrafficPolicy": self._touching(policies.put_policy),
            "VirtualService": self._touching(policies.put_virtual_service),
            "HTTPRoute": self._touching(policies.put_gateway_requests),
            "GRPCRoute": self._touching(policies.put_gateway_requests),
            "TLSRoute": self._touching(policies.put_gateway_connections),
            "TCPRoute": self._touching(policies.put_gateway_connections),
            "ReferenceGrant": self._touching(policies.put_grant),
            "Rule": self._touching(self._rules.put_rule),
            "RuleEndpoint": self._touching(self._rules.put_endpoint),
            "Pod": self._take_pod,
            "Node": self._take_node,
            "Namespace": self._take_namespace,
        }

    @property
    def has_subsets(self) -> bool:
        """Whether any Service has subsets: then labels of Pods matter."""
        return self._policies.has_subsets()

    def apply(self, changes: Iterable[Change]) -> None:
        """Take changes in; those of kinds that the data plane does not need are passed over."""
        for change in changes:
            key = change.object.key
            take = self._takers.get(key.kind)
            if take is None:
                continue
            self.problems.pop(key, None)
            view = None
            if change.type is not ChangeType.DELETE:
                try:
                    view, problems = examine(change.object.body)
                    self._tell(key, problems)
                except FieldError as error:
                    self._tell(key, [error])
            take(key, view)

    def build(self, revision: int) -> Snapshot:
        """The snapshot of everything that was applied.

        Args:
            revision: the store's, of the last change.
        """
        self._touch_served_by_changed_pods()
        for name in self._touched:
            self._rebuild(name)
        self._touched.clear()
        return Snapshot(
            revision=revision,
            node=self._node,
            zone=self._zones.get(self._node, ""),
            tcp=self._built.addresses[Transport.TCP].frozen(),
            udp=self._built.addresses[Transport.UDP].frozen(),
            tcp_node_ports=self._built.node_ports[Transport.TCP].frozen(),
            udp_node_ports=self._built.node_ports[Transport.UDP].frozen(),
            tcp_inbound=self._built.inbound[Transport.TCP].frozen(),
            udp_inbound=self._built.inbound[Transport.UDP].frozen(),
            services=self._built.services(),
            pods=self._pods.frozen(),
            callers=self._pods.callers(),
            ports=self._built.ports(),
            ruled=self._rules.ruled,
        )

    def conditions(
        self, key: ObjectKey, available: AvailablePaths = ALL_PATHS
    ) -> tuple[Condition, ...]:
        """How a policy object stands after the last ``build``; empty when it is not known.

        Args:
            key: of the object.
            available: paths that work on this node.
        """
        found = self._policies.find(key)
        problems = self.problems.get(key, "")
        if found is None:
            return refused(problems) if problems else ()
        view, named = found
        services = self._built.services()
        present = [services[name] for name in sorted(named) if name in services]
        targets = [
            Target(each, self._policies.about((each.namespace, each.name))) for each in present
        ]
        neighbours = self._surroundings.neighbours
        standing = standing_of(view, named, targets, neighbours, available)
        return conditions_of(standing, problems)

    def _tell(self, key: ObjectKey, problems: Iterable[object]) -> None:
        if problems:
            self.problems[key] = "; ".join(map(str, problems))

    def _touching(
        self, put: Callable[[ObjectKey, Any], Iterable[ServiceName]]
    ) -> Callable[[ObjectKey, Any], None]:
        """What takes an object, or its absence, and touches the Services that it changes."""
        return lambda key, view: self._touch(put(key, view))

    def _touch(self, names: Iterable[ServiceName]) -> None:
        self._touched.update(names)

    def _take_service(self, key: ObjectKey, view: ServiceView | None) -> None:
        name = (key.namespace, key.name)
        before = self._records.pop(name, None)
        if view is not None:
            record = record_service(view, self._default_source)
            self._records[name] = record
            self._tell(key, record.problems)
            if record == before:
                # Another annotation, another status: nothing that calls go by.
                return
        self._touch((name, *self._policies.leading_to(name)))

    def _take_pod(self, key: ObjectKey, view: Pod | None) -> None:
        name = f"{key.namespace}/{key.name}"
        says = _pod_says(view) if view else SAYS_NOTHING
        if self._pods.put(key, view, says.choice):
            self._relabelled.add(name)
        weight, problem = weight_of(view) if view else (1, "")
        self._tell(key, (*says.problems, *([problem] if problem else ())))
        if weight != self._weights.get(name, 1):
            self._reweighted.add(name)
            self._weights[name] = weight
            if weight == 1:
                del self._weights[name]

    def _take_namespace(self, key: ObjectKey, view: Namespace | None) -> None:
        says = namespace_says(view.metadata.labels) if view else SAYS_NOTHING
        self._pods.put_namespace(key.name, says.choice)
        self._tell(key, says.problems)

    def _touch_served_by_changed_pods(self) -> None:
        """Labels matter to subsets only; Pods come and go, and most Services have none."""
        if self._relabelled:
            subsetted = self._policies.subsetted()
            self._touch(self._endpoints.served_by(self._relabelled, subsetted))
        if self._reweighted:
            self._touch(self._endpoints.served_by(self._reweighted, self._records))
        self._relabelled.clear()
        self._reweighted.clear()

    def _take_node(self, key: ObjectKey, view: Node | None) -> None:
        zone = view.metadata.labels.get(_ZONE_LABEL, "") if view else ""
        linked = key.name == self._node or (view is not None and _is_linked_edge(view))
        if self._zones.get(key.name, "") != zone or linked is not (key.name in self._linked):
            self._zones[key.name] = zone
            (self._linked.add if linked else self._linked.discard)(key.name)
            self._touch(self._endpoints.served_on(key.name))

    def _recorded(self, name: ServiceName) -> Service | None:
        record = self._records.get(name)
        return record.service if record else None

    def _rebuild(self, name: ServiceName) -> None:
        record = self._records.get(name)
        if record is None:
            self._built.remove(name)
            return
        groups, said = self._endpoints.groups(name), self._policies.about(name)
        service = complete_service(record.service, groups, said, self._surroundings)
        ruled = self._rules.ruled.get(name)
        if ruled is not None and self._reaches_cloud:
            service = beyond_the_cloud(service, ruled, self._linked)
        self._built.put(service, intercepted=record.intercepted)


def _pod_says(view: Pod) -> Said:
    metadata = view.metadata
    return pod_says(metadata.labels, metadata.annotations, host_network=view.spec.host_network)


def _is_linked_edge(view: Node) -> bool:
    """Whether calls of a Service that Rules lead to go to a node's own endpoints all the same."""
    labels = view.metadata.labels
    at_edge = _EDGE_LABEL in labels or _HOSTNAME_LABEL not in labels
    return at_edge and LINK_ANNOTATION in view.metadata.annotations
