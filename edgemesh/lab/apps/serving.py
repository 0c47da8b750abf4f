"""What all apps share: sockets on IPv4 and IPv6, and the word that they are there."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

import trio

# The number of a pipe's writing end, as the one who started the app names it.
READY_VARIABLE = "EDGEMESH_LAB_READY"


def tell_ready() -> None:
    """Say, to whoever started this program and asked for it, that every port is bound."""
    print("ready", flush=True)  # noqa: T201  # the app's log
    number = os.environ.pop(READY_VARIABLE, "")
    if number:
        os.write(int(number), b"ready\n")
        os.close(int(number))


async def serve_tcp(
    handle: Callable[[trio.SocketStream], Awaitable[None]],
    port: int,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve connections on both families until cancelled.

    Args:
        handle: one connection; a peer that breaks it off ends only that call. The stream is
            closed when it returns.
        port: 1 to 65535.
        task_status: told when the port accepts connections.
    """

    async def handle_one(stream: trio.SocketStream) -> None:
        try:
            await handle(stream)
        except trio.BrokenResourceError:
            print("connection broken by its peer", flush=True)  # noqa: T201  # the app's log

    listeners = await trio.open_tcp_listeners(port)
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, handle_one, listeners)
        task_status.started()


async def serve_udp(
    answer: Callable[[bytes], bytes],
    port: int,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer every datagram with one datagram, on both families, until cancelled."""
    four = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
    six = trio.socket.socket(trio.socket.AF_INET6, trio.socket.SOCK_DGRAM)
    with four, six:
        six.setsockopt(trio.socket.IPPROTO_IPV6, trio.socket.IPV6_V6ONLY, 1)
        await four.bind(("0.0.0.0", port))  # noqa: S104  # in a pod's namespace
        await six.bind(("::", port))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_answer_datagrams, four, answer)
            nursery.start_soon(_answer_datagrams, six, answer)
            task_status.started()


async def _answer_datagrams(
    socket: trio.socket.SocketType, answer: Callable[[bytes], bytes]
) -> None:
    while True:
        data, client = await socket.recvfrom(65535)
        await socket.sendto(answer(data), client)
