"""What a trace is about: who calls what, what the agent says of it, and what a hop has to tell."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trio

from edgemesh.app.ask import ask_agent
from edgemesh.kernel.pod_socket import pod_socket
from edgemesh.model.errors import OperatorError
from edgemesh.model.settings import Settings
from edgemesh.model.trace import TraceAnswer, TracedPort, TracedRequest


class HopState(StrEnum):
    """``SKIPPED`` hops do not apply to this call or cannot be looked at from here."""

    OK = "ok"
    FAILED = "FAIL"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Hop:
    """One step of a call: how it stands, and what to do where it fails."""

    name: str
    state: HopState
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Agent:
    """How the agent is reached: its settings, and the socket of its metamanager."""

    settings: Settings
    socket_path: Path

    async def ask(self, resource: str, answer: type[Any], content: Any = None) -> Any:
        """See `ask_agent`."""
        return await ask_agent(self.socket_path, self.settings.meta, resource, answer, content)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: a Pod of this node by its address, or the node itself when that is ""."""

    address: str = ""

    async def new_socket(self, kind: socket.SocketKind, *, ipv6: bool) -> trio.socket.SocketType:
        """A socket where the caller lives, bound to nothing.

        Raises:
            OperatorError: the Pod is not on this node, or the privilege is missing.

        Ownership: who asks for it closes it.
        """
        family = socket.AF_INET6 if ipv6 else socket.AF_INET
        if not self.address:
            return trio.socket.socket(family, kind)
        made = await trio.to_thread.run_sync(pod_socket, self.address, family, kind)
        return trio.socket.from_stdlib_socket(made)

    def __str__(self) -> str:
        """For messages to people."""
        return self.address or "this node"


@dataclass(frozen=True, slots=True)
class Call:
    """A call to a Service that is traced.

    Args:
        agent: of this node.
        namespace, service: what is called.
        ipv6: whether by IPv6; name, caller and address are of this family.
        caller: who calls.
        answer: what the agent says, None when it does not answer.
        problem: why it does not.
    """

    agent: Agent
    namespace: str
    service: str
    ipv6: bool
    caller: Caller
    answer: TraceAnswer | None
    problem: str = ""

    @property
    def address(self) -> str:
        """The Service address that is called, "" when it has none of the family."""
        port = self.answer.port if self.answer else None
        if port is None or (":" in port.address) is not self.ipv6:
            return ""
        return port.address

    @property
    def left_alone(self) -> str:
        """Why it is none of the agent's business, "" when it is, or nobody tells."""
        return self.answer.left_alone if self.answer else ""

    @property
    def target(self) -> TracedPort | None:
        """The port that the call goes to, None when there is none."""
        return (self.answer.target or self.answer.port) if self.answer else None

    @property
    def family(self) -> str:
        """For messages to people."""
        return "IPv6" if self.ipv6 else "IPv4"


def parse_service(text: str, namespace: str) -> tuple[str, str, int]:
    """Read ``web``, ``web:80``, ``web.shop:80``.

    Args:
        text: the Service, with its namespace and its port or without.
        namespace: when the text has none.

    Returns:
        Namespace, name and port; the port is 0 when the text has none.

    Raises:
        OperatorError: it is none of these.
    """
    name, colon, port = text.partition(":")
    service, _, own_namespace = name.partition(".")
    valid = bool(service) and (not colon or (port.isdecimal() and 0 < int(port) < 65536))
    if not valid:
        raise OperatorError(f"{text!r} is no Service", "write web, web:80 or web.namespace:80")
    return own_namespace.partition(".")[0] or namespace, service, int(port or 0)


def parse_request(text: str, headers: Sequence[str], host: str) -> TracedRequest | None:
    """Read ``GET /orders?n=1``, ``/orders``, ``POST http://shop/orders``.

    Args:
        text: the request; "" for none, or for ``GET /`` when there are headers.
        headers: each as ``name: value``.
        host: that is called when the text names none.

    Raises:
        OperatorError: one of them is none.
    """
    if not text and not headers:
        return None
    method, _, target = text.strip().rpartition(" ")
    try:
        url = urlsplit(target or "/")
        valid = url.scheme == "http" if url.netloc else url.path.startswith("/")
    except ValueError:
        valid = False
    if not valid:
        raise OperatorError(
            f"{text!r} is no request", "write 'GET /path' or 'GET http://host/path'"
        )
    fields = [(name.strip().lower(), value.strip()) for name, _, value in map(_split, headers)]
    return TracedRequest(
        method.strip().upper() or "GET",
        url.hostname or host,
        url.path or "/",
        url.query,
        (*fields,),
    )


def _split(header: str) -> tuple[str, str, str]:
    parts = header.partition(":")
    if not all(parts):
        raise OperatorError(f"{header!r} is no header", "write 'name: value'")
    return parts


async def find_addresses(agent: Agent, word: str, namespace: str) -> list[str]:
    """The addresses of the Pod that a user means by name, ``namespace/name`` or address.

    Raises:
        OperatorError: the agent does not know it, or it has none.
    """
    try:
        return [str(ip_address(word))]
    except ValueError:
        own_namespace, _, name = word.rpartition("/")
    addresses = _addresses(await agent.ask(f"{own_namespace or namespace}/pod/{name}", dict))
    if not addresses:
        raise OperatorError(f"Pod {word} has no address", "is it running?")
    return addresses


def _addresses(pod: Mapping[str, Any]) -> list[str]:
    status = pod.get("status") or {}
    listed = [entry.get("ip", "") for entry in status.get("podIPs") or ()]
    return [address for address in [*listed, status.get("podIP", "")] if address]
