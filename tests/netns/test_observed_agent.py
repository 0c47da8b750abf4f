"""An agent whose policy asks to count requests while the kernel moves them."""

from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from bpf_mesh import BpfMesh, new_bpf_mesh
from http_endpoint import PART_BYTES, digest, http_endpoint
from interception_lab import PORT, SERVER, SERVICE, call, output
from lab_homes import wait_for
from mesh import web
from prometheus_client.parser import text_string_to_metric_families

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

ADMIN = "http://127.0.0.1:15020"
REQUESTS = 40
BURST = 5
# None beyond the burst, however long a test lasts.
RATE = 0.001


def policy(**spec: object) -> dict[str, Any]:
    return {
        "apiVersion": "policy.edgemesh.io/v1alpha1",
        "kind": "TrafficPolicy",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "targetRef": {"kind": "Service", "name": "web"},
            "path": "splice",
            "observe": "http",
            **spec,
        },
    }


@pytest.fixture
def observing() -> Iterator[BpfMesh]:
    """An agent whose paths have been looked at, and an endpoint that speaks HTTP."""
    with new_bpf_mesh() as made:
        made.start()
        made.mesh.apply(*web("http"), policy())
        with http_endpoint(made.mesh.network.server, (SERVER[4], 8080)):
            assert made.wait_for_paths()["splice"] == "available", made.mesh.log
            yield made


def connected(made: BpfMesh) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("web")
    connection.sock = call(made.mesh.network.pod, SERVICE[4], PORT, timeout=20)
    return connection


def get(connection: http.client.HTTPConnection, path: str = "/") -> tuple[int, bytes]:
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def samples(made: BpfMesh, name: str) -> dict[str, float]:
    """Values by path and class of status, or by reason."""
    text = output(made.mesh.network.node, ["curl", "-s", f"{ADMIN}/metrics"])
    return {
        " ".join(
            sample.labels[each] for each in ("path", "code", "reason") if each in sample.labels
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


def test_requests_are_in_metrics_and_report_as_they_were_sent(observing: BpfMesh) -> None:
    with closing(connected(observing)) as connection:
        for _ in range(REQUESTS):
            status, body = get(connection)
            assert (status, json.loads(body)["path"]) == (200, "/")
        status, _ = get(connection, "/redirect")
        assert status == 303
        expected = {"splice 2xx": REQUESTS, "splice 3xx": 1}
        wait_for(lambda: samples(observing, "edgemesh_requests_total") == expected, "counted")
    [report] = observing.mesh.wait_for_flows(1)
    assert (report.path, report.requests, report.refused_requests) == ("splice", REQUESTS + 1, 0)
    assert report.unobserved == ""
    durations = samples(observing, "edgemesh_request_duration_seconds_count")
    assert durations == {"splice": REQUESTS + 1}


def test_a_quota_counts_requests_and_answers_the_rest(observing: BpfMesh) -> None:
    observing.mesh.apply(policy(qps={"client": {"rate": RATE, "burst": BURST}}))
    with closing(connected(observing)) as connection:
        statuses = [get(connection)[0] for _ in range(REQUESTS)]
    assert statuses == [200] * BURST + [429] * (REQUESTS - BURST)
    [report] = observing.mesh.wait_for_flows(1)
    assert (report.requests, report.refused_requests) == (BURST, REQUESTS - BURST)
    refused = samples(observing, "edgemesh_refusals_total")
    assert refused == {"quota": REQUESTS - BURST}


def test_connections_share_one_bucket(observing: BpfMesh) -> None:
    observing.mesh.apply(policy(qps={"client": {"rate": RATE, "burst": BURST}}))
    statuses = []
    for _ in range(2 * BURST):
        with closing(connected(observing)) as connection:
            statuses.append(get(connection)[0])
    assert statuses == [200] * BURST + [429] * BURST


def test_large_responses_arrive_whole_and_are_counted(observing: BpfMesh) -> None:
    number = 200
    with closing(connected(observing)) as connection:
        for _ in range(3):
            status, body = get(connection, f"/parts/{number}")
            assert (status, len(body)) == (200, number * PART_BYTES)
            assert hashlib.sha256(body).hexdigest() == digest(number)
    [report] = observing.mesh.wait_for_flows(1)
    assert (report.requests, report.unobserved) == (3, "")


def test_a_policy_that_needs_each_request_takes_path_http(observing: BpfMesh) -> None:
    observing.mesh.apply(policy(retries={"attempts": 1}))
    with closing(connected(observing)) as connection:
        assert get(connection)[0] == 200
        wait_for(
            lambda: samples(observing, "edgemesh_requests_total") == {"http 2xx": 1}, "counted"
        )
    row = observing.edgemesh("get", "services", "-o", "wide").splitlines()[1]
    assert row.endswith("http   splice: requests are repeated")
