"""nginx as a stream proxy with one worker.

Its listener cannot be transparent ("transparent" exists for proxy_bind only), so connections are
redirected to it by nft, which costs it connection tracking in the node's namespace.
Source: nginx.org, ngx_stream_core_module, ngx_stream_proxy_module (proxy_half_close, 1.21.4).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.processes import started
from bench.subjects import Running, Site, at_service_addresses
from bench.subjects.interception import listener_ports, redirect

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
{services}}}
"""
_SERVICE = """\
    upstream {name} {{
{endpoints}    }}
    server {{
        listen {listener} backlog=4096;
        proxy_pass {name};
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
    services = "".join(
        _SERVICE.format(
            name=service.name,
            listener=listener,
            endpoints="".join(
                _ENDPOINT.format(host=host, port=port) for host, port in service.endpoints
            ),
        )
        for service, listener in listener_ports(site).items()
    )
    return _CONFIG.format(directory=site.directory, services=services)
