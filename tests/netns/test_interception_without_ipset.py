"""Without ipset, iptables gets one rule for each address, with the same promises."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from interception_lab import output, state_of

pytestmark = pytest.mark.root

PROGRAM = """
import subprocess
from edgemesh.kernel.commands import find_tool
from edgemesh.kernel.netfilter import open_interception
from edgemesh.model.services import InboundAddress, NodePort, ServiceAddress, Transport
from edgemesh.model.settings import NetfilterSettings, ProxySettings

assert find_tool("ipset") is None
settings = NetfilterSettings(backend="iptables", mode="MODE")
held = open_interception(settings, ProxySettings(), owned=False)
web = ServiceAddress("10.96.0.1", Transport.TCP, 80)
targets = {
    web,
    ServiceAddress("fd00:96::a", Transport.UDP, 53),
    NodePort(Transport.TCP, 30080),
    InboundAddress("10.1.0.2", Transport.TCP, 80),
}
held.install()
held.update(targets, ())
held.update(targets, ())
assert held.addresses() == targets, held.addresses()
rules = subprocess.run(["iptables-save"], capture_output=True, text=True).stdout
assert rules.count("-A EDGEMESH-SERVICES") == 2, rules
assert "-A EDGEMESH-INBOUND -d 10.1.0.2/32 -p tcp -m tcp --dport 80 -g" in rules, rules
assert "-d 10.96.0.1/32 -p tcp -m tcp --dport 80 -g EDGEMESH-DIVERT" in rules, rules
assert rules.count("-A EDGEMESH-CALLERS") == 1, rules
pod = frozenset({"10.1.0.2", "fd01::2"})
for callers, count in ((pod, 2), (pod, 2), (frozenset({"10.1.0.3"}), 2), (frozenset(), 1)):
    held.update((), (), callers=callers)
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True).stdout
    assert rules.count("-A EDGEMESH-CALLERS") == count, rules
    for caller in callers & {"10.1.0.2", "10.1.0.3"}:
        assert f"-A EDGEMESH-CALLERS -s {caller}/32 -j RETURN" in rules, rules
    assert rules.rindex("-A EDGEMESH-CALLERS") == rules.index("-A EDGEMESH-CALLERS -j EDGEMESH-S")
held.update((), {web})
held.update((), {web})
assert held.addresses() == targets - {web}
held.install()
assert held.installed()
assert held.addresses() == targets - {web}
held.remove()
"""


@pytest.mark.parametrize("mode", ["tproxy", "redirect"])
def test_addresses_become_rules_that_come_and_go(lone_node: str, mode: str) -> None:
    before = state_of(lone_node)
    # Hidden for this process only, in a mount namespace of its own.
    hide = 'for f in /usr/sbin/ipset /sbin/ipset; do mount --bind /dev/null $f; done; exec "$@"'
    output(
        lone_node,
        [
            *("unshare", "--mount", "sh", "-c", hide, "sh"),
            *(sys.executable, "-c", PROGRAM.replace("MODE", mode)),
        ],
    )
    assert state_of(lone_node) == before
    assert Path("/usr/sbin/ipset").stat().st_size
