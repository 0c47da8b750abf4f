"""Calls that the kernel balances count for metrics, status and breakers, though none is seen."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
import trio.testing
from connect_agent import ConnectAgent, running_agent
from connect_lab import PATIENCE_SECONDS, PORT, SERVICE, ConnectLab, Socket

from edgemesh.app.breakers import breakers
from edgemesh.model.flows import Ending, Refusal
from edgemesh.model.policies import Breaker, Policy, Quota
from edgemesh.model.services import Transport
from edgemesh.model.status import BreakerPhase, BreakerStatus, ServicesQuestion
from edgemesh.policy.traffic.breaker import Phase
from edgemesh.policy.traffic.spread import Spread

pytestmark = pytest.mark.root

LINGER_ZERO = struct.pack("ii", 1, 0)
SHORT = 0.3
BREAKER = Policy(breaker=Breaker(consecutive_errors=3, base_ejection_seconds=SHORT))


def closed(lab: ConnectLab) -> Socket:
    """An endpoint where nobody listens: its kernel refuses; another may be bound there later."""
    server = lab.opened.enter_context(lab.programs.servers.make(2, 1))
    server.bind(("127.0.0.1", 0))
    return server


def fail(lab: ConnectLab, times: int) -> None:
    for _ in range(times):
        with pytest.raises(ConnectionRefusedError):
            lab.call()


def statuses(agent: ConnectAgent) -> list[BreakerStatus]:
    """What ``edgemesh get breakers`` shows."""
    decider, now = agent.plane.decider, agent.plane.reactor.clock()
    found = breakers(decider.snapshot, decider.traffic, now, ServicesQuestion())
    return [status for port in found for status in port]


async def test_connections_are_counted_while_they_are_open_and_after(
    connect_lab: ConnectLab,
) -> None:
    servers = [connect_lab.server()]
    async with running_agent(connect_lab, servers, policy=BREAKER) as agent:
        callers = [connect_lab.call() for _ in range(3)]
        await agent.until(lambda: agent.meter(servers[0]).connections == 3)
        assert agent.upstream.connections == 3
        assert [status.active for status in statuses(agent)] == [3]
        assert agent.plane.reports.open == {Transport.TCP: 3}
        for caller in callers:
            caller.close()
        await agent.until(lambda: agent.state().calls == 3)
        assert agent.upstream.connections == agent.state().active == 0
        assert agent.plane.reports.opened == {Transport.TCP: 3}
        assert agent.plane.reports.endings == {Ending.CLOSED: 3}
        assert agent.meter(servers[0]).connections == 3


async def test_round_trips_are_counted(connect_lab: ConnectLab) -> None:
    servers = [connect_lab.server()]
    async with running_agent(connect_lab, servers) as agent:
        for _ in range(2):
            connect_lab.call()
        await agent.until(lambda: agent.meter(servers[0]).round_trips == 2)
        assert 0 < agent.meter(servers[0]).round_trip_seconds < PATIENCE_SECONDS


async def test_failures_to_connect_are_counted(connect_lab: ConnectLab) -> None:
    dead = closed(connect_lab)
    async with running_agent(connect_lab, [dead]) as agent:
        fail(connect_lab, 2)
        await agent.until(lambda: agent.meter(dead).connect_failures == 2)
        assert agent.meter(dead).connections == 0
        assert agent.plane.reports.endings == {Ending.CONNECT_FAILED: 2}


async def test_connections_that_an_endpoint_breaks_off_are_counted(
    connect_lab: ConnectLab,
) -> None:
    server = connect_lab.server()
    async with running_agent(connect_lab, [server]) as agent:
        break_off(connect_lab, server)
        await agent.until(lambda: agent.meter(server).resets == 1)
        assert agent.plane.reports.endings == {Ending.ENDPOINT_RESET: 1}


def reset(server: Socket) -> None:
    accepted, _ = server.accept()
    accepted.setsockopt(1, 13, LINGER_ZERO)  # SOL_SOCKET, SO_LINGER
    accepted.close()


async def test_refusals_are_counted_by_reason(connect_lab: ConnectLab) -> None:
    policy = Policy(client_quota=Quota(1 / 3600, 1))
    async with running_agent(connect_lab, [connect_lab.server()], policy=policy) as agent:
        connect_lab.call()
        fail(connect_lab, 2)
        refusals = agent.plane.metrics.refusals
        await agent.until(lambda: refusals.by_reason == {Refusal.QUOTA: 2})
        fail(connect_lab, 1)
        await agent.until(lambda: refusals.by_reason == {Refusal.QUOTA: 3})
        assert agent.plane.reports.endings[Ending.REFUSED] == 3


async def test_an_endpoint_that_fails_in_a_row_is_ejected_and_told_of(
    connect_lab: ConnectLab, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = Policy(breaker=Breaker(consecutive_errors=3, max_ejection_percent=50))
    servers = [closed(connect_lab), connect_lab.server()]
    async with running_agent(connect_lab, servers, policy=policy) as agent:
        await fail_until_ejected(agent, servers)
        assert [agent.called(servers[1:]) for _ in range(6)] == [0] * 6
        assert agent.meter(servers[0]).ejections == 1
        assert [status.state for status in statuses(agent)] == [
            BreakerPhase.OPEN,
            BreakerPhase.CLOSED,
        ]
    assert "endpoint ejected" in capsys.readouterr().out


async def test_an_endpoint_that_takes_connections_and_breaks_them_off_is_ejected(
    connect_lab: ConnectLab,
) -> None:
    server = connect_lab.server()
    policy = Policy(breaker=Breaker(consecutive_errors=3))
    async with running_agent(connect_lab, [server], policy=policy) as agent:
        for _ in range(3):
            break_off(connect_lab, server)
        await agent.until(lambda: agent.state().breaker.phase is Phase.OPEN)


async def test_a_connection_that_ends_in_order_makes_up_for_those_that_were_broken_off(
    connect_lab: ConnectLab,
) -> None:
    server = connect_lab.server()
    policy = Policy(breaker=Breaker(consecutive_errors=3))
    async with running_agent(connect_lab, [server], policy=policy) as agent:
        for _ in range(2):
            for _ in range(2):
                break_off(connect_lab, server)
            caller = connect_lab.call()
            accepted, _ = server.accept()
            accepted.close()
            assert caller.recv(1) == b""
            caller.close()
            connect_lab.wait_until_over()
        await agent.until(lambda: agent.state().failures == 4)
        assert agent.state().breaker.phase is Phase.CLOSED


def break_off(lab: ConnectLab, server: Socket) -> None:
    caller = lab.call()
    reset(server)
    with pytest.raises(ConnectionResetError):
        caller.recv(1)


async def fail_until_ejected(agent: ConnectAgent, servers: Sequence[Socket]) -> None:
    """Call until nothing goes to the first of two any more."""

    def call() -> bool:
        try:
            agent.lab.call().close()
        except ConnectionRefusedError:
            return False
        servers[1].accept()[0].close()
        return agent.state(0).breaker.phase is Phase.OPEN

    await agent.until(call)
    # Its table goes when the agent has had a turn.
    await agent.until(lambda: all(not refused(agent) for _ in range(4)))
    for _ in range(4):
        servers[1].accept()[0].close()


async def ejected(agent: ConnectAgent) -> None:
    """Fail until the only endpoint was out; it may be half-open again since."""
    fail(agent.lab, 3)
    await agent.until(lambda: agent.state().breaker.ejections == 1)
    await trio.testing.wait_all_tasks_blocked()


def refused(agent: ConnectAgent) -> bool:
    try:
        agent.lab.call().close()
    except ConnectionRefusedError:
        return True
    return False


async def test_when_all_are_ejected_calls_are_refused_for_it(connect_lab: ConnectLab) -> None:
    policy = Policy(breaker=Breaker(consecutive_errors=1))
    async with running_agent(connect_lab, [closed(connect_lab)], policy=policy) as agent:
        refusals = agent.plane.metrics.refusals.by_reason
        await agent.until(lambda: refused(agent) and refusals[Refusal.BREAKER_OPEN])


async def test_an_endpoint_that_answers_after_its_ejection_comes_back(
    connect_lab: ConnectLab, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = closed(connect_lab)
    async with running_agent(connect_lab, [dead], policy=BREAKER) as agent:
        await ejected(agent)
        dead.listen()
        await agent.until(lambda: not refused(agent))
        await agent.until(lambda: agent.state().breaker.phase is Phase.CLOSED)
        await agent.until(lambda: not refused(agent))
    assert "endpoint returned" in capsys.readouterr().out


async def test_a_trial_that_fails_ejects_it_again(connect_lab: ConnectLab) -> None:
    async with running_agent(connect_lab, [closed(connect_lab)], policy=BREAKER) as agent:
        fail(connect_lab, 3)
        await agent.until(lambda: refused(agent) and agent.state().breaker.ejections == 2)
        [status] = statuses(agent)
        assert status.reason == "trial-failed"


def spread(agent: ConnectAgent) -> Spread:
    return agent.upstream.spread(agent.plane.reactor.clock())


async def test_a_trial_that_is_not_over_keeps_others_away(connect_lab: ConnectLab) -> None:
    dead = closed(connect_lab)
    async with running_agent(connect_lab, [dead], policy=BREAKER) as agent:
        await ejected(agent)
        # Now nobody answers there.
        dead.listen(0)
        connect_lab.fill(dead)
        trial = connect_lab.caller()
        trial.setblocking(False)
        refusals = agent.plane.metrics.refusals.by_reason

        def tries() -> bool:
            return trial.connect_ex((SERVICE[4], PORT)) == 115  # EINPROGRESS

        await agent.until(tries)
        await agent.until(lambda: spread(agent).four is Refusal.BREAKER_OPEN)
        await trio.testing.wait_all_tasks_blocked()
        before = refusals[Refusal.BREAKER_OPEN]
        fail(connect_lab, 1)
        await agent.until(lambda: refusals[Refusal.BREAKER_OPEN] > before)
        assert agent.state().breaker.phase is Phase.HALF_OPEN


async def test_an_endpoint_is_counted_on_while_it_takes_no_calls(connect_lab: ConnectLab) -> None:
    servers = [connect_lab.server()]
    async with running_agent(connect_lab, servers, policy=BREAKER) as agent:
        caller = connect_lab.call()
        await agent.until(lambda: agent.upstream.connections == 1)
        state = agent.state()
        agent.serve([], policy=BREAKER)
        assert state.draining
        caller.close()
        await agent.until(lambda: not state.connections)
        assert agent.meter(servers[0]).connections == 1


async def test_what_is_open_counts_for_a_service_that_was_gone_for_a_moment(
    connect_lab: ConnectLab,
) -> None:
    servers = [connect_lab.server()]
    async with running_agent(connect_lab, servers, policy=BREAKER) as agent:
        caller = connect_lab.call()
        await agent.until(lambda: agent.upstream.connections == 1)
        agent.drop()
        agent.serve(servers, policy=BREAKER)
        connect_lab.call().close()
        await agent.until(lambda: agent.upstream.connections == agent.state().calls == 1)
        caller.close()
        await agent.until(lambda: agent.state().calls == 2)
        assert agent.upstream.connections == 0
