"""Beside the rules of others: kube-proxy's, Docker's and firewalld's, whoever starts first."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest
from interception_lab import (
    BACKENDS,
    PORT,
    SERVER,
    SERVICE,
    VERSIONS,
    Agent,
    Lab,
    call,
    greeting,
    install,
    listener,
    nft,
    output,
    send,
)

from edgemesh.kernel.netfilter import Interception
from edgemesh.model.settings import NetfilterSettings

pytestmark = pytest.mark.root


# The shape of kube-proxy's nftables mode (KEP-3866): a verdict map, then DNAT, at dstnat.
KUBE_PROXY_NFT = "".join(
    f"""
table {family} kube-proxy {{
    map service-ips {{
        type ipv{version}_addr . inet_proto . inet_service : verdict
        elements = {{ {SERVICE[version]} . tcp . {PORT} : goto endpoint,
                      {SERVICE[version]} . udp . {PORT} : goto endpoint }}
    }}
    chain endpoint {{
        meta l4proto tcp dnat {family} to {dnat}
        meta l4proto udp dnat {family} to {dnat}
    }}
    chain nat-prerouting {{
        type nat hook prerouting priority -100; policy accept;
        {family} daddr . meta l4proto . th dport vmap @service-ips
    }}
    chain nat-output {{
        type nat hook output priority -100; policy accept;
        {family} daddr . meta l4proto . th dport vmap @service-ips
    }}
}}
"""
    for version, family, dnat in (
        (4, "ip", f"{SERVER[4]}:{PORT}"),
        (6, "ip6", f"[{SERVER[6]}]:{PORT}"),
    )
)

# The shape of firewalld's: invalid dropped, established kept, the pods' interface trusted.
FIREWALLD = """
table inet firewalld {
    chain filter_INPUT {
        type filter hook input priority filter + 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
        iifname { lo, veth1, veth2 } accept
        ct state invalid drop
        reject with icmpx admin-prohibited
    }
    chain filter_FORWARD {
        type filter hook forward priority filter + 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
        iifname { veth1, veth2 } accept
        ct state invalid drop
        reject with icmpx admin-prohibited
    }
    chain nat_PREROUTING {
        type nat hook prerouting priority dstnat + 10; policy accept;
    }
    chain nat_POSTROUTING {
        type nat hook postrouting priority srcnat + 10; policy accept;
        oifname veth2 masquerade
    }
}
"""


def kube_proxy_nft(node: str) -> None:
    nft(node, KUBE_PROXY_NFT)


def kube_proxy_iptables(node: str) -> None:
    """As its iptables mode: chains of its own, the jump inserted first, a mark of its own."""
    for version, tool in ((4, "iptables"), (6, "ip6tables")):
        endpoint = f"{SERVER[4]}:{PORT}" if version == 4 else f"[{SERVER[6]}]:{PORT}"
        rules = "".join(
            f"-A KUBE-SERVICES -d {SERVICE[version]} -p {transport} -m {transport} "
            f"--dport {PORT} -j KUBE-SEP\n"
            f"-A KUBE-SEP -p {transport} -m {transport} -j DNAT --to-destination {endpoint}\n"
            for transport in ("tcp", "udp")
        )
        text = (
            "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-SEP - [0:0]\n:KUBE-POSTROUTING - [0:0]\n"
            "-I PREROUTING 1 -j KUBE-SERVICES\n-I OUTPUT 1 -j KUBE-SERVICES\n"
            f"-I POSTROUTING 1 -j KUBE-POSTROUTING\n{rules}"
            "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n"
            "-A KUBE-POSTROUTING -j MASQUERADE\nCOMMIT\n"
        )
        output(node, [f"{tool}-restore", "--noflush"], text)


def docker(node: str) -> None:
    """Docker's: published ports in nat, a FORWARD policy of drop with its bridges let through."""
    output(
        node,
        ["iptables-restore", "--noflush"],
        "*nat\n:DOCKER - [0:0]\n-I PREROUTING 1 -m addrtype --dst-type LOCAL -j DOCKER\n"
        "-I OUTPUT 1 ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER\n"
        "-A DOCKER -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.2.0.2:80\nCOMMIT\n"
        "*filter\n:FORWARD DROP [0:0]\n:DOCKER-USER - [0:0]\n-I FORWARD 1 -j DOCKER-USER\n"
        "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
        "-A FORWARD -i veth1 -j ACCEPT\nCOMMIT\n",
    )


def firewalld(node: str) -> None:
    nft(node, FIREWALLD)


NEIGHBOURS = (kube_proxy_nft, kube_proxy_iptables, docker, firewalld)

# Left out: iptables beside kube-proxy's nftables mode. Its chain and iptables' own have the same
# priority, and of those the kernel asks the younger first (nf_hook_entries_grow).
COMBINATIONS = [
    (backend, neighbour)
    for backend in BACKENDS
    for neighbour in NEIGHBOURS
    if (backend, neighbour) != ("iptables", kube_proxy_nft)
]


def start(lab: Lab, backend: str, mode: str = "tproxy") -> Interception:
    return install(lab, NetfilterSettings(backend=backend, mode=mode))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("first", ["edgemesh", "neighbour"])
@pytest.mark.parametrize(("backend", "neighbour"), COMBINATIONS)
def test_services_reach_the_agent_whoever_started_first(
    pod_node_server: Lab,
    backend: str,
    neighbour: Callable[[str], None],
    first: str,
    version: int,
) -> None:
    if first == "neighbour":
        neighbour(pod_node_server.node)
        interception = start(pod_node_server, backend)
    else:
        interception = start(pod_node_server, backend)
        neighbour(pod_node_server.node)
        pod_node_server.on_node(interception.install)
    with Agent(pod_node_server.node) as agent:
        for caller in (pod_node_server.pod, pod_node_server.node):
            client = call(caller, SERVICE[version])
            assert agent.accept(version)[0] == (SERVICE[version], PORT)
            assert greeting(client) == b"agent"
            with closing(send(caller, SERVICE[version])):
                assert agent.receive(version)[0] == (SERVICE[version], PORT)
    pod_node_server.on_node(interception.close)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("neighbour", [kube_proxy_nft, kube_proxy_iptables])
def test_nftables_needs_no_second_install_when_a_neighbour_starts_later(
    pod_node_server: Lab, neighbour: Callable[[str], None], version: int
) -> None:
    interception = start(pod_node_server, "nft")
    neighbour(pod_node_server.node)
    with Agent(pod_node_server.node) as agent:
        client = call(pod_node_server.node, SERVICE[version])
        assert agent.accept(version)[0] == (SERVICE[version], PORT)
        assert greeting(client) == b"agent"
    pod_node_server.on_node(interception.close)


@pytest.mark.parametrize("mode", ["tproxy", "redirect"])
@pytest.mark.parametrize("neighbour", NEIGHBOURS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_removing_leaves_a_neighbours_rules_as_they_were(
    pod_node_server: Lab, backend: str, neighbour: Callable[[str], None], mode: str
) -> None:
    def rules() -> str:
        return output(
            pod_node_server.node,
            ["sh", "-c", "nft list ruleset; iptables-save | grep -v '^#'; ip rule; ip -6 rule"],
        )

    neighbour(pod_node_server.node)
    before = rules()
    interception = start(pod_node_server, backend, mode)
    pod_node_server.on_node(interception.remove)
    assert rules() == before


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("neighbour", [kube_proxy_nft, kube_proxy_iptables])
def test_without_the_agent_services_go_where_the_neighbour_leads_them(
    pod_node_server: Lab, neighbour: Callable[[str], None], version: int
) -> None:
    neighbour(pod_node_server.node)
    interception = start(pod_node_server, "nft")
    with closing(listener(pod_node_server.server, SERVER[version], PORT)) as endpoint:
        call(pod_node_server.pod, SERVICE[version]).close()
        endpoint.accept()[0].close()
    pod_node_server.on_node(interception.close)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_connection_that_is_not_diverted_keeps_its_neighbours_translation(
    pod_node_server: Lab, backend: str
) -> None:
    docker(pod_node_server.node)
    interception = start(pod_node_server, backend)
    with closing(listener(pod_node_server.server, SERVER[4], 80)) as endpoint:
        call(pod_node_server.pod, "10.1.0.1", 8080).close()
        endpoint.accept()[0].close()
    pod_node_server.on_node(interception.close)
