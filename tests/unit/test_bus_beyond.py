"""Services that run in the cloud, as nodes see them, and the Rules that lead there."""

from __future__ import annotations

import pytest
from kube_bodies import Body, change, endpoint, endpoint_slice, node, service

from edgemesh.meta.snapshot import SnapshotBuilder
from edgemesh.model.objects import ChangeType
from edgemesh.model.services import Endpoint, Service, ServicePort, Snapshot, Source, Transport
from edgemesh.model.streams import CLOUD, LINK_ANNOTATION
from edgemesh.policy.bus.beyond import beyond_the_cloud

NODES = frozenset({"edge-1", "edge-2"})
HERE = Endpoint("10.244.1.2", 8080, node="edge-1")
LINKED = Endpoint("10.244.2.2", 8080, node="edge-2")
FAR = Endpoint("10.100.0.2", 8080, node="master", weight=2)
FAR_TOO = Endpoint("10.100.0.3", 8080)


def service_of(*endpoints: Endpoint, addresses: tuple[str, ...] = ("10.96.0.1",)) -> Service:
    port = ServicePort("shop", "orders", "", Transport.TCP, 80, endpoints=endpoints)
    return Service("shop", "orders", cluster_addresses=addresses, ports=(port,))


def seen(service: Service, *ruled: int) -> tuple[Endpoint, ...]:
    return beyond_the_cloud(service, frozenset(ruled), NODES).ports[0].endpoints


def test_what_no_node_of_the_mesh_runs_is_the_clouds_with_the_weight_of_all() -> None:
    cloud = Endpoint("10.96.0.1", 80, node=CLOUD, weight=3)
    assert seen(service_of(HERE, LINKED, FAR, FAR_TOO)) == (HERE, LINKED, cloud)


def test_a_service_without_endpoints_is_the_clouds_in_each_of_its_families() -> None:
    assert seen(service_of(addresses=("10.96.0.1", "fd00::1"))) == (
        Endpoint("10.96.0.1", 80, node=CLOUD),
        Endpoint("fd00::1", 80, node=CLOUD),
    )


def test_a_service_that_nodes_run_stays_theirs() -> None:
    assert seen(service_of(HERE, LINKED)) == (HERE, LINKED)


def test_ports_that_the_rule_does_not_mean_stay_as_they_are() -> None:
    assert seen(service_of(FAR), 443) == (FAR,)
    assert seen(service_of(FAR), 443, 80)[0].node == CLOUD


def test_a_service_without_an_address_cannot_be_called_through_the_cloud() -> None:
    service = service_of(FAR, addresses=())
    assert beyond_the_cloud(service, frozenset(), NODES) is service


def rule_endpoint(name: str, kind: str, **properties: str) -> Body:
    return {
        "apiVersion": "rules.kubeedge.io/v1",
        "kind": "RuleEndpoint",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"ruleEndpointType": kind, "properties": properties},
    }


def rule(source: str, target: str, **annotations: str) -> Body:
    return {
        "apiVersion": "rules.kubeedge.io/v1",
        "kind": "Rule",
        "metadata": {
            "name": f"{source}-{target}",
            "namespace": "default",
            "annotations": {f"rules.edgemesh.io/{key}": said for key, said in annotations.items()},
        },
        "spec": {
            "source": source,
            "sourceResource": {"path": "/a"},
            "target": target,
            "targetResource": {"resource": "http://x"},
        },
    }


EDGES = rule_endpoint("edges", "service", service="edge-apps")
TO_WEB = rule_endpoint("to-web", "service", service="web")
EVERY_PORT: frozenset[int] = frozenset()
WEB = ("default", "web")


class Cluster:
    """A node's view of objects that come and go."""

    def __init__(self, *bodies: Body, reaches_cloud: bool = True) -> None:
        self.made = SnapshotBuilder("edge-1", Source.NODE, reaches_cloud=reaches_cloud)
        self.put(*bodies)

    def put(self, *bodies: Body) -> Snapshot:
        self.made.apply(change(body) for body in bodies)
        return self.made.build(1)

    def drop(self, body: Body) -> Snapshot:
        self.made.apply([change(body, ChangeType.DELETE)])
        return self.made.build(1)


def nodes_of(snapshot: Snapshot) -> list[str]:
    (port,) = snapshot.services[WEB].ports
    return [each.node for each in port.endpoints]


def linked(name: str, *, by_link: bool) -> Body:
    body = node(name, "z")
    body["metadata"]["annotations"] = {LINK_ANNOTATION: ""} if by_link else {}
    return body


@pytest.mark.parametrize(
    ("target", "ruled"),
    [
        (TO_WEB, {WEB: EVERY_PORT}),
        (
            rule_endpoint("to-web", "service", service="web", namespace="shop", port="443"),
            {("shop", "web"): frozenset({443})},
        ),
        (rule_endpoint("to-web", "rest"), {}),
    ],
)
def test_rules_that_lead_to_services_are_in_the_snapshot(
    target: Body, ruled: dict[tuple[str, str], frozenset[int]]
) -> None:
    cluster = Cluster(EDGES, rule("edges", "to-web"))
    assert cluster.put(target).ruled == ruled


def test_of_several_rules_each_adds_its_port_and_one_without_adds_all() -> None:
    port = rule_endpoint("to-port", "service", service="web", port="443")
    other = rule_endpoint("to-other", "service", service="web", port="80")
    cluster = Cluster(EDGES, port, other, rule("edges", "to-port"))
    assert cluster.put(rule("edges", "to-other")).ruled == {WEB: frozenset({80, 443})}
    assert cluster.put(TO_WEB, rule("edges", "to-web")).ruled == {WEB: EVERY_PORT}


def test_a_rule_that_is_not_in_use_leads_nowhere() -> None:
    assert Cluster(EDGES, TO_WEB).put(rule("edges", "to-web", **{"in-use": "false"})).ruled == {}


def test_a_service_is_the_clouds_as_long_as_a_rule_leads_there() -> None:
    cluster = Cluster(service(), EDGES, TO_WEB)
    assert nodes_of(cluster.put()) == []
    assert nodes_of(cluster.put(rule("edges", "to-web"))) == [CLOUD]
    assert nodes_of(cluster.drop(TO_WEB)) == []


def test_endpoints_of_nodes_are_the_clouds_until_the_node_takes_links() -> None:
    here = endpoint("10.244.0.2", nodeName="edge-1")
    there = endpoint("10.244.2.2", nodeName="edge-2")
    slices = endpoint_slice(here, there)
    cluster = Cluster(service(), slices, EDGES, TO_WEB, rule("edges", "to-web"))
    assert nodes_of(cluster.put(linked("edge-1", by_link=False))) == ["edge-1", CLOUD]
    assert nodes_of(cluster.put(linked("edge-2", by_link=True))) == ["edge-1", "edge-2"]
    assert nodes_of(cluster.put(linked("edge-2", by_link=False))) == ["edge-1", CLOUD]


def test_what_runs_on_a_node_in_the_cloud_is_the_clouds_though_the_node_takes_links() -> None:
    slices = endpoint_slice(endpoint("10.100.0.2", nodeName="master"))
    cluster = Cluster(service(), slices, EDGES, TO_WEB, rule("edges", "to-web"))
    master = linked("master", by_link=True)
    master["metadata"]["labels"] = {"kubernetes.io/hostname": "master"}
    assert nodes_of(cluster.put(master)) == [CLOUD]
    master["metadata"]["labels"]["node-role.kubernetes.io/edge"] = ""
    assert nodes_of(cluster.put(master)) == ["master"]


def test_without_links_to_the_cloud_endpoints_stay_what_they_are() -> None:
    slices = endpoint_slice(endpoint("10.100.0.2", nodeName="master"))
    cluster = Cluster(
        service(), slices, EDGES, TO_WEB, rule("edges", "to-web"), reaches_cloud=False
    )
    assert nodes_of(cluster.put()) == ["master"]
    assert cluster.put().ruled == {WEB: EVERY_PORT}
