"""A plain TLS 1.3 tunnel between the two nodes, a TLS connection for each that is called.

What encryption costs by itself, in the language that edgemesh is written in: no mesh, no policies,
no choice of endpoints. Clients call the near end's own address.
"""

from __future__ import annotations

import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from bench import tls_pump
from bench.loads import LineReader
from bench.processes import check_alive, started
from bench.span import FAR_ADDRESS, Span
from bench.subjects import Running, Site
from bench.topology import NODE_CLIENT_SIDE, Address
from edgemesh.bus.pki.authority import Authority, AuthorityState

_CERTIFICATE_SECONDS = 86400.0


@asynccontextmanager
async def tls(site: Site) -> AsyncIterator[Running]:
    """Run both ends, with a port for each Service; its first endpoint is called."""
    names = site.topology
    assert isinstance(names, Span)
    pem = site.directory / "far.pem"
    made = Authority(AuthorityState.create()).issue_server(
        "bench", [FAR_ADDRESS], _CERTIFICATE_SECONDS
    )
    pem.write_text(made.key.decode() + ssl.DER_cert_to_PEM_cert(made.certificate))
    targets = {
        service.name: Address(NODE_CLIENT_SIDE, service.address.port) for service in site.services
    }
    between = {
        service.name: Address(FAR_ADDRESS, service.address.port) for service in site.services
    }
    near, far = ["near", str(pem)], ["far", str(pem)]
    for service in site.services:
        near += _words(targets[service.name], between[service.name])
        far += _words(between[service.name], service.endpoints[0])
    async with _end(site, names.far, far) as other, _end(site, names.node, near) as process:
        aims = {name: (address,) for name, address in targets.items()}
        yield Running("tls", aims, process, site.log, ((other, site.log),))


@asynccontextmanager
async def _end(site: Site, namespace: str, words: Sequence[str]) -> AsyncIterator[trio.Process]:
    argv = [sys.executable, tls_pump.__file__, *words]
    async with started(namespace, argv, site.log, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        if await LineReader(process.stdout).next() != "listening":
            await process.wait()
            check_alive(process, "an end of the tunnel", site.log)
        yield process


def _words(listen: Address, to: Address) -> list[str]:
    return [listen.host, str(listen.port), to.host, str(to.port)]
