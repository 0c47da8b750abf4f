"""The check tells what stands in the way, and the remedy that it names mends it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest
from interception_lab import SERVICE, SERVICES, Agent, Lab, call, inside, output, state_of

from edgemesh.kernel.netfilter import open_interception
from edgemesh.kernel.preflight import Finding, check_interception
from edgemesh.lab.network import (
    Attachment,
    add_bridge,
    add_namespace,
    add_route,
    connect,
    set_sysctl,
)
from edgemesh.model.settings import NetfilterSettings, ProxySettings

pytestmark = pytest.mark.root


def findings(namespace: str, settings: NetfilterSettings | None = None) -> dict[str, Finding]:
    found = inside(namespace, lambda: check_interception(settings or NetfilterSettings()))
    return {finding.id: finding for finding in found}


def mend(namespace: str, finding: Finding) -> None:
    assert finding.state == "missing"
    output(namespace, finding.remedy.partition(",")[0].split())


@pytest.mark.parametrize("backend", ["nft", "iptables"])
@pytest.mark.parametrize("mode", ["tproxy", "redirect"])
def test_a_fit_host_lacks_nothing_and_is_left_as_it_was(
    pod_node_server: Lab, backend: str, mode: str
) -> None:
    before = state_of(pod_node_server.node)
    settings = NetfilterSettings(backend=backend, mode=mode)
    states = {f.id: f.state for f in findings(pod_node_server.node, settings).values()}
    assert "missing" not in states.values()
    assert {"privilege", "forwarding", "mark", "tproxy-user"} <= states.keys()
    assert state_of(pod_node_server.node) == before


@pytest.mark.parametrize("backend", ["nft", "iptables"])
def test_our_own_rules_are_nobody_elses(pod_node_server: Lab, backend: str) -> None:
    settings = NetfilterSettings(backend=backend)
    held = pod_node_server.on_node(lambda: open_interception(settings, ProxySettings(), owned=True))
    before = findings(pod_node_server.node, settings)
    pod_node_server.on_node(held.install)
    assert findings(pod_node_server.node, settings) == before
    pod_node_server.on_node(held.close)


def test_a_loopback_interface_that_is_down_is_found(lone_node: str) -> None:
    output(lone_node, ["ip", "link", "set", "lo", "down"])
    mend(lone_node, findings(lone_node)["loopback"])
    assert findings(lone_node)["loopback"].state == "ok"


def test_source_validation_by_mark_drops_diverted_calls_until_it_is_mended(
    pod_node_server: Lab,
) -> None:
    node = pod_node_server.node
    set_sysctl(node, "net.ipv4.conf.all.src_valid_mark", 1)
    held = pod_node_server.on_node(
        lambda: open_interception(NetfilterSettings(), ProxySettings(), owned=True)
    )
    pod_node_server.on_node(held.install)
    pod_node_server.on_node(lambda: held.update(SERVICES, ()))
    with Agent(node):
        with pytest.raises(TimeoutError):
            call(pod_node_server.pod, SERVICE[4], timeout=0.2)
        mend(node, findings(node)["src_valid_mark"])
        call(pod_node_server.pod, SERVICE[4]).close()
    pod_node_server.on_node(held.close)


def test_a_bridge_with_br_netfilter_hides_pods_until_it_is_mended(namespace_prefix: str) -> None:
    node, pod = f"{namespace_prefix}node", f"{namespace_prefix}pod"
    for name in (node, pod):
        add_namespace(name)
    add_bridge(node, "cni0")
    connect(Attachment(pod, "eth0", ("10.1.0.2/24",)), Attachment(node, "port1", bridge="cni0"))
    output(node, ["ip", "address", "add", "10.1.0.1/24", "dev", "cni0"])
    add_route(pod, "default", via="10.1.0.1")
    set_sysctl(node, "net.bridge.bridge-nf-call-iptables", 1)
    held = inside(node, lambda: open_interception(NetfilterSettings(), ProxySettings(), owned=True))
    inside(node, held.install)
    inside(node, lambda: held.update(SERVICES, ()))
    assert findings(node, NetfilterSettings(mode="redirect")).get("bridge") is None
    with Agent(node):
        with pytest.raises(TimeoutError):
            call(pod, SERVICE[4], timeout=0.2)
        mend(node, findings(node)["bridge"])
        call(pod, SERVICE[4]).close()
    inside(node, held.close)


@pytest.mark.parametrize(
    ("command", "place"),
    [
        ("nft add rule ip other c meta mark set 0x1", "nft table ip other, chain c"),
        ("nft add rule ip other c meta mark & 0x40 == 0x40 accept", "nft table ip other, chain c"),
        ("iptables -t mangle -A PREROUTING -j MARK --set-xmark 0x1/0xff", "iptables table mangle"),
        ("ip6tables -t mangle -A OUTPUT -m mark --mark 0x41 -j ACCEPT", "ip6tables table mangle"),
        ("iptables -t mangle -A PREROUTING -j CONNMARK --restore-mark", "iptables table mangle"),
        ("ip rule add fwmark 0x1 lookup 100 pref 77", "ip rule 77"),
    ],
)
def test_a_mark_that_shares_our_bits_is_named(lone_node: str, command: str, place: str) -> None:
    output(lone_node, ["nft", "add table ip other; add chain ip other c"])
    assert findings(lone_node)["mark"].state == "ok"
    output(lone_node, command.split())
    mark = findings(lone_node)["mark"]
    assert mark.state == "warning"
    assert place in mark.what


@pytest.mark.parametrize(
    "command",
    [
        "nft add rule ip other c meta mark set meta mark or 0x4000",
        "nft add rule ip other c meta mark set meta mark and 0xffff00ff or 0x4500",
        "nft add rule ip other c ct mark 0x45 accept",
        "iptables -t nat -A POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
        "iptables -t mangle -A PREROUTING -j MARK --set-xmark 0x80000/0xff0000",
        "iptables -t mangle -A PREROUTING -m connmark --mark 0x45 -j ACCEPT",
        "ip rule add fwmark 0x80000/0xff0000 lookup 52",
    ],
)
def test_kube_proxys_and_tailscales_marks_are_no_collision(lone_node: str, command: str) -> None:
    output(lone_node, ["nft", "add table ip other; add chain ip other c"])
    output(lone_node, command.split())
    assert findings(lone_node)["mark"].state == "ok"


@pytest.mark.parametrize("tool", ["nft", "iptables"])
def test_another_user_of_tproxy_is_named(lone_node: str, tool: str) -> None:
    if tool == "nft":
        output(lone_node, ["nft", "add table ip squid"])
        hook = "type filter hook prerouting priority 0;"
        output(lone_node, ["nft", f"add chain ip squid c {{ {hook} }}"])
        output(lone_node, ["nft", "add rule ip squid c tcp dport 80 tproxy to :3128"])
    else:
        rule = "-t mangle -A PREROUTING -p tcp -j TPROXY --on-port 3128 --tproxy-mark 0x100/0x100"
        output(lone_node, ["iptables", *rule.split()])
    assert findings(lone_node)["tproxy-user"].state == "warning"


@pytest.mark.parametrize(
    "command",
    [
        "ip rule add from 10.0.0.1 lookup 200 pref 90",
        "ip rule add from 10.0.0.1 lookup 4500 pref 200",
        "ip route add 10.9.0.0/16 dev lo table 4500",
    ],
)
def test_a_stranger_in_our_policy_route_is_named(lone_node: str, command: str) -> None:
    output(lone_node, command.split())
    assert findings(lone_node)["policy-route"].state == "warning"


def test_without_privilege_only_that_is_told(lone_node: str) -> None:
    program = (
        "import dataclasses, json\n"
        "from edgemesh.kernel.preflight import check_interception\n"
        "from edgemesh.model.settings import NetfilterSettings\n"
        "found = check_interception(NetfilterSettings())\n"
        "print(json.dumps([dataclasses.asdict(finding) for finding in found]))\n"
    )
    done = subprocess.run(
        [
            "setpriv",
            "--bounding-set=-net_admin",
            "--inh-caps=-net_admin",
            sys.executable,
            "-c",
            program,
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    (finding,) = (Finding(**entry) for entry in json.loads(done.stdout))
    assert dataclasses.replace(finding, what="") == Finding(
        "privilege", "missing", "", "run as root"
    )
