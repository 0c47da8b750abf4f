"""The other sides of the resolver: its clients, and upstream servers made with dnspython."""

from __future__ import annotations

import secrets
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import trio

from edgemesh.model.services import Service, Snapshot
from edgemesh.model.settings import DnsSettings
from edgemesh.proxy.dns.counters import DnsCounters
from edgemesh.proxy.dns.server import serve_dns

PORT = 5300
Reply = dns.message.Message | bytes | None
Behaviour = Callable[[dns.message.Message, bool], Reply]


def own_address() -> str:
    """A loopback address of this test's own, so that tests run side by side."""
    return f"127.{secrets.randbelow(250) + 2}.{secrets.randbelow(250)}.{secrets.randbelow(250) + 1}"


def positive(query: dns.message.Message, *addresses: str, ttl: int = 60) -> dns.message.Message:
    """The answer with these addresses."""
    response = dns.message.make_response(query, our_payload=1232)
    response.flags |= dns.flags.RA
    name = query.question[0].name
    response.answer.append(dns.rrset.from_text(name, ttl, "IN", "A", *addresses))
    return response


def denied(query: dns.message.Message) -> dns.message.Message:
    """NXDOMAIN, to be kept for 20 seconds."""
    response = dns.message.make_response(query, our_payload=1232)
    response.set_rcode(dns.rcode.NXDOMAIN)
    start = dns.rrset.from_text("example.", 900, "IN", "SOA", "ns. host. 1 2 3 4 20")
    response.authority.append(start)
    return response


def failed(query: dns.message.Message, rcode: int = dns.rcode.SERVFAIL) -> dns.message.Message:
    """A failure."""
    response = dns.message.make_response(query, our_payload=1232)
    response.set_rcode(rcode)
    return response


def answering(*addresses: str, ttl: int = 60) -> Behaviour:
    return lambda query, _: positive(query, *addresses, ttl=ttl)


def silent(query: dns.message.Message, stream: bool) -> Reply:
    return None


@dataclass
class Upstream:
    """A server that does with each query what ``behave`` says, over UDP and TCP.

    ``asked`` holds the queries in order, with whether they came over TCP; ``heard`` is told of
    each.
    """

    behave: Behaviour
    address: str = field(default_factory=own_address)
    asked: list[tuple[dns.message.Message, bool]] = field(default_factory=list)
    heard: trio.Event = field(default_factory=trio.Event)

    def __str__(self) -> str:
        return f"{self.address}:{PORT}"

    def _reply(self, wire: bytes, *, stream: bool) -> bytes | None:
        query = dns.message.from_wire(wire)
        self.asked.append((query, stream))
        self.heard.set()
        self.heard = trio.Event()
        reply = self.behave(query, stream)
        return reply.to_wire() if isinstance(reply, dns.message.Message) else reply

    async def until_asked(self, times: int) -> None:
        while len(self.asked) < times:
            await self.heard.wait()

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock:
            await sock.bind((self.address, PORT))
            listeners = await trio.open_tcp_listeners(PORT, host=self.address)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, self._serve_stream, listeners)
                task_status.started()
                while True:
                    wire, client = await sock.recvfrom(65535)
                    reply = self._reply(wire, stream=False)
                    if reply is not None:
                        await sock.sendto(reply, client)

    async def _serve_stream(self, stream: trio.SocketStream) -> None:
        async with stream:
            wire = await stream.receive_some(65535)
            reply = self._reply(wire[2:], stream=True)
            if reply is not None:
                await stream.send_all(struct.pack("!H", len(reply)) + reply)


class Agent:
    """The resolver under test with its clients."""

    def __init__(
        self, *services: Service, upstreams: tuple[object, ...] = (), **more: object
    ) -> None:
        self.address = own_address()
        self.snapshot = Snapshot()
        self.publish(*services)
        self.counters = DnsCounters()
        own = {
            "listen": (f"{self.address}:{PORT}",),
            "upstreams": tuple(str(upstream) for upstream in upstreams),
            "resolv_conf": Path("/nonexistent"),
        }
        self.settings = replace(DnsSettings(), **{**own, **more})

    def publish(self, *services: Service) -> None:
        """Swap the snapshot for one with these services."""
        by_name = {(service.namespace, service.name): service for service in services}
        self.snapshot = Snapshot(revision=self.snapshot.revision + 1, services=by_name)

    @property
    def serve(self) -> Callable[..., Awaitable[None]]:
        """To be started in a nursery."""
        return partial(serve_dns, self.settings, lambda: self.snapshot, counters=self.counters)

    async def ask(
        self, name: str, rdtype: str = "A", *, stream: bool = False, **options: object
    ) -> dns.message.Message:
        query = dns.message.make_query(name, rdtype, **options)  # type: ignore[arg-type]
        query.flags &= ~dns.flags.AD
        ask = dns.asyncquery.tcp if stream else dns.asyncquery.udp
        return await ask(query, self.address, port=PORT)

    async def addresses(self, name: str, rdtype: str = "A") -> list[str]:
        """What a program gets."""
        response = await self.ask(name, rdtype)
        assert response.rcode() == dns.rcode.NOERROR
        return [str(item) for rrset in response.answer for item in rrset]
