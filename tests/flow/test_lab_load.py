"""The load of the scenarios, as a process of its own beside a server that is there or not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio

Handler = Callable[[trio.SocketStream], Awaitable[None]]


async def load_on(handle: Handler, *arguments: str, connections: int) -> Any:
    """What is told by a load that is ended after so many connections."""
    seen = trio.Event()
    count = 0

    async def counted(stream: trio.SocketStream) -> None:
        nonlocal count
        count += 1
        if count == connections:
            seen.set()
        await handle(stream)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, counted, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        command = [sys.executable, "-m", "edgemesh.lab.load", f"http://127.0.0.1:{port}"]
        run = partial(trio.run_process, [*command, *arguments], stdout=subprocess.PIPE)
        with trio.fail_after(30):
            process = await nursery.start(run)
            await seen.wait()
            process.send_signal(signal.SIGTERM)
            told = b""
            while some := await process.stdout.receive_some():
                told += some
        nursery.cancel_scope.cancel()
    return json.loads(told)


async def answer_once(stream: trio.SocketStream) -> None:
    if await stream.receive_some():
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nweb\n")


async def refuse(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.send_all(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")


async def test_answers_are_counted_by_who_gave_them() -> None:
    told = await load_on(answer_once, connections=3)
    assert list(told["served"]) == ["web"]
    assert told["served"]["web"] >= 2
    assert told["failed"] == 0


async def test_what_is_not_answered_by_200_is_told_as_a_failure() -> None:
    told = await load_on(refuse, connections=3)
    assert told["served"] == {}
    assert told["failed"] >= 2
    assert told["failures"][0].startswith("503")


async def test_a_connection_that_was_to_be_kept_and_ends_is_a_failure() -> None:
    told = await load_on(answer_once, "--kept", connections=3)
    assert told["failed"] >= 2
