"""The kernel tells where a marked packet would go."""

from __future__ import annotations

import subprocess

import pytest
from interception_lab import inside

from edgemesh.kernel.route_lookup import delivered_here
from edgemesh.lab.network import command_in

pytestmark = pytest.mark.root


@pytest.mark.parametrize(
    ("version", "address", "everything"),
    [("-4", "10.96.0.10", "0.0.0.0/0"), ("-6", "fd00:96::10", "::/0")],
)
def test_a_mark_leads_home_once_there_is_a_rule_and_a_route(
    lone_node: str, version: str, address: str, everything: str
) -> None:
    def delivered(mark: int) -> bool:
        return inside(lone_node, lambda: delivered_here(address, mark))

    def ip(*words: str) -> None:
        subprocess.run(command_in(lone_node, ["ip", version, *words]), check=True)

    assert not delivered(0x45)
    ip("rule", "add", "fwmark", "0x45/0xff", "lookup", "4500", "pref", "90")
    assert not delivered(0x45)
    ip("route", "add", "local", everything, "dev", "lo", "table", "4500")
    assert delivered(0x45)
    assert not delivered(0x46)
