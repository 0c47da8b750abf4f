"""What the peers of a data plane notice when its process is killed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio
from plane_fixtures import World, running

from edgemesh.model.services import Endpoint

TESTS = Path(__file__).parents[1]
PATIENCE_SECONDS = 20


@pytest.mark.root
def test_both_sides_of_a_flow_are_reset_and_not_told_that_all_was_said() -> None:
    with ExitStack() as opened:
        server = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        server.settimeout(PATIENCE_SECONDS)
        plane = opened.enter_context(
            subprocess.Popen(
                [sys.executable, __file__, str(server.getsockname()[1])],
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join((str(TESTS.parent), str(TESTS)))},
            )
        )
        opened.callback(plane.kill)
        assert plane.stdout is not None
        port = int(plane.stdout.readline())
        client = opened.enter_context(socket.create_connection(("127.0.0.1", port)))
        endpoint = opened.enter_context(server.accept()[0])
        for sock in (client, endpoint):
            sock.settimeout(PATIENCE_SECONDS)
        client.sendall(b"half of a quest")
        assert endpoint.recv(15, socket.MSG_WAITALL) == b"half of a quest"
        plane.kill()
        for sock in (client, endpoint):
            with pytest.raises(ConnectionResetError):
                sock.recv(1)


async def serve(endpoint_port: int) -> None:
    async with running() as world:
        world.service(Endpoint("127.0.0.1", endpoint_port))
        tell(world)
        await trio.sleep_forever()


def tell(world: World) -> None:
    sys.stdout.write(f"{world.port}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    trio.run(serve, int(sys.argv[1]))
