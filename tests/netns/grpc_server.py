"""gRPC servers of grpcio, one for each address; run as ``grpc_server.py PORT ADDRESS...``.

Messages are plain bytes. Each answer says in its trailers who gave it.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field

import grpc

# Streams that are open at a time hold a thread each.
_THREADS = 256


class Counter:
    """Counts calls, whoever serves them."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def one(self) -> None:
        with self._lock:
            self.count += 1


@dataclass(frozen=True)
class Waits:
    """The calls that are never answered: those that came, and those that were given up."""

    begun: Counter = field(default_factory=Counter)
    ended: Counter = field(default_factory=Counter)


class Service:
    def __init__(self, name: str, waits: Waits) -> None:
        self._name = name
        self._waits = waits

    def handlers(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            "test.Echo",
            {
                "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
                "Count": grpc.unary_stream_rpc_method_handler(self.count),
                "Join": grpc.stream_unary_rpc_method_handler(self.join),
                "Bidi": grpc.stream_stream_rpc_method_handler(self.bidi),
                "Wait": grpc.unary_unary_rpc_method_handler(self.wait),
                "Waits": grpc.unary_unary_rpc_method_handler(self.waits),
                "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            },
        )

    def _sign(self, context: grpc.ServicerContext) -> None:
        context.set_trailing_metadata((("served-by", self._name),))

    def unary(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        self._sign(context)
        return message

    def count(self, message: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        self._sign(context)
        yield from (str(number).encode() for number in range(int(message)))

    def join(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        self._sign(context)
        return b",".join(messages)

    def bidi(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        self._sign(context)
        yield from messages

    def wait(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        over = threading.Event()
        context.add_callback(over.set)
        self._waits.begun.one()
        over.wait()
        self._waits.ended.one()
        return message

    def waits(self, _message: bytes, _context: grpc.ServicerContext) -> bytes:
        return f"{self._waits.begun.count} {self._waits.ended.count}".encode()

    def fail(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        self._sign(context)
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, message.decode())


def main() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    port, *addresses = sys.argv[1:]
    servers = []
    waits = Waits()
    for address in addresses:
        server = grpc.server(
            futures.ThreadPoolExecutor(_THREADS),
            options=[("grpc.max_receive_message_length", -1)],
        )
        server.add_generic_rpc_handlers((Service(address, waits).handlers(),))
        server.add_insecure_port(f"{address}:{port}")
        server.start()
        servers.append(server)
    print("serving", flush=True)
    for server in servers:
        server.wait_for_termination()


if __name__ == "__main__":
    main()
