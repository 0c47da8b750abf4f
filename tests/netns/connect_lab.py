"""The programs of the connect path in a cgroup of the test's own, and who calls through them."""

from __future__ import annotations

import itertools
import selectors
import socket
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bpf_samples import bpf_place
from lab_homes import wait_for
from socket_maker import SocketMaker

from edgemesh.kernel.bpf.connect_maps import ConnectMaps
from edgemesh.kernel.bpf.loader import Loading, load
from edgemesh.kernel.bpf.maps import Map
from edgemesh.kernel.bpf.pins import Loaded
from edgemesh.kernel.bpf.programs import GROUPS, Group
from edgemesh.lab.network import add_namespace, delete_namespace
from edgemesh.model.connect import ConnectEndpoint, ConnectPort
from edgemesh.model.services import ServiceAddress, Transport

# Nobody has these addresses: who gets an answer was translated.
SERVICE = {4: "10.96.0.10", 6: "fd00:96::10"}
PORT = 80
PATIENCE_SECONDS = 20.0
_LOOPBACK = {4: "127.0.0.1", 6: "::1"}
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
LEASE_SECONDS = 3600.0
_MAPPED = "::ffff:"

Socket = socket.socket
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM


@dataclass(slots=True)
class Programs:
    """What is loaded once for many tests.

    Args:
        loaded: the programs.
        cgroup: that they are attached to.
        namespace: where all take place.
        callers: makes sockets that the programs are about.
        servers: makes sockets that they are not about.
    """

    loaded: Loaded
    cgroup: Path
    namespace: str
    callers: SocketMaker
    servers: SocketMaker


@contextmanager
def loaded_programs(groups: Sequence[Group] = GROUPS, **limits: Any) -> Iterator[Programs]:
    """Load them into a place of their own; ``limits`` are settings that are not the usual ones."""
    with ExitStack() as stack:
        settings = stack.enter_context(bpf_place())
        loading = Loading(groups=[each for each in groups if each.name in {"connect", "sockops"}])
        loaded = load(replace(settings, **limits), owner="operator", loading=loading)
        assert set(loaded.groups.values()) == {""}, loaded.groups
        namespace = stack.enter_context(made_namespace())
        cgroup = Path(settings.cgroup)
        callers = stack.enter_context(SocketMaker(cgroup, namespace))
        servers = stack.enter_context(SocketMaker(None, namespace))
        yield Programs(loaded, cgroup, namespace, callers, servers)


@contextmanager
def made_namespace() -> Iterator[str]:
    """A network namespace with a loopback interface."""
    name = f"cn{uuid.uuid4().hex[:8]}"
    add_namespace(name)
    try:
        yield name
    finally:
        delete_namespace(name)


class ConnectLab:
    """One test's Services, their endpoints, and calls of them."""

    def __init__(self, programs: Programs, opened: ExitStack) -> None:
        self.programs = programs
        self.opened = opened
        self.maps = opened.enter_context(ConnectMaps(programs.loaded))
        self.maps.clear()
        opened.callback(self.maps.clear)
        self.maps.renew_lease(LEASE_SECONDS)
        self._ids = itertools.count(1)

    def map(self, name: str) -> Map:
        """A map to look into."""
        return self.opened.enter_context(self.programs.loaded.map(name))

    def server(self, version: int = 4, kind: int = TCP, *, backlog: int = 4096) -> Socket:
        """A socket at an endpoint."""
        made = self.opened.enter_context(self.programs.servers.make(_FAMILY[version], kind))
        made.settimeout(PATIENCE_SECONDS)
        made.bind((_LOOPBACK[version], 0))
        if kind == TCP:
            made.listen(backlog)
        return made

    def endpoints(
        self, servers: Sequence[Socket], shares: Sequence[float] = ()
    ) -> tuple[ConnectEndpoint, ...]:
        """Servers as endpoints, with ids of their own."""
        return tuple(
            ConnectEndpoint(next(self._ids), *server.getsockname()[:2], share)
            for server, share in itertools.zip_longest(servers, shares, fillvalue=1.0)
            if isinstance(server, Socket)
        )

    def put(self, servers: Sequence[Socket] = (), **rest: Any) -> ConnectPort:
        """The Service, at both its addresses and for TCP and UDP, with these endpoints."""
        given = self.endpoints(servers, rest.pop("shares", ()))
        port = ConnectPort(
            id=rest.pop("id", 0) or next(self._ids),
            addresses=rest.pop("addresses", called_at()),
            four=tuple(each for each in given if ":" not in each.address),
            six=tuple(each for each in given if ":" in each.address),
            **{"even": True, **rest},
        )
        self.maps.put(port)
        return port

    def caller(self, version: int = 4, kind: int = TCP) -> Socket:
        """A socket of a process in the cgroup."""
        made = self.opened.enter_context(self.programs.callers.make(_FAMILY[version], kind))
        made.settimeout(PATIENCE_SECONDS)
        return made

    def call(self, version: int = 4, kind: int = TCP, *, port: int = PORT) -> Socket:
        """Such a socket that is connected to the Service."""
        made = self.caller(version, kind)
        try:
            made.connect((SERVICE[version], port))
        except OSError:
            made.close()
            raise
        return made

    def fill(self, server: Socket) -> None:
        """Leave a server whose backlog is 0 no room: its kernel drops each SYN from now on."""
        filler = self.opened.enter_context(self.programs.servers.make(socket.AF_INET, TCP))
        filler.connect(server.getsockname())
        with selectors.DefaultSelector() as waiting:
            waiting.register(server, selectors.EVENT_READ)
            assert waiting.select(PATIENCE_SECONDS), "the connection does not come to the server"

    def wait_until_over(self) -> None:
        """Wait for connections that were closed: the last answer of one is on its way still."""
        with self.programs.loaded.map("sockets") as sockets:
            wait_for(lambda: not list(sockets.keys()), "all are over", PATIENCE_SECONDS)

    def call_mapped(self, kind: int = TCP) -> Socket:
        """An IPv6 socket that is connected to the Service's IPv4 address."""
        made = self.caller(6, kind)
        made.connect((mapped(4), PORT))
        return made


def called_at(port: int = PORT, *, address: str = "") -> tuple[ServiceAddress, ...]:
    """Where a Service is called: at an address, or at both of the usual ones."""
    addresses = (address,) if address else SERVICE.values()
    return tuple(
        ServiceAddress(each, transport, port) for each in addresses for transport in Transport
    )


def mapped(version: int) -> str:
    """An IPv4 address of the Service, as IPv6 sockets write it."""
    return f"{_MAPPED}{SERVICE[version]}"


def accepted(servers: Sequence[Socket], total: int) -> list[int]:
    """How many connections each server has got, when they have got so many together."""
    counts = dict.fromkeys(servers, 0)
    with selectors.DefaultSelector() as waiting:
        for server in servers:
            waiting.register(server, selectors.EVENT_READ)
        while sum(counts.values()) < total:
            ready = waiting.select(PATIENCE_SECONDS)
            assert ready, f"{sum(counts.values())} of {total} connections arrived"
            for key, _ in ready:
                server = key.fileobj
                assert isinstance(server, Socket)
                server.accept()[0].close()
                counts[server] += 1
    return list(counts.values())
