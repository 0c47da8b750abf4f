"""nginx with one worker, as a proxy of streams and of HTTP/1.1.

Its listener cannot be transparent ("transparent" exists for proxy_bind only), so connections are
redirected to it by nft, which costs it connection tracking in the node's namespace. It speaks no
HTTP/2 to endpoints.
Source: nginx.org, ngx_stream_core_module, ngx_stream_proxy_module (proxy_half_close, 1.21.4),
ngx_http_upstream_module (keepalive).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.processes import started
from bench.subjects import Running, Site, at_service_addresses
from bench.subjects.interception import listener_ports, redirect
from bench.topology import Service

_CONFIG = """\
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
worker_processes 1;
pid {directory}/pid;
error_log stderr warn;
events {{
    worker_connections 8192;
}}
stream {{
    proxy_half_close on;
    proxy_connect_timeout 2s;
    proxy_timeout 1h;
    tcp_nodelay on;
{streams}}}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Connection "";
    proxy_connect_timeout 2s;
{sites}}}
"""
_STREAM = """\
    upstream {name} {{
{endpoints}    }}
    server {{
        listen {listener} backlog=4096;
        proxy_pass {name};
    }}
"""
_SITE = """\
    upstream {name} {{
{endpoints}        keepalive 256;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {listener} backlog=4096;
        location / {{
            proxy_pass http://{name};
        }}
    }}
"""
_ENDPOINT = "        server {host}:{port};\n"


@asynccontextmanager
async def nginx(site: Site) -> AsyncIterator[Running]:
    """Run the distribution's nginx in the foreground: a master and one worker."""
    config = site.directory / "nginx.conf"
    config.write_text(_render(site))
    await redirect(site)
    # Without -e it opens the distribution's error log before it reads the configuration.
    command = ["nginx", "-e", "stderr", "-c", str(config)]
    async with started(site.topology.node, command, site.log) as process:
        yield at_service_addresses("nginx", site, process)


def _render(site: Site) -> str:
    streams = sites = ""
    for service, listener in listener_ports(site).items():
        if service.protocol == "tcp":
            streams += _render_service(_STREAM, service, listener)
        else:
            sites += _render_service(_SITE, service, listener)
    return _CONFIG.format(directory=site.directory, streams=streams, sites=sites)


def _render_service(template: str, service: Service, listener: int) -> str:
    endpoints = "".join(_ENDPOINT.format(host=host, port=port) for host, port in service.endpoints)
    return template.format(name=service.name, listener=listener, endpoints=endpoints)
