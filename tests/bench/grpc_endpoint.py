"""A gRPC server of grpcio that answers a unary call with the bytes that it was given.

Run as ``python grpc_endpoint.py ADDRESS PORT``; the method is ``/bench.Echo/Unary``.
"""

from __future__ import annotations

import signal
import sys
from concurrent import futures

import grpc

# More make it no faster: the calls share one interpreter lock.
_THREADS = 4


def _echo(message: bytes, _context: grpc.ServicerContext) -> bytes:
    return message


def main() -> None:
    """Serve until ended."""
    address, port = sys.argv[1:]
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    server = grpc.server(futures.ThreadPoolExecutor(_THREADS))
    unary: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(_echo)
    echo = grpc.method_handlers_generic_handler("bench.Echo", {"Unary": unary})
    server.add_generic_rpc_handlers((echo,))
    server.add_insecure_port(f"{address}:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
