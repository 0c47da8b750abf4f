"""The server's limits hold for the calls of all nodes together: two nodes with an agent each."""

from __future__ import annotations

import http.client
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from typing import NamedTuple, TypeVar

import pytest
import trio
from interception_lab import inside, output
from lab_homes import manifest_of, unique_home, wait_for

from edgemesh.lab import cluster, rollout
from edgemesh.lab.state import Home, Pod, load

pytestmark = pytest.mark.root

Value = TypeVar("Value")

# So slow that callers want more also where all of them are slow.
RATE, BURST, SECONDS = 20, 10, 5.0
PAUSE_SECONDS = 0.004
PATIENCE_SECONDS = 60.0
QUOTA = f"qps: {{server: {{rate: {RATE}, burst: {BURST}}}}}"
NO_LIMIT = "qps: {client: {rate: 100000}}"
REASON = "x-edgemesh-reason"
BODY = b"the rest"

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
    connection = http.client.HTTPConnection(address, port, timeout=PATIENCE_SECONDS)
    inside(caller.network_namespace, connection.connect)
    return connection


class Answer(NamedTuple):
    """When a call began and when it was answered, by the monotonic clock, and how."""

    began: float
    ended: float
    told: str


def ask(connection: http.client.HTTPConnection) -> Answer:
    began = time.monotonic()
    connection.request("GET", "/")
    told = heard(connection)
    return Answer(began, time.monotonic(), told)


def heard(connection: http.client.HTTPConnection) -> str:
    """The status of the answer, and why it is not the endpoint's if it is not."""
    with connection.getresponse() as response:
        response.read()
        return f"{response.status} {response.headers.get(REASON, '')}".rstrip()


def ask_for_a_while(connection: http.client.HTTPConnection, begun: float) -> list[Answer]:
    """Returns after `SECONDS`, but not before the endpoint has answered."""
    answers: list[Answer] = []
    pause = threading.Event()
    while time.monotonic() < begun + SECONDS or not granted(answers):
        answers.append(ask(connection))
        pause.wait(PAUSE_SECONDS)
    return answers


def granted(answers: Sequence[Answer]) -> list[Answer]:
    return [answer for answer in answers if answer.told == "200"]


def all_at_once(
    connections: list[http.client.HTTPConnection], call: Callable[..., Value]
) -> list[Value]:
    with ThreadPoolExecutor(len(connections)) as threads:
        return list(threads.map(call, connections))


def assert_quota_holds(connections: list[http.client.HTTPConnection]) -> None:
    begun = time.monotonic()
    heard_by_each = all_at_once(connections, lambda one: ask_for_a_while(one, begun))
    answers = [answer for each in heard_by_each for answer in each]
    allowed = RATE * (time.monotonic() - begun) + BURST
    passed = granted(answers)
    assert {answer.told for answer in answers} == {"200", "429 server-quota"}
    assert len(passed) <= allowed * 1.02
    refused = [answer for answer in answers if answer.told != "200"]
    assert [answer for answer in refused if not is_due(answer, passed)] == []


def is_due(refused: Answer, passed: Sequence[Answer]) -> bool:
    """Whether the quota may have been used up when a call was refused.

    It was if more calls were let pass, from some moment until then, than a full bucket and what
    came into it since. Stalls leave the bucket full, so that every moment has to be looked at.
    What happens between a call's begin and its answer may have happened at any time of that.
    """
    before = [answer for answer in passed if answer.began <= refused.ended]
    for since in {answer.began for answer in before}:
        used = sum(answer.ended >= since for answer in before)
        most = BURST + RATE * max(refused.began - since, 0.0)
        if used > most * 0.98 - 1:
            return True
    return False


def test_a_quota_holds_for_the_calls_of_all_nodes_together(lab: Home) -> None:
    limit(lab, QUOTA)
    with callers(lab) as connections:
        assert_quota_holds(connections)


def test_a_quota_that_comes_holds_for_connections_that_are_open_between_the_nodes(
    lab: Home,
) -> None:
    limit(lab, NO_LIMIT, intercepted=False)
    with callers(lab, direct=False) as connections:
        assert [ask(each).told for each in connections] == ["200", "200"]
        limit(lab, QUOTA)
        assert_quota_holds(connections)


def test_calls_of_all_nodes_wait_in_one_queue(lab: Home) -> None:
    limit(lab, "concurrency: {maxConcurrent: 1, maxQueue: 1, queueTimeout: 60s}")
    with callers(lab) as connections:
        for each in connections:
            begin(each)
        # One call is at the endpoint, which waits for its body, and one in the queue.
        waiting = {each.sock: each for each in connections}
        answered, _, _ = select.select(waiting, [], [], PATIENCE_SECONDS)
        assert [heard(waiting.pop(sock)) for sock in answered] == ["503 server-overflow"]
        for each in waiting.values():
            each.send(BODY)
        assert [heard(each) for each in waiting.values()] == ["200", "200"]


def begin(connection: http.client.HTTPConnection) -> None:
    """Ask, all but the body."""
    connection.putrequest("POST", "/")
    connection.putheader("Content-Length", str(len(BODY)))
    connection.endheaders()
