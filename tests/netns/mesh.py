"""A real agent on a node between a pod and a server, run as an operator runs it.

The network is that of interception_lab. The agent is a process of its own in the node's
namespace, configured by a file, told of objects by its socket, and watched by its log.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import trio
from interception_lab import (
    PATIENCE_SECONDS,
    PORT,
    SERVER,
    SERVICE,
    Lab,
    call,
    output,
    state_of,
)
from lab_homes import wait_for
from mesh_servers import TcpServer, first_line, name_and_client

from edgemesh.lab import agents, objects, processes
from edgemesh.lab.configuration import environment
from edgemesh.lab.network import add_route, command_in, delete_namespace, namespaces
from edgemesh.lab.plan import Node, prefix
from edgemesh.lab.processes import Process
from edgemesh.lab.state import Home, State, home
from edgemesh.meta.client import connect
from edgemesh.model.flows import FlowReport
from edgemesh.model.objects import ObjectKey
from edgemesh.model.settings import MetaSettings
from edgemesh.wire.message import Operation

_GRACE_SECONDS = 5.0


class Mesh:
    """The three namespaces and the agent in the middle one.

    Ownership: `close` ends the agent, if it runs still; the namespaces are the fixture's.
    """

    def __init__(self, home: Home) -> None:
        self.network = Lab(prefix(home.lab))
        self._home = home
        self._node = Node(home.lab, "node", 0)
        self._state = State(home.lab, (self._node,))

    @property
    def directory(self) -> Path:
        """Configuration, store, socket and log of the agent."""
        return self._home.node_directory(self._node.name)

    @property
    def config(self) -> Path:
        return self._home.agent_config(self._node.name)

    @property
    def socket(self) -> Path:
        return self._home.agent_socket(self._node.name)

    @property
    def agent(self) -> Process:
        return self._state.agents[self._node.name]

    @property
    def log(self) -> str:
        return self._home.agent_log(self._node.name).read_text()

    def configure(self, **tables: Mapping[str, Any]) -> None:
        agents.write_config(self._home, self._node, tables)

    def start(self, **tables: Mapping[str, Any]) -> None:
        """Start the agent with settings beyond the usual; returns when it intercepts."""
        self.configure(**tables)
        self._state = trio.run(agents.start_agents, self._home, self._state, [self._node])

    def begin(self) -> None:
        """Start the agent with the usual settings, and do not wait until it serves."""
        self.configure()
        run = [sys.executable, "-m", "edgemesh.cli.main", "run", "--config", str(self.config)]
        log = self._home.agent_log(self._node.name)
        agent = processes.start(command_in(self.network.node, run), log, environment())
        self._state = replace(self._state, agents={self._node.name: agent})

    def kill(self) -> None:
        """Kill -9; returns when the process is gone, whatever it was guarded by."""
        os.kill(self.agent.pid, signal.SIGKILL)
        assert self.exit_status() == -signal.SIGKILL

    def stop(self) -> None:
        """Let the agent drain and end."""
        os.kill(self.agent.pid, signal.SIGTERM)
        assert self.exit_status() == 0, self.log

    def exit_status(self) -> int:
        """Wait for the agent's end; its status, negative for a signal."""
        _, status = os.waitpid(self.agent.pid, 0)
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        if self._state.agents:
            # One that was frozen by a test could not end.
            with suppress(ProcessLookupError):
                os.kill(self.agent.pid, signal.SIGCONT)
            trio.run(processes.end, [self.agent], _GRACE_SECONDS)
        # What guards the agent ends after it, and has its settings from this directory.
        namespaces = [self.network.pod, self.network.node, self.network.server]
        trio.run(processes.end_all_in, namespaces, _GRACE_SECONDS)

    def apply(self, *bodies: Mapping[str, Any]) -> None:
        """Returns when new flows are decided by it."""

        trio.run(objects.write, self._home, self._state, bodies)
        self.wait_until_current()

    def wait_until_current(self) -> None:
        """Return when new flows are decided by everything that is stored."""
        trio.run(objects.wait_until_current, self._home, self._state)

    def delete(self, *keys: ObjectKey) -> None:
        """Returns when the metamanager has said that it is done."""
        trio.run(objects.delete, self._home, self._state, keys)

    def status(self) -> dict[str, Any]:
        async def ask() -> dict[str, Any]:
            async with connect(self.socket, MetaSettings()) as client:
                answer: dict[str, Any] = await client.request(Operation.QUERY, "null/status")
                return answer

        return trio.run(ask)

    def objects(self, resource: str) -> list[dict[str, Any]]:
        """The bodies of what is stored."""

        async def ask() -> list[dict[str, Any]]:
            async with connect(self.socket, MetaSettings()) as client:
                found: list[dict[str, Any]] = await client.request(Operation.QUERY, resource)
                return found

        return trio.run(ask)

    def flows(self) -> list[FlowReport]:
        """The reports written so far."""
        return [
            msgspec.json.decode(line, type=FlowReport)
            # What comes after the last line's end is still being written.
            for line in self.log.rpartition("\n")[0].splitlines()
            if '"event":"flow"' in line
        ]

    def wait_for_flows(self, number: int) -> list[FlowReport]:
        wait_for(lambda: len(self.flows()) >= number, f"{number} flows are reported")
        return self.flows()

    def resident_bytes(self) -> int:
        pages = Path(f"/proc/{self.agent.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE")


@contextmanager
def new_mesh() -> Iterator[Mesh]:
    """A mesh of its own; its agent is not started yet."""
    # A path of pytest's is too long for a socket to lie in.
    with tempfile.TemporaryDirectory(prefix="mesh-") as directory:
        made = Mesh(home(f"mesh-{uuid4().hex[:8]}", Path(directory)))
        try:
            made.network.build()
            yield made
        finally:
            made.close()
            for name in namespaces(made.network.prefix):
                delete_namespace(name)


def service(
    name: str,
    addresses: Sequence[str],
    ports: Sequence[tuple[str, int]],
    *,
    external: Sequence[str] = (),
    node_ports: Mapping[str, int] | None = None,
    application_protocol: str = "",
) -> dict[str, Any]:
    """A Service without a selector; ports are (TCP or UDP, number)."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "type": "NodePort" if node_ports else "ClusterIP",
            "clusterIP": addresses[0],
            "clusterIPs": list(addresses),
            "ipFamilyPolicy": "PreferDualStack",
            "externalIPs": list(external),
            "ports": [
                {
                    "name": protocol.lower(),
                    "protocol": protocol,
                    "port": port,
                    **({"appProtocol": application_protocol} if application_protocol else {}),
                    **({"nodePort": node_ports[protocol]} if node_ports else {}),
                }
                for protocol, port in ports
            ],
        },
    }


def endpoints(
    name: str, addresses: Sequence[str], ports: Sequence[tuple[str, int]]
) -> list[dict[str, Any]]:
    """The EndpointSlices of a Service, one for each family."""
    return [
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{name}-{family.lower()}",
                "namespace": "default",
                "labels": {"kubernetes.io/service-name": name},
            },
            "addressType": family,
            "ports": [
                {"name": protocol.lower(), "protocol": protocol, "port": port}
                for protocol, port in ports
            ],
            "endpoints": [
                {"addresses": [address], "conditions": {"ready": True}} for address in chosen
            ],
        }
        for family, chosen in (
            ("IPv4", [address for address in addresses if ":" not in address]),
            ("IPv6", [address for address in addresses if ":" in address]),
        )
        if chosen
    ]


@contextmanager
def web_and_bystander(mesh: Mesh) -> Iterator[None]:
    """Servers for a Service ``web``, and one at its very address: who else than edgemesh answers.

    Of a call to the Service `who_answers` tells ``endpoint`` when it was intercepted, and
    ``bystander`` when it went as if there were no edgemesh.
    """
    where = mesh.network.server
    for version, service_address in SERVICE.items():
        device = {4: "", 6: "veth2"}[version]
        # Else nobody can bind to an IPv6 address before it was looked for elsewhere.
        at_once = ["nodad"] if version == 6 else []
        output(where, ["ip", "address", "add", service_address, "dev", "eth0", *at_once])
        add_route(mesh.network.node, service_address, via=SERVER[version], device=device)
    with (
        TcpServer(where, (SERVER[4], 8080), name_and_client("endpoint")),
        TcpServer(where, (SERVER[6], 8080), name_and_client("endpoint")),
        TcpServer(where, (SERVICE[4], PORT), name_and_client("bystander")),
        TcpServer(where, (SERVICE[6], PORT), name_and_client("bystander")),
    ):
        yield


def web(application_protocol: str = "") -> list[dict[str, Any]]:
    """The objects of the Service ``web``."""
    return [
        service(
            "web",
            list(SERVICE.values()),
            [("TCP", PORT)],
            application_protocol=application_protocol,
        ),
        *endpoints("web", list(SERVER.values()), [("TCP", 8080)]),
    ]


def who_answers(namespace: str, version: int = 4, timeout: float = PATIENCE_SECONDS) -> str:
    with closing(call(namespace, SERVICE[version], PORT, timeout=timeout)) as connection:
        return first_line(connection).partition(" ")[0]


def rules_and_routes(mesh: Mesh) -> list[str]:
    """What is installed on the node, without counters and the seeds of hash tables."""
    state = re.sub(r"packets \d+ bytes \d+|initval \w+", "", state_of(mesh.network.node))
    return sorted(state.splitlines())
