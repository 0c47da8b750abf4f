"""An application that notes what it is asked to do: run as ``python faulted_application.py NOTES``.

HTTP on 8080, lines and bytes that come back on 7000, datagrams on 5300. Each call brings an id of
its own; of what is done twice, NOTES tells twice.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import h11
import trio

HTTP_PORT, TCP_PORT, UDP_PORT = 8080, 7000, 5300
_CHUNK_BYTES = 65536
_LONGEST_DATAGRAM = 65535


class Application:
    """The three servers.

    Args:
        notes: a descriptor that what is done is written to, one line each.
    """

    def __init__(self, notes: int) -> None:
        self._notes = notes

    async def run(self) -> None:
        """Serve until the process is ended."""
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_tcp, self._serve_http, HTTP_PORT)
            await nursery.start(trio.serve_tcp, self._serve_echo, TCP_PORT)
            nursery.start_soon(self._serve_datagrams)

    def _note(self, kind: str, call: str) -> None:
        os.write(self._notes, f"{kind} {call}\n".encode())

    async def _serve_http(self, stream: trio.SocketStream) -> None:
        try:
            connection = h11.Connection(h11.SERVER)
            while await self._answer(connection, stream):
                connection.start_next_cycle()
        except (trio.BrokenResourceError, h11.RemoteProtocolError):
            # Broken off by its peer, within a request as well.
            return

    async def _answer(self, connection: h11.Connection, stream: trio.SocketStream) -> bool:
        """Answer one request; whether there may be another."""
        request = await next_event(connection, stream)
        if not isinstance(request, h11.Request):
            return False
        body = await read_body(connection, stream)
        _, call, milliseconds = request.target.decode().split("/")
        # It is done once all of it is here.
        self._note(request.method.decode(), call)
        await trio.sleep(int(milliseconds) / 1000)
        answer = call.encode() + b"\n" + body
        head = h11.Response(status_code=200, headers=[("Content-Length", str(len(answer)))])
        for event in (head, h11.Data(data=answer), h11.EndOfMessage()):
            data = connection.send(event)
            assert data is not None
            await stream.send_all(data)
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE

    async def _serve_echo(self, stream: trio.SocketStream) -> None:
        try:
            first = b""
            while b"\n" not in first:
                data = await stream.receive_some(_CHUNK_BYTES)
                if not data:
                    return
                first += data
            self._note("TCP", first.partition(b"\n")[0].decode())
            await stream.send_all(first)
            async for data in stream:
                await stream.send_all(data)
            await stream.send_eof()
        except trio.BrokenResourceError:
            return

    async def _serve_datagrams(self) -> None:
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
            await sock.bind(("0.0.0.0", UDP_PORT))  # a pod's own
            while True:
                try:
                    data, client = await sock.recvfrom(_LONGEST_DATAGRAM)
                    self._note("UDP", data.partition(b"\n")[0].decode())
                    await sock.sendto(data, client)
                except OSError:
                    # The last one's client is gone: ICMP says so at the next call.
                    continue


async def next_event(connection: h11.Connection, stream: trio.SocketStream) -> h11.Event | None:
    """The next event of a connection; None at its end.

    Raises:
        trio.BrokenResourceError: it was reset.
        h11.RemoteProtocolError: it ended within a message.
    """
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some(_CHUNK_BYTES))
        elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
            return None
        else:
            assert isinstance(event, h11.Event)
            return event


async def read_body(connection: h11.Connection, stream: trio.SocketStream) -> bytes:
    """The body of the message that is being received, raises as `next_event`."""
    body = bytearray()
    while isinstance(event := await next_event(connection, stream), h11.Data):
        body += event.data
    return bytes(body)


def main() -> None:
    """Serve until the process is ended."""
    notes = os.open(Path(sys.argv[1]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    trio.run(Application(notes).run)


if __name__ == "__main__":
    main()
