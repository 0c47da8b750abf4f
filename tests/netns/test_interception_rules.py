"""Rules come whole, go without a trace, and never change for an address."""

from __future__ import annotations

import dataclasses
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from interception_lab import inside, output, state_of

from edgemesh.kernel.netfilter import Interception, open_interception
from edgemesh.kernel.netfilter.interception import Target
from edgemesh.lab.network import command_in
from edgemesh.model.errors import OperatorError
from edgemesh.model.services import InboundAddress, NodePort, ServiceAddress, Transport
from edgemesh.model.settings import NetfilterSettings, ProxySettings

pytestmark = pytest.mark.root

PROXY = ProxySettings()
TARGETS: frozenset[Target] = frozenset(
    {
        ServiceAddress("10.96.0.1", Transport.TCP, 443),
        ServiceAddress("10.96.0.10", Transport.UDP, 53),
        ServiceAddress("fd00:96::a", Transport.TCP, 80),
        NodePort(Transport.TCP, 30080),
        NodePort(Transport.UDP, 30053),
        InboundAddress("10.96.0.10", Transport.UDP, 53),
        InboundAddress("10.1.0.2", Transport.TCP, 8080),
        InboundAddress("fd01::2", Transport.TCP, 8080),
    }
)
EVERY = [
    NetfilterSettings(backend=backend, mode=mode, family=family, fail=fail)
    for backend, mode, family, fail in itertools.product(
        ("nft", "iptables"), ("tproxy", "redirect"), ("ipv4", "ipv6", "both"), ("open", "closed")
    )
]


def name_of(settings: NetfilterSettings) -> str:
    return f"{settings.backend}-{settings.mode}-{settings.family}-{settings.fail}"


@pytest.fixture(params=EVERY, ids=name_of)
def settings(request: pytest.FixtureRequest) -> NetfilterSettings:
    return request.param


def opened(node: str, settings: NetfilterSettings, *, owned: bool = True) -> Interception:
    return inside(node, lambda: open_interception(settings, PROXY, owned=owned))


def test_removing_leaves_everything_as_it_was(lone_node: str, settings: NetfilterSettings) -> None:
    before = state_of(lone_node)
    interception = opened(lone_node, settings)
    inside(lone_node, interception.install)
    inside(lone_node, lambda: interception.update(TARGETS, ()))
    assert state_of(lone_node) != before
    inside(lone_node, interception.remove)
    assert state_of(lone_node) == before
    inside(lone_node, interception.remove)
    assert state_of(lone_node) == before


def test_a_second_install_changes_nothing(lone_node: str, settings: NetfilterSettings) -> None:
    interception = opened(lone_node, settings)
    inside(lone_node, interception.install)
    inside(lone_node, lambda: interception.update(TARGETS, ()))
    before = state_of(lone_node) + output(lone_node, ["nft", "-a", "list", "ruleset"])
    assert inside(lone_node, interception.installed)
    inside(lone_node, interception.install)
    assert state_of(lone_node) + output(lone_node, ["nft", "-a", "list", "ruleset"]) == before


def test_what_another_process_installed_can_be_removed_completely(
    lone_node: str, settings: NetfilterSettings
) -> None:
    before = state_of(lone_node)
    inside(lone_node, opened(lone_node, settings, owned=False).install)
    inside(lone_node, opened(lone_node, settings, owned=False).remove)
    assert state_of(lone_node) == before


def test_addresses_are_those_of_the_family(lone_node: str, settings: NetfilterSettings) -> None:
    interception = opened(lone_node, settings)
    inside(lone_node, interception.install)
    inside(lone_node, lambda: interception.update(TARGETS, ()))
    unwanted = {"ipv4": "fd0", "ipv6": "10."}.get(settings.family, "none")
    expected = {
        target
        for target in TARGETS
        if isinstance(target, NodePort) or not target.address.startswith(unwanted)
    }
    assert inside(lone_node, interception.addresses) == expected
    inside(lone_node, lambda: interception.update((), TARGETS))
    assert inside(lone_node, interception.addresses) == frozenset()


@pytest.fixture(params=["nft", "iptables"])
def interception(request: pytest.FixtureRequest, lone_node: str) -> Iterator[Interception]:
    opened_one = opened(lone_node, NetfilterSettings(backend=request.param))
    inside(lone_node, opened_one.install)
    yield opened_one
    inside(lone_node, opened_one.close)


def test_updates_may_name_what_is_there_or_gone_already(
    lone_node: str, interception: Interception
) -> None:
    inside(lone_node, lambda: interception.update(TARGETS, ()))
    inside(lone_node, lambda: interception.update(TARGETS, ()))
    assert inside(lone_node, interception.addresses) == TARGETS
    inside(lone_node, lambda: interception.update((), TARGETS))
    inside(lone_node, lambda: interception.update((), TARGETS))
    assert inside(lone_node, interception.addresses) == frozenset()


def test_ten_thousand_addresses_touch_no_rule(lone_node: str, interception: Interception) -> None:
    def rule_handles() -> list[str]:
        listed = output(lone_node, ["nft", "-a", "-t", "list", "ruleset"])
        return [line for line in listed.splitlines() if "# handle" in line]

    before = rule_handles()
    many = [
        ServiceAddress(f"10.{100 + i // 62500}.{i // 250 % 250}.{i % 250}", Transport.TCP, 80)
        for i in range(10_000)
    ]
    inside(lone_node, lambda: interception.update(many, ()))
    assert len(inside(lone_node, interception.addresses)) == 10_000
    assert rule_handles() == before
    inside(lone_node, lambda: interception.update((), many))
    assert rule_handles() == before


@pytest.mark.parametrize("change", [{"own_mark": 0x47}, {"mode": "redirect"}])
@pytest.mark.parametrize("backend", ["nft", "iptables"])
def test_another_configuration_replaces_the_rules_and_keeps_the_addresses(
    lone_node: str, backend: str, change: dict[str, object]
) -> None:
    before = state_of(lone_node)
    settings = NetfilterSettings(backend=backend)
    first = opened(lone_node, settings, owned=False)
    inside(lone_node, first.install)
    inside(lone_node, lambda: first.update(TARGETS, ()))
    second = opened(lone_node, dataclasses.replace(settings, **change), owned=False)
    assert not inside(lone_node, second.installed)
    inside(lone_node, second.install)
    assert inside(lone_node, second.installed)
    assert not inside(lone_node, first.installed)
    assert inside(lone_node, second.addresses) == TARGETS
    inside(lone_node, second.remove)
    assert state_of(lone_node) == before


def test_an_owned_table_vanishes_with_a_killed_owner_and_a_new_agent_starts_again(
    lone_node: str,
) -> None:
    before = output(lone_node, ["nft", "list", "ruleset"])
    with owning_process(lone_node) as owner:
        assert "flags owner" in output(lone_node, ["nft", "list", "ruleset"])
        owner.kill()
        owner.wait()
    assert output(lone_node, ["nft", "list", "ruleset"]) == before
    successor = opened(lone_node, NetfilterSettings())
    inside(lone_node, successor.install)
    assert inside(lone_node, successor.installed)
    inside(lone_node, successor.close)
    assert output(lone_node, ["nft", "list", "ruleset"]) == before


def test_an_owned_table_withstands_others(lone_node: str) -> None:
    with owning_process(lone_node):
        before = output(lone_node, ["nft", "list", "ruleset"])
        output(lone_node, ["nft", "flush", "ruleset"])
        other = opened(lone_node, NetfilterSettings(), owned=False)
        for change in (other.install, other.remove, lambda: other.update(TARGETS, ())):
            with pytest.raises(OperatorError, match="belongs to a running agent"):
                inside(lone_node, change)
        assert output(lone_node, ["nft", "list", "ruleset"]) == before


@contextmanager
def owning_process(node: str) -> Iterator[subprocess.Popen[str]]:
    """An agent's interception in a process of its own, installed when this starts."""
    program = (
        "import sys\n"
        "from edgemesh.kernel.netfilter import open_interception\n"
        "from edgemesh.model.settings import NetfilterSettings, ProxySettings\n"
        "held = open_interception(NetfilterSettings(), ProxySettings(), owned=True)\n"
        "held.install()\n"
        "print('installed', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        command_in(node, [sys.executable, "-c", program]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        try:
            assert owner.stdout is not None
            assert owner.stdout.readline() == "installed\n"
            yield owner
        finally:
            owner.kill()


def test_updating_what_is_not_installed_is_told(lone_node: str) -> None:
    for backend in ("nft", "iptables"):
        interception = opened(lone_node, NetfilterSettings(backend=backend))
        with pytest.raises(OperatorError):
            inside(lone_node, lambda held=interception: held.update(TARGETS, ()))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"table": "Bad name; flush ruleset"}, r"netfilter\.table"),
        ({"divert_mark": 0x145}, r"divert_mark: 0x145 is not within mark_mask 0xff"),
        ({"own_mark": 0x45}, "are both 0x45"),
    ],
)
@pytest.mark.parametrize("backend", ["nft", "iptables"])
def test_settings_that_no_rule_set_can_hold_are_refused(
    backend: str, change: dict[str, object], told: str
) -> None:
    settings = dataclasses.replace(NetfilterSettings(backend=backend), **change)
    with pytest.raises(OperatorError, match=told):
        open_interception(settings, PROXY, owned=False)


def test_rules_hold_the_configured_marks_ports_and_names(lone_node: str) -> None:
    for backend in ("nft", "iptables"):
        settings = NetfilterSettings(
            backend=backend,
            mark_mask=0xFF00,
            divert_mark=0x3500,
            own_mark=0x3600,
            route_table=7700,
            rule_priority=77,
            table="mesh-b",
        )
        proxy = ProxySettings(tcp_port=25001, udp_port=25002)
        interception = inside(
            lone_node,
            lambda s=settings, p=proxy: open_interception(s, p, owned=False),
        )
        inside(lone_node, interception.install)
        shown = state_of(lone_node)
        assert re.search("mesh-b", shown, re.IGNORECASE)
        assert not re.search(r"edgemesh-|inet edgemesh|1500[12]|0x0*4[56]\b", shown, re.IGNORECASE)
        assert "25001" in shown
        assert "77:\tfrom all fwmark 0x3500/0xff00 lookup 7700" in shown
        inside(lone_node, interception.remove)
