"""Each prerequisite is looked at where it really is: this process, its host, its ports."""

from __future__ import annotations

import dataclasses
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from edgemesh.app.prerequisites import Check, State, check_host, check_ports
from edgemesh.model.settings import DnsSettings, ProxySettings, Settings


def settings(tmp_path: Path, **changes: object) -> Settings:
    return dataclasses.replace(
        Settings(state_dir=tmp_path / "state", run_dir=tmp_path / "run"), **changes
    )


def found(checks: list[Check], word: str) -> Check:
    [check] = [check for check in checks if word in check.what]
    return check


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def test_every_check_that_is_not_met_has_a_remedy(tmp_path: Path) -> None:
    checks = list(check_host(settings(tmp_path)))
    assert {check.group for check in checks} == {"host", "directories"}
    assert all(bool(check.remedy) == (check.state is not State.MET) for check in checks)


def test_looking_makes_no_directory(tmp_path: Path) -> None:
    checks = list(check_host(settings(tmp_path)))
    assert found(checks, str(tmp_path / "state")).what.endswith("will be made")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_a_file_is_missing(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    check = found(list(check_host(settings(tmp_path))), str(tmp_path / "run"))
    assert check.state is State.MISSING
    assert "set run_dir" in check.remedy


def test_more_connections_than_descriptors_are_told(tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    modest = ProxySettings(max_connections=10, max_udp_sessions=10)
    bold = dataclasses.replace(modest, max_connections=max(hard, 1) * 2)
    met = found(list(check_host(settings(tmp_path, proxy=modest))), "open files")
    lacking = found(list(check_host(settings(tmp_path, proxy=bold))), "open files")
    assert (met.state, lacking.state) == (State.MET, State.LACKING)
    assert "LimitNOFILE" in lacking.remedy


@pytest.mark.root
def test_a_privilege_that_is_lacking_is_named() -> None:
    program = (
        "from edgemesh.app.prerequisites import check_host\n"
        "from edgemesh.model.settings import Settings\n"
        "print([c.what for c in check_host(Settings()) if c.state == 'missing'])"
    )
    done = subprocess.run(
        ["setpriv", "--bounding-set=-net_admin", sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "['privileges lacking: CAP_NET_ADMIN']"


def test_a_free_port_is_met(tmp_path: Path) -> None:
    proxy = ProxySettings(tcp_port=free_port(), udp_port=free_port())
    checks = list(check_ports(settings(tmp_path, proxy=proxy), None))
    assert found(checks, f"TCP port {proxy.tcp_port}").what.endswith("free")


def test_a_port_that_another_holds_is_missing_and_its_holder_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = ProxySettings(tcp_port=server.getsockname()[1])
        check = found(list(check_ports(settings(tmp_path, proxy=proxy), None)), "TCP port")
    assert check.state is State.MISSING
    assert f"process {os.getpid()}" in check.what
    assert f"kill {os.getpid()}" in check.remedy


def test_a_port_that_the_agent_holds_is_met(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = ProxySettings(tcp_port=server.getsockname()[1])
        checks = list(check_ports(settings(tmp_path, proxy=proxy), os.getpid()))
    assert found(checks, "TCP port").what.endswith("held by the agent")


@pytest.mark.parametrize(
    ("bound", "wanted", "state"),
    [
        ("127.0.0.1", "127.0.0.1", State.MISSING),
        ("127.0.0.1", "127.0.0.2", State.MET),
        ("127.0.0.1", "::1", State.MET),
        ("0.0.0.0", "127.0.0.2", State.MISSING),
        ("0.0.0.0", "::1", State.MET),
        ("::", "::1", State.MISSING),
    ],
)
def test_dns_minds_only_who_holds_its_own_address(
    tmp_path: Path, bound: str, wanted: str, state: State
) -> None:
    family = socket.AF_INET6 if ":" in bound else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((bound, 0))
        port = sock.getsockname()[1]
        dns = DnsSettings(listen=(f"[{wanted}]:{port}" if ":" in wanted else f"{wanted}:{port}",))
        checks = list(check_ports(settings(tmp_path, dns=dns), None))
    assert found(checks, f"UDP {wanted}").state is state


def test_dns_that_is_off_needs_no_port(tmp_path: Path) -> None:
    checks = list(check_ports(settings(tmp_path, dns=DnsSettings(enabled=False)), None))
    assert len(checks) == 2
