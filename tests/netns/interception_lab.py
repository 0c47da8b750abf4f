"""A pod, a node and a server in namespaces, for tests of what the rules do to packets.

    pod 10.1.0.2 -- 10.1.0.1 node 10.2.0.1 -- 10.2.0.2 server      (fd01::, fd02:: likewise)

The pod's and the server's default route is the node, which forwards and has no default route.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from edgemesh.kernel import sockets
from edgemesh.kernel.netfilter import Interception, Target, open_interception
from edgemesh.lab.network import (
    Attachment,
    add_namespace,
    add_route,
    command_in,
    connect,
    set_sysctl,
)
from edgemesh.model.services import ServiceAddress, Transport
from edgemesh.model.settings import NetfilterSettings, ProxySettings

Value = TypeVar("Value")

BACKENDS = ("nft", "iptables")
VERSIONS = (4, 6)

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

SERVICE = {4: "10.96.0.10", 6: "fd00:96::10"}
POD = {4: "10.1.0.2", 6: "fd01::2"}
NODE = {4: "10.1.0.1", 6: "fd01::1"}
SERVER = {4: "10.2.0.2", 6: "fd02::2"}
PORT = 80
# For what comes at once, on a machine where everything may stand still for some seconds.
PATIENCE_SECONDS = 20.0
SERVICES = tuple(
    ServiceAddress(address, transport, PORT)
    for address in SERVICE.values()
    for transport in Transport
)


@dataclass(frozen=True)
class Lab:
    prefix: str

    @property
    def pod(self) -> str:
        return f"{self.prefix}pod"

    @property
    def node(self) -> str:
        return f"{self.prefix}node"

    @property
    def server(self) -> str:
        return f"{self.prefix}server"

    def build(self) -> None:
        for name in (self.pod, self.node, self.server):
            add_namespace(name)
        for number, name in ((1, self.pod), (2, self.server)):
            connect(
                Attachment(name, "eth0", (f"10.{number}.0.2/24", f"fd0{number}::2/64")),
                Attachment(
                    self.node, f"veth{number}", (f"10.{number}.0.1/24", f"fd0{number}::1/64")
                ),
            )
            add_route(name, "default", via=f"10.{number}.0.1")
            add_route(name, "default", via=f"fd0{number}::1", device="eth0")
        set_sysctl(self.node, "net.ipv4.ip_forward", 1)
        set_sysctl(self.node, "net.ipv6.conf.all.forwarding", 1)

    def on_node(self, function: Callable[[], Value]) -> Value:
        return inside(self.node, function)


def install(
    lab: Lab,
    settings: NetfilterSettings,
    targets: Collection[Target] = SERVICES,
    *,
    owned: bool = True,
) -> Interception:
    """Rules on the node that divert these."""
    interception = lab.on_node(lambda: open_interception(settings, ProxySettings(), owned=owned))
    lab.on_node(interception.install)
    lab.on_node(lambda: interception.update(targets, ()))
    return interception


@contextmanager
def installed(
    lab: Lab, settings: NetfilterSettings, targets: Collection[Target] = SERVICES
) -> Iterator[Interception]:
    """The same, closed at the end."""
    interception = install(lab, settings, targets)
    try:
        yield interception
    finally:
        lab.on_node(interception.close)


def inside(namespace: str, function: Callable[[], Value]) -> Value:
    """Call a function in a namespace, on a thread that ends with it.

    Sockets and processes that it makes stay in the namespace.
    """
    future: Future[Value] = Future()

    def enter_and_call() -> None:
        with Path(f"/run/netns/{namespace}").open() as file:
            assert _libc.setns(file.fileno(), _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        try:
            future.set_result(function())
        except Exception as error:  # noqa: BLE001 - handed to the caller, as executors do
            future.set_exception(error)

    thread = threading.Thread(target=enter_and_call)
    thread.start()
    thread.join()
    return future.result(timeout=0)


def state_of(namespace: str) -> str:
    """Everything that interception could leave behind."""
    script = (
        "nft list ruleset; iptables-save | grep -v '^#'; ip6tables-save | grep -v '^#'; "
        "ipset save; for v in -4 -6; do ip $v rule; ip $v route show table all; done; "
        "ip address show lo"
    )
    return output(namespace, ["sh", "-c", script])


def output(namespace: str, argv: list[str], given: str = "") -> str:
    done = subprocess.run(
        command_in(namespace, argv), input=given, capture_output=True, text=True, check=True
    )
    return done.stdout


def nft(namespace: str, rules: str) -> None:
    output(namespace, ["nft", "-f", "-"], rules)


def family(version: int) -> socket.AddressFamily:
    return socket.AF_INET if version == 4 else socket.AF_INET6


@dataclass
class Agent:
    """The listeners of an agent in a namespace, to see what is led to them."""

    namespace: str
    transparent: bool = True
    tcp_port: int = 15001
    udp_port: int = 15002

    def __enter__(self) -> Self:
        self.tcp: dict[int, socket.socket] = {}
        self.udp: dict[int, socket.socket] = {}
        for version in (4, 6):
            self.tcp[version] = inside(self.namespace, lambda v=version: self._tcp(v))
            self.udp[version] = inside(self.namespace, lambda v=version: self._udp(v))
        return self

    def __exit__(self, *_: object) -> None:
        for listener in (*self.tcp.values(), *self.udp.values()):
            listener.close()

    def _tcp(self, version: int) -> socket.socket:
        listener = sockets.tcp_listener(
            family(version), self.tcp_port, transparent=self.transparent
        )
        listener.settimeout(PATIENCE_SECONDS)
        return listener

    def _udp(self, version: int) -> socket.socket:
        listener = sockets.udp_listener(
            family(version), self.udp_port, transparent=self.transparent
        )
        listener.settimeout(PATIENCE_SECONDS)
        return listener

    def accept(self, version: int) -> tuple[sockets.Address, sockets.Address]:
        """Take one connection and greet it; returns its destination and its client."""
        connection, client = self.tcp[version].accept()
        with closing(connection):
            connection.sendall(b"agent")
            if self.transparent:
                return connection.getsockname()[:2], client[:2]
            return sockets.redirected_destination(connection), client[:2]

    def receive(self, version: int) -> tuple[sockets.Address, sockets.Address]:
        """Take one datagram; returns its destination (as ancillary data tell it) and its client."""
        _, ancillary, _, client = self.udp[version].recvmsg(65536, 256)
        (_, _, data) = ancillary[0]
        if self.transparent:
            return sockets.unpack_address(data), client[:2]
        if version == 6:
            return (socket.inet_ntop(socket.AF_INET6, data[:16]), self.udp_port), client[:2]
        return (socket.inet_ntop(socket.AF_INET, data[4:8]), self.udp_port), client[:2]

    def answer(
        self, version: int, payload: bytes, received_at: sockets.Address, client: sockets.Address
    ) -> None:
        """Answer from the address that received, which conntrack turns into the Service's."""
        local = socket.inet_pton(family(version), received_at[0])
        source = (
            (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, local + bytes(4))
            if version == 6
            else (socket.IPPROTO_IP, sockets.IP_PKTINFO, bytes(4) + local + bytes(4))
        )
        self.udp[version].sendmsg([payload], [source], 0, client)


def call(
    namespace: str,
    address: str,
    port: int = PORT,
    *,
    mark: int = 0,
    timeout: float = PATIENCE_SECONDS,
) -> socket.socket:
    """Connect from a namespace; the caller closes the socket."""

    def dial() -> socket.socket:
        sock = socket.socket(sockets.family_of(address), socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout)
            if mark:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
            sock.connect((address, port))
        except OSError:
            sock.close()
            raise
        return sock

    return inside(namespace, dial)


def send(namespace: str, address: str, payload: bytes = b"ping", port: int = PORT) -> socket.socket:
    """Send a datagram from a namespace; answers come to the socket, which the caller closes."""

    def dial() -> socket.socket:
        sock = socket.socket(sockets.family_of(address), socket.SOCK_DGRAM)
        sock.settimeout(PATIENCE_SECONDS)
        sock.connect((address, port))
        sock.send(payload)
        return sock

    return inside(namespace, dial)


def greeting(sock: socket.socket) -> bytes:
    with closing(sock):
        return sock.recv(64)


def listener(namespace: str, address: str, port: int) -> socket.socket:
    def listen() -> socket.socket:
        sock = socket.socket(sockets.family_of(address), socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.settimeout(PATIENCE_SECONDS)
        sock.bind((address, port))
        sock.listen()
        return sock

    return inside(namespace, listen)


def refuses(namespace: str, address: str, port: int = PORT) -> bool:
    try:
        call(namespace, address, port).close()
    except ConnectionRefusedError:
        return True
    return False
