"""Echoes every byte over TCP and every datagram over UDP.

TCP directions close by themselves: after the client's FIN everything it sent still comes back,
and only then the server's FIN follows.
"""

from __future__ import annotations

import argparse

import trio

from edgemesh.lab.apps.serving import serve_tcp, serve_udp, tell_ready

_CHUNK_BYTES = 262144


def main() -> None:
    """Serve both transports on one port."""
    parser = argparse.ArgumentParser(prog="byte_echo")
    parser.add_argument("--port", type=int, default=7)
    trio.run(_serve, parser.parse_args().port)


async def _serve(port: int) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_tcp, echo_bytes, port)
        await nursery.start(serve_udp, bytes, port)
        tell_ready()


async def echo_bytes(stream: trio.SocketStream) -> None:
    """Echo the bytes of one connection, and its end after them."""
    while data := await stream.receive_some(_CHUNK_BYTES):
        await stream.send_all(data)
    await stream.send_eof()


if __name__ == "__main__":
    main()
