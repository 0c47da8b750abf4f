"""status, doctor and trace beside an agent that runs: what they say is what is there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import pytest
import trio
from lab_homes import manifest_of, unique_home, wait_for

from edgemesh.lab import cluster, rollout
from edgemesh.lab.network import command_in
from edgemesh.lab.state import Home, load
from edgemesh.model.status import AgentStatus

pytestmark = pytest.mark.root

OBJECTS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeName: edge-1
      containers:
      - name: web
        image: edgemesh.io/lab/serve_hostname
        ports: [{name: http, containerPort: 9376}]
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  nodeName: edge-1
  containers: [{name: client, image: edgemesh.io/lab/idle}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  ipFamilyPolicy: PreferDualStack
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: stream}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: routed}
spec:
  selector: {app: nobody}
  ports: [{port: 80, appProtocol: http}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: routed}
spec:
  parentRefs: [{kind: Service, group: "", name: routed}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /web}}]
    backendRefs: [{name: web, port: 80}]
  - matches: [{headers: [{name: x-user, value: jane}]}]
    filters: [{type: RequestRedirect, requestRedirect: {hostname: example.org}}]
---
apiVersion: v1
kind: Service
metadata: {name: direct}
spec:
  clusterIP: None
  selector: {app: web}
  ports: [{name: http, port: 9376}]
---
apiVersion: v1
kind: Service
metadata: {name: empty}
spec:
  selector: {app: nobody}
  ports: [{port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: wrong-port}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 1}]
---
apiVersion: v1
kind: Service
metadata: {name: datagrams}
spec:
  selector: {app: web}
  ports: [{port: 80, protocol: UDP, targetPort: 9376}]
"""


LIMITED = """
apiVersion: policy.edgemesh.io/v1alpha1
kind: TrafficPolicy
metadata: {name: direct}
spec:
  targetRef: {kind: Service, name: direct}
  concurrency: {maxConcurrent: 5}
"""


@dataclass(frozen=True)
class Node:
    home: Home

    @property
    def agent_pid(self) -> int:
        return load(self.home).agents["edge-1"].pid

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        config = str(self.home.agent_config("edge-1"))
        return subprocess.run(
            command_in(
                load(self.home).node("edge-1").namespace,
                [sys.executable, "-m", "edgemesh.cli.main", *words, "--config", config],
            ),
            capture_output=True,
            check=False,
            text=True,
        )

    def status(self) -> AgentStatus:
        return msgspec.json.decode(self.run("status", "--json").stdout, type=AgentStatus)

    def trace(self, *words: str) -> dict[str, dict[str, Any]]:
        """The hops by name; the exit code must tell whether one of them failed."""
        done = self.run("trace", *words, "--json")
        hops = msgspec.json.decode(done.stdout)
        assert done.returncode == int(any(hop["state"] == "FAIL" for hop in hops)), done.stderr
        return {hop["name"]: hop for hop in hops}


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with unique_home() as home:
        # The watchdog would end an agent that hangs before trace has lost its patience.
        settings = {
            "netfilter": {"watchdog_seconds": 0},
            # Of an agent that works, whatever keeps it.
            "meta": {"answer_timeout_seconds": 12},
            "proxy": {"connect_timeout_seconds": 10},
        }
        trio.run(partial(cluster.up, home, 1, settings=settings))
        trio.run(rollout.apply, home, manifest_of(OBJECTS))
        yield Node(home)


def states(hops: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: hop["state"] for name, hop in hops.items()}


def first_failure(hops: dict[str, dict[str, Any]]) -> str:
    return next(name for name, state in states(hops).items() if state == "FAIL")


@pytest.mark.parametrize("caller", [[], ["--from", "client"]], ids=["node", "pod"])
@pytest.mark.parametrize("family", [[], ["--ipv6"]], ids=["IPv4", "IPv6"])
def test_every_hop_of_a_call_that_works_is_ok(
    node: Node, caller: list[str], family: list[str]
) -> None:
    hops = node.trace("web", *caller, *family)
    assert set(states(hops).values()) == {"ok"}
    assert "(default/web-" in hops["decision"]["detail"]
    assert hops["call"]["detail"].endswith("an endpoint for each request: path http")


def test_a_call_that_is_no_request_is_followed_to_its_endpoint(node: Node) -> None:
    hops = node.trace("stream", "--from", "client")
    assert set(states(hops).values()) == {"ok"}
    assert "path splice" in hops["decision"]["detail"]
    assert "(default/web-" in hops["call"]["detail"]
    assert hops["call"]["detail"].endswith("over path relay")


def test_a_request_is_followed_to_where_its_route_leads(node: Node) -> None:
    hops = node.trace("routed", "--request", "GET /web/shop", "--from", "client")
    assert set(states(hops).values()) == {"ok"}
    told = hops["decision"]["detail"]
    assert "(default/web-" in told
    assert "by HTTPRoute default/routed rule 0" in told


def test_a_header_may_lead_a_request_elsewhere_and_none_nowhere(node: Node) -> None:
    answered = node.trace("routed", "--header", "x-user: jane")["decision"]
    assert answered["detail"] == "answered by HTTPRoute default/routed rule 1 itself; path http"
    refused = node.trace("routed", "--request", "POST /")["decision"]
    assert refused["detail"] == "the call is refused: no-route"


def test_a_call_is_made_by_the_pod_that_is_named(node: Node) -> None:
    [client] = [pod for pod in load(node.home).pods if pod.key.name == "client"]
    hops = node.trace("web:80", "--from", "default/client")
    assert f"from {client.addresses[0]}" in hops["call"]["detail"]
    assert f"asked by {client.addresses[0]}" in hops["name"]["detail"]


def test_the_page_ends_with_what_is_to_be_done(node: Node) -> None:
    done = node.run("trace", "empty")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("the call fails at 'endpoints': edgemesh get")


def test_a_name_that_no_service_has_fails_at_the_name(node: Node) -> None:
    hops = node.trace("nothing")
    assert first_failure(hops) == "name"
    assert states(hops)["service"] == "FAIL"


def test_a_service_without_ready_pods_fails_at_its_endpoints(node: Node) -> None:
    hops = node.trace("empty")
    assert first_failure(hops) == "endpoints"
    assert hops["decision"]["detail"] == "the call is refused: no-endpoint"
    assert states(hops)["call"] == "FAIL"


def test_a_port_that_nobody_listens_on_fails_at_the_endpoint(node: Node) -> None:
    hops = node.trace("wrong-port")
    assert first_failure(hops) == "endpoint"
    assert "Connection refused" in hops["endpoint"]["detail"]
    assert states(hops)["call"] == "FAIL"


def test_a_headless_service_is_called_past_the_agent(node: Node) -> None:
    hops = node.trace("direct", "--from", "client")
    assert states(hops)["rule"] == "skipped"
    assert "past the agent" in hops["call"]["detail"]
    assert states(hops)["call"] == "ok"


def test_a_limited_endpoint_is_told_with_its_node_and_calls_of_it_are_followed(node: Node) -> None:
    trio.run(rollout.apply, node.home, manifest_of(LIMITED))
    wait_for(lambda: node.status().interception.endpoints == 4, "the endpoints are intercepted")
    hops = node.trace("direct", "--from", "client")
    assert "gets 5 at a time, whoever calls: this node sees to it" in hops["server"]["detail"]
    assert hops["call"]["detail"].endswith("an endpoint for each request: path http")
    assert "past the agent" in node.trace("direct")["call"]["detail"]
    trio.run(rollout.delete, node.home, [one.key for one in manifest_of(LIMITED)])
    wait_for(lambda: not node.status().interception.endpoints, "the endpoints are let alone")


def test_datagrams_are_followed_up_to_the_decision(node: Node) -> None:
    found = states(node.trace("datagrams"))
    assert (found["rule"], found["listener"], found["decision"]) == ("ok", "ok", "ok")
    assert (found["endpoint"], found["call"]) == ("skipped", "skipped")


def test_a_pod_that_nobody_knows_is_one_line_and_exit_code_2(node: Node) -> None:
    done = node.run("trace", "web", "--from", "stranger")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "stranger" in done.stderr


def test_status_tells_what_the_agent_does(node: Node) -> None:
    status = node.status()
    assert status.node == "edge-1"
    assert status.pid == node.agent_pid
    assert status.interception.installed
    assert status.snapshot.services == 7
    assert node.run("status").stdout.startswith("edgemesh ")


def test_doctor_finds_the_ports_in_the_agents_hands(node: Node) -> None:
    done = node.run("doctor", "--json")
    ports = [check for check in msgspec.json.decode(done.stdout) if check["group"] == "ports"]
    assert len(ports) == 4
    assert all("held by the agent" in check["what"] for check in ports)
    assert done.returncode == 0


def test_an_agent_that_hangs_fails_at_the_agent(node: Node) -> None:
    os.kill(node.agent_pid, signal.SIGSTOP)
    try:
        hops = node.trace("web")
    finally:
        os.kill(node.agent_pid, signal.SIGCONT)
    assert first_failure(hops) == "agent"
    assert "has not answered" in hops["agent"]["detail"]
