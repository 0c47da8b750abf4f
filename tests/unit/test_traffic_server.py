"""The server's limits: so many a second, so many at a time, and a queue in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from traffic_fixtures import Calls, endpoints

from edgemesh.model.flows import Refusal
from edgemesh.model.policies import Policy, Quota, ServerLimits
from edgemesh.policy.traffic.server import ADMITTED, QUEUED, ServerState


class Waiters:
    """Waiters that note their turn."""

    def __init__(self) -> None:
        self.turns: list[int] = []
        self.made: dict[int, Callable[[], None]] = {}

    def __getitem__(self, number: int) -> Callable[[], None]:
        return self.made.setdefault(number, lambda: self.turns.append(number))


def release(state: ServerState) -> None:
    go_on = state.release()
    if go_on is not None:
        go_on()


def test_beyond_the_number_at_a_time_calls_wait_in_order_up_to_the_queues_end() -> None:
    state, waiters = ServerState(ServerLimits(max_concurrent=2, max_queue=2), 10), Waiters()
    answers = [state.admit("", 0.0, waiters[number]) for number in range(5)]
    assert answers[:4] == [ADMITTED, ADMITTED, QUEUED, QUEUED]
    assert answers[4].refusal is Refusal.SERVER_OVERFLOW
    assert (state.active, state.waiting, state.is_full) == (2, 2, True)
    for _ in range(4):
        release(state)
    assert waiters.turns == [2, 3]
    assert (state.active, state.waiting, state.is_full) == (0, 0, False)


def test_a_call_that_cannot_wait_is_refused() -> None:
    state = ServerState(ServerLimits(max_concurrent=1, max_queue=9), 10)
    assert state.admit("", 0.0) == ADMITTED
    assert state.admit("", 0.0).refusal is Refusal.SERVER_OVERFLOW


def test_who_gives_up_waiting_does_not_hold_up_the_others() -> None:
    state, waiters = ServerState(ServerLimits(max_concurrent=1, max_queue=3), 10), Waiters()
    for number in range(4):
        state.admit("", 0.0, waiters[number])
    state.abandon(waiters[1])
    state.abandon(waiters[1])
    release(state)
    assert waiters.turns == [2]
    assert state.admit("", 0.0, waiters[9]) == QUEUED


def test_beyond_the_quota_calls_are_told_how_long_to_wait() -> None:
    state = ServerState(ServerLimits(Quota(2, 1)), 10)
    assert state.admit("", 0.0) == ADMITTED
    refused = state.admit("", 0.0)
    assert (refused.refusal, refused.retry_after) == (Refusal.SERVER_QUOTA, 0.5)
    assert state.active == 1


def test_a_call_that_overflows_takes_no_token() -> None:
    state = ServerState(ServerLimits(Quota(1, 2), max_concurrent=1), 10)
    assert state.admit("", 0.0) == ADMITTED
    for _ in range(5):
        assert state.admit("", 0.0).refusal is Refusal.SERVER_OVERFLOW
    release(state)
    assert state.admit("", 0.0) == ADMITTED


def test_datagrams_count_by_the_second_alone() -> None:
    state = ServerState(ServerLimits(Quota(1, 2), max_concurrent=1), 10)
    assert [state.take("", 0.0) for _ in range(3)] == [0.0, 0.0, pytest.approx(1.0)]
    assert state.active == 0
    assert ServerState(ServerLimits(max_concurrent=1), 10).take("", 0.0) == 0.0


def test_when_limits_grow_those_who_wait_go_on() -> None:
    state, waiters = ServerState(ServerLimits(max_concurrent=1, max_queue=5), 10), Waiters()
    for number in range(4):
        state.admit("", 0.0, waiters[number])
    state.change(ServerLimits(max_concurrent=3, max_queue=5), 0.0)
    while (go_on := state.next_waiter()) is not None:
        go_on()
    assert waiters.turns == [1, 2]
    assert (state.active, state.waiting) == (3, 1)


def test_when_limits_shrink_what_was_admitted_stays_so() -> None:
    state, waiters = ServerState(ServerLimits(max_concurrent=3, max_queue=5), 10), Waiters()
    for number in range(4):
        state.admit("", 0.0, waiters[number])
    state.change(ServerLimits(max_concurrent=1, max_queue=5), 0.0)
    for _ in range(2):
        release(state)
    assert waiters.turns == []
    release(state)
    assert waiters.turns == [3]


def test_a_quota_may_come_change_and_go() -> None:
    state = ServerState(ServerLimits(max_concurrent=9), 10)
    state.change(ServerLimits(Quota(1, 1)), 0.0)
    assert state.admit("", 0.0) == ADMITTED
    state.change(ServerLimits(Quota(1, 5)), 0.0)
    assert state.admit("", 0.0).refusal is Refusal.SERVER_QUOTA
    state.change(ServerLimits(), 0.0)
    assert state.admit("", 0.0) == ADMITTED


def test_sources_have_quotas_of_their_own() -> None:
    state = ServerState(ServerLimits(Quota(1, 1)), 10)
    assert state.admit("default/a", 0.0) == ADMITTED
    assert state.admit("default/b", 0.0) == ADMITTED
    assert state.admit("default/a", 0.0).refusal is Refusal.SERVER_QUOTA


@given(
    steps=st.lists(st.sampled_from(["admit", "release", "abandon"]), max_size=60),
    most=st.integers(1, 4),
    queue=st.integers(0, 4),
)
def test_whatever_happens_limits_hold_and_turns_are_in_order(
    steps: list[str], most: int, queue: int
) -> None:
    state = ServerState(ServerLimits(max_concurrent=most, max_queue=queue), 10)
    waiters = Waiters()
    waiting: list[int] = []
    for number, step in enumerate(steps):
        turns = len(waiters.turns)
        if step == "admit":
            if state.admit("", 0.0, waiters[number]) == QUEUED:
                waiting.append(number)
        elif step == "release" and state.active:
            release(state)
        elif step == "abandon" and waiting:
            state.abandon(waiters[waiting.pop()])
        for turn in waiters.turns[turns:]:
            assert turn == waiting.pop(0)
        assert state.active <= most
        assert state.waiting == len(waiting) <= queue
        assert not waiting or state.active == most


def test_a_port_without_limits_has_no_state_and_one_with_limits_keeps_it() -> None:
    calls = Calls(Policy(), endpoints(1))
    assert calls.traffic.server(calls.port) is None
    assert list(calls.traffic.servers()) == []
    calls.change(Policy(server=ServerLimits(max_concurrent=1)), endpoints(1))
    state = calls.traffic.server(calls.port)
    assert state is not None
    state.admit("", calls.now)
    calls.change(Policy(server=ServerLimits(max_concurrent=2)), endpoints(1))
    assert calls.traffic.server(calls.port) is state
    assert list(calls.traffic.servers()) == [state]
    calls.change(Policy(), endpoints(1))
    assert not state.is_full
    state.release()


def test_inbound_calls_count_for_the_limits_of_their_service() -> None:
    policy = Policy(server=ServerLimits(max_concurrent=1))
    calls = Calls(policy, endpoints(2))
    inbound = replace(calls.port, inbound=True, endpoints=endpoints(1))
    calls.swap(calls.port, inbound)
    assert calls.traffic.upstream(inbound) is not None
    state = calls.traffic.server(calls.port)
    assert state is not None
    assert calls.traffic.server(inbound) is state
    assert list(calls.traffic.servers()) == [state]
    calls.swap(inbound)
    assert calls.traffic.server(inbound) is None
