from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edgemesh.cli.tables import Table, columns_for, format_age
from edgemesh.cli.targets import parse_targets, qualified_word
from edgemesh.model.errors import OperatorError
from edgemesh.model.kinds import find_kind


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (601, "10m"),
        (10799, "179m"),
        (10800, "3h"),
        (12000, "3h20m"),
        (8 * 3600 + 60, "8h"),
        (47 * 3600, "47h"),
        (2 * 86400 + 5 * 3600, "2d5h"),
        (9 * 86400 + 3600, "9d"),
        (729 * 86400, "729d"),
        (3 * 365 * 86400 + 10 * 86400, "3y10d"),
        (9 * 365 * 86400 + 10 * 86400, "9y"),
    ],
)
def test_an_age_reads_as_kubectl_writes_it(seconds: int, text: str) -> None:
    assert format_age(seconds) == text


def table(kind: str, *bodies: dict[str, Any], wide: bool = False, namespaced: bool = False) -> str:
    columns = columns_for(kind, wide=wide, namespaced=namespaced)
    return Table(columns).format(bodies, headings=True)


def body(name: str, **fields: Any) -> dict[str, Any]:
    created = (datetime.now(UTC) - timedelta(seconds=601)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"metadata": {"name": name, "namespace": "x", "creationTimestamp": created}, **fields}


def test_services_show_type_addresses_and_ports() -> None:
    port = {"port": 80, "nodePort": 30080}
    web = body(
        "web", spec={"clusterIP": "10.96.0.1", "ports": [port, {"port": 53, "protocol": "UDP"}]}
    )
    balanced = body(
        "b",
        spec={"type": "LoadBalancer", "clusterIP": "10.96.0.2", "ports": [{"port": 1}]},
        status={"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
    )
    outside = body("out", spec={"type": "ExternalName", "externalName": "example.org"})
    assert table("Service", web, balanced, outside).splitlines() == [
        "NAME   TYPE           CLUSTER-IP   EXTERNAL-IP   PORT(S)               AGE",
        "web    ClusterIP      10.96.0.1    <none>        80:30080/TCP,53/UDP   10m",
        "b      LoadBalancer   10.96.0.2    192.0.2.1     1/TCP                 10m",
        "out    ExternalName   <none>       example.org   <none>                10m",
    ]


def test_pods_show_readiness_state_address_and_node() -> None:
    spec = {"nodeName": "n1", "containers": [{}, {}]}
    ready = {"type": "Ready", "status": "True"}
    running = body(
        "a", spec=spec, status={"phase": "Running", "podIP": "10.1.0.1", "conditions": [ready]}
    )
    half = body("b", spec=spec, status={"containerStatuses": [{"ready": True}, {"ready": False}]})
    leaving = body("c", spec=spec)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert table("Pod", running, half, leaving).splitlines() == [
        "NAME   READY   STATUS        IP         NODE   AGE",
        "a      2/2     Running       10.1.0.1   n1     10m",
        "b      1/2     Unknown       <none>     n1     10m",
        "c      0/2     Terminating   <none>     n1     10m",
    ]


def test_endpoints_show_the_first_addresses_and_count_the_rest() -> None:
    addresses = [{"addresses": [f"10.0.0.{n}"]} for n in range(5)]
    one = body("s", addressType="IPv4", ports=[{"port": 80}], endpoints=addresses)
    assert "10.0.0.0,10.0.0.1,10.0.0.2 + 2 more..." in table("EndpointSlice", one)
    subset = {"addresses": [{"ip": "fd00::1"}], "ports": [{"port": 80}]}
    assert "[fd00::1]:80" in table("Endpoints", body("e", subsets=[subset]))


def test_nodes_and_unknown_times_are_shown() -> None:
    node = {"metadata": {"name": "n"}, "status": {"conditions": []}}
    assert table("Node", node).splitlines()[1].split() == ["n", "NotReady", "<unknown>"]


def test_wide_tables_add_selector_and_labels_and_all_namespaces_theirs() -> None:
    one = body("web", spec={"selector": {"app": "web"}})
    one["metadata"]["labels"] = {"a": "b"}
    headings, row = table("Service", one, wide=True, namespaced=True).splitlines()
    assert headings.split()[0] == "NAMESPACE"
    assert row.split()[-2:] == ["app=web", "a=b"]


def test_kinds_are_found_by_the_words_that_kubectl_takes() -> None:
    words = [["svc"], ["Services"], ["po/web-1"], ["deploy.apps"], ["svc,po"], ["pods", "a", "b"]]
    shown = [[(one.kind.name, one.name) for one in parse_targets(some)] for some in words]
    assert shown == [
        [("Service", "")],
        [("Service", "")],
        [("Pod", "web-1")],
        [("Deployment", "")],
        [("Service", ""), ("Pod", "")],
        [("Pod", "a"), ("Pod", "b")],
    ]


@pytest.mark.parametrize("words", [[], ["nothing"], ["svc/"], ["svc", "po/a"], ["svc/a", "b"]])
def test_words_that_name_nothing_are_refused(words: list[str]) -> None:
    with pytest.raises(OperatorError):
        parse_targets(words)


def test_all_means_every_kind_in_a_namespace() -> None:
    kinds = {target.kind.name for target in parse_targets(["all"])}
    assert {"Service", "Pod", "EndpointSlice"} <= kinds
    assert "Node" not in kinds


def test_kinds_are_printed_with_their_group() -> None:
    service, slices = find_kind("svc"), find_kind("endpointslice")
    assert service
    assert slices
    assert qualified_word(service) == "service"
    assert qualified_word(slices) == "endpointslice.discovery.k8s.io"


def judged(kind: str, spec: dict[str, Any], reason: str = "Accepted") -> dict[str, Any]:
    accepted = {"type": "Accepted", "status": str(reason != "Invalid"), "reason": reason}
    programmed = {"type": "Programmed", "status": "True", "reason": "Programmed"}
    return {
        "kind": kind,
        "metadata": {"name": "web"},
        "spec": spec,
        "status": {"conditions": [programmed, accepted]},
    }


@pytest.mark.parametrize(
    ("body", "cells"),
    [
        (
            judged("TrafficPolicy", {"targetRef": {"name": "web", "port": 80}}),
            ["web", "web:80", "True", "<unknown>"],
        ),
        (
            judged("TrafficPolicy", {"targetRef": {"name": "web", "sectionName": "http"}}),
            ["web", "web:http", "True", "<unknown>"],
        ),
        (
            judged("TrafficPolicy", {"targetRef": {"name": "web"}}, "PartiallyInvalid"),
            ["web", "web", "Partly", "<unknown>"],
        ),
        (
            judged("DestinationRule", {"host": "web"}, "Invalid"),
            ["web", "web", "False", "<unknown>"],
        ),
        (
            judged("VirtualService", {"hosts": ["a", "b"]}),
            ["web", "a,b", "True", "<unknown>"],
        ),
        (
            judged("HTTPRoute", {"parentRefs": [{"name": "a"}], "hostnames": ["*.b"]}),
            ["web", "a", "*.b", "True", "<unknown>"],
        ),
        (
            judged("TLSRoute", {"parentRefs": [{"name": "a"}], "hostnames": ["*.b"]}),
            ["web", "a", "*.b", "True", "<unknown>"],
        ),
        (
            judged("TCPRoute", {"parentRefs": [{"name": "a"}]}),
            ["web", "a", "True", "<unknown>"],
        ),
        (
            {"kind": "HTTPRoute", "metadata": {"name": "web"}, "spec": {}},
            ["web", "<none>", "<none>", "Unknown", "<unknown>"],
        ),
    ],
)
def test_a_policy_object_tells_whether_it_is_accepted(
    body: dict[str, Any], cells: list[str]
) -> None:
    assert table(body["kind"], body).splitlines()[1].split() == cells
