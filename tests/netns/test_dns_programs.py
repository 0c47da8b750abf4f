"""Programs that nobody wrote for us ask the resolver: dig, and glibc with a search list."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgemesh.lab.network import command_in

pytestmark = pytest.mark.root

SERVER = "169.254.96.16"
MARK = 0x46
PATIENCE_SECONDS = 20
COUNT_RULE = f"""
table inet dns_test {{
  chain output {{
    type filter hook output priority filter
    ip daddr 127.0.0.2 udp dport 53 meta mark {MARK} counter
    ip daddr 127.0.0.2 udp dport 53 meta mark != {MARK} counter drop
  }}
}}
"""


@dataclass
class Node:
    """A namespace in which the resolver runs, with its processes."""

    namespace: str
    folder: Path

    def run(self, *argv: str, given: str = "") -> str:
        done = subprocess.run(
            command_in(self.namespace, argv),
            input=given,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def dig(self, *arguments: str) -> str:
        return self.run("dig", f"@{SERVER}", "+tries=1", f"+time={PATIENCE_SECONDS}", *arguments)

    def getaddrinfo(self, name: str) -> list[str]:
        """What a program of a pod in the namespace ``default`` gets from glibc for a name."""
        pods = self.folder / "pod-resolv.conf"
        search = "default.svc.cluster.local svc.cluster.local cluster.local"
        pods.write_text(
            f"nameserver {SERVER}\nsearch {search}\noptions ndots:5 timeout:{PATIENCE_SECONDS}\n"
        )
        hosts = self.folder / "nsswitch.conf"
        hosts.write_text("hosts: dns\n")
        call = f"import socket; print(*{{a[4][0] for a in socket.getaddrinfo({name!r}, 80)}})"
        script = (
            f"mount --bind {shlex.quote(str(pods))} /etc/resolv.conf"
            f" && mount --bind {shlex.quote(str(hosts))} /etc/nsswitch.conf"
            f" && exec {sys.executable} -S -c {shlex.quote(call)}"
        )
        return sorted(self.run("unshare", "--mount", "sh", "-c", script).split())


@pytest.fixture
def node(lone_node: str, tmp_path: Path) -> Iterator[Node]:
    made = Node(lone_node, tmp_path)
    made.run("ip", "address", "add", f"{SERVER}/32", "dev", "lo")
    made.run("nft", "-f", "-", given=COUNT_RULE)
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text("nameserver 127.0.0.2\n")
    program = [sys.executable, str(Path(__file__).with_name("dns_process.py"))]
    with subprocess.Popen(
        command_in(lone_node, [*program, str(resolv_conf), str(MARK)]), stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield made
        process.terminate()


def test_dig_finds_services_over_udp_and_tcp_without_a_warning(node: Node) -> None:
    for transport in ("+notcp", "+tcp"):
        printed = node.dig("WEB.default.svc.cluster.local", "A", transport)
        # Of ".local" dig warns by itself (RFC 6762).
        assert printed.count("WARNING") == printed.count("WARNING: .local is reserved")
        assert "status: NOERROR" in printed
        assert re.search(r"flags: qr aa rd ra;", printed)
        assert re.search(
            r"^WEB\.default\.svc\.cluster\.local\.\s+30\s+IN\s+A\s+10\.96\.0\.10$",
            printed,
            re.MULTILINE,
        )
    assert node.dig("web.default.svc.cluster.local", "AAAA", "+short") == "fd00:96::10\n"


def test_dig_finds_ports_and_names_of_addresses(node: Node) -> None:
    assert (
        node.dig("_http._tcp.web.default.svc.cluster.local", "SRV", "+short")
        == "0 100 80 web.default.svc.cluster.local.\n"
    )
    for address in ("10.96.0.10", "fd00:96::10"):
        assert node.dig("-x", address, "+short") == "web.default.svc.cluster.local.\n"


def test_dig_sees_both_denials_with_their_soa(node: Node) -> None:
    for name, status in (("no.default", "NXDOMAIN"), ("default", "NOERROR")):
        printed = node.dig(f"{name}.svc.cluster.local")
        assert f"status: {status}" in printed
        assert "ANSWER: 0, AUTHORITY: 1" in printed
        assert re.search(r"^cluster\.local\.\s+30\s+IN\s+SOA\s", printed, re.MULTILINE)


def test_dig_comes_again_over_tcp_for_an_answer_that_is_too_long(node: Node) -> None:
    printed = node.dig("db.default.svc.cluster.local")
    assert "Truncated, retrying in TCP mode" in printed
    assert "ANSWER: 100" in printed


def test_dig_gets_other_names_through_marked_sockets(node: Node) -> None:
    assert node.dig("www.example", "+short") == "192.0.2.1\n"
    assert node.dig("outside.default.svc.cluster.local", "+short") == "www.example.\n192.0.2.1\n"
    assert "status: NXDOMAIN" in node.dig("www.invalid")
    rules = json.loads(node.run("nft", "-j", "list", "chain", "inet", "dns_test", "output"))
    counters = [
        part["counter"]["packets"]
        for item in rules["nftables"]
        for part in item.get("rule", {}).get("expr", [])
        if "counter" in part
    ]
    # The second name's target was in the cache.
    assert counters == [2, 0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("web", ["10.96.0.10", "fd00:96::10"]),
        ("web.default", ["10.96.0.10", "fd00:96::10"]),
        ("web.default.svc", ["10.96.0.10", "fd00:96::10"]),
        ("web.default.svc.cluster.local", ["10.96.0.10", "fd00:96::10"]),
        ("www.example", ["192.0.2.1"]),
    ],
)
def test_glibc_with_a_pods_search_list_finds_every_form(
    node: Node, name: str, expected: list[str]
) -> None:
    assert node.getaddrinfo(name) == expected
