"""The transport server: calls to this node's endpoints pass, wait or are refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest
from plane_fixtures import Ignorer

from edgemesh.model.flows import Refusal
from edgemesh.model.policies import Policy, Quota, QuotaScope, ServerLimits
from edgemesh.model.services import Endpoint, ServicePort, Snapshot, Transport
from edgemesh.model.settings import ProxySettings
from edgemesh.proxy.decide import Decider
from edgemesh.proxy.transport_server import CallKind, InboundCall, Pass, TransportServer
from edgemesh.reactor.reactor import Reactor

HERE = Endpoint("10.0.0.1", 80, node="edge-1")
THERE = Endpoint("10.0.0.2", 80, node="edge-2")
NOWHERE = Endpoint("10.0.0.3", 80)


class Gate:
    """A transport server, and calls to it whose decisions are noted by their name."""

    def __init__(self, reactor: Reactor, limits: ServerLimits, node: str) -> None:
        self.reactor = reactor
        self.node = node
        self.decider = Decider(ProxySettings(), Random(0).random, lambda: reactor.now)
        self.server = TransportServer(reactor, self.decider)
        self.decided: list[tuple[str, Refusal | None]] = []
        self.limit(limits)

    def limit(self, limits: ServerLimits) -> None:
        self.port = ServicePort(
            "default",
            "web",
            "",
            Transport.TCP,
            80,
            policy=Policy(server=limits),
            endpoints=(HERE, THERE, NOWHERE),
        )
        self.decider.swap(Snapshot(node=self.node, ports={self.port.key: self.port}))

    def call(
        self,
        name: str = "",
        endpoint: Endpoint = HERE,
        source: str = "a",
        kind: CallKind = CallKind.REQUEST,
        route: str = "",
    ) -> Pass:
        return self.server.admit(
            InboundCall(self.port, endpoint, source, kind, route),
            Ignorer(),
            lambda refusal: self.decided.append((name, refusal)),
        )


@contextmanager
def gate(limits: ServerLimits, node: str = "edge-1") -> Iterator[Gate]:
    with Reactor(0.0, lambda: 100.0) as reactor:
        yield Gate(reactor, limits, node)
    assert reactor.bugs == 0


ONE = ServerLimits(max_concurrent=1, max_queue=2)


@pytest.mark.parametrize("endpoint", [THERE, NOWHERE])
def test_calls_to_endpoints_of_other_nodes_pass_freely(endpoint: Endpoint) -> None:
    with gate(ONE) as made:
        assert [made.call(endpoint=endpoint).refusal for _ in range(5)] == [None] * 5


def test_a_node_without_a_name_has_no_endpoints_of_its_own() -> None:
    with gate(ONE, node="") as made:
        assert [made.call(endpoint=NOWHERE).waits for _ in range(5)] == [False] * 5


def test_without_limits_calls_pass_and_their_release_does_nothing() -> None:
    with gate(ServerLimits()) as made:
        passed = made.call()
        passed.release()
        passed.release()
        assert passed.refusal is None


def test_who_waits_is_told_at_the_end_of_the_turn_in_order() -> None:
    with gate(ONE) as made:
        first = made.call("first")
        second, third = made.call("second"), made.call("third")
        assert (first.waits, second.waits, third.waits) == (False, True, True)
        first.release()
        assert made.decided == []
        made.reactor.settle()
        assert made.decided == [("second", None)]
        second.release()
        made.reactor.settle()
        assert made.decided == [("second", None), ("third", None)]
        assert not third.waits


def test_a_release_counts_once() -> None:
    with gate(ONE) as made:
        first = made.call()
        first.release()
        first.release()
        assert not made.call().waits
        assert made.call().waits


def test_who_gives_up_waiting_is_told_nothing_and_takes_no_turn() -> None:
    with gate(ONE) as made:
        first, second = made.call("first"), made.call("second")
        made.call("third")
        second.release()
        second.release()
        first.release()
        made.reactor.settle()
        assert made.decided == [("third", None)]


def test_who_gives_up_between_its_turn_and_the_news_of_it_passes_the_turn_on() -> None:
    with gate(ONE) as made:
        first, second = made.call("first"), made.call("second")
        made.call("third")
        first.release()
        second.release()
        made.reactor.settle()
        assert made.decided == [("third", None)]


def test_beyond_the_queue_calls_are_refused() -> None:
    with gate(ONE) as made:
        answers = [made.call() for _ in range(4)]
        assert answers[3].refusal is Refusal.SERVER_OVERFLOW
        answers[3].release()
        assert made.call().refusal is Refusal.SERVER_OVERFLOW


def test_a_call_that_leaves_no_word_does_not_wait() -> None:
    with gate(ONE) as made:
        made.call()
        call = InboundCall(made.port, HERE, "a", CallKind.REQUEST)
        assert made.server.admit(call).refusal is Refusal.SERVER_OVERFLOW


def test_beyond_the_quota_calls_are_told_when_to_come_again() -> None:
    with gate(ServerLimits(Quota(2, 1))) as made:
        assert made.call().refusal is None
        refused = made.call()
        assert (refused.refusal, refused.retry_after) == (Refusal.SERVER_QUOTA, 0.5)


@pytest.mark.parametrize(
    ("scope", "refusals"),
    [
        (QuotaScope.SERVICE, [None, Refusal.SERVER_QUOTA, Refusal.SERVER_QUOTA]),
        (QuotaScope.SOURCE, [None, None, Refusal.SERVER_QUOTA]),
        (QuotaScope.ROUTE, [None, Refusal.SERVER_QUOTA, None]),
    ],
)
def test_a_quota_is_shared_as_its_scope_says(
    scope: QuotaScope, refusals: list[Refusal | None]
) -> None:
    with gate(ServerLimits(Quota(2, 1, scope))) as made:
        calls = [("a", "x"), ("b", "x"), ("a", "y")]
        heard = [made.call(source=source, route=route).refusal for source, route in calls]
        assert heard == refusals


def test_datagrams_neither_wait_nor_count_as_calls_at_a_time() -> None:
    with gate(ServerLimits(Quota(2, 3), max_concurrent=1)) as made:
        heard = [made.call(kind=CallKind.DATAGRAM).refusal for _ in range(4)]
        assert heard == [None, None, None, Refusal.SERVER_QUOTA]


def test_when_a_snapshot_makes_room_those_who_wait_go_on() -> None:
    with gate(ONE) as made:
        for name in ("first", "second", "third"):
            made.call(name)
        made.limit(ServerLimits(max_concurrent=2, max_queue=2))
        made.server.look_again()
        assert made.decided == [("second", None)]
        made.limit(ServerLimits())
        made.server.look_again()
        assert made.decided == [("second", None), ("third", None)]
