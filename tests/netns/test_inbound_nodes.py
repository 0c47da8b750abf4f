"""The server's limits hold for the calls of all nodes together: two nodes with an agent each."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from typing import TypeVar

import pytest
import trio
from interception_lab import inside, output
from lab_homes import manifest_of, unique_home, wait_for

from edgemesh.lab import cluster, rollout
from edgemesh.lab.state import Home, Pod, load

pytestmark = pytest.mark.root

Value = TypeVar("Value")

RATE, BURST, SECONDS = 100, 20, 5.0
PAUSE_SECONDS = 0.004
QUOTA = f"qps: {{server: {{rate: {RATE}, burst: {BURST}}}}}"
NO_LIMIT = "qps: {client: {rate: 100000}}"
REASON = "x-edgemesh-reason"

ORDERS = """
apiVersion: v1
kind: Pod
metadata: {name: orders, labels: {app: orders}}
spec:
  nodeName: edge-2
  containers: [{name: orders, image: fallible, ports: [{name: http, containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: orders}
spec:
  clusterIP: 10.96.7.7
  selector: {app: orders}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: Pod
metadata: {name: near}
spec: {nodeName: edge-2, containers: [{name: near, image: idle}]}
---
apiVersion: v1
kind: Pod
metadata: {name: far}
spec: {nodeName: edge-1, containers: [{name: far, image: idle}]}
"""
LIMITS = """
apiVersion: policy.edgemesh.io/v1alpha1
kind: TrafficPolicy
metadata: {name: orders}
spec: {targetRef: {kind: Service, name: orders}, SPEC}
"""
SERVICE = "10.96.7.7"


@pytest.fixture(scope="module")
def lab() -> Iterator[Home]:
    with unique_home() as place:
        trio.run(cluster.up, place, 2)
        trio.run(rollout.apply, place, manifest_of(ORDERS))
        yield place


def limit(lab: Home, spec: str, *, intercepted: bool = True) -> None:
    """Returns when the rules of the endpoint's node are as this wants them."""
    trio.run(rollout.apply, lab, manifest_of(LIMITS.replace("SPEC", spec)))
    wait_for(lambda: intercepts_pod(lab) is intercepted, "the rules follow")


def intercepts_pod(lab: Home) -> bool:
    node = load(lab).node("edge-2").namespace
    listed = output(node, ["nft", "list", "set", "inet", "edgemesh", "inbound4"])
    return pod(lab, "orders").addresses[0] in listed


def pod(lab: Home, name: str) -> Pod:
    return next(each for each in load(lab).pods if each.key.name == name)


@contextmanager
def callers(lab: Home, *, direct: bool = True) -> Iterator[list[http.client.HTTPConnection]]:
    """By the Service from either node and, past it, from the other one."""
    wanted = [("near", SERVICE, 80), ("far", SERVICE, 80)]
    if direct:
        wanted.append(("far", pod(lab, "orders").addresses[0], 8080))
    with ExitStack() as opened:
        yield [
            opened.enter_context(closing(connected(pod(lab, name), address, port)))
            for name, address, port in wanted
        ]


def connected(caller: Pod, address: str, port: int) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(address, port, timeout=10)
    inside(caller.network_namespace, connection.connect)
    return connection


def ask(connection: http.client.HTTPConnection, **fields: str) -> str:
    """The status of the answer, and why it is not the endpoint's if it is not."""
    connection.request(
        "GET", "/", headers={name.replace("_", "-"): fields[name] for name in fields}
    )
    with connection.getresponse() as response:
        response.read()
        return f"{response.status} {response.headers.get(REASON, '')}".rstrip()


def ask_for_a_while(connection: http.client.HTTPConnection, begun: float) -> Counter[str]:
    answers: Counter[str] = Counter()
    pause = threading.Event()
    while time.monotonic() < begun + SECONDS:
        answers[ask(connection)] += 1
        pause.wait(PAUSE_SECONDS)
    return answers


def all_at_once(
    connections: list[http.client.HTTPConnection], call: Callable[..., Value]
) -> list[Value]:
    with ThreadPoolExecutor(len(connections)) as threads:
        return list(threads.map(call, connections))


def assert_quota_holds(connections: list[http.client.HTTPConnection]) -> None:
    begun = time.monotonic()
    answers = all_at_once(connections, lambda one: ask_for_a_while(one, begun))
    total = sum(answers, Counter())
    allowed = RATE * (time.monotonic() - begun) + BURST
    assert set(total) == {"200", "429 server-quota"}
    assert total["200"] == pytest.approx(allowed, rel=0.02)
    assert all(each["200"] > 0 for each in answers)


def test_a_quota_holds_for_the_calls_of_all_nodes_together(lab: Home) -> None:
    limit(lab, QUOTA)
    with callers(lab) as connections:
        assert_quota_holds(connections)


def test_a_quota_that_comes_holds_for_connections_that_are_open_between_the_nodes(
    lab: Home,
) -> None:
    limit(lab, NO_LIMIT, intercepted=False)
    with callers(lab, direct=False) as connections:
        assert [ask(each) for each in connections] == ["200", "200"]
        limit(lab, QUOTA)
        assert_quota_holds(connections)


def test_calls_of_all_nodes_wait_in_one_queue(lab: Home) -> None:
    limit(lab, "concurrency: {maxConcurrent: 1, maxQueue: 1, queueTimeout: 5s}")
    with callers(lab) as connections:
        answers = all_at_once(connections, lambda one: ask(one, x_fail_delay="0.5"))
    assert sorted(answers) == ["200", "200", "503 server-overflow"]
