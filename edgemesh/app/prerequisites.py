"""What the agent needs of its host, looked at without changing anything.

What interception needs is known in the kernel's room; the rest is about the process, its ports
and its directories.
"""

from __future__ import annotations

import ipaddress
import os
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from edgemesh.kernel.preflight import check_interception
from edgemesh.kernel.procnet import BoundSocket, bound_sockets, holder
from edgemesh.model.settings import Settings
from edgemesh.wire.host_port import parse_host_port

_OLDEST_PYTHON = (3, 11)
# capability.h
_CAPABILITIES = {10: "CAP_NET_BIND_SERVICE", 12: "CAP_NET_ADMIN", 13: "CAP_NET_RAW"}
# Descriptors beside those of connections: listeners, store, log, epoll.
_OTHER_DESCRIPTORS = 200


class State(StrEnum):
    """``LACKING`` is what the agent can do without."""

    MET = "met"
    LACKING = "lacking"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Check:
    """One prerequisite: of which group, how it stands, and what mends it where it is not met."""

    group: str
    state: State
    what: str
    remedy: str = ""


def check_host(settings: Settings) -> Iterator[Check]:
    """Everything that can be told without asking an agent.

    Blocks for some milliseconds: reads /proc and /sys.
    """
    yield _python()
    yield _capabilities()
    yield _open_files(settings)
    yield _clock()
    yield from _directories(settings)


def check_rules(settings: Settings) -> list[Check]:
    """What interception needs, see `check_interception`.

    Blocks for some tenths of a second.

    Raises:
        OperatorError: a tool that is installed does not work.
    """
    if not settings.netfilter.enabled:
        return []
    states = {"ok": State.MET, "warning": State.LACKING, "missing": State.MISSING}
    return [
        Check("interception", states[finding.state], finding.what, finding.remedy)
        for finding in check_interception(settings.netfilter)
    ]


def check_ports(settings: Settings, agent_pid: int | None) -> Iterator[Check]:
    """Whether the ports are free, or held by the agent whose process is given."""
    taken = {"tcp": bound_sockets("tcp"), "udp": bound_sockets("udp")}
    yield _port("tcp", settings.proxy.tcp_port, "", taken["tcp"], agent_pid)
    yield _port("udp", settings.proxy.udp_port, "", taken["udp"], agent_pid)
    if settings.dns.enabled:
        for listen in settings.dns.listen:
            address, port = parse_host_port(listen, default_port=53)
            for transport, sockets in taken.items():
                yield _port(transport, port, address, sockets, agent_pid)


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] >= _OLDEST_PYTHON:
        return Check("host", State.MET, f"Python {version}")
    return Check(
        "host", State.MISSING, f"Python {version} is older than 3.11", "apt-get install python3.11"
    )


def _capabilities() -> Check:
    status = dict(
        line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines()
    )
    effective = int(status["CapEff"], 16)
    lacking = [name for bit, name in _CAPABILITIES.items() if not effective >> bit & 1]
    if not lacking:
        return Check("host", State.MET, "privileges: " + ", ".join(_CAPABILITIES.values()))
    return Check(
        "host",
        State.MISSING,
        "privileges lacking: " + ", ".join(lacking),
        "run as root: sudo edgemesh doctor",
    )


def _open_files(settings: Settings) -> Check:
    # The agent raises its soft limit itself.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    proxy = settings.proxy
    pairs = proxy.max_connections + (proxy.max_pipes if proxy.splice == "auto" else 0)
    wanted = 2 * pairs + proxy.max_udp_sessions + _OTHER_DESCRIPTORS
    if hard == resource.RLIM_INFINITY or hard >= wanted:
        return Check("host", State.MET, f"open files: {hard} allowed, {wanted} may be needed")
    return Check(
        "host",
        State.LACKING,
        f"open files: {hard} allowed, {wanted} may be needed by proxy.max_connections = "
        f"{proxy.max_connections} and proxy.max_udp_sessions = {proxy.max_udp_sessions}",
        f"ulimit -Hn {wanted}, or LimitNOFILE={wanted} in the unit, or lower these settings",
    )


def _clock() -> Check:
    # Certificates and log times depend on it; it cannot be earlier than what it runs.
    installed = Path(__file__).stat().st_mtime
    today = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    if time.time() >= installed:
        return Check("host", State.MET, f"clock: {today}")
    return Check(
        "host",
        State.MISSING,
        f"clock: {today} is before the day when edgemesh was installed",
        "timedatectl set-ntp true, or set it: date -s",
    )


def _directories(settings: Settings) -> Iterator[Check]:
    for name, path in (("state_dir", settings.state_dir), ("run_dir", settings.run_dir)):
        existing = next(each for each in (path, *path.absolute().parents) if each.exists())
        if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
            how = "writable" if existing == path else "will be made"
            yield Check("directories", State.MET, f"{path}: {how}")
        else:
            yield Check(
                "directories",
                State.MISSING,
                f"{path}: {existing} is not a directory that can be written",
                f"run as root, or set {name} in the configuration",
            )


def _port(
    transport: str, port: int, address: str, taken: list[BoundSocket], agent_pid: int | None
) -> Check:
    shown = f"{transport.upper()} {f'{address} ' if address else ''}port {port}"
    rivals = [each for each in taken if each.port == port and _collide(each.address, address)]
    if not rivals:
        return Check("ports", State.MET, f"{shown}: free")
    holders = {holder(rival.inode) for rival in rivals}
    if agent_pid in holders:
        return Check("ports", State.MET, f"{shown}: held by the agent")
    pid = next((pid for pid in holders if pid is not None), None)
    who = f"process {pid} ({_name(pid)})" if pid else "a process that only root can see"
    return Check(
        "ports",
        State.MISSING,
        f"{shown}: taken by {who}",
        f"end it: kill {pid}; or set another port in the configuration"
        if pid
        else "run as root: sudo edgemesh doctor",
    )


def _collide(bound: str, wanted: str) -> bool:
    """Whether a socket bound to one address keeps another from being bound to the wanted one."""
    if not wanted:
        return True
    one, other = ipaddress.ip_address(bound), ipaddress.ip_address(wanted)
    return one == other or (one.is_unspecified and (one.version == 6 or other.version == 4))


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "ended"
