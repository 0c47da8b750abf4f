"""Calls of Pods that opted out are not balanced when they connect, as little as those of others
where Pods have to opt in.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import replace
from ipaddress import ip_address

import pytest
from connect_agent import ConnectAgent, running_agent
from connect_lab import PORT, SERVICE, UDP, ConnectLab, accepted
from interception_lab import POD, SERVER, Lab, output

from edgemesh.kernel.pod_namespaces import namespace_cookies
from edgemesh.model.services import Callers, PodIdentity

pytestmark = pytest.mark.root

# Of the callers' namespace: it is looked for in all of this host, and another process that runs
# these tests has one, too. A process has a number of 22 bits at the most (pid_max, proc(5)).
ADDRESS = str(ip_address("100.64.0.0") + os.getpid())
# Of documentation (RFC 5737): nobody has it.
NOBODYS = "192.0.2.7"


@pytest.fixture
def pod(connect_lab: ConnectLab) -> Iterator[ConnectLab]:
    """The callers' namespace has a Pod's address."""
    change = ["ip", "address", "CHANGE", f"{ADDRESS}/32", "dev", "lo"]
    namespace = connect_lab.programs.namespace
    output(namespace, [word.replace("CHANGE", "add") for word in change])
    yield connect_lab
    output(namespace, [word.replace("CHANGE", "delete") for word in change])


def cookie_of(address: str) -> int:
    return namespace_cookies([address])[address]


def serve_for(agent: ConnectAgent, listed: Collection[str], *, only_listed: bool = False) -> None:
    """A new snapshot with these callers, which are Pods of this node."""
    snapshot = agent.plane.decider.snapshot
    callers = Callers(frozenset(listed), only_listed=only_listed)
    pods = {address: PodIdentity("default", "caller") for address in listed}
    agent.plane.swap(replace(snapshot, callers=callers, pods=pods))
    agent.sync.want(agent.plane.decider.snapshot)


def test_the_cookie_of_a_namespace_is_found_by_an_address(pod_node_server: Lab) -> None:
    wanted = [POD[4], POD[6], SERVER[4], NOBODYS]
    found = pod_node_server.on_node(lambda: namespace_cookies(wanted))
    assert found.keys() == {POD[4], POD[6], SERVER[4]}
    assert found[POD[4]] == found[POD[6]] != found[SERVER[4]]


def test_a_namespace_that_is_listed_is_left_alone(pod: ConnectLab) -> None:
    servers = [pod.server()]
    pod.put(servers)
    pod.call().close()
    pod.maps.callers.set([cookie_of(ADDRESS)], only_listed=False)
    with pytest.raises(OSError, match="unreachable"):
        pod.call()
    with pytest.raises(OSError, match="unreachable"):
        pod.caller(kind=UDP).sendto(b"x", (SERVICE[4], PORT))
    pod.maps.callers.set([], only_listed=False)
    pod.call().close()
    assert accepted(servers, 2) == [2]


def test_where_only_those_are_balanced_who_are_listed_others_are_left_alone(
    pod: ConnectLab,
) -> None:
    servers = [pod.server()]
    pod.put(servers)
    pod.maps.callers.set([], only_listed=True)
    with pytest.raises(OSError, match="unreachable"):
        pod.call()
    pod.maps.callers.set([cookie_of(ADDRESS)], only_listed=True)
    pod.call().close()
    assert accepted(servers, 1) == [1]


def test_a_connection_that_was_balanced_goes_on_when_its_caller_is_listed(pod: ConnectLab) -> None:
    server = pod.server()
    port = pod.put([server])
    caller = pod.call()
    pod.maps.callers.set([cookie_of(ADDRESS)], only_listed=False)
    assert caller.getpeername() == (SERVICE[4], PORT)
    with server.accept()[0] as connection:
        caller.sendall(b"still here")
        assert connection.recv(64) == b"still here"
    assert pod.maps.port_counts(port.id).open == 1
    caller.close()
    assert pod.maps.port_counts(port.id).open == 0


async def test_a_pod_that_opts_out_is_left_alone_by_the_next_call(pod: ConnectLab) -> None:
    servers = [pod.server()]
    async with running_agent(pod, servers) as agent:
        assert agent.called(servers) == 0
        serve_for(agent, [ADDRESS])
        await agent.until(agent.is_left_alone)
        serve_for(agent, [])
        await agent.until(lambda: not agent.is_left_alone())


async def test_a_pod_that_opts_in_is_balanced_where_others_are_not(pod: ConnectLab) -> None:
    servers = [pod.server()]
    async with running_agent(pod, servers) as agent:
        serve_for(agent, [], only_listed=True)
        await agent.until(agent.is_left_alone)
        serve_for(agent, [ADDRESS], only_listed=True)
        await agent.until(lambda: not agent.is_left_alone())


async def test_a_pod_without_a_namespace_here_is_told_and_holds_up_nobody(
    pod: ConnectLab,
) -> None:
    async with running_agent(pod, [pod.server()]) as agent:
        serve_for(agent, [ADDRESS, NOBODYS])
        await agent.until(agent.is_left_alone)
        told = "the network namespaces of default/caller are not found"
        await agent.until(lambda: agent.sync.problem == told)
        serve_for(agent, [ADDRESS])
        await agent.until(lambda: agent.sync.problem == "")


async def test_nothing_is_balanced_where_pods_cannot_be_told_apart(
    pod: ConnectLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = [pod.server()]
    async with running_agent(pod, servers) as agent:
        with monkeypatch.context() as changed:
            # The child cannot be started: as if it had no privilege.
            changed.setattr("sys.executable", "/bin/false")
            serve_for(agent, [ADDRESS])
            await agent.until(lambda: "Pods cannot be told" in agent.sync.problem)
            await agent.until(lambda: agent.sync.ports == 0)
            # It is noted first, and then taken out of the maps.
            await agent.until(agent.is_left_alone)
        await agent.until(lambda: agent.sync.ports == 1)
        assert agent.sync.problem == ""
