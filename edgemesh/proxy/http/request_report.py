"""The report of one request, for the access log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgemesh.model.requests import RequestReport
from edgemesh.proxy.context import Context
from edgemesh.proxy.report import named_way, pod_name
from edgemesh.wire.host_port import joined

if TYPE_CHECKING:
    from edgemesh.proxy.http.exchange import Exchange


def write_report(exchange: Exchange, context: Context, reason: str) -> None:
    """Write down an exchange that is over; ``reason`` is "" when all went well."""
    flow, request = exchange.flow, exchange.request
    endpoint = exchange.state.endpoint if exchange.state else None
    answered = exchange.responded_at
    context.http.log.write(
        RequestReport(
            protocol=exchange.protocol,
            client=joined(*flow.client_address),
            client_pod=pod_name(context.decider.snapshot, flow.client_address[0], flow.stream),
            method=request.method,
            host=request.host,
            path=request.path,
            query=request.query,
            status=exchange.status,
            reason=reason,
            grpc_status="" if exchange.grpc_status is None else str(exchange.grpc_status),
            service=str(exchange.plan.port),
            route=exchange.route.key if exchange.route else "",
            endpoint=joined(endpoint.address, endpoint.port) if endpoint else "",
            endpoint_pod=endpoint.pod if endpoint else "",
            way=named_way(flow.way, endpoint),
            from_node=flow.stream.from_node if flow.stream else "",
            attempts=exchange.tries,
            bytes_sent=exchange.bytes_sent,
            bytes_received=exchange.bytes_received,
            duration=context.reactor.now - exchange.begun,
            upstream_duration=answered - exchange.try_began if answered else 0.0,
        )
    )
