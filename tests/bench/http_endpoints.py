"""Endpoints that speak HTTP; as in a cluster, each runs in a process of its own.

They answer every request with the same few bytes and outrun every proxy, except for gRPC's: what
is written in Python with grpcio is slower than what stands before it.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from bench.http_loads import Request, is_answered
from bench.processes import check_alive, started
from bench.topology import Address, Service
from edgemesh.model.errors import OperatorError

BODY = "x" * 64
_GRPC_SERVER = Path(__file__).with_name("grpc_endpoint.py")

_READY_SECONDS = 30
_LOOK_AGAIN_SECONDS = 0.02

_NGINX = """\
daemon off;
worker_processes 1;
pid {directory}/{name}.pid;
error_log stderr warn;
events {{
    worker_connections 4096;
}}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    default_type text/plain;
    server {{
        listen {host}:{port} backlog=4096;
        return 200 {body};
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class HttpEndpoints:
    """One process for each endpoint of a Service.

    Args:
        service: whose endpoints they are.
        request: that they answer.
        command: makes the command of one endpoint, after what it needs was put into a directory.
    """

    service: Service
    request: Request
    command: Callable[[Address, Path], Sequence[str]]

    @asynccontextmanager
    async def serving(self, namespace: str, directory: Path) -> AsyncIterator[None]:
        """Serve until the block is left; all answer when it is entered.

        Raises:
            OperatorError: one of them ended, or does not answer in time.
        """
        log = directory / f"{self.service.name}.log"
        async with AsyncExitStack() as stack:
            processes = [
                await stack.enter_async_context(
                    started(namespace, self.command(address, directory), log)
                )
                for address in self.service.endpoints
            ]
            with trio.move_on_after(_READY_SECONDS) as patience:
                while not await self.answers(namespace, self.service.endpoints):
                    for process in processes:
                        check_alive(process, f"an endpoint of {self.service.name}", log)
                    await trio.sleep(_LOOK_AGAIN_SECONDS)
            if patience.cancelled_caught:
                raise OperatorError(
                    f"the endpoints of {self.service.name} do not answer in {_READY_SECONDS} s"
                )
            yield

    async def answers(self, namespace: str, targets: Sequence[Address]) -> bool:
        """Whether every target serves a client just now."""
        return await is_answered(namespace, self.request, targets)


def web_endpoints(service: Service) -> HttpEndpoints:
    """HTTP/1.1: nginx with one worker."""
    return HttpEndpoints(service, Request(len(BODY), http1=True), _nginx)


def http2_endpoints(service: Service) -> HttpEndpoints:
    """HTTP/2 without TLS: nghttpd with one worker, which sends a file."""
    return HttpEndpoints(service, Request(len(BODY)), _nghttpd)


def grpc_endpoints(service: Service, directory: Path) -> HttpEndpoints:
    """gRPC: a server of grpcio, which is asked for unary calls.

    Args:
        service: whose endpoints they are.
        directory: where the message lies that is sent.
    """
    # A message is preceded by whether it is compressed and by its length.
    message = struct.pack("!BI", 0, len(BODY)) + BODY.encode()
    body = directory / "message"
    body.write_bytes(message)
    fields = ("content-type: application/grpc", "te: trailers")
    request = Request(len(message), "/bench.Echo/Unary", fields, body)
    return HttpEndpoints(service, request, _grpc)


def _nginx(address: Address, directory: Path) -> Sequence[str]:
    name = f"endpoint-{address.host}"
    config = directory / f"{name}.conf"
    config.write_text(_NGINX.format(directory=directory, name=name, body=BODY, **address._asdict()))
    # Without -e it opens the distribution's error log before it reads the configuration.
    return ["nginx", "-e", "stderr", "-c", str(config)]


def _nghttpd(address: Address, directory: Path) -> Sequence[str]:
    documents = directory / "documents"
    documents.mkdir(exist_ok=True)
    (documents / "index.html").write_text(BODY)
    where = ["-a", address.host, str(address.port)]
    return ["nghttpd", "--no-tls", "-n1", "-d", str(documents), *where]


def _grpc(address: Address, _directory: Path) -> Sequence[str]:
    return [sys.executable, str(_GRPC_SERVER), *map(str, address)]
