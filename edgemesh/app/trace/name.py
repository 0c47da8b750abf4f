"""The hop of the name, asked for as a Pod asks."""

from __future__ import annotations

import secrets
import socket
from ipaddress import ip_address

import trio

from edgemesh.app.trace.call import Call, Hop, HopState
from edgemesh.model.errors import OperatorError
from edgemesh.wire.dns import codes
from edgemesh.wire.dns.names import FormatError, from_text, to_labels
from edgemesh.wire.dns.query import encode_query
from edgemesh.wire.dns.records import Content
from edgemesh.wire.dns.response import parse_response
from edgemesh.wire.host_port import parse_host_port

_DNS_PORT = 53
_PAYLOAD_BYTES = 1232
# Like a stub resolver: the second question makes up for one lost datagram.
_TRIES = 2


async def name_hop(call: Call) -> Hop:
    """Whether the Service's full name leads to its address."""
    if call.answer is None:
        return Hop("name", HopState.SKIPPED, "no agent to serve it")
    settings = call.agent.settings.dns
    if not settings.enabled or not settings.listen:
        return Hop("name", HopState.SKIPPED, "dns.enabled is false: others serve names")
    server = parse_host_port(settings.listen[0], default_port=_DNS_PORT)
    name = f"{call.service}.{call.namespace}.svc.{settings.domain}"
    where = f"{name} at {server[0]}, asked by {call.caller}"
    try:
        content = await _ask(call, server, name)
    except FormatError as error:
        return Hop("name", HopState.FAILED, f"{name}: {error}", "see the names of Services")
    except OSError as error:
        return Hop(
            "name",
            HopState.FAILED,
            f"{where}: {error.strerror or error}",
            "edgemesh status: does the agent serve DNS there? ip route get from the Pod",
        )
    except OperatorError as error:
        return Hop("name", HopState.FAILED, error.problem, error.remedy)
    return _judge(call, where, content)


async def _ask(call: Call, server: tuple[str, int], name: str) -> Content:
    """One question, repeated once.

    Raises:
        FormatError: the name is none.
        OSError: no answer came.
    """
    question_type = codes.AAAA if call.ipv6 else codes.A
    wire_name = from_text(name)
    identifier = secrets.randbelow(2**16)
    query = encode_query(identifier, wire_name, question_type, _PAYLOAD_BYTES)
    patience = call.agent.settings.meta.answer_timeout_seconds
    sock = await call.caller.new_socket(socket.SOCK_DGRAM, ipv6=":" in server[0])
    with sock:
        # Connected, so that "port unreachable" is told instead of waited for.
        await sock.connect(server)
        for _ in range(_TRIES):
            await sock.send(query)
            with trio.move_on_after(patience / _TRIES):
                return await _receive(sock, identifier, wire_name, question_type)
    raise TimeoutError(f"no answer within {patience:g} s")


async def _receive(
    sock: trio.socket.SocketType, identifier: int, name: bytes, question_type: int
) -> Content:
    while True:
        message = await sock.recv(_PAYLOAD_BYTES)
        try:
            return parse_response(message, identifier, name, question_type).content
        except FormatError:
            # Anybody can send a datagram; the answer to our question may still come.
            continue


def _judge(call: Call, where: str, content: Content) -> Hop:
    if content.rcode == codes.NXDOMAIN:
        remedy = f"edgemesh get service {call.service} -n {call.namespace}: is it there?"
        return Hop("name", HopState.FAILED, f"{where}: there is no such name", remedy)
    if content.rcode != codes.NOERROR:
        return Hop("name", HopState.FAILED, f"{where}: code {content.rcode}", "see the agent's log")
    addresses = {
        str(ip_address(record.data))
        for record in content.answer
        if record.type in {codes.A, codes.AAAA}
    }
    aliases = [record.data for record in content.answer if record.type == codes.CNAME]
    if aliases and not addresses:
        target = b".".join(to_labels(aliases[0])).decode("ascii", "backslashreplace")
        return Hop("name", HopState.OK, f"{where}: alias of {target}")
    if not addresses:
        remedy = "call it by the other family, or give it an address of this one"
        return Hop("name", HopState.FAILED, f"{where}: no {call.family} address", remedy)
    shown = ", ".join(sorted(addresses))
    if call.address and call.address not in addresses:
        return Hop(
            "name",
            HopState.FAILED,
            f"{where}: {shown} instead of {call.address}",
            "does another DNS server answer there?",
        )
    return Hop("name", HopState.OK, f"{where}: {shown}")
