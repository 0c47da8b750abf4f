"""HAProxy with one thread, transparent listeners and round robin.

TCP may be spliced. HTTP requests are balanced one by one over connections that are kept and shared;
HTTP/2 is spoken on both sides. A dead endpoint is tried once for each connection, as edgemesh does
with the only one there is.

Source: HAProxy 2.6 configuration manual, "bind ... transparent", "option splice-auto", "proto",
"http-reuse".
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.processes import started
from bench.subjects import Running, Site, at_service_addresses
from bench.subjects.interception import divert, listener_ports

_CONFIG = """\
global
    nbthread 1
    maxconn 6000
defaults
    retries 0
    timeout connect 2s
    timeout client 1h
    timeout server 1h
"""
_SERVICE = """\
listen {name}
    bind :{listener} transparent{proto}
    balance roundrobin
{mode}"""
_TCP = """\
    mode tcp
    option splice-auto
"""
_HTTP = """\
    mode http
    http-reuse always
"""
_ENDPOINT = "    server endpoint{index} {host}:{port}{proto}\n"


@asynccontextmanager
async def haproxy(site: Site) -> AsyncIterator[Running]:
    """Run the distribution's HAProxy in the foreground."""
    config = site.directory / "haproxy.cfg"
    config.write_text(_render(site))
    await divert(site)
    command = ["haproxy", "-db", "-f", str(config)]
    async with started(site.topology.node, command, site.log) as process:
        yield at_service_addresses("haproxy", site, process)


def _render(site: Site) -> str:
    text = _CONFIG
    for service, listener in listener_ports(site).items():
        proto = " proto h2" if service.is_http2 else ""
        mode = _TCP if service.protocol == "tcp" else _HTTP
        text += _SERVICE.format(name=service.name, listener=listener, proto=proto, mode=mode)
        for index, (host, port) in enumerate(service.endpoints):
            text += _ENDPOINT.format(index=index, host=host, port=port, proto=proto)
    return text
