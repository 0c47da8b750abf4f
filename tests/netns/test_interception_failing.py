"""What happens to Services while no agent listens: the fail modes, and nodes without routes."""

from __future__ import annotations

from contextlib import closing

import pytest
from interception_lab import (
    NODE,
    PORT,
    SERVER,
    SERVICE,
    SERVICES,
    VERSIONS,
    Agent,
    Lab,
    call,
    greeting,
    install,
    listener,
    output,
    refuses,
)

from edgemesh.lab.network import add_route, set_sysctl
from edgemesh.model.services import NodePort, ServiceAddress, Transport
from edgemesh.model.settings import NetfilterSettings

pytestmark = pytest.mark.root

TARGETS = (
    *SERVICES,
    *(ServiceAddress(address, Transport.TCP, 81) for address in SERVER.values()),
)


@pytest.mark.parametrize("version", VERSIONS)
def test_open_lets_calls_through_while_nobody_listens(pod_node_server: Lab, version: int) -> None:
    install(pod_node_server, NetfilterSettings(fail="open"), TARGETS, owned=False)
    with closing(listener(pod_node_server.server, SERVER[version], 81)) as endpoint:
        call(pod_node_server.pod, SERVER[version], 81).close()
        endpoint.accept()[0].close()


@pytest.mark.parametrize("version", VERSIONS)
def test_open_rules_that_stay_refuse_the_nodes_own_calls_while_nobody_listens(
    pod_node_server: Lab, version: int
) -> None:
    install(pod_node_server, NetfilterSettings(fail="open"), TARGETS, owned=False)
    assert refuses(pod_node_server.node, SERVICE[version])


@pytest.mark.parametrize("mode", ["tproxy", "redirect"])
@pytest.mark.parametrize("version", VERSIONS)
def test_closed_refuses_calls_while_nobody_listens(
    pod_node_server: Lab, version: int, mode: str
) -> None:
    interception = install(pod_node_server, NetfilterSettings(fail="closed", mode=mode), TARGETS)
    # The agent ends: what follows holds without it.
    pod_node_server.on_node(interception.close)
    with closing(listener(pod_node_server.server, SERVER[version], 81)):
        for caller in (pod_node_server.pod, pod_node_server.node):
            assert refuses(caller, SERVER[version], 81)


@pytest.mark.parametrize("backend", ["nft", "iptables"])
@pytest.mark.parametrize("mode", ["tproxy", "redirect"])
def test_an_open_agent_takes_its_rules_along(pod_node_server: Lab, backend: str, mode: str) -> None:
    settings = NetfilterSettings(backend=backend, mode=mode)
    pod_node_server.on_node(install(pod_node_server, settings, TARGETS).close)
    with closing(listener(pod_node_server.server, SERVER[4], 81)) as endpoint:
        call(pod_node_server.pod, SERVER[4], 81).close()
        endpoint.accept()[0].close()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_agents_own_port_is_never_diverted(pod_node_server: Lab, version: int) -> None:
    # Fail mode closed would refuse what was diverted to a listener that is not transparent.
    interception = install(pod_node_server, NetfilterSettings(fail="closed"), TARGETS)
    pod_node_server.on_node(lambda: interception.update([NodePort(Transport.TCP, 15001)], ()))
    with closing(listener(pod_node_server.node, NODE[version], 15001)) as plain:
        for caller in (pod_node_server.pod, pod_node_server.node):
            call(caller, NODE[version], 15001).close()
            plain.accept()[0].close()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_default_route_is_preferred_to_ours(pod_node_server: Lab, version: int) -> None:
    interception = install(pod_node_server, NetfilterSettings(), TARGETS)
    family = "-6" if version == 6 else "-4"
    show = ["ip", family, "route", "get", SERVICE[version]]
    assert "dev lo" in output(pod_node_server.node, show)
    add_route(pod_node_server.node, "default", via=SERVER[version], device="veth2")
    assert f"via {SERVER[version]} dev veth2" in output(pod_node_server.node, show)
    with Agent(pod_node_server.node) as agent:
        client = call(pod_node_server.node, SERVICE[version])
        assert agent.accept(version)[0] == (SERVICE[version], PORT)
        assert greeting(client) == b"agent"
    pod_node_server.on_node(interception.close)


@pytest.mark.parametrize("backend", ["nft", "iptables"])
def test_other_bits_of_the_mark_are_left_alone(pod_node_server: Lab, backend: str) -> None:
    interception = install(pod_node_server, NetfilterSettings(backend=backend), TARGETS)
    rules = (
        "table ip witness {\n counter kept {\n }\n chain input {\n"
        " type filter hook input priority 0; meta mark 0x4045 counter name kept\n }\n}\n"
    )
    output(pod_node_server.node, ["nft", "-f", "-"], rules)
    with Agent(pod_node_server.node) as agent:
        client = call(pod_node_server.node, SERVICE[4], mark=0x4000)
        assert agent.accept(4)[0] == (SERVICE[4], PORT)
        assert greeting(client) == b"agent"
    counted = output(pod_node_server.node, ["nft", "list", "counter", "ip", "witness", "kept"])
    assert "packets 0 " not in counted
    pod_node_server.on_node(interception.close)


def test_strict_reverse_path_filtering_does_not_drop_what_is_diverted(
    pod_node_server: Lab,
) -> None:
    for interface in ("all", "veth1", "veth2", "lo"):
        set_sysctl(pod_node_server.node, f"net.ipv4.conf.{interface}.rp_filter", 1)
    interception = install(pod_node_server, NetfilterSettings(), TARGETS)
    with Agent(pod_node_server.node) as agent:
        for caller in (pod_node_server.pod, pod_node_server.node):
            client = call(caller, SERVICE[4])
            assert agent.accept(4)[0] == (SERVICE[4], PORT)
            assert greeting(client) == b"agent"
    pod_node_server.on_node(interception.close)
