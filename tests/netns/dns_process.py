"""A resolver as a process of its own: ``python dns_process.py RESOLV_CONF MARK``.

It serves 169.254.96.16:53, and beside it 127.0.0.2:53, which answers every name under
``example`` with 192.0.2.1 and all others with NXDOMAIN. Says ``ready`` on standard output.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import dns.message
import dns.rcode
import dns.rrset
import trio

from edgemesh.model.services import Endpoint, Service, ServicePort, Snapshot, Transport
from edgemesh.model.settings import DnsSettings
from edgemesh.proxy.dns.server import serve_dns

ENDPOINTS = tuple(Endpoint(f"10.244.0.{number}", 8080) for number in range(1, 101))
SERVICES = (
    Service(
        "default",
        "web",
        cluster_addresses=("10.96.0.10", "fd00:96::10"),
        ports=(ServicePort("default", "web", "http", Transport.TCP, 80),),
    ),
    Service(
        "default",
        "db",
        headless=True,
        ports=(ServicePort("default", "db", "sql", Transport.TCP, 5432, endpoints=ENDPOINTS),),
    ),
    Service("default", "outside", type="ExternalName", external_name="www.example"),
)


def answer(wire: bytes) -> bytes:
    query = dns.message.from_wire(wire)
    response = dns.message.make_response(query)
    name = query.question[0].name
    if name.to_text().lower().endswith(".example."):
        response.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "192.0.2.1"))
    else:
        response.set_rcode(dns.rcode.NXDOMAIN)
    return response.to_wire()


async def serve_upstream(*, task_status: trio.TaskStatus[None]) -> None:
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock:
        await sock.bind(("127.0.0.2", 53))
        task_status.started()
        while True:
            wire, client = await sock.recvfrom(4096)
            await sock.sendto(answer(wire), client)


async def main(resolv_conf: Path, mark: int) -> None:
    # Whoever counts questions counts on the first one being waited for.
    settings = DnsSettings(resolv_conf=resolv_conf, upstream_timeout_seconds=20.0)
    snapshot = Snapshot(
        revision=1, services={(service.namespace, service.name): service for service in SERVICES}
    )

    async with trio.open_nursery() as nursery:
        await nursery.start(serve_upstream)
        await nursery.start(partial(serve_dns, settings, lambda: snapshot, mark=mark))
        print("ready", flush=True)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
